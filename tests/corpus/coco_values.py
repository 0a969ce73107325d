"""COCO files with one wrong value each."""

from __future__ import annotations

from typing import Any

from ..data.coco_folder import good as good_files
from .cases import HUGE, INF, NAN, Files, Left, Rows, Spoil, Told, accepted, picture, swap

INSTANCES, POSES, CAPTIONS = (f"annotations/{n}_train.json" for n in ("instances", "person_keypoints", "captions"))
LEFT = (3, 5)
BOX = "annotation 11"


def good() -> Files:
    files = good_files()
    annotations = {f"annotations/{stem}_train.json": value for stem, value in files.items()}
    return annotations | {f"images/train/{i}.png": picture(i) for i in (1, 2, 3)}


def put(file: str, part: str, position: int, **values: Any) -> Spoil:
    return lambda files: files[file][part][position].update(values)


def cut(file: str, part: str, position: int, key: str) -> Spoil:
    return lambda files: files[file][part][position].pop(key)


def add(file: str, part: str, item: Any) -> Spoil:
    return lambda files: files[file][part].append(item)


def box(*value: Any) -> Spoil:
    return one(bbox=list(value))


def one(**values: Any) -> Spoil:
    return put(INSTANCES, "annotations", 0, **values)


def outline(value: Any) -> Spoil:
    return one(segmentation=value)


def mask(**values: Any) -> Spoil:
    return lambda files: files[INSTANCES]["annotations"][2]["segmentation"].update(values)


def image(**values: Any) -> Spoil:
    """Of image 3, which the captions alone list."""
    return put(CAPTIONS, "images", 1, **values)


def told(
    field: str, where: str = BOX, file: str = INSTANCES, action: str = "skipped", left: Left | None = None
) -> Told:
    return Told(file, where, field, action, left)


BBOX = told("bbox")
CLIPPED = told("bbox", action="clipped")
AREA = told("area", action="area of the box taken")
OUTLINE = told("segmentation", action="outline left out")
MASK = told("segmentation", "annotation 13", action="outline left out")


def lost(field: str) -> Told:
    """Image 3 goes with its caption."""
    return told(field, "image 3", CAPTIONS, "skipped with its annotations", (2, 4))


BOXES: Rows = {
    "as text": (one(bbox="2,3,10,8"), BBOX),
    "numbers as text": (box("2", "3", "10", "8"), BBOX),
    "decimal comma": (box(2, 3, "10,5", 8), BBOX),
    "percent": (box(2, 3, "25%", 8), BBOX),
    "true": (box(True, True, True, True), BBOX),
    "null inside": (box(2, 3, None, 8), BBOX),
    "null": (one(bbox=None), BBOX),
    "missing": (cut(INSTANCES, "annotations", 0, "bbox"), BBOX),
    "object": (one(bbox={"x": 2, "y": 3, "w": 10, "h": 8}), BBOX),
    "nested": (box([2, 3, 10, 8]), BBOX),
    "pairs": (box([2, 3], [12, 11]), BBOX),
    "empty": (box(), BBOX),
    "three numbers": (box(2, 3, 10), BBOX),
    "five numbers": (box(2, 3, 10, 8, 0.9), BBOX),
    "a million numbers": (box(*[1] * 10**6), BBOX),
    "NaN": (box(2, NAN, 10, 8), BBOX),
    "infinity": (box(2, 3, INF, 8), BBOX),
    "minus infinity": (box(-INF, 3, 10, 8), BBOX),
    "1e400": (swap(INSTANCES, '"bbox": [2, 3, 10, 8]', '"bbox": [2, 3, 1e400, 8]'), BBOX),
    "1e308": (box(2, 3, 1e308, 8), BBOX),
    "integer beyond floats": (box(2, HUGE, 10, 8), BBOX),
    "denormal width": (box(2, 3, 5e-324, 8), BBOX),
    "minus zero": (box(-0.0, -0.0, 10, 8), accepted()),
    "float where whole": (box(2.0, 3.0, 1e1, 8.0), accepted()),
    "no width": (box(2, 3, 0, 8), BBOX),
    "minus zero height": (box(2, 3, 10, -0.0), BBOX),
    "corners swapped": (box(12, 11, -10, -8), BBOX),
    "corners in place of sides": (
        put(INSTANCES, "annotations", 1, bbox=[20, 5, 24, 25]),
        told("bbox", "annotation 12", action="clipped"),
    ),
    "fractions of the image": (box(0.05, 0.1, 0.25, 0.27), BBOX),
    "of the image before it was made smaller": (box(80, 120, 400, 320), BBOX),
    "outside on the left": (box(-20, 3, 10, 8), BBOX),
    "beginning at the border": (box(40, 3, 10, 8), BBOX),
    "two pixels over": (box(32, 3, 10, 8), CLIPPED),
    "half a pixel over": (box(30.5, 3, 10, 8), accepted()),
}

