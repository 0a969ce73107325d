"""What all broken data sets share: the files of a set, what is done to them, and what must become of it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image

SIZE = (40, 30)
NAN, INF, HUGE = float("nan"), float("inf"), 10**400


@dataclass(frozen=True)
class Link:
    """A symbolic link; `{root}` stands for the folder of the data set."""

    target: str


@dataclass(frozen=True)
class Pipe:
    """A FIFO: to open it is to wait for ever."""


@dataclass(frozen=True)
class Folder:
    """A folder where a file is expected."""


# What lies under each path: bytes, text, a value to be written as JSON, or something that is no file.
Files = dict[str, Any]
Spoil = Callable[[Files], object]
Left = tuple[int, int]  # usable images and annotations


@dataclass(frozen=True)
class Accepted:
    """All is used and nothing is said."""

    left: Left | None = None  # None: as many as the good set has


@dataclass(frozen=True)
class Told:
    """One fault, which names the file, the place in it and the field; the rest is used."""

    file: str
    where: str
    field: str
    action: str = "skipped"
    left: Left | None = None  # None: one annotation less if that was skipped
    others: tuple[Told, ...] = ()  # further faults of the same cause


@dataclass(frozen=True)
class Refused:
    """One line, exit code 4, with these words."""

    words: tuple[str, ...]


Expected = Accepted | Told | Refused
Rows = Mapping[str, tuple[Spoil, Expected]]


@dataclass(frozen=True)
class Case:
    """A row of one of the tables; `good` makes the set that `spoil` breaks."""

    format: str
    name: str
    good: Callable[[], Files]
    left: Left  # usable images and annotations of the good set
    spoil: Spoil
    expected: Expected

    def __str__(self) -> str:
        return f"{self.format}: {self.name}"

    def write(self, root: Path) -> Path:
        files = self.good()
        self.spoil(files)
        return write(root, files)


def accepted(left: Left | None = None) -> Accepted:
    return Accepted(left)


def refused(*words: str) -> Refused:
    return Refused(words)


# ------------------------------------------------------------------------------------------------------------ writing


def write(root: Path, files: Files) -> Path:
    """Paths that begin with `../` lie beside the data set, to be reached by those that climb out."""
    root.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, Link):
            path.symlink_to(content.target.format(root=root))
        elif isinstance(content, Pipe):
            os.mkfifo(path)
        elif isinstance(content, Folder):
            path.mkdir()
        else:
            path.write_bytes(to_bytes(content))
    return root


def to_bytes(content: Any) -> bytes:
    if isinstance(content, bytes):
        return content
    return (content if isinstance(content, str) else json.dumps(content)).encode("utf-8", "surrogatepass")


def picture(number: int, form: str = "PNG", mode: str = "RGB", size: tuple[int, int] = SIZE, **options: Any) -> bytes:
    """A flat picture, another for each number."""
    stream = BytesIO()
    Image.new("RGB", size, (50 * number, 90, 200)).convert(mode).save(stream, form, **options)
    return stream.getvalue()


# ------------------------------------------------------------------------------- what is done to files of any format


def swap(file: str, old: str | bytes, new: str | bytes) -> Spoil:
    """Other text in place of some that must be there."""

    def spoil(files: Files) -> None:
        content = to_bytes(files[file])
        assert to_bytes(old) in content, (file, old)
        files[file] = content.replace(to_bytes(old), to_bytes(new), 1)

    return spoil


def content(file: str, value: Any) -> Spoil:
    """Something else in place of a file, or a further one."""
    return lambda files: files.update({file: value})


def changed(file: str, change: Callable[[bytes], bytes]) -> Spoil:
    return lambda files: files.update({file: change(to_bytes(files[file]))})


def gone(file: str) -> Spoil:
    return lambda files: files.pop(file)


def both(*spoils: Spoil) -> Spoil:
    return lambda files: [spoil(files) for spoil in spoils]
