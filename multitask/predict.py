"""`mtp predict`: files in, a table, a picture and a JSON file out for each."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import __version__, plugins
from .annotations import Annotation, Boxes, Captions, Labels
from .assembly import Run, open_run
from .data.images import list_images, read_image
from .draw import draw, save_png
from .errors import DataError, MtpError, UsageError
from .example import Example
from .files import unique_path, write_atomic
from .inference import Predictor, above
from .machine import pick_device
from .sequence.prompting import category_words
from .task import Annotations

SCHEMA = 1  # of the JSON files


@dataclass(frozen=True)
class Wish:
    """What the user asked for, still in words."""

    tasks: Sequence[str] | None
    sentence: str | None  # in words, in place of tasks
    classes: str | None  # category names, separated by commas
    boxes: tuple[str, ...]  # x0,y0,x1,y1
    min_score: float


@dataclass(frozen=True)
class Result:
    """What became of one image: rows for a table and the files written, or the error."""

    file: str
    rows: Sequence[Sequence[object]] = ()
    picture: str = ""
    json: str = ""
    error: str = ""


def predict_files(
    arguments: Sequence[str], wish: Wish, model: str | None, out: Path, device: str, seed: int, batch_size: int
) -> Iterator[Result]:
    """Ask a model about files, folders and patterns; results come as they are ready.

    Raises UsageError, DataError or CheckpointError when nothing can be done at all; a bad image is a result of its own.
    """
    files, failures = _files(arguments)
    names, words = _asked_tasks(wish)
    run = open_run(model, names)
    names = names or list(run.tasks)
    given = _given(wish, words, run)
    predictor = run.predictor(pick_device(device))
    predictor.seed, predictor.floor = seed, wish.min_score
    for name in names:
        predictor.task(name)
    yield from (Result(failure, error=failure) for failure in failures)
    taken: set[str] = set()
    out.mkdir(parents=True, exist_ok=True)
    remaining = iter(files)
    while chunk := list(islice(remaining, batch_size)):
        yield from _predict_chunk(chunk, names, given, predictor, run, wish.min_score, out, taken)


def _files(arguments: Sequence[str]) -> tuple[list[Path], list[str]]:
    """The images of all arguments, and what is wrong with the others. Raises DataError when there is no image."""
    files: list[Path] = []
    failures: list[str] = []
    for argument in arguments:
        try:
            files += list_images([argument])
        except DataError as error:
            failures.append(str(error))
    if not files:
        raise DataError("; ".join(failures))
    return list(dict.fromkeys(files)), failures


def _asked_tasks(wish: Wish) -> tuple[list[str], str]:
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


def _given(wish: Wish, words: str, run: Run) -> Annotations:
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


def _predict_chunk(
    files: Sequence[Path],
    names: Sequence[str],
    given: Annotations,
    predictor: Predictor,
    run: Run,
    min_score: float,
    out: Path,
    taken: set[str],
) -> Iterator[Result]:
    images: dict[Path, NDArray[np.uint8]] = {}
    for file in files:
        try:
            images[file] = read_image(file)
        except MtpError as error:
            yield Result(str(file), error=str(error))
        if file in images and (outside := _outside(given, images[file])):
            yield Result(str(file), error=f"{file}: --box {outside}; give pixels of this image")
            del images[file]
    examples = [_example(file, image) for file, image in images.items()]
    answers = predictor.predict(examples, names, [given] * len(examples)) if examples else []
    for (file, image), answer in zip(images.items(), answers, strict=True):
        kept = {name: above(prediction.annotations, min_score) for name, prediction in answer.items()}
        yield _write(file, image, kept, run, out, taken)


def _outside(given: Annotations, image: NDArray[np.uint8]) -> str:
    """Which box lies wholly outside the image; empty if none does."""
    boxes, (height, width) = given.get("boxes"), image.shape[:2]
    for x0, y0, x1, y1 in boxes.xyxy.tolist() if isinstance(boxes, Boxes) else ():
        if x0 >= width or y0 >= height or min(x1, y1) <= 0:
            return f"{[x0, y0, x1, y1]} lies outside its {width} x {height} pixels"
    return ""


def _example(file: Path, image: NDArray[np.uint8]) -> Example:
    height, width = image.shape[:2]
    return Example(str(file), str(file), (width, height), {}, lambda reduce=1: image)


def _write(
    file: Path, image: NDArray[np.uint8], answers: dict[str, Annotations], run: Run, out: Path, taken: set[str]
) -> Result:
    stem = f"{file.stem}.{'-'.join(answers)}"
    picture = unique_path(out, stem, ".png", taken)
    document = unique_path(out, stem, ".json", taken)
    height, width = image.shape[:2]
    record = {
        "schema": SCHEMA,
        "mtp": __version__,
        "model": str(run.folder),
        "image": {"file": str(file), "width": width, "height": height},
        "tasks": {name: {kind: a.to_json() for kind, a in found.items()} for name, found in answers.items()},
    }
    try:
        shown = [a for found in answers.values() for a in found.values()]
        save_png(draw(image, shown), picture)
        write_atomic(document, json.dumps(record, indent=1, ensure_ascii=False).encode())
    except OSError as error:
        raise DataError(f"{picture}: cannot be written: {error.strerror}; free space, or give another --out") from error
    rows = [row for name, found in answers.items() for a in found.values() for row in _rows(name, a)]
    return Result(str(file), rows, str(picture), str(document))


def _rows(task: str, annotation: Annotation) -> list[list[Any]]:
    """Lines of the table: task, answer, score, where."""
    if isinstance(annotation, Boxes):
        rows = zip(annotation.labels, annotation.scores, annotation.xyxy, strict=True)
        return [[task, name, float(s), ", ".join(f"{v:.0f}" for v in box)] for name, s, box in rows]
    if isinstance(annotation, Captions):
        scores = annotation.scores or (1.0,) * len(annotation)
        return [[task, text, float(s), ""] for text, s in zip(annotation.texts, scores, strict=True)]
    return [[task, json.dumps(annotation.to_json()), "", ""]]
