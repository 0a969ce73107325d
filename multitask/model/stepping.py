"""The decoder one position after the other: past keys and values are kept, and a step reads each weight once."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .decoder import Decoder, DecoderLayer, Memory
from .linears import Precision, prepared
from .row_groups import RowGroups


@dataclass
class Counts:
    """What decoding cost, in numbers that depend on no clock."""

    steps: int = 0  # passes through the layers
    positions: int = 0  # tokens fed to them, of all rows
    scores: int = 0  # hidden states x tokens scored
    syncs: int = 0  # times the host read what the device had drawn


Seen = tuple[Tensor, Tensor, Tensor | None]
"""Keys (G, C, S), values (G, S, C) and what is added to the scores (G, 1, S), for G = images * heads."""


@dataclass
class Cache:
    """What decoding remembers of R rows between steps."""

    past: list[Tensor]
    """A layer's self-attention keys and values (2, R * heads, length, C); the first `filled` positions count."""
    images: list[Tensor]
    """A layer's cross-attention keys and values (2, B, heads, N, C), once an image."""
    mask: Tensor | None
    """(B, heads, 1, N) to add to cross-attention: 0 where there is picture, -inf elsewhere."""
    rows: list[int]
    """The image of each row."""
    filled: int = 0
    replay: Callable[[Tensor, int], Tensor] | None = field(default=None, init=False)
    """A step of these rows, captured (`graphs`)."""

    def __post_init__(self) -> None:
        self.groups = RowGroups.of(self.rows, self.images[0].shape[1], self.images[0].device, bunched=True)
        parts = [bunch.images for bunch in self.groups.bunches] if self.groups else [slice(0, len(self.rows))]
        self.seen = [{part.start: self._seen(image, part) for part in parts} for image in self.images]
        """What each layer looks at, by the first image of a bunch."""

    def _seen(self, image: Tensor, part: slice) -> Seen:
        keys, values = image[:, part].flatten(1, 2)
        return keys.transpose(1, 2), values, None if self.mask is None else self.mask[part].flatten(0, 1)

    def take(self, rows: Sequence[int], length: int | None = None) -> Cache:
        """A cache of these rows alone, in this order, any of them more than once, for up to `length` positions.

        It shares the images with this one, but for those that nobody looks at: these go once they are many.
        """
        index = torch.tensor(rows, device=self.past[0].device)
        past = [self._taken(keys_values, index, length) for keys_values in self.past]
        looking = [self.rows[row] for row in rows]
        used = sorted(set(looking))
        images, mask = self.images, self.mask
        if len(used) * 4 <= images[0].shape[1] * 3:
            kept = torch.tensor(used, device=index.device)
            images, mask = [k[:, kept] for k in images], None if mask is None else mask[kept]
            looking = [used.index(image) for image in looking]
        return Cache(past, images, mask, looking, self.filled)

    def _taken(self, past: Tensor, index: Tensor, length: int | None) -> Tensor:
        old = past.view(2, len(self.rows), -1, *past.shape[2:])
        new = past.new_empty(2, len(index), old.shape[2], length or past.shape[2], past.shape[3])
        new[:, :, :, : self.filled] = old[:, index, :, : self.filled]
        return new.flatten(1, 2)


