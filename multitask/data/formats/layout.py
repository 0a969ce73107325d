"""How a data set lies on disk: what a person typed, what a format finds there, and which split is meant."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ...errors import DataError, UsageError, nearest
from ..paths import file_problem
from ..table import Table

_SPLIT = re.compile(r"(?:^|[^a-z])(train|valid|val|test)[a-z]*\d*(?![a-z])", re.IGNORECASE)


@dataclass(frozen=True)
class Place:
    """Where a data set lies: `path` as typed, and below it, if a person said so, its annotations and its images."""

    path: str
    annotations: str | None = None  # a folder, a file, or a pattern such as annotations/keypoints5_*.json
    images: str | None = None  # a folder

    @property
    def here(self) -> Path:
        return Path(self.path).expanduser()

    def chosen(self, suffix: str) -> list[Path] | None:
        """The annotation files with this suffix that `annotations` names, sorted; None where it says nothing.

        Raises DataError where it names nothing at all, or leaves the folder."""
        if self.annotations is None:
            return None
        place = self.here / self.annotations
        named = [place] if place.is_file() else sorted(place.iterdir() if place.is_dir() else self._glob())
        if not named:
            raise DataError(f"{self.path}: data.annotations={self.annotations} names no {suffix} file in it")
        found = [path for path in named if path.suffix.lower() == suffix]
        for path in found:
            if problem := file_problem(path, self.here):
                raise DataError(f"{path}: {problem}")
        return found

    def _glob(self) -> list[Path]:
        try:
            return [path for path in self.here.glob(str(self.annotations)) if path.is_file()]
        except (ValueError, NotImplementedError):  # an absolute pattern
            raise DataError(f"{self.path}: data.annotations={self.annotations} is not a pattern below it") from None

    def image_folder(self) -> Path | None:
        """The folder that `images` names; None where it says nothing. Raises DataError where it is none inside."""
        if self.images is None:
            return None
        folder = self.here / self.images
        if not folder.is_dir() or not folder.resolve().is_relative_to(self.here.resolve()):
            raise DataError(f"{self.path}: data.images={self.images} is not a folder in it")
        return folder


class Layout(Protocol):
    """A data set of one format, found at a place."""

    @property
    def splits(self) -> Sequence[str]:
        """Names of its splits."""
        ...

    def read(self, split: str) -> Table:
        """The images of a split with what is annotated. Raises DataError where nothing of it can be used."""
        ...


def split_word(name: str, whole: bool = False) -> str:
    """The part of a name that tells a split, `train2017` in `lvis_train2017`; empty where there is none.

    With `whole` it has to be all of the name."""
    word = _SPLIT.fullmatch(name) if whole else _SPLIT.search(name)
    return word[0].strip("_-. ") if word else ""


def choose_split(path: str, splits: Sequence[str], split: str | None, role: str) -> str:
    """`split` itself, or the one whose name starts with the role (for val also test). Raises UsageError otherwise."""
    if split is not None:
        if split not in splits:
            raise UsageError(f"{path}: no split '{split}'{nearest(split, splits)} (found {', '.join(splits)})")
        return split
    for start in (role, "test") if role == "val" else (role,):
        fitting = [name for name in splits if name == start] or [name for name in splits if name.startswith(start)]
        if len(fitting) == 1:
            return fitting[0]
        if fitting:
            raise UsageError(f"{path}: several splits to choose from ({', '.join(fitting)}); set data.{role}_split")
    raise UsageError(f"{path}: no split for {role} (found {', '.join(splits)}); set data.{role}_split to one of them")
