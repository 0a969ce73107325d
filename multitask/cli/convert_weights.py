"""`mtp convert-weights`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ..errors import UsageError
from .console import errors, output, printable

Source = Annotated[Path, typer.Argument(help="Pickle file that you trust: .pth, .pt, .bin.", metavar="IN")]
Target = Annotated[Path, typer.Argument(help="New file, in .safetensors.", metavar="OUT")]
Key = Annotated[str, typer.Option("--key", help="Entry that holds the weights; found by its usual names if left out.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
Force = Annotated[bool, typer.Option("--force", help="Replace OUT.")]
SHOWN = 10  # names of what is left out


def convert_weights(source: Source, target: Target, key: Key = "", yes: Yes = False, force: Force = False) -> None:
    """Write the weights of a pickle file that you trust as safetensors, the one kind that other commands read.

    It is read by a process of its own, which refuses all but tensors and plain values.
    """
    from .. import convert_weights as conversion

    conversion.refuse(source, target, force)
    if not yes:
        _ask(source)
    found = conversion.convert_weights(source, target, key, force)
    place = f" of '{found.key}'" if found.key else ""
    _say(f"{target}: {found.count:,} tensors{place}, {found.parameters:,} numbers, {', '.join(found.dtypes)}")
    _say_names("left out, no tensors", found.left_out)
    _say_names("also there, see --key", found.others)


def _ask(source: Path) -> None:
    if not sys.stdin.isatty():
        raise UsageError(f"{source} can run code when it is read: if you trust it, say so with --yes")
    errors.print(
        f"{printable(source)} is a pickle, a kind of file that can run code. It is read by a process of its own, which "
        "refuses all but tensors and plain values; even so, go on only if you trust where it comes from.",
        soft_wrap=True,
    )
    if not typer.confirm("Read it?", err=True):
        raise typer.Exit(1)


def _say(line: str) -> None:
    output.print(printable(line), soft_wrap=True)


def _say_names(title: str, names: tuple[str, ...]) -> None:
    more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
    if names:
        _say(f"{title}: {', '.join(names[:SHOWN])}{more}")


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("convert-weights", no_args_is_help=True)(convert_weights)
