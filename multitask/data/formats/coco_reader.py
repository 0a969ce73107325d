"""From COCO annotation files to one table of images. What breaks a rule (checks.py) is left out and noted."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...errors import DataError
from ...skeleton import COCO_PERSON, Skeleton, partners_by_name
from ...task import Category
from .. import checks
from ..faults import Fault, Unusable
from ..paths import file_name
from ..table import TableImage
from .coco_files import AnnotationFile, entries, read_json
from .coco_objects import Note, boxed, complete

SEARCHED = ("neg_category_ids", "not_exhaustive_category_ids")  # keys of LVIS
FREQUENCIES = ("r", "c", "f")


@dataclass
class Reader:
    """The table of one split, filled file by file."""

    root: Path
    images: dict[int | str, TableImage] = field(default_factory=dict)
    categories: dict[int, Category] = field(default_factory=dict)
    keypoint_names: tuple[str, ...] = ()
    edges: tuple[tuple[int, int], ...] = ()
    sigmas: tuple[float, ...] = ()
    flip_pairs: tuple[tuple[int, int], ...] | None = None  # None: the names tell
    posed: set[int] = field(default_factory=set)  # categories with these points
    entries: int = 0
    faults: list[Fault] = field(default_factory=list)
    _file: str = ""
    _listed: dict[int | str, TableImage] = field(default_factory=dict)
    _dropped: set[Any] = field(default_factory=set)  # ids of listed images that cannot be used

    def read(self, source: AnnotationFile, boxes: bool) -> None:
        """`boxes`: whether this is the file that boxes and outlines come from. Raises DataError if it is not COCO's."""
        data = read_json(source.path, self.root) if source.data is None else source.data
        self._file = str(source.path.relative_to(self.root))
        self._images(entries(data, "images", source.path))
        annotations = entries(data, "annotations", source.path)
        self.entries += len(annotations)
        if source.kind == "captions":
            return self._captions(annotations)
        categories, posed = self._categories(entries(data, "categories", source.path), source)
        kinds = ["boxes"] * boxes + ["keypoints"] * (source.kind == "keypoints")
        if boxes and any(isinstance(item, dict) and item.get("segmentation") for item in annotations):
            kinds.append("polygons")
        return self._objects(annotations, kinds, categories, posed)

    def read_categories(self, path: Path) -> None:
        """A file that lists categories, some of them with keypoints, and no images. Raises DataError as `read`."""
        self._file = str(path.relative_to(self.root))
        listed = entries(read_json(path, self.root), "categories", path)
        self._categories(listed, AnnotationFile(path, path.stem, "keypoints", ""))

    def skeleton(self) -> Skeleton:
        """COCO files name points and edges; partners, where they do not stand there, are told by the names."""
        names = self.keypoint_names
        return Skeleton(
            names=names,
            edges=self.edges,
            flip_pairs=partners_by_name(names) if self.flip_pairs is None else self.flip_pairs,
            sigmas=self.sigmas or (COCO_PERSON.sigmas if names == COCO_PERSON.names else ()),
            categories=tuple(self.categories[number].name for number in sorted(self.posed)),
        )

    def _each(self, items: Sequence[Any], name: str) -> Iterator[tuple[Mapping[str, Any], Note]]:
        """The entries that are objects, each with its notebook."""
        for position, item in enumerate(items):
            key = item.get("id") if isinstance(item, dict) else None
            where = f"{name} {key!r:.40}" if isinstance(key, (int, str)) else f"{name} at position {position}"

            def note(error: Unusable, action: str, where: str = where) -> None:
                self.faults.append(error.fault(self._file, where, action))

            if isinstance(item, dict):
                yield item, note
            else:
                note(Unusable("entry", item, "is not an object", "write {...}, or remove it"), "skipped")

    def _images(self, items: Sequence[Any]) -> None:
        self._listed, self._dropped = {}, set()
        self.entries += len(items)
        names: set[str] = set()
        for item, note in self._each(items, "image"):
            try:
                key = checks.image_id(item.get("id"), "id")
                checks.new(key, "id", self._listed)
                image = TableImage(key, file_name(_named(item)), checks.image_size(item), self._file)
                image.searched = _searched(item, note)
                checks.new(image.name, "file_name", names)
                known = self.images.setdefault(key, image)
                if (known.name, known.size) != (image.name, image.size):
                    differs = f"or the size differs from what {known.file} says"
                    raise Unusable("file_name", image.name, differs, "let the files of a split agree")
                self._listed[key] = known
                names.add(image.name)
            except Unusable as error:
                double = (error.field, error.reason) == ("id", checks.TWICE)
                note(error, "skipped" if double else "skipped with its annotations")
                self._dropped |= {item["id"]} if isinstance(item.get("id"), (int, str)) else set()

    def _categories(self, items: Sequence[Any], source: AnnotationFile) -> tuple[dict[int, Category], set[int]]:
        """The categories of this file by id, and the ids of those with keypoints."""
        found: dict[int, Category] = {}
        posed: set[int] = set()
        names: set[str] = set()
        for item, note in self._each(items, "category"):
            try:
                key, name = checks.identifier(item.get("id"), "id"), checks.text(item.get("name"), "name")
                category = Category(key, name, _frequency(item))
                checks.new(category.id, "id", found)
                checks.new(category.name, "name", names)
                found[category.id] = category
                names.add(category.name)
                if self.categories.setdefault(category.id, category) != category:
                    raise DataError(
                        f"{source.path}: category {category.id} has another name in another file of the split"
                    )
                if source.kind == "keypoints" and item.get("keypoints") and self._pose(item, source, note):
                    posed.add(category.id)
            except Unusable as error:
                note(error, "skipped")
        self.posed |= posed
        return found, posed

    def _pose(self, item: Mapping[str, Any], source: AnnotationFile, note: Note) -> bool:
        """Whether the names of its points can be used."""
        try:
            names = checks.names(item["keypoints"], "keypoints")
        except Unusable as error:
            note(error, "keypoints left out")
            return False
        if self.keypoint_names not in ((), names):
            raise DataError(f"{source.path}: categories with different keypoints; keep those of one in the file")
        self.keypoint_names = names
        rules: dict[str, Callable[[Any, int], Any]] = {
            "edges": checks.skeleton,
            "sigmas": checks.sigmas,
            "flip_pairs": checks.partners,
        }
        for name, rule in rules.items():
            key = "skeleton" if name == "edges" else name
            try:
                if item.get(key) is not None:
                    setattr(self, name, rule(item[key], len(names)))
            except Unusable as error:
                note(error, "left out")
        return True

    def _captions(self, annotations: Sequence[Any]) -> None:
        for image in self._listed.values():
            image.captions = []
        for item, note in self._each(annotations, "annotation"):
            try:
                if (of := self._image(item)) is not None and of.captions is not None:
                    of.captions.append(checks.text(item.get("caption"), "caption"))
            except Unusable as error:
                note(error, "skipped")

    def _objects(
        self, annotations: Sequence[Any], kinds: Collection[str], categories: dict[int, Category], posed: set[int]
    ) -> None:
        for image in self._listed.values():
            image.objects |= {kind: [] for kind in kinds}
        seen: set[int] = set()
        for item, note in self._each(annotations, "annotation"):
            try:
                if (of := self._image(item)) is not None:
                    key = checks.identifier(item.get("id"), "id")
                    checks.new(key, "id", seen)
                    seen.add(key)
                    category: Category = checks.known(item.get("category_id"), "category_id", categories)
                    found = boxed(key, category, item, of.size, note)
                    fit = kinds if category.id in posed else [kind for kind in kinds if kind != "keypoints"]
                    for kind in complete(found, item, of.size, fit, len(self.keypoint_names), note):
                        of.objects[kind].append(found)
            except Unusable as error:
                note(error, "skipped")

    def _image(self, item: Mapping[str, Any]) -> TableImage | None:
        """The image of an annotation; None where it was left out and so noted."""
        key = item.get("image_id")
        if isinstance(key, (int, str)) and key in self._dropped and key not in self._listed:
            return None
        image: TableImage = checks.known(key, "image_id", self._listed)
        return image


def _searched(item: Mapping[str, Any], note: Note) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """Ids of the categories that an image of LVIS surely lacks, and of those that are partly annotated."""
    try:
        found = [checks.identifiers(item[key], key) if key in item else None for key in SEARCHED]
    except Unusable as error:
        note(error, "left out")
        return None
    return None if found == [None, None] else (found[0] or (), found[1] or ())


def _frequency(item: Mapping[str, Any]) -> str:
    """How often a category of LVIS is met."""
    found = item.get("frequency")
    return found if isinstance(found, str) and found in FREQUENCIES else ""


def _named(item: Mapping[str, Any]) -> Any:
    """The file of an image; LVIS gives addresses instead, which end in it."""
    url = item.get("coco_url")
    if "file_name" in item or not isinstance(url, str):
        return item.get("file_name")
    return "/".join(url.split("/")[-2:])
