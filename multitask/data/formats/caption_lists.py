"""Plain lists of images and what is said about them, in the forms of caption_rows.py.

Several rows of an image are several captions, in order. Its split is what a column `split` says, or else the name of
the file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any

from ...errors import DataError
from ...files import sanitise, write_atomic
from .. import checks
from ..faults import Fault, Unusable
from ..paths import file_name, file_problem
from ..table import Table, TableImage
from .caption_rows import IMAGE, SUFFIXES, TEXT, Row, column, first_row, fits, read_rows
from .header_sizes import header_sizes
from .layout import Place, split_word
from .writing import copy_image

LOOKED_FOR = "*.csv, *.tsv or *.jsonl with columns 'image' and 'caption' in annotations/ or the folder"
FOLDERS = ("annotations", ".")
NUMBERS = ("image_id", "id")  # columns
_NAME = re.compile(r"captions?[_-](.+)", re.IGNORECASE)


@dataclass(frozen=True)
class CaptionLists:
    """A folder with such lists."""

    place: Place
    root: Path
    files: tuple[Path, ...]

    @property
    def splits(self) -> list[str]:
        return list(dict.fromkeys(split for file in self.files for split in _splits(file, self.root)))

    def read(self, split: str) -> Table:
        path = self.place.path
        files = [file for file in self.files if split in _splits(file, self.root)]
        if len(files) > 1:
            names = ", ".join(file.name for file in files)
            raise DataError(f"{path}: several lists of split '{split}': {names}; choose one with data.annotations")
        listed = _Listed(self.root, files[0], split)
        folder = self._folder(split, files[0], list(islice(listed.images, 20))) if listed.images else self.root
        images = listed.sized(folder)
        if not images:
            first = f"; first fault: {listed.faults[0]}" if listed.faults else ""
            raise DataError(f"{path}: split '{split}' lists no usable image{first}")
        return Table(self.root, folder, images, faults=listed.faults, entries=listed.entries)

    def _folder(self, split: str, file: Path, names: list[str]) -> Path:
        """The folder that image names are relative to: the first that holds one of these."""
        if chosen := Place(str(self.root), images=self.place.images).image_folder():
            return chosen
        images = self.root / "images"
        folders = list(dict.fromkeys([file.parent, self.root, images, images / split, self.root / split]))
        for folder in folders:
            if not all(file_problem(folder / name, self.root) for name in names):
                return folder
        looked = ", ".join(str(folder.relative_to(self.root)) for folder in folders if folder.is_dir())
        raise DataError(
            f"{file}: images not found, such as {names[0]!r:.200}; looked in {looked}; data.images names another folder"
        )


def find(place: Place) -> CaptionLists | None:
    """Lists at a place: a folder, or one list."""
    here = place.here
    if here.is_file():
        root = here.parent.parent if here.parent.name in FOLDERS else here.parent
        return CaptionLists(place, root, (here,)) if here.suffix.lower() in SUFFIXES else None
    if place.annotations is not None:
        files = list(chain.from_iterable(place.chosen(suffix) or () for suffix in SUFFIXES))
    else:
        files = next(filter(None, (_lists(here / folder) for folder in FOLDERS)), [])
    return CaptionLists(place, here, tuple(sorted(files))) if files else None


def _lists(folder: Path) -> list[Path]:
    found = folder.iterdir() if folder.is_dir() else ()
    return [path for path in found if path.suffix.lower() in SUFFIXES and fits(first_row(path))]


def _splits(file: Path, root: Path) -> list[str]:
    if "split" not in first_row(file):
        return [_split_by_name(file)]
    found: dict[str, None] = {}
    for _, row in read_rows(file, root):
        with suppress(Unusable):
            found |= {} if isinstance(row, Unusable) else {_split(row, file): None}
    return list(found)


def _split(row: Row, file: Path) -> str:
    """What a row says, or else the name of the file."""
    value = row.get("split")
    if value in (None, ""):
        return _split_by_name(file)
    if not isinstance(value, str) or value != sanitise(value):
        raise Unusable("split", value, "is not a name of letters, digits and -_.", "rename it")
    return value


def _split_by_name(file: Path) -> str:
    """`captions_train.csv` -> train, `train.jsonl` -> train, `holiday.csv` -> holiday."""
    if match := _NAME.fullmatch(file.stem):
        return match[1]
    return split_word(file.stem) or file.stem


@dataclass
class _Image:
    line: int  # that lists it first
    captions: list[str] = field(default_factory=list)
    numbers: set[int | None] = field(default_factory=set)  # that its rows give it


class _Listed:
    """What a list says of a split."""

    def __init__(self, root: Path, file: Path, split: str) -> None:
        self.root, self.file = root, str(file.relative_to(root))
        self.images: dict[str, _Image] = {}
        self.faults: list[Fault] = []
        self.entries = 0
        self.numbered = ""  # the column of their ids
        divided = "split" in first_row(file)
        for line, row in read_rows(file, root):
            try:
                if isinstance(row, Unusable):
                    raise row
                if row.get("split") and not divided:
                    raise Unusable("split", row["split"], "is not said in the first line", "say it in every line")
                if _split(row, file) == split:
                    self._add(line, row)
            except Unusable as error:
                self._note(error, line)

    def _note(self, error: Unusable, line: int, action: str = "skipped") -> None:
        self.entries += action == "skipped"
        self.faults.append(error.fault(self.file, f"line {line}", action))

    def _add(self, line: int, row: Row) -> None:
        image = self.images.setdefault(_image_name(row), _Image(line))
        if numbered := column(row, NUMBERS):
            self.numbered = numbered
            image.numbers.add(_number(row[numbered]))
        value = row.get(column(row, TEXT))
        for text in value if isinstance(value, list) else [value]:
            try:
                image.captions.append(checks.text(text, column(row, TEXT) or "caption"))
                self.entries += 1
            except Unusable as error:
                self._note(error, line)

    def _ids(self) -> dict[str, int]:
        """Their numbers, where each has one of its own."""
        found: dict[int, str] = {}
        for name, image in self.images.items():
            number = next(iter(image.numbers), None)
            if number is None or len(image.numbers) > 1 or number in found:
                if self.numbered == NUMBERS[0]:
                    reason = "is not one whole number for each image, whose name is taken"
                    error = Unusable(NUMBERS[0], number, reason, "number the images, or remove the column")
                    self._note(error, image.line, "kept")
                return {}
            found[number] = name
        return {name: number for number, name in found.items()}

    def sized(self, folder: Path) -> list[TableImage]:
        """The images that can be read, with the size that their file says."""
        self.entries += len(self.images)
        ids, images = self._ids(), []
        sizes = header_sizes((folder / name for name in self.images), self.root)
        for (name, image), size in zip(self.images.items(), sizes, strict=True):
            if isinstance(size, Unusable):
                self._note(size, image.line, "skipped with its annotations")
            else:
                images.append(TableImage(ids.get(name, name), name, size, self.file, captions=image.captions))
        return images


def _image_name(row: Row) -> str:
    key = column(row, IMAGE) or "image"
    name = row.get(key)
    try:
        return file_name(name.strip() if isinstance(name, str) else name)
    except Unusable as error:
        error.field = key
        raise


def _number(value: Any) -> int | None:
    """A whole number, also if written as text."""
    if isinstance(value, str) and value.isascii() and value.removeprefix("-").isdigit() and len(value) < 20:
        value = int(value)
    try:
        return checks.identifier(value, "id")
    except Unusable:
        return None


# ------------------------------------------------------------------------------------------------------- and back


def write(table: Table, split: str, target: Path) -> list[str]:
    """Writes `captions_SPLIT.jsonl` and the images in `images/SPLIT/`; returns what these do not hold."""
    told = [image for image in table.images if image.captions is not None]
    numbered = all(isinstance(image.id, int) for image in told)
    for image in told:
        copy_image(table, image, target / "images" / split / image.name)
    if told:
        write_atomic(target / f"captions_{split}.jsonl", "".join(_lines(told, numbered)).encode())
    return list(_uncarried(table, told, numbered))


def _lines(images: Iterable[TableImage], numbered: bool) -> Iterator[str]:
    for image in images:
        number = {NUMBERS[0]: image.id} if numbered else {}
        yield json.dumps({"image": image.name, **number, "caption": image.captions}, ensure_ascii=False) + "\n"


def _uncarried(table: Table, told: list[TableImage], numbered: bool) -> Iterator[str]:
    if kinds := sorted({kind for image in table.images for kind in image.objects}):
        yield f"{', '.join(kinds)} of {sum(bool(image.objects) for image in table.images)} images"
    if others := len(table.images) - len(told):
        yield f"{others} images without captions"
    if not numbered and (named := sum(image.id != image.name for image in told)):
        yield f"ids of {named} images"
