"""The commands together, and the one place where an error becomes a line and an exit code."""

from __future__ import annotations

import logging
import signal
import sys
from typing import Annotated

import typer

from .. import __version__
from ..errors import MtpError, Stopped
from . import convert_weights, data, evaluate, plot, predict, runs, tasks, train
from .console import LogLines, say, say_error, speaks

app = typer.Typer(
    name="mtp",
    help="Train, score and prompt one vision model for many tasks.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for command in (train, evaluate, predict, runs, plot, tasks, data, convert_weights):
    command.register(app)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"mtp {__version__}")
        raise typer.Exit


@app.callback()
def settings(
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Say more.")] = False,
    quiet: Annotated[bool, typer.Option("-q", "--quiet", help="Say only warnings and errors.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Options before the command's name."""
    level = logging.DEBUG if verbose else logging.WARNING if quiet else logging.INFO
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[LogLines()], force=True)
    logging.getLogger("multitask").setLevel(level)


def main() -> None:
    """Run `mtp`; the process ends with the exit code of what happened."""
    debug = "--debug" in sys.argv[1:]
    signal.signal(signal.SIGTERM, _terminated)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a script's background commands begin with it ignored
    try:
        sys.exit(app(standalone_mode=False))
    except Stopped as stop:
        if speaks():
            say(str(stop))
        sys.exit(stop.exit_code)
    except MtpError as error:
        if debug:
            raise
        say_error(str(error))
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        say_error("interrupted")
        sys.exit(130)
    except OSError as error:  # a full disk, a folder that may not be written to
        if debug:
            raise
        say_error(f"{error.filename or 'input or output'}: {error.strerror or error}")
        sys.exit(1)
    except Exception as error:
        if hasattr(error, "format_message"):  # the command line's own complaint about its words
            _complain(error.format_message())
            sys.exit(2)
        if debug:
            raise
        say_error(f"{type(error).__name__}: {error} (a fault of mtp: --debug before the command shows where)")
        sys.exit(1)


def _terminated(number: int, _: object) -> None:
    raise Stopped("terminated", number)


def _complain(message: str) -> None:
    """A complaint is one line; the help, which a command without words gets, keeps its shape."""
    if message.startswith("Usage:"):
        typer.echo(message, err=True)
    else:
        say_error(message)
