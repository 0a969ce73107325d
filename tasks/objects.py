"""Asking about single objects: which, by what prompt, and in what view."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

import numpy as np

from ..annotations import Boxes
from ..task import Annotations, Prompt, Query, View, Vocabulary
from .noise import jittered

B = TypeVar("B", bound=Boxes)


def known_objects(annotations: Annotations, kind: str) -> Boxes:
    """What can be asked about: the objects annotated with `kind`, or else those that were found or given as boxes."""
    known = annotations.get(kind, annotations.get("boxes"))
    return known.answerable() if isinstance(known, Boxes) else Boxes(np.zeros((0, 4)), ())


def question(prompt: Prompt, one: Boxes, label: str, vocab: Vocabulary) -> Query:
    """A prompt with the box of `one` and a category; what is known of it besides, such as points, is left behind.

    Raises UsageError where the prompt needs a category and `label` is empty.
    """
    about = Boxes(one.xyxy, (label,), one.scores, one.crowd, one.areas, one.ids)
    return Query(prompt.encode(vocab, one.xyxy[0], label or None), {"boxes": about})


def asked_about(query: Query) -> Boxes:
    """The one object of a `question`."""
    one = query.about["boxes"]
    assert isinstance(one, Boxes)  # noqa: S101  # as `question` makes it
    return one


def object_views(objects: Boxes, scale: float) -> list[View]:
    """A view of each object, with sides `scale` times those of its box (Pix2Seq v2, arXiv 2206.07669, section 3.2)."""
    regions = [around(box, scale) for box in objects.xyxy.tolist()]
    return [View(region, {objects.kind: objects.take([i])}) for i, region in enumerate(regions)]


def around(box: list[float], scale: float) -> tuple[float, float, float, float]:
    """The box xyxy with its sides `scale` times as long, about the same middle."""
    x0, y0, x1, y1 = box
    across, down = (x1 - x0) * (scale - 1) / 2, (y1 - y0) * (scale - 1) / 2
    return x0 - across, y0 - down, x1 + across, y1 + down


def some(objects: B, most: int, jitter: float, rng: np.random.Generator) -> B:
    """At most `most` of the objects, with each edge of their boxes moved by up to `jitter` of its side."""
    chosen = objects.take(rng.permutation(len(objects))[:most])
    return replace(chosen, xyxy=jittered(chosen.xyxy, jitter, rng))
