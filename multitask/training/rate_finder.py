"""Which learning rate fits: one after another is tried, from far too low to far too high (Smith, arXiv 1506.01186)."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ..data.mixture import Batch
from .trainer import Trainer

SMOOTHING = 0.9  # of the losses
DIVERGED = 4.0  # times the lowest smoothed loss: higher rates need not be tried
LEAST_FALL = 0.9  # of the first loss: where the lowest smoothed one is above that, nothing was learnt


@dataclass(frozen=True)
class RateCurve:
    """Smoothed losses, weighed over all tasks, at growing learning rates; the rate to train with, if one shows."""

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    suggested: float | None

    def table(self) -> str:
        """As CSV."""
        text = io.StringIO()
        rows = zip(self.rates, self.losses, strict=True)
        csv.writer(text, lineterminator="\n").writerows([("rate", "loss"), *rows])
        return text.getvalue()


def find_rate(
    trainer: Trainer,
    loader: Iterable[Sequence[Sequence[Batch]]],
    lowest: float = 1e-6,
    highest: float = 1.0,
    steps: int = 100,
) -> RateCurve:
    """Train for up to `steps` updates at rates that grow by the same factor each time. The weights are spent then.

    Ends where a loss is not finite, or the smoothed one has risen far above its lowest. All processes of a run must
    call it together.
    """
    factor = (highest / lowest) ** (1 / max(1, steps - 1))
    rates: list[float] = []
    losses: list[float] = []
    average = 0.0
    for number, parts in zip(range(steps), loader, strict=False):
        rate = lowest * factor**number
        loss = _update(trainer, parts, rate)
        if not math.isfinite(loss):
            break
        average = SMOOTHING * average + (1 - SMOOTHING) * loss
        rates.append(rate)
        losses.append(average / (1 - SMOOTHING ** (number + 1)))  # as if there had been losses before the first
        if losses[-1] > DIVERGED * min(losses):
            break
    return RateCurve(tuple(rates), tuple(losses), suggestion(rates, losses))


def _update(trainer: Trainer, parts: Sequence[Sequence[Batch]], rate: float) -> float:
    """The loss of all tasks and processes; not finite where the update was skipped."""
    losses = trainer.update(*parts, rate=rate)
    own = sum(trainer.weight(name) * float(loss) for name, loss in losses.items())
    return math.nan if trainer.bad else float(trainer.processes.table([own]).sum())


def suggestion(rates: Sequence[float], losses: Sequence[float]) -> float | None:
    """The rate at which the smoothed loss falls fastest, by the logarithm of the rate; None where it falls by little.

    Rates are those of `find_rate`. What is past the lowest loss does not count: there, noise alone makes it fall.
    """
    if not losses or min(losses) > LEAST_FALL * losses[0]:
        return None
    slopes = np.gradient(losses[: int(np.argmin(losses)) + 1])
    return rates[int(np.argmin(slopes))]
