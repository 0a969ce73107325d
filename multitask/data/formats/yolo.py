"""YOLO's text files: a data.yaml with names and splits, images, and a file of labels for each image.

The labels of images/train/1.jpg are in labels/train/1.txt; without a folder called images, beside the image. An image
without such a file, or with an empty one, has nothing on it. Images are named by their files, objects by the number
of their row in the split.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ...errors import DataError
from ...task import Category
from .. import checks
from ..faults import Fault, Unusable
from ..table import Table, TableImage
from .header_sizes import header_sizes
from .layout import Place
from .yolo_images import Listing, list_images, walk
from .yolo_labels import LabelReader
from .yolo_settings import SPLITS, Settings, find_settings, read_classes

LOOKED_FOR = "data.yaml or other YAML with names and train/val, or classes.txt beside images/ and labels/*.txt"
OWN_NAMES = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml")
CLASSES = "classes.txt"


@dataclass(frozen=True)
class YoloLayout:
    """A folder with YOLO's files; `images` and `labels` are what a person chose in place of the usual ones."""

    settings: Settings
    images: Path | None = None
    labels: Path | None = None

    @property
    def splits(self) -> list[str]:
        return list(self.settings.sources)

    def read(self, split: str) -> Table:
        root, skeleton = self.settings.root, self.settings.skeleton
        categories = {number: Category(number, name) for number, name in self.settings.names.items()}
        reader = LabelReader(root, categories, len(skeleton), self.settings.dimensions)
        listing = list_images(self.settings, split)
        images = list(self._images(listing, reader))
        orphans = list(self._orphans(listing))
        faults = [*listing.faults, *reader.faults, *orphans]
        if not images:
            first = f"; first fault: {faults[0]}" if faults else ""
            raise DataError(f"{self.settings.file}: split '{split}' lists no usable image{first}")
        if not reader.files:
            looked = _shown(self.label_file(listing.files[0]), root)
            raise DataError(f"{root}: no image of split '{split}' has a label file; looked for {looked} and the like")
        _add_kind(images, "keypoints" if len(skeleton) else "polygons")
        entries = len(listing.files) + len(listing.faults) + reader.rows + len(orphans)
        return Table(root, listing.folder, images, list(categories.values()), skeleton, faults, entries)

    def label_file(self, image: Path) -> Path:
        """The last folder called images becomes labels."""
        parts = image.relative_to(self.settings.root).parts
        last = max((i for i, part in enumerate(parts[:-1]) if part == "images"), default=-1)
        below = image.relative_to(self.images) if self.images else Path(*parts[last + 1 :])
        if self.labels:
            return self.labels / below.with_suffix(".txt")
        if last < 0:
            return image.with_suffix(".txt")
        return self.settings.root.joinpath(*parts[:last], "labels", below.with_suffix(".txt"))

    def _images(self, listing: Listing, reader: LabelReader) -> Iterator[TableImage]:
        root, folder, seen = listing.root, listing.folder, set[str]()
        stems = Counter(file.stem for file in listing.files)
        for file, size in zip(listing.files, header_sizes(listing.files, root), strict=True):
            name = file.relative_to(folder)
            key = file.stem if stems[file.stem] == 1 else name.with_suffix("").as_posix()
            try:
                if isinstance(size, Unusable):
                    raise size
                checks.text(name.as_posix(), "image")
                key = checks.text(key, "image")
                checks.new(key, "image", seen)
                seen.add(key)
                label = self.label_file(file)
                shown = _shown(label, root)
                yield TableImage(key, name.as_posix(), size, shown, {"boxes": reader.read(label, shown, size)})
            except Unusable as error:
                where = f"image {key!r:.60}"
                reader.faults.append(error.fault(_shown(file, root), where, "skipped with its annotations"))

    def _orphans(self, listing: Listing) -> Iterator[Fault]:
        """Label files in the folders of the split that belong to no image."""
        known = {self.label_file(file) for file in listing.files}
        for folder in dict.fromkeys(self.label_file(folder / "any.jpg").parent for folder in listing.folders):
            for file in walk(folder) if folder.is_dir() else ():
                if file.suffix.lower() == ".txt" and file.name != CLASSES and file not in known:
                    error = Unusable("label file", file.name, "belongs to no image", "put its image there or remove it")
                    yield error.fault(_shown(file, listing.root), "file")


def find(place: Place) -> YoloLayout | None:
    """A data set of YOLO's at a place: a folder or a YAML file.

    `annotations` chooses a YAML file or a folder of label files, `images` a folder of images."""
    here, settings = place.here, None
    if here.is_file():
        settings = find_settings(here, sure=True) if here.suffix.lower() in (".yaml", ".yml") else None
        place = replace(place, path=str(here.parent))
    elif here.is_dir():
        found = (find_settings(file, file.name in OWN_NAMES) for file in _yaml_files(place))
        settings = next(filter(None, found), None) or _by_classes(place)
    if settings is None:
        return None
    images = place.image_folder()
    if images or not settings.sources:
        settings = replace(settings, sources=_sources(images or settings.root / "images", settings.root))
    if not settings.sources:
        raise DataError(f"{settings.file}: says nothing of {', '.join(SPLITS)}, and there is no folder images")
    usual = place.here / "labels"
    return YoloLayout(settings, images, _label_folder(place) or (usual if images and usual.is_dir() else None))


def _yaml_files(place: Place) -> Sequence[Path]:
    """The likeliest first."""
    if place.annotations is not None and not (place.here / place.annotations).is_dir():
        return [*(place.chosen(".yaml") or ()), *(place.chosen(".yml") or ())]
    names = sorted(path for path in place.here.iterdir() if path.suffix.lower() in (".yaml", ".yml"))
    return sorted(names, key=lambda path: path.name not in OWN_NAMES)


def _label_folder(place: Place) -> Path | None:
    if place.annotations is None:
        return None
    folder = place.here / place.annotations
    return folder if folder.is_dir() and folder.resolve().is_relative_to(place.here.resolve()) else None


def _by_classes(place: Place) -> Settings | None:
    """A data set without YAML."""
    labels = place.here / "labels" if place.annotations is None else _label_folder(place)
    images = place.image_folder() or place.here / "images"
    if labels is None or not labels.is_dir() or not images.is_dir():
        return None
    files = [file for file in (place.here / CLASSES, labels / CLASSES) if file.is_file()]
    if not files or all(path.name == CLASSES for path in labels.rglob("*.txt")):
        return None
    return read_classes(files[0], place.here)


def _sources(images: Path, root: Path) -> dict[str, list[str]]:
    """The folders in `images` that are named as splits, or else all of it."""
    if not images.is_dir():
        return {}
    name = Path(os.path.relpath(images, root))
    found = sorted(path.name for path in images.iterdir() if path.is_dir() and path.name.startswith(SPLITS))
    return {split: [str(name / split)] for split in found} or {"all": [str(name)]}


def _add_kind(images: Sequence[TableImage], kind: str) -> None:
    """Points, or outlines where there are any: of the objects that have them."""
    given = [[one for one in image.objects["boxes"] if one.parts or one.points is not None] for image in images]
    if kind == "keypoints" or any(given):
        for image, objects in zip(images, given, strict=True):
            image.objects[kind] = objects


def _shown(path: Path, root: Path) -> str:
    """A path for messages, on one line whatever its name is."""
    text = path.relative_to(root).as_posix()
    return text if text.isprintable() else text.encode("unicode_escape").decode()
