"""Scores of captions, as the COCO caption evaluation computes them (Chen et al., arXiv 1504.00325), without Java.

Functions take plain sentences, one candidate and one or more references an image, and split them themselves. They raise
ValueError when the lengths differ or an image has no reference. An empty corpus scores nan, an empty candidate 0.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .cider import cider_d_each
from .words import MAX_N, Grams, Words, ngrams, pairs

BETA = 1.2  # of ROUGE-L: recall counts more than precision
SMALL, TINY = 1e-9, 1e-15  # of COCO's BLEU: nothing is divided by zero, and no match at all scores almost 0

Floats = NDArray[np.float64]
Counts = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class CaptionCorpus:
    """What each of I candidates has in common with its references: scores of any choice of them are sums of it."""

    matches: Counts  # (I, MAX_N) n-grams that some reference has, too
    grams: Counts  # (I, MAX_N) all n-grams of the candidate
    lengths: Counts  # (I, 2) words of the candidate, and of the reference that is nearest in length
    rouge_l: Floats  # (I,) in [0, 1]
    cider_d: Floats  # (I,) in [0, 10], n-grams weighted by their rarity among all references

    @classmethod
    def of(cls, candidates: Sequence[str], references: Sequence[Sequence[str]]) -> CaptionCorpus:
        found = list(pairs(candidates, references))
        return cls(
            matches=np.array([_matches(*pair) for pair in found], dtype=np.int64).reshape(-1, MAX_N),
            grams=np.array([_numbers(len(words)) for words, _ in found], dtype=np.int64).reshape(-1, MAX_N),
            lengths=np.array([_lengths(*pair) for pair in found], dtype=np.int64).reshape(-1, 2),
            rouge_l=np.array([_rouge_l(*pair) for pair in found], dtype=np.float64),
            cider_d=cider_d_each(found),
        )

    def scores(self, counts: Counts) -> dict[str, float]:
        """Of `counts[i]` copies of candidate i; rarity stays that among all references."""
        sums = counts @ self.matches, counts @ self.grams, *(counts @ self.lengths).tolist()
        bleus = _bleu(*sums) if counts.sum() else [math.nan] * MAX_N
        return {
            "CIDEr-D": _mean(self.cider_d, counts),
            **{f"BLEU-{n}": bleus[n - 1] for n in range(MAX_N, 0, -1)},
            "ROUGE-L": _mean(self.rouge_l, counts),
        }


def bleu(candidates: Sequence[str], references: Sequence[Sequence[str]]) -> list[float]:
    """BLEU-1 … BLEU-4 of the corpus, in [0, 1] (Papineni et al. 2002), with the closest reference lengths."""
    found = _scores(candidates, references)
    return [found[f"BLEU-{n}"] for n in range(1, MAX_N + 1)]


def rouge_l(candidates: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """Mean ROUGE-L in [0, 1] (Lin 2004): best precision and best recall over an image's references."""
    return _scores(candidates, references)["ROUGE-L"]


def cider_d(candidates: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """Mean CIDEr-D in [0, 10], n-grams weighted by their rarity among the references given; 0 for a single image."""
    return _scores(candidates, references)["CIDEr-D"]


def _scores(candidates: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, float]:
    return CaptionCorpus.of(candidates, references).scores(np.ones(len(candidates), dtype=np.int64))


def _mean(values: Floats, counts: Counts) -> float:
    return float(values @ counts / counts.sum()) if counts.sum() else math.nan


def _matches(candidate: Words, references: Sequence[Words]) -> list[int]:
    """Of each n the n-grams that a reference has as often."""
    most: Grams = Grams()
    for ref in references:
        most |= ngrams(ref)
    found = [0] * MAX_N
    for gram, count in (ngrams(candidate) & most).items():
        found[len(gram) - 1] += count
    return found


def _numbers(words: int) -> list[int]:
    """Of each n the n-grams that so many words have."""
    return [max(words - n, 0) for n in range(MAX_N)]


def _lengths(candidate: Words, references: Sequence[Words]) -> tuple[int, int]:
    nearest = min((abs(len(ref) - len(candidate)), len(ref)) for ref in references)[1]
    return len(candidate), nearest


def _bleu(matches: Counts, grams: Counts, length: int, reference_length: int) -> list[float]:
    ratio = (length + TINY) / (reference_length + SMALL)
    brevity = math.exp(1 - 1 / ratio) if ratio < 1 else 1.0
    precisions = np.cumprod((matches + TINY) / (grams + SMALL))
    return [float(p) ** (1 / n) * brevity for n, p in enumerate(precisions, 1)]


def _rouge_l(candidate: Words, references: Sequence[Words]) -> float:
    common = [_common(candidate, ref) for ref in references]
    precision = max(common) / max(len(candidate), 1)
    recall = max(c / max(len(ref), 1) for c, ref in zip(common, references, strict=True))
    both = recall + BETA**2 * precision
    return (1 + BETA**2) * precision * recall / both if both else 0.0


def _common(a: Words, b: Words) -> int:
    """Length of the longest common subsequence."""
    row = [0] * (len(b) + 1)
    for word in a:
        diagonal = 0
        for j, other in enumerate(b, 1):
            diagonal, row[j] = row[j], diagonal + 1 if word == other else max(row[j], row[j - 1])
    return row[-1]
