"""Average precision as COCO defines it (Lin et al., arXiv 1405.0312), of what a model answered image by image."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from ..annotations import Boxes, Keypoints, Polygons
from ..errors import DataError, nearest
from ..example import Example, Prediction
from ..task import DatasetInfo
from .coco_scoring import (
    BOX_NUMBERS,
    POINT_NUMBERS,
    Comparison,
    Instances,
    Number,
    Scorer,
    check_scorer,
    evaluate,
)

MAX_SIDES, MAX_LENGTH = 16, 1_000_000  # image sides an outline may reach, its pixels: native code takes memory for each
NOT_EXCHANGED = {"id", "area", "iscrowd", "num_keypoints"}
Size = tuple[float, float]  # (width, height)
B = TypeVar("B", bound=Boxes)


@dataclass(frozen=True, eq=False)
class _Image(Generic[B]):
    id: int | str
    size: Size
    truth: B
    answer: B


class CocoAP(Generic[B]):
    """What AP of boxes, masks and keypoints share. A kind of AP says which numbers it has and how shapes are written.

    Images that are not annotated with its kind are ignored; an answer without it is an empty one. Answers with a label
    that the data set does not have are ignored, and count for nothing. The order of `update` does not matter.
    """

    annotation: type[B]  # what it scores
    iou_type: ClassVar[str]  # of pycocotools: bbox, segm or keypoints
    numbers: ClassVar[Mapping[str, Number]]

    def __init__(self, dataset: DatasetInfo, scorer: Scorer = "pycocotools") -> None:
        """Raises UsageError where the package of the scorer is missing."""
        check_scorer(scorer)
        self.dataset, self.scorer = dataset, scorer
        self.category_ids = {category.name: category.id for category in dataset.categories}
        self.images: list[_Image[B]] = []

    def check(self, boxes: B, where: str, size: Size, predicted: bool) -> None:
        """Raise DataError, naming the image by `where`, for what pycocotools must not see. To be extended."""
        _check_finite(boxes, {name: getattr(boxes, name) for name in ("xyxy", "scores", "areas")}, where, predicted)
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
        self.images.append(_Image(example.id, example.size, truth, self._known(answer)))

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

    def _known(self, answer: B) -> B:
        return answer.take(np.array([label in self.category_ids for label in answer.labels], dtype=bool))

    def compute(self) -> dict[str, float]:
        """Numbers in [0, 1]; nan where there is no ground truth to find."""
        found = evaluate(self.comparison(), self.scorer)
        return {name: found.mean(number) for name, number in self.numbers.items()}

    def results(self) -> list[dict[str, Any]]:
        """The answers in COCO's results form, with the data set's own ids of images and categories."""
        rows = self._instances(self.images, predicted=True).rows()
        return [_exchanged({**row, "image_id": self.images[row["image_id"] - 1].id}) for row in rows]

    def comparison(self) -> Comparison:
        """What was collected, in the order of images' ids: equal scores are ranked by it, as in COCO's files."""
        images = sorted(self.images, key=lambda image: (isinstance(image.id, str), image.id))
        sizes = [(round(width), round(height)) for width, height in (image.size for image in images)]
        truth, answers = (self._instances(images, predicted) for predicted in (False, True))
        return Comparison(self.iou_type, sizes, self.category_ids, truth, answers, self.sigmas())

    def _instances(self, images: Sequence[_Image[B]], predicted: bool) -> Instances:
        found = [image.answer if predicted else image.truth for image in images]
        xyxy = np.concatenate([np.zeros((0, 4)), *(boxes.xyxy for boxes in found)])
        sides = np.maximum(xyxy[:, 2:] - xyxy[:, :2], 0.0)  # a turned answer is an empty box: a false positive
        numbers = np.fromiter(chain.from_iterable(map(self._numbers, found)), dtype=np.int64)
        areas = sides.prod(axis=1) if predicted else np.concatenate([np.zeros(0), *(boxes.areas for boxes in found)])
        shapes = [shape for image, boxes in zip(images, found, strict=True) for shape in self.shapes(boxes, image.size)]
        if shapes and predicted:
            areas = np.array([shape.get("area", area) for shape, area in zip(shapes, areas.tolist(), strict=True)])
        return Instances(
            images=np.repeat(np.arange(1, len(found) + 1), [len(boxes) for boxes in found]),
            categories=numbers,
            boxes=np.concatenate([xyxy[:, :2], sides], axis=1),
            areas=areas,
            crowd=np.concatenate([np.zeros(0, dtype=bool), *(boxes.crowd & (not predicted) for boxes in found)]),
            scores=np.concatenate([np.zeros(0), *(boxes.scores for boxes in found)]),
            shapes=shapes,
        )

    def _numbers(self, boxes: B) -> list[int]:
        return [self.category_ids[label] for label in boxes.labels]


def _exchanged(instance: Mapping[str, Any]) -> dict[str, Any]:
    """What a results file has of an answer; packed run lengths are text there."""
    kept = {key: value for key, value in instance.items() if key not in NOT_EXCHANGED}
    mask = kept.get("segmentation")
    return {**kept, "segmentation": {**mask, "counts": mask["counts"].decode()}} if mask else kept


def _check_finite(boxes: Boxes, arrays: Mapping[str, NDArray[np.float64]], where: str, predicted: bool) -> None:
    for name, values in arrays.items():
        if not np.isfinite(values).all():
            row, *place = np.argwhere(~np.isfinite(values))[0].tolist()
            value = values[(row, *place[:-1])].tolist()  # the whole box or point
            raise DataError(f"{_name(boxes, row, where, predicted)} has {name} {value}; it must be finite")


def _name(boxes: Boxes, row: int, where: str, predicted: bool) -> str:
    return f"{where}: predicted box {boxes.ids[row]}" if predicted else f"{where} box {boxes.ids[row]}"


class BoxAP(CocoAP[Boxes]):
    """AP of boxes: over IoU 0.5:0.95, at 0.5 and 0.75, of small, medium and large objects; average recall
    with 1, 10 and 100 boxes an image, and of the sizes. All twelve numbers of COCO's summary."""

    annotation = Boxes
    iou_type = "bbox"
    numbers: ClassVar = BOX_NUMBERS


