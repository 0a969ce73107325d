"""Grammars of a batch as tables on the device: one look-up a step serves every task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from ..sequence.grammar import END, Grammar


@dataclass(frozen=True)
class Slice:
    """The columns of the table that the present states can use: K token ids, ascending."""

    ids: Tensor  # (K,) int64
    allowed: Tensor  # (S, K) bool
    read: Tensor  # (S, K) bool
    stop: Tensor  # (S, K) bool
    following: Tensor  # (S, K) int64, the next state


class GrammarTable:
    """Distinct grammars laid one after the other: their states are numbered through."""

    def __init__(self, grammars: Sequence[Grammar], vocab_size: int, device: torch.device) -> None:
        self.distinct = list(dict.fromkeys(grammars))
        self.vocab_size, self.device = vocab_size, device
        offsets = np.cumsum([0, *(len(g.states) for g in self.distinct)])
        self.offsets = {g: int(o) for g, o in zip(self.distinct, offsets, strict=False)}
        states = [(g, s) for g in self.distinct for s in g.states]
        self.window = self._column([s.window for _, s in states])
        self.not_below = self._column([s.not_below for _, s in states])
        self.has_read = self._column([s.read is not None for _, s in states])
        self.run = self._column([g.stop.run if g.stop else 0 for g, _ in states])
        self.threshold = self._column([g.stop.threshold if g.stop else 2.0 for g, _ in states])
        self._states = states
        self._slices: dict[tuple[int, ...], Slice] = {}

    def _column(self, values: Sequence[float]) -> Tensor:
        return torch.tensor(values, device=self.device)

    @cached_property
    def _tables(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        shape = (len(self._states), self.vocab_size)
        allowed, read, stop = (np.zeros(shape, dtype=bool) for _ in range(3))
        following = np.full(shape, END, dtype=np.int64)
        for row, (grammar, state) in enumerate(self._states):
            for ids, target in state.arcs:
                mask = ids.mask(self.vocab_size)
                allowed[row] |= mask
                following[row, mask] = END if target == END else target + self.offsets[grammar]
            read[row] = state.read.mask(self.vocab_size) if state.read else allowed[row]
            if grammar.stop:
                stop[row] = grammar.stop.ids.mask(self.vocab_size) & allowed[row]
        return allowed, read & allowed, stop, following

    def start(self, grammars: Sequence[Grammar]) -> Tensor:
        """The first state (R,) int64 of each row's grammar."""
        return torch.tensor([self.offsets[g] for g in grammars], device=self.device)

    def slice(self, states: Tensor) -> Slice:
        """The columns that rows in these `states` (R,) can use."""
        present = tuple(sorted(set(states.tolist())))
        if present not in self._slices:
            allowed, read, stop, following = self._tables
            columns = np.flatnonzero(allowed[list(present)].any(axis=0))
            tables = (torch.from_numpy(t[:, columns]).to(self.device) for t in (allowed, read, stop, following))
            self._slices[present] = Slice(torch.from_numpy(columns).to(self.device), *tables)
        return self._slices[present]
