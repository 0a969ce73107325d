"""From a table to WebDataset shards: `SPLIT/SPLIT-000000.tar` …, and `dataset.json` beside the folders of splits.

Image N has the members `N.jpg`, as it is stored, and `N.json`. The same table gives the same bytes.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterable, Iterator
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Any

from ...files import write_atomic
from ..images import EXTENSIONS
from ..table import Table, TableImage
from .coco_writer import category_json, object_json, points_json, skeleton_json
from .shards import SETTINGS
from .writing import image_bytes

MOST_IMAGES, MOST_BYTES = 1_000, 500_000_000  # of a shard

Json = dict[str, Any]


def write(table: Table, split: str, target: Path) -> list[str]:
    """Writes a split below `target`: all of it is carried. Raises DataError where an image cannot be read."""
    folder = target / split
    folder.mkdir(parents=True, exist_ok=True)
    _list_categories(table, target, folder)
    number = 0
    for count, images in enumerate(_divided(table)):
        with tarfile.open(folder / f"{split}-{count:06d}.tar", "w", format=tarfile.USTAR_FORMAT) as shard:
            for image in images:
                _add(shard, f"{number:08d}{_suffix(image)}", image_bytes(table, image))
                _add(shard, f"{number:08d}.json", _dumped(_entry(image)))
                number += 1
    return []


def _divided(table: Table) -> Iterator[list[TableImage]]:
    """The images of one shard after the other."""
    images: list[TableImage] = []
    size = 0
    for image in table.images:
        length = _length(table, image)
        if images and (len(images) == MOST_IMAGES or size + length > MOST_BYTES):
            yield images
            images, size = [], 0
        images.append(image)
        size += length
    if images:
        yield images


def _length(table: Table, image: TableImage) -> int:
    if image.slice:
        return image.slice.length
    path = table.folder / image.name
    return path.stat().st_size if path.is_file() else 0  # what is wrong with it is told when it is read


def _suffix(image: TableImage) -> str:
    """What the image is, its content tells; its suffix tells that it is one."""
    suffix = PurePosixPath(image.name).suffix.lower()
    return suffix if suffix in EXTENSIONS else ".jpg"


def _add(shard: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)  # of nobody, at the beginning of time
    member.size = len(content)
    shard.addfile(member, BytesIO(content))


def _dumped(data: Json) -> bytes:
    return json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def _list_categories(table: Table, target: Path, folder: Path) -> None:
    """For all splits in one file, where they agree; a split that does not has its own beside its shards."""
    posed = {one.category.name for image in table.images for one in image.objects.get("keypoints", ())}
    posed.update(table.skeleton.categories)
    content = _dumped(
        {
            "categories": [
                category_json(one) | (skeleton_json(table.skeleton) if one.name in posed else {})
                for one in table.categories
            ]
        }
    )
    shared = target / SETTINGS
    if not shared.exists():
        write_atomic(shared, content)
    elif shared.read_bytes() != content:
        write_atomic(folder / SETTINGS, content)


def _entry(image: TableImage) -> Json:
    width, height = image.size
    entry: Json = {"image_id": image.id, "file_name": image.name, "width": width, "height": height}
    if image.objects:
        entry |= {"kinds": list(image.objects), "annotations": list(_annotations(image))}
    if image.captions is not None:
        entry["captions"] = image.captions
    return entry


def _annotations(image: TableImage) -> Iterable[Json]:
    """Every object once, with the kinds that it serves where these are not all of the image."""
    found: dict[object, Json] = {}
    for kind, objects in image.objects.items():
        for one in objects:
            coco = object_json(one, image)
            outline = coco.pop("segmentation")
            entry = found.setdefault((one.id, one.category, one.crowd, one.area, one.xyxy.tobytes()), coco)
            entry.setdefault("kinds", []).append(kind)
            entry |= {"segmentation": outline} if kind == "polygons" else {}
            entry |= points_json(one) if kind == "keypoints" else {}
    for entry in found.values():
        del entry["image_id"]
        if entry["kinds"] == list(image.objects):
            del entry["kinds"]
    return found.values()
