"""Which tokens may come next: a small automaton as data, so that every answer parses.

The engine looks the table up once a step for a whole batch and computes the logits of the allowed rows alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from .ids import Ids
from .vocabulary import Vocabulary

END = -1  # the state after the last token: the sequence is finished


@dataclass(frozen=True)
class State:
    """One state: what may be drawn here, and where each draw leads."""

    arcs: tuple[tuple[Ids, int], ...]  # (ids allowed, next state or END); the sets of one state are disjoint
    read: Ids | None = None  # ids among which the engine records the best, its probability and the expected id
    window: int = 0  # probability and expectation are taken over the ids within this distance of the best one
    not_below: int = 0  # k > 0: only ids >= the one drawn k tokens ago (ymax >= ymin)

    def allowed(self) -> Ids:
        return Ids(tuple(r for ids, _ in self.arcs for r in ids.ranges))


@dataclass(frozen=True)
class Stop:
    """End the sequence when `ids` are more probable than `threshold` at `run` consecutive states that allow them."""

    ids: Ids
    run: int
    threshold: float


@dataclass(frozen=True)
class Grammar:
    """An automaton that starts in state 0 and ends at END, at `max_tokens`, or by its stop rule.

    Probabilities that the engine records are those of a softmax over the ids allowed in the state.
    Raises ValueError when an arc leads nowhere, a state allows nothing, or `max_tokens` is not positive.
    """

    states: tuple[State, ...]
    max_tokens: int
    stop: Stop | None = field(default=None)

    def __post_init__(self) -> None:
        if self.max_tokens < 1 or not self.states:
            raise ValueError(f"a grammar needs states and max_tokens >= 1, got {len(self.states)}, {self.max_tokens}")
        for number, state in enumerate(self.states):
            if not len(state.allowed()):
                raise ValueError(f"grammar state {number} allows no token")
            if state.read is not None and not state.read.overlaps(state.allowed()):
                raise ValueError(f"grammar state {number} reads ids that it does not allow")
            for _, target in state.arcs:
                if not END <= target < len(self.states):
                    raise ValueError(
                        f"grammar state {number} leads to {target}; states are 0 to {len(self.states) - 1}"
                    )

    @classmethod
    def any(cls, vocab: Vocabulary, max_tokens: int) -> Grammar:
        """Everything allowed at every step, no stop: the published decoding, for parity with the original."""
        return cls((State(((Ids(((0, len(vocab)),)), 0),)),), max_tokens)
