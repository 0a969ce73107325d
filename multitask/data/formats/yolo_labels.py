"""The label files of YOLO: one object a line, its class and its place in fractions of the upright image.

`class cx cy w h` is a box, `class x1 y1 x2 y2 x3 y3 ...` an outline; where a data set has points, they follow the box.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...geometry import FloatArray, clip_polygon
from ...task import Category
from .. import checks
from ..checks import Size
from ..faults import Fault, Unusable
from ..outlines import area
from ..paths import file_problem
from ..table import TableObject

MAX_BYTES, MAX_ROWS = 10_000_000, 10_000  # of the label file of one image
ROUNDING = 1e-3  # of a side: what reaches out of the image no further is not worth a word
FARTHEST = 2.0  # fractions never come near it, pixels do

Points = tuple[FloatArray, NDArray[np.int64]]  # (K, 2), visibility (K,)
Note = Callable[[Unusable, str], None]  # keeps the fault of a row and what was done about it


@dataclass
class LabelReader:
    """Reads the label files of one split, and counts its rows."""

    root: Path
    categories: Mapping[int, Category]
    points: int = 0  # of each object
    dimensions: int = 3  # numbers of a point
    files: int = 0
    rows: int = 0
    faults: list[Fault] = field(default_factory=list)

    def read(self, path: Path, name: str, size: Size) -> list[TableObject]:
        """The objects of one image (`name` stands for the file in faults); none where it has no label file.

        Raises Unusable where the file as a whole cannot be used."""
        lines = self._lines(path, name)
        found: list[TableObject] = []
        seen: set[tuple[bytes, ...]] = set()
        for number, line in enumerate(lines, 1):
            if words := tuple(line.split()):
                self.rows += 1
                note = self._notebook(name, number, line)
                try:
                    checks.new(words, "row", seen)
                    seen.add(words)
                    found.append(self._object(words, size, note))
                except Unusable as error:
                    note(error, "skipped")
        return found

    def _lines(self, path: Path, name: str) -> list[bytes]:
        if not os.path.lexists(path):
            return []
        self.files += 1
        try:
            problem = file_problem(path, self.root)
            if not problem and path.stat().st_size > MAX_BYTES:
                problem = f"is larger than {MAX_BYTES // 10**6} MB"
            content = b"" if problem else path.read_bytes().removeprefix(b"\xef\xbb\xbf")
        except OSError as error:
            problem = f"cannot be read: {error.strerror}"
        if not problem and b"\0" in content:
            problem = "is not text"
        if problem:
            raise Unusable("label file", name, problem, "write it as text, one object a line")
        lines = content.splitlines()
        if len(lines) > MAX_ROWS:
            raise Unusable("label file", name, f"has more than {MAX_ROWS} lines", "correct it")
        return lines

    def _notebook(self, name: str, number: int, line: bytes) -> Note:
        def note(error: Unusable, action: str) -> None:
            text = line[:80].decode("ascii", "backslashreplace").strip()
            told = Unusable(error.field, text, error.reason, error.fix)
            self.faults.append(told.fault(name, f"line {number}", action))

        return note

    def _object(self, words: Sequence[bytes], size: Size, note: Note) -> TableObject:
        label, *rest = _numbers(words)
        if label not in self.categories:
            raise Unusable("class", label, "is none of the names", "number the names from 0, or correct the row")
        category, values = self.categories[int(label)], np.array(rest)
        if self.points:
            return self._posed(category, values, size, note)
        if len(values) == 4:
            return self._boxed(category, values, size, note)
        if len(values) < 6 or len(values) % 2:
            raise _miscounted(len(values))
        return self._outlined(category, values.reshape(-1, 2), size, note)

    def _boxed(self, category: Category, values: FloatArray, size: Size, note: Note) -> TableObject:
        values = _fractions(values)
        centre, sides = values[:2], values[2:]
        if (sides <= 0).any():
            raise Unusable("box", values, "has no positive width and height", "write class cx cy w h, centre first")
        corners = np.concatenate([centre - sides / 2, centre + sides / 2])
        xyxy = corners.clip(0.0, 1.0)
        found = self._made(category, xyxy, size)
        _told_if_cut("box", corners, xyxy, note)
        return found

    def _outlined(self, category: Category, points: FloatArray, size: Size, note: Note) -> TableObject:
        """An outline keeps to the image; its bounds are the box."""
        inside = _fractions(points).clip(0.0, 1.0)
        if np.abs(points - inside).max() > ROUNDING:
            inside = clip_polygon(points, (1.0, 1.0))
        if len(inside) < 3:
            raise Unusable("outline", points, "lies outside the image", "correct it")
        found = self._made(category, np.concatenate([inside.min(axis=0), inside.max(axis=0)]), size)
        _told_if_cut("outline", points, points.clip(0.0, 1.0), note)
        outline = inside * size
        checks.bounded(outline, points, "outline")
        if area(outline) > checks.LEAST_AREA:
            found.parts, found.area = (outline,), area(outline)
        else:
            note(Unusable("outline", points, "encloses nothing of the image", "draw it anew"), "outline left out")
        return found

    def _posed(self, category: Category, values: FloatArray, size: Size, note: Note) -> TableObject:
        count = 4 + self.points * self.dimensions
        fix = f"write class cx cy w h, and {self.dimensions} numbers for each of the {self.points} points"
        if len(values) not in (4, count):
            raise Unusable("row", values, f"has not {1 + count} numbers", fix)
        found = self._boxed(category, values[:4], size, note)
        try:
            if len(values) == 4:
                raise Unusable("keypoints", values, "are missing", fix)
            found.points, outside = self._points(values[4:].reshape(self.points, self.dimensions), size)
            if outside:
                far = Unusable("keypoints", values, "reach out of the image", "write 0 for what is not labelled")
                note(far, "those points left out")
        except Unusable as error:
            note(error, "keypoints left out")
        return found

    def _points(self, values: FloatArray, size: Size) -> tuple[Points, bool]:
        """Points (K, 2 or 3); with 2 numbers each, what is not at (0, 0) is visible."""
        xy = _fractions(values[:, :2])
        visibility = values[:, 2] if self.dimensions == 3 else np.where(xy.any(axis=1), 2.0, 0.0)
        triples = np.column_stack([xy * size, visibility])
        return checks.points(triples.ravel().tolist(), self.points, size)

    def _made(self, category: Category, xyxy: FloatArray, size: Size) -> TableObject:
        if (xyxy[2:] <= xyxy[:2]).any():
            raise Unusable("box", xyxy, "is empty, or lies outside the image", "correct it")
        low, high = xyxy[:2] * size, xyxy[2:] * size
        return TableObject(self.rows, category, np.concatenate([low, high]), float((high - low).prod()))


def _numbers(words: Sequence[bytes]) -> list[float]:
    try:
        if any(b"_" in word for word in words):  # Python's own way of writing numbers
            raise ValueError
        numbers = [float(word) for word in words]
    except ValueError:
        raise Unusable("row", words, "is not numbers with blanks between", "write class cx cy w h") from None
    if not all(map(isfinite, numbers)):
        raise Unusable("row", words, "is not finite", "correct it, or remove the row")
    return numbers


def _miscounted(count: int) -> Unusable:
    if count == 5:
        fix = "remove the confidence: labels say what is there"
        return Unusable("row", count, "has 6 numbers, a box and one more", fix)
    fix = "write class cx cy w h, or class x1 y1 x2 y2 x3 y3 ..."
    return Unusable("row", count, "has neither 5 numbers nor a class and 3 points or more", fix)


def _fractions(values: FloatArray) -> FloatArray:
    if np.abs(values).max() > FARTHEST:
        fix = "divide x by the width of the image, y by its height"
        raise Unusable("coordinates", values, "are pixels, not fractions of the image", fix)
    return values


def _told_if_cut(name: str, values: FloatArray, inside: FloatArray, note: Note) -> None:
    if np.abs(values - inside).max() > ROUNDING:
        note(Unusable(name, values, "reaches out of the image", "check the coordinates"), "clipped")
