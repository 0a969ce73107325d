"""Scores as everybody gets them, from JSON files through COCO.loadRes, and similarities as they are defined."""

from __future__ import annotations

import json

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval, Params

from multitask.tasks.coco.ap import CocoAP

THRESHOLDS = Params("segm").iouThrs


@pytest.fixture(autouse=True, params=["pycocotools", "hotcoco"])
def scorer(request, monkeypatch):
    """Everything in a module that has this fixture holds for both."""
    monkeypatch.setattr(CocoAP.__init__, "__defaults__", (request.param,))
    return request.param


def stats(folder, size, images, categories, truth, answers, iou_type, sigmas=None):
    """COCOeval.stats. `truth` and `answers` are rows of COCO's JSON, without the ids of the annotations."""
    whole = {
        "images": [{"id": i, "width": size[0], "height": size[1], "file_name": f"{i}.jpg"} for i in images],
        "categories": [{"id": category.id, "name": category.name} for category in categories],
        "annotations": [{**row, "id": number} for number, row in enumerate(truth, 1)],
    }
    for name, content in (("truth", whole), ("answers", answers)):
        (folder / f"{name}.json").write_text(json.dumps(content))
    coco = COCO(folder / "truth.json")
    evaluation = COCOeval(coco, coco.loadRes(str(folder / "answers.json")), iou_type)
    if sigmas is not None:
        evaluation.params.kpt_oks_sigmas = np.array(sigmas)
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return evaluation.stats.tolist()


def bbox(xyxy):
    left, top, right, bottom = xyxy.tolist()
    return [left, top, right - left, bottom - top]


def mask_iou(one, other):
    """Of two masks (H, W)."""
    return (one & other).sum() / (one | other).sum()


def oks(points, visibility, area, answer, sigmas):
    """Object keypoint similarity of points (K, 2), as COCO's page on keypoints gives it."""
    found = [
        np.exp(-(np.hypot(*(a - p)) ** 2) / (2 * area * (2 * sigma) ** 2))
        for p, v, a, sigma in zip(points, visibility, answer, sigmas, strict=True)
        if v > 0
    ]
    return sum(found) / len(found)


def single(similarity):
    """AP of one object and one answer: the share of thresholds that they reach."""
    return float(np.mean(similarity >= THRESHOLDS))
