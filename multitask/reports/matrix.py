"""A matrix of counts: every cell coloured by its share of its row; of many names those with most errors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..figures import Matrix, Table
from .words import SMALL, TEXT, clipped

if TYPE_CHECKING:
    from ..charting import Artist, Axes

MOST_NAMES = 24  # rows and columns
MOST_COUNTED = 12  # columns, up to which the counts are written into the cells
MOST_UPRIGHT = 3  # columns, up to which their names are not turned
MOST_ERRORS = 10  # pairs that are listed
LONGEST_LABEL = 18
CELL, CELLS = 0.6, 5.2  # inches of a cell at most, and of all of a row

Counts = NDArray[np.int64]


class MatrixDrawing:
    """A `charts.Drawing` of a matrix."""

    def __init__(self, chart: Matrix) -> None:
        self.chart, self.keys = chart, list[str]()
        self.empty = not chart.values.any()
        self.rows, self.columns = _shown(chart.values)
        height = 1.6 + len(self.rows) * min(CELL, CELLS / max(1, len(self.columns)))
        self.wide = len(self.columns) > MOST_COUNTED
        self.height = float(np.clip(height, 3.0, 8.0))
        self.words = f"counts of {clipped(chart.column_axis)} by {clipped(chart.row_axis)}"
        every, shown = max(chart.values.shape, default=0), max(len(self.rows), len(self.columns))
        cut = f" Only the {shown} of {every} names with the most errors." if every > shown else ""
        self.remark = "" if self.empty else f"The stronger a cell's colour, the larger its share of its row.{cut}"

    def draw(self, axes: Axes) -> list[Artist]:
        """Has no legend."""
        counts = self.chart.values[np.ix_(self.rows, self.columns)]
        shares = counts / np.maximum(self.chart.values.sum(axis=1), 1)[self.rows, None]
        axes.imshow(np.sqrt(shares), cmap="Blues", vmin=0, vmax=1, aspect="auto")  # the root tells small shares apart
        self._names(axes)
        if not self.wide:
            _write(axes, counts, shares)
        axes.spines[:].set_visible(False)
        axes.set_xlabel(clipped(self.chart.column_axis), fontsize=TEXT, parse_math=False)
        axes.set_ylabel(clipped(self.chart.row_axis), fontsize=TEXT, parse_math=False)
        return []

    def _names(self, axes: Axes) -> None:
        size = SMALL if self.wide else TEXT - 1
        turned: dict[str, Any] = {"rotation": 90} if self.wide else {}
        if MOST_UPRIGHT < len(self.columns) <= MOST_COUNTED:
            turned = {"rotation": 45, "ha": "right", "rotation_mode": "anchor"}
        axes.set_yticks(*_labels(self.chart.rows, self.rows), fontsize=size, parse_math=False)
        axes.set_xticks(*_labels(self.chart.columns, self.columns), fontsize=size, parse_math=False, **turned)
        axes.tick_params(length=0)


def _labels(names: Sequence[str], places: Counts) -> tuple[list[int], list[str]]:
    return list(range(len(places))), [clipped(names[place], LONGEST_LABEL) for place in places]


def _write(axes: Axes, counts: Counts, shares: NDArray[np.float64]) -> None:
    for row, column in np.argwhere(counts > 0).tolist():
        value, ink = int(counts[row, column]), "white" if shares[row, column] > 0.35 else "black"
        words = str(value) if value < 10_000 else f"{value / 1000:.0f}k"
        axes.text(column, row, words, ha="center", va="center", color=ink, fontsize=TEXT - 2)


def _shown(values: Counts) -> tuple[Counts, Counts]:
    """Places of rows and columns, in their order."""
    if max(values.shape) <= MOST_NAMES:
        return np.arange(values.shape[0]), np.arange(values.shape[1])
    down, across = values.sum(axis=1), values.sum(axis=0)
    if values.shape[0] != values.shape[1]:
        return _largest(down), _largest(across)
    chosen = _largest(down + across - 2 * values.diagonal())
    return chosen, chosen


def _largest(sums: Counts) -> Counts:
    return np.sort(np.argsort(-sums, kind="stable")[:MOST_NAMES])


def frequent_errors(chart: Matrix) -> Table:
    """What lies beside the diagonal of a square matrix, the most frequent first."""
    height, width = chart.values.shape
    wrong = np.where(np.eye(height, width), 0, chart.values)
    best = np.argsort(-wrong, axis=None, kind="stable")[:MOST_ERRORS]
    places = np.column_stack(np.unravel_index(best, wrong.shape)).tolist()
    found = [(chart.rows[row], chart.columns[column], int(wrong[row, column])) for row, column in places]
    rows = [row for row in found if height == width and row[2]]
    return Table("The most frequent errors", (chart.row_axis, chart.column_axis, "number"), rows)
