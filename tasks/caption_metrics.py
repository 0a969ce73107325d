"""Scores of captions, as the COCO caption evaluation computes them (Chen et al., arXiv 1504.00325), without Java.

Every function takes plain sentences, one candidate and one or more references an image, and splits them itself.
An empty corpus scores nan; an empty candidate scores 0.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

import numpy as np

from ..annotations import Captions
from ..example import Example, Prediction

Words = list[str]
Gram = tuple[str, ...]
Grams = Counter[Gram]  # how often each n-gram of a sentence occurs, all n together

MAX_N = 4  # longest n-gram of CIDEr-D
SIGMA = 6.0  # of the length penalty of CIDEr-D
BETA = 1.2  # of ROUGE-L: recall counts more than precision
SMALL, TINY = 1e-9, 1e-15  # of COCO's BLEU: nothing is divided by zero, and no match at all scores almost 0

_SAME = str.maketrans({"’": "'", "‘": "'", "“": '"', "”": '"', "\N{NO-BREAK SPACE}": " "})
_CLITIC = re.compile(r"(?<=[^\W_])(n't|'(?:s|m|d|re|ve|ll))(?!\w)")
_JOINED = re.compile(r"(?<!\w)(?:(can)(not)|(gon|wan)(na)|(got)(ta)|(lem|gim)(me)|('t)(is|was))(?!\w)")
_TOKEN = re.compile(
    r"""
    <[^<>\s]+>                                                          # a tag, such as <unk>
    | (?:[^\W\d_]\.)+ (?:[^\W\d_](?!\w) | (?!\w))                       # u.s. p.m. and initials
    | (?:mrs? | ms | dr | st | [js]r | [mf]t | vs | etc)\.(?!\w) | no\.(?=\s*\d)
    | n't(?!\w) | '(?:s | m | d | re | ve | ll | t | em | til | cause | \d\ds)(?!\w) | 'n'?(?!\w)
    | (?<!\S)[+-]?(?:\d+[.,:/-])*\.?\d+(?=[^\w-]|$) | \d+(?:[.,:/]\d+)+ # -5 1,000 3:30 1/2
    | (?:[#@](?=[^\W\d]))? \w+ (?:(?:[-/.!?] | (?<=\b[odl])' | (?<=\bma)')[^\W_]\w*)*  # t-shirt his/her o'clock
    | [!?]{2,}
    | [^\s\w]
    """,
    re.VERBOSE,
)
_BRACKETS = {"(": "-lrb-", ")": "-rrb-", "[": "-lsb-", "]": "-rsb-", "{": "-lcb-", "}": "-rcb-"}
_DROPPED = frozenset("'\"`.?!,:;-–—―…")


def tokenize(text: str) -> Words:
    """Lower-case words as COCO's tools (Stanford's PTBTokenizer 3.4.1, then a list of punctuation) split them.

    Faithful in what is a fault of theirs too: brackets stay, as `-lrb-`, and so does `!!`. Different from them: web
    and mail addresses, smileys, `&amp;`, names such as R&B, vulgar fractions and currency signs (there rewritten),
    abbreviations beyond the commonest, apostrophes inside other words (y'all), emoji (there dropped).
    """
    text = _CLITIC.sub(r" \1", text.lower().translate(_SAME))
    text = _JOINED.sub(lambda match: " ".join(part for part in match.groups() if part), text)
    return [_BRACKETS.get(token, token) for token in _TOKEN.findall(text) if token not in _DROPPED]


def _pairs(candidates: Sequence[str], references: Sequence[Sequence[str]]) -> Iterator[tuple[Words, list[Words]]]:
    for position, (candidate, texts) in enumerate(zip(candidates, references, strict=True)):
        if not texts:
            raise ValueError(f"image {position} has no reference caption; leave it out")
        yield tokenize(candidate), [tokenize(text) for text in texts]


def _grams(words: Words, max_n: int = MAX_N) -> Grams:
    return Counter(tuple(words[i : i + n]) for n in range(1, max_n + 1) for i in range(len(words) - n + 1))


def bleu(candidates: Sequence[str], references: Sequence[Sequence[str]], max_n: int = 4) -> list[float]:
    """BLEU-1 … BLEU-`max_n` of the corpus, in [0, 1] (Papineni et al. 2002), with the closest reference lengths.

    Raises ValueError when the lengths differ or an image has no reference; so do all functions here.
    """
    matches, totals = np.zeros(max_n), np.zeros(max_n)
    length = reference_length = 0
    for candidate, refs in _pairs(candidates, references):
        most: Grams = Counter()
        for ref in refs:
            most |= _grams(ref, max_n)
        for gram, count in (_grams(candidate, max_n) & most).items():
            matches[len(gram) - 1] += count
        totals += np.maximum(len(candidate) - np.arange(max_n), 0)
        length += len(candidate)
        reference_length += min((abs(len(ref) - len(candidate)), len(ref)) for ref in refs)[1]
    if not len(candidates):
        return [math.nan] * max_n
    ratio = (length + TINY) / (reference_length + SMALL)
    brevity = math.exp(1 - 1 / ratio) if ratio < 1 else 1.0
    precisions = np.cumprod((matches + TINY) / (totals + SMALL))
    return [float(p) ** (1 / n) * brevity for n, p in enumerate(precisions, 1)]


def _common(a: Words, b: Words) -> int:
    """Length of the longest common subsequence."""
    row = [0] * (len(b) + 1)
    for word in a:
        diagonal = 0
        for j, other in enumerate(b, 1):
            diagonal, row[j] = row[j], diagonal + 1 if word == other else max(row[j], row[j - 1])
    return row[-1]


def rouge_l(candidates: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """Mean ROUGE-L in [0, 1] (Lin 2004): best precision and best recall over an image's references."""
    scores = []
    for candidate, refs in _pairs(candidates, references):
        common = [_common(candidate, ref) for ref in refs]
        precision = max(common) / max(len(candidate), 1)
        recall = max(c / max(len(ref), 1) for c, ref in zip(common, refs, strict=True))
        both = recall + BETA**2 * precision
        scores.append((1 + BETA**2) * precision * recall / both if both else 0.0)
    return float(np.mean(scores)) if scores else math.nan


class _Cider:
    """The references of a corpus, weighted by tf-idf (Vedantam et al., arXiv 1411.5726, section 4)."""

    def __init__(self, references: Sequence[Sequence[Words]]) -> None:
        self.references = [[_grams(words) for words in refs] for refs in references]
        self.unseen = math.log(len(references))  # idf of what no reference holds
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


def cider_d(candidates: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """Mean CIDEr-D in [0, 10], n-grams weighted by their rarity among the references given; 0 for a single image."""
    pairs = list(_pairs(candidates, references))
    if not pairs:
        return math.nan
    corpus = _Cider([refs for _, refs in pairs])
    scores = [
        np.mean([corpus.similarity(grams, ref) for ref in refs])
        for grams, refs in zip((_grams(words) for words, _ in pairs), corpus.references, strict=True)
    ]
    return float(np.mean(scores))


def best_constant_caption(references: Sequence[Sequence[str]]) -> tuple[str, float]:
    """The reference that scores best when it is the answer to every image, and its CIDEr-D: what blindness can reach.

    The score of a constant is a sum over its n-grams, so what the whole corpus has of an n-gram is added up once.
    """
    texts = list(dict.fromkeys(text for refs in references for text in refs))
    if not texts:
        return "", math.nan
    corpus = _Cider([refs for _, refs in _pairs([""] * len(references), references)])
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
        grams = _grams(tokenize(text))
        length, norms = _length(grams), corpus.norms(grams)
        parts = (matched(gram, n, length) / norms[len(gram) - 1] for gram, n in grams.items() if norms[len(gram) - 1])
        return 10 * sum(parts) / MAX_N / len(references)

    scores = [score(text) for text in texts]
    best = int(np.argmax(scores))
    return texts[best], scores[best]


class CaptionScores:
    """Collects captions image by image; images without reference captions are ignored."""

    def __init__(self) -> None:
        self.candidates: list[str] = []
        self.references: list[tuple[str, ...]] = []
        self.ids: list[int | str] = []

    def update(self, prediction: Prediction, example: Example) -> None:
        """Only the first caption of an answer counts; none at all counts as an empty one."""
        truth, answer = example.annotations.get("captions"), prediction.annotations.get("captions")
        if isinstance(truth, Captions) and truth.texts:
            self.candidates.append(answer.texts[0] if isinstance(answer, Captions) and answer.texts else "")
            self.references.append(truth.texts)
            self.ids.append(example.id)

    def results(self) -> list[dict[str, Any]]:
        """The answers in COCO's results form."""
        return [{"image_id": i, "caption": text} for i, text in zip(self.ids, self.candidates, strict=True)]

    def compute(self) -> dict[str, float]:
        """CIDEr-D, BLEU and ROUGE-L of what was collected, and the CIDEr-D to beat without looking at the images."""
        bleus = bleu(self.candidates, self.references)
        return {
            "CIDEr-D": cider_d(self.candidates, self.references),
            **{f"BLEU-{n}": bleus[n - 1] for n in (4, 3, 2, 1)},
            "ROUGE-L": rouge_l(self.candidates, self.references),
            "CIDEr-D of the best constant": best_constant_caption(self.references)[1],
        }
