"""The decoder one position after the other: past keys and values are kept, and a step reads each weight once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from ..model.decoder import Decoder, Memory
from .cache import Cache, Past
from .layer import FastLayer, Span, norm_of
from .linears import Linear, Plain, Precision, product_with

KEPT_OUTPUTS = 32  # output layers that are kept
PREPARED_TOKENS = 4096  # for up to so many tokens; for more a copy is too large


@dataclass
class Counts:
    """What decoding cost, in numbers that depend on no clock."""

    steps: int = 0  # passes through the layers
    positions: int = 0  # tokens fed to them, of all rows
    scores: int = 0  # hidden states x tokens scored
    syncs: int = 0  # times the host read what the device had drawn


class Output(NamedTuple):
    """The output layer for some tokens."""

    product: Linear
    tokens: int


class Stepper:
    """A decoder prepared for decoding with weights of one precision; `counts` adds up what it did.

    Weights are prepared here, once: one that changes later may or may not be seen.
    Raises UsageError where the precision is not to be had.
    """

    def __init__(self, decoder: Decoder, precision: Precision = "fp32") -> None:
        self.decoder, self.precision = decoder, precision
        self.layers = [FastLayer(layer, precision) for layer in decoder.layers]
        self.norm = norm_of(decoder.norm)
        half = precision == "bf16" and decoder.embedding.device.type != "cpu"
        self.attention_dtype = torch.bfloat16 if half else torch.float32  # one query is slower in bfloat16 on a CPU
        self.counts = Counts()
        self._outputs: dict[tuple[int, ...], Output] = {}

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
        both, count, heads, cells, channels = images[0].shape
        mask = None
        if memory.valid is not None:
            mask = torch.zeros(count, heads, 1, cells, dtype=dtype, device=memory.tokens.device)
            mask.masked_fill_(~memory.valid[:, None, None], -torch.inf)
        past = images[0].new_empty(len(images), both, len(rows), heads, length, channels)
        return Cache(past, images, mask, list(rows))

    def step(self, tokens: Tensor, cache: Cache) -> Tensor:
        """Append `tokens` (R, T) int64 to the sequences of the cache; hidden states (R, T, dim) of those positions."""
        (rows, new), begin = tokens.shape, cache.filled
        self.counts.steps += 1
        self.counts.positions += rows * new
        mask = _causal(new, begin + new, tokens.device, self.attention_dtype) if new > 1 else None
        return self.through(self.decoder.embed(tokens, begin), Span(rows, new, mask), cache, cache.grow(new))

    def through(self, x: Tensor, span: Span, cache: Cache, past: Sequence[Past]) -> Tensor:
        """Hidden states of embedded tokens (R, T, dim), whose keys and values are written to `past`."""
        shape = x.shape
        x = x.view(-1, shape[2])
        for layer, own, seen in zip(self.layers, past, cache.seen, strict=True):
            x = layer.step(x, span, own, seen, cache.groups)
        return torch.layer_norm(x, *self.norm).view(shape)

    def output(self, ids: Tensor) -> Output:
        """The output layer for tokens `ids` (K,) int64, ascending: few are prepared once, many in a row are no copy."""
        first, last = int(ids[0]), int(ids[-1])
        in_row = last - first + 1 == len(ids)
        key = (first, last) if in_row else (first, *ids.tolist())  # three or more: never that of a row
        if key not in self._outputs:
            if len(self._outputs) == KEPT_OUTPUTS:
                del self._outputs[next(iter(self._outputs))]
            self._outputs[key] = self._prepared_output(slice(first, last + 1) if in_row else ids)
        return self._outputs[key]

    def _prepared_output(self, ids: Tensor | slice) -> Output:
        weight, bias = self.decoder.embedding.detach()[ids], self.decoder.output_bias.detach()[ids]
        few = len(weight) <= PREPARED_TOKENS
        return Output(product_with(weight, bias, "fp32") if few else Plain(weight, bias), len(weight))

    def scores(self, hidden: Tensor, output: Output) -> Tensor:
        """Logits (R, K) float32 of hidden states (R, dim)."""
        self.counts.scores += len(hidden) * output.tokens
        return output.product(hidden)


def _causal(new: int, filled: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """(1, T, S): 0 where one of the `new` positions may look, -inf at those after it."""
    return torch.full((1, new, filled), -torch.inf, dtype=dtype, device=device).triu(filled - new + 1)
