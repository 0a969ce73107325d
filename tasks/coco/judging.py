"""What became of every answer and every true instance: found, of the wrong category, badly shaped, twice, made up."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from .scoring import Comparison, Floats, Instances

ENOUGH, SOME = 0.5, 0.1  # similarity that makes a hit, and that says what was meant

Rows = NDArray[np.int64]  # of `Instances`
Flags = NDArray[np.bool_]


class Kind(StrEnum):
    """Of an answer; `MISSED` is what nothing was answered about."""

    HIT = "right"
    CLASS = "wrong class"
    SHAPE = "bad shape"
    TWICE = "found twice"
    ALARM = "false alarm"
    IGNORED = "not counted"  # in a crowd, or nobody looked
    MISSED = "missed"


@dataclass(frozen=True)
class Verdict:
    """An answer, a true instance, or both where one is about the other; rows of `Instances`."""

    kind: Kind
    answer: int | None
    truth: int | None
    similarity: float = 0.0  # intersection over union, or object keypoint similarity


def verdicts(comparison: Comparison, least: float) -> Iterator[Verdict]:
    """Of all answers that score at least `least`, and all instances that are to be found, image by image.

    An answer hits the most similar instance of its category that no better answer has hit, as in COCO's evaluation;
    then those that hit nothing are told apart (as Bolya et al., arXiv 2008.08115, do).
    """
    truth, answers = comparison.truth, comparison.answers
    chosen = np.flatnonzero(answers.scores >= least)
    best_first = chosen[np.lexsort((-answers.scores[chosen], answers.images[chosen]))]
    mine = _by_image(best_first, answers, len(comparison.sizes))
    true = _by_image(np.arange(len(truth.images)), truth, len(comparison.sizes))
    for rows, objects in zip(mine, true, strict=True):
        if len(rows) or len(objects):
            yield from _judged(comparison, rows, objects)


def _by_image(rows: Rows, instances: Instances, images: int) -> list[Rows]:
    return np.split(rows, np.searchsorted(instances.images[rows], np.arange(2, images + 1)))


def _judged(comparison: Comparison, rows: Rows, objects: Rows) -> Iterator[Verdict]:
    image, answers = _Image.of(comparison, rows, objects), comparison.answers
    told: set[int | None] = set()  # instances that some answer is about
    for i, row in enumerate(rows.tolist()):
        kind, j = image.verdict(i)
        if kind is Kind.ALARM and not comparison.counts(answers.images[row], answers.categories[row]):
            kind = Kind.IGNORED
        told.add(j)
        yield Verdict(
            kind, row, None if j is None else int(objects[j]), 0.0 if j is None else float(image.similar[i, j])
        )
    left = [j for j in np.flatnonzero(~image.ignored).tolist() if j not in told]
    yield from (Verdict(Kind.MISSED, None, int(objects[j])) for j in left)


@dataclass(frozen=True, eq=False)
class _Image:
    """D answers, the best score first, and G true instances."""

    similar: Floats  # (D, G)
    same: Flags  # (D, G) of one category
    ignored: Flags  # (G,) nobody has to find them
    hits: dict[int, int]  # which instance an answer hits
    free: Flags  # (G,) what no answer has hit, or taken for another category

    @classmethod
    def of(cls, comparison: Comparison, rows: Rows, objects: Rows) -> _Image:
        similar, out = similarity(comparison, rows, objects), ignored(comparison, objects)
        same = comparison.answers.categories[rows][:, None] == comparison.truth.categories[objects]
        hits = _hits(np.where(same, similar, 0.0), out)
        free = ~out
        free[list(hits.values())] = False
        return cls(similar, same, out, hits, free)

    def verdict(self, i: int) -> tuple[Kind, int | None]:
        """Of an answer, and which instance it is about. To be asked in order."""
        if i in self.hits:
            return Kind.IGNORED if self.ignored[self.hits[i]] else Kind.HIT, self.hits[i]
        if (j := self._nearest(i, self.same[i] & ~self.free & ~self.ignored, ENOUGH)) is not None:
            return Kind.TWICE, j
        if (j := self._nearest(i, ~self.same[i] & self.free, ENOUGH)) is not None:
            self.free[j] = False
            return Kind.CLASS, j
        j = self._nearest(i, self.same[i] & self.free, SOME)
        return (Kind.ALARM if j is None else Kind.SHAPE), j

    def _nearest(self, i: int, group: Flags, least: float) -> int | None:
        near = np.where(group, self.similar[i], 0.0)
        return int(near.argmax()) if near.size and near.max() >= least else None


def _hits(similar: Floats, out: Flags) -> dict[int, int]:
    """Which instance each answer hits, of (D, G) similarities within categories; what is ignored comes last, and may
    be hit again and again."""
    found: dict[int, int] = {}
    waiting = ~out
    for i, row in enumerate(similar):
        for group in (waiting, out):
            near = np.where(group, row, 0.0)
            if i not in found and near.size and near.max() >= ENOUGH:
                found[i] = int(near.argmax())
                waiting[found[i]] = False
    return found


def ignored(comparison: Comparison, objects: Rows) -> Flags:
    """(G,) Crowds, and poses without a labelled point, which nobody has to find."""
    crowd = comparison.truth.crowd[objects]
    if comparison.iou_type != "keypoints":
        return crowd
    points = np.array([comparison.truth.shapes[row]["num_keypoints"] for row in objects], dtype=np.int64)
    out: Flags = crowd | (points == 0)
    return out


def similarity(comparison: Comparison, rows: Rows, objects: Rows) -> Floats:
    """(D, G) of answers and true instances of one image, as COCO's evaluation compares them."""
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
    """Mean over labelled points of exp(-d^2 / (2 area (2 sigma)^2)); 0 for a pose without one."""
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
