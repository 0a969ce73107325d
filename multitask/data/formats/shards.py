"""WebDataset shards: uncompressed tar archives whose images are read where they lie, at random.

Each image has beside it, under the same key, a JSON object like an image of COCO's with its `annotations` and
`captions`, or a text file with its caption. `dataset.json` lists the categories as a COCO file does.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

from ...errors import DataError
from ...skeleton import Skeleton
from ..faults import Unusable
from ..images import EXTENSIONS
from ..table import Table
from .coco_reader import Reader
from .layout import Place, split_word
from .sample_reader import SampleReader
from .tar_index import READ, TarIndex, headers, split_name

LOOKED_FOR = "*.tar (not compressed) of images with .json or .txt beside them, in the folder or in folders of splits"
SETTINGS = "dataset.json"
COMPRESSED = (".tar.gz", ".tgz", ".tar.zst", ".tar.bz2", ".tar.xz")
PEEKED = 200  # members of a shard, or entries of a folder, that tell what it is
_TAR = "*.[tT][aA][rR]"
_NUMBER = re.compile(r"[-_.]?\d+$")


@dataclass(frozen=True)
class Shards:
    """A folder with shards."""

    place: Place
    root: Path
    files: tuple[Path, ...]

    @property
    def splits(self) -> list[str]:
        return list(dict.fromkeys(self._split(file) for file in self.files))

    def _split(self, file: Path) -> str:
        """The folder in the root, or else a word in the name: `train-000000.tar` -> train."""
        if file.parent != self.root:
            return file.parent.name
        folder = file.parent.resolve().name
        return split_word(_NUMBER.sub("", file.stem)) or split_word(folder, whole=True) or "all"

    def read(self, split: str) -> Table:
        files = [file for file in self.files if self._split(file) == split]
        listed = _categories(self.root, files)
        index, reader = TarIndex(self.root), SampleReader(self.root, listed)
        for file in files:
            reader.read(index.samples(file))
        faults = [*(listed.faults if listed else ()), *index.faults, *index.unread(), *reader.faults]
        if not reader.images:
            first = f"; first fault: {faults[0]}" if faults else ""
            raise DataError(f"{self.place.path}: split '{split}' has no usable image{first}")
        skeleton = listed.skeleton() if listed else Skeleton()
        images = list(reader.images.values())
        entries = reader.entries + len(index.faults)
        return Table(self.root, self.root, images, reader.categories(), skeleton, faults, entries)


def _categories(root: Path, files: Sequence[Path]) -> Reader | None:
    """What dataset.json says, beside the shards or in the root; None where there is none. Raises DataError."""
    path = next((path for folder in (files[0].parent, root) if (path := folder / SETTINGS).exists()), None)
    if path is None:
        return None
    reader = Reader(root)
    reader.read_categories(path)
    return reader


def find(place: Place) -> Shards | None:
    """Shards at a place: a folder, or one shard. Raises DataError where they are compressed."""
    here = place.here
    if here.is_file():
        root, files = _root_of(here), [here] if here.suffix.lower() == ".tar" else []
    else:
        root, files = here, _shards(here) if place.annotations is None else _chosen(place)
    if not files:
        _refuse_compressed(place)
        return None
    if place.images is not None:
        raise DataError(
            f"{place.path}: data.images={place.images} says nothing: shards hold their images; leave it out"
        )
    return Shards(place, root, tuple(files))


def _chosen(place: Place) -> list[Path]:
    """The shards that `annotations` names; none where it names something else."""
    named = str(place.annotations)
    fits = named.lower().endswith(".tar") or any((place.here / named).glob(_TAR))
    return (place.chosen(".tar") or []) if fits else []


def _root_of(shard: Path) -> Path:
    """The folder of a data set that a shard belongs to."""
    above = shard.parent.parent
    return above if (above / SETTINGS).is_file() and not (shard.parent / SETTINGS).is_file() else shard.parent


def _shards(root: Path) -> list[Path]:
    """The archives in a folder and in folders in it; none where the first of them hold no samples."""
    found = [*sorted(root.glob(_TAR)), *sorted(root.glob(f"*/{_TAR}"))]
    return found if any(_holds_samples(path, root) for path in found[:3]) else []


def _holds_samples(shard: Path, root: Path) -> bool:
    """Whether some of the first members are an image and what is said about it: archives of images alone are not."""
    seen: dict[str, set[bool]] = {}
    for member in islice(headers(shard, root), PEEKED):
        if not isinstance(member, Unusable):
            key, suffix = split_name(member.name)
            if f".{suffix}" in EXTENSIONS or suffix in READ:
                seen.setdefault(key, set()).add(suffix in READ)
    return any(len(sorts) == 2 for sorts in seen.values())


def _refuse_compressed(place: Place) -> None:
    """Raises DataError where the path is a compressed archive, or a folder of nothing else."""
    here = place.here
    entries = [here] if here.is_file() else [path for path in islice(here.glob("*"), PEEKED) if path.name != SETTINGS]
    files = chain.from_iterable(path.glob("*") if path.is_dir() else [path] for path in entries)
    first = next(files, here)
    if all(path.name.lower().endswith(COMPRESSED) for path in chain([first], files)):
        raise DataError(
            f"{place.path}: {first.name} is compressed, so that its images cannot be read one by one; "
            "unpack it to a plain .tar"
        )
