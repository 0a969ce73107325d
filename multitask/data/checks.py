"""Rules that values from a data set must pass before anything else sees them, native code above all.

Each rule takes what the file holds and returns it cleaned, or raises Unusable. Limits are in pixels.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry import FloatArray

MAX_PIXELS = 100_000_000  # of one image
MAX_SIDES = 16  # coordinates may reach this many image sides; beyond lies damage, not an object
MAX_TEXT = 10_000  # characters of a caption or a name
TWICE = "occurs twice"

Size = tuple[int, int]  # (width, height)


@dataclass(frozen=True)
class Fault:
    """Something wrong in a data set, and what was done about it."""

    file: str
    where: str  # e.g. "annotation 12"
    field: str
    value: str  # shortened
    reason: str
    action: str  # "skipped", "clipped" ...

    def __str__(self) -> str:
        return f"{self.file}: {self.where}: {self.field} {self.value} {self.reason} ({self.action})"


class Unusable(Exception):
    """A value that breaks a rule."""

    def __init__(self, field: str, value: Any, reason: str) -> None:
        super().__init__(f"{field} {value!r:.60} {reason}")
        self.field, self.value, self.reason = field, value, reason

    def fault(self, file: str, where: str, action: str = "skipped") -> Fault:
        text = repr(self.value)
        return Fault(file, where, self.field, text if len(text) <= 60 else text[:57] + "...", self.reason, action)


def tally(faults: Iterable[Fault]) -> dict[str, int]:
    """How often each kind of fault occurs, most frequent first."""
    counts = Counter(f"{fault.field} {fault.reason} ({fault.action})" for fault in faults)
    return dict(counts.most_common())


# ------------------------------------------------------------------------------------------------------ plain values


def identifier(value: Any, field: str) -> int:
    """An id of an annotation or a category."""
    if type(value) is not int or not -(2**63) <= value < 2**63:
        raise Unusable(field, value, "is not a 64-bit integer")
    return value


def image_id(value: Any, field: str) -> int | str:
    """An id of an image: COCO has numbers, others names."""
    return text(value, field) if isinstance(value, str) else identifier(value, field)


def text(value: Any, field: str) -> str:
    """Words on one line, every run of white space one blank."""
    if not isinstance(value, str):
        raise Unusable(field, value, "is not a string")
    line = " ".join(value.split())
    if not line:
        raise Unusable(field, value, "is empty")
    if len(line) > MAX_TEXT:
        raise Unusable(field, value, f"is longer than {MAX_TEXT} characters")
    try:
        line.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        raise Unusable(field, value, "is not valid Unicode") from None
    return line


def side(value: Any, field: str) -> int:
    """Width or height of an image."""
    if type(value) not in (int, float) or not 1 <= value <= MAX_PIXELS or value != int(value):
        raise Unusable(field, value, "is not a positive whole number of pixels")
    return int(value)


def image_size(entry: Mapping[str, Any]) -> Size:
    """Width and height of an image as its entry says."""
    width, height = side(entry.get("width"), "width"), side(entry.get("height"), "height")
    if width * height > MAX_PIXELS:
        raise Unusable("width", width, f"times height {height} is more than {MAX_PIXELS // 10**6} megapixels")
    return width, height


def known(value: Any, field: str, choices: Mapping[Any, Any]) -> Any:
    """What `value` names among `choices`."""
    if isinstance(value, bool) or not isinstance(value, (int, str)) or value not in choices:
        raise Unusable(field, value, "names nothing in this file")
    return choices[value]


def new(value: Any, field: str, seen: Container[Any]) -> None:
    """Refuse what was seen before."""
    if value in seen:
        raise Unusable(field, value, TWICE)


def crowd(value: Any) -> bool:
    """COCO's flag of a group."""
    if type(value) not in (int, bool) or value not in (0, 1):
        raise Unusable("iscrowd", value, "is not 0 or 1")
    return bool(value)


def area(value: Any) -> float:
    """Square pixels of an object as annotated."""
    if type(value) not in (int, float) or not 0 <= value <= (MAX_SIDES**2) * MAX_PIXELS:
        raise Unusable("area", value, "is not a finite number from 0")
    return float(value)


# -------------------------------------------------------------------------------------------------------- geometry


def numbers(value: Any, field: str, size: Size) -> FloatArray:
    """A flat list of finite numbers within MAX_SIDES image sides."""
    if not isinstance(value, list) or not set(map(type, value)) <= {int, float}:
        raise Unusable(field, value, "is not a list of numbers")
    try:
        array = np.array(value, dtype=np.float64)
    except OverflowError:
        array = np.array([np.inf])
    if not np.isfinite(array).all():
        raise Unusable(field, value, "is not finite")
    if len(array) and np.abs(array).max() > MAX_SIDES * max(size):
        raise Unusable(field, value, f"reaches further than {MAX_SIDES} image sides")
    return array


