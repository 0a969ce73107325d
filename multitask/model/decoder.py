"""The sequence decoder, over whole sequences; `stepping` takes one position after the other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import UsageError
from .row_groups import RowGroups
from .transformer import CrossAttention, FeedForward, Layer, SelfAttention, fourier_codes, layer_norm

INIT_STD = 0.02
ORDERED_STD = 0.1  # of embeddings that begin in order: large enough for the order to outlive the first updates


class Memory(NamedTuple):
    """Encoded images: tokens (B, N, D), and valid (B, N) bool, True where there is picture (None: everywhere)."""

    tokens: Tensor
    valid: Tensor | None = None

    @property
    def mask(self) -> Tensor | None:
        """`valid` as an attention mask (B, 1, 1, N)."""
        return None if self.valid is None else self.valid[:, None, None]

    def take(self, images: Sequence[int]) -> Memory:
        """The memory of some of the images, in that order."""
        if list(images) == list(range(len(self.tokens))):
            return self
        return Memory(self.tokens[images], None if self.valid is None else self.valid[images])


class DecoderLayer(Layer):
    """Self-attention, cross-attention, feed-forward: (R, T, dim) to (R, T, dim)."""

    def __init__(self, dim: int, heads: int, mlp_dim: int, dropout: float, drop_path: float) -> None:
        super().__init__()
        self.self_attention = SelfAttention(dim, heads, drop_path)
        self.cross_attention = CrossAttention(dim, heads, drop_path)
        self.feed_forward = FeedForward(dim, mlp_dim, dropout, drop_path)

    def keys_values(self, tokens: Tensor) -> Tensor:
        """What the layer looks at of image tokens (B, N, dim): keys and values (2, B, heads, N, dim / heads)."""
        return self.cross_attention.keys_values(tokens)

    def compute(self, x: Tensor, image: Tensor, image_mask: Tensor | None, groups: RowGroups | None) -> Tensor:
        """`image` is what `keys_values` gave; the rest is told by the sublayers."""
        x = self.self_attention(x, causal=True)
        x = self.cross_attention(x, image, image_mask, groups)
        output: Tensor = self.feed_forward(x)
        return output

    def weights(self, x: Tensor, image: Tensor, image_mask: Tensor | None) -> Tensor:
        """Of the cross-attention of the same inputs: (R, heads, T, N), row r to image r."""
        return self.cross_attention.weights(self.self_attention(x, causal=True), image, image_mask)


class Decoder(nn.Module):
    """Causal pre-LN transformer over tokens, with learned positions and a tied output layer (arXiv:2109.10852).

    `logits(h) = h E^T + b`, where E is the table of input embeddings and b an output bias.
    """

    def __init__(
        self,
        vocab_size: int,
        dim: int,
        depth: int,
        heads: int,
        mlp_dim: int,
        max_length: int,
        dropout: float = 0.1,
        drop_path: float = 0.1,
    ) -> None:
        super().__init__()
        self.embedding = nn.Parameter(torch.empty(vocab_size, dim))
        self.output_bias = nn.Parameter(torch.empty(vocab_size))
        self.positions = nn.Parameter(torch.empty(max_length, dim))
        for table in (self.embedding, self.output_bias, self.positions):
            nn.init.trunc_normal_(table, std=INIT_STD)
        layers = nn.ModuleList(DecoderLayer(dim, heads, mlp_dim, dropout, drop_path) for _ in range(depth))
        self.layers = cast("Sequence[DecoderLayer]", layers)
        self.norm = layer_norm(dim)

    @torch.no_grad()
    def place_in_order(self, tokens: range) -> None:
        """Embed these tokens as places along an axis, so that what is learnt of one serves its neighbours too."""
        places = torch.linspace(0, 1, len(tokens))
        codes = fourier_codes(places, self.embedding.shape[1], finest=len(tokens) / 8)
        self.embedding[tokens.start : tokens.stop] = ORDERED_STD * math.sqrt(2) * codes

    def forward(self, inputs: Tensor, memory: Memory, rows: Tensor | None = None) -> Tensor:
        """Hidden states (R, L, dim) of `inputs` (R, L) int64; row r looks at image rows[r] (None: at image r)."""
        groups = None if rows is None else RowGroups.of(rows.tolist(), len(memory.tokens), rows.device)
        x = self.embed(inputs, 0)
        for layer in self.layers:
            x = layer(x, layer.keys_values(memory.tokens), memory.mask, groups)
        hidden: Tensor = self.norm(x)
        return hidden

    def weights(self, inputs: Tensor, memory: Memory) -> Tensor:
        """Cross-attention (layers, R, heads, L, N) of `inputs` (R, L) int64, row r to image r, as in `forward`.

        Sums to 1 over the cells of an image; padding gets 0. In training mode dropout makes it another one.
        """
        x, found = self.embed(inputs, 0), []
        for layer in self.layers:
            image = layer.keys_values(memory.tokens)
            found.append(layer.weights(x, image, memory.mask))
            x = layer(x, image, memory.mask, None)
        return torch.stack(found)

    def embed(self, tokens: Tensor, begin: int) -> Tensor:
        """Embeddings (R, T, dim) of `tokens` (R, T) int64 at the positions from `begin`."""
        end = begin + tokens.shape[1]
        self.check_length(end)
        return F.embedding(tokens, self.embedding) + self.positions[begin:end]

    def logits(self, hidden: Tensor, ids: Tensor | None = None) -> Tensor:
        """Scores (..., V) of hidden states (..., dim), or (..., K) of the tokens `ids` (K,) int64 alone."""
        if ids is None:
            return F.linear(hidden, self.embedding, self.output_bias)
        return F.linear(hidden, self.embedding[ids], self.output_bias[ids])

    def check_length(self, length: int) -> None:
        """Raises UsageError when there are not so many positions."""
        if length > len(self.positions):
            known = len(self.positions)
            raise UsageError(f"a sequence of {length} positions needs model.decoder.max_length {length}, not {known}")
