"""Progress of long commands: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, redirect_stderr
from typing import Any, Self, TextIO, cast

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from .console import errors, printable

PLAIN_EVERY = 20.0  # seconds between lines where there is no terminal


class Lasting:
    """A stream for as long as anybody reads it; what is written afterwards is lost, which ends no training."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        try:
            return 0 if self._stream.closed else self._stream.write(text)
        except OSError:
            self._give_up()
            return 0

    def flush(self) -> None:
        try:
            if not self._stream.closed:
                self._stream.flush()
        except OSError:
            self._give_up()

    def _give_up(self) -> None:
        """What the stream still holds goes nowhere, so that flushing it at the end of the process does not fail."""
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self._stream.fileno())
        os.close(nowhere)


def _moving() -> bool:
    """Whether a terminal shows what changes in its place."""
    return errors.is_terminal and not errors.is_dumb_terminal


def _bars() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, TextColumn("{task.fields[figures]}"), console=errors, disable=not _moving())


class TrainingDisplay:
    """Loss by task, images a second and the time left; a `multitask.training.display.Display`."""

    def __init__(self) -> None:
        self._progress = _bars()
        self._spoken = time.monotonic()
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        if sys.stderr:
            self._stack.enter_context(redirect_stderr(cast(TextIO, Lasting(sys.stderr))))
        self._stack.enter_context(self._progress)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def started(self, step: int, steps: int) -> None:
        self._steps, self._begin, self._begun = steps, step, time.monotonic()
        self._training = self._progress.add_task("training", total=steps, completed=step, figures="")

    def stepped(self, step: int, losses: Mapping[str, float], images_per_second: float) -> None:
        figures = "  ".join(f"{printable(name)} {loss:.3f}" for name, loss in losses.items())
        self._progress.update(self._training, completed=step, figures=f"{figures}  {images_per_second:.0f} images/s")
        left = (time.monotonic() - self._begun) / max(1, step - self._begin) * (self._steps - step)
        line = f"step {step}/{self._steps}  {figures}  {images_per_second:.0f} images/s  {_clock(left)} left"
        self._say(line, step == self._steps)

    def evaluated(self, done: int, total: int) -> None:
        if not hasattr(self, "_scoring"):
            self._scoring = self._progress.add_task("scoring", total=total, figures="")
        self._progress.update(self._scoring, completed=done, total=total)
        self._say(f"scoring {done}/{total}")

    def _say(self, line: str, certainly: bool = False) -> None:
        """A line now and then, where no bar moves."""
        if not _moving() and (certainly or time.monotonic() - self._spoken > PLAIN_EVERY):
            errors.print(line, soft_wrap=True)
            self._spoken = time.monotonic()

    def note(self, line: str) -> None:
        errors.print(printable(line), soft_wrap=True)


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


@contextmanager
def counting_bar(words: str) -> Iterator[Callable[[int, int], None]]:
    """A bar for what is done of a number of things."""
    with _bars() as progress:
        bar = progress.add_task(words, total=None, figures="")
        yield lambda done, total: progress.update(bar, completed=done, total=total)
