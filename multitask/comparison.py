"""Whether one model is better than another, or was lucky with the images: paired bootstrap over images."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from .data.scored import Scored
from .errors import UsageError
from .metric import Resampled, Resampler

SAMPLES = 1000  # sets of images drawn
CONFIDENCE = 0.95

log = logging.getLogger(__name__)
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Difference:
    """One number of two models, and between what B - A lies; nan where there is nothing to score or to draw."""

    task: str
    metric: str
    a: float
    b: float
    low: float = math.nan
    high: float = math.nan

    @property
    def difference(self) -> float:
        return self.b - self.a

    @property
    def verdict(self) -> str:
        """What the interval allows to say, in words."""
        if math.isnan(self.low):
            return "no interval"
        if self.low == self.high == 0:
            return "equal"
        return "B is higher" if self.low > 0 else "A is higher" if self.high < 0 else "may be chance"


def compare(a: Sequence[Scored], b: Sequence[Scored], samples: int = SAMPLES, seed: int = 0) -> Iterator[Difference]:
    """Every number that both have, of the tasks that both were scored on. Raises UsageError where there is none."""
    others = {one.label: one for one in b}
    names, theirs = ([one.label for one in side] for side in (a, b))
    if not set(names) & set(theirs):
        raise UsageError(f"no task that both were scored on: A on {', '.join(names)}, B on {', '.join(theirs)}")
    if alone := sorted(set(names) ^ set(theirs)):
        log.warning("only one of the two was scored on %s: left out", ", ".join(alone))
    for one in a:
        other = others.get(one.label)
        if other and isinstance(one.metric, Resampled) and isinstance(other.metric, Resampled):
            yield from differences(one.label, one.metric.resampler(), other.metric.resampler(), samples, seed)
        elif other:
            names = [name for name in one.numbers if name in other.numbers]
            yield from (Difference(one.label, name, one.numbers[name], other.numbers[name]) for name in names)


def differences(task: str, a: Resampler, b: Resampler, samples: int = SAMPLES, seed: int = 0) -> Iterator[Difference]:
    """With percentile intervals of B - A over sets of images drawn with replacement, the same sets for both.

    Images that only one of them has answered about are left out. (Efron and Tibshirani, An Introduction to the
    Bootstrap, 1993, chapter 13.)
    """
    known = set(a.ids) & set(b.ids)
    if lost := len(a.ids) + len(b.ids) - 2 * len(known):
        log.warning("%s: %d images that only one of the two has answered about are left out", task, lost)
    common = [i for i in a.ids if i in known]
    pair = [_Paired(resampler, common) for resampler in (a, b)]
    values = [one.scores(np.ones(len(common), dtype=np.int64)) for one in pair]
    rng = np.random.default_rng(seed)
    draws: dict[str, list[float]] = {name: [] for name in values[0] if name in values[1]}
    for _ in range(samples if len(common) > 1 else 0):
        counts = np.bincount(rng.integers(len(common), size=len(common)), minlength=len(common))
        drawn = [one.scores(counts) for one in pair]
        for name, found in draws.items():
            found.append(drawn[1][name] - drawn[0][name])
    for name, found in draws.items():
        yield Difference(task, name, values[0][name], values[1][name], *_interval(np.array(found), len(common)))


class _Paired:
    """A resampler for some of its images, in an order of one's own."""

    def __init__(self, resampler: Resampler, ids: Sequence[int | str]) -> None:
        rows = {i: row for row, i in enumerate(resampler.ids)}
        self.resampler, self.rows = resampler, np.array([rows[i] for i in ids], dtype=np.int64)

    def scores(self, counts: NDArray[np.int64]) -> dict[str, float]:
        """As `Resampler`; `counts` are of those images."""
        every = np.zeros(len(self.resampler.ids), dtype=np.int64)
        every[self.rows] = counts
        return dict(self.resampler.scores(every))


def _interval(draws: Floats, images: int) -> tuple[float, float]:
    """Percentiles of the draws; none where most are nan."""
    draws, asked = draws[~np.isnan(draws)], len(draws)
    if not asked or len(draws) < asked / 2:
        return math.nan, math.nan
    tail = _tail(images)
    low, high = np.quantile(draws, [tail, 1 - tail]).tolist()
    return low, high


def _tail(images: int) -> float:
    """The share of draws left out at each end: less than (1 - CONFIDENCE) / 2, since draws from few images vary less
    than images do (Hesterberg, arXiv 1411.5279, "expanded percentile": as a t distribution is wider than a normal one).

    The t quantile by its expansion, Abramowitz and Stegun 26.7.5.
    """
    normal, freedom = NormalDist(), images - 1
    z = normal.inv_cdf((1 + CONFIDENCE) / 2)
    t = z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
    return normal.cdf(-math.sqrt(images / freedom) * t)
