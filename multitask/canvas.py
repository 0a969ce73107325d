"""What an annotation needs to show itself."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from .geometry import FloatArray
from .skeleton import Skeleton


class Canvas(Protocol):
    """A picture to draw on; coordinates are its pixels, xy or xyxy, points (P, 2)."""

    def box(self, xyxy: FloatArray, label: str, score: float) -> None: ...
    def polygon(self, points: FloatArray, label: str) -> None: ...
    def skeleton(self, points: FloatArray, visible: NDArray[np.bool_], skeleton: Skeleton, label: str) -> None: ...
    def tag(self, xy: FloatArray, label: str, score: float) -> None: ...
    def text(self, line: str) -> None: ...
