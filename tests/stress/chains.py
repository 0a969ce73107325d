"""A run that is begun, ended from outside and resumed until it is through, beside one that nobody disturbed."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .examining import differences, unsound
from .running import Running, command, newest


@dataclass(frozen=True)
class Reference:
    """An undisturbed run; seconds until its first checkpoint, and to its end."""

    run: Path
    words: list[str]
    processes: int
    start: float
    total: float


def undisturbed(folder: Path, words: list[str], processes: int = 1) -> Reference:
    """Raises AssertionError where it does not end well."""
    run = folder / "run"
    with Running(folder, [*command(processes), "train", *words, "--out", str(run)]) as running:
        running.until(lambda: newest(run) > 0)
        start = time.monotonic() - running.begun
        assert running.wait() == 0, running.lines[-3:]
        return Reference(run, words, processes, start, time.monotonic() - running.begun)


class Chain:
    """The same run again, perhaps with `more` settings that change no result; what it says goes to `folder`."""

    def __init__(self, folder: Path, reference: Reference, *more: str, run: Path | None = None) -> None:
        self.folder, self.run, self.reference = folder, run or folder / "run", reference
        self.words = [*reference.words, *more]
        self.through = False

    def go_on(self, restarts: int = 0) -> Running:
        """Resumed from its last checkpoint; begun anew where it has none."""
        if not newest(self.run):
            shutil.rmtree(self.run, ignore_errors=True)
        said = ["--resume"] if self.run.exists() else self.words
        before = command(self.reference.processes, restarts)
        return Running(self.folder, [*before, "train", *said, "--out", str(self.run)])

    def ended_by_itself(self, running: Running) -> bool:
        """Whether it was through, with exit code 0, before anybody could end it."""
        self.through = running.ended and running.wait() == 0
        return running.ended

    def finish(self, more_lines: bool = False) -> Iterator[str]:
        """Go on to the end; what is not as in the reference then (metrics may have `more_lines`)."""
        if not self.through:
            with self.go_on() as running:
                if (code := running.wait()) != 0:
                    yield f"{self.folder}: exit code {code}: {running.lines[-2:]}"
                    return
        yield from unsound(self.run)
        yield from differences(self.run, self.reference.run, more_lines)
