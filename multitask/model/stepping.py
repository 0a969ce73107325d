"""The decoder one position after the other: past keys and values are kept, and a step reads each weight once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
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


@dataclass
class Cache:
    """What decoding remembers of R rows between steps."""

    past: list[Tensor]
    """A layer's self-attention keys and values (2, R, heads, length, C); the first `filled` positions count."""
    images: list[Tensor]
    """A layer's cross-attention keys and values (2, B, heads, N, C), once an image."""
    mask: Tensor | None
    """(B, heads, 1, N) to add to cross-attention: 0 where there is picture, -inf elsewhere."""
    rows: list[int]
    """The image of each row."""
    groups: RowGroups | None
    filled: int = 0

    def take(self, rows: Sequence[int], length: int | None = None) -> Cache:
        """A cache of these rows alone, in this order, any of them more than once, for up to `length` positions.

        It shares the images with this one, but for those that nobody looks at: these go once they are many.
        """
        index = torch.tensor(rows, device=self.past[0].device)
        past = [_taken(keys_values, index, self.filled, length) for keys_values in self.past]
        looking = [self.rows[row] for row in rows]
        used = sorted(set(looking))
        images, mask = self.images, self.mask
        if len(used) * 4 <= images[0].shape[1] * 3:
            kept = torch.tensor(used, device=index.device)
            images, mask = [k[:, kept] for k in images], None if mask is None else mask[kept]
            looking = [used.index(image) for image in looking]
        return Cache(past, images, mask, looking, _groups(looking, images[0]), self.filled)


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
        images = [layer.keys_values(memory.tokens).to(dtype).contiguous() for layer in self.decoder.layers]
        _, count, heads, cells, channels = images[0].shape
        mask = None
        if memory.valid is not None:
            mask = torch.zeros(count, heads, 1, cells, dtype=dtype, device=memory.tokens.device)
            mask.masked_fill_(~memory.valid[:, None, None], -torch.inf)
        past = [images[0].new_empty(2, len(rows), heads, length, channels) for _ in images]
        return Cache(past, images, mask, list(rows), _groups(rows, images[0]))

    def step(self, tokens: Tensor, cache: Cache) -> Tensor:
        """Append `tokens` (R, T) int64 to the sequences of the cache; hidden states (R, T, dim) of those positions."""
        (rows, new), begin = tokens.shape, cache.filled
        cache.filled = begin + new
        self.counts.steps += 1
        self.counts.positions += rows * new
        x = self.decoder.embed(tokens, begin)
        mask = _causal(new, cache.filled, x.device, self.attention_dtype) if new > 1 else None
        for layer, past, image in zip(self.layers, cache.past, cache.images, strict=True):
            x = layer.step(x, past[:, :, :, : cache.filled], image, cache, mask)
        hidden: Tensor = self.decoder.norm(x)
        return hidden

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
        return F.linear(hidden, *output).float()


class _Layer:
    """One decoder layer on (R, T, dim)."""

    def __init__(self, layer: DecoderLayer, precision: Precision) -> None:
        itself, cross, feed = layer.self_attention, layer.cross_attention, layer.feed_forward
        self.heads = itself.heads
        self.norms = itself.norm, cross.norm, feed.norm
        self.qkv, self.self_out = prepared(itself.qkv, precision), prepared(itself.out, precision)
        self.query, self.cross_out = prepared(cross.query, precision), prepared(cross.out, precision)
        self.up, self.down = prepared(feed.up, precision, gelu=True), prepared(feed.down, precision)

    def step(self, x: Tensor, past: Tensor, image: Tensor, cache: Cache, mask: Tensor | None) -> Tensor:
        shape = x.shape
        x = x.flatten(0, 1)
        before_self, before_cross, before_feed = self.norms
        qkv = self.qkv(_normed(before_self, x))
        x = x + self.self_out(self._attend_self(qkv.view(*shape[:2], 3, self.heads, -1), past, mask))
        query = self.query(_normed(before_cross, x)).to(image.dtype).view(shape)
        x = x + self.cross_out(self._attend_cross(query, image, cache))
        x = x + self.down(self.up(_normed(before_feed, x)))
        return x.view(shape)

    def _attend_self(self, qkv: Tensor, past: Tensor, mask: Tensor | None) -> Tensor:
        """(R, T, 3, heads, C) to (R * T, dim); `past` (2, R, heads, S, C) gets the new keys and values at its end."""
        rows, new, _, heads, channels = qkv.shape
        past[:, :, :, -new:] = qkv[:, :, 1:].permute(2, 0, 3, 1, 4)
        query = qkv[:, :, 0].transpose(1, 2).reshape(rows * heads, new, channels).to(past.dtype)
        seen = attended(query, past[0].flatten(0, 1), past[1].flatten(0, 1), mask)
        return seen.view(rows, heads, new, channels).transpose(1, 2).reshape(rows * new, heads * channels)

    def _attend_cross(self, query: Tensor, image: Tensor, cache: Cache) -> Tensor:
        """(R, T, dim) to (R * T, dim)."""

        def look(rows: Tensor, images: slice) -> Tensor:
            count, length, dim = rows.shape
            split = rows.view(count, length, self.heads, -1).transpose(1, 2).reshape(count * self.heads, length, -1)
            mask = None if cache.mask is None else cache.mask[images].flatten(0, 1)
            seen = attended(split, image[0, images].flatten(0, 1), image[1, images].flatten(0, 1), mask)
            return seen.view(count, self.heads, length, -1).transpose(1, 2).reshape(count, length, dim)

        everywhere = slice(0, image.shape[1])
        return (cache.groups.map(look, query) if cache.groups else look(query, everywhere)).flatten(0, 1)


def attended(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    """Scaled dot-product attention of (G, T, C) to (G, S, C); `mask` is added to the scores (G, T, S).

    For one query a head two plain products are faster than the fused kernels, which are made for many.
    """
    scale = 1 / math.sqrt(query.shape[-1])
    if mask is None:
        scores = torch.baddbmm(query.new_empty(1), query, key.transpose(1, 2), beta=0, alpha=scale)
    else:
        scores = torch.baddbmm(mask, query, key.transpose(1, 2), alpha=scale)
    return torch.bmm(scores.softmax(dim=-1), value)


def _normed(norm: nn.LayerNorm, x: Tensor) -> Tensor:
    return F.layer_norm(x, norm.normalized_shape, norm.weight, norm.bias, norm.eps)


def _causal(new: int, filled: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """(T, S): 0 where one of the `new` positions may look, -inf at those after it."""
    return torch.full((new, filled), -torch.inf, dtype=dtype, device=device).triu(filled - new + 1)


def _groups(rows: Sequence[int], images: Tensor) -> RowGroups | None:
    groups = RowGroups.of(np.array(rows, dtype=np.int64), images.shape[1], bunched=True)
    return groups.to(images.device) if groups else None


def _taken(past: Tensor, index: Tensor, filled: int, length: int | None) -> Tensor:
    taken = past.new_empty(2, len(index), past.shape[2], length or past.shape[3], past.shape[4])
    taken[:, :, :, :filled] = past[:, index, :, :filled]
    return taken
