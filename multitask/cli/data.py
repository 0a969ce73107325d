"""`mtp data`: look at data sets, find what is wrong with them, write them anew."""

from __future__ import annotations

import typer

from . import data_check, data_convert, data_show, data_stats

group = typer.Typer(
    name="data", help="Look at data sets, find what is wrong with them, write them anew.", no_args_is_help=True
)
for command in (data_check, data_stats, data_show, data_convert):
    command.register(group)


def register(app: typer.Typer) -> None:
    """Add the group."""
    app.add_typer(group)
