"""Several data sets as one, each with its own tasks and weight; categories of the same name are one."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from ..example import Example
from ..skeleton import Skeleton
from ..task import Category, DatasetInfo, Task
from .dataset import Dataset
from .faults import Fault


@dataclass(frozen=True)
class Part:
    """One data set of a run."""

    dataset: Dataset
    tasks: frozenset[str] | None = None  # that learn from it and are scored on it; None: all it is annotated for
    weight: float = 1.0  # how often each of its images is shown in an epoch
    posed: bool = True  # whether some of its tasks learns keypoints
    name: str = ""  # empty: that of the data set

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", self.name or self.dataset.info.name)

    def positions(self, task: Task) -> NDArray[np.int64]:
        """Images that the task learns from and is scored on."""
        if self.tasks is not None and task.name not in self.tasks:
            return np.zeros(0, dtype=np.int64)
        wanted = set(task.kinds)
        found = [i for i in range(len(self.dataset)) if wanted <= self.dataset.kinds(i)]
        return np.array(found, dtype=np.int64)


class JoinedDataset:
    """The images of all parts, one part after the other."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self.parts = tuple(_told_apart(parts))
        self.ends = list(accumulate(len(part.dataset) for part in parts))
        self.split = "+".join(dict.fromkeys(part.dataset.split for part in parts))
        self.info = _merged(self.parts)

    @property
    def faults(self) -> Sequence[Fault]:
        return [fault for part in self.parts for fault in part.dataset.faults]

    @property
    def entries(self) -> int:
        return sum(part.dataset.entries for part in self.parts)

    def __len__(self) -> int:
        return self.ends[-1]

    def _find(self, i: int) -> tuple[Dataset, int]:
        i = range(len(self))[i]
        number = bisect_right(self.ends, i)
        dataset = self.parts[number].dataset
        return dataset, i - (self.ends[number] - len(dataset))

    def __getitem__(self, i: int) -> Example:
        dataset, within = self._find(i)
        return dataset[within]

    def kinds(self, i: int) -> frozenset[str]:
        dataset, within = self._find(i)
        return dataset.kinds(within)


def _told_apart(parts: Sequence[Part]) -> Iterator[Part]:
    """Folders of the same name are numbered."""
    seen: Counter[str] = Counter()
    for part in parts:
        seen[part.dataset.info.name] += 1
        number = seen[part.dataset.info.name]
        yield part if number == 1 else replace(part, name=f"{part.name}-{number}")


def parts_of(dataset: Dataset) -> tuple[Part, ...]:
    """The data sets that it is made of; itself alone where it is not joined."""
    return dataset.parts if isinstance(dataset, JoinedDataset) else (Part(dataset),)


def annotated(dataset: Dataset, task: Task) -> NDArray[np.int64]:
    """Positions of the images that a task learns from and is scored on."""
    parts = parts_of(dataset)
    begins = accumulate((len(part.dataset) for part in parts), initial=0)
    return np.concatenate([begin + part.positions(task) for begin, part in zip(begins, parts, strict=False)])


def weights(dataset: Dataset, positions: NDArray[np.int64]) -> NDArray[np.float64]:
    """How often each of the images is shown in an epoch."""
    each = [np.full(len(part.dataset), part.weight) for part in parts_of(dataset)]
    found: NDArray[np.float64] = np.concatenate(each)[positions]
    return found


def merge_report(dataset: Dataset) -> Iterator[str]:
    """What of several data sets became one, with the ids it has in each, in lines for a person."""
    parts = parts_of(dataset)
    if len(parts) == 1:
        return
    found: dict[str, list[str]] = {category.name: [] for category in dataset.info.categories}
    for part in parts:
        for category in part.dataset.info.categories:
            found[category.name].append(f"{part.name} ({category.id})")
    for name, places in found.items():
        if len(places) > 1:
            yield f"one category '{name}' of {', '.join(places)}"
    yield f"{len(found)} categories in {len(parts)} data sets: {', '.join(part.name for part in parts)}"


def _merged(parts: Sequence[Part]) -> DatasetInfo:
    """Categories by name in the order of appearance, numbered from 1; the ids of each data set stay its own."""
    if len(parts) == 1:
        return parts[0].dataset.info
    names = dict.fromkeys(category.name for part in parts for category in part.dataset.info.categories)
    categories = tuple(Category(number, name) for number, name in enumerate(names, 1))
    return DatasetInfo("+".join(part.name for part in parts), categories, _common_skeleton(parts))


def _common_skeleton(parts: Sequence[Part]) -> Skeleton:
    posed = [part.dataset.info for part in parts if part.posed and len(part.dataset.info.skeleton)]
    for info in posed[1:]:
        if info.skeleton.names != posed[0].skeleton.names:
            raise DataError(
                f"{posed[0].name} and {info.name} have different keypoints, and a model has one set of them: "
                "limit one of them to other tasks with data.tasks"
            )
    categories = dict.fromkeys(name for info in posed for name in info.skeleton.categories)
    return posed[0].skeleton.model_copy(update={"categories": tuple(categories)}) if posed else Skeleton()
