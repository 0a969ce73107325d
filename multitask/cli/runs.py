"""`mtp runs`."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .console import errors, printable, table

if TYPE_CHECKING:
    from ..runs import Summary

Folder = Annotated[Path, typer.Argument(help="Folder that holds runs, or a run.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON to standard output in place of a table.")]
COLUMNS = ("run", "tasks", "step", "best", "last scores", "state", "changed")


def runs(folder: Folder = Path("runs"), json_: Json = False) -> None:
    """List training runs with their scores, the newest last."""
    from ..runs import summaries

    found = summaries(folder)
    if json_:
        typer.echo(json.dumps([_record(run) for run in found], indent=1))
        return
    table("", COLUMNS, [_row(run) for run in found])
    for run in found:
        if run.fault:
            errors.print(f"damaged: {printable(run.fault)}", soft_wrap=True)


def _record(run: Summary) -> dict[str, object]:
    return {
        **asdict(run),
        "folder": str(run.folder),
        "state": run.state,
        "changed": _date(run).isoformat(" ", "seconds"),
    }


def _row(run: Summary) -> list[object]:
    best = f"{run.metric} {_short(run.best)}" if run.metric else ""
    firsts = {name.partition("/")[0]: f"{name} {_short(value)}" for name, value in reversed(run.scores.items())}
    step = f"{run.step}/{'?' if run.steps is None else run.steps}"
    scores = ", ".join(reversed(firsts.values()))
    return [run.folder.name, ", ".join(run.tasks), step, best, scores, run.state, f"{_date(run):%m-%d %H:%M}"]


def _short(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _date(run: Summary) -> datetime:
    return datetime.fromtimestamp(run.changed).astimezone()


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("runs")(runs)
