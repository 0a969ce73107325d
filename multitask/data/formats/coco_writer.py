"""From a table to COCO's annotation files and a folder of images; `coco.py` reads the same table back.

annotations/instances_SPLIT.json    images with boxes or outlines
annotations/keypoints_SPLIT.json    images with keypoints
annotations/captions_SPLIT.json     images with captions
images/SPLIT/                       all of these
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import DataError
from ...skeleton import Skeleton
from ...task import Category
from ..table import Table, TableImage, TableObject
from .writing import copy_image, counted, plain, put

Json = dict[str, Any]


def write(table: Table, split: str, target: Path) -> list[str]:
    """Writes a split below `target`; returns what COCO cannot say of it. Raises DataError as `copy_image`, and where
    there is nothing to write."""
    files = {"instances": _instances(table), "keypoints": _keypoints(table), "captions": _captions(table)}
    files = {kind: data for kind, data in files.items() if data["images"]}
    if not files:
        raise DataError(f"{table.root}: split '{split}' has no annotated image to write")
    listed = {image["id"] for data in files.values() for image in data["images"]}
    for image in table.images:
        if image.id in listed:
            copy_image(table, image, target / "images" / split / image.name)
    for kind, data in files.items():
        content = json.dumps(data, allow_nan=False, separators=(",", ":")).encode()
        put(target / "annotations" / f"{kind}_{split}.json", content)
    return _uncarried(table)


def _instances(table: Table) -> Json:
    shown = _shown(table)
    return {
        "images": _images(shown),
        "annotations": [object_json(one, image) for image in shown for one in _objects(image)],
        "categories": [category_json(category) for category in table.categories],
    }


def _keypoints(table: Table) -> Json:
    """Categories without points are listed only where no other file does."""
    posed = [image for image in table.images if "keypoints" in image.objects]
    objects = [(image, one) for image in posed for one in image.objects["keypoints"]]
    bearers = {*table.skeleton.categories, *(one.category.name for _, one in objects)}
    others = [] if _shown(table) else [c for c in table.categories if c.name not in bearers]
    return {
        "images": _images(posed),
        "annotations": [object_json(one, image) | points_json(one) for image, one in objects],
        "categories": [
            *(category_json(c) | skeleton_json(table.skeleton) for c in table.categories if c.name in bearers),
            *map(category_json, others),
        ],
    }


def _captions(table: Table) -> Json:
    told = [image for image in table.images if image.captions is not None]
    texts = [(image.id, text) for image in told for text in image.captions or ()]
    return {
        "images": _images(told),
        "annotations": [{"id": i, "image_id": image, "caption": text} for i, (image, text) in enumerate(texts, 1)],
    }


def _shown(table: Table) -> list[TableImage]:
    return [image for image in table.images if {"boxes", "polygons"} & image.objects.keys()]


def _objects(image: TableImage) -> list[TableObject]:
    """What has a box or an outline, each once."""
    both = (one for kind in ("boxes", "polygons") for one in image.objects.get(kind, ()))
    return list({id(one): one for one in both}.values())


def _images(images: Iterable[TableImage]) -> list[Json]:
    return [
        {"id": image.id, "file_name": image.name, "width": image.size[0], "height": image.size[1]} | _searched(image)
        for image in images
    ]


def _searched(image: TableImage) -> Json:
    """Keys of LVIS."""
    if image.searched is None:
        return {}
    return dict(zip(("neg_category_ids", "not_exhaustive_category_ids"), map(list, image.searched), strict=True))


def object_json(one: TableObject, image: TableImage) -> Json:
    """An annotation of `instances`."""
    x0, y0, x1, y1 = one.xyxy.tolist()
    outline = one.mask or [[plain(value) for value in part.ravel()] for part in one.parts]
    return {
        "id": one.id,
        "image_id": image.id,
        "category_id": one.category.id,
        "bbox": [plain(value) for value in (x0, y0, _length(x0, x1), _length(y0, y1))],
        "area": plain(one.area),
        "iscrowd": int(one.crowd),
        "segmentation": outline,
    }


def _length(start: float, end: float) -> float:
    """The shortest number that, added to `start`, gives `end` again, as far as there is one."""
    exact = end - start
    return next((short for digits in range(17) if start + (short := round(exact, digits)) == end), exact)


def points_json(one: TableObject) -> Json:
    """What an annotation of `keypoints` has besides."""
    if one.points is None:
        return {}
    points, visibility = one.points
    rows = np.column_stack([points, visibility])
    return {"keypoints": [plain(value) for value in rows.ravel()], "num_keypoints": int((visibility > 0).sum())}


def category_json(category: Category) -> Json:
    """A category without points."""
    often = {"frequency": category.frequency} if category.frequency else {}
    return {"id": category.id, "name": category.name, **often}


def skeleton_json(skeleton: Skeleton) -> Json:
    """COCO numbers points from 1. Sigmas and partners are no keys of COCO's; other programs pass them over."""
    return {
        "keypoints": list(skeleton.names),
        "skeleton": [[a + 1, b + 1] for a, b in skeleton.edges],
        "flip_pairs": [[a + 1, b + 1] for a, b in skeleton.flip_pairs],
        "sigmas": list(skeleton.sigmas),
    }


def _uncarried(table: Table) -> list[str]:
    """A file says of all its images whether their outlines are annotated: they are if any object has one."""
    shown = _shown(table)
    outlined = any(one.parts or one.mask for image in shown for one in _objects(image))
    others = sum(("polygons" in image.objects) != outlined for image in shown)
    denied = "that outlines were not looked for on" if outlined else "that there are no outlines on"
    return [f"{denied} {counted(others, 'image')}"] if others else []
