"""COCO's evaluation (Lin et al., arXiv 1405.0312) of true and answered instances, in memory and silent.

By pycocotools, the reference, or by hotcoco, which gives the same numbers far sooner; or, by hotcoco, the evaluation of
LVIS (Gupta et al., arXiv 1908.03195), whose images were searched for some of the categories alone.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from ...errors import UsageError

PoseScorer = Literal["pycocotools", "hotcoco"]
Scorer = Literal["pycocotools", "hotcoco", "lvis"]
Floats = NDArray[np.float64]
THRESHOLDS = np.linspace(0.5, 0.95, 10)  # of overlap
DIGITS = 12  # COCOeval says 1 - 2e-16 where it means 1: it adds that to divisors
ROWS = 100_000  # answers evaluated at a time, a few hundred bytes each


@dataclass(frozen=True, eq=False)
class Instances:
    """N instances of all images, as columns."""

    images: NDArray[np.int64]  # (N,) numbered from 1
    categories: NDArray[np.int64]  # (N,) their ids
    boxes: Floats  # (N, 4) left, top, width, height in pixels
    areas: Floats  # (N,)
    crowd: NDArray[np.bool_]  # (N,)
    scores: Floats  # (N,)
    shapes: Sequence[Mapping[str, Any]] = ()  # N, what COCO's dicts have besides; none: nothing

    def rows_of(self, categories: Sequence[int]) -> NDArray[np.int64]:
        """Where those of some categories are."""
        return np.flatnonzero(np.isin(self.categories, categories))

    def of(self, categories: Sequence[int]) -> Instances:
        """Those of some categories."""
        kept = self.rows_of(categories)
        return Instances(
            images=self.images[kept],
            categories=self.categories[kept],
            boxes=self.boxes[kept],
            areas=self.areas[kept],
            crowd=self.crowd[kept],
            scores=self.scores[kept],
            shapes=[self.shapes[row] for row in kept.tolist()] if self.shapes else (),
        )

    def rows(self) -> Iterator[dict[str, Any]]:
        """COCO's dicts, numbered from 1: a match with the id 0 would count as none."""
        columns = (self.images, self.categories, self.boxes, self.areas, self.crowd.astype(int), self.scores)
        names = ("image_id", "category_id", "bbox", "area", "iscrowd", "score")
        for row, values in enumerate(zip(*(column.tolist() for column in columns), strict=True)):
            shape = self.shapes[row] if self.shapes else {}
            yield {**shape, "id": row + 1, **dict(zip(names, values, strict=True))}


@dataclass(frozen=True, eq=False)
class Comparison:
    """What is to be scored."""

    iou_type: str  # of pycocotools: bbox, segm or keypoints
    sizes: Sequence[tuple[int, int]]  # (width, height) of each image
    categories: Mapping[str, int]  # their ids by name
    truth: Instances
    answers: Instances
    sigmas: Floats | None = None  # of keypoints
    frequencies: Mapping[int, str] = field(default_factory=dict)  # of categories, by id: r, c or f in LVIS
    searched: Sequence[tuple[Sequence[int], Sequence[int]]] = ()  # ids of each image: absent, partly annotated

    def parts(self) -> Iterator[Comparison]:
        """The same for some categories each, of at most ROWS answers where a category has no more. LVIS has a limit on
        the answers of all categories together, and is left whole."""
        if self.searched:
            yield self
            return
        numbers, times = np.unique(self.answers.categories, return_counts=True)
        counts = Counter(dict(zip(numbers.tolist(), times.tolist(), strict=True)))
        some: dict[str, int] = {}
        for name, number in self.categories.items():
            if some and sum(counts[n] for n in some.values()) + counts[number] > ROWS:
                yield self._part(some)
                some = {}
            some[name] = number
        yield self._part(some)

    def _part(self, categories: Mapping[str, int]) -> Comparison:
        if len(categories) == len(self.categories):
            return self
        truth, answers = (side.of(list(categories.values())) for side in (self.truth, self.answers))
        return replace(self, categories=categories, truth=truth, answers=answers)

    def images(self) -> list[dict[str, Any]]:
        """COCO's dicts; LVIS's where it is known what the images were searched for."""
        rows: list[dict[str, Any]] = [{"id": n, "width": w, "height": h} for n, (w, h) in enumerate(self.sizes, 1)]
        for row, (absent, partial) in zip(rows, self.searched, strict=False):
            row |= {"neg_category_ids": absent, "not_exhaustive_category_ids": partial}
        return rows

    def dataset(self, instances: Instances) -> dict[str, Any]:
        """What a file of COCO would hold."""
        return {"images": self.images(), "categories": self.classes(), "annotations": list(instances.rows())}

    def classes(self) -> list[dict[str, Any]]:
        """COCO's dicts of the categories."""
        often = self.frequencies
        return [{"id": n, "name": name, "frequency": often.get(n, "")} for name, n in self.categories.items()]


class Number(NamedTuple):
    """Which number of COCO's summary: a mean over categories and thresholds of overlap."""

    what: Literal["precision", "recall"]
    threshold: float | None = None  # this one alone
    area: int = 0  # place among the ranges of size, of which the first has all
    limit: int = -1  # place among the limits on answers an image, of which the last is the largest
    frequency: str = ""  # of the categories; empty: all


