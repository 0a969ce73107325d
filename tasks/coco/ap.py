"""Average precision as COCO defines it (Lin et al., arXiv 1405.0312), of what a model answered image by image."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from ...annotations import Boxes
from ...errors import DataError, nearest
from ...example import Example, Prediction
from ...figures import Figure
from ...searched import Searched
from ...task import DatasetInfo
from .figures import figures
from .masks import Size
from .matches import ApResampler, all_matches
from .scoring import (
    BOX_LIMITS,
    LVIS_LIMITS,
    LVIS_NUMBERS,
    Comparison,
    Found,
    Instances,
    Number,
    Scorer,
    check_scorer,
    evaluate,
)
from .seen import Seen

NOT_EXCHANGED = {"id", "area", "iscrowd", "num_keypoints"}
B = TypeVar("B", bound=Boxes)


@dataclass(frozen=True, eq=False)
class _Side(Generic[B]):
    boxes: B
    categories: NDArray[np.int64]  # (N,) their ids


@dataclass(frozen=True, eq=False)
class _Image(Generic[B]):
    id: int | str
    size: Size
    truth: _Side[B]
    answer: _Side[B]
    searched: Searched | None  # for which categories; None: for all


class CocoAP(Generic[B]):
    """What AP of boxes, masks and keypoints share. A kind of AP says which numbers it has and how shapes are written.

    Images that are not annotated with its kind are ignored; an answer without it is an empty one. Answers with a label
    that the data set does not have are ignored, and count for nothing. The order of `update` does not matter.
    """

    annotation: type[B]  # what it scores
    iou_type: ClassVar[str]  # of pycocotools: bbox, segm or keypoints
    shape: ClassVar[str]  # what of an instance may be wrong besides its category, in a word
    numbers: Mapping[str, Number]
    limits: Sequence[int] = BOX_LIMITS  # on answers an image

    def __init__(self, dataset: DatasetInfo, scorer: Scorer = "pycocotools") -> None:
        """Raises UsageError where the package of the scorer is missing."""
        check_scorer(scorer)
        self.dataset, self.scorer = dataset, scorer
        if scorer == "lvis":
            self.numbers, self.limits = LVIS_NUMBERS, LVIS_LIMITS
        self.categories = sorted(dataset.categories, key=lambda category: category.id)  # as COCO's evaluation has them
        self.category_ids = {category.name: category.id for category in self.categories}
        self.images: list[_Image[B]] = []
        self._found: Found | None = None  # of these images

    def check(self, boxes: B, where: str, size: Size, predicted: bool) -> None:
        """Raise DataError, naming the image by `where`, for what pycocotools must not see. To be extended."""
        check_finite(boxes, {name: getattr(boxes, name) for name in ("xyxy", "scores", "areas")}, where, predicted)
        if not predicted:
            self._check_truth(boxes, where)

    def shapes(self, boxes: B, size: Size) -> Iterable[dict[str, Any]]:
        """What the COCO dict of each instance has besides its box; the `area` of a prediction, where it
        is not the box's. Nothing at all where boxes are all there is."""
        return ()

    def sigmas(self) -> NDArray[np.float64] | None:
        """How far each keypoint may lie off; None for other shapes."""
        return None

    def update(self, prediction: Prediction, example: Example) -> None:
        """Raises DataError where a number is not finite, or the truth has a turned box or an unknown category."""
        kind = self.annotation.kind
        truth, answer = example.annotations.get(kind), prediction.annotations.get(kind)
        if not isinstance(truth, self.annotation):
            return
        answer = answer if isinstance(answer, self.annotation) else truth.take([])
        where = f"{example.file} (image {example.id})"
        self.check(truth, where, example.size, predicted=False)
        self.check(answer, where, example.size, predicted=True)
        self._found = None
        searched = example.annotations.get("searched")
        if self.scorer == "lvis" and not isinstance(searched, Searched):
            what = "scorer=lvis needs neg_category_ids, which say what the image was searched for"
            raise DataError(f"{where}: {what}; score other data with scorer=pycocotools")
        known = searched if isinstance(searched, Searched) else None
        self.images.append(_Image(example.id, example.size, self._side(truth), self._side(answer), known))

    def _check_truth(self, truth: B, where: str) -> None:
        for row, label in enumerate(truth.labels):
            x0, y0, x1, y1 = truth.xyxy[row].tolist()
            if x1 < x0 or y1 < y0:
                raise DataError(f"{where}: box {truth.ids[row]} is turned: xyxy {[x0, y0, x1, y1]}; order its corners")
            if label not in self.category_ids:
                hint = nearest(label, self.category_ids)
                raise DataError(
                    f"{where}: box {truth.ids[row]} has the unknown category '{label}'{hint}; list it in the data set"
                )

    def _side(self, boxes: B) -> _Side[B]:
        """Those of categories that the data set has."""
        numbers = list(map(self.category_ids.get, boxes.labels))
        if None in numbers:
            return self._side(boxes.take(np.array([number is not None for number in numbers], dtype=bool)))
        return _Side(boxes, np.array(numbers, dtype=np.int64))

    def found(self) -> Found:
        """What COCO's evaluation says of all that was collected."""
        self._found = self._found or evaluate(self.comparison(), self.scorer)
        return self._found

    def compute(self) -> dict[str, float]:
        """Numbers in [0, 1]; nan where there is no ground truth to find."""
        often = [category.frequency for category in self.categories]
        rows = {some: [row for row, one in enumerate(often) if some in ("", one)] for some in {"", *often}}
        return {name: self.found().mean(n, rows.get(n.frequency, ())) for name, n in self.numbers.items()}

    def per_category(self) -> dict[str, dict[str, float]]:
        """The same of each category."""
        numbers = {name: number for name, number in self.numbers.items() if not number.frequency}
        return {
            category: {name: self.found().mean(number, [row]) for name, number in numbers.items()}
            for row, category in enumerate(self.category_ids)
        }

    def resampler(self) -> ApResampler:
        """For intervals over images."""
        ids = [image.id for image in self._ordered()]
        comparison = self.comparison()
        matches = all_matches(comparison, self.scorer)
        return ApResampler(ids, matches, self.numbers, self.limits, comparison.frequencies)

    def figures(self) -> list[Figure]:
        """For a report."""
        images, comparison = self._ordered(), self.comparison()
        return figures(
            Seen(
                comparison=comparison,
                found=self.found(),
                matches=all_matches(comparison, self.scorer),
                ids=[image.id for image in images],
                truth=[image.truth.boxes for image in images],
                answers=[image.answer.boxes for image in images],
                shape=self.shape,
            )
        )

    def results(self) -> list[dict[str, Any]]:
        """The answers in COCO's results form, with the data set's own ids of images and categories."""
        rows = self._instances(self.images, predicted=True).rows()
        return [_exchanged({**row, "image_id": self.images[row["image_id"] - 1].id}) for row in rows]

    def comparison(self) -> Comparison:
        """What was collected, in the order of images' ids: equal scores are ranked by it, as in COCO's files."""
        images = self._ordered()
        sizes = [(round(width), round(height)) for width, height in (image.size for image in images)]
        truth, answers = (self._instances(images, predicted) for predicted in (False, True))
        often = {category.id: category.frequency for category in self.categories}
        searched = [self._searched(image) for image in images] if self.scorer == "lvis" else ()
        return Comparison(self.iou_type, sizes, self.category_ids, truth, answers, self.sigmas(), often, searched)

    def _searched(self, image: _Image[B]) -> tuple[list[int], list[int]]:
        kinds = (image.searched.absent, image.searched.partial) if image.searched else ((), ())
        absent, partial = ([self.category_ids[name] for name in names if name in self.category_ids] for names in kinds)
        return absent, partial

    def _ordered(self) -> list[_Image[B]]:
        return sorted(self.images, key=lambda image: (isinstance(image.id, str), image.id))

    def _instances(self, images: Sequence[_Image[B]], predicted: bool) -> Instances:
        sides = [image.answer if predicted else image.truth for image in images]
        found = [side.boxes for side in sides]
        xyxy = np.concatenate([np.zeros((0, 4)), *(boxes.xyxy for boxes in found)])
        extents = np.maximum(xyxy[:, 2:] - xyxy[:, :2], 0.0)  # a turned answer is an empty box: a false positive
        areas = extents.prod(axis=1) if predicted else np.concatenate([np.zeros(0), *(boxes.areas for boxes in found)])
        shapes = [shape for image, boxes in zip(images, found, strict=True) for shape in self.shapes(boxes, image.size)]
        if shapes and predicted:
            areas = np.array([shape.get("area", area) for shape, area in zip(shapes, areas.tolist(), strict=True)])
        crowd = [np.zeros(len(xyxy), dtype=bool)] if predicted else [boxes.crowd for boxes in found]
        return Instances(
            images=np.repeat(np.arange(1, len(found) + 1), [len(boxes) for boxes in found]),
            categories=np.concatenate([np.zeros(0, dtype=np.int64), *(side.categories for side in sides)]),
            boxes=np.concatenate([xyxy[:, :2], extents], axis=1),
            areas=areas,
            crowd=np.concatenate([np.zeros(0, dtype=bool), *crowd]),
            scores=np.concatenate([np.zeros(0), *(boxes.scores for boxes in found)]),
            shapes=shapes,
        )


def _exchanged(instance: Mapping[str, Any]) -> dict[str, Any]:
    """What a results file has of an answer; packed run lengths are text there."""
    kept = {key: value for key, value in instance.items() if key not in NOT_EXCHANGED}
    mask = kept.get("segmentation")
    return {**kept, "segmentation": {**mask, "counts": mask["counts"].decode()}} if mask else kept


def check_finite(boxes: Boxes, arrays: Mapping[str, NDArray[np.float64]], where: str, predicted: bool) -> None:
    """Raises DataError, naming the box and the array, for a number that is not finite; arrays are (N, ...)."""
    for name, values in arrays.items():
        if np.count_nonzero(np.isfinite(values)) < values.size:  # a third of the time of `all`
            row, *place = np.argwhere(~np.isfinite(values))[0].tolist()
            value = values[(row, *place[:-1])].tolist()  # the whole box or point
            raise DataError(f"{name_of(boxes, row, where, predicted)} has {name} {value}; it must be finite")


def name_of(boxes: Boxes, row: int, where: str, predicted: bool) -> str:
    """How messages call a box."""
    return f"{where}: predicted box {boxes.ids[row]}" if predicted else f"{where} box {boxes.ids[row]}"
