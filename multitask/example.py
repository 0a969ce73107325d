"""One annotated image, and what the model answered about one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from .annotations import Annotation
from .geometry import FloatArray, Size


class Load(Protocol):
    """Reads the pixels of one image. Raises DataError where they cannot be read."""

    def __call__(self, reduce: int = 1, /) -> NDArray[np.uint8]:
        """The upright image (H, W, 3); or, where that is read faster, at 1 / `reduce` (1, 2, 4, 8) of its size, rounded
        up: pixel i then stands for those from `reduce` * i on."""


@dataclass(frozen=True)
class Example:
    """One annotated image. A kind that is absent was not annotated; a kind that is empty has nothing there."""

    id: int | str
    file: str  # for messages and result files
    size: Size  # (width, height) of the frame the annotations are in
    annotations: Mapping[str, Annotation]
    load: Load

    def only(self, kinds: set[str], annotations: Mapping[str, Annotation] | None = None) -> Example:
        """The same image with those kinds of `annotations` (None: of its own) alone."""
        found = self.annotations if annotations is None else annotations
        return replace(self, annotations={kind: a for kind, a in found.items() if kind in kinds})

    def warp(self, matrix: FloatArray, size: Size) -> Example:
        moved = {kind: annotation.warp(matrix, size) for kind, annotation in self.annotations.items()}
        return replace(self, size=size, annotations=moved)


@dataclass(frozen=True)
class Prediction:
    """What the model answered about one image, in pixels of the original."""

    id: int | str
    file: str
    size: Size
    annotations: Mapping[str, Annotation]