_PRECISION = {"AP": Number("precision"), "AP50": Number("precision", 0.5), "AP75": Number("precision", 0.75)}
BOX_NUMBERS = {  # of boxes and masks; sizes are all, small, medium, large
    **_PRECISION,
    **{f"AP{size}": Number("precision", area=area) for area, size in enumerate("sml", 1)},
    **{f"AR{most}": Number("recall", limit=limit) for limit, most in enumerate((1, 10, 100))},
    **{f"AR{size}": Number("recall", area=area) for area, size in enumerate("sml", 1)},
}
POINT_NUMBERS = {  # of keypoints; sizes are all, medium, large
    **_PRECISION,
    **{f"AP{size}": Number("precision", area=area) for area, size in enumerate("ml", 1)},
    "AR": Number("recall"),
    "AR50": Number("recall", 0.5),
    "AR75": Number("recall", 0.75),
    **{f"AR{size}": Number("recall", area=area) for area, size in enumerate("ml", 1)},
}
LVIS_NUMBERS = {  # of boxes and masks
    **_PRECISION,
    **{f"AP{size}": Number("precision", area=area) for area, size in enumerate("sml", 1)},
    **{f"AP{often}": Number("precision", frequency=often) for often in "rcf"},
    "AR@300": Number("recall"),
    **{f"AR{size}@300": Number("recall", area=area) for area, size in enumerate("sml", 1)},
}
LVIS_LIMITS = (300,)
BOX_LIMITS, POINT_LIMITS = (1, 10, 100), (20,)  # on answers an image


class Found(NamedTuple):
    """What COCO's evaluation says; -1 where there is nothing to find. Limits are those on answers an image."""

    precision: Floats  # (thresholds, recalls, categories, areas, limits)
    recall: Floats  # (thresholds, categories, areas, limits)

    def mean(self, number: Number, categories: Sequence[int]) -> float:
        """One number of the categories at these places; nan where there is nothing to find."""
        values: Floats = getattr(self, number.what)[..., list(categories), number.area, number.limit]
        if number.threshold is not None:
            values = values[np.isclose(THRESHOLDS, number.threshold)]
        values = values[values > -1]
        return round(float(values.mean()), DIGITS) if values.size else math.nan


def check_scorer(scorer: Scorer) -> None:
    """Raises UsageError where the package is missing."""
    if importlib.util.find_spec("hotcoco" if scorer == "lvis" else scorer) is None:
        raise UsageError(f"scorer={scorer} needs an extra: pip install 'multitask-prompts[fast]'")


def evaluate(comparison: Comparison, scorer: Scorer) -> Found:
    """What one of the two finds, the same to 1e-6. Some categories at a time, which know nothing of each other: the
    copies that it makes of the instances never lie in memory all at once."""
    parts = [_evaluated(part, scorer) for part in comparison.parts()]
    return Found(
        np.concatenate([part.precision for part in parts], axis=2),
        np.concatenate([part.recall for part in parts], axis=1),
    )


def _evaluated(comparison: Comparison, scorer: Scorer) -> Found:
    evaluation = match(comparison, scorer)
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation.accumulate()
    return Found(*(np.asarray(evaluation.eval[name]) for name in Found._fields))


def match(comparison: Comparison, scorer: Scorer) -> Any:
    """A COCOeval that has matched answers with the truth."""
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = _by_pycocotools(comparison) if scorer == "pycocotools" else _by_hotcoco(comparison, scorer)
        evaluation.evaluate()
    return evaluation


def _by_pycocotools(comparison: Comparison) -> Any:
    sides = []
    for instances in (comparison.truth, comparison.answers):
        coco = COCO()
        coco.dataset = comparison.dataset(instances)
        coco.createIndex()
        sides.append(coco)
    evaluation = COCOeval(*sides, comparison.iou_type)
    if comparison.sigmas is not None:
        evaluation.params.kpt_oks_sigmas = comparison.sigmas
    return evaluation


def _by_hotcoco(comparison: Comparison, scorer: Scorer) -> Any:
    import hotcoco

    if comparison.truth.shapes or comparison.answers.shapes or comparison.searched:
        truth, answers = (hotcoco.COCO(comparison.dataset(side)) for side in (comparison.truth, comparison.answers))
    else:  # dicts would cost more than the evaluation
        truth, answers = _in_columns(hotcoco, comparison)
    evaluation = hotcoco.COCOeval(truth, answers, comparison.iou_type, lvis_style=scorer == "lvis")
    if comparison.sigmas is not None:
        evaluation.params.kpt_oks_sigmas = comparison.sigmas.tolist()
    return evaluation


def _in_columns(hotcoco: Any, comparison: Comparison) -> tuple[Any, Any]:
    truth, answers = comparison.truth, comparison.answers
    known = hotcoco.COCO.from_arrays(
        comparison.images(),
        comparison.classes(),
        truth.images,
        truth.categories,
        truth.boxes,
        area=truth.areas,
        iscrowd=truth.crowd.astype(np.int64),
    )
    columns = (answers.images, answers.boxes, answers.scores, answers.categories)
    return known, known.load_res(np.column_stack(columns))
