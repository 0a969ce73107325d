"""`mtp predict`: files in, a table, a picture and a JSON file out for each."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import __version__
from .annotations import Annotation, Boxes, Captions
from .assembly import open_run
from .attention import AttentionMap, AttentionWatch, draw_attention
from .data.images import list_images, read_image
from .decoding.speed import Speed
from .draw import draw, save_picture
from .errors import DataError, MtpError
from .example import Example
from .files import sanitise, unique_path, write_atomic
from .inference import Predictor, above
from .machine import cores, pick_device
from .task import Annotations
from .wishes import Wish, asked_tasks, given_annotations

SCHEMA = 1  # of the JSON files
JPEG = {".jpg", ".jpeg"}  # images of which the picture is a JPEG too: it takes a tenth of a PNG's time
Pixels = NDArray[np.uint8]  # (H, W, 3)
Reading = dict[Path, Future[Pixels]]


@dataclass(frozen=True)
class Means:
    """What answers, and how."""

    model: str | None = None  # a run folder or checkpoint; None: the newest under `runs/`
    options: Sequence[str] = ()  # of its tasks, as tasks.NAME.KEY=VALUE
    device: str = "auto"
    speed: Speed | None = None
    batch_size: int = 8
    seed: int = 0


@dataclass(frozen=True)
class Result:
    """What became of one image: rows for a table and the files written, or the error."""

    file: str
    rows: Sequence[Sequence[object]] = ()
    picture: str = ""
    json: str = ""
    error: str = ""
    attention: Sequence[str] = ()  # more pictures


@dataclass(frozen=True)
class Answer:
    """What was answered about one image, from the smallest score on."""

    found: Mapping[str, Annotations]  # by task
    looks: Mapping[tuple[str, str], Sequence[AttentionMap]]  # by task, and what the picture of them is called


def predict_files(
    arguments: Sequence[str], wish: Wish, means: Means, out: Path, attention: bool = False
) -> Iterator[Result]:
    """Ask a model about files, folders and patterns; results come in this order, once their files are written to `out`.

    `attention`: also draw where the decoder looked. Raises UsageError, DataError or CheckpointError when nothing can be
    done at all; a bad image is a result of its own.
    """
    files, failures = _files(arguments)
    names, words = asked_tasks(wish)
    run = open_run(means.model, names).with_options(means.options)
    names = names or list(run.tasks)
    given = given_annotations(wish, words, run)
    predictor = run.predictor(pick_device(means.device), means.speed)
    predictor.seed, predictor.floor = means.seed, wish.min_score
    for name in names:
        predictor.task(name)
    yield from (Result(failure, error=failure) for failure in failures)
    out.mkdir(parents=True, exist_ok=True)
    order = Order(str(run.folder), predictor, names, given, wish.min_score, out, attention)
    yield from predict_images(files, means.batch_size, order)


@dataclass(frozen=True)
class Order:
    """What is asked about every image, and where the answers go."""

    model: str  # its name in the JSON files
    predictor: Predictor
    names: Sequence[str]  # of tasks
    given: Annotations
    min_score: float
    out: Path  # a folder that is there
    attention: bool = False  # whether it is drawn
    taken: set[str] = field(default_factory=set)  # names of files in it that are results


def predict_images(files: Sequence[Path], batch_size: int, order: Order) -> Iterator[Result]:
    """The results of a batch come when the model has answered about the next one, or could not.

    Meanwhile they are written, and the batch after next is read: the pixels of about two batches lie in memory.
    """
    batches = (files[first : first + batch_size] for first in range(0, len(files), batch_size))
    done: Iterator[Result] = iter(())
    with _helpers() as pool:
        ahead = ({file: pool.submit(_read, file, order.given) for file in batch} for batch in batches)
        reading = next(ahead, None)
        while reading:
            images, bad = _loaded(reading)
            reading = next(ahead, None)
            try:
                answers = _answers(images, order)
            finally:  # what is written is told, also before an error
                yield from done
            writing = [
                pool.submit(_write, file, image, a, order.model, _paths(file, a, order))
                for (file, image), a in zip(images.items(), answers, strict=True)
            ]
            done = chain(bad, map(Future.result, writing))
        yield from done


@contextmanager
def _helpers() -> Iterator[ThreadPoolExecutor]:
    """Threads that read and write while the model answers, and leave it a core. After an error they begin no more."""
    pool = ThreadPoolExecutor(max(1, min(8, cores() - 1)))
    try:
        with warnings.catch_warnings():  # reading an image does so too, and threads would bring back each other's
            warnings.filterwarnings("ignore", module="PIL")
            yield pool
    finally:
        pool.shutdown(cancel_futures=True)


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


def _read(file: Path, given: Annotations) -> Pixels:
    """The image. Raises DataError where it cannot be read, or a box lies wholly outside it."""
    image = read_image(file)
    boxes, (height, width) = given.get("boxes"), image.shape[:2]
    for x0, y0, x1, y1 in boxes.xyxy.tolist() if isinstance(boxes, Boxes) else ():
        if x0 >= width or y0 >= height or min(x1, y1) <= 0:
            where = f"--box {[x0, y0, x1, y1]} lies outside its {width} x {height} pixels"
            raise DataError(f"{file}: {where}; give pixels of this image")
    return image


def _loaded(reading: Reading) -> tuple[dict[Path, Pixels], list[Result]]:
    """The images that could be read, and what is wrong with the others."""
    images, bad = {}, []
    for file, future in reading.items():
        try:
            images[file] = future.result()
        except MtpError as error:
            bad.append(Result(str(file), error=str(error)))
    return images, bad


def _answers(images: Mapping[Path, Pixels], order: Order) -> list[Answer]:
    """What each task answers about each image."""
    examples = [_example(file, image) for file, image in images.items()]
    watch = AttentionWatch(order.predictor, order.names) if order.attention else None
    answers = order.predictor.predict(examples, order.names, [order.given] * len(examples), watch) if examples else []
    found = [{name: above(p.annotations, order.min_score) for name, p in answer.items()} for answer in answers]
    return [Answer(tasks, _looks(watch, image) if watch else {}) for image, tasks in enumerate(found)]


def _looks(watch: AttentionWatch, image: int) -> dict[tuple[str, str], list[AttentionMap]]:
    """The maps of each picture that is drawn of an image: one an object, or one for all that is about no object."""
    looks: dict[tuple[str, str], list[AttentionMap]] = {}
    for name in watch.names:
        for seen in watch.maps.get((image, name), ()):
            called = "attention" if seen.item is None else f"attention-{seen.item + 1}"
            looks.setdefault((name, called), []).append(seen)
    return looks


def _example(file: Path, image: Pixels) -> Example:
    height, width = image.shape[:2]
    return Example(str(file), str(file), (width, height), {}, lambda reduce=1: image)


def _paths(file: Path, answer: Answer, order: Order) -> tuple[Path, ...]:
    """Where the JSON file of an image, its picture and those of attention go, all with the same number if with one."""
    suffix = ".jpg" if file.suffix.casefold() in JPEG else ".png"
    stem = f"{file.stem}.{'-'.join(answer.found)}"
    document = unique_path(order.out, stem, ".json", order.taken)
    while (picture := document.with_suffix(suffix)).name.casefold() in order.taken:  # long names are cut
        document = unique_path(order.out, stem, ".json", order.taken)
    order.taken.add(picture.name.casefold())
    number = document.stem.removeprefix(sanitise(stem))
    names = (f"{file.stem}.{task}{number}.{called}" for task, called in answer.looks)
    return document, picture, *(unique_path(order.out, name, suffix, order.taken) for name in names)


def _write(file: Path, image: Pixels, answer: Answer, model: str, paths: tuple[Path, ...]) -> Result:
    """Draw and write an image's answers. Raises DataError where they cannot be written."""
    document, picture, *more = paths
    answers = answer.found
    height, width = image.shape[:2]
    record = {
        "schema": SCHEMA,
        "mtp": __version__,
        "model": model,
        "image": {"file": str(file), "width": width, "height": height},
        "tasks": {name: {kind: a.to_json() for kind, a in found.items()} for name, found in answers.items()},
    }
    try:
        shown = [a for found in answers.values() for a in found.values()]
        save_picture(draw(image, shown), picture)
        for path, maps in zip(more, answer.looks.values(), strict=True):
            save_picture(draw_attention(image, maps), path)
        write_atomic(document, json.dumps(record, indent=1, ensure_ascii=False).encode())
    except OSError as error:
        raise DataError(f"{picture}: cannot be written: {error.strerror}; free space, or give another --out") from error
    rows = [row for name, found in answers.items() for a in found.values() for row in _rows(name, a)]
    return Result(str(file), rows, str(picture), str(document), attention=[str(path) for path in more])


def _rows(task: str, annotation: Annotation) -> list[list[Any]]:
    """Lines of the table: task, answer, score, where."""
    if isinstance(annotation, Boxes):
        rows = zip(annotation.labels, annotation.scores, annotation.xyxy, strict=True)
        return [[task, name, float(s), ", ".join(f"{v:.0f}" for v in box)] for name, s, box in rows]
    if isinstance(annotation, Captions):
        scores = annotation.scores or (1.0,) * len(annotation)
        return [[task, text, float(s), ""] for text, s in zip(annotation.texts, scores, strict=True)]
    return [[task, json.dumps(annotation.to_json()), "", ""]]
