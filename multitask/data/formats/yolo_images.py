"""Which images belong to a split of a YOLO data set."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from ...errors import DataError
from ..checks import TWICE
from ..faults import Fault, Unusable
from ..images import EXTENSIONS
from ..paths import file_problem
from .yolo_settings import Settings, inside, read_lines

MAX_BYTES = 500_000_000  # of a list of images


@dataclass
class Listing:
    """The images of a split; `folders` belong to it with all that is in them."""

    root: Path
    files: list[Path] = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        """What all image names can be relative to."""
        bare = (file.parent for file in self.files if not any(map(file.is_relative_to, self.folders)))
        return Path(os.path.commonpath([*self.folders, *bare] or [self.root]))

    def add_folder(self, folder: Path) -> None:
        self.folders.append(folder)
        self._add((path, "", path.name) for path in walk(folder) if path.suffix.lower() in EXTENSIONS)

    def add_list(self, file: Path) -> None:
        """A path a line, from the folder of the list or from the root."""
        found = []
        for number, line in enumerate(read_lines(file, self.root, MAX_BYTES), 1):
            if name := line.strip():
                path = inside(self.root, name, file.parent, self.root)
                found.append((path or file.parent / name, f"line {number}", name))
        self._add(found, str(file.relative_to(self.root)))

    def _add(self, paths: Iterable[tuple[Path, str, str]], source: str = "") -> None:
        seen = set(self.files)
        for path, where, name in paths:
            problem = TWICE if path in seen else file_problem(path, self.root) if source else ""
            if problem:
                error = Unusable("image", name, problem, "correct the list")
                self.faults.append(error.fault(source or str(path.relative_to(self.root)), where or "image"))
            else:
                seen.add(path)
                self.files.append(path)


def list_images(settings: Settings, split: str) -> Listing:
    """Raises DataError where what is said of the split cannot be followed."""
    listing = Listing(settings.root)
    for entry in settings.sources[split]:
        found = inside(settings.root, entry, settings.root)
        if found is None:
            hint = "write it relative to the file, which belongs into the folder of the data set"
            raise DataError(f"{settings.file}: {split}: {entry!r} is not there, or outside {settings.root}; {hint}")
        if found.is_dir():
            listing.add_folder(found)
        elif found.suffix.lower() == ".txt":
            listing.add_list(found)
        else:
            raise DataError(f"{settings.file}: {split}: {entry!r} is neither a folder nor a .txt list of images")
    return listing


def walk(folder: Path) -> list[Path]:
    """All files below a folder, sorted; links to folders are not followed. Raises DataError."""

    def refuse(error: OSError) -> NoReturn:
        raise DataError(f"{error.filename}: cannot be read: {error.strerror}")

    return sorted(Path(where, name) for where, _, names in os.walk(folder, onerror=refuse) for name in names)
