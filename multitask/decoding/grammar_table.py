"""Grammars of a batch as tables on the device: one look-up a step serves every task."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..sequence.grammar import END, Grammar, State
from ..sequence.ids import Ids

Mask = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Told:
    """What is recorded of a draw among K tokens, in P states. States of which the same is told share one."""

    ids: Tensor  # (K,) int64, ascending
    unread: Tensor  # (P, K) bool
    stop: Tensor  # (P, K) bool
    ends: Tensor  # (P, K) bool: the grammar ends with this token
    window: Tensor  # (P, 1) int64
    reach: Tensor  # (2 * W + 1,) int64: -W to W, the places that the widest window can reach
    has_read: Tensor  # (P,) bool
    threshold: Tensor  # (P,) float32
    skips: bool  # some token is not read
    reads: bool  # some state has a read set
    stops: bool  # some state has a token that its stop rule waits for


@dataclass(frozen=True, eq=False)
class Slice:
    """What P states say of the K tokens that they allow between them."""

    ids: Tensor  # (K,) int64, ascending
    row: Tensor  # (S,) int64: the row of each of all states in the tables below
    forbidden: Tensor  # (P, K) bool
    onward: Tensor  # (P, K) int64: the next state; some state in place of END, for rows whose draws no longer count
    not_below: Tensor  # (P,) int64
    highest: Tensor  # (P,) int64: the last id that is allowed
    bounded: bool  # some state has `not_below`
    behind: int  # `not_below` of the first
    told: Told

    @property
    def single(self) -> bool:
        """Whether there is one state: then every column is allowed."""
        return len(self.forbidden) == 1


class GrammarTable:
    """Distinct grammars laid one after the other: their states are numbered through."""

    def __init__(self, grammars: Sequence[Grammar], vocab_size: int, device: torch.device) -> None:
        distinct = list(dict.fromkeys(grammars))
        self.vocab_size, self.device = vocab_size, device
        offsets = np.cumsum([0, *(len(g.states) for g in distinct)]).tolist()
        self.offsets = dict(zip(distinct, offsets, strict=False))
        self.states = [(g, s) for g in distinct for s in g.states]
        self.successors = [{t + self.offsets[g] for _, t in s.arcs if t != END} for g, s in self.states]
        self._slices: dict[frozenset[int], Slice] = {}
        self._told_before: dict[bytes, Told] = {}

    def start(self, grammars: Sequence[Grammar]) -> list[int]:
        """The first state of each row's grammar."""
        return [self.offsets[grammar] for grammar in grammars]

    def after(self, possible: Mapping[int, int], position: int) -> dict[int, int]:
        """Where `possible` states can lead, each with the last position of a row in it; rows past theirs are gone."""
        found: dict[int, int] = {}
        for state, limit in possible.items():
            for target in self.successors[state] if position < limit else ():
                found[target] = max(found.get(target, 0), limit)
        return found

    def slice(self, present: Collection[int]) -> Slice:
        """The tables of the states `present`."""
        key = frozenset(present)
        if key not in self._slices:
            self._slices[key] = self._sliced(sorted(key))
        return self._slices[key]

    def _sliced(self, present: list[int]) -> Slice:
        found = [self.states[number] for number in present]
        allowed = np.stack([self._mask(state.allowed()) for _, state in found])
        ids = np.flatnonzero(allowed.any(axis=0))
        following = np.stack([self._following(state, self.offsets[grammar]) for grammar, state in found])[:, ids]
        some = min((target for number in present for target in self.successors[number]), default=present[0])
        row = np.zeros(len(self.states), dtype=np.int64)
        row[present] = np.arange(len(present))
        return Slice(
            ids=self._tensor(ids),
            row=self._tensor(row),
            forbidden=self._tensor(~allowed[:, ids]),
            onward=self._tensor(np.where(following == END, some, following)),
            not_below=self._tensor([s.not_below for _, s in found]),
            highest=self._tensor([int(np.flatnonzero(mask)[-1]) for mask in allowed]),
            bounded=any(s.not_below for _, s in found),
            behind=found[0][1].not_below,
            told=self._told(found, ids, allowed[:, ids], following == END),
        )

    def _told(self, found: Sequence[tuple[Grammar, State]], ids: NDArray[np.int64], allowed: Mask, ends: Mask) -> Told:
        read = np.stack([self._mask(state.read or state.allowed())[ids] for _, state in found]) & allowed
        stop = np.stack([self._mask(g.stop.ids if g.stop else Ids())[ids] for g, _ in found]) & allowed
        window = np.array([[state.window] for _, state in found])
        has_read = np.array([state.read is not None for _, state in found])
        threshold = np.array([g.stop.threshold if g.stop else 2.0 for g, _ in found])
        widest = min(int(window.max()), len(ids) - 1)
        reach = np.arange(-widest, widest + 1)
        key = b"".join(table.tobytes() for table in (ids, read, stop, ends, window, has_read, threshold))
        if key not in self._told_before:
            self._told_before[key] = Told(
                ids=self._tensor(ids),
                unread=self._tensor(~read),
                stop=self._tensor(stop),
                ends=self._tensor(ends),
                window=self._tensor(window),
                reach=self._tensor(reach),
                has_read=self._tensor(has_read),
                threshold=self._tensor(threshold),
                skips=not read.all(),
                reads=bool(has_read.any()),
                stops=bool(stop.any()),
            )
        return self._told_before[key]

    def _mask(self, ids: Ids) -> Mask:
        return ids.mask(self.vocab_size)

    def _following(self, state: State, offset: int) -> NDArray[np.int64]:
        """(V,) the state after each token; END where it is not allowed."""
        following = np.full(self.vocab_size, END, dtype=np.int64)
        for ids, target in state.arcs:
            for begin, end in ids.ranges:
                following[begin:end] = END if target == END else target + offset
        return following

    def _tensor(self, values: Sequence[float] | NDArray[np.generic]) -> Tensor:
        return torch.as_tensor(np.asarray(values), device=self.device)
