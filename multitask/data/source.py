"""The door by which data sets come in: the format is told by what lies at the path, or named."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..errors import DataError, UsageError, nearest
from .dataset import Dataset
from .formats import caption_lists, coco, coco_writer, shard_writer, shards, voc, voc_writer, yolo, yolo_writer
from .formats.layout import Layout, Place, choose_split
from .shapes import ShapesDataset
from .table import Table, TableDataset

log = logging.getLogger(__name__)
Role = Literal["train", "val"]


@dataclass(frozen=True)
class Format:
    """One way of writing annotations down: how it is found, what was looked for, for messages, and how it is written.

    `write` puts a split of a table below a folder, and returns in plain words what the format cannot carry.
    """

    find: Callable[[Place], Layout | None]
    looked_for: str
    write: Callable[[Table, str, Path], list[str]]


FORMATS = {  # the first that fits is taken
    "webdataset": Format(shards.find, shards.LOOKED_FOR, shard_writer.write),
    "coco": Format(coco.find, coco.LOOKED_FOR, coco_writer.write),
    "voc": Format(voc.find, voc.LOOKED_FOR, voc_writer.write),
    "yolo": Format(yolo.find, yolo.LOOKED_FOR, yolo_writer.write),
    "captions": Format(caption_lists.find, caption_lists.LOOKED_FOR, caption_lists.write),
}


def open_dataset(
    path: str, split: str | None, *, role: Role, size: int | None = None, seed: int = 0, format: str | None = None,
    annotations: str | None = None, images: str | None = None,
) -> Dataset:  # fmt: skip
    """`shapes`, the embedded data set (a folder of that name is `./shapes`), or annotations in a folder.

    `split` None finds the one for the role. `size` takes the first images only; `seed` is for `shapes`. `annotations`
    and `images` choose where the folder holds several sets. Raises UsageError for a split or format that is not
    there, DataError for data that cannot be used.
    """
    if path == "shapes":
        return ShapesDataset(split or role, size, seed)
    layout = open_layout(Place(path, annotations, images), format)
    split = choose_split(path, layout.splits, split, role)
    return TableDataset(layout.read(split), split, size)


def open_layout(place: Place, format: str | None = None) -> Layout:
    """What lies at a place, read as `format`, or as the first that fits. Raises as `open_dataset`."""
    return recognise(place, format)[1]


def recognise(place: Place, format: str | None = None) -> tuple[str, Layout]:
    """The format of what lies at a place, and that; as `open_layout`."""
    if not place.here.exists():
        raise DataError(f"{place.path}: no such folder; give a data folder, an annotation file or 'shapes'")
    if format is not None and format not in FORMATS:
        raise UsageError(f"data.format: there is no format '{format}'{nearest(format, FORMATS)}: {', '.join(FORMATS)}")
    tried = {format: FORMATS[format]} if format else FORMATS
    for name, one in tried.items():
        if layout := one.find(place):
            log.debug("%s: read as %s", place.path, name)
            return name, layout
    looked = "; ".join(f"{name}: {one.looked_for}" for name, one in tried.items())
    raise DataError(f"{place.path}: no annotations found; looked for {looked}")
