"""What a run writes about itself while it goes.

    RUN/metrics.jsonl       {"step", "loss": {task: value}, "images_per_second", "lr", "gradient_norm"} every few steps,
                            {"step", "scores": {"task/metric": value}} after an evaluation; null: not finite
    RUN/bad_steps.jsonl     {"step", "reason", "files": [...]}: steps that changed no weights
    RUN/tensorboard/        the same for TensorBoard, and pictures of answers, where the run wants it

A line is one write: whatever ends the process, every line but the last is whole.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..evaluate import as_json
from ..runs import BAD_STEPS, METRICS, parsed
from .tensorboard import Board

Pictures = Sequence[tuple[str, NDArray[np.uint8]]]  # names, and images (H, W, 3)


class Journal:
    """The logs of a run that is at `step`: what they tell of later steps, which will come again, is cut off.

    Raises UsageError where `tensorboard` is wanted and not installed. Every method raises OSError, with the path.
    """

    def __init__(self, folder: Path, step: int = 0, tensorboard: bool = False) -> None:
        self.board = Board(folder / "tensorboard", step) if tensorboard else None
        self.metrics, self.bad_steps = folder / METRICS, folder / BAD_STEPS
        for path in (self.metrics, self.bad_steps):
            _cut(path, step)

    def steps(self, record: Mapping[str, object]) -> None:
        """How the last few steps went: "step", "loss" by task, and any other numbers."""
        _append(self.metrics, record)
        if self.board:
            self.board.steps(record)

    def scores(self, step: int, scores: Mapping[str, float]) -> None:
        """An evaluation: values by "task/metric"."""
        _append(self.metrics, {"step": step, "scores": scores})
        if self.board:
            self.board.scores(step, scores)

    def pictures(self, step: int, pictures: Pictures) -> None:
        """Answers of an evaluation, drawn; shown by TensorBoard alone."""
        if self.board:
            self.board.pictures(step, pictures)

    def bad(self, record: Mapping[str, object]) -> None:
        """A step that changed no weights: "step", "reason" and the "files" it was made of."""
        _append(self.bad_steps, record)

    def close(self) -> None:
        """Wait until all is written."""
        if self.board:
            self.board.close()


def _append(path: Path, record: Mapping[str, object]) -> None:
    """One line, or none: what a full disk took of it is removed, so that the next one begins where it should."""
    line = (json.dumps(as_json(record)) + "\n").encode()
    with path.open("ab", buffering=0) as file:
        begin = file.seek(0, os.SEEK_END)
        try:
            if file.write(line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            file.truncate(begin)
            raise OSError(error.errno, error.strerror, str(path)) from error


def _cut(path: Path, step: int) -> None:
    """End the file before the first line of a later step, and before a half line at its end."""
    if not path.exists():
        return
    with path.open("r+b") as file:
        end = 0
        for line in file:
            if not line.endswith(b"\n") or (parsed(line) or {"step": step})["step"] > step:
                file.truncate(end)
                return
            end += len(line)
