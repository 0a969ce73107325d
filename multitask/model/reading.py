"""What is told of tokens that were drawn: of many steps at once, after they were drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ..sequence.grammar import END
from .grammar_table import Slice


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
    """All that `Reading` tells of n steps of R rows (n, R, 8) float64. Steps with the same view are read together."""
    views = {id(step.view): step.view for step in steps}
    told: list[Tensor] = [steps[0].logits] * len(steps)
    for key, view in views.items():
        places = [place for place, step in enumerate(steps) if id(step.view) == key]
        for place, values in zip(places, _read(view, [steps[place] for place in places]), strict=True):
            told[place] = values
    return torch.stack(told)


def _read(view: Slice, steps: Sequence[Step]) -> Tensor:
    """(n, R, 8) of steps that share their view."""
    column = torch.cat([step.column for step in steps])
    rows = [step.row for step in steps if step.row is not None]
    row = torch.cat(rows) if rows else torch.zeros_like(column)
    logprobs = torch.cat([step.logits for step in steps]).log_softmax(dim=1)
    reading = _reading(view, row, logprobs, column)
    return torch.stack([values.double() for values in reading], dim=1).view(len(steps), -1, len(Reading._fields))


def _reading(view: Slice, row: Tensor, logprobs: Tensor, column: Tensor) -> Reading:
    token = view.ids[column]
    logprob = logprobs.gather(1, column[:, None])[:, 0]
    best, best_prob, expected = _best(view, row, logprobs)
    reads = view.has_read[row]
    stop = view.stop[row]
    return Reading(
        token,
        logprob,
        torch.where(reads, best, token),
        torch.where(reads, best_prob, logprob.exp()).clamp(max=1.0),
        torch.where(reads, expected, token.double()),
        stop.any(dim=1),
        (logprobs.exp() * stop).sum(dim=1) > view.threshold[row],
        view.following[row, column] == END,
    )


def _best(view: Slice, row: Tensor, logprobs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The best id of the read set, the probability of the window about it and its mean id."""
    readable = logprobs.masked_fill(~view.read[row], -torch.inf)
    best_logprob, best_column = readable.max(dim=1)
    best = view.ids[best_column]
    distance = view.ids - best[:, None]
    near = distance.abs() <= view.window[row][:, None]
    mass = (readable - best_logprob[:, None]).double().exp() * near  # relative: the sum may be as small as it likes
    total = mass.sum(dim=1)
    return best, best_logprob.exp() * total, best + (mass * distance).sum(dim=1) / total
