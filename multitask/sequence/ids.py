"""Sets of token ids as unions of ranges: how grammars and vocabulary blocks speak of many ids at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Ids:
    """A union of half-open ranges of token ids, in the order given; hashable."""

    ranges: tuple[tuple[int, int], ...] = ()

    @classmethod
    def of(cls, *ids: int) -> Ids:
        """The set of these single ids."""
        return cls(tuple((i, i + 1) for i in dict.fromkeys(ids)))

    def __or__(self, other: Ids) -> Ids:
        return Ids(self.ranges + tuple(r for r in other.ranges if r not in self.ranges))

    def __len__(self) -> int:
        return sum(stop - start for start, stop in self.ranges)

    def __iter__(self) -> Iterator[int]:
        for start, stop in self.ranges:
            yield from range(start, stop)

    def __contains__(self, token: object) -> bool:
        return isinstance(token, int | np.integer) and any(start <= token < stop for start, stop in self.ranges)

    def overlaps(self, other: Ids) -> bool:
        """Whether some id is in both sets."""
        return any(a < d and c < b for a, b in self.ranges for c, d in other.ranges)

    def array(self) -> NDArray[np.int64]:
        """All ids (n,) int64."""
        return np.fromiter(self, dtype=np.int64, count=len(self))

    def mask(self, size: int) -> NDArray[np.bool_]:
        """(size,) bool, True at the ids of this set."""
        mask = np.zeros(size, dtype=bool)
        for start, stop in self.ranges:
            mask[start:stop] = True
        return mask
