"""Scenes of `shapes` as a table whose images are files, so that they can be written in any format."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from ...annotations import Boxes, Captions, Keypoints, Polygons
from ...example import Example
from ..shapes import INFO, SIDE, ShapesDataset
from ..table import Table, TableImage, TableObject


def drawn_table(split: str, count: int, seed: int, folder: Path) -> Table:
    """The first scenes of a split, drawn as PNG files into `folder`."""
    dataset = ShapesDataset(split, count, seed)
    folder.mkdir(parents=True, exist_ok=True)
    images = [_image(dataset[i], folder) for i in range(len(dataset))]
    return Table(folder, folder, images, INFO.categories, INFO.skeleton, [], len(images))


def _image(example: Example, folder: Path) -> TableImage:
    name = f"{Path(example.file).name}.png"
    Image.fromarray(example.load()).save(folder / name)
    objects = _objects(example)
    kinds = {kind: [objects[int(i)] for i in a.ids] for kind, a in example.annotations.items() if isinstance(a, Boxes)}
    texts = [text for a in example.annotations.values() if isinstance(a, Captions) for text in a.texts]
    return TableImage(example.id, name, (SIDE, SIDE), example.file, kinds, texts)


def _objects(example: Example) -> dict[int, TableObject]:
    """By id, each with all that any kind says of it."""
    categories = {category.name: category for category in INFO.categories}
    found: dict[int, TableObject] = {}
    for a in example.annotations.values():
        for i, number in enumerate(a.ids.tolist() if isinstance(a, Boxes) else ()):
            assert isinstance(a, Boxes)  # noqa: S101  # else it has no ids
            one = found.setdefault(number, TableObject(number, categories[a.labels[i]], a.xyxy[i], float(a.areas[i])))
            if isinstance(a, Polygons):
                one.parts = a.parts[i]
            if isinstance(a, Keypoints):
                one.points = a.points[i], a.visibility[i]
    return found
