"""What a report shows of captions: the worst, examples from the best on, how good they are, and what is said again and
again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ...annotations import Captions
from ...figures import Bars, Case, Figure, Gallery, Lines, Table
from .scores import CaptionCorpus
from .words import tokenize

CASES = 8  # of a gallery
BARS = 20  # of a histogram
OFTEN = 10  # sentences that are listed
LONGEST = 60  # words; longer captions are counted as these
HOW = "By CIDEr-D: 0 where a caption shares no rare word with the truth, 10 where it equals every sentence of it."

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Told:
    """What was said of each image, and what is known of it."""

    ids: Sequence[int | str]  # of the I images
    candidates: Sequence[str]
    references: Sequence[Sequence[str]]
    corpus: CaptionCorpus

    @cached_property
    def best_first(self) -> list[int]:
        """Places of the images, by CIDEr-D."""
        return [int(place) for place in np.argsort(-self.corpus.cider_d, kind="stable")]


def figures(told: Told) -> list[Figure]:
    """All of them, the most telling first."""
    count = len(told.ids)
    spread = sorted({int(place) for place in np.linspace(0, count - 1, min(CASES, count))})
    return [
        _gallery(told, "Worst captions", told.best_first[::-1][:CASES], HOW),
        _gallery(told, "Examples", [told.best_first[i] for i in spread], "From the best to the worst, evenly spaced."),
        _scores(told),
        _lengths(told),
        _frequent(told),
    ]


def _gallery(told: Told, title: str, places: Sequence[int], note: str) -> Gallery:
    return Gallery(title, [_case(told, place) for place in places], note)


def _case(told: Told, place: int) -> Case:
    truth, answer = told.references[place], told.candidates[place]
    words = f"CIDEr-D {told.corpus.cider_d[place]:.2f}, ROUGE-L {told.corpus.rouge_l[place]:.2f}"
    return Case(told.ids[place], words, [Captions(tuple(truth))], [Captions((answer,))])


def _scores(told: Told) -> Bars:
    edges = np.linspace(0, 10, BARS + 1)
    bars = np.histogram(np.clip(told.corpus.cider_d, 0, 10), edges)[0].astype(float)  # 10 may be a little more
    return Bars("How good captions are", "CIDEr-D of a caption", "captions", edges, {"captions": bars})


def _lengths(told: Told) -> Lines:
    sides = {"truth": [text for texts in told.references for text in texts], "answers": told.candidates}
    counts = {name: [len(tokenize(text)) for text in texts] for name, texts in sides.items()}
    most = min(LONGEST, max((n for found in counts.values() for n in found), default=0))
    lines = {name: (np.arange(most + 1.0), _shares(found, most)) for name, found in counts.items()}
    return Lines("Lengths", "words of a caption", "share of captions", lines, unit=False)


def _shares(lengths: Sequence[int], most: int) -> Floats:
    counts = np.bincount(np.minimum(np.array(lengths, dtype=np.int64), most), minlength=most + 1)
    shares: Floats = counts / max(1, len(lengths))
    return shares


def _frequent(told: Told) -> Table:
    counts = Counter(" ".join(tokenize(text)) for text in told.candidates)
    rows = [(text or "(nothing)", number) for text, number in counts.most_common(OFTEN)]
    note = f"{len(counts)} different captions of {len(told.candidates)} images."
    return Table("What is said most often", ("caption", "images"), rows, note)
