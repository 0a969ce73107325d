"""The report of an evaluation: of every task what its metric has to show."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path

from ..data.dataset import Dataset
from ..data.scored import Scored
from ..evaluate import Evaluation
from ..example import Example
from ..figures import Figure, Table
from ..metric import Illustrated, PerCategory
from .report import Section, write_report


def report_evaluation(found: Evaluation, folder: Path) -> Path:
    """Writes it to a folder, see `write_report`; gives the path of the page."""
    data = dict.fromkeys(
        f"{one.dataset.info.name} {one.dataset.split}, {len(one.dataset)} images" for one in found.found
    )
    facts = {"data": "; ".join(data), "made": f"{datetime.now().astimezone():%Y-%m-%d %H:%M %Z}"}
    return write_report(folder, found.title, facts, [_section(one) for one in found.found])


def _section(one: Scored) -> Section:
    return Section(one.label, one.listed, list(_figures(one)), _ById(one.dataset))


def _figures(one: Scored) -> Iterator[Figure]:
    if isinstance(one.metric, Illustrated):
        yield from one.metric.figures()
    if isinstance(one.metric, PerCategory):
        yield _table(one.metric.per_category())


def _table(found: Mapping[str, Mapping[str, float]]) -> Table:
    names = list(next(iter(found.values()), {}))
    rows: list[list[str | float]] = [[category, *(row[name] for name in names)] for category, row in found.items()]
    return Table("Scores by category", ("category", *names), rows)


@dataclass(frozen=True)
class _ById:
    """Finds the images of a data set by their ids; raises KeyError where there is none."""

    dataset: Dataset

    def __call__(self, number: int | str) -> Example:
        return self.dataset[self._places[number]]

    @cached_property
    def _places(self) -> dict[int | str, int]:
        return {self.dataset[place].id: place for place in range(len(self.dataset))}