class Stepper:
    """A decoder prepared for decoding with weights of one precision; `counts` adds up what it did.

    Weights are prepared here, once: one that changes later may or may not be seen.
    Raises UsageError where the precision is not to be had.
    """

    def __init__(self, decoder: Decoder, precision: Precision = "fp32") -> None:
        self.decoder, self.precision = decoder, precision
        self.layers = [_Layer(layer, precision) for layer in decoder.layers]
        half = precision == "bf16" and decoder.embedding.device.type != "cpu"
        self.attention_dtype = torch.bfloat16 if half else torch.float32  # one query is slower in bfloat16 on a CPU
        self.counts = Counts()

    @property
    def longest(self) -> int:
        """The number of positions that the decoder knows."""
        return len(self.decoder.positions)

    def start(self, memory: Memory, rows: Sequence[int], length: int | None = None) -> Cache:
        """An empty cache for sequences of up to `length` positions (None: all), of which row r looks at image rows[r].

        Raises UsageError when the decoder does not know so many positions.
        """
        length = length or self.longest
        self.decoder.check_length(length)
        dtype = self.attention_dtype
        images = [layer.keys_values(memory.tokens).to(dtype).contiguous() for layer in self.layers]
        _, count, heads, cells, channels = images[0].shape
        mask = None
        if memory.valid is not None:
            mask = torch.zeros(count, heads, 1, cells, dtype=dtype, device=memory.tokens.device)
            mask.masked_fill_(~memory.valid[:, None, None], -torch.inf)
        past = [images[0].new_empty(2, len(rows) * heads, length, channels) for _ in images]
        return Cache(past, images, mask, list(rows))

    def step(self, tokens: Tensor, cache: Cache) -> Tensor:
        """Append `tokens` (R, T) int64 to the sequences of the cache; hidden states (R, T, dim) of those positions."""
        (rows, new), begin = tokens.shape, cache.filled
        cache.filled = begin + new
        self.counts.steps += 1
        self.counts.positions += rows * new
        x = self.decoder.embed(tokens, begin)
        mask = _causal(new, cache.filled, x.device, self.attention_dtype) if new > 1 else None
        return self.through(x, [past.narrow(2, 0, cache.filled) for past in cache.past], cache, mask)

    def through(
        self, x: Tensor, pasts: Sequence[Tensor], cache: Cache, mask: Tensor | None, place: Tensor | None = None
    ) -> Tensor:
        """Hidden states of embedded tokens (R, T, dim), whose keys and values go to the end of `pasts`, or to `place`
        (1,) int64 in them; `mask` is added to the scores of self-attention (R * heads, T, S)."""
        for layer, past, seen in zip(self.layers, pasts, cache.seen, strict=True):
            x = layer.step(x, past, seen, cache.groups, mask, place)
        return _normed(self.decoder.norm, x)

    def output(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """The output layer for tokens `ids` (K,) int64, ascending: weights (K, dim), bias (K,); a range is no copy."""
        table, bias = self.decoder.embedding, self.decoder.output_bias
        first, last = int(ids[0]), int(ids[-1])
        if last - first + 1 == len(ids):
            return table[first : last + 1], bias[first : last + 1]
        return table[ids], bias[ids]

    def scores(self, hidden: Tensor, output: tuple[Tensor, Tensor]) -> Tensor:
        """Logits (R, K) float32 of hidden states (R, dim)."""
        self.counts.scores += len(hidden) * len(output[0])
        return F.linear(hidden, *output)


class _Layer:
    """One decoder layer on (R, T, dim)."""

    def __init__(self, layer: DecoderLayer, precision: Precision) -> None:
        itself, cross, feed = layer.self_attention, layer.cross_attention, layer.feed_forward
        self.heads = itself.heads
        self.norms = itself.norm, cross.norm, feed.norm
        self.qkv, self.self_out = prepared(itself.qkv, precision), prepared(itself.out, precision)
        self.query, self.cross_out = prepared(cross.query, precision), prepared(cross.out, precision)
        self.key_value = prepared(cross.key_value, precision)
        self.up, self.down = prepared(feed.up, precision, gelu=True), prepared(feed.down, precision)

    def keys_values(self, tokens: Tensor) -> Tensor:
        """Of image tokens (B, N, dim): keys and values (2, B, heads, N, C)."""
        count, cells, dim = tokens.shape
        both = self.key_value(tokens.reshape(count * cells, dim)).view(count, cells, 2, self.heads, dim // self.heads)
        return both.permute(2, 0, 3, 1, 4)

    def step(
        self,
        x: Tensor,
        past: Tensor,
        seen: Mapping[int, Seen],
        groups: RowGroups | None,
        mask: Tensor | None,
        place: Tensor | None,
    ) -> Tensor:
        """What the arguments are is told by `Stepper.through` and `Cache`."""
        (rows, new, dim), (before_self, before_cross, before_feed) = x.shape, self.norms
        x = x.view(rows * new, dim)
        heads = self._attend_self(self.qkv(_normed(before_self, x)).view(rows, new, 3 * dim), past, mask, place)
        x = x + self.self_out(heads.view(rows * new, dim))
        heads = self._attend_cross(self.query(_normed(before_cross, x)).view(rows, new, dim), seen, groups)
        x = x + self.cross_out(heads.view(rows * new, dim))
        x = x + self.down(self.up(_normed(before_feed, x)))
        return x.view(rows, new, dim)

    def _attend_self(self, qkv: Tensor, past: Tensor, mask: Tensor | None, place: Tensor | None) -> Tensor:
        """(R, T, 3 * dim) to (R, T, dim); `past` (2, R * heads, S, C) gets the new keys and values."""
        rows, new, size = qkv.shape
        split = qkv.view(rows, new, 3, self.heads, size // 3 // self.heads)
        kept = past.view(2, rows, self.heads, past.shape[2], past.shape[3])
        added = split.narrow(2, 1, 2).permute(2, 0, 3, 1, 4)
        if place is None:
            kept.narrow(3, -new, new).copy_(added)
        else:
            kept.index_copy_(3, place, added.to(kept.dtype))
        keys, values = past.unbind()
        query = split.select(2, 0).transpose(1, 2).reshape(rows * self.heads, new, -1)
        return _joined(attended(query.to(keys.dtype), keys.transpose(1, 2), values, mask), rows)

    def _attend_cross(self, query: Tensor, seen: Mapping[int, Seen], groups: RowGroups | None) -> Tensor:
        """(R, T, dim) to (R, T, dim)."""

        def look(rows: Tensor, images: slice) -> Tensor:
            keys, values, mask = seen[images.start]
            return _joined(attended(_split(rows, self.heads).to(keys.dtype), keys, values, mask), len(rows))

        return groups.map(look, query) if groups else look(query, slice(0, len(query)))


def attended(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    """Scaled dot-product attention of (G, T, C) to `key` (G, C, S) and `value` (G, S, C); `mask` joins the scores.

    For one query a head two plain products are faster than the fused kernels, which are made for many.
    """
    scale = 1 / math.sqrt(query.shape[-1])
    beta, added = (0, query.new_empty(1)) if mask is None else (1, mask)
    return torch.bmm(torch.baddbmm(added, query, key, beta=beta, alpha=scale).softmax(dim=-1), value)


def _split(x: Tensor, heads: int) -> Tensor:
    """(R, T, dim) to (R * heads, T, C)."""
    rows, new, dim = x.shape
    if new == 1:
        return x.reshape(rows * heads, 1, dim // heads)
    return x.view(rows, new, heads, dim // heads).transpose(1, 2).reshape(rows * heads, new, dim // heads)


def _joined(x: Tensor, rows: int) -> Tensor:
    """(R * heads, T, C) to (R, T, dim)."""
    groups, new, channels = x.shape
    if new == 1:
        return x.view(rows, 1, groups // rows * channels)
    return x.view(rows, groups // rows, new, channels).transpose(1, 2).reshape(rows, new, -1)


def _normed(norm: nn.LayerNorm, x: Tensor) -> Tensor:
    return torch.layer_norm(x, norm.normalized_shape, norm.weight, norm.bias, norm.eps)


def _causal(new: int, filled: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """(T, S): 0 where one of the `new` positions may look, -inf at those after it."""
    return torch.full((new, filled), -torch.inf, dtype=dtype, device=device).triu(filled - new + 1)
