"""Scores of captions, collected image by image: CIDEr-D, BLEU and ROUGE-L, without Java."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..annotations import Captions
from ..example import Example, Prediction
from ..figures import Figure
from .captions.cider import best_constant_caption
from .captions.figures import Told, figures
from .captions.scores import CaptionCorpus


class CaptionScores:
    """Collects captions image by image; images without reference captions are ignored."""

    unavailable = ("METEOR", "SPICE")  # they need Java

    def __init__(self) -> None:
        self.candidates: list[str] = []
        self.references: list[tuple[str, ...]] = []
        self.ids: list[int | str] = []
        self._corpus: CaptionCorpus | None = None  # of these

    def update(self, prediction: Prediction, example: Example) -> None:
        """Only the first caption of an answer counts; none at all counts as an empty one."""
        truth, answer = example.annotations.get("captions"), prediction.annotations.get("captions")
        if isinstance(truth, Captions) and truth.texts:
            self.candidates.append(answer.texts[0] if isinstance(answer, Captions) and answer.texts else "")
            self.references.append(truth.texts)
            self.ids.append(example.id)
            self._corpus = None

    def corpus(self) -> CaptionCorpus:
        """What is known of each image that was collected."""
        self._corpus = self._corpus or CaptionCorpus.of(self.candidates, self.references)
        return self._corpus

    def results(self) -> list[dict[str, Any]]:
        """The answers in COCO's results form."""
        return [{"image_id": i, "caption": text} for i, text in zip(self.ids, self.candidates, strict=True)]

    def compute(self) -> dict[str, float]:
        """CIDEr-D, BLEU and ROUGE-L of what was collected, and the CIDEr-D to beat without looking at the images."""
        best = best_constant_caption(self.references)[1]
        return {**self.scores(np.ones(len(self.ids), dtype=np.int64)), "CIDEr-D of the best constant": best}

    def scores(self, counts: NDArray[np.int64]) -> dict[str, float]:
        """As `Resampler`; without the best constant, which no model changes."""
        return self.corpus().scores(counts)

    def resampler(self) -> CaptionScores:
        """For intervals over images."""
        return self

    def figures(self) -> list[Figure]:
        """For a report."""
        return figures(Told(self.ids, self.candidates, self.references, self.corpus()))
