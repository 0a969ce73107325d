"""Which image each sequence looks at, when that is not "row i at image i".

Cross-attention has no order among its queries, so the rows of one image are laid side by side and attend together:
nothing of the image is copied, however many rows share it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class Bunch:
    """Neighbouring images with the same number of places for rows."""

    images: slice
    places: int  # rows an image has, at most
    rows: Tensor | slice  # (images * places,) the row in each place; a place left over repeats one


@dataclass(frozen=True)
class RowGroups:
    """Rows sorted into the places of their images, and the way back."""

    bunches: tuple[Bunch, ...]
    back: Tensor | None  # (R,) place of each row, counted through all bunches; None: in order

    @classmethod
    def of(cls, rows: Sequence[int], images: int, device: torch.device, bunched: bool = False) -> RowGroups | None:
        """The groups of `rows`, the image of each, into `images` images; None where row i looks at image i.

        bunched: images with far more rows than others get a bunch of their own, so that few places are left over.
        """
        own = np.array(rows, dtype=np.int64)
        if np.array_equal(own, np.arange(images)):
            return None
        return _grouped(own, np.bincount(own, minlength=images), bunched, device)

    def map(self, attend: Callable[[Tensor, slice], Tensor], x: Tensor) -> Tensor:
        """(R, T, D) to (R, T, D), by way of `attend(x (B, places * T, D), images)` for the images of each bunch."""
        length, dim = x.shape[1:]
        parts = [
            attend(x[bunch.rows].reshape(-1, bunch.places * length, dim), bunch.images).reshape(-1, length, dim)
            for bunch in self.bunches
        ]
        whole = parts[0] if len(parts) == 1 else torch.cat(parts)
        return whole if self.back is None else whole[self.back]


def _grouped(rows: NDArray[np.int64], counts: NDArray[np.int64], bunched: bool, device: torch.device) -> RowGroups:
    order, first = rows.argsort(kind="stable"), counts.cumsum() - counts
    back, bunches, passed = np.empty_like(rows), [], 0
    for begin, end in _runs(counts) if bunched else [(0, len(counts))]:
        own, places = counts[begin:end, None], int(counts[begin:end].max())
        place = np.arange(places)
        chosen = order[np.minimum(first[begin:end, None] + np.minimum(place, np.maximum(own - 1, 0)), len(rows) - 1)]
        taken = place < own
        back[chosen[taken]] = passed + np.flatnonzero(taken)
        passed += chosen.size
        bunches.append(Bunch(slice(begin, end), places, _index(chosen.reshape(-1), device)))
    in_order = np.array_equal(back, np.arange(passed))
    return RowGroups(tuple(bunches), None if in_order else torch.from_numpy(back).to(device))


def _runs(counts: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Neighbours (begin, end), none with more than twice the rows of another; images without rows are in none."""
    begin = 0
    while begin < len(counts):
        end, least, most = begin, counts[begin], counts[begin]
        while end < len(counts) and (most := max(most, counts[end])) <= 2 * (least := min(least, counts[end])):
            end += 1
        if counts[begin]:
            yield begin, end
        begin = max(end, begin + 1)


def _index(chosen: NDArray[np.int64], device: torch.device) -> Tensor | slice:
    begin, end = int(chosen[0]), int(chosen[0]) + len(chosen)
    if np.array_equal(chosen, np.arange(begin, end)):
        return slice(begin, end)
    return torch.from_numpy(chosen).to(device)
