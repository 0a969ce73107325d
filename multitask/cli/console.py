"""Where the commands write: tables to standard output, everything else to standard error."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Iterable, Mapping, Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

output = Console(highlight=False, emoji=False)
errors = Console(stderr=True, highlight=False, emoji=False)


def printable(text: object) -> str:
    """Text from outside without control characters and markup, so that a name cannot steer the terminal."""
    return escape("".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in str(text)))


def speaks() -> bool:
    """Whether this process is the only one of its run, or the first."""
    return os.environ.get("RANK", "0") == "0" or "TORCHELASTIC_RUN_ID" not in os.environ


def say_error(message: str) -> None:
    """One line on standard error, with the number of the process where it is one of several."""
    who = "error" if speaks() else f"error in process {os.environ['RANK']}"
    say(f"{who}: {message}")


def say(message: str) -> None:
    """One line on standard error."""
    errors.print(printable(" ".join(message.split())), soft_wrap=True)


class LogLines(logging.Handler):
    """Log records on standard error, one line each."""

    def emit(self, record: logging.LogRecord) -> None:
        line = " ".join(self.format(record).split("\n"))
        errors.print(f"{record.levelname.lower()}: {printable(line)}", soft_wrap=True)


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table below its title, which is not cut to the width of the table; numbers stand to the right."""
    rows = [list(row) for row in rows]
    if title:
        output.print(printable(title), style="italic", soft_wrap=True)
    sheet = Table()
    for number, column in enumerate(columns):
        numeric = bool(rows) and all(isinstance(row[number], int | float) for row in rows)
        sheet.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        sheet.add_row(*(_cell(value) for value in row))
    output.print(sheet)


def _cell(value: object) -> str:
    if isinstance(value, float):
        return "–" if math.isnan(value) else f"{value:.3f}"
    return printable(value)


def score_table(title: str, scores: Mapping[str, Mapping[str, float]]) -> None:
    """Scores by task and metric; a dash where there was nothing to score."""
    table(
        title, ("task", "metric", "value"), [(t, m, float(v)) for t, found in scores.items() for m, v in found.items()]
    )
