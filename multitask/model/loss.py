"""Weighted token cross-entropy (Pix2Seq, arXiv:2109.10852, eq. 1), with Gaussian targets for coordinates if wanted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional as F

EPSILON = 1e-9  # as published: a batch without weight has loss 0
CHUNK = 2**22  # logits that are held at a time: 16 MiB in float32, as much again for each gradient


def sequence_loss(
    hidden: Tensor,
    logits: Callable[[Tensor], Tensor],
    targets: Tensor,
    weights: Tensor,
    coordinates: range | None = None,
    sigma: float = 0.0,
    total: float | Tensor | None = None,
) -> Tensor:
    """`token_loss` of hidden states (R, L, D); `logits`, (P, D) to (P, V), sees only the P positions that count.

    Where there are many, the logits are never all there at once, neither forward nor backward.
    """
    counts = weights > 0
    positions = (hidden[counts], targets[counts], weights[counts].float())

    def loss(hidden: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
        return _weighed(logits(hidden), targets, weights, coordinates, sigma)

    none = logits(positions[0][:0].detach())  # no position at all, but V and what the logits are made of
    size = max(1, CHUNK // none.shape[1])
    if len(positions[0]) <= size:
        value = loss(*positions)
    elif torch.is_grad_enabled():
        value = cast(Tensor, InChunks.apply(loss, size, *positions, *leaves(none)))
    else:
        value = torch.stack([loss(*part) for part in chunks(size, *positions)]).sum()
    return value / ((positions[2].sum() if total is None else total) + EPSILON)


def token_loss(
    logits: Tensor,
    targets: Tensor,
    weights: Tensor,
    coordinates: range | None = None,
    sigma: float = 0.0,
    total: float | Tensor | None = None,
) -> Tensor:
    """sum(w * CE) / (total + 1e-9), a float32 scalar.

    logits (..., V) float; targets (...) int64; weights (...) float, at least 0. A position of weight 0 has no effect.
    coordinates: ids of the coordinate tokens, which follow each other.
    sigma: in bins; above 0, a target in `coordinates` is a Gaussian about it, cut off at the ends of the range.
    total: the sum of the weights, where these are only some of them; None: sum(w).
    """
    counts = weights > 0
    weights = weights[counts].float()
    value = _weighed(logits[counts], targets[counts], weights, coordinates, sigma)
    return value / ((weights.sum() if total is None else total) + EPSILON)


def _weighed(logits: Tensor, targets: Tensor, weights: Tensor, coordinates: range | None, sigma: float) -> Tensor:
    """sum(w * CE) of logits (P, V)."""
    logits = logits.float()
    losses = F.cross_entropy(logits, targets, reduction="none")
    if coordinates and sigma > 0:
        losses = losses + _blur(logits, targets, coordinates, sigma)
    return (weights * losses).sum()


class InChunks(torch.autograd.Function):
    """A sum over positions, `size` of them at a time, whose gradients are taken on the way.

    Faster than to compute the logits of a chunk again in the backward pass, and lighter: a chunk leaves nothing behind.
    """

    @staticmethod
    def forward(
        ctx: Any,
        loss: Callable[[Tensor, Tensor, Tensor], Tensor],
        size: int,
        hidden: Tensor,
        targets: Tensor,
        weights: Tensor,
        *tables: Tensor,
    ) -> Tensor:
        """The sum of `loss` of hidden states (P, D), targets and weights (P,); `tables`: what else has a gradient."""
        values, of_hidden = [], []
        of_tables = [torch.zeros_like(table) for table in tables]
        for states, *rest in chunks(size, hidden, targets, weights):
            with torch.enable_grad():
                states = states.detach().requires_grad_()
                value = loss(states, *rest)
            gradient, *gradients = torch.autograd.grad(value, (states, *tables))
            of_hidden.append(gradient)
            for whole, part in zip(of_tables, gradients, strict=True):
                whole += part
            values.append(value.detach())
        ctx.save_for_backward(torch.cat(of_hidden), *of_tables)
        return torch.stack(values).sum()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients, times that of the sum."""
        (scale,) = gradients
        hidden, *tables = (gradient * scale for gradient in ctx.saved_tensors)
        return (None, None, hidden, None, None, *tables)


def chunks(size: int, *tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """The tensors (P, ...) cut into pieces of up to `size`, side by side."""
    return zip(*(torch.split(tensor, size) for tensor in tensors), strict=True)


def leaves(tensor: Tensor) -> list[Tensor]:
    """The parameters that `tensor` was computed from, each once."""
    found: dict[Any, Tensor | None] = {}
    waiting = [tensor.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is not None and node not in found:
            found[node] = getattr(node, "variable", None)  # an end of the graph has one
            waiting += [before for before, _ in node.next_functions]
    return [variable for variable in found.values() if variable is not None]


def _blur(logits: Tensor, targets: Tensor, coordinates: range, sigma: float) -> Tensor:
    """What Gaussian targets add to the cross-entropy of sharp ones, (P,): target logit - mean logit under the Gaussian.

    Both share the normaliser log(sum(exp(logits))).
    """
    inside = (targets >= coordinates.start) & (targets < coordinates.stop)
    scores = logits[inside, coordinates.start : coordinates.stop]
    bins = targets[inside] - coordinates.start
    kernel = gaussian_kernel(len(coordinates), sigma).to(logits.device)
    difference = scores.gather(1, bins[:, None])[:, 0] - (kernel[bins] * scores).sum(1)
    return torch.zeros_like(logits[:, 0]).masked_scatter(inside, difference)


@lru_cache(maxsize=4)
@torch.inference_mode(False)  # a kernel first made while evaluating must serve training too
def gaussian_kernel(bins: int, sigma: float) -> Tensor:
    """(bins, bins) float32: row i is the Gaussian of deviation `sigma` about bin i, normalised over the bins."""
    centre = torch.arange(bins, dtype=torch.float64)
    return torch.softmax(-0.5 * ((centre - centre[:, None]) / sigma) ** 2, dim=1).float()
