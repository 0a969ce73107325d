"""What training shows of an image: the views of a look, varied by chance, pixels and annotations alike."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..example import Example
from .groups import Look
from .transforms import Placement, colour_jitter, place


@dataclass(frozen=True)
class Sight:
    """One view of an image; the annotations of `example` lie in the unit square of the network's input."""

    example: Example
    placement: Placement
    colour: float  # strength of the colour jitter
    rng: np.random.Generator

    def render(self, pixels: NDArray[np.uint8]) -> Tensor:
        """The input (3, side, side) uint8 from the image (H, W, 3) uint8; colours vary from call to call."""
        return self.renderer()(pixels)

    def renderer(self) -> Callable[[NDArray[np.uint8]], Tensor]:
        """What renders, with colours drawn by lot now."""
        return partial(self.placement.render, change=colour_jitter(self.colour, self.rng))


def sights(look: Look, example: Example, side: int, rng: np.random.Generator) -> Iterator[Sight]:
    """The views of one image for an input of `side` pixels, each made when it is asked for: all share `rng`."""
    augment, kinds = look[0].augment, {kind for task in look for kind in task.kinds}
    for view in look[0].views(example.annotations, rng):
        placement = place(example.size, side, view.region_xyxy, augment, rng)
        moved = example.only(kinds, view.annotations).warp(placement.matrix, placement.size)
        yield Sight(moved, placement, augment.colour, rng)
