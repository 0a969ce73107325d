"""A decoder layer one position after the other: the sums of `model.decoder.DecoderLayer` with little between them.

At one row a product takes ten microseconds and every other operation half as much, so there are few: queries come
scaled, sums join the product before them, and what can be a view made in advance is one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..model.decoder import DecoderLayer
from ..model.row_groups import RowGroups
from .cache import Past, Seen
from .linears import Precision, prepared


class Span(NamedTuple):
    """T new positions of R rows."""

    rows: int
    new: int
    mask: Tensor | None = None  # (1 or R * heads, T, S), joins the scores of self-attention
    place: Tensor | None = None  # (1,) int64: where the one is written, if the device alone is to know


class FastLayer:
    """One decoder layer on R rows of T positions, laid side by side (R * T, dim)."""

    def __init__(self, layer: DecoderLayer, precision: Precision) -> None:
        itself, cross, feed = layer.self_attention, layer.cross_attention, layer.feed_forward
        dim, self.heads = itself.qkv.in_features, itself.heads
        scale = torch.full((dim,), math.sqrt(self.heads / dim), device=itself.qkv.weight.device)  # of queries
        self.before_self, self.before_cross, self.before_feed = map(norm_of, (itself.norm, cross.norm, feed.norm))
        self.qkv = prepared(itself.qkv, precision, scale=torch.cat([scale, torch.ones_like(scale).repeat(2)]))
        self.query, self.key_value = prepared(cross.query, precision, scale=scale), prepared(cross.key_value, precision)
        self.self_out, self.cross_out = prepared(itself.out, precision), prepared(cross.out, precision)
        self.up, self.down = prepared(feed.up, precision, gelu=True), prepared(feed.down, precision)

    def keys_values(self, tokens: Tensor) -> Tensor:
        """Of image tokens (B, N, dim): keys and values (2, B, heads, N, C)."""
        count, cells, dim = tokens.shape
        both = self.key_value(tokens.reshape(count * cells, dim)).view(count, cells, 2, self.heads, dim // self.heads)
        return both.permute(2, 0, 3, 1, 4)

    def step(self, x: Tensor, span: Span, past: Past, seen: Mapping[int, Seen], groups: RowGroups | None) -> Tensor:
        """(R * T, dim) to the same. Keys and values go to the room of `past`; `seen`, `groups` are told by `Cache`."""
        x = self.self_out(self._attend_self(self.qkv(torch.layer_norm(x, *self.before_self)), span, past), x)
        query = self.query(torch.layer_norm(x, *self.before_cross))
        x = self.cross_out(self._attend_cross(query, span, seen, groups), x)
        return self.down(self.up(torch.layer_norm(x, *self.before_feed)), x)

    def _attend_self(self, qkv: Tensor, span: Span, past: Past) -> Tensor:
        """(R * T, 3 * dim) to (R * T, dim)."""
        rows, new, mask, place = span
        query, added = qkv.view(rows, new, 3, self.heads, -1).split_with_sizes((1, 2), 2)
        if place is None:
            past.room.copy_(added)
        else:
            past.room.index_copy_(1, place, added.to(past.room.dtype))
        return _joined(attended(_by_head(query, span), past.keys, past.values, mask), span)

    def _attend_cross(self, query: Tensor, span: Span, seen: Mapping[int, Seen], groups: RowGroups | None) -> Tensor:
        """(R * T, dim) to the same."""
        rows, new, *_ = span
        if groups is None:
            return _joined(attended(_by_head(query.view(rows, new, self.heads, -1), span), *seen[0]), span)

        def look(rows: Tensor, images: slice) -> Tensor:
            span = Span(*rows.shape[:2])
            heads = _by_head(rows.view(*rows.shape[:2], self.heads, -1), span)
            return _joined(attended(heads, *seen[images.start]), span).view(rows.shape)

        return groups.map(look, query.view(rows, new, -1)).flatten(0, 1)


def attended(query: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
    """Attention of scaled queries (G, T, C) to `keys` (G, C, S) and `values` (G, S, C); `mask` joins the scores.

    For one query a head two plain products are faster than the fused kernels, which are made for many.
    """
    if query.dtype != keys.dtype:
        query = query.to(keys.dtype)
    scores = torch.bmm(query, keys) if mask is None else torch.baddbmm(mask, query, keys)
    return torch.bmm(scores.softmax(-1), values)


def norm_of(norm: nn.LayerNorm) -> tuple[list[int], Tensor, Tensor, float]:
    """What `torch.layer_norm` takes after its input."""
    return list(norm.normalized_shape), norm.weight.detach(), norm.bias.detach(), norm.eps


def _by_head(x: Tensor, span: Span) -> Tensor:
    """Of R * T rows of heads and C to (R * heads, T, C)."""
    rows, new, *_ = span
    if new == 1:
        return x.reshape(-1, 1, x.shape[-1])
    return x.view(rows, new, -1, x.shape[-1]).transpose(1, 2).reshape(-1, new, x.shape[-1])


def _joined(x: Tensor, span: Span) -> Tensor:
    """(R * heads, T, C) to (R * T, dim)."""
    rows, new, *_ = span
    if new == 1:
        return x.view(rows, -1)
    return x.view(rows, -1, new, x.shape[-1]).transpose(1, 2).reshape(rows * new, -1)
