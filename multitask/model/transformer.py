"""Pre-LN transformer sublayers and sin-cos position codes (Pix2Seq, arXiv:2109.10852, and its published code).

A sublayer normalises its input, transforms it and adds the result to the input: `x + drop_path(f(norm(x)))`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.checkpoint import checkpoint

from .row_groups import RowGroups

NORM_EPS = 1e-6


def sin_cos_codes(positions: Tensor, dim: int) -> Tensor:
    """Codes (n, dim) of `positions` (n,) float32: sines of the even frequencies, then cosines of the odd ones."""
    channel = torch.arange(dim, device=positions.device)
    rates = 10000.0 ** (-2.0 * (channel // 2) / dim)
    angles = positions[:, None] * rates
    return torch.cat([angles[:, 0::2].sin(), angles[:, 1::2].cos()], dim=1)


def _axis(length: int, device: torch.device | None) -> Tensor:
    return torch.arange(length, device=device, dtype=torch.float32) * (2 * math.pi / max(length - 1, 1))


def position_codes(grid: tuple[int, int], dim: int, device: torch.device | None = None) -> Tensor:
    """Codes (h * w, dim) float32 of a (height, width) grid: half the channels for y, half for x, in [0, 2 pi] each.

    A grid of one row or one column has codes of one axis, as published.
    """
    height, width = grid
    if height == 1 or width == 1:
        return sin_cos_codes(_axis(height * width, device), dim)
    y = sin_cos_codes(_axis(height, device), dim // 2)[:, None].expand(-1, width, -1)
    x = sin_cos_codes(_axis(width, device), dim // 2)[None].expand(height, -1, -1)
    return rearrange(torch.cat([y, x], dim=2), "h w c -> (h w) c")


def fourier_codes(positions: Tensor, dim: int, finest: float) -> Tensor:
    """Codes (n, dim) of `positions` (n,) in [0, 1]: sines, then cosines, of half to `finest` cycles over the axis.

    Every channel tells positions apart; of the published codes most channels hardly vary.
    """
    cycles = torch.logspace(0, 1, dim // 2, base=max(1.0, 2 * finest), device=positions.device) / 2
    angles = 2 * math.pi * positions[:, None] * cycles
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def fourier_grid(grid: tuple[int, int], dim: int, device: torch.device | None = None) -> Tensor:
    """Codes (h * w, dim) of the centres of a (height, width) grid: half the channels for y, half for x."""
    y, x = (fourier_codes((torch.arange(n, device=device) + 0.5) / n, dim // 2, finest=n / 2) for n in grid)
    codes = torch.cat([y[:, None].expand(-1, grid[1], -1), x[None].expand(grid[0], -1, -1)], dim=2)
    return rearrange(codes, "h w c -> (h w) c")


def layer_norm(dim: int) -> nn.LayerNorm:
    """With the published epsilon."""
    return nn.LayerNorm(dim, eps=NORM_EPS)


def linear(dim_in: int, dim_out: int, parts: int = 1) -> nn.Linear:
    """A Glorot-uniform layer with zero bias; `parts` fused projections are each drawn as if they stood alone."""
    layer = nn.Linear(dim_in, dim_out)
    for part in layer.weight.data.chunk(parts):
        nn.init.xavier_uniform_(part)
    nn.init.zeros_(layer.bias)
    return layer


def drop_path(residual: Tensor, rate: float, training: bool) -> Tensor:
    """Stochastic depth: in training, zero the residual of a sample with probability `rate` and rescale the others."""
    if not training or rate == 0.0:
        return residual
    keep = 1.0 - rate
    shape = (residual.shape[0],) + (1,) * (residual.ndim - 1)
    return residual * residual.new_empty(shape).bernoulli_(keep).div_(keep)


def attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None = None, causal: bool = False) -> Tensor:
    """Scaled dot-product attention of (B, heads, T, C) to (B, heads, S, C); mask bool, True where one may look."""
    if torch.is_grad_enabled() and query.device.type == "cpu" and query.dtype == torch.bfloat16:
        # The backward pass of the fused kernel takes four times its float32 time here, more than all else in a layer.
        with sdpa_kernel(SDPBackend.MATH):
            return F.scaled_dot_product_attention(query, key, value, mask, is_causal=causal)
    return F.scaled_dot_product_attention(query, key, value, mask, is_causal=causal)


class Layer(nn.Module):
    """A layer of sublayers; in training it may forget its activations, and run compiled."""

    forgets = False
    compiled: Callable[..., Tensor] | None = None
    """`compute`, compiled: a function of the layer itself too, so that copies of a layer share it."""

    def recompute(self) -> None:
        """Keep only the inputs from now on, and compute the rest again in the backward pass."""
        self.forgets = True

    def compute(self, *inputs: Any, **options: Any) -> Tensor:
        """What the layer does."""
        raise NotImplementedError

    def forward(self, *inputs: Any, **options: Any) -> Tensor:
        """`compute`, in the way that was chosen."""
        run = partial(self.compiled, self) if self.compiled and self.training else self.compute
        if self.forgets and self.training and torch.is_grad_enabled():
            return checkpoint(run, *inputs, use_reentrant=False, **options)
        return run(*inputs, **options)


class FeedForward(nn.Module):
    """Two linear layers with an exact GELU, dropout between them: (..., dim) to (..., dim)."""

    def __init__(self, dim: int, hidden: int, dropout: float = 0.0, drop_path: float = 0.0) -> None:
        super().__init__()
        self.norm = layer_norm(dim)
        self.up = linear(dim, hidden)
        self.dropout = nn.Dropout(dropout)
        self.down = linear(hidden, dim)
        self.drop_path = drop_path

    def forward(self, x: Tensor) -> Tensor:
        residual: Tensor = self.down(self.dropout(F.gelu(self.up(self.norm(x)))))
        return x + drop_path(residual, self.drop_path, self.training)


class SelfAttention(nn.Module):
    """Multi-head attention of a sequence to itself."""

    def __init__(self, dim: int, heads: int, drop_path: float = 0.0) -> None:
        super().__init__()
        self.heads = heads
        self.norm = layer_norm(dim)
        self.qkv = linear(dim, 3 * dim, parts=3)
        self.out = linear(dim, dim)
        self.drop_path = drop_path

    def forward(self, x: Tensor, mask: Tensor | None = None, causal: bool = False) -> Tensor:
        """Map (B, T, dim) to (B, T, dim).

        mask: bool, broadcast over (B, heads, T, T), True where one position may look at another.
        """
        query, key, value = rearrange(self.qkv(self.norm(x)), "b t (qkv h c) -> qkv b h t c", qkv=3, h=self.heads)
        heads = attend(query, key, value, mask, causal)
        residual: Tensor = self.out(rearrange(heads, "b h t c -> b t (h c)"))
        return x + drop_path(residual, self.drop_path, self.training)


class CrossAttention(nn.Module):
    """Multi-head attention of sequences to images, whose tokens are not normalised again."""

    def __init__(self, dim: int, heads: int, drop_path: float = 0.0) -> None:
        super().__init__()
        self.heads = heads
        self.norm = layer_norm(dim)
        self.query = linear(dim, dim)
        self.key_value = linear(dim, 2 * dim, parts=2)
        self.out = linear(dim, dim)
        self.drop_path = drop_path

    def keys_values(self, tokens: Tensor) -> Tensor:
        """Image tokens (B, N, dim) to keys and values (2, B, heads, N, dim / heads)."""
        keys_values: Tensor = rearrange(self.key_value(tokens), "b n (kv h c) -> kv b h n c", kv=2, h=self.heads)
        return keys_values

    def weights(self, x: Tensor, keys_values: Tensor, mask: Tensor | None) -> Tensor:
        """What `forward` weighs values with, (R, heads, T, N): sums to 1 over N. Row r looks at image r."""
        query = rearrange(self.query(self.norm(x)), "b t (h c) -> b h t c", h=self.heads)
        scores: Tensor = query @ keys_values[0].transpose(2, 3) / math.sqrt(query.shape[3])
        return (scores if mask is None else scores.masked_fill(~mask, -torch.inf)).softmax(dim=3)

    def forward(self, x: Tensor, keys_values: Tensor, mask: Tensor | None, groups: RowGroups | None) -> Tensor:
        """Map (R, T, dim) to (R, T, dim); mask (B, 1, 1, N) bool, True where there is picture."""
        query = self.query(self.norm(x))

        def look(rows: Tensor, images: slice) -> Tensor:
            key, value = keys_values[:, images]
            heads = attend(rearrange(rows, "b t (h c) -> b h t c", h=self.heads), key, value, mask)
            return rearrange(heads, "b h t c -> b t (h c)")

        seen = groups.map(look, query) if groups else look(query, slice(None))
        residual: Tensor = self.out(seen)
        return x + drop_path(residual, self.drop_path, self.training)
