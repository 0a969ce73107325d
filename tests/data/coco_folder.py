"""A small, valid COCO data set to be written, and to be broken, by the tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from PIL import Image

POINTS = ["nose", "left_hand", "right_hand"]


def good() -> dict[str, Any]:
    """Three files: image 1 is in all, image 2 has no object, image 3 has captions only."""
    images = [{"id": i, "file_name": f"{i}.png", "width": 40, "height": 30} for i in (1, 2, 3)]
    boxes = [
        {"id": 11, "image_id": 1, "category_id": 7, "bbox": [2, 3, 10, 8], "area": 70.5, "iscrowd": 0,
         "segmentation": [[2, 3, 12, 3, 12, 11], [2, 4, 5, 4, 5, 11, 2, 11]]},
        {"id": 12, "image_id": 1, "category_id": 3, "bbox": [20, 5, 4, 20], "area": 60, "iscrowd": 0,
         "segmentation": [[20, 5, 24, 5, 22, 25]]},
        {"id": 13, "image_id": 1, "category_id": 3, "bbox": [0, 0, 2, 30], "area": 60, "iscrowd": 1,
         "segmentation": {"size": [30, 40], "counts": [0, 60, 1140]}},
    ]  # fmt: skip
    people = {**boxes[1], "keypoints": [22, 6, 2, 20, 12, 1, 0, 0, 0], "num_keypoints": 2}
    categories = [{"id": 7, "name": "kite"}, {"id": 3, "name": "person"}]
    posed = {"id": 3, "name": "person", "keypoints": POINTS, "skeleton": [[1, 2], [1, 3]]}
    captions = [{"id": 1, "image_id": 1, "caption": " A kite\nflies. "}, {"id": 2, "image_id": 3, "caption": "Sea"}]
    files = {
        "instances": {"images": images[:2], "annotations": boxes, "categories": categories},
        "person_keypoints": {"images": images[:2], "annotations": [people], "categories": [posed]},
        "captions": {"images": [images[0], images[2]], "annotations": captions},
    }
    independent: dict[str, Any] = json.loads(json.dumps(files))
    return independent


def write(root: Path, files: dict[str, Any], split: str = "train", images: str = "images/train") -> Path:
    """`files` may hold text or bytes instead of an object."""
    (root / "annotations").mkdir(parents=True, exist_ok=True)
    for stem, content in files.items():
        path = root / "annotations" / f"{stem}_{split}.json"
        path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    (root / images).mkdir(parents=True, exist_ok=True)
    for i in (1, 2, 3):
        Image.new("RGB", (40, 30), (80 * i, 0, 0)).save(root / images / f"{i}.png")
    return root
