"""What `mtp eval` prints of what it has found: tables, or JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import typer

from .console import output, printable, table

if TYPE_CHECKING:
    from ..comparison import Difference
    from ..evaluate import Evaluation

NOT_AVAILABLE = "not available"
COLUMNS = 6  # of numbers by category; JSON has all


def print_tables(evaluations: Sequence[Evaluation], per_category: bool) -> None:
    """One of the scores, and one a task of its categories where that is asked for."""
    for evaluation in evaluations:
        rows = [
            (one.label, name, NOT_AVAILABLE if value is None else value)
            for one in evaluation.found
            for name, value in one.listed.items()
        ]
        table(evaluation.title, ("task", "metric", "value"), rows)
        for label, found in _categories(evaluation).items() if per_category else ():
            _category_table(label, found)


def _category_table(label: str, found: Mapping[str, Mapping[str, float]]) -> None:
    """The first numbers, as many as fit beside a name, of the categories that have some."""
    kept = {category: numbers for category, numbers in found.items() if not all(map(math.isnan, numbers.values()))}
    names = list(next(iter(kept.values()), {}))[:COLUMNS]
    rows = [(category, *(numbers[name] for name in names)) for category, numbers in kept.items()]
    lost = len(found) - len(kept)
    without = f"; {lost} categories have nothing to score" if lost else ""
    table(f"{label} by category{without}", ("category", *names), rows)


def print_json(evaluations: Sequence[Evaluation], per_category: bool) -> None:
    """An object by title, task and metric; null where there was nothing to score, or the number is not to be had."""
    found = {}
    for evaluation in evaluations:
        scores: dict[str, dict[str, Any]] = {one.label: dict(one.listed) for one in evaluation.found}
        for label, categories in _categories(evaluation).items() if per_category else ():
            scores[label]["per category"] = categories
        found[evaluation.title] = scores
    _echo(found)


def print_differences(titles: Sequence[str], found: Sequence[Difference], as_json: bool) -> None:
    """What two models differ by."""
    if as_json:
        tasks: dict[str, Any] = {}
        for one in found:
            values = {"a": one.a, "b": one.b, "difference": one.difference, "low": one.low, "high": one.high}
            tasks.setdefault(one.task, {})[one.metric] = values
        return _echo({"a": titles[0], "b": titles[1], "differences": tasks})
    rows = [(o.task, o.metric, o.a, o.b, _signed(o.difference), _interval(o), o.verdict) for o in found]
    output.print(*(f"{letter}: {printable(title)}" for letter, title in zip("AB", titles, strict=True)), sep="\n")
    return table("", ("task", "metric", "A", "B", "B - A", "95 % interval", ""), rows)


def _categories(evaluation: Evaluation) -> dict[str, dict[str, dict[str, float]]]:
    from ..metric import PerCategory  # numpy comes with it

    metrics = {one.label: one.metric for one in evaluation.found}
    return {label: m.per_category() for label, m in metrics.items() if isinstance(m, PerCategory)}


def _echo(value: Any) -> None:
    from ..evaluate import as_json

    typer.echo(json.dumps(as_json(value), indent=1))


def _interval(one: Difference) -> str:
    return "–" if math.isnan(one.low) else f"{_signed(one.low)} to {_signed(one.high)}"


def _signed(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:+.3f}"
