"""COCO annotations: boxes, polygons and run-length masks, keypoints and captions, from any subset of the files.

A file annotates the images that it lists: an image without entries there has empty boxes, an image that the file does
not list has none. Boxes and outlines come from `instances`, or else from `keypoints`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ...errors import DataError
from ..faults import Fault
from ..table import Table
from .coco_files import AnnotationFile, choose_files, find_files, find_images
from .coco_reader import Reader
from .layout import Place

LOOKED_FOR = "instances_*.json, *keypoints*_*.json, captions_*.json or other JSON in annotations/, coco/ or the folder"


@dataclass(frozen=True)
class CocoLayout:
    """A folder with COCO's annotation files."""

    place: Place
    root: Path
    files: Sequence[AnnotationFile]

    @property
    def splits(self) -> list[str]:
        return list(dict.fromkeys(file.split for file in self.files))

    def alternatives(self) -> list[Place]:
        """Each set of annotations by itself where several are of one kind, so that a person has to choose."""
        sorts = Counter((file.split, file.kind) for file in self.files if file.kind)
        if max(sorts.values(), default=0) < 2 or not self.place.here.is_dir():
            return [self.place]
        stems = dict.fromkeys((file.path.parent.relative_to(self.place.here) / file.stem) for file in self.files)
        return [replace(self.place, annotations=f"{stem}_*.json") for stem in stems]

    def read(self, split: str) -> Table:
        path = self.place.path
        chosen = choose_files(path, self.files, split, self.root)
        reader = Reader(self.root)
        for kind, file in chosen.items():
            reader.read(file, boxes=kind == "instances" or (kind == "keypoints" and "instances" not in chosen))
        if not reader.images:
            raise _unusable(path, split, reader.faults)
        images = list(reader.images.values())
        folder = self.place.image_folder() or find_images(self.root, split, images)
        categories = list(reader.categories.values())
        table = Table(self.root, folder, images, categories, reader.skeleton(), reader.faults, reader.entries)
        if not table.present().images:
            raise _unusable(path, split, table.faults)
        return table


def find(place: Place) -> CocoLayout | None:
    """COCO annotations at a place: a folder, or one annotation file, which stands for all with the same beginning."""
    root, files = find_files(place)
    return CocoLayout(place, root, files) if files else None


def _unusable(path: str, split: str, faults: Sequence[Fault]) -> DataError:
    first = f"; first fault: {faults[0]}" if faults else ""
    return DataError(f"{path}: split '{split}' lists no usable image{first}")
