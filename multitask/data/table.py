"""What every format is read into: one table of images with what is annotated on them, and the data set made of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..annotations import Annotation, Boxes, Captions, Keypoints, Polygons
from ..example import Example
from ..geometry import FloatArray
from ..searched import Searched
from ..skeleton import Skeleton
from ..task import Category, DatasetInfo
from .checks import Size
from .faults import Fault, Unusable
from .images import Slice, read_image
from .masks import packed
from .paths import file_problem


@dataclass(slots=True)
class TableObject:
    """One object on an image."""

    id: int
    category: Category
    xyxy: FloatArray  # (4,) pixels, inside the image
    area: float  # square pixels, as annotated
    crowd: bool = False
    parts: tuple[FloatArray, ...] = ()  # polygons (P, 2)
    mask: dict[str, Any] | None = None  # run lengths as a list, where there are no polygons
    points: tuple[FloatArray, NDArray[np.int64]] | None = None  # (K, 2), visibility (K,)


@dataclass(slots=True)
class TableImage:
    """One image. A kind that nothing annotates is absent from `objects`; captions None: likewise."""

    id: int | str
    name: str  # relative to the folder of the table
    size: Size  # upright
    file: str  # the annotation file that lists it, for messages
    objects: dict[str, list[TableObject]] = field(default_factory=dict)  # "boxes", "polygons", "keypoints"
    captions: list[str] | None = None
    searched: tuple[tuple[int, ...], tuple[int, ...]] | None = None  # categories: absent, partly annotated
    slice: Slice | None = None  # where its bytes lie, if not in a file of its own


@dataclass
class Table:
    """One split of a data set."""

    root: Path  # nothing outside it is opened
    folder: Path  # that image names are relative to
    images: list[TableImage]
    categories: Sequence[Category] = ()
    skeleton: Skeleton = field(default_factory=Skeleton)
    faults: list[Fault] = field(default_factory=list)
    entries: int = 0  # images and annotations that the files list, usable or not

    def present(self) -> Table:
        """The same without images whose file is not there, which are noted."""
        images = []
        for image in self.images:
            problem = "" if image.slice else file_problem(self.folder / image.name, self.root)
            if problem:
                unusable = Unusable("file_name", image.name, problem, "put the file there, or remove the entry")
                self.faults.append(unusable.fault(image.file, f"image {image.id}", "skipped with its annotations"))
            else:
                images.append(image)
        self.images = images
        return self


class TableDataset:
    """The images of a table as examples; `faults` says what was left out or mended."""

    def __init__(self, table: Table, split: str, size: int | None = None) -> None:
        self.table, self.split, self.images = table, split, table.images[:size]
        categories = tuple(sorted(table.categories, key=lambda category: category.id))
        self.info = DatasetInfo(table.root.resolve().name, categories, table.skeleton)

    @property
    def faults(self) -> Sequence[Fault]:
        return self.table.faults

    @property
    def entries(self) -> int:
        return self.table.entries

    def __len__(self) -> int:
        return len(self.images)

    def kinds(self, i: int) -> frozenset[str]:
        image = self.images[i]
        return frozenset(image.objects) | (frozenset() if image.captions is None else {"captions"})

    def __getitem__(self, i: int) -> Example:
        image = self.images[i]
        annotations: dict[str, Annotation] = {kind: self._make(kind, image) for kind in image.objects}
        if image.captions is not None:
            annotations["captions"] = Captions(tuple(image.captions))
        if image.searched is not None:
            annotations["searched"] = Searched(*map(self._names, image.searched))
        where = image.slice or self.table.folder / image.name
        return Example(
            image.id, image.name, image.size, annotations, partial(read_image, where, self.table.root, image.size)
        )

    def _names(self, ids: Sequence[int]) -> tuple[str, ...]:
        return tuple(category.name for category in self.info.categories if category.id in ids)

    def _make(self, kind: str, image: TableImage) -> Annotation:
        objects = image.objects[kind]
        common = _common(objects)
        if kind == "boxes":
            return Boxes(**common)
        if kind == "polygons":
            masks = tuple(None if one.mask is None else packed(one.mask) for one in objects)
            return Polygons(**common, parts=tuple(one.parts for one in objects), masks=masks)
        points = [one.points for one in objects if one.points is not None]
        shape = len(points), len(self.info.skeleton)
        return Keypoints(
            **common,
            points=np.array([xy for xy, _ in points], dtype=np.float64).reshape(*shape, 2),
            visibility=np.array([seen for _, seen in points], dtype=np.int64).reshape(shape),
            skeleton=self.info.skeleton,
        )


def _common(objects: Sequence[TableObject]) -> dict[str, Any]:
    return {
        "xyxy": np.array([one.xyxy for one in objects], dtype=np.float64).reshape(-1, 4),
        "labels": tuple(one.category.name for one in objects),
        "crowd": np.array([one.crowd for one in objects], dtype=bool),
        "areas": np.array([one.area for one in objects], dtype=np.float64),
        "ids": np.array([one.id for one in objects], dtype=np.int64),
    }