IDS: Rows = {
    "category off by one": (one(category_id=6), told("category_id")),
    "category 0": (one(category_id=0), told("category_id")),
    "category as text": (one(category_id="7"), told("category_id")),
    "category by name": (one(category_id="kite"), told("category_id")),
    "category true": (one(category_id=True), told("category_id")),
    "category with a fraction": (one(category_id=7.5), told("category_id")),
    "category null": (one(category_id=None), told("category_id")),
    "category missing": (cut(INSTANCES, "annotations", 0, "category_id"), told("category_id")),
    "image unknown": (one(image_id=77), told("image_id")),
    "image as text": (one(image_id="1"), told("image_id")),
    "image as list": (one(image_id=[1]), told("image_id")),
    "image missing": (cut(INSTANCES, "annotations", 0, "image_id"), told("image_id")),
    "id twice": (one(id=13), told("id", "annotation 13")),
    "id as text": (one(id="11"), told("id", "annotation '11'")),
    "id null": (one(id=None), told("id", "annotation at position 0")),
    "id with a fraction": (one(id=11.5), told("id", "annotation at position 0")),
    "id beyond 64 bits": (one(id=2**64), told("id", f"annotation {2**64}")),
    "id negative": (one(id=-11), accepted()),
    "entry null": (add(INSTANCES, "annotations", None), told("entry", "annotation at position 3", left=LEFT)),
    "entry a list": (add(INSTANCES, "annotations", [11, 1]), told("entry", "annotation at position 3", left=LEFT)),
    "crowd as text": (one(iscrowd="0"), told("iscrowd")),
    "crowd null": (one(iscrowd=None), told("iscrowd")),
    "crowd minus one": (one(iscrowd=-1), told("iscrowd")),
    "crowd true": (one(iscrowd=True), accepted()),
    "area as text": (one(area="70"), AREA),
    "area infinite": (one(area=INF), AREA),
    "area negative": (one(area=-70), AREA),
    "area huge": (one(area=HUGE), AREA),
    "area missing": (cut(INSTANCES, "annotations", 0, "area"), accepted()),
    "unknown keys": (one(score=NAN, **{"": [], "__proto__": {}, "bbox ": 5}), accepted()),
}

OUTLINES: Rows = {
    "two points": (outline([[2, 3, 12, 3]]), OUTLINE),
    "odd number": (outline([[2, 3, 12, 3, 12, 11, 4]]), OUTLINE),
    "flat list": (outline([2, 3, 12, 3, 12, 11]), OUTLINE),
    "list of pairs": (outline([[[2, 3], [12, 3], [12, 11]]]), OUTLINE),
    "as text": (outline("2 3 12 3 12 11"), OUTLINE),
    "empty": (outline([]), OUTLINE),
    "empty part": (outline([[2, 3, 12, 3, 12, 11], []]), OUTLINE),
    "null": (outline(None), OUTLINE),
    "number": (outline(7), OUTLINE),
    "NaN": (outline([[2, 3, NAN, 3, 12, 11]]), OUTLINE),
    "far away": (outline([[2, 3, 1e18, 3, 12, 11]]), OUTLINE),
    "huge integer": (outline([[2, 3, HUGE, 3, 12, 11]]), OUTLINE),
    "all points the same": (outline([[5, 5] * 4]), OUTLINE),
    "outside the image": (outline([[102, 3, 112, 3, 112, 11]]), OUTLINE),
    "on one line": (outline([[2, 3, 12, 3, 7, 3]]), OUTLINE),
    "to and fro": (outline([[-600, 3, 640, 11] * 600]), OUTLINE),
    "crossing itself": (outline([[2, 3, 12, 11, 12, 3, 2, 9]]), accepted()),
    "corners in the wrong order": (outline([[2, 3, 12, 11, 12, 3, 2, 11]]), OUTLINE),
    "points twice": (outline([[2, 3, 2, 3, 12, 3, 12, 3, 12, 11, 2, 3]]), accepted()),
    "a hundred thousand points": (outline([[2, 3, 12, 3, 12, 11] * 30_000]), accepted()),
    "mask runs too short": (mask(counts=[0, 60, 1139]), MASK),
    "mask runs overflow": (mask(counts=[2**63, 60, 1140]), MASK),
    "mask runs negative": (mask(counts=[-1, 61, 1140]), MASK),
    "mask runs as words": (mask(counts=["0", "60", "1140"]), MASK),
    "mask runs true": (mask(counts=[False, 60, 1140]), MASK),
    "mask runs missing": (mask(counts=None), MASK),
    "mask text empty": (mask(counts=""), MASK),
    "mask text cut": (mask(counts="0l1T"), MASK),
    "mask text of other letters": (mask(counts="日本\ud800"), MASK),
    "mask text of endless bits": (mask(counts="o" * 10_000), MASK),
    "mask of nothing": (mask(counts=[1200]), MASK),
    "mask turned": (mask(size=[40, 30]), MASK),
    "mask of another image": (mask(size=[480, 640]), MASK),
    "mask of no size": (mask(size=[0, 0], counts=[]), MASK),
    "mask size as text": (mask(size="30x40"), MASK),
}
