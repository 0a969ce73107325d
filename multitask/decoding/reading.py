"""What is told of tokens that were drawn: of many steps at once, after they were drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from .grammar_table import Slice, Told


class Step(NamedTuple):
    """One step of R rows: what they drew from, and which column they drew."""

    view: Slice
    row: Tensor | None  # (R,) of the tables of `view`; None: it has one
    logits: Tensor  # (R, K), -inf where not allowed
    column: Tensor  # (R,)


class Reading(NamedTuple):
    """Told of each draw (n,), float64."""

    token: Tensor
    logprob: Tensor  # among the allowed tokens
    best: Tensor  # the most probable id of the read set, where the state has one; else the token
    best_prob: Tensor  # of the window about it; else of the token
    expected: Tensor  # mean id of that window; else the token
    counted: Tensor  # 1 where the stop rule looks at this state
    met: Tensor  # 1 where its tokens were more probable than the threshold
    ended: Tensor  # 1 where the grammar ends here


def read_steps(steps: Sequence[Step]) -> Tensor:
    """All that `Reading` tells of n steps of R rows (n, R, 8) float64, together where the tables are the same."""
    kinds: dict[Told, list[int]] = {}
    for place, step in enumerate(steps):
        kinds.setdefault(step.view.told, []).append(place)
    values = torch.cat([_read(told, [steps[place] for place in places]) for told, places in kinds.items()])
    order = [place for places in kinds.values() for place in places]
    return values[[order.index(place) for place in range(len(steps))]]


def _read(told: Told, steps: Sequence[Step]) -> Tensor:
    """(n, R, 8) of steps of which the same is told."""
    column = torch.cat([step.column for step in steps])
    rows = [step.row for step in steps if step.row is not None]
    row = torch.cat(rows) if rows else slice(None)  # one for all
    reading = _reading(told, row, torch.cat([step.logits for step in steps]).log_softmax(dim=1), column)
    return torch.stack([values.double() for values in reading], dim=1).view(len(steps), -1, len(Reading._fields))


def _reading(told: Told, row: Tensor | slice, logprobs: Tensor, column: Tensor) -> Reading:
    token, logprob = told.ids[column], logprobs.gather(1, column[:, None])[:, 0]
    best, best_prob, expected = token, logprob.exp(), token.double()
    if told.reads:
        has_read = told.has_read[row]
        found = _best(told, row, logprobs)
        best, best_prob, expected = (
            torch.where(has_read, there, else_) for there, else_ in zip(found, (best, best_prob, expected), strict=True)
        )
    counted = met = torch.zeros_like(logprob)
    if told.stops:
        stop = told.stop[row]
        counted = stop.any(dim=1).expand(len(column))
        met = (logprobs.exp() * stop).sum(dim=1) > told.threshold[row]
    ended = told.ends[0, column] if isinstance(row, slice) else told.ends[row, column]
    return Reading(token, logprob, best, best_prob.clamp(max=1.0), expected, counted, met, ended)


def _best(told: Told, row: Tensor | slice, logprobs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The best id of the read set, the probability of the window about it and its mean id."""
    readable = logprobs.masked_fill(told.unread[row], -torch.inf) if told.skips else logprobs
    highest, column = readable.max(dim=1)
    near = column[:, None] + told.reach  # no id of a window is further off
    inside = (near >= 0) & (near < len(told.ids))
    near = near.clamp(0, len(told.ids) - 1)
    best = told.ids[column]
    distance = told.ids[near] - best[:, None]
    inside &= distance.abs() <= told.window[row]
    mass = (readable.gather(1, near) - highest[:, None]).double().exp() * inside  # relative: it may be small
    total = mass.sum(dim=1)
    return best, highest.exp() * total, best + (mass * distance).sum(dim=1) / total
