"""One object as COCO writes it, in its files and wherever else its form is used."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from ...task import Category
from .. import checks
from ..checks import Size
from ..faults import Unusable
from ..table import TableObject

Note = Callable[[Unusable, str], None]  # keeps the fault of an entry and what was done about it


def boxed(key: int, category: Category, item: Mapping[str, Any], size: Size, note: Note) -> TableObject:
    """The object with its box, clipped to the image. Raises Unusable."""
    xyxy, clipped = checks.box(item.get("bbox"), size)
    if clipped:
        note(Unusable("bbox", item["bbox"], "reaches out of the image", "check the size of the image"), "clipped")
    crowd = checks.crowd(item.get("iscrowd", 0))
    area = float(item["bbox"][2]) * float(item["bbox"][3])
    try:
        area = checks.area(item.get("area", area))
    except Unusable as error:
        note(error, "area of the box taken")
    return TableObject(key, category, xyxy, area, crowd)


def complete(
    found: TableObject, item: Mapping[str, Any], size: Size, kinds: Collection[str], points: int, note: Note
) -> Iterator[str]:
    """The kinds that the object can serve; a fault of its outline or points costs it only those."""
    if "boxes" in kinds:
        yield "boxes"
    try:
        if "polygons" in kinds:
            found.parts, found.mask = checks.segmentation(item.get("segmentation"), size)
            yield "polygons"
    except Unusable as error:
        note(error, "outline left out")
    try:
        if "keypoints" in kinds:
            found.points, outside = checks.points(item.get("keypoints"), points, size)
            if outside:
                far = Unusable("keypoints", item["keypoints"], "reach out of the image", "mark them 0: not labelled")
                note(far, "those points left out")
            yield "keypoints"
    except Unusable as error:
        note(error, "keypoints left out")
