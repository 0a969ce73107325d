"""Answers of any software in COCO's results form, by image."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from ...annotations import Annotation, Boxes, Captions, Keypoints, Polygons
from ...errors import DataError
from ...geometry import FloatArray
from ...task import Annotations, DatasetInfo
from .. import checks
from ..checks import Size
from ..faults import Unusable
from ..masks import packed
from .coco_files import read_value

LARGEST = 1e30  # of a score
SHAPES = ("segmentation", "keypoints", "bbox")  # an entry has one of them, or a caption
V = TypeVar("V")
Row = tuple[int, Mapping[str, Any]]  # its place in the file, and an entry


def read_results(path: Path, info: DatasetInfo, sizes: Mapping[int | str, Size]) -> dict[int | str, Annotations]:
    """Answers about images of a data set, whose ids and sizes (width, height) are given, in the order of the file.

    Raises DataError, naming the entry, for the first that is not sound: without it the scores would be others.
    """
    rows = read_value(path, path.parent)
    if not isinstance(rows, list):
        raise DataError(f"{path}: not a file of results, which is a list of answers; give the list itself")
    reader = _Reader(path, info, sizes)
    numbered = sorted(((reader.image(row), row) for row in enumerate(rows)), key=lambda pair: _order(pair[0]))
    groups = groupby(numbered, key=itemgetter(0))
    return {image: reader.annotations([row for _, row in group], image) for image, group in groups}


def _order(image: int | str) -> tuple[bool, int | str]:
    return isinstance(image, str), image


class _Reader:
    """Makes annotations of entries."""

    def __init__(self, path: Path, info: DatasetInfo, sizes: Mapping[int | str, Size]) -> None:
        self.path, self.info, self.sizes = path, info, sizes
        self.names = {category.id: category.name for category in info.categories}

    def image(self, row: Row) -> int | str:
        """The image that the entry is about."""
        number, entry = row
        if not isinstance(entry, dict):
            raise DataError(f"{self.path}: entry {number} is not an object; export it again")
        image = entry.get("image_id")
        if isinstance(image, bool) or not isinstance(image, int | str) or image not in self.sizes:
            raise DataError(
                f"{self.path}: entry {number}: no image has the image_id {image!r:.60}; {self._hint(image)}"
            )
        return image

    def _hint(self, image: Any) -> str:
        if isinstance(image, str) and image.isdecimal() and int(image) in self.sizes:
            return "write it without quotes"
        known = f"'{self.info.name}' has {len(self.sizes)} images, such as {next(iter(self.sizes), None)!r}"
        return f"{known}; answers about other data want --data"

    def annotations(self, rows: Sequence[Row], image: int | str) -> dict[str, Annotation]:
        """All that the entries about one image say, by kind."""
        if any("caption" in row for _, row in rows):
            texts = self._each(rows, "caption", _sentence)
            if len(rows) > 1:
                raise DataError(f"{self.path}: entry {rows[1][0]}: image {image!r} has a caption already; remove one")
            return {"captions": Captions(tuple(texts))}
        size = self.sizes[image]
        boxes = self._boxes(rows, size)
        found: dict[str, Annotation] = {Boxes.kind: boxes} if any("bbox" in row for _, row in rows) else {}
        if any("segmentation" in row for _, row in rows):
            shapes = self._each(rows, "segmentation", lambda value, _: checks.segmentation(value, size, empty=True))
            masks = tuple(None if mask is None else packed(mask) for _, mask in shapes)
            parts = tuple(parts for parts, _ in shapes)
            found[Polygons.kind] = Polygons(boxes.xyxy, boxes.labels, boxes.scores, parts=parts, masks=masks)
        if any("keypoints" in row for _, row in rows):
            points = np.array(self._each(rows, "keypoints", lambda value, field: self._points(value, field, size)))
            seen, skeleton = np.full(points.shape[:2], 2), self.info.skeleton
            found[Keypoints.kind] = Keypoints(
                boxes.xyxy, boxes.labels, boxes.scores, points=points, visibility=seen, skeleton=skeleton
            )
        return found

    def _boxes(self, rows: Sequence[Row], size: Size) -> Boxes:
        labels = self._each(rows, "category_id", self._category)
        scores = self._each(rows, "score", _number)
        return Boxes(np.array([self._box(row, size) for row in rows]), tuple(labels), np.array(scores))

    def _category(self, value: Any, field: str) -> str:
        if isinstance(value, bool) or not isinstance(value, int) or value not in self.names:
            some = ", ".join(f"{number} ({name})" for number, name in list(self.names.items())[:3])
            raise Unusable(field, value, f"is no category of '{self.info.name}'", f"that has {some} and so on")
        return self.names[value]

    def _box(self, row: Row, size: Size) -> FloatArray:
        """As the entry says, or the whole image: an outline or points are scored without a box."""
        _, entry = row
        if "bbox" in entry or not any(name in entry for name in SHAPES):
            left, top, width, height = self._value(row, "bbox", lambda value, field: _box(value, field, size))
            return np.array([left, top, left + width, top + height])
        return np.array([0.0, 0.0, *size])

    def _points(self, value: Any, field: str, size: Size) -> FloatArray:
        count, numbers = len(self.info.skeleton), checks.numbers(value, field, size)
        if not count or len(numbers) != 3 * count:
            raise Unusable(field, value, f"has not 3 numbers for each of the {count} points of the data set")
        return numbers.reshape(-1, 3)[:, :2]

    def _each(self, rows: Sequence[Row], field: str, check: Callable[[Any, str], V]) -> list[V]:
        return [self._value(row, field, check) for row in rows]

    def _value(self, row: Row, field: str, check: Callable[[Any, str], V]) -> V:
        number, entry = row
        if field not in entry:
            raise DataError(f"{self.path}: entry {number} has no {field}, which every answer of its kind needs")
        try:
            return check(entry[field], field)
        except Unusable as error:
            raise DataError(f"{error.fault(str(self.path), f'entry {number}', 'refused')}") from None


def _sentence(value: Any, field: str) -> str:
    """A model may say nothing."""
    return "" if isinstance(value, str) and not value.strip() else checks.text(value, field)


def _number(value: Any, field: str) -> float:
    if type(value) not in (int, float) or not abs(value) <= LARGEST:  # nan too
        raise Unusable(field, value, "is not a finite number", "write a number without quotes")
    return float(value)


def _box(value: Any, field: str, size: Size) -> FloatArray:
    numbers = checks.numbers(value, field, size)
    if len(numbers) != 4 or (numbers[2:] < 0).any():
        raise Unusable(field, value, "is not [left, top, width, height]", "give pixels of the image")
    return numbers
