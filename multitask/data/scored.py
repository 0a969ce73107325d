"""What is scored on which data set: every task on all that are annotated for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..errors import DataError
from ..example import Example
from ..metric import Incomplete
from ..task import Metric, Task
from .dataset import Dataset
from .joined import parts_of


@dataclass(frozen=True)
class Scored:
    """What a task has answered about a data set, and the truth."""

    label: str  # the task's name, or `task@data` where it is scored on several data sets
    dataset: Dataset
    metric: Metric

    @cached_property
    def numbers(self) -> dict[str, float]:
        """By name; the first matters most."""
        return self.metric.compute()

    @property
    def listed(self) -> dict[str, float | None]:
        """The numbers, and None for those that people look for and that are not to be had."""
        lacking = self.metric.unavailable if isinstance(self.metric, Incomplete) else ()
        return {**self.numbers, **dict.fromkeys(lacking)}


@dataclass(frozen=True)
class Share:
    """The tasks that one data set scores, and on which of its images."""

    dataset: Dataset
    tasks: dict[str, Task]
    labels: dict[str, str]  # what the scores of each task are called
    positions: list[int]  # images that some of the tasks can be scored on

    def metrics(self) -> dict[str, Metric]:
        return {name: task.metric(self.dataset.info) for name, task in self.tasks.items()}

    def measured(self, metrics: Mapping[str, Metric]) -> list[Scored]:
        """Those metrics, by task, once they have collected all answers."""
        return [Scored(self.labels[name], self.dataset, metric) for name, metric in metrics.items()]

    def asked(self, example: Example) -> dict[str, Task]:
        """The tasks that this image is annotated for."""
        return {name: task for name, task in self.tasks.items() if set(task.kinds) <= set(example.annotations)}


def scored(dataset: Dataset, tasks: Mapping[str, Task]) -> list[Share]:
    """The shares of all data sets. Raises DataError when no image is annotated for any of the tasks."""
    found = []
    for part in parts_of(dataset):
        positions = {name: part.positions(task) for name, task in tasks.items()}
        found.append((part, {name: where for name, where in positions.items() if len(where)}))
    times = Counter(name for _, positions in found for name in positions)
    if not times:
        raise DataError(f"{dataset.info.name}: no image is annotated for {', '.join(tasks)}")
    shares = []
    for part, positions in found:
        labels = {name: name if times[name] == 1 else f"{name}@{part.name}" for name in positions}
        union = np.unique(np.concatenate(list(positions.values()))).tolist() if positions else []
        shares.append(Share(part.dataset, {name: tasks[name] for name in positions}, labels, union))
    return [share for share in shares if share.positions]
