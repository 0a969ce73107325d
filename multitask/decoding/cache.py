"""What decoding remembers between steps: keys and values of the positions before, and of the images."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from ..model.row_groups import RowGroups


class Past(NamedTuple):
    """What a layer sees of S positions of R rows, and where it writes the last T of them: views of the cache."""

    room: Tensor  # (R, T, 2, heads, C)
    keys: Tensor  # (R * heads, C, S)
    values: Tensor  # (R * heads, S, C)


class Seen(NamedTuple):
    """What a layer sees of some images, B of them with N cells."""

    keys: Tensor  # (B * heads, C, N)
    values: Tensor  # (B * heads, N, C)
    mask: Tensor | None  # (B * heads, 1, N), joins the scores: 0 where there is picture, -inf elsewhere

    @classmethod
    def of(cls, both: Tensor, mask: Tensor | None) -> Seen:
        """Of keys and values (2, B, heads, N, C) and a mask (B, heads, 1, N)."""
        keys, values = both.flatten(1, 2)
        return cls(keys.transpose(1, 2), values, None if mask is None else mask.flatten(0, 1))


@dataclass
class Cache:
    """What decoding remembers of R rows between steps."""

    past: Tensor  # keys and values (layers, 2, R, heads, L, C) of positions; the first `filled` count
    images: Sequence[Tensor]  # a layer's keys and values (2, B, heads, N, C), once an image
    mask: Tensor | None  # (B, heads, 1, N), see `Seen`
    rows: Sequence[int]  # the image of each row
    filled: int = 0
    replay: Callable[[Tensor, int], Tensor] | None = field(default=None, init=False)
    """A step of these rows, captured (`graphs`)."""

    def __post_init__(self) -> None:
        self.groups = RowGroups.of(self.rows, self.images[0].shape[1], self.past.device, bunched=True)
        parts = [bunch.images for bunch in self.groups.bunches] if self.groups else [slice(0, len(self.rows))]
        self.seen: list[Mapping[int, Seen]] = [
            {part.start: Seen.of(image[:, part], None if self.mask is None else self.mask[part]) for part in parts}
            for image in self.images
        ]
        """What each layer sees, by the first image of a bunch."""

    def grow(self, new: int) -> list[Past]:
        """With `new` positions more, layer by layer."""
        begin, self.filled = self.filled, self.filled + new
        past = self.past.narrow(4, 0, self.filled)
        return _by_layer(past, past.narrow(4, begin, new))

    def whole(self) -> list[Past]:
        """With all positions that there is room for, layer by layer: those to come are the reader's to hide."""
        return _by_layer(self.past, self.past)

    def take(self, rows: Sequence[int], length: int | None = None) -> Cache:
        """A cache of these rows alone, in this order, any of them more than once, for up to `length` positions.

        It shares the images with this one, but for those that nobody looks at: these go once they are many.
        """
        index = torch.tensor(rows, device=self.past.device)
        layers, both, _, heads, room, channels = self.past.shape
        past = self.past.new_empty(layers, both, len(rows), heads, length or room, channels)
        past.narrow(4, 0, self.filled).copy_(self.past.narrow(4, 0, self.filled)[:, :, index])
        looking = [self.rows[row] for row in rows]
        used = sorted(set(looking))
        images, mask = self.images, self.mask
        if len(used) * 4 <= images[0].shape[1] * 3:
            kept = torch.tensor(used, device=index.device)
            images, mask = [k[:, kept] for k in images], None if mask is None else mask[kept]
            looking = [used.index(image) for image in looking]
        return Cache(past, images, mask, looking, self.filled)


def _by_layer(past: Tensor, room: Tensor) -> list[Past]:
    keys, values = past.flatten(2, 3).unbind(1)
    rooms = room.permute(0, 2, 4, 1, 3, 5).unbind()
    return list(map(Past, rooms, keys.transpose(2, 3).unbind(), values.unbind()))
