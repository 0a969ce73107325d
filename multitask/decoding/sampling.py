"""Drawing one token a row: greedy, or from the tempered, truncated distribution with noise that each row owns."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Sequence

import numpy as np
import torch
from torch import Tensor

from ..sequence.prompting import Decoding


def row_noise(keys: Sequence[Hashable], length: int) -> Tensor:
    """Uniform numbers (R, length) float64 in [0, 1), a pure function of each row's key: how rows are batched changes
    no answer."""
    seeds = [int.from_bytes(hashlib.blake2b(repr(key).encode(), digest_size=8).digest(), "little") for key in keys]
    return torch.from_numpy(np.stack([np.random.Generator(np.random.PCG64(s)).random(length) for s in seeds]))


class Sampler:
    """Per-row settings as tensors; `keep` drops the rows that have ended."""

    def __init__(
        self, decodings: Sequence[Decoding], keys: Sequence[Hashable], length: int, device: torch.device
    ) -> None:
        self.temperature = torch.tensor([d.temperature for d in decodings], dtype=torch.float64, device=device)
        self.top_k = torch.tensor([d.top_k for d in decodings], device=device)
        self.top_p = torch.tensor([d.top_p for d in decodings], dtype=torch.float64, device=device)
        self.cuts = any(d.top_k or d.top_p < 1 for d in decodings)
        self.greedy = not any(d.temperature > 0 for d in decodings)
        self.noise = (torch.zeros(len(keys), 0) if self.greedy else row_noise(keys, length)).to(device)

    def keep(self, index: Tensor) -> None:
        self.temperature, self.top_k, self.top_p = self.temperature[index], self.top_k[index], self.top_p[index]
        self.noise = self.noise[index]

    def draw(self, logits: Tensor, position: int) -> Tensor:
        """Column (R,) drawn from the softmax of `logits` (R, K), -inf where not allowed."""
        best = logits.argmax(dim=1)
        if self.greedy:
            return best
        cold = self.temperature == 0
        kept = (logits.double() / self.temperature.masked_fill(cold, 1.0)[:, None]).softmax(dim=1)
        if self.cuts:
            kept = kept.masked_fill(~likely(kept, self.top_k, self.top_p), 0.0)
        steps = kept.cumsum(dim=1)
        drawn = torch.searchsorted(steps, (self.noise[:, position] * steps[:, -1])[:, None], right=True)[:, 0]
        return torch.where(cold, best, drawn.clamp(max=logits.shape[1] - 1))


def likely(probs: Tensor, top_k: Tensor, top_p: Tensor) -> Tensor:
    """(R, K) bool: the `top_k` (R,) best (0: all) of `probs`, and of these the fewest whose sum reaches `top_p` (R,)
    (Holtzman et al., arXiv 1904.09751)."""
    ordered, order = probs.sort(dim=1, descending=True, stable=True)
    before = ordered.cumsum(dim=1) - ordered
    ranks = torch.arange(probs.shape[1], device=probs.device)
    keep = (before < top_p[:, None]) & ((ranks < top_k[:, None]) | (top_k == 0)[:, None])
    return torch.zeros_like(keep).scatter(1, order, keep)
