"""A small, valid YOLO data set to be written, and to be broken, by the tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from multitask.data.formats.layout import Place
from multitask.data.formats.yolo import YoloLayout, find
from multitask.data.table import Table, TableImage
from multitask.yamlio import dump_yaml

SIZE = (40, 20)
SETTINGS: dict[str, Any] = {"train": "images/train", "val": "images/val", "names": ["kite", "dog"]}
LABELS: dict[str, str | bytes] = {"train/1": "0 0.5 0.5 0.2 0.4\n1 0.25 0.5 0.5 1.0\n", "train/2": ""}
IMAGES = ("images/train/1.png", "images/train/2.png", "images/train/3.png", "images/val/4.png")


def draw(root: Path, *names: str, size: tuple[int, int] = SIZE) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size, (200, 0, 0)).save(root / name)


def write_text(root: Path, **files: str | bytes) -> None:
    """Keyword by path, which is why they come as `**{...}`."""
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content if isinstance(content, bytes) else content.encode())


def write_set(root: Path, labels: dict[str, str | bytes] = LABELS, **settings: Any) -> Path:
    """Image 1 has two objects, 2 an empty label file, 3 none; 4 is of the split val."""
    draw(root, *IMAGES)
    write_text(root, **{f"labels/{stem}.txt": rows for stem, rows in {**labels, "val/4": ""}.items()})
    write_text(root, **{"data.yaml": dump_yaml(SETTINGS | settings)})
    return root


def found(path: Path, **place: str) -> YoloLayout:
    layout = find(Place(str(path), **place))
    assert layout is not None
    return layout


def read(path: Path, split: str = "train", **place: str) -> Table:
    return found(path, **place).read(split)


def boxes(image: TableImage) -> list[tuple[str, list[float]]]:
    return [(one.category.name, np.round(one.xyxy, 4).tolist()) for one in image.objects["boxes"]]
