"""Which tasks look at the same images, and at the same views of them."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from ..task import Task
from .dataset import Dataset
from .joined import annotated, weights

SAMPLE, ENOUGH = 500, 0.25  # images tried, and the share of them that must have something to look at

Look = tuple[Task, ...]  # tasks that share a batch of views: all of whole images varied alike, or one with own views


@dataclass(frozen=True)
class Group:
    """Looks at the same images, whose positions in the data set are `positions`; each image is read once for all."""

    looks: tuple[Look, ...]
    positions: NDArray[np.int64]
    weights: NDArray[np.float64]  # how often each of them is shown in an epoch

    def __len__(self) -> int:
        """Images shown in an epoch."""
        return max(1, round(float(self.weights.sum())))

    def epoch(self, seed: int, number: int) -> NDArray[np.int64]:
        """Positions in the order of an epoch: each as often as its weight says, a fraction by lot."""
        rng = np.random.default_rng([seed, zlib.crc32(self.name.encode()), number])
        whole = np.floor(self.weights).astype(np.int64)
        always, part = np.repeat(self.positions, whole), self.weights - whole
        if (missing := len(self) - len(always)) <= 0:
            return rng.permutation(always)
        by_lot = rng.choice(self.positions, missing, replace=False, p=part / part.sum())
        return rng.permutation(np.concatenate([always, by_lot]))

    @property
    def name(self) -> str:
        return "+".join(task.name for look in self.looks for task in look)


class Turns:
    """By lot, whose turn it is at each step: item `step` is (number of the group, turns that it had before).

    A group's chance is its share of the images shown in an epoch of all. More `steps` leave the first ones as they are.
    """

    def __init__(self, groups: Sequence[Group], seed: int, steps: int) -> None:
        shares = np.cumsum([len(group) for group in groups])
        lots = np.random.default_rng([seed, zlib.crc32(b"turns")]).random(steps)
        self.groups = np.searchsorted(shares / shares[-1], lots, side="right")
        self.earlier = np.zeros(steps, dtype=np.int64)
        for number in range(len(groups)):
            own = np.flatnonzero(self.groups == number)
            self.earlier[own] = np.arange(len(own))

    def __getitem__(self, step: int) -> tuple[int, int]:
        return int(self.groups[step]), int(self.earlier[step])


def group_tasks(tasks: Iterable[Task], dataset: Dataset) -> list[Group]:
    """Which tasks share images, and which of these share views. Raises DataError when no image fits a task."""
    shared: dict[bytes, dict[object, list[Task]]] = {}
    for task in tasks:
        key = task.augment if task.whole_image else task.name
        shared.setdefault(_annotated(task, dataset).tobytes(), {}).setdefault(key, []).append(task)
    groups = [
        _group(tuple(map(tuple, looks.values())), np.frombuffer(positions, dtype=np.int64), dataset)
        for positions, looks in shared.items()
    ]
    return [_worth_reading(group, dataset) for group in groups]


def _group(looks: tuple[Look, ...], positions: NDArray[np.int64], dataset: Dataset) -> Group:
    """Weights count beside each other: where all are the same, each image is shown once in an epoch."""
    each = weights(dataset, positions)
    return Group(looks, positions, np.ones(len(positions)) if (each == each[0]).all() else each)


def _annotated(task: Task, dataset: Dataset) -> NDArray[np.int64]:
    found = annotated(dataset, task)
    if not len(found):
        raise _nothing_for([task], dataset)
    return found


def _worth_reading(group: Group, dataset: Dataset) -> Group:
    """Where tasks look at parts of images alone, and few images have any, the others are left out."""
    tasks = [task for look in group.looks for task in look]
    if any(task.whole_image for task in tasks):
        return group

    def seen(positions: NDArray[np.int64]) -> list[bool]:
        return [any(task.views(dataset[int(i)].annotations) for task in tasks) for i in positions]

    every = len(group.positions) // SAMPLE
    if every > 1 and np.mean(seen(group.positions[::every])) >= ENOUGH:
        return group  # to look through all would take minutes where scenes are drawn on the fly
    fitting = group.positions[seen(group.positions)]
    if not len(fitting):
        raise _nothing_for(tasks, dataset)
    return _group(group.looks, fitting, dataset)


def _nothing_for(tasks: Sequence[Task], dataset: Dataset) -> DataError:
    wanted = " and ".join(dict.fromkeys(kind for task in tasks for kind in task.kinds))
    names = " and ".join(f"'{task.name}'" for task in tasks)
    return DataError(f"{dataset.info.name}: no image is annotated with {wanted}, which task {names} learns from")
