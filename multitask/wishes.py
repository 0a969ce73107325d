"""What the user of `mtp predict` asks for: from words to tasks and annotations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from . import plugins
from .annotations import Annotation, Boxes, Labels
from .assembly import Run
from .errors import UsageError
from .sequence.prompting import category_words
from .task import Annotations


@dataclass(frozen=True)
class Wish:
    """What the user asked for, still in words."""

    tasks: Sequence[str] | None
    sentence: str | None  # in words, in place of tasks
    classes: str | None  # category names, separated by commas
    boxes: tuple[str, ...]  # x0,y0,x1,y1
    min_score: float


def asked_tasks(wish: Wish) -> tuple[list[str], str]:
    """Task names and category words; none where the model's own tasks shall be used."""
    if wish.sentence is None:
        return list(wish.tasks or ()), wish.classes or ""
    names = [p.name for p in plugins.installed() if not wish.tasks or p.name in wish.tasks]
    matches = {name: plugins.load(name)().prompt.match(wish.sentence) for name in names}
    found = {name: words for name, words in matches.items() if words is not None}
    if found:  # `find the pose of dogs` fits `find {class}` as well: what says more of the sentence is meant
        name = min(found, key=lambda name: len(found[name]))
        return [name], found[name] or wish.classes or ""
    phrases = [p for plugin in plugins.installed() for p in plugins.load(plugin.name)().prompt.phrases]
    raise UsageError(f"--ask '{wish.sentence}': no task knows this phrase; known: {', '.join(phrases)}")


def given_annotations(wish: Wish, words: str, run: Run) -> Annotations:
    """What the user hands to the tasks, as annotations."""
    given: dict[str, Annotation] = {}
    labels = category_words(words, run.vocab.classes) if words else ()
    if labels:
        given["labels"] = Labels(labels)
    if wish.boxes:
        label = labels[0] if labels else ""
        boxes = np.array([_box(text) for text in wish.boxes])
        given["boxes"] = Boxes(boxes, (label,) * len(boxes))
    return given


def _box(text: str) -> list[float]:
    try:
        x0, y0, x1, y1 = (float(part) for part in text.split(","))
    except ValueError as error:
        raise UsageError(f"--box {text}: give four numbers in pixels, as 120,80,300,420") from error
    if not (np.isfinite([x0, y0, x1, y1]).all() and x0 < x1 and y0 < y1):
        raise UsageError(f"--box {text}: left must be less than right, and top less than bottom")
    return [x0, y0, x1, y1]
