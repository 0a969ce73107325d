"""The errors a user can cause, each with the exit code of the command that meets it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class MtpError(Exception):
    """A failure that one line can explain; `exit_code` 1 (the run failed)."""

    exit_code = 1


class UsageError(MtpError):
    """Wrong words on the command line or in a config."""

    exit_code = 2


class DataError(MtpError):
    """Something in a data set that cannot be used."""

    exit_code = 4


class CheckpointError(MtpError):
    """A run folder or weights file that is missing, damaged or of another kind."""

    exit_code = 5


class Stopped(MtpError):
    """Ended by a signal; `exit_code` 128 and its number, as shells count."""

    def __init__(self, message: str, signal: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal


def escaped(text: str) -> str:
    """The text as one printable line, whatever characters a file or a command line had."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def nearest(word: str, choices: Iterable[str]) -> str:
    """`"; did you mean 'det'?"` for the closest of `choices`, or an empty string when none is close."""
    close = difflib.get_close_matches(word, list(choices), n=1, cutoff=0.5)
    return f"; did you mean '{close[0]}'?" if close else ""
