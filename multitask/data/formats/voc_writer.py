"""From a table to PASCAL VOC's files; `voc.py` reads them back.

Annotations/NAME.xml             boxes
JPEGImages/NAME.jpg              of the images that boxes are annotated on
ImageSets/Main/SPLIT.txt         their names
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterator, Sequence
from decimal import Decimal
from html import escape
from itertools import count
from pathlib import Path, PurePosixPath

import numpy as np

from ...errors import DataError
from ...files import sanitise
from ..checks import Size
from ..table import Table, TableImage, TableObject
from .voc_xml import EDGES, SIDES
from .writing import counted, fits, image_bytes, put

_ILLEGAL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")  # characters that XML has no way to write


def write(table: Table, split: str, target: Path) -> list[str]:
    """Writes a split below `target`; returns what VOC cannot say of it.

    Raises DataError as `copy_image`, where there is nothing to write, and for names that XML cannot hold."""
    names: dict[str, TableImage] = {}
    for image in table.images:
        if "boxes" in image.objects:
            names[_put(table, image, split, target, names)] = image
    if not names:
        raise DataError(f"{table.root}: split '{split}' has no image with boxes to write")
    put(target / "ImageSets" / "Main" / f"{split}.txt", "".join(f"{name}\n" for name in names).encode())
    renamed = sum(image.id != name for name, image in names.items())
    lost = [*_lost(table), ("ids of {}, whose names are taken", renamed, "image")]
    return [phrase.format(counted(number, unit)) for phrase, number, unit in lost if number]


def _put(table: Table, image: TableImage, split: str, target: Path, taken: Container[str]) -> str:
    """Writes an image and its XML under the first name that is free, or has just these already; returns the name."""
    content, path = image_bytes(table, image), PurePosixPath(image.name)

    def files(name: str) -> dict[Path, bytes]:
        picture = f"{name}{path.suffix}"
        xml = _xml(picture, image.size, image.objects["boxes"])
        return {target / "JPEGImages" / picture: content, target / "Annotations" / f"{name}.xml": xml}

    free = (name for name in _names(sanitise(path.stem), split) if name not in taken)
    name = next(name for name in free if all(fits(*file) for file in files(name).items()))
    for file in files(name).items():
        put(*file)
    return name


def _names(stem: str, split: str) -> Iterator[str]:
    """Images of one name come from several folders, most often one for each split."""
    yield stem
    yield f"{split}_{stem}"
    yield from (f"{split}_{stem}-{number}" for number in count(2))


def _xml(name: str, size: Size, objects: Sequence[TableObject]) -> bytes:
    lines = ["<annotation>", _line("filename", name, 1), "\t<size>"]
    lines += [_line(side, str(length), 2) for side, length in zip(SIDES, size, strict=True)]
    lines.append("\t</size>")
    for one in objects:
        lines += ["\t<object>", _line("name", one.category.name, 2), _line("difficult", str(int(one.crowd)), 2)]
        lines += ["\t\t<bndbox>", *_edges(one), "\t\t</bndbox>", "\t</object>"]
    return "\n".join([*lines, "</annotation>", ""]).encode()


def _edges(one: TableObject) -> list[str]:
    """The first and the last pixel of the object, counted from 1; Decimal, so that nothing is rounded."""
    edges = zip(EDGES, one.xyxy.tolist(), (1, 1, 0, 0), strict=True)
    return [_line(edge, _digits(Decimal(repr(value)) + first), 3) for edge, value, first in edges]


def _digits(value: Decimal) -> str:
    return str(int(value)) if value == int(value) else f"{value:f}"


def _line(tag: str, text: str, depth: int) -> str:
    if _ILLEGAL.search(text):
        raise DataError(f"{tag} {text!r:.60} has control characters, which XML cannot hold; rename it")
    indent = "\t" * depth
    return f"{indent}<{tag}>{escape(text, quote=False)}</{tag}>"


def _lost(table: Table) -> Iterator[tuple[str, int, str]]:
    """What VOC has no place for, and of how many of what."""
    boxes, outlines, points = (
        [one for image in table.images for one in image.objects.get(kind, ())]
        for kind in ("boxes", "polygons", "keypoints")
    )
    unused = {category.name for category in table.categories} - {one.category.name for one in boxes}
    yield "{} without boxes", sum("boxes" not in image.objects for image in table.images), "image"
    yield "outlines of {}", len(outlines), "object"
    yield "keypoints of {}", len(points), "object"
    yield "captions of {}", sum(image.captions is not None for image in table.images), "image"
    yield "{}, which become difficult objects", sum(one.crowd for one in boxes), "crowd"
    yield "areas of {}, whose boxes' are taken", sum(not np.isclose(one.area, _area(one)) for one in boxes), "object"
    yield "{} without boxes", len(unused), "category"


def _area(one: TableObject) -> float:
    x0, y0, x1, y1 = one.xyxy.tolist()
    return float((x1 - x0) * (y1 - y0))
