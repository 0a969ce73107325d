"""What every data set offers, and the door by which all of them come in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, Protocol

from ..annotations import Captions
from ..example import Example
from ..task import DatasetInfo
from .checks import Fault
from .coco import open_coco
from .shapes import ShapesDataset

Role = Literal["train", "val"]


class Dataset(Protocol):
    """Annotated images. Making an Example reads no pixels; `example.load()` does."""

    info: DatasetInfo
    split: str

    @property
    def faults(self) -> Sequence[Fault]:
        """What was found wrong, and skipped or mended."""
        ...

    def __len__(self) -> int: ...
    def __getitem__(self, i: int) -> Example: ...

    def kinds(self, i: int) -> frozenset[str]:
        """The kinds that image `i` is annotated with, without making its Example."""
        ...


def open_dataset(path: str, split: str | None, *, role: Role, size: int | None = None, seed: int = 0) -> Dataset:
    """`shapes`, the embedded data set (a folder of that name is `./shapes`), or COCO annotations in a folder.

    `split` None finds the one for the role. `size` takes the first images only; `seed` is for `shapes`.
    Raises UsageError for a split that is not there, DataError for data that cannot be used.
    """
    if path == "shapes":
        return ShapesDataset(split or role, size, seed)
    return open_coco(path, split, role=role, size=size)


def captions(dataset: Dataset) -> Iterator[str]:
    """Every caption of a data set, image by image; no pixels are read."""
    for i in range(len(dataset)):
        if "captions" in dataset.kinds(i):
            annotation = dataset[i].annotations["captions"]
            if isinstance(annotation, Captions):
                yield from annotation.texts
