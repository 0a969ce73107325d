"""Rules that values from a data set must pass before anything else sees them, native code above all.

Each rule takes what the file holds and returns it cleaned, or raises Unusable. Limits are in pixels.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..geometry import FloatArray, clip_polygon
from .faults import Unusable
from .masks import unpacked
from .outlines import area as enclosed

MAX_PIXELS = 100_000_000  # of one image
MAX_SIDES = 16  # coordinates may reach this many image sides; beyond lies damage, not an object
MAX_LENGTH = 1_000_000  # of an outline; native code takes memory for every pixel of its way
LEAST_AREA = 1e-6  # of an outline, in square pixels; less is rounding
MAX_NAMES = 1000  # of the points of an object
MAX_TEXT = 10_000  # characters of a caption or a name
TWICE = "occurs twice"

Size = tuple[int, int]  # (width, height)


# ------------------------------------------------------------------------------------------------------ plain values


def identifier(value: Any, field: str) -> int:
    """An id of an annotation or a category."""
    if type(value) is not int or not -(2**63) <= value < 2**63:
        raise Unusable(field, value, "is not a 64-bit integer", "number the entries from 1")
    return value


def image_id(value: Any, field: str) -> int | str:
    """An id of an image: COCO has numbers, others names."""
    return text(value, field) if isinstance(value, str) else identifier(value, field)


def text(value: Any, field: str) -> str:
    """Words on one line, every run of white space one blank."""
    if not isinstance(value, str):
        raise Unusable(field, value, "is not a string", "write it as text in quotes")
    line = " ".join(value.split())
    if not line:
        raise Unusable(field, value, "is empty", "fill it in, or remove the entry")
    if len(line) > MAX_TEXT:
        raise Unusable(field, value, f"is longer than {MAX_TEXT} characters", "shorten it")
    try:
        line.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        raise Unusable(field, value, "is not valid Unicode", "save the file as UTF-8") from None
    return line


def side(value: Any, field: str) -> int:
    """Width or height of an image."""
    if type(value) not in (int, float) or not 1 <= value <= MAX_PIXELS or value != int(value):
        raise Unusable(field, value, "is not a positive whole number of pixels", "give the size of the image file")
    return int(value)


def image_size(entry: Mapping[str, Any]) -> Size:
    """Width and height of an image as its entry says."""
    width, height = side(entry.get("width"), "width"), side(entry.get("height"), "height")
    if width * height > MAX_PIXELS:
        limit = f"is more than {MAX_PIXELS // 10**6} megapixels"
        raise Unusable("width", width, f"times height {height} {limit}", "make the image smaller, or correct its size")
    return width, height


def known(value: Any, field: str, choices: Mapping[Any, Any]) -> Any:
    """What `value` names among `choices`."""
    if isinstance(value, bool) or not isinstance(value, (int, str)) or value not in choices:
        raise Unusable(field, value, "names nothing in this file", f"{field} must be an id that the file lists")
    return choices[value]


def new(value: Any, field: str, seen: Container[Any]) -> None:
    """Refuse what was seen before."""
    if value in seen:
        raise Unusable(field, value, TWICE, "give each entry its own, or remove the double")


def identifiers(value: Any, field: str) -> tuple[int, ...]:
    """A list of ids; nothing is an empty one."""
    if not isinstance(value, list | None):
        raise Unusable(field, value, "is not a list", "write ids as [1, 2]")
    return tuple(identifier(one, field) for one in value or ())


def crowd(value: Any) -> bool:
    """COCO's flag of a group."""
    if type(value) not in (int, bool) or value not in (0, 1):
        raise Unusable("iscrowd", value, "is not 0 or 1", "write 0 for one object, 1 for a group")
    return bool(value)


def area(value: Any) -> float:
    """Square pixels of an object as annotated."""
    if type(value) not in (int, float) or not 0 <= value <= (MAX_SIDES**2) * MAX_PIXELS:
        raise Unusable("area", value, "is not a finite number from 0", "give square pixels, or leave it out")
    return float(value)


