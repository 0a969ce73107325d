"""Which checkpoint of a run is the best: the one whose evaluation gave the highest value of a metric."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from ..checkpoint import mark_best
from ..runs import METRICS, records


class Best:
    """The values of the metric that `best` follows, by step, as the log of the run has them."""

    def __init__(self, folder: Path, metric: str, keep: int) -> None:
        self.metric, self.keep = metric, keep
        log = folder / METRICS
        found = records(log) if log.exists() else ()
        self.values = {r["step"]: self._value(r["scores"]) for r in found if isinstance(r.get("scores"), dict)}

    def judge(self, step: int, scores: Mapping[str, float], checkpoint: Path) -> None:
        """Turn `best` to the checkpoint of this step where nothing before was better."""
        value = self._value(scores)
        if value > max(self.values.values(), default=-math.inf) or not self.values:
            mark_best(checkpoint, self.keep)
        self.values[step] = value

    def _value(self, scores: Mapping[str, float | None]) -> float:
        """What is no number is worse than any."""
        value = scores.get(self.metric)
        return value if isinstance(value, int | float) and not math.isnan(value) else -math.inf
