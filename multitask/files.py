"""Files that are whole or absent whatever happens, folders that are checked byte for byte, safe names for results."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import secrets
import shutil
import unicodedata
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .errors import CheckpointError

MANIFEST = "manifest.json"
MANIFEST_BYTES = 1_000_000
TEMPORARY = ".mtp-*.tmp"  # what a killed writer may leave behind
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)  # device names on Windows


def write_atomic(path: Path, content: bytes) -> None:
    """Replaces `path` by a file with this content: readers, and a power cut, see the old file or the new one.

    Raises OSError, leaving the old file and no temporary one.
    """
    temporary = _temporary(path)
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Gives a temporary folder to fill; when the block ends well, its files are on the disk and it becomes `path`.

    Raises FileExistsError when there is a `path` already; after any error nothing is left.
    """
    if path.exists():
        raise FileExistsError(f"{path} exists")
    temporary = _temporary(path)
    temporary.mkdir()
    try:
        yield temporary
        for entry in sorted(temporary.rglob("*"), reverse=True):  # the files of a folder before the folder
            _sync(entry)
        _sync(temporary)
        os.rename(temporary, path)
        _sync(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def remove_folder(path: Path) -> None:
    """Removes a folder that must never be seen half removed: it changes its name first."""
    temporary = _temporary(path)
    os.rename(path, temporary)
    shutil.rmtree(temporary, ignore_errors=True)


def remove_leftovers(folder: Path) -> None:
    """Removes what killed writers left in `folder`; nobody else may be writing there."""
    for path in folder.glob(TEMPORARY):
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink(missing_ok=True)


def seal_folder(folder: Path, info: Mapping[str, Any]) -> None:
    """Writes `manifest.json`: the size and SHA-256 of every file in `folder`, and `info` (JSON)."""
    files = {path.name: [path.stat().st_size, _sha256(path)] for path in folder.iterdir()}
    (folder / MANIFEST).write_bytes(_manifest({**info, "files": files}))


class SealedFolder:
    """A folder written by `seal_folder`; a file is read only if it is listed, and given only if it is unchanged.

    Raises CheckpointError, naming the file, when anything about it or the manifest is not as it was sealed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        content = _read_regular(path / MANIFEST, MANIFEST_BYTES)
        try:
            self.info: dict[str, Any] = json.loads(content)
            del self.info["sha256"]
            self.files = {str(name): (int(size), str(digest)) for name, (size, digest) in self.info["files"].items()}
            sound = _manifest(self.info) == content  # one spelling only: a changed byte is found wherever it is
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            sound = False
        if not sound:
            raise CheckpointError(f"{path / MANIFEST}: damaged (not as it was written)")

    def read(self, name: str) -> bytes:
        file, (size, digest) = self.path / name, self.files.get(name, (-1, ""))
        if size == -1:
            raise CheckpointError(f"{file}: not in the folder's manifest")
        content = _read_regular(file, size)
        if len(content) != size:
            raise CheckpointError(f"{file}: damaged ({len(content)} bytes, {size} were written)")
        if hashlib.sha256(content).hexdigest() != digest:
            raise CheckpointError(f"{file}: damaged (its SHA-256 is not the one that was written)")
        return content


def _manifest(body: Mapping[str, Any]) -> bytes:
    seal = hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()
    return json.dumps({**body, "sha256": seal}, sort_keys=True, indent=1).encode()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_regular(path: Path, limit: int) -> bytes:
    """The content of a regular file (a pipe or device would hang), refused unread when over `limit` bytes."""
    if not path.is_file():
        raise CheckpointError(f"{path}: missing, or not a regular file")
    try:
        if path.stat().st_size > limit:
            raise CheckpointError(f"{path}: damaged ({path.stat().st_size} bytes are more than the {limit} expected)")
        return path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from error


def space_advice(error: Exception, folder: Path) -> str:
    """Where an error means that the disk is full: how full, and what to do; else empty."""
    full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or "(os error 28)" in str(error)
    if not full:
        return ""
    free = shutil.disk_usage(folder).free / 10**6
    return f"the disk is full ({free:.0f} MB free): remove what is not needed, old runs for one, or lower train.keep"


def sanitise(stem: str) -> str:
    """A file name's stem that is one on every system: letters, digits, `-_.`, no leading dot, at most 120 bytes."""
    name = re.sub(r"[^\w.-]+", "_", unicodedata.normalize("NFC", stem)).lstrip(".-")
    name = name.encode("utf-8", "ignore")[:120].decode("utf-8", "ignore").rstrip(".")
    return f"_{name}" if _RESERVED.fullmatch(name) else name or "unnamed"


def unique_path(folder: Path, stem: str, suffix: str, taken: set[str]) -> Path:
    """`folder/stem+suffix` with the stem made safe, numbered `-2`, `-3` … when this run has `taken` that name already.

    Results of an earlier run are not in `taken`, so that a repeated run replaces its own files. Names that differ in
    case only are one name on some systems, and are kept apart.
    """
    base, number = sanitise(stem), 1
    while (name := f"{base}{'' if number == 1 else f'-{number}'}{suffix}").casefold() in taken:
        number += 1
    taken.add(name.casefold())
    return folder / name


def _temporary(path: Path) -> Path:
    """A new name beside `path` (on the same file system) that does not grow with it."""
    return path.with_name(TEMPORARY.replace("*", secrets.token_hex(8)))


def _sync(path: Path) -> None:
    """Waits until a file's content, or a folder's list of names, is on the disk."""
    if os.name == "nt" and path.is_dir():
        return  # Windows has no handle for a folder, and orders renames itself
    handle = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
