"""Small, valid shards to be written, and to be broken, by the tests."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from multitask.data.formats.layout import Place
from multitask.data.formats.shards import Shards, find
from multitask.data.table import Table, TableObject

WIDTH, HEIGHT = SIZE = (40, 30)
CATEGORIES = [
    {"id": 7, "name": "kite"},
    {"id": 3, "name": "person", "keypoints": ["nose", "left_hand", "right_hand"], "skeleton": [[1, 2], [1, 3]]},
]
BOX = {"id": 11, "category_id": 7, "bbox": [2, 3, 10, 8], "area": 70.5, "segmentation": [[2, 3, 12, 3, 12, 11]]}
PERSON = {
    "id": 12, "category_id": 3, "bbox": [20, 5, 4, 20], "iscrowd": 0,
    "segmentation": {"size": [30, 40], "counts": [0, 60, 1140]}, "keypoints": [22, 6, 2, 20, 12, 1, 0, 0, 0],
}  # fmt: skip
Members = dict[str, Any]


def png(shade: int = 0, size: tuple[int, int] = SIZE) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", size, (shade, 0, 0)).save(stream, "png")
    return stream.getvalue()


def good() -> Members:
    """Two samples with all there is, and one with a text alone."""
    return {
        "a.png": png(1), "a.json": {"annotations": [dict(BOX), dict(PERSON)], "captions": ["A kite", "Wind"]},
        "b.png": png(2), "b.json": {"image_id": 5, "annotations": [], "caption": "The sea"},
        "c.png": png(3), "c.txt": b" Only\nwords ",
    }  # fmt: skip


def archive(path: Path, members: Members | Sequence[tuple[str, Any]]) -> Path:
    """Content that is no bytes becomes JSON; a TarInfo stands for itself."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, content in members.items() if isinstance(members, dict) else members:
            if isinstance(content, tarfile.TarInfo):
                tar.addfile(content)
                continue
            content = content if isinstance(content, bytes) else json.dumps(content).encode()
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def folder(
    root: Path, members: Members | Sequence[tuple[str, Any]] | None = None, categories: Any = CATEGORIES
) -> Path:
    archive(root / "train/train-000.tar", good() if members is None else members)
    if categories is not None:
        (root / "dataset.json").write_text(json.dumps({"categories": categories}))
    return root


def layout(root: Path, **more: Any) -> Shards:
    found = find(Place(str(root), **more))
    assert found is not None
    return found


def read(root: Path) -> Table:
    return layout(root).read("train")


def shown(table: Table) -> list[Any]:
    """All of a table in comparable values."""

    def about(one: TableObject, kind: str) -> tuple[Any, ...]:
        points = [array.tolist() for array in one.points] if kind == "keypoints" and one.points else None
        outline = ([part.tolist() for part in one.parts], one.mask) if kind == "polygons" else None
        return one.id, one.category, one.xyxy.tolist(), one.area, one.crowd, outline, points

    return [
        (
            image.id, image.name, image.size, image.captions,
            {kind: [about(one, kind) for one in objects] for kind, objects in image.objects.items()},
        )
        for image in table.images
    ]  # fmt: skip
