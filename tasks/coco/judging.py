"""What became of every answer and every true instance: found, of the wrong category, badly shaped, twice, made up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from .matches import Matches
from .scoring import Comparison, Floats

ENOUGH, SOME = 0.5, 0.1  # similarity that makes a hit, and that says what was meant
NOTHING = -1  # in place of a row

Rows = NDArray[np.int64]  # of `Instances`
Flags = NDArray[np.bool_]


class Kind(StrEnum):
    """Of an answer; `MISSED` is what nothing was answered about."""

    HIT = "right"
    CLASS = "wrong class"
    SHAPE = "bad shape"
    TWICE = "found twice"
    ALARM = "false alarm"
    IGNORED = "not counted"  # in a crowd, one of too many of an image, or nobody looked
    MISSED = "missed"


@dataclass(frozen=True)
class Verdict:
    """An answer, a true instance, or both where one is about the other; rows of `Instances`."""

    kind: Kind
    answer: int | None
    truth: int | None
    similarity: float = 0.0  # intersection over union, or object keypoint similarity


def verdicts(comparison: Comparison, matches: Mapping[tuple[int, int], Matches], least: float) -> Iterator[Verdict]:
    """Of all answers that score at least `least`, and of all instances that are to be found.

    Image by image, the best answer first; at last what was not evaluated. What hits something, and what is not counted,
    is what COCO's evaluation says so of; those that hit nothing are told apart, as Bolya et al. (arXiv 2008.08115) do.
    `matches` are those of `all_matches`.
    """
    every = [found for (_, area), found in matches.items() if not area]
    answers, hits, objects = (_joined(every, name) for name in ("answers", "about", "objects"))
    counted = np.concatenate([np.zeros(0, dtype=bool), *(found.counted[0] for found in every)])
    scores, images = comparison.answers.scores[answers], comparison.answers.images[answers]
    order = np.lexsort((answers, -scores, images))
    order = order[scores[order] >= least]
    objects = objects[np.lexsort((objects, comparison.truth.images[objects]))]
    starts = np.arange(2, len(comparison.sizes) + 1)
    mine = np.split(order, np.searchsorted(images[order], starts))
    true = np.split(objects, np.searchsorted(comparison.truth.images[objects], starts))
    for some, rows in zip(mine, true, strict=True):
        if len(some) or len(rows):
            yield from _Image.of(comparison, answers[some], hits[some], counted[some], rows).verdicts()
    left = np.setdiff1d(np.flatnonzero(comparison.answers.scores >= least), answers)
    yield from (Verdict(Kind.IGNORED, row, None) for row in left.tolist())


def _joined(every: list[Matches], name: str) -> Rows:
    return np.concatenate([np.zeros(0, dtype=np.int64), *(getattr(found, name) for found in every)])


@dataclass(frozen=True, eq=False)
class _Image:
    """D answers, the best score first, and G true instances that are to be found."""

    answers: Rows  # (D,)
    hits: Rows  # (D,) what each hits, be it to be found or not; NOTHING
    counted: Flags  # (D,)
    objects: Rows  # (G,)
    similar: Floats  # (D, G)
    same: Flags  # (D, G) of one category
    free: Flags  # (G,) what no answer has hit, or taken for another category

    @classmethod
    def of(cls, comparison: Comparison, answers: Rows, hits: Rows, counted: Flags, objects: Rows) -> _Image:
        same = comparison.answers.categories[answers][:, None] == comparison.truth.categories[objects]
        free = ~np.isin(objects, hits)
        return cls(answers, hits, counted, objects, similarity(comparison, answers, objects), same, free)

    def verdicts(self) -> Iterator[Verdict]:
        told: set[int] = set()  # places of what some answer is about
        for i, row in enumerate(self.answers.tolist()):
            if self.hits[i] != NOTHING and not self.counted[i]:
                yield Verdict(Kind.IGNORED, row, int(self.hits[i]))
                continue
            kind, j = self._judged(i)
            if j is None:
                yield Verdict(kind, row, None)
            else:
                told.add(j)
                yield Verdict(kind, row, int(self.objects[j]), float(self.similar[i, j]))
        yield from (Verdict(Kind.MISSED, None, int(row)) for j, row in enumerate(self.objects) if j not in told)

    def _judged(self, i: int) -> tuple[Kind, int | None]:
        """Of an answer, and the place of what it is about. To be asked in order."""
        if self.hits[i] != NOTHING:
            return Kind.HIT, int(np.flatnonzero(self.objects == self.hits[i])[0])
        if not self.counted[i]:
            return Kind.IGNORED, None
        if (j := self._nearest(i, self.same[i] & ~self.free, ENOUGH)) is not None:
            return Kind.TWICE, j
        if (j := self._nearest(i, ~self.same[i] & self.free, ENOUGH)) is not None:
            self.free[j] = False
            return Kind.CLASS, j
        j = self._nearest(i, self.same[i] & self.free, SOME)
        return (Kind.ALARM if j is None else Kind.SHAPE), j

    def _nearest(self, i: int, group: Flags, least: float) -> int | None:
        near = np.where(group, self.similar[i], 0.0)
        return int(near.argmax()) if near.size and near.max() >= least else None


def similarity(comparison: Comparison, rows: Rows, objects: Rows) -> Floats:
    """(D, G) of answers and true instances of one image that are to be found, as COCO's evaluation compares them."""
    truth, answers = comparison.truth, comparison.answers
    if not len(rows) or not len(objects):
        return np.zeros((len(rows), len(objects)))
    if comparison.iou_type == "keypoints":
        return _keypoint_similarity(comparison, rows, objects)
    if comparison.iou_type == "bbox":
        found = coco_mask.iou(answers.boxes[rows], truth.boxes[objects], truth.crowd[objects])
    else:
        sides = ((answers, rows), (truth, objects))
        masks = [[side.shapes[row]["segmentation"] for row in some] for side, some in sides]
        found = coco_mask.iou(*masks, truth.crowd[objects])
    return np.asarray(found, dtype=np.float64)


def _keypoint_similarity(comparison: Comparison, rows: Rows, objects: Rows) -> Floats:
    """Mean over labelled points of exp(-d^2 / (2 area (2 sigma)^2))."""
    truth, answers = comparison.truth, comparison.answers
    asked = np.array([truth.shapes[row]["keypoints"] for row in objects]).reshape(len(objects), -1, 3)
    found = np.array([answers.shapes[row]["keypoints"] for row in rows]).reshape(len(rows), -1, 3)
    squares = ((found[:, None, :, :2] - asked[None, :, :, :2]) ** 2).sum(axis=3)  # (D, G, K)
    assert comparison.sigmas is not None  # noqa: S101  # keypoints have them
    scale = 2 * truth.areas[objects][None, :, None] * (2 * comparison.sigmas) ** 2
    labelled = asked[None, :, :, 2] > 0
    likeness = np.exp(-squares / np.maximum(scale, np.spacing(1))) * labelled
    similar: Floats = likeness.sum(axis=2) / np.maximum(labelled.sum(axis=2), 1)
    return similar