# -------------------------------------------------------------------------------------------------------- geometry


def numbers(value: Any, field: str, size: Size) -> FloatArray:
    """A flat list of finite numbers within MAX_SIDES image sides."""
    if not isinstance(value, list) or not set(map(type, value)) <= {int, float}:
        raise Unusable(field, value, "is not a list of numbers", "write plain numbers without quotes")
    try:
        array = np.array(value, dtype=np.float64)
    except OverflowError:
        array = np.array([np.inf])
    if not np.isfinite(array).all():
        raise Unusable(field, value, "is not finite", "correct it, or remove the annotation")
    if len(array) and np.abs(array).max() > MAX_SIDES * max(size):
        raise Unusable(field, value, f"reaches further than {MAX_SIDES} image sides", "give pixels of this image")
    return array


def box(value: Any, size: Size) -> tuple[FloatArray, bool]:
    """COCO's [x, y, width, height] as xyxy (4,) clipped to the image, and whether more than a pixel was cut off."""
    array = numbers(value, "bbox", size)
    if len(array) != 4:
        raise Unusable("bbox", value, "has not 4 numbers", "give x, y, width, height in pixels")
    x, y, width, height = array.tolist()
    if width <= 0 or height <= 0:
        raise Unusable("bbox", value, "has no positive width and height", "give x, y, width, height; not two corners")
    return clipped_box((x, y, x + width, y + height), value, "bbox", size)


def clipped_box(xyxy: tuple[float, float, float, float], value: Any, field: str, size: Size) -> tuple[FloatArray, bool]:
    """The box (4,) clipped to the image, and whether more than a pixel was cut off; `value` is what the file says."""
    x, y = xyxy[:2]
    clipped = (max(x, 0.0), max(y, 0.0), min(xyxy[2], float(size[0])), min(xyxy[3], float(size[1])))
    if clipped[2] <= clipped[0] or clipped[3] <= clipped[1]:
        raise Unusable(field, value, "lies outside the image", "correct it, or the size of the image")
    if max(xyxy[2:]) <= 1 and not all(edge.is_integer() for edge in xyxy):
        raise Unusable(field, value, "lies within a single pixel", "give pixels, not fractions of the image")
    return np.array(clipped), any(abs(a - b) > 1 for a, b in zip(xyxy, clipped, strict=True))


def segmentation(value: Any, size: Size, empty: bool = False) -> tuple[tuple[FloatArray, ...], dict[str, Any] | None]:
    """The outline of one object: its polygons (P, 2), or none of these and its run-length mask. `empty`: it may
    enclose nothing of the image, as an answer may."""
    if isinstance(value, dict):
        return (), mask(value, size, empty)
    if not isinstance(value, list) or not value:
        reason = "is neither a list of polygons nor a run-length mask"
        raise Unusable("segmentation", value, reason, "write [[x1, y1, x2, y2, ...]]")
    parts = []
    for part in value:
        array = numbers(part, "segmentation", size)
        if len(array) % 2:
            raise Unusable("segmentation", part, "has an odd number of coordinates", "write [x1, y1, x2, y2, ...]")
        if len(array) < 6:
            raise Unusable("segmentation", part, "has fewer than 3 points", "remove this part")
        parts.append(array.reshape(-1, 2))
        bounded(parts[-1], part, "segmentation")
    if not empty and not any(enclosed(clip_polygon(part, size)) > LEAST_AREA for part in parts):
        raise Unusable("segmentation", value, "encloses nothing of the image", "draw it anew, or remove it")
    return tuple(parts), None


def bounded(outline: FloatArray, value: Any, field: str) -> None:
    """Refuse an outline (P, 2) that goes to and fro without end."""
    if len(outline) * (outline.max() - outline.min()) <= MAX_LENGTH:
        return  # quickly told for almost all
    if np.abs(outline - np.roll(outline, 1, axis=0)).max(axis=1).sum() > MAX_LENGTH:
        raise Unusable(field, value, f"is longer than {MAX_LENGTH} pixels", "remove points that go to and fro")