class MaskAP(CocoAP[Polygons]):
    """AP of masks, with the numbers of `BoxAP`. An instance is its run-length mask or else all that its parts cover.

    Parts of an answer with fewer than 3 points cover nothing. Raises DataError for those of the truth, for coordinates
    beyond 16 image sides, and for a mask of another size than the image.
    """

    annotation = Polygons
    iou_type = "segm"
    numbers: ClassVar = BoxAP.numbers

    def check(self, boxes: Polygons, where: str, size: Size, predicted: bool) -> None:
        super().check(boxes, where, size, predicted)
        for row, (parts, mask) in enumerate(zip(boxes.parts, boxes.masks, strict=True)):
            problem = next(filter(None, (_part_problem(part, size, predicted) for part in parts)), "")
            if mask is not None and list(mask["size"]) != _height_width(size):
                problem = f"a mask of size {list(mask['size'])}; the image has [height, width] {_height_width(size)}"
            if problem:
                raise DataError(f"{_name(boxes, row, where, predicted)} has {problem}")

    def shapes(self, boxes: Polygons, size: Size) -> Iterator[dict[str, Any]]:
        for parts, mask in zip(boxes.parts, boxes.masks, strict=True):
            packed = _run_lengths(parts, mask, *_height_width(size))
            yield {"segmentation": packed, "area": float(coco_mask.area(packed))}


def _height_width(size: Size) -> list[int]:
    return [round(size[1]), round(size[0])]


def _part_problem(part: NDArray[np.float64], size: Size, predicted: bool) -> str:
    """What is wrong with an outline (P, 2), or nothing."""
    if len(strange := part[~(np.abs(part) <= MAX_SIDES * max(size))]):  # nan too
        return f"an outline with {strange[0]}; it must be finite and within {MAX_SIDES} image sides"
    if len(part) and np.abs(part - np.roll(part, 1, axis=0)).max(axis=1).sum() > MAX_LENGTH:
        return f"an outline longer than {MAX_LENGTH} pixels; remove points that go to and fro"
    return "" if predicted or len(part) >= 3 else f"an outline with {len(part)} points; it needs 3"


def _run_lengths(
    parts: Sequence[NDArray[np.float64]], mask: Mapping[str, Any] | None, height: int, width: int
) -> Mapping[str, Any]:
    """The packed mask of all that the outlines (P, 2) cover where there is no `mask`; empty without either."""
    corners = [part.reshape(-1).tolist() for part in parts if len(part) >= 3]
    if mask is None and corners:
        return dict(coco_mask.merge(coco_mask.frPyObjects(corners, height, width)))
    found: Mapping[str, Any] = mask or {"size": [height, width], "counts": [height * width]}
    return coco_mask.frPyObjects(found, height, width) if isinstance(found["counts"], list) else found


class KeypointAP(CocoAP[Keypoints]):
    """AP of keypoints: over object keypoint similarity 0.5:0.95, at 0.5 and 0.75, of medium and large objects; recall.

    At most 20 answers an image are counted. Truth without labelled points is ignored, as crowds are. Raises DataError
    where truth or answers have another number of points than the skeleton of the data set.
    """

    annotation = Keypoints
    iou_type = "keypoints"
    numbers: ClassVar = POINT_NUMBERS

    def check(self, boxes: Keypoints, where: str, size: Size, predicted: bool) -> None:
        super().check(boxes, where, size, predicted)
        if not len(boxes):
            return
        names, count = self.dataset.skeleton.names, boxes.points.shape[1]
        if not names or count != len(names):
            found = f"the model writes {count} points" if predicted else f"is annotated with {count} points"
            has = f"{len(names)}: {', '.join(names)}" if names else "no named points"
            raise DataError(f"{where}: {found}, the data set {self.dataset.name} has {has}")
        _check_finite(boxes, {"points": boxes.points}, where, predicted)

    def shapes(self, boxes: Keypoints, size: Size) -> Iterator[dict[str, Any]]:
        for points, visibility in zip(boxes.points, boxes.visibility, strict=True):
            yield {
                "keypoints": np.column_stack([points, visibility]).reshape(-1).tolist(),
                "num_keypoints": int((visibility > 0).sum()),
                "area": float(np.ptp(points, axis=0).prod()),  # of an answer, as COCO.loadRes has it
            }

    def sigmas(self) -> NDArray[np.float64]:
        return np.array(self.dataset.skeleton.sigmas)
