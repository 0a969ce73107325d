"""Average precision of boxes, masks and keypoints, as COCO defines it (Lin et al., arXiv 1405.0312)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from ..annotations import Boxes, Keypoints, Polygons
from ..errors import DataError
from .coco.ap import CocoAP, check_finite, name_of
from .coco.masks import Size, height_width, part_problem, run_lengths
from .coco.scoring import BOX_NUMBERS, POINT_LIMITS, POINT_NUMBERS
from .coco.scoring import PoseScorer as PoseScorer
from .coco.scoring import Scorer as Scorer


class BoxAP(CocoAP[Boxes]):
    """AP of boxes: over IoU 0.5:0.95, at 0.5 and 0.75, of small, medium and large objects; average recall
    with 1, 10 and 100 boxes an image, and of the sizes. All twelve numbers of COCO's summary."""

    annotation = Boxes
    iou_type = "bbox"
    shape = "box"
    numbers = BOX_NUMBERS


class MaskAP(CocoAP[Polygons]):
    """AP of masks, with the numbers of `BoxAP`. An instance is its run-length mask or else all that its parts cover.

    Parts of an answer with fewer than 3 points cover nothing. Raises DataError for those of the truth, for coordinates
    beyond 16 image sides, and for a mask of another size than the image.
    """

    annotation = Polygons
    iou_type = "segm"
    shape = "outline"
    numbers = BoxAP.numbers

    def check(self, boxes: Polygons, where: str, size: Size, predicted: bool) -> None:
        super().check(boxes, where, size, predicted)
        for row, (parts, mask) in enumerate(zip(boxes.parts, boxes.masks, strict=True)):
            problem = next(filter(None, (part_problem(part, size, predicted) for part in parts)), "")
            if mask is not None and list(mask["size"]) != height_width(size):
                problem = f"a mask of size {list(mask['size'])}; the image has [height, width] {height_width(size)}"
            if problem:
                raise DataError(f"{name_of(boxes, row, where, predicted)} has {problem}")

    def shapes(self, boxes: Polygons, size: Size) -> Iterator[dict[str, Any]]:
        for parts, mask in zip(boxes.parts, boxes.masks, strict=True):
            packed = run_lengths(parts, mask, *height_width(size))
            yield {"segmentation": packed, "area": float(coco_mask.area(packed))}


class KeypointAP(CocoAP[Keypoints]):
    """AP of keypoints: over object keypoint similarity 0.5:0.95, at 0.5 and 0.75, of medium and large objects; recall.

    At most 20 answers an image are counted. Truth without labelled points is ignored, as crowds are. Raises DataError
    where truth or answers have another number of points than the skeleton of the data set.
    """

    annotation = Keypoints
    iou_type = "keypoints"
    shape = "pose"
    numbers = POINT_NUMBERS
    limits = POINT_LIMITS

    def check(self, boxes: Keypoints, where: str, size: Size, predicted: bool) -> None:
        super().check(boxes, where, size, predicted)
        if not len(boxes):
            return
        names, count = self.dataset.skeleton.names, boxes.points.shape[1]
        if not names or count != len(names):
            found = f"the model writes {count} points" if predicted else f"is annotated with {count} points"
            has = f"{len(names)}: {', '.join(names)}" if names else "no named points"
            raise DataError(f"{where}: {found}, the data set {self.dataset.name} has {has}")
        check_finite(boxes, {"points": boxes.points}, where, predicted)

    def shapes(self, boxes: Keypoints, size: Size) -> Iterator[dict[str, Any]]:
        for points, visibility in zip(boxes.points, boxes.visibility, strict=True):
            yield {
                "keypoints": np.column_stack([points, visibility]).reshape(-1).tolist(),
                "num_keypoints": int((visibility > 0).sum()),
                "area": float(np.ptp(points, axis=0).prod()),  # of an answer, as COCO.loadRes has it
            }

    def sigmas(self) -> NDArray[np.float64]:
        return np.array(self.dataset.skeleton.sigmas)
