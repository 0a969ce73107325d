"""Where a COCO data set keeps things: its annotation files, their splits, its images."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from ..errors import DataError, UsageError, nearest
from .paths import file_problem

MAX_BYTES = 2 * 2**30  # of an annotation file
FOLDERS = ("annotations", "coco", ".")
_NAME = re.compile(r"(?P<stem>(?P<kind>instances|captions|[\w-]*keypoints)[^_]*)_(?P<split>.+)\.json")


@dataclass(frozen=True)
class AnnotationFile:
    """A file of a data set by what its name says."""

    path: Path
    stem: str  # "person_keypoints"
    kind: str  # "instances", "keypoints" or "captions"
    split: str


def find_root(path: str) -> tuple[Path, list[AnnotationFile]]:
    """The folder of a data set and its annotation files; `path` is that folder, or one of the files, which then
    stands for all with the same beginning. Raises DataError where there are none."""
    place = Path(path).expanduser()
    if place.is_dir():
        files = next(filter(None, (_list(place / folder) for folder in FOLDERS)), [])
        if not files:
            looked = ", ".join(f"{f}/" if f != "." else "the folder itself" for f in FOLDERS)
            raise DataError(
                f"{path}: no annotations found; looked for instances_*.json, *keypoints*_*.json and captions_*.json "
                f"in {looked}"
            )
        return place, files
    if not place.exists():
        raise DataError(f"{path}: no such folder; give a data folder, an annotation file or 'shapes'")
    match = _NAME.fullmatch(place.name)
    if not match:
        raise DataError(f"{path}: its name must be instances_SPLIT.json, keypoints_SPLIT.json or captions_SPLIT.json")
    root = place.parent.parent if place.parent.name in FOLDERS else place.parent
    return root, [file for file in _list(place.parent) if file.stem == match["stem"]]


def _list(folder: Path) -> list[AnnotationFile]:
    found = []
    for path in sorted(folder.glob("*.json")):
        if match := _NAME.fullmatch(path.name):
            kind = "keypoints" if "keypoints" in match["kind"] else match["kind"]
            found.append(AnnotationFile(path, match["stem"], kind, match["split"]))
    return found


def choose_split(path: str, files: Sequence[AnnotationFile], split: str | None, role: str) -> str:
    """`split` itself, or the one whose name starts with the role (for val also test). Raises UsageError otherwise."""
    splits = list(dict.fromkeys(file.split for file in files))
    if split is not None:
        if split not in splits:
            raise UsageError(f"{path}: no split '{split}'{nearest(split, splits)} (found {', '.join(splits)})")
        return split
    for start in (role, "test") if role == "val" else (role,):
        fitting = [name for name in splits if name.startswith(start)]
        if len(fitting) == 1:
            return fitting[0]
        if fitting:
            raise UsageError(f"{path}: several splits to choose from ({', '.join(fitting)}); set data.{role}_split")
    raise UsageError(f"{path}: no split for {role} (found {', '.join(splits)}); set data.{role}_split to one of them")


def choose_files(path: str, files: Sequence[AnnotationFile], split: str) -> dict[str, AnnotationFile]:
    """The annotation files of a split by kind, in a fixed order. Raises DataError where two have the same kind."""
    chosen: dict[str, AnnotationFile] = {}
    for kind in ("instances", "keypoints", "captions"):
        fitting = [file for file in files if file.split == split and file.kind == kind]
        if len(fitting) > 1:
            names = ", ".join(file.path.name for file in fitting)
            raise DataError(
                f"{path}: several files with {kind} of split '{split}': {names}; give one of them as the path"
            )
        if fitting:
            chosen[kind] = fitting[0]
    return chosen


def find_images(root: Path, split: str, names: Sequence[str]) -> Path:
    """The folder that the image `names` are relative to: the first that holds one of the first few.

    Raises DataError where none does."""
    others = sorted(p for p in root.iterdir() if p.is_dir() and p.name not in (*FOLDERS, "images", split))
    folders = [root / "images" / split, root / split, root / "images", root, *others]
    for folder in folders:
        if any((folder / name).exists() for name in islice(names, 20)):
            return folder
    looked = ", ".join(str(folder.relative_to(root)) for folder in folders if folder.is_dir())
    raise DataError(f"{root}: images of split '{split}' not found, such as {names[0]!r}; looked in {looked}")


def read_json(path: Path, root: Path) -> dict[str, Any]:
    """The object in a JSON file. Raises DataError for anything else."""
    if problem := file_problem(path, root):
        raise DataError(f"{path}: {problem}")
    if path.stat().st_size > MAX_BYTES:
        raise DataError(f"{path}: larger than {MAX_BYTES // 2**30} GiB; split it")
    try:
        data = json.loads(path.read_bytes(), object_pairs_hook=_object)
    except (ValueError, RecursionError, OSError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else error
        raise DataError(f"{path}: not valid JSON ({reason}); export it again") from None
    if not isinstance(data, dict):
        raise DataError(f"{path}: not a COCO file, which is an object with 'images' and 'annotations'; export it again")
    return data


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(
            f"key {next(name for name in names if names.count(name) > 1)!r:.60} occurs twice in one object"
        )
    return found


def entries(data: dict[str, Any], field: str, path: Path) -> list[Any]:
    """A list that a COCO file must have. Raises DataError where it does not."""
    value = data.get(field)
    if not isinstance(value, list):
        raise DataError(f"{path}: no list of '{field}', so this is not a COCO file; export it again")
    return value
