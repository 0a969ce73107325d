"""Where a COCO data set keeps things: its annotation files, their splits, its images."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

from ...errors import DataError
from ..paths import file_problem
from ..table import TableImage
from .layout import Place, split_word
from .strict_json import parse

MAX_BYTES = 16 * 2**30  # of an annotation file
FOLDERS = ("annotations", "coco", ".")
IN_EACH_FOLDER = "_annotations.coco.json"  # of a split, beside its images
HEAD = 2**16  # bytes that tell what a file may be
DEEPEST = 4  # folders of an image name that the disk may lack
_NAME = re.compile(r"(?P<stem>(?P<kind>instances|captions|[\w-]*keypoints)[^_]*)_(?P<split>.+)\.json")


@dataclass(frozen=True)
class AnnotationFile:
    """A file of a data set by what its name says; `kind` is empty where that says nothing."""

    path: Path
    stem: str  # "person_keypoints"
    kind: str  # "instances", "keypoints" or "captions"
    split: str
    data: dict[str, Any] | None = None  # what it holds, once read


def find_files(place: Place) -> tuple[Path, list[AnnotationFile]]:
    """The folder of the data set and its annotation files; none where it has none.

    Files that are named as COCO's are preferred; the kind and split of others are told by what they hold and where
    they lie. Raises DataError where `data.annotations` names no file.
    """
    here = place.here
    if here.is_dir():
        if (chosen := place.chosen(".json")) is not None:
            return here, _named(chosen)
        return here, next(filter(None, map(_list, _folders(here))), [])
    if here.suffix.lower() != ".json":
        return here.parent, []
    root = here.parent.parent if here.parent.name in FOLDERS else here.parent
    file = _named([here])[0]
    siblings = _named(sorted(here.parent.glob("*.json"))) if file.kind else [file]
    return root, [sibling for sibling in siblings if sibling.stem == file.stem]


def _folders(root: Path) -> Iterator[list[Path]]:
    """The JSON files of each folder that may hold the annotations, the likeliest first."""
    for folder in FOLDERS:
        yield sorted((root / folder).glob("*.json"))
    yield sorted(root.glob(f"*/{IN_EACH_FOLDER}"))


def _list(files: Iterable[Path]) -> list[AnnotationFile]:
    """The files that have COCO's names, or, where none has, all that may hold annotations."""
    named = _named(files)
    return [file for file in named if file.kind] or [file for file in named if _may_be_coco(file.path)]


def _named(files: Iterable[Path]) -> list[AnnotationFile]:
    return [_by_name(path) for path in files]


def _by_name(path: Path) -> AnnotationFile:
    if match := _NAME.fullmatch(path.name):
        kind = "keypoints" if "keypoints" in match["kind"] else match["kind"]
        return AnnotationFile(path, match["stem"], kind, match["split"])
    folder = path.absolute().parent.name
    otherwise = folder if path.name == IN_EACH_FOLDER else path.stem
    return AnnotationFile(path, path.stem, "", split_word(path.stem) or split_word(folder, whole=True) or otherwise)


def _may_be_coco(path: Path) -> bool:
    """Whether the first bytes look like an object with lists, without reading all of it."""
    if file_problem(path, path.parent):
        return False
    with path.open("rb") as file:
        head = file.read(HEAD)
    words = [b'"images"', b'"annotations"']
    words += [b'"categories"'] if len(head) == HEAD else []  # a short file with these alone is another program's
    return head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"{" and any(word in head for word in words)


def choose_files(path: str, files: Sequence[AnnotationFile], split: str, root: Path) -> dict[str, AnnotationFile]:
    """The annotation files of a split by kind, in a fixed order. Raises DataError where two have the same kind."""
    chosen: dict[str, AnnotationFile] = {}
    files = [file if file.kind else _by_content(file, root) for file in files if file.split == split]
    for kind in ("instances", "keypoints", "captions"):
        fitting = [file for file in files if file.kind == kind]
        if len(fitting) > 1:
            names = ", ".join(file.path.name for file in fitting)
            raise DataError(
                f"{path}: several files with {kind} of split '{split}': {names}; give one of them as the path, "
                "or choose with data.annotations"
            )
        if fitting:
            chosen[kind] = fitting[0]
    return chosen


def _by_content(file: AnnotationFile, root: Path) -> AnnotationFile:
    data = read_json(file.path, root)
    annotations, categories = (value if isinstance(value, list) else [] for value in map(data.get, _LISTS))
    if any(isinstance(item, dict) and "caption" in item for item in annotations[:1]):
        kind = "captions"
    else:
        posed = any(isinstance(item, dict) and item.get("keypoints") for item in categories)
        kind = "keypoints" if posed else "instances"
    return replace(file, kind=kind, data=data)


_LISTS = ("annotations", "categories")


def find_images(root: Path, split: str, images: Sequence[TableImage]) -> Path:
    """The folder that image names are relative to: the first that holds one of the first few.

    Where none does, leading folders that the names have and the disk has not are taken off the names.
    Raises DataError where that does not help either."""
    others = sorted(p for p in root.iterdir() if p.is_dir() and p.name not in (*FOLDERS, "images", split))
    folders = [root / "images" / split, root / split, root / "images", root, *others]
    names = [PurePosixPath(image.name) for image in islice(images, 20)]
    for depth in range(min(DEEPEST, max(len(name.parts) for name in names))):
        for folder in folders:
            paths = [folder / Path(*name.parts[depth:]) for name in names if len(name.parts) > depth]
            if any(map(os.path.exists, paths)):  # which has no quarrel with names that are too long
                for image in images if depth else ():
                    image.name = str(PurePosixPath(*PurePosixPath(image.name).parts[depth:]))
                return folder
    looked = ", ".join(str(folder.relative_to(root)) for folder in folders if folder.is_dir())
    raise DataError(
        f"{root}: images of split '{split}' not found, such as {images[0].name!r:.80}; looked in {looked}; "
        "data.images names another folder"
    )


def read_json(path: Path, root: Path) -> dict[str, Any]:
    """The object in a JSON file. Raises DataError for anything else."""
    data = read_value(path, root)
    if not isinstance(data, dict):
        raise DataError(f"{path}: not a COCO file, which is an object with 'images' and 'annotations'; export it again")
    return data


def read_value(path: Path, root: Path) -> Any:
    """What a JSON file holds. Raises DataError where it is none, or lies outside `root`."""
    if problem := file_problem(path, root):
        raise DataError(f"{path}: {problem}")
    if path.stat().st_size > MAX_BYTES:
        raise DataError(f"{path}: larger than {MAX_BYTES // 2**30} GiB; split it")
    try:
        return parse(path.read_bytes())
    except (ValueError, OSError) as error:
        raise DataError(f"{path}: not valid JSON ({error}); export it again") from None


def entries(data: dict[str, Any], field: str, path: Path) -> list[Any]:
    """A list that a COCO file must have. Raises DataError where it does not."""
    value = data.get(field)
    if not isinstance(value, list):
        raise DataError(f"{path}: no list of '{field}', so this is not a COCO file; export it again")
    return value
