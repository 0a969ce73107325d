"""From a table to YOLO's text files; `yolo.py` reads them back.

    data.yaml               names, the splits written so far, the points
    images/SPLIT/           images, byte for byte
    labels/SPLIT/           a file for each, empty where there is nothing

A data set is of one kind: points if the split has any, or else outlines, or else boxes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from ...errors import DataError
from ...files import write_atomic
from ...geometry import FloatArray, clip_polygon
from ...skeleton import COCO_PERSON, Skeleton
from ...yamlio import dump_yaml, read_yaml
from ..checks import LEAST_AREA, Size
from ..images import EXTENSIONS, image_size
from ..outlines import area
from ..table import Table, TableImage, TableObject
from .writing import copy_image, counted, put
from .yolo_settings import find_settings

Lost = tuple[str, str]  # a phrase about some of a unit
CAPTIONS = "captions of {}", "image"
UNFIT = "{} that cannot be read, or whose size is not the annotated one when upright", "image"
UNNAMED = "{} whose names do not end like those of images", "image"
IDS = "ids of {}, whose file names are taken", "image"
UNOUTLINED = "that outlines were not looked for on {}", "image"
CROWDS = "{}", "crowd"
DOUBLES = "{} standing twice in one place", "object"
OTHERS = "{} of categories without keypoints", "object"
OUTLINES = "outlines of {}", "object"
MASKS = "run-length masks of {}, which become boxes", "object"
PARTS = "all but the largest part of {}", "outline"
AREAS = "areas of {}, which are taken from what is written", "object"
NUMBERS = "class numbers with gaps, or not from 0, to other programs; they are kept"


def write(table: Table, split: str, target: Path) -> list[str]:
    """Writes a split below `target`, beside others with the same names; returns what YOLO's files cannot say of it.

    Raises DataError where there is nothing to write, or other things lie in the way."""
    writer = _Writer(table)
    content = _merged(target / "data.yaml", split, writer.settings())
    images = [image for image in table.images if writer.fits(image)]
    if not images:
        raise DataError(f"{table.root}: split '{split}' has no image with boxes, outlines or points to write")
    for image, name in zip(images, _names(images), strict=True):
        writer.lost[IDS] += image.id != PurePosixPath(name).stem
        copy_image(table, image, target / "images" / split / name)
        rows = "".join(f"{row}\n" for row in writer.rows(image))
        put((target / "labels" / split / name).with_suffix(".txt"), rows.encode())
    write_atomic(target / "data.yaml", dump_yaml(content).encode())
    return [*writer.told(), *([] if split == _key(split) else [f"the name of the split, which becomes {_key(split)}"])]


@dataclass
class _Writer:
    """The rows of one split, and what they leave out."""

    table: Table
    lost: Counter[Lost] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        kinds = [kind for kind in ("keypoints", "polygons") if any(kind in i.objects for i in self.table.images)]
        self.kind = (*kinds, "boxes")[0]
        categories = sorted(self.table.categories, key=lambda category: category.id)
        if self.kind == "keypoints" and (posed := self.table.skeleton.categories):
            categories = [category for category in categories if category.name in posed]
        own = all(category.id >= 0 for category in categories)
        self.numbers = {category.id: category.id if own else i for i, category in enumerate(categories)}
        self.names = {self.numbers[category.id]: category.name for category in categories}

    def settings(self) -> dict[str, Any]:
        skeleton = self.table.skeleton
        if self.kind != "keypoints":
            return {"names": self.names}
        return {
            "names": self.names,
            "kpt_shape": [len(skeleton), 3],
            "flip_idx": skeleton.mirrored(),
            "kpt_names": {number: list(skeleton.names) for number in self.names},
        }

    def fits(self, image: TableImage) -> bool:
        """Whether the image can be said to show just these objects."""
        if image.captions is not None:
            self.lost[CAPTIONS] += 1
        kinds = {"keypoints"} if self.kind == "keypoints" else {"boxes", self.kind}
        if not kinds & image.objects.keys():
            self.lost[f"{{}} without {self.kind}", "image"] += 1
        elif PurePosixPath(image.name).suffix.lower() not in EXTENSIONS:
            self.lost[UNNAMED] += 1
        elif _upright_size(self.table, image) != image.size:
            self.lost[UNFIT] += 1
        else:
            self.lost[UNOUTLINED] += self.kind == "polygons" not in image.objects
            return True
        return False

    def rows(self, image: TableImage) -> list[str]:
        objects = list(self._objects(image))
        rows = [self._row(one, image.size) for one in objects]
        single = list(dict.fromkeys(rows))
        self.lost[DOUBLES] += len(rows) - len(single)
        return single

    def _objects(self, image: TableImage) -> Iterator[TableObject]:
        posed = self.kind == "keypoints"
        kinds = ("keypoints",) if posed else ("boxes", "polygons")
        for one in {id(one): one for kind in kinds for one in image.objects.get(kind, ())}.values():
            if one.crowd or one.category.id not in self.numbers:
                self.lost[CROWDS if one.crowd else OTHERS] += 1
            else:
                yield one
        if posed:
            self.lost[OUTLINES] += len(image.objects.get("polygons", ()))
            self.lost[OTHERS] += sum(one.category.id not in self.numbers for one in image.objects.get("boxes", ()))

    def _row(self, one: TableObject, size: Size) -> str:
        number = self.numbers[one.category.id]
        outline = self._outline(one, size) if self.kind == "polygons" else None
        low, high = one.xyxy[:2], one.xyxy[2:]
        written = (high - low).prod() if outline is None else area(outline)
        self.lost[AREAS] += not np.isclose(one.area, written, rtol=1e-3)
        if outline is not None:
            return f"{number} {_fractions(outline, size)}"
        row = f"{number} {_fractions(np.stack([(low + high) / 2, high - low]), size)}"
        return f"{row} {self._points(one, size)}" if self.kind == "keypoints" else row

    def _outline(self, one: TableObject, size: Size) -> FloatArray | None:
        """The largest part (P, 2) as far as it is inside the image, if any is."""
        self.lost[MASKS] += one.mask is not None
        self.lost[PARTS] += len(one.parts) > 1
        if not one.parts:
            return None
        largest = clip_polygon(max(one.parts, key=area), size)
        return largest if len(largest) >= 3 and area(largest) > LEAST_AREA else None

    def _points(self, one: TableObject, size: Size) -> str:
        if one.points is None:
            return " ".join(["0"] * 3 * len(self.table.skeleton))
        pairs = zip(*one.points, strict=True)
        return " ".join(f"{_fractions(xy, size)} {seen}" if seen else "0 0 0" for xy, seen in pairs)

    def told(self) -> list[str]:
        lines = [phrase.format(counted(count, unit)) for (phrase, unit), count in self.lost.items() if count]
        if sorted(self.names) != list(range(len(self.names))):
            lines.append(NUMBERS)
        if self.kind == "keypoints":
            skeleton = self.table.skeleton
            plain = COCO_PERSON if skeleton.names == COCO_PERSON.names else Skeleton(names=skeleton.names)
            lines += ["the edges of the skeleton"] * (skeleton.edges != plain.edges)
            lines += ["the sigmas of the points"] * (skeleton.sigmas != plain.sigmas)
        return lines


def _key(split: str) -> str:
    """What data.yaml calls a split."""
    return next((key for key in ("train", "val", "test") if split.startswith(key)), "train")


def _merged(file: Path, split: str, own: Mapping[str, Any]) -> dict[str, Any]:
    """The data.yaml that has this split too. Raises DataError where that would change what was written before."""
    key, folder = _key(split), f"images/{split}"
    if not file.exists():
        return {key: folder, **own}
    if find_settings(file, sure=True) is None:
        raise DataError(f"{file}: is about something else; give an empty folder")
    before = read_yaml(file)
    different = [name for name in ("names", "kpt_shape", "flip_idx", "kpt_names") if before.get(name) != own.get(name)]
    if before.get(key, folder) != folder:
        different.append(key)
    if different:
        raise DataError(
            f"{file}: '{different[0]}' is another than that of split '{split}'; write this to its own folder"
        )
    return {**before, key: folder}


def _names(images: Iterable[TableImage]) -> Iterator[str]:
    """File names, numbered where a stem repeats: images that differ in their ending would share their labels."""
    taken: set[str] = set()
    for image in images:
        path = PurePosixPath(image.name)
        stem, number = path.stem, 1
        while stem.casefold() in taken:
            number += 1
            stem = f"{path.stem}-{number}"
        taken.add(stem.casefold())
        yield stem + path.suffix


def _upright_size(table: Table, image: TableImage) -> Size | None:
    """Boxes on an image that was annotated unturned do not fit what YOLO's readers see."""
    try:
        return image_size(image.slice or table.folder / image.name, table.root)
    except DataError:
        return None


def _fractions(points: FloatArray, size: Size) -> str:
    """To 8 decimals: 0.0001 pixels of an image of 10,000."""
    numbers: Sequence[float] = (points / size).ravel().tolist()
    return " ".join(f"{number:.8f}" for number in numbers)
