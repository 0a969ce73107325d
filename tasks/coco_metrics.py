"""Average precision as COCO defines it (Lin et al., arXiv 1405.0312), by pycocotools itself, in memory and silent."""

from __future__ import annotations

import contextlib
import io
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from ..annotations import Boxes
from ..errors import DataError, nearest
from ..example import Example, Prediction
from ..task import DatasetInfo


@dataclass(frozen=True, eq=False)
class _Image:
    id: int | str
    size: tuple[float, float]
    truth: Boxes
    answer: Boxes


class CocoAP:
    """What AP of boxes, masks and keypoints share. A kind of AP says which numbers it has and how shapes are written.

    Images that are not annotated with `kind` are ignored; an answer without it is an empty one. Answers with a label
    that the data set does not have are ignored, and count for nothing. The order of `update` does not matter.
    """

    kind: ClassVar[str]
    iou_type: ClassVar[str]  # of pycocotools: bbox, segm or keypoints
    numbers: ClassVar[Mapping[str, int]]  # name of a result -> its place in COCOeval.stats

    def __init__(self, dataset: DatasetInfo) -> None:
        self.dataset = dataset
        self.category_ids = {category.name: category.id for category in dataset.categories}
        self.images: list[_Image] = []

    def shape(self, boxes: Boxes, row: int) -> dict[str, Any]:
        """What the COCO dict of one instance has besides its box; a prediction's `area`, if it is not the box's."""
        return {}

    def evaluation(self, truth: COCO, answers: COCO) -> COCOeval:
        """To be extended by whoever has other parameters, such as the sigmas of keypoints."""
        return COCOeval(truth, answers, self.iou_type)

    def update(self, prediction: Prediction, example: Example) -> None:
        """Raises DataError where a number is not finite, or the truth has a turned box or an unknown category."""
        truth, answer = example.annotations.get(self.kind), prediction.annotations.get(self.kind)
        if not isinstance(truth, Boxes):
            return
        answer = answer if isinstance(answer, Boxes) else truth.take([])
        where = f"{example.file} (image {example.id})"
        self._check_truth(truth, where)
        _check_finite(answer, f"{where}: predicted")
        self.images.append(_Image(example.id, example.size, truth, self._known(answer)))

    def _check_truth(self, truth: Boxes, where: str) -> None:
        _check_finite(truth, where)
        for row, label in enumerate(truth.labels):
            x0, y0, x1, y1 = truth.xyxy[row].tolist()
            if x1 < x0 or y1 < y0:
                raise DataError(f"{where}: box {truth.ids[row]} is turned: xyxy {[x0, y0, x1, y1]}; order its corners")
            if label not in self.category_ids:
                hint = nearest(label, self.category_ids)
                raise DataError(
                    f"{where}: box {truth.ids[row]} has the unknown category '{label}'{hint}; list it in the data set"
                )

    def _known(self, answer: Boxes) -> Boxes:
        return answer.take(np.array([label in self.category_ids for label in answer.labels], dtype=bool))

    def compute(self) -> dict[str, float]:
        """Numbers in [0, 1]; nan where there is no ground truth to find."""
        # Equal scores are ranked by the order of images: as in COCO's files, by their ids.
        images = sorted(self.images, key=lambda image: (isinstance(image.id, str), image.id))
        with contextlib.redirect_stdout(io.StringIO()):
            truth = self._coco(images, [image.truth for image in images], predicted=False)
            answers = self._coco(images, [image.answer for image in images], predicted=True)
            evaluation = self.evaluation(truth, answers)
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
        return {name: _number(evaluation.stats[place]) for name, place in self.numbers.items()}

    def _coco(self, images: Iterable[_Image], annotations: Iterable[Boxes], *, predicted: bool) -> COCO:
        """A COCO object with images numbered from 1, whatever their own ids."""
        rows: list[dict[str, Any]] = []
        for number, boxes in enumerate(annotations, 1):
            rows += [{**self._instance(boxes, row, predicted), "image_id": number} for row in range(len(boxes))]
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

    def _instance(self, boxes: Boxes, row: int, predicted: bool) -> dict[str, Any]:
        x0, y0, x1, y1 = boxes.xyxy[row].tolist()
        width, height = max(x1 - x0, 0.0), max(y1 - y0, 0.0)  # a turned answer is an empty box: a false positive
        instance = {
            "category_id": self.category_ids[boxes.labels[row]],
            "bbox": [x0, y0, width, height],
            "area": width * height,
            **self.shape(boxes, row),
        }
        if predicted:
            return {**instance, "score": float(boxes.scores[row]), "iscrowd": 0}
        return {**instance, "area": float(boxes.areas[row]), "iscrowd": int(boxes.crowd[row])}


def _check_finite(boxes: Boxes, where: str) -> None:
    for name in ("xyxy", "scores", "areas"):
        values = getattr(boxes, name)
        if not np.isfinite(values).all():
            row = int(np.argwhere(~np.isfinite(values))[0, 0])
            raise DataError(f"{where} box {boxes.ids[row]} has {name} {values[row].tolist()}; it must be finite")


def _number(stat: float) -> float:
    """COCOeval says -1 where it has nothing to average, and 1 - 2e-16 where it means 1 (it adds that to divisors)."""
    return math.nan if stat == -1 else round(float(stat), 12)


class BoxAP(CocoAP):
    """AP of boxes: over IoU 0.5:0.95, at 0.5 and 0.75, of small, medium and large objects; recall with 100 boxes."""

    kind = "boxes"
    iou_type = "bbox"
    numbers: ClassVar = {"AP": 0, "AP50": 1, "AP75": 2, "APs": 3, "APm": 4, "APl": 5, "AR100": 8}
