"""What TensorBoard shows of a run; its library is imported when it is wanted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..draw import draw
from ..errors import UsageError
from ..example import Example, Prediction
from ..inference import above

PICTURES, SIDE = 8, 640  # shown of an evaluation; the longer side of each, at most, in pixels
LEAST_SCORE = 0.3  # of what is drawn, as in `mtp predict`


class Board:
    """Writes event files of a run that is at `step`; what earlier ones tell of later steps is not shown.

    Raises UsageError where TensorBoard is not installed.
    """

    def __init__(self, folder: Path, step: int) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise UsageError(
                "train.tensorboard needs TensorBoard, which is not installed: pip install 'multitask-prompts[track]'"
            ) from error
        self.writer = SummaryWriter(str(folder), purge_step=step + 1 if step else None)

    def steps(self, record: Mapping[str, object]) -> None:
        """Each number of a record under its name, those of a mapping as `name/key`; "step" is where they stand."""
        step = record["step"]
        for name, value in record.items():
            values = {f"{name}/{key}": v for key, v in value.items()} if isinstance(value, Mapping) else {name: value}
            self._scalars(step, {key: v for key, v in values.items() if isinstance(v, int | float) and key != "step"})

    def scores(self, step: int, scores: Mapping[str, float]) -> None:
        """Values of an evaluation as `scores/task/metric`."""
        self._scalars(step, {f"scores/{name}": value for name, value in scores.items()})
        self.writer.flush()

    def pictures(self, step: int, pictures: Sequence[tuple[str, NDArray[np.uint8]]]) -> None:
        """Images (H, W, 3) under their names."""
        for name, image in pictures:
            self.writer.add_image(name, image, step, dataformats="HWC")

    def close(self) -> None:
        """Wait until all is written."""
        self.writer.close()

    def _scalars(self, step: object, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self.writer.add_scalar(name, value, step)


def answered_pictures(
    examples: Sequence[Example], answers: Sequence[Mapping[str, Prediction]]
) -> list[tuple[str, NDArray[np.uint8]]]:
    """The first images, each under its place, with what all tasks answer about them (by task) drawn on: (H, W, 3)."""
    shown = zip(examples[:PICTURES], answers[:PICTURES], strict=True)
    return [(f"answers/{number}", _picture(*pair)) for number, pair in enumerate(shown, 1)]


def _picture(example: Example, answers: Mapping[str, Prediction]) -> NDArray[np.uint8]:
    found = [a for answer in answers.values() for a in above(answer.annotations, LEAST_SCORE).values()]
    picture = draw(example.load(), found)
    picture.thumbnail((SIDE, SIDE))
    return np.asarray(picture, np.uint8)
