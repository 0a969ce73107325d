"""Progress of long commands: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Self

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from .console import errors, printable

PLAIN_EVERY = 20.0  # seconds between lines where there is no terminal


def _bars() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, TextColumn("{task.fields[figures]}"), console=errors, disable=not errors.is_terminal)


class TrainingDisplay:
    """Loss by task, images a second and the time left; implements `multitask.train.Display`."""

    def __init__(self) -> None:
        self._progress = _bars()
        self._spoken = time.monotonic()

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def started(self, step: int, steps: int) -> None:
        self._steps, self._begin, self._begun = steps, step, time.monotonic()
        self._training = self._progress.add_task("training", total=steps, completed=step, figures="")

    def stepped(self, step: int, losses: Mapping[str, float], images_per_second: float) -> None:
        figures = "  ".join(f"{printable(name)} {loss:.3f}" for name, loss in losses.items())
        self._progress.update(self._training, completed=step, figures=f"{figures}  {images_per_second:.0f} images/s")
        now = time.monotonic()
        if not errors.is_terminal and (now - self._spoken > PLAIN_EVERY or step == self._steps):
            left = (now - self._begun) / max(1, step - self._begin) * (self._steps - step)
            line = f"step {step}/{self._steps}  {figures}  {images_per_second:.0f} images/s  {_clock(left)} left"
            errors.print(line, soft_wrap=True)
            self._spoken = now

    def evaluated(self, done: int, total: int) -> None:
        if not hasattr(self, "_scoring"):
            self._scoring = self._progress.add_task("scoring", total=total, figures="")
        self._progress.update(self._scoring, completed=done, total=total)

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
