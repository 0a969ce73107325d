"""What every data set offers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from ..annotations import Captions
from ..example import Example
from ..task import DatasetInfo
from .faults import Fault


class Dataset(Protocol):
    """Annotated images. Making an Example reads no pixels; `example.load()` does."""

    info: DatasetInfo
    split: str

    @property
    def faults(self) -> Sequence[Fault]:
        """What was found wrong, and skipped or mended."""
        ...

    @property
    def entries(self) -> int:
        """Images and annotations that its files list, usable or not."""
        ...

    def __len__(self) -> int: ...
    def __getitem__(self, i: int) -> Example: ...

    def kinds(self, i: int) -> frozenset[str]:
        """The kinds that image `i` is annotated with, without making its Example."""
        ...


def captions(dataset: Dataset) -> Iterator[str]:
    """Every caption of a data set, image by image; no pixels are read."""
    for i in range(len(dataset)):
        if "captions" in dataset.kinds(i):
            annotation = dataset[i].annotations["captions"]
            if isinstance(annotation, Captions):
                yield from annotation.texts
