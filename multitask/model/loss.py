"""Weighted token cross-entropy (Pix2Seq, arXiv:2109.10852, eq. 1), with Gaussian targets for coordinates if wanted."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

EPSILON = 1e-9  # as published: a batch without weight has loss 0


def sequence_loss(
    hidden: Tensor,
    logits: Callable[[Tensor], Tensor],
    targets: Tensor,
    weights: Tensor,
    coordinates: range | None = None,
    sigma: float = 0.0,
) -> Tensor:
    """`token_loss` of hidden states (R, L, D); `logits`, (P, D) to (P, V), sees only the P positions that count."""
    counts = weights > 0
    return token_loss(logits(hidden[counts]), targets[counts], weights[counts], coordinates, sigma)


def token_loss(
    logits: Tensor, targets: Tensor, weights: Tensor, coordinates: range | None = None, sigma: float = 0.0
) -> Tensor:
    """sum(w * CE) / (sum(w) + 1e-9), a float32 scalar.

    logits (..., V) float; targets (...) int64; weights (...) float, at least 0. A position of weight 0 has no effect.
    coordinates: ids of the coordinate tokens, which follow each other.
    sigma: in bins; above 0, a target in `coordinates` is a Gaussian about it, cut off at the ends of the range.
    """
    counts = weights > 0
    logits, targets, weights = logits[counts].float(), targets[counts], weights[counts].float()
    losses = F.cross_entropy(logits, targets, reduction="none")
    if coordinates and sigma > 0:
        losses = losses + _blur(logits, targets, coordinates, sigma)
    return (weights * losses).sum() / (weights.sum() + EPSILON)


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
