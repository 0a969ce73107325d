"""Curves of training runs as a page of diagrams; matplotlib is imported when a page is drawn."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .charting import COLOURS, MOST_LINES, blank_figure, plain, png, styles
from .errors import CheckpointError, escaped
from .runs import METRICS, numbers, records

if TYPE_CHECKING:
    from .charting import Axes, Figure

MOST_TASKS = 12
LONGEST_NAME = 60
WIDTH, ROW = 12.0, 2.9  # inches, at 100 dots each


@dataclass
class Series:
    """A quantity by step; nan where it was not finite."""

    steps: array[float] = field(default_factory=lambda: array("d"))
    values: array[float] = field(default_factory=lambda: array("d"))

    def add(self, step: int, value: float | None) -> None:
        self.steps.append(step)
        self.values.append(np.nan if value is None else value)


@dataclass
class Course:
    """What the log of a run tells: series by task, by "task/metric", and by name."""

    name: str
    losses: dict[str, Series] = field(default_factory=dict)
    scores: dict[str, Series] = field(default_factory=dict)
    figures: dict[str, Series] = field(default_factory=dict)

    def add(self, record: Mapping[str, Any]) -> None:
        """A line of the log."""
        groups = {"loss": self.losses, "scores": self.scores}
        for name, group in groups.items():
            values = record.get(name)
            _extend(group, record["step"], values if isinstance(values, dict) else {})
        _extend(self.figures, record["step"], {k: v for k, v in record.items() if k not in (*groups, "step")})

    def of(self, task: str) -> dict[str, Series]:
        """Its scores by metric; those of one of several data sets as `@data metric`."""
        parts = {name: name.partition("/") for name in self.scores}
        return {
            f"{label.removeprefix(task)} {metric}".strip(): self.scores[name]
            for name, (label, _, metric) in parts.items()
            if label.partition("@")[0] == task
        }


def _extend(group: dict[str, Series], step: int, values: Mapping[str, object]) -> None:
    for name, value in numbers(values).items():
        group.setdefault(name, Series()).add(step, value)


def read_course(run: Path) -> Course:
    """Of a run's folder. Raises CheckpointError where its log is missing or has no record."""
    course = Course(str(run))
    for record in records(run / METRICS):
        course.add(record)
    if not course.losses and not course.scores:
        raise CheckpointError(f"{run / METRICS}: nothing to draw: no line has a loss or a score")
    return course


# ------------------------------------------------------------------------------------------------------------ drawing


def page(courses: Sequence[Course]) -> bytes:
    """A PNG, 1200 pixels wide: a row for each task with its loss and its scores, one for learning rate and gradient.

    Of several courses the first metric of each task is drawn. Raises UsageError where matplotlib is not installed.
    """
    tasks = [n.partition("/")[0].partition("@")[0] for c in courses for n in (*c.losses, *c.scores)]
    tasks = list(dict.fromkeys(tasks))[:MOST_TASKS]
    figure = _figure(len(tasks) + 1, courses[0].name if len(courses) == 1 else "")
    axes = iter([figure.add_subplot(len(tasks) + 1, 2, number) for number in range(1, 2 * len(tasks) + 3)])
    for task in tasks:
        _panel(next(axes), f"{task}: loss", {c.name: c.losses.get(task) for c in courses})
        metric, lines = _scores(courses, task)
        _panel(next(axes), f"{task}: {metric}", lines, marker="o")
    for name in ("lr", "gradient_norm"):
        title = {"lr": "learning rate", "gradient_norm": "gradient norm"}[name]
        _panel(next(axes), title, {c.name: c.figures.get(name) for c in courses}, log=name == "gradient_norm")
    return png(figure)


def rate_page(rates: Sequence[float], losses: Sequence[float], suggested: float | None) -> bytes:
    """A PNG of smoothed losses over learning rates. Raises UsageError where matplotlib is not installed."""
    figure = _figure(2, "")
    axes = figure.add_subplot()
    axes.plot(rates, losses, color=COLOURS[0])
    axes.set_xscale("log")
    axes.set_xlabel("learning rate")
    axes.set_ylabel("loss, smoothed")
    if suggested:
        axes.axvline(suggested, color=COLOURS[1], linestyle="--", label=f"suggested: {suggested:.2g}")
        axes.legend(frameon=False)
    _finish(axes, "learning-rate range test")
    return png(figure)


def _scores(courses: Sequence[Course], task: str) -> tuple[str, dict[str, Series | None]]:
    """A title and lines: every metric of one course, the first metric of several."""
    metrics = {course.name: course.of(task) for course in courses}
    if len(courses) == 1:
        return "scores", dict(metrics[courses[0].name])
    first = next((metric for found in metrics.values() for metric in found), "scores")
    return first, {course: found.get(first) for course, found in metrics.items()}


def _panel(
    axes: Axes, title: str, lines: Mapping[str, Series | None], log: bool = False, marker: str | None = None
) -> None:
    known = {name: series for name, series in lines.items() if series and not np.isnan(series.values).all()}
    for (name, series), (colour, dash) in zip(list(known.items())[:MOST_LINES], styles(), strict=False):
        dots = marker or ("o" if len(series.steps) == 1 else None)
        axes.plot(series.steps, series.values, dash, color=colour, marker=dots, markersize=3.5, label=_short(name))
    if not known:
        axes.text(0.5, 0.5, "not in the log", ha="center", color="grey", transform=axes.transAxes)
        axes.set_axis_off()
    if log and any(value > 0 for series in known.values() for value in series.values):
        axes.set_yscale("log")
    if len(lines) > 1 and known:
        axes.legend(fontsize=8, frameon=False, ncols=1 + len(known) // 5)
    axes.set_xlim(left=0)
    axes.set_xlabel("step", fontsize=9)
    _finish(axes, title)


def _finish(axes: Axes, title: str) -> None:
    """Names come from files: none of them is a formula."""
    axes.set_title(_short(title), fontsize=11, loc="left", fontweight="bold", parse_math=False)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="0.9", linewidth=0.8)
    axes.set_axisbelow(True)
    plain(axes.get_legend())


def _short(name: str) -> str:
    name = escaped(name)
    return name if len(name) <= LONGEST_NAME else f"…{name[1 - LONGEST_NAME :]}"


def _figure(rows: int, title: str) -> Figure:
    figure = blank_figure(WIDTH, ROW * rows)
    if title:
        figure.suptitle(_short(title), fontsize=12, parse_math=False)
    return figure
