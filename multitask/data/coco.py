"""COCO annotations: boxes, polygons and run-length masks, keypoints and captions, from any subset of the files.

A file annotates the images that it lists: an image without entries there has empty boxes, an image that the file does
not list has none. Boxes and outlines come from `instances`, or else from `keypoints`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

from ..annotations import Annotation, Boxes, Captions, Keypoints, Polygons
from ..errors import DataError
from ..example import Example
from ..skeleton import COCO_PERSON, Skeleton
from ..task import DatasetInfo
from .checks import Fault, Unusable
from .coco_files import choose_files, choose_split, find_images, find_root
from .coco_reader import CocoImage, CocoObject, Reader
from .images import read_image
from .paths import file_problem


def open_coco(path: str, split: str | None, *, role: str, size: int | None = None) -> CocoDataset:
    """The images of a split; see `open_dataset`. `path` is the folder of the data set or one annotation file in it."""
    root, files = find_root(path)
    split = choose_split(path, files, split, role)
    chosen = choose_files(path, files, split)
    reader = Reader(root)
    for kind, file in chosen.items():
        reader.read(file, boxes=kind == "instances" or (kind == "keypoints" and "instances" not in chosen))
    if not reader.images:
        first = f"; first fault: {reader.faults[0]}" if reader.faults else ""
        raise DataError(f"{path}: split '{split}' lists no usable image{first}")
    folder = find_images(root, split, [image.name for image in reader.images.values()])
    images = _present(list(reader.images.values()), folder, root, reader.faults)
    return CocoDataset(root, split, folder, images[:size], _info(root, reader), reader.faults)


def _present(images: list[CocoImage], folder: Path, root: Path, faults: list[Fault]) -> list[CocoImage]:
    """The images whose file is there."""
    present = []
    for image in images:
        if problem := file_problem(folder / image.name, root):
            faults.append(Unusable("file_name", image.name, problem).fault(image.file, f"image {image.id}"))
        else:
            present.append(image)
    return present


def _info(root: Path, reader: Reader) -> DatasetInfo:
    categories = tuple(sorted(reader.categories.values(), key=lambda category: category.id))
    return DatasetInfo(root.resolve().name, categories, _skeleton(reader))


def _skeleton(reader: Reader) -> Skeleton:
    """COCO files name points and edges; partners are told by `left` and `right` in their names."""
    names = reader.keypoint_names
    partner = {name: name.replace("left", "right", 1) for name in names if "left" in name}
    return Skeleton(
        names=names,
        edges=reader.edges,
        flip_pairs=tuple((names.index(a), names.index(b)) for a, b in partner.items() if b in names),
        sigmas=COCO_PERSON.sigmas if names == COCO_PERSON.names else (),
        categories=tuple(reader.categories[number].name for number in sorted(reader.posed)),
    )


class CocoDataset:
    """One split; `faults` says what was left out or mended."""

    def __init__(
        self, root: Path, split: str, folder: Path, images: Sequence[CocoImage], info: DatasetInfo, faults: list[Fault]
    ) -> None:
        self.root, self.split, self.folder, self.images = root, split, folder, images
        self.info, self.faults = info, faults

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
        load = partial(read_image, self.folder / image.name, self.root, image.size)
        return Example(image.id, image.name, image.size, annotations, load)

    def _make(self, kind: str, image: CocoImage) -> Annotation:
        objects = image.objects[kind]
        common = _common(objects)
        if kind == "boxes":
            return Boxes(**common)
        if kind == "polygons":
            masks = tuple(None if one.mask is None else _pack(one.mask) for one in objects)
            return Polygons(**common, parts=tuple(one.parts for one in objects), masks=masks)
        points = [one.points for one in objects if one.points is not None]
        shape = len(points), len(self.info.skeleton)
        return Keypoints(
            **common,
            points=np.array([xy for xy, _ in points], dtype=np.float64).reshape(*shape, 2),
            visibility=np.array([seen for _, seen in points], dtype=np.int64).reshape(shape),
            skeleton=self.info.skeleton,
        )


def _common(objects: Sequence[CocoObject]) -> dict[str, Any]:
    return {
        "xyxy": np.array([one.xyxy for one in objects], dtype=np.float64).reshape(-1, 4),
        "labels": tuple(one.category.name for one in objects),
        "crowd": np.array([one.crowd for one in objects], dtype=bool),
        "areas": np.array([one.area for one in objects], dtype=np.float64),
        "ids": np.array([one.id for one in objects], dtype=np.int64),
    }


def _pack(mask: dict[str, Any]) -> dict[str, Any]:
    """The same run lengths in the form that pycocotools computes with; they are known to fit their size."""
    packed: dict[str, Any] = coco_mask.frPyObjects(mask, *mask["size"])
    return packed
