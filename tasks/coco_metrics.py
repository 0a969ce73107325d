"""Average precision as COCO defines it (Lin et al., arXiv 1405.0312), by pycocotools itself, in memory and silent."""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from ..annotations import Boxes, Keypoints, Polygons
from ..errors import DataError, nearest
from ..example import Example, Prediction
from ..task import DatasetInfo

MAX_SIDES, MAX_LENGTH = 16, 1_000_000  # image sides an outline may reach, its pixels: native code takes memory for each
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
    numbers: ClassVar[Mapping[str, int]]  # name of a result -> its place in COCOeval.stats

    def __init__(self, dataset: DatasetInfo) -> None:
        self.dataset = dataset
        self.category_ids = {category.name: category.id for category in dataset.categories}
        self.images: list[_Image[B]] = []

    def check(self, boxes: B, where: str, size: Size, predicted: bool) -> None:
        """Raise DataError, naming the image by `where`, for what pycocotools must not see. To be extended."""
        _check_finite(boxes, {name: getattr(boxes, name) for name in ("xyxy", "scores", "areas")}, where, predicted)
        if not predicted:
            self._check_truth(boxes, where)

    def shape(self, boxes: B, row: int, size: Size) -> dict[str, Any]:
        """What the COCO dict of one instance has besides its box; a prediction's `area`, if it is not the box's."""
        return {}

    def evaluation(self, truth: COCO, answers: COCO) -> COCOeval:
        """To be extended by whoever has other parameters, such as the sigmas of keypoints."""
        return COCOeval(truth, answers, self.iou_type)

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
        # Equal scores are ranked by the order of images: as in COCO's files, by their ids.
        images = sorted(self.images, key=lambda image: (isinstance(image.id, str), image.id))
        with contextlib.redirect_stdout(io.StringIO()):
            truth, answers = self._coco(images, predicted=False), self._coco(images, predicted=True)
            evaluation = self.evaluation(truth, answers)
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
        return {name: _number(evaluation.stats[place]) for name, place in self.numbers.items()}

    def results(self) -> list[dict[str, Any]]:
        """The answers in COCO's results form, with the data set's own ids of images and categories."""
        return [
            {"image_id": image.id, **_exchanged(self._instance(image.answer, row, image.size, predicted=True))}
            for image in self.images
            for row in range(len(image.answer))
        ]

    def _coco(self, images: Sequence[_Image[B]], *, predicted: bool) -> COCO:
        """A COCO object with images numbered from 1, whatever their own ids."""
        rows: list[dict[str, Any]] = []
        for number, image in enumerate(images, 1):
            boxes = image.answer if predicted else image.truth
            found = (self._instance(boxes, row, image.size, predicted) for row in range(len(boxes)))
            rows += [{**instance, "image_id": number} for instance in found]
        coco = COCO()
        coco.dataset = {
            "images": [
                {"id": number, "width": round(image.size[0]), "height": round(image.size[1])}
                for number, image in enumerate(images, 1)
            ],
            "categories": [{"id": number, "name": name} for name, number in self.category_ids.items()],
            # From 1: a match with the id 0 would count as none.
            "annotations": [{**row, "id": number} for number, row in enumerate(rows, 1)],
        }
        coco.createIndex()
        return coco

    def _instance(self, boxes: B, row: int, size: Size, predicted: bool) -> dict[str, Any]:
        x0, y0, x1, y1 = boxes.xyxy[row].tolist()
        width, height = max(x1 - x0, 0.0), max(y1 - y0, 0.0)  # a turned answer is an empty box: a false positive
        instance = {
            "category_id": self.category_ids[boxes.labels[row]],
            "bbox": [x0, y0, width, height],
            "area": width * height,
            **self.shape(boxes, row, size),
        }
        if predicted:
            return {**instance, "score": float(boxes.scores[row]), "iscrowd": 0}
        return {**instance, "area": float(boxes.areas[row]), "iscrowd": int(boxes.crowd[row])}


def _exchanged(instance: Mapping[str, Any]) -> dict[str, Any]:
    """What a results file has of an answer; packed run lengths are text there."""
    kept = {key: value for key, value in instance.items() if key not in ("area", "iscrowd", "num_keypoints")}
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


def _number(stat: float) -> float:
    """COCOeval says -1 where it has nothing to average, and 1 - 2e-16 where it means 1 (it adds that to divisors)."""
    return math.nan if stat == -1 else round(float(stat), 12)


class BoxAP(CocoAP[Boxes]):
    """AP of boxes: over IoU 0.5:0.95, at 0.5 and 0.75, of small, medium and large objects; recall with 100 boxes."""

    annotation = Boxes
    iou_type = "bbox"
    numbers: ClassVar = {"AP": 0, "AP50": 1, "AP75": 2, "APs": 3, "APm": 4, "APl": 5, "AR100": 8}


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

    def shape(self, boxes: Polygons, row: int, size: Size) -> dict[str, Any]:
        mask = _run_lengths(boxes.parts[row], boxes.masks[row], *_height_width(size))
        return {"segmentation": mask, "area": float(coco_mask.area(mask))}


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
    numbers: ClassVar = {"AP": 0, "AP50": 1, "AP75": 2, "APm": 3, "APl": 4, "AR": 5}

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

    def shape(self, boxes: Keypoints, row: int, size: Size) -> dict[str, Any]:
        points, visibility = boxes.points[row], boxes.visibility[row]
        return {
            "keypoints": np.column_stack([points, visibility]).reshape(-1).tolist(),
            "num_keypoints": int((visibility > 0).sum()),
            "area": float(np.ptp(points, axis=0).prod()),  # of an answer, as COCO.loadRes has it
        }

    def evaluation(self, truth: COCO, answers: COCO) -> COCOeval:
        evaluation = super().evaluation(truth, answers)
        evaluation.params.kpt_oks_sigmas = np.array(self.dataset.skeleton.sigmas)
        return evaluation