def mask(value: Mapping[str, Any], size: Size, empty: bool = False) -> dict[str, Any]:
    """A run-length mask, its runs as a list: columns from the left, each from the top, background first."""
    if value.get("size") != [size[1], size[0]]:
        raise Unusable("segmentation", value, "has a size that is not [height, width] of the image", "export it again")
    counts = value.get("counts")
    runs = unpacked(counts) if isinstance(counts, str) else counts
    if not isinstance(runs, list) or not set(map(type, runs)) <= {int} or any(run < 0 for run in runs):
        raise Unusable("segmentation", value, "has run lengths that are not whole and positive", "export it again")
    if sum(runs) != size[0] * size[1]:
        raise Unusable("segmentation", value, "has run lengths that do not add up to the image", "export it again")
    if not empty and not any(runs[1::2]):
        raise Unusable("segmentation", value, "encloses nothing of the image", "draw it anew, or remove it")
    return {"size": [size[1], size[0]], "counts": runs}


def points(value: Any, count: int, size: Size) -> tuple[tuple[FloatArray, NDArray[np.int64]], bool]:
    """COCO's [x, y, v, ...] as points (K, 2) and visibility (K,), and whether some lay outside the image.

    Those are then not labelled; a point that is not labelled is (0, 0)."""
    array = numbers(value, "keypoints", size)
    if len(array) != 3 * count:
        raise Unusable(
            "keypoints", value, f"has not 3 numbers for each of the {count} points", "write x, y, visibility for each"
        )
    xy, visibility = array.reshape(-1, 3)[:, :2], array[2::3]
    if not np.isin(visibility, (0, 1, 2)).all():
        raise Unusable("keypoints", value, "has a visibility that is not 0, 1 or 2", "1 is hidden, 2 visible")
    inside = ((xy >= -1) & (xy <= np.add(size, 1))).all(axis=1)  # a pixel outside is rounding
    labelled = (visibility > 0) & inside
    xy = np.where(labelled[:, None], np.clip(xy, 0, size), 0.0)
    return (xy, (visibility * labelled).astype(np.int64)), bool(((visibility > 0) & ~inside).any())


def names(value: Any, field: str) -> tuple[str, ...]:
    """A list of names."""
    if not isinstance(value, list):
        raise Unusable(field, value, "is not a list of names", "write [name, name, ...]")
    if len(value) > MAX_NAMES:
        raise Unusable(field, value, f"has more than {MAX_NAMES} names", "leave some out")
    found = tuple(text(name, field) for name in value)
    if len(set(found)) < len(found):
        raise Unusable(field, value, "has a name twice", "give each its own name")
    return found


def skeleton(value: Any, count: int, field: str = "skeleton") -> tuple[tuple[int, int], ...]:
    """COCO's pairs of point numbers from 1, as positions from 0."""
    for edge in value if isinstance(value, list) else [value]:
        if not (isinstance(edge, list) and len(edge) == 2 and all(type(p) is int and 1 <= p <= count for p in edge)):
            raise Unusable(field, edge, "is not a pair of point numbers", "number the points from 1")
    return tuple((a - 1, b - 1) for a, b in value)


def partners(value: Any, count: int) -> tuple[tuple[int, int], ...]:
    """Left and right partners, as pairs of point numbers from 1; as positions from 0."""
    pairs = skeleton(value, count, "flip_pairs")
    if len({point for pair in pairs for point in pair}) < 2 * len(pairs):
        raise Unusable("flip_pairs", value, "give a point two partners, or itself", "name each point once")
    return pairs


def sigmas(value: Any, count: int) -> tuple[float, ...]:
    """The spread of each point; none where the file says nothing."""
    if value is None:
        return ()
    fits = isinstance(value, list) and len(value) == count
    if not fits or not all(type(v) in (int, float) and 0 < v < 10 for v in value):
        raise Unusable("sigmas", value, f"are not {count} numbers between 0 and 10", "give one for each point")
    return tuple(map(float, value))