def box(value: Any, size: Size) -> tuple[FloatArray, bool]:
    """COCO's [x, y, width, height] as xyxy (4,) clipped to the image, and whether more than a pixel was cut off."""
    array = numbers(value, "bbox", size)
    if len(array) != 4:
        raise Unusable("bbox", value, "has not 4 numbers")
    x, y, width, height = array.tolist()
    if width <= 0 or height <= 0:
        raise Unusable("bbox", value, "has no positive width and height")
    xyxy = (x, y, x + width, y + height)
    clipped = (max(x, 0.0), max(y, 0.0), min(xyxy[2], float(size[0])), min(xyxy[3], float(size[1])))
    if clipped[2] <= clipped[0] or clipped[3] <= clipped[1]:
        raise Unusable("bbox", value, "lies outside the image")
    return np.array(clipped), any(abs(a - b) > 1 for a, b in zip(xyxy, clipped, strict=True))


def segmentation(value: Any, size: Size) -> tuple[tuple[FloatArray, ...], dict[str, Any] | None]:
    """The outline of one object: its polygons (P, 2), or none of these and its run-length mask."""
    if isinstance(value, dict):
        return (), mask(value, size)
    if not isinstance(value, list) or not value:
        raise Unusable("segmentation", value, "is neither a list of polygons nor a run-length mask")
    parts = []
    for part in value:
        array = numbers(part, "segmentation", size)
        if len(array) % 2:
            raise Unusable("segmentation", part, "has an odd number of coordinates")
        if len(array) < 6:
            raise Unusable("segmentation", part, "has fewer than 3 points")
        parts.append(array.reshape(-1, 2))
    return tuple(parts), None


def mask(value: Mapping[str, Any], size: Size) -> dict[str, Any]:
    """A run-length mask, its runs as a list: columns from the left, each from the top, background first."""
    if value.get("size") != [size[1], size[0]]:
        raise Unusable("segmentation", value, "has a size that is not [height, width] of the image")
    counts = value.get("counts")
    runs = _unpack(counts) if isinstance(counts, str) else counts
    if not isinstance(runs, list) or not set(map(type, runs)) <= {int} or any(run < 0 for run in runs):
        raise Unusable("segmentation", value, "has run lengths that are not whole and positive")
    if sum(runs) != size[0] * size[1]:
        raise Unusable("segmentation", value, "has run lengths that do not add up to the image")
    return {"size": [size[1], size[0]], "counts": runs}


def _unpack(packed: str) -> list[int] | None:
    """COCO's text form: 5 bits a character from `0`, low bits first, 0x20 = more; from the third on differences."""
    runs: list[int] = []
    number = shift = 0
    for letter in packed:
        bits = ord(letter) - 48
        if not 0 <= bits < 64 or shift > 30:
            return None
        number |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            number -= (1 << shift) if bits & 16 else 0
            runs.append(number + runs[-2] if len(runs) > 2 else number)
            number = shift = 0
    return None if shift else runs


def points(value: Any, count: int, size: Size) -> tuple[tuple[FloatArray, NDArray[np.int64]], bool]:
    """COCO's [x, y, v, ...] as points (K, 2) and visibility (K,), and whether some lay outside the image.

    Those are then not labelled; a point that is not labelled is (0, 0)."""
    array = numbers(value, "keypoints", size)
    if len(array) != 3 * count:
        raise Unusable("keypoints", value, f"has not 3 numbers for each of the {count} points")
    xy, visibility = array.reshape(-1, 3)[:, :2], array[2::3]
    if not np.isin(visibility, (0, 1, 2)).all():
        raise Unusable("keypoints", value, "has a visibility that is not 0, 1 or 2")
    inside = ((xy >= -1) & (xy <= np.add(size, 1))).all(axis=1)  # a pixel outside is rounding
    labelled = (visibility > 0) & inside
    xy = np.where(labelled[:, None], np.clip(xy, 0, size), 0.0)
    return (xy, (visibility * labelled).astype(np.int64)), bool(((visibility > 0) & ~inside).any())


def names(value: Any, field: str) -> tuple[str, ...]:
    """A list of names."""
    if not isinstance(value, list):
        raise Unusable(field, value, "is not a list of names")
    found = tuple(text(name, field) for name in value)
    if len(set(found)) < len(found):
        raise Unusable(field, value, "has a name twice")
    return found


def skeleton(value: Any, count: int) -> tuple[tuple[int, int], ...]:
    """COCO's pairs of point numbers from 1, as positions from 0."""
    for edge in value if isinstance(value, list) else [value]:
        if not (isinstance(edge, list) and len(edge) == 2 and all(type(p) is int and 1 <= p <= count for p in edge)):
            raise Unusable("skeleton", edge, "is not a pair of point numbers")
    return tuple((a - 1, b - 1) for a, b in value)
