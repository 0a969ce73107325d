"""What scores the answers of a task; what a metric may offer besides numbers is optional, a protocol each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from .annotations import Annotation
from .example import Example, Prediction
from .figures import Figure

Numbers = Mapping[str, float]  # by name; nan where there is nothing to score


class Metric(Protocol):
    """Collects predictions, image by image, then gives named numbers; the first is the one that matters most."""

    def update(self, prediction: Prediction, example: Example) -> None: ...
    def compute(self) -> dict[str, float]: ...


@runtime_checkable
class Exchangeable(Protocol):
    """A metric whose answers other software can score, too."""

    def results(self) -> list[dict[str, Any]]: ...


@runtime_checkable
class Incomplete(Protocol):
    """A metric that people will look for numbers in that it does not have."""

    unavailable: Sequence[str]  # their names


@runtime_checkable
class PerCategory(Protocol):
    """A metric that has numbers of each category, too."""

    def per_category(self) -> dict[str, dict[str, float]]: ...


@runtime_checkable
class Illustrated(Protocol):
    """A metric that can show what went right and wrong."""

    def figures(self) -> list[Figure]: ...


class Resampler(Protocol):
    """Scores of the same answers, as if some images had been drawn several times and others never."""

    @property
    def ids(self) -> Sequence[int | str]:
        """(I,) of the images."""

    def scores(self, counts: NDArray[np.int64]) -> Numbers:
        """The numbers of `compute` where image i is there `counts[i]` times."""


@runtime_checkable
class Resampled(Protocol):
    """A metric whose numbers can be compared between models, with intervals."""

    def resampler(self) -> Resampler: ...


class ExactMatch:
    """Share of images whose answer of one kind equals the truth, compared as JSON."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.ids: list[int | str] = []
        self.hits: list[bool] = []

    def truth(self, example: Example) -> Annotation | None:
        """What the answer should be; None where the image is not annotated for it. To be overridden."""
        return example.annotations.get(self.kind)

    def update(self, prediction: Prediction, example: Example) -> None:
        truth, answer = self.truth(example), prediction.annotations.get(self.kind)
        if truth is not None:
            self.ids.append(example.id)
            self.hits.append(answer is not None and answer.to_json() == truth.to_json())

    def compute(self) -> dict[str, float]:
        return self.scores(np.ones(len(self.hits), dtype=np.int64))

    def scores(self, counts: NDArray[np.int64]) -> dict[str, float]:
        """As `Resampler`."""
        return {"exact": float(counts @ np.array(self.hits) / counts.sum()) if counts.sum() else float("nan")}

    def resampler(self) -> Resampler:
        return self
