"""CIDEr-D: likeness of sentences by n-grams, each as heavy as it is rare (Vedantam et al., arXiv 1411.5726)."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from functools import cache

import numpy as np
from numpy.typing import NDArray

from .words import MAX_N, Gram, Grams, Words, ngrams, pairs, tokenize

SIGMA = 6.0  # of the length penalty


def cider_d_each(found: Sequence[tuple[Words, Sequence[Words]]]) -> NDArray[np.float64]:
    """(I,) CIDEr-D of each candidate about its references, in [0, 10]."""
    corpus = _Corpus([refs for _, refs in found])
    each = [
        np.mean([corpus.similarity(grams, ref) for ref in refs])
        for grams, refs in zip((ngrams(words) for words, _ in found), corpus.references, strict=True)
    ]
    return np.array(each, dtype=np.float64)


class _Corpus:
    """The references of a corpus, weighted by tf-idf (Vedantam et al., arXiv 1411.5726, section 4)."""

    def __init__(self, references: Sequence[Sequence[Words]]) -> None:
        self.references = [[ngrams(words) for words in refs] for refs in references]
        self.unseen = math.log(max(1, len(references)))  # idf of what no reference holds
        images = Counter(gram for refs in self.references for gram in set().union(*refs))
        self.idf: dict[Gram, float] = {gram: self.unseen - math.log(n) for gram, n in images.items()}

    def norms(self, grams: Grams) -> list[float]:
        """Length of the tf-idf vector of each n."""
        squares = [0.0] * MAX_N
        for gram, count in grams.items():
            squares[len(gram) - 1] += (count * self.idf.get(gram, self.unseen)) ** 2
        return [math.sqrt(s) for s in squares]

    def similarity(self, candidate: Grams, reference: Grams) -> float:
        """Mean over n of the clipped cosine, times the length penalty: CIDEr-D (section 6 there) of one reference."""
        norms = [a * b for a, b in zip(self.norms(candidate), self.norms(reference), strict=True)]
        cosine = 0.0
        for gram, count in candidate.items():  # not a set of both: its order, and so the sum, differs between processes
            if reference[gram] and (norm := norms[len(gram) - 1]):
                cosine += min(count, reference[gram]) * reference[gram] * self.idf[gram] ** 2 / norm
        return 10 * cosine / MAX_N * _penalty(_length(candidate) - _length(reference))


def _length(grams: Grams) -> int:
    """Number of words. COCO's tools count bigrams; between two sentences that share a word, the difference is equal."""
    return sum(count for gram, count in grams.items() if len(gram) == 1)


def _penalty(difference: int) -> float:
    return math.exp(-(difference**2) / (2 * SIGMA**2))


def best_constant_caption(references: Sequence[Sequence[str]]) -> tuple[str, float]:
    """The reference that scores best when it is the answer to every image, and its CIDEr-D: what blindness can reach.

    The score of a constant is a sum over its n-grams, so what the whole corpus has of an n-gram is added up once.
    """
    texts = list(dict.fromkeys(text for refs in references for text in refs))
    if not texts:
        return "", math.nan
    corpus = _Corpus([refs for _, refs in pairs([""] * len(references), references)])
    shares: dict[Gram, dict[tuple[int, int], float]] = defaultdict(lambda: defaultdict(float))
    for refs in corpus.references:
        for ref in refs:
            length, norms = _length(ref), corpus.norms(ref)
            for gram, count in ref.items():
                if norm := norms[len(gram) - 1]:
                    shares[gram][count, length] += 1 / (norm * len(refs))

    @cache
    def matched(gram: Gram, count: int, length: int) -> float:
        """Inner product of one n-gram with all references, each with its penalty, divided by its norm."""
        parts = ((min(count, c) * c * _penalty(length - other), s) for (c, other), s in shares[gram].items())
        return corpus.idf[gram] ** 2 * sum(product * share for product, share in parts)

    def score(text: str) -> float:
        grams = ngrams(tokenize(text))
        length, norms = _length(grams), corpus.norms(grams)
        parts = (matched(gram, n, length) / norms[len(gram) - 1] for gram, n in grams.items() if norms[len(gram) - 1])
        return 10 * sum(parts) / MAX_N / len(references)

    scores = [score(text) for text in texts]
    best = int(np.argmax(scores))
    return texts[best], scores[best]
