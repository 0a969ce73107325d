"""Walking a grammar without model and engine: draw an answer at random, or ask whether a given one is accepted.

A slow second reading of what a grammar means, for tests of tasks and of the engine.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from .sequence.grammar import END, Grammar, State
from .sequence.vocabulary import Vocabulary
from .task import Decoded

Choices = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]


@lru_cache(maxsize=256)
def _table(state: State) -> Choices:
    """All ids (K,) that a state allows, the states they lead to, and whether they are read."""
    ids = state.allowed().array()
    following = np.concatenate([np.full(len(some), target) for some, target in state.arcs])
    return ids, following, np.isin(ids, ids if state.read is None else state.read.array())


def _choices(state: State, drawn: Sequence[int]) -> Choices:
    """What is left of the table after the tokens `drawn`."""
    ids, following, readable = _table(state)
    if not 0 < state.not_below <= len(drawn):
        return ids, following, readable
    left = ids >= drawn[-state.not_below]
    return ids[left], following[left], readable[left]


def random_walk(grammar: Grammar, vocab: Vocabulary, rng: np.random.Generator) -> Decoded:
    """An answer drawn under `grammar` from random scores, recorded as the engine would; stop rules are passed over.

    Raises ValueError where no token may follow.
    """
    state, drawn = 0, list[int]()
    steps: list[tuple[float, ...]] = []
    haste = rng.uniform(0.0, 12.0)  # how much `<eos>` is preferred, so that some answers are short
    while state != END and len(drawn) < grammar.max_tokens:
        ids, following, readable = _choices(grammar.states[state], drawn)
        if not len(ids):
            raise ValueError(f"grammar state {state} allows nothing after '{vocab.render(drawn[-8:])}'")
        odds = np.exp(rng.normal(0.0, 3.0, len(ids)) + haste * (ids == vocab.eos))
        column = int(rng.choice(len(ids), p=odds / odds.sum()))
        steps.append(_recorded(grammar.states[state], ids, odds / odds.sum(), readable, column))
        drawn.append(int(ids[column]))
        state = int(following[column])
    if state == END and drawn[-1] == vocab.eos:
        steps.pop()
    tokens, logprobs, best, best_prob, expected = np.array(steps).reshape(-1, 5).T
    return Decoded(tokens.astype(np.int64), logprobs, best.astype(np.int64), best_prob, expected)


def _recorded(
    state: State, ids: NDArray[np.int64], probs: NDArray[np.float64], readable: NDArray[np.bool_], column: int
) -> tuple[float, ...]:
    """One step in the order of Decoded's fields."""
    token, prob = float(ids[column]), float(probs[column])
    if state.read is None or not readable.any():
        return token, float(np.log(prob)), token, prob, token
    best = int(np.argmax(np.where(readable, probs, -1.0)))
    mass = probs * readable * (abs(ids - ids[best]) <= state.window)
    return token, float(np.log(prob)), float(ids[best]), float(mass.sum()), float((mass * ids).sum() / mass.sum())


def fault(grammar: Grammar, vocab: Vocabulary) -> str:
    """What the engine could not work with, which `Grammar` itself cannot see; empty when all is well."""
    for number, state in enumerate(grammar.states):
        ids, _, _ = _table(state)
        if ids.min() < 0 or ids.max() >= len(vocab):
            return f"state {number} allows ids outside the vocabulary of {len(vocab)}: {state.allowed().ranges}"
        if len(np.unique(ids)) < len(ids):
            return f"two arcs of state {number} share an id: {[some.ranges for some, _ in state.arcs]}"
    return ""


def refusal(grammar: Grammar, tokens: Sequence[int], vocab: Vocabulary) -> str:
    """Why an answer of these `tokens`, then `<eos>`, cannot be drawn under `grammar`; empty when it can.

    An answer that the grammar itself ends, by its last arc or by `max_tokens`, needs no `<eos>`.
    """
    state = 0
    for position, token in enumerate([*tokens, vocab.eos]):
        done = state == END or position == grammar.max_tokens
        if done and position == len(tokens):
            return ""
        where = f"token {position}, '{vocab.render([token])}'"
        if done:
            return f"ends before {where}" if state == END else f"has at most {position} tokens, ends before {where}"
        ids, following, _ = _choices(grammar.states[state], tokens[:position])
        found = np.flatnonzero(ids == token)
        if not len(found):
            before = vocab.render(tokens[max(0, position - 8) : position])
            return f"state {state} does not allow {where} after '{before}'"
        state = int(following[found[0]])
    return "" if state == END else f"goes on after '{vocab.render([vocab.eos])}', to state {state}"
