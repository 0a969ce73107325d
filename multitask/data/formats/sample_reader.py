"""From the samples of tar shards to a table: the JSON and the text beside each image.

What breaks a rule (checks.py, as in COCO's files) is left out and noted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ...task import Category
from .. import checks
from ..checks import Size
from ..faults import Fault, Unusable
from ..images import Slice
from ..paths import file_name
from ..table import TableImage, TableObject
from .coco_objects import Note, boxed, complete
from .coco_reader import Reader
from .header_sizes import header_sizes
from .strict_json import parse
from .tar_index import Sample

KINDS = ("boxes", "polygons", "keypoints")
MAX_JSON = 2**26  # bytes of a sample


@dataclass
class _Draft:
    """An image and what its JSON says."""

    sample: Sample
    image: Slice
    entry: Mapping[str, Any]
    size: Size | None  # None: to be read from the image


class SampleReader:
    """The table of one split, filled shard by shard. `listed` holds the categories of dataset.json, if there is one."""

    def __init__(self, root: Path, listed: Reader | None) -> None:
        self.root, self.listed = root, listed
        self.images: dict[int | str, TableImage] = {}
        self.faults: list[Fault] = []
        self.entries = 0
        self._names: set[str] = set()
        self._named = {} if listed is None else {one.name: one for one in listed.categories.values()}

    def read(self, samples: Sequence[Sample]) -> None:
        drafts = [draft for sample in samples if (draft := self._draft(sample))]
        sizes = iter(header_sizes((draft.image for draft in drafts if draft.size is None), self.root))
        for draft in drafts:
            try:
                self._fill(draft, draft.size or next(sizes))
            except Unusable as error:
                self._note(draft.sample, "", error, "skipped with its annotations")

    def _note(self, sample: Sample, within: str, error: Unusable, action: str) -> None:
        file = str(sample.shard.relative_to(self.root))
        self.faults.append(error.fault(file, f"sample {sample.key!r:.60}{within}", action))

    def _draft(self, sample: Sample) -> _Draft | None:
        self.entries += 1
        try:
            if sample.image is None or not sample.image.length:
                reason = "has no image" if sample.image is None else "has an empty image"
                raise Unusable("image", sample.key, reason, "put one into the archive")
            entry = _json(sample.parts["json"]) if "json" in sample.parts else {}
            sized = "width" in entry or "height" in entry
            return _Draft(sample, sample.image, entry, checks.image_size(entry) if sized else None)
        except Unusable as error:
            self._note(sample, "", error, "skipped with its annotations")
            return None

    def _fill(self, draft: _Draft, size: Size | Unusable) -> None:
        if isinstance(size, Unusable):
            raise size
        key, name = self._identity(draft)
        image = TableImage(key, name, size, str(draft.sample.shard.relative_to(self.root)), slice=draft.image)
        self._objects(image, draft)
        image.captions = self._captions(draft)
        self.images[key] = image
        self._names.add(name)

    def _identity(self, draft: _Draft) -> tuple[int | str, str]:
        """Id and name of an image. What the archive calls it may occur in several shards: their name tells it apart."""
        entry, sample = draft.entry, draft.sample
        name = file_name(entry["file_name"]) if "file_name" in entry else draft.image.name
        name = f"{sample.shard.stem}/{name}" if name in self._names else name
        if "image_id" in entry:
            key = checks.image_id(entry["image_id"], "image_id")
        else:
            key = f"{sample.shard.stem}/{sample.key}" if sample.key in self.images else sample.key
        checks.new(key, "image_id", self.images)
        return key, name

    # --------------------------------------------------------------------------------------------------- objects

    def _objects(self, image: TableImage, draft: _Draft) -> None:
        items = draft.entry.get("annotations")
        if items is None:
            return
        if not isinstance(items, list):
            raise Unusable("annotations", items, "is not a list", "write [{...}, ...]")
        image.objects = {kind: [] for kind in self._kinds(draft.entry, items)}
        seen: dict[str, set[int]] = {kind: set() for kind in image.objects}
        self.entries += len(items)
        for position, item in enumerate(items, 1):
            note = partial(self._note, draft.sample, f", annotation {position}")
            try:
                if not isinstance(item, dict):
                    raise Unusable("entry", item, "is not an object", "write {...}, or remove it")
                key = checks.identifier(item.get("id", position), "id")
                self._object(image, key, item, seen, note)
            except Unusable as error:
                note(error, "skipped")

    def _object(
        self, image: TableImage, key: int, item: Mapping[str, Any], seen: Mapping[str, set[int]], note: Note
    ) -> None:
        category = self._category(item)
        posed = self.listed is not None and category.id in self.listed.posed
        kinds = _known_kinds(item["kinds"], image.objects) if "kinds" in item else list(image.objects)
        kinds = [kind for kind in kinds if posed or kind != "keypoints"]
        for kind in kinds:
            checks.new(key, "id", seen[kind])
            seen[kind].add(key)
        found = boxed(key, category, item, image.size, note)
        points = len(self.listed.keypoint_names) if self.listed else 0
        for kind in complete(found, item, image.size, kinds, points, note):
            image.objects[kind].append(found)

    def _kinds(self, entry: Mapping[str, Any], items: Sequence[Any]) -> list[str]:
        """What an image is annotated with: as its JSON says, or else as its annotations and categories show."""
        if "kinds" in entry:
            return _known_kinds(entry["kinds"], KINDS)
        outlined = any(isinstance(item, dict) and item.get("segmentation") for item in items)
        posed = self.listed is not None and bool(self.listed.posed)
        return ["boxes"] + ["polygons"] * outlined + ["keypoints"] * posed

    def _category(self, item: Mapping[str, Any]) -> Category:
        if self.listed is None:
            if "category" not in item:
                reason = "says nothing without a dataset.json that lists the categories"
                fix = "put one beside the shards, or write 'category' with its name"
                raise Unusable("category_id", item.get("category_id"), reason, fix)
            name = checks.text(item["category"], "category")
            return self._named.setdefault(name, Category(0, name))  # numbered when all are known
        if "category_id" in item or "category" not in item:
            listed: Category = checks.known(item.get("category_id"), "category_id", self.listed.categories)
        else:
            listed = checks.known(item["category"], "category", self._named)
        return listed

    def categories(self) -> list[Category]:
        """Those of dataset.json; without one those that occur, numbered from 1 in the order of their names."""
        if self.listed is not None:
            return list(self.listed.categories.values())
        numbered = {name: Category(number, name) for number, name in enumerate(sorted(self._named), 1)}
        for one in self._all():
            one.category = numbered[one.category.name]
        return list(numbered.values())

    def _all(self) -> Iterator[TableObject]:
        for image in self.images.values():
            for objects in image.objects.values():
                yield from objects

    # -------------------------------------------------------------------------------------------------- captions

    def _captions(self, draft: _Draft) -> list[str] | None:
        """Those of the JSON; a single one, there or in a text file, often repeats one of them."""
        entry, texts = draft.entry, draft.sample.parts.get("txt")
        several, single = entry.get("captions"), entry.get("caption")
        if several is None and single is None and texts is None:
            return None
        note = partial(self._note, draft.sample, ", caption")
        found = list(self._texts(several if isinstance(several, list) else [several], "captions", note))
        try:
            ones = [single, *([] if texts is None else [_text(texts)])]
        except Unusable as error:
            ones = [single]
            note(error, "skipped")
        return found + [text for text in dict.fromkeys(self._texts(ones, "caption", note)) if text not in found]

    def _texts(self, values: Sequence[Any], field: str, note: Note) -> Iterator[str]:
        for value in values:
            if value is not None:
                self.entries += 1
                try:
                    yield checks.text(value, field)
                except Unusable as error:
                    note(error, "skipped")


def _known_kinds(value: Any, choices: Any) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(kind, str) and kind in choices for kind in value):
        raise Unusable("kinds", value, f"is not a list of {', '.join(choices)}", "correct it, or leave it out")
    return list(dict.fromkeys(value))


def _json(part: Slice) -> dict[str, Any]:
    if part.length > MAX_JSON:
        raise Unusable("json", part.name, f"is larger than {MAX_JSON // 2**20} MiB", "export it again")
    try:
        entry = parse(part.bytes().read())
    except (ValueError, OSError) as error:
        raise Unusable("json", part.name, f"is not valid JSON ({error})", "export it again") from None
    if not isinstance(entry, dict):
        raise Unusable("json", part.name, "is not an object", "write {...}")
    return entry


def _text(part: Slice) -> str:
    if part.length > 4 * checks.MAX_TEXT:  # bytes of a character
        raise Unusable("txt", part.name, f"is longer than {checks.MAX_TEXT} characters", "shorten it")
    try:
        return part.bytes().read().decode("utf-8-sig")
    except (UnicodeDecodeError, OSError):
        raise Unusable("txt", part.name, "is not UTF-8 text", "save it as UTF-8") from None
