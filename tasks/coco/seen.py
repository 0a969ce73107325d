"""Answers about boxes, masks or poses and the truth, looked at together: what figures are made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ...annotations import Boxes
from .judging import Kind, Verdict, verdicts
from .matches import Matches
from .scoring import Comparison, Floats, Found


@dataclass(frozen=True, eq=False)
class Seen:
    """All that figures are made from."""

    comparison: Comparison
    found: Found
    matches: Mapping[tuple[int, int], Matches]
    ids: Sequence[int | str]  # of the images, in the order of the comparison
    truth: Sequence[Boxes]  # of each image
    answers: Sequence[Boxes]
    shape: str  # what of an instance may be wrong, besides its category: box, outline, pose

    @cached_property
    def ranked(self) -> tuple[Floats, NDArray[np.bool_]]:
        """Scores (D,) of all answers that count, the best first, and whether each is right."""
        parts = [(m.scores[m.counted[0]], m.hits[0][m.counted[0]]) for (_, area), m in self.matches.items() if not area]
        scores = np.concatenate([np.zeros(0), *(scores for scores, _ in parts)])
        right = np.concatenate([np.zeros(0, dtype=bool), *(right for _, right in parts)])
        order = np.argsort(-scores, kind="stable")
        return scores[order], right[order]

    @cached_property
    def probable(self) -> bool:
        """Whether scores can be probabilities: all of them lie in [0, 1]."""
        scores, _ = self.ranked
        return not len(scores) or (scores[-1] >= 0 and scores[0] <= 1)

    @cached_property
    def total(self) -> int:
        """Instances to be found."""
        return sum(len(m.truth) for (_, area), m in self.matches.items() if not area)

    @cached_property
    def rates(self) -> tuple[Floats, Floats, Floats, Floats]:
        """Each score that some answer has, and precision, recall and F1 of the answers that score at least that."""
        scores, right = self.ranked
        last = np.flatnonzero(np.append(np.diff(scores), -1.0)[: len(scores)])  # of the answers with an equal score
        hits, answered = np.cumsum(right)[last], last + 1
        return scores[last], hits / answered, hits / max(self.total, 1), 2 * hits / (answered + self.total)

    @cached_property
    def threshold(self) -> float:
        """The score from which on answers are best taken for true: the least where F1 is highest, so that a model that
        is never right has all its answers shown."""
        scores, _, _, f1 = self.rates
        return float(scores[::-1][f1[::-1].argmax()]) if len(scores) else 0.0

    @cached_property
    def verdicts(self) -> list[Verdict]:
        """Of the answers from that score on."""
        return list(verdicts(self.comparison, self.matches, self.threshold))

    @cached_property
    def names(self) -> dict[int, str]:
        """Of the categories, by id."""
        return {number: name for name, number in self.comparison.categories.items()}

    def about(self, *kinds: Kind) -> set[int]:
        """True instances, as rows, that have such a verdict."""
        return {one.truth for one in self.verdicts if one.truth is not None and one.kind in kinds}

    def taken(self) -> str:
        """What the figures that need a threshold were made from."""
        return f"Answers that score at least {self.threshold:.3f}, where F1 is highest."

    def called(self, kind: Kind) -> str:
        """A kind of verdict in words."""
        return f"bad {self.shape}" if kind is Kind.SHAPE else kind.value

    @property
    def measure(self) -> str:
        """What similarity is called."""
        return "OKS" if self.comparison.iou_type == "keypoints" else "IoU"
