"""What a YOLO data set says of itself: its data.yaml, or the names in classes.txt."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...errors import DataError, UsageError
from ...skeleton import COCO_PERSON, Skeleton, partners_by_name
from ...yamlio import read_yaml
from .. import checks
from ..checks import TWICE
from ..faults import Unusable
from ..paths import file_problem

SPLITS = ("train", "val", "valid", "test")
MAX_POINTS = 1000
MAX_BYTES = 1_000_000  # of a file of names


@dataclass(frozen=True)
class Settings:
    """A data set by its own words. `sources`: per split, folders and lists of images as they are written down."""

    file: Path
    root: Path
    names: Mapping[int, str]
    sources: Mapping[str, Sequence[str]]
    skeleton: Skeleton = field(default_factory=Skeleton)
    dimensions: int = 3  # numbers of a point


def find_settings(file: Path, sure: bool) -> Settings | None:
    """The settings in a YAML file; None where it is about something else.

    `sure`: its name says what it is, so that less need be in it. Raises DataError where a rule is broken."""
    try:
        if problem := file_problem(file, file.parent):
            raise UsageError(f"{file}: {problem}")
        raw = read_yaml(file)
    except UsageError as error:
        if sure:
            raise DataError(str(error)) from None
        return None
    if not isinstance(raw, dict) or not (any if sure else all)(("names" in raw, any(key in raw for key in SPLITS))):
        return None
    try:
        return parse_settings(file, raw)
    except Unusable as error:
        raise DataError(_line(file, error)) from None


def parse_settings(file: Path, raw: Mapping[Any, Any]) -> Settings:
    """Raises Unusable. Whatever else the file holds, a script to download images above all, is passed over."""
    root = file.parent
    where = raw.get("path")
    if isinstance(where, str) and (found := inside(root, where, root)) and found.is_dir():
        root = found
    names = parse_names(raw.get("names"))
    count = raw.get("nc", len(names))
    if type(count) is not int or count not in (len(names), max(names) + 1):
        raise Unusable("nc", count, f"is not {len(names)}, the number of names", "correct one of them")
    sources = {key: _source(key, raw[key]) for key in SPLITS if raw.get(key)}
    if raw.get("kpt_shape") is None:
        return Settings(file, root, names, sources)
    points, dimensions = _shape(raw["kpt_shape"])
    skeleton = _skeleton(points, raw, tuple(names.values()))
    return Settings(file, root, names, sources, skeleton, dimensions)


def read_classes(file: Path, root: Path) -> Settings:
    """Names one a line; an empty line names nothing. Raises DataError."""
    lines = read_lines(file, root, MAX_BYTES)
    try:
        return Settings(file, root, parse_names({i: line for i, line in enumerate(lines) if line.strip()}), {})
    except Unusable as error:
        raise DataError(_line(file, error)) from None


def read_lines(file: Path, root: Path, limit: int) -> list[str]:
    """The lines of a list of up to `limit` bytes. Raises DataError."""
    if problem := file_problem(file, root):
        raise DataError(f"{file}: {problem}")
    if file.stat().st_size > limit:
        raise DataError(f"{file}: larger than {limit / 10**6:g} MB, not a list")
    try:
        return file.read_bytes().decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: byte {error.start} is not UTF-8 text; save it as UTF-8") from None
    except OSError as error:
        raise DataError(f"{file}: cannot be read: {error.strerror}") from None


def inside(root: Path, value: str, *bases: Path) -> Path | None:
    """The file or folder below `root` that a path means from one of `bases`; None where there is none.

    One that climbs out is tried without its climbing: Roboflow writes ../train/images for train/images."""
    name, top = value.strip().replace("\\", "/"), os.path.abspath(root)
    for tried in dict.fromkeys((name, re.sub(r"^(\.{1,2}/)+", "", name))):
        for base in bases:
            try:
                path = Path(os.path.abspath(base / tried))
                real = Path(os.path.realpath(path))
                if path.is_relative_to(top) and real.is_relative_to(os.path.realpath(root)) and real.exists():
                    return root / path.relative_to(top)
            except (OSError, ValueError):  # too long, or with a NUL
                continue
    return None


def _line(file: Path, error: Unusable) -> str:
    return f"{file}: {error}" + (f"; {error.fix}" if error.fix else "")


def parse_names(value: Any) -> dict[int, str]:
    """Names by class, from a list or a mapping. Raises Unusable."""
    named = dict(enumerate(value)) if isinstance(value, list) else value
    if not isinstance(named, dict) or not named:
        raise Unusable("names", value, "are neither a list nor a mapping of names", "write names: [cat, dog]")
    found: dict[int, str] = {}
    for key, name in named.items():
        if checks.identifier(key, "names") < 0:
            raise Unusable("names", key, "is not a whole number from 0", "number the classes from 0")
        text = checks.text(str(name) if type(name) is int else name, "names")
        found[key] = text
    if doubles := [name for name, count in Counter(found.values()).items() if count > 1]:
        raise Unusable("names", doubles[0], TWICE, "give each class its own name")
    return found


def _source(key: str, value: Any) -> list[str]:
    entries = value if isinstance(value, list) else [value]
    if not all(isinstance(entry, str) and entry.strip() for entry in entries):
        raise Unusable(key, value, "is neither a path nor a list of paths", f"write {key}: images/{key}")
    return entries


# ---------------------------------------------------------------------------------------------------------- points


def _shape(value: Any) -> tuple[int, int]:
    fits = isinstance(value, list) and len(value) == 2 and all(type(number) is int for number in value)
    if not fits or not 1 <= value[0] <= MAX_POINTS or value[1] not in (2, 3):
        raise Unusable("kpt_shape", value, "is not [number of points, 2 or 3]", "write kpt_shape: [17, 3]")
    return value[0], value[1]


def _skeleton(count: int, raw: Mapping[Any, Any], categories: tuple[str, ...]) -> Skeleton:
    """Partners are told by `flip_idx`, or else by `left` and `right` in names; COCO's own points are known better."""
    names = _point_names(raw.get("kpt_names"), count)
    pairs = partners_by_name(names) if raw.get("flip_idx") is None else _pairs(raw["flip_idx"], count)
    known = COCO_PERSON if names == COCO_PERSON.names else Skeleton(names=names)
    return known.model_copy(update={"flip_pairs": pairs, "categories": categories})


def _point_names(value: Any, count: int) -> tuple[str, ...]:
    """One list for all classes, or the same for each."""
    if not value:
        return tuple(f"p{number}" for number in range(count))
    found = [checks.names(one, "kpt_names") for one in (value.values() if isinstance(value, dict) else [value])]
    if any(one != found[0] for one in found):
        raise Unusable("kpt_names", value, "differ between classes", "a data set has one set of points")
    if len(found[0]) != count:
        raise Unusable("kpt_names", value, f"are not {count} names, as kpt_shape says", "name each point")
    return found[0]


def _pairs(value: Any, count: int) -> tuple[tuple[int, int], ...]:
    """Pairs of points from each one's partner."""
    fits = isinstance(value, list) and len(value) == count
    fits = fits and all(type(other) is int and 0 <= other < count for other in value)
    if not fits or any(value[other] != point for point, other in enumerate(value)):
        raise Unusable(
            "flip_idx", value, "does not swap pairs of points", f"give each of the {count} points its partner or itself"
        )
    return tuple((point, other) for point, other in enumerate(value) if point < other)
