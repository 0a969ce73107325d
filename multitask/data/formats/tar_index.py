"""What lies in uncompressed tar archives, told by their headers alone: nothing is unpacked, nothing is loaded.

A sample is all members whose names agree up to the first dot: `dir/0001.jpg`, `dir/0001.json`.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from ...errors import DataError
from .. import checks
from ..faults import Fault, Unusable
from ..images import EXTENSIONS, Slice
from ..paths import file_name, file_problem

MAX_MEMBERS = 10**7  # of the shards of a split
MAX_BYTES = 2**30  # of a member that is read
MAX_HEADER = 2**16  # bytes of names and the like
BLOCK = 512
READ, PASSED_OVER = ("json", "txt"), ("cls",)  # suffixes beside those of images
MAY_HOLD_CODE = {"pickle", "pkl", "pyd", "pth", "pt", "npy", "npz", "py", "pyc", "so", "dill", "joblib"}
COMPRESSED = {
    b"\x1f\x8b": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"BZh": "bzip2",
    b"\xfd7zXZ": "xz",
    b"PK\x03\x04": "zip",
}


@dataclass(slots=True)
class Sample:
    """The members of one key."""

    key: str
    shard: Path
    image: Slice | None = None
    parts: dict[str, Slice] = field(default_factory=dict)  # by suffix: those of READ


class TarIndex:
    """Finds the samples of one shard after the other, and keeps what is wrong with them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.faults: list[Fault] = []
        self.members = 0
        self._unread: dict[str, tuple[int, str, str]] = {}  # by suffix: how many, the first and its shard

    def samples(self, shard: Path) -> list[Sample]:
        """Raises DataError where the shards have too many members."""
        file, found = str(shard.relative_to(self.root)), dict[str, Sample]()
        for member in headers(shard, self.root):
            if isinstance(member, Unusable):
                self.faults.append(member.fault(file, "archive", "what is whole is used"))
                continue
            self.members += 1
            if self.members > MAX_MEMBERS:
                raise DataError(f"{shard}: more than {MAX_MEMBERS} members in the shards of a split; divide it")
            try:
                if not member.isdir():
                    self._add(member, shard, found)
            except Unusable as error:
                self.faults.append(error.fault(file, f"member {member.name!r:.60}"))
        return list(found.values())

    def _add(self, member: tarfile.TarInfo, shard: Path, found: dict[str, Sample]) -> None:
        if not member.isfile() or member.issparse():
            raise Unusable("member", member.name, "is a link, a device or the like", "store the file itself")
        name = str(PurePosixPath(file_name(member.name)))
        key, suffix = split_name(name)
        is_image = f".{suffix}" in EXTENSIONS
        if not key or not (is_image or suffix in READ):
            return self._pass_over(suffix, name, shard)
        if member.size > MAX_BYTES:
            raise Unusable("member", member.name, f"is larger than {MAX_BYTES // 2**30} GiB", "make it smaller")
        sample = found.setdefault(key, Sample(key, shard))
        if suffix in sample.parts or (is_image and sample.image):
            other = is_image and sample.image and sample.image.name != name
            reason = "is a second image of its sample" if other else checks.TWICE
            raise Unusable("member", member.name, reason, "give each sample a name of its own")
        part = Slice(shard, member.offset_data, member.size, name)
        if is_image:
            sample.image = part
        else:
            sample.parts[suffix] = part
        return None

    def _pass_over(self, suffix: str, name: str, shard: Path) -> None:
        if suffix not in PASSED_OVER:
            count, first, where = self._unread.get(suffix, (0, name, str(shard.relative_to(self.root))))
            self._unread[suffix] = count + 1, first, where

    def unread(self) -> Iterator[Fault]:
        """One fault for each suffix that is not read."""
        for suffix, (count, name, file) in self._unread.items():
            code = suffix.rpartition(".")[2] in MAY_HOLD_CODE
            error = Unusable("suffix", suffix, "is not read: it may hold code" if code else "is not read")
            yield error.fault(file, f"{count} members such as {name!r:.60}", "left out")


def split_name(name: str) -> tuple[str, str]:
    """The key of a member and its suffix in small letters; either may be empty."""
    folder, slash, base = name.rpartition("/")
    stem, _, suffix = base.partition(".")
    return (folder + slash + stem if stem else ""), suffix.lower()


def headers(shard: Path, root: Path) -> Iterator[tarfile.TarInfo | Unusable]:
    """The members that are whole, in order; where the archive is not, lastly what is wrong with it."""
    if problem := file_problem(shard, root):
        yield Unusable("tar", shard.name, problem)
        return
    length, end = shard.stat().st_size, 0
    try:
        with _Headers(shard) as file:
            with tarfile.open(fileobj=file, mode="r:") as archive:
                while (member := archive.next()) is not None:
                    archive.members = []  # type: ignore[attr-defined]  # it would keep them all
                    whole = member.size >= 0 and archive.offset > end
                    if not whole or (member.isfile() and member.offset_data + member.size > length):
                        raise tarfile.ReadError(f"{member.name!r:.60} is not whole")
                    end = archive.offset
                    yield member
            file.seek(end)
            if (block := file.read(BLOCK)) != bytes(BLOCK):
                raise tarfile.ReadError("a header is damaged" if block else "there is no mark of its end")
    except OSError as error:
        yield Unusable("tar", shard.name, f"cannot be read: {error.strerror}")
    except Exception as error:  # tarfile raises almost anything for damaged headers
        yield _damage(shard, error)


def _damage(shard: Path, error: Exception) -> Unusable:
    with shard.open("rb") as file:
        head = file.read(6)
    packed = next((name for begin, name in COMPRESSED.items() if head.startswith(begin)), None)
    if packed:
        return Unusable("tar", shard.name, f"is compressed ({packed})", "unpack it to a plain .tar")
    reason = str(error) or type(error).__name__
    return Unusable("tar", shard.name, f"is cut off or damaged ({reason})", "copy it again")


class _Headers(io.FileIO):
    """A file that gives no more than a header at once, whatever length a damaged one claims to have."""

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or not 0 <= size <= MAX_HEADER:
            raise tarfile.ReadError(f"a header of {size} bytes")
        return super().read(size) or b""
