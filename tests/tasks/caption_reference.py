"""Caption scores straight from their formulas: slow, plain, and sharing nothing with what they check.

Sentences are lists of words. One candidate and a list of references an image.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np


def ngrams(words, n):
    return [tuple(words[i : i + n]) for i in range(len(words)) if i + n <= len(words)]


def bleu(candidates, references, max_n=4):
    lengths = [len(words) for words in candidates]
    closest = []
    for words, refs in zip(candidates, references, strict=True):
        by_distance = sorted(refs, key=lambda ref: (abs(len(ref) - len(words)), len(ref)))
        closest.append(len(by_distance[0]))
    shortage = (sum(closest) + 1e-9) / (sum(lengths) + 1e-15)
    brevity = math.exp(min(0.0, 1 - shortage))
    precisions = []
    for n in range(1, max_n + 1):
        hits = total = 0
        for words, refs in zip(candidates, references, strict=True):
            own = ngrams(words, n)
            total += len(own)
            for gram in set(own):
                hits += min(own.count(gram), max(ngrams(ref, n).count(gram) for ref in refs))
        precisions.append((hits + 1e-15) / (total + 1e-9))
    return [brevity * math.exp(sum(math.log(p) for p in precisions[:n]) / n) for n in range(1, max_n + 1)]


def rouge_l(candidates, references):
    scores = []
    for words, refs in zip(candidates, references, strict=True):
        common = [subsequence(tuple(words), tuple(ref)) for ref in refs]
        precision = max(c / len(words) for c in common) if words else 0.0
        recall = max(c / len(ref) if ref else 0.0 for c, ref in zip(common, refs, strict=True))
        f = 0.0 if precision == 0 or recall == 0 else (1 + 1.44) / (1 / precision + 1.44 / recall)
        scores.append(f)
    return sum(scores) / len(scores)


def subsequence(a, b):
    @cache
    def longest(i, j):
        if i == len(a) or j == len(b):
            return 0
        if a[i] == b[j]:
            return 1 + longest(i + 1, j + 1)
        return max(longest(i + 1, j), longest(i, j + 1))

    return longest(0, 0)


def cider_d(candidates, references):
    total = 0.0
    for n in (1, 2, 3, 4):
        every = [*candidates, *(ref for refs in references for ref in refs)]
        vocabulary = sorted({gram for words in every for gram in ngrams(words, n)})
        held = [{gram for ref in refs for gram in ngrams(ref, n)} for refs in references]
        holding = [sum(gram in grams for grams in held) for gram in vocabulary]
        idf = np.array([math.log(len(references) / max(1, count)) for count in holding])
        places = {gram: place for place, gram in enumerate(vocabulary)}

        def vector(words, n=n, places=places, idf=idf):
            counts = np.zeros(len(places))
            for gram in ngrams(words, n):
                counts[places[gram]] += 1
            return counts * idf

        for words, refs in zip(candidates, references, strict=True):
            hypothesis = vector(words)
            for ref in refs:
                truth = vector(ref)
                norm = np.sqrt((hypothesis**2).sum() * (truth**2).sum())
                cosine = np.minimum(hypothesis, truth) @ truth / norm if norm > 0 else 0.0
                difference = max(len(words) - 1, 0) - max(len(ref) - 1, 0)
                total += cosine * math.exp(-(difference**2) / 72) / len(refs)
    return 10 * total / 4 / len(references)
