"""Which checkpoint of a run is the best: the one whose evaluation gave the highest value of a metric."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

from ..checkpoint import mark_best
from ..data.dataset import Dataset
from ..data.scored import scored
from ..errors import UsageError, nearest
from ..evaluate import Scores, flat
from ..runs import METRICS, evaluations
from ..task import Task


def followed(wanted: str, validation: Dataset, tasks: Mapping[str, Task]) -> str:
    """The metric that `best` follows, as "task/metric": the `wanted` one, or the first.

    Raises UsageError, before hours of work, where no task has it.
    """
    empty = {
        share.labels[name]: metric.compute()
        for share in scored(validation, tasks)
        for name, metric in share.metrics().items()
    }
    known = flat(empty)
    if wanted and wanted not in known:
        raise UsageError(f"train.best: there is no metric '{wanted}'{nearest(wanted, known)}")
    return wanted or next(iter(known))


class Best:
    """The values of the metric that `best` follows, by step, as the log of the run has them."""

    def __init__(self, folder: Path, metric: str, keep: int) -> None:
        self.folder, self.metric, self.keep = folder, metric, keep
        self.values = {step: self._value(scores) for step, scores in evaluations(folder / METRICS).items()}

    def judge(self, step: int, scores: Mapping[str, float], checkpoint: Path) -> None:
        """Turn `best` to the checkpoint of this step where nothing before was better."""
        value = self._value(scores)
        if value > max(self.values.values(), default=-math.inf) or not self.values:
            mark_best(checkpoint, self.keep)
        self.values[step] = value

    def scored(self, step: int) -> Scores:
        """What the run has scored at this step, its last; empty where it has not."""
        if step not in self.values:
            return {}
        try:
            found = json.loads((self.folder / "scores.json").read_bytes())
            return {task: {name: _number(value) for name, value in of.items()} for task, of in found.items()}
        except (OSError, ValueError, AttributeError):
            return {}

    def _value(self, scores: Mapping[str, float | None]) -> float:
        """What is no number is worse than any."""
        value = scores.get(self.metric)
        return value if isinstance(value, int | float) and not math.isnan(value) else -math.inf


def _number(value: object) -> float:
    """As it was before null stood for what is no number."""
    return float(value) if isinstance(value, int | float) else math.nan
