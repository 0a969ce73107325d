"""`mtp plot`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .console import errors, printable

Runs = Annotated[list[Path], typer.Argument(help="Run folders; the curves of several lie over each other.")]
Out = Annotated[Path | None, typer.Option("--out", help="PNG file; curves.png in the first run if left out.")]


def plot(runs: Runs, out: Out = None) -> None:
    """Draw losses, scores, learning rate and gradient norm of runs as a PNG.

    Needs `pip install 'multitask-prompts[plot]'`.
    """
    from ..curves import page, read_course
    from ..files import write_atomic

    file = out or runs[0] / "curves.png"
    write_atomic(file, page([read_course(run) for run in runs]))
    errors.print(f"wrote {printable(file)}", soft_wrap=True)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("plot", no_args_is_help=True)(plot)
