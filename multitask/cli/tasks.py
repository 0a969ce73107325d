"""`mtp tasks`."""

from __future__ import annotations

from typing import Annotated

import typer

from .. import plugins
from ..errors import MtpError
from .console import table

Check = Annotated[bool, typer.Option("--check", help="Import each task: its description, or why it fails.")]


def tasks(check: Check = False) -> None:
    """List the installed tasks. Nothing is imported without --check."""
    rows = [[p.name, ", ".join(p.names[1:]), p.distribution, p.version] for p in plugins.installed()]
    columns = ["name", "aliases", "distribution", "version"]
    if not check:
        table("", columns, rows)
        return
    results = [_description(row[0]) for row in rows]
    table("", [*columns, "description"], [[*row, words] for row, (words, _) in zip(rows, results, strict=True)])
    if not all(fine for _, fine in results):
        raise typer.Exit(1)


def _description(name: str) -> tuple[str, bool]:
    try:
        task = plugins.load(name)()
    except MtpError as error:
        return f"FAILED: {error}", False
    except Exception as error:  # a plugin may fail in any way, and must not take the others with it
        return f"FAILED: {type(error).__name__}: {error}", False
    return task.prompt.description or (type(task).__doc__ or "").strip().partition("\n")[0], True


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("tasks")(tasks)
