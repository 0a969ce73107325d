"""Truth and answers by chance: boxes and poses of three kinds of toys."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from multitask.annotations import Boxes, Keypoints
from multitask.example import Example, Prediction
from multitask.skeleton import Skeleton
from multitask.task import Category, DatasetInfo
from multitask.tasks.coco_metrics import BoxAP

NAMES = ("car", "ball", "doll")
POINTS = Skeleton(names=("nose", "tail"), sigmas=(0.1, 0.2))
INFO = DatasetInfo("toys", tuple(Category(i, name) for i, name in enumerate(NAMES)), POINTS)
SIZE = (300, 300)


def some_boxes(rng, count):
    corners = rng.uniform(0, 150, (count, 2))
    sides = rng.choice([20, 60, 140], (count, 1)) * rng.uniform(0.8, 1.2, (count, 2))
    return Boxes(np.concatenate([corners, corners + sides], axis=1), tuple(rng.choice(NAMES, count)))


def scored(boxes, rng):
    """Scores that those of other images are equal to; within one image, copies would take turns."""
    return replace(boxes, scores=1 - rng.permutation(12)[: len(boxes)] / 12)


def pair_of_boxes(rng):
    """Truth, and an answer that has most of it, a little moved, and some that is wrong."""
    truth = some_boxes(rng, int(rng.integers(0, 6)))
    found = truth.take(rng.random(len(truth)) < 0.8)
    moved = Boxes(found.xyxy + rng.uniform(0, 8, (len(found), 1)), found.labels)
    truth = replace(truth, crowd=rng.random(len(truth)) < 0.15)
    return truth, scored(Boxes.concat([moved, some_boxes(rng, 3)]), rng)


def posed(boxes, noise):
    """Two points a box, at its corners or so."""
    points = boxes.xyxy.reshape(-1, 2, 2) + noise
    return Keypoints(**vars(boxes), points=points, visibility=np.full((len(boxes), 2), 2), skeleton=POINTS)


def images(seed, kind, count=6):
    """(truth, answer) of each."""
    rng = np.random.default_rng(seed)
    pairs = [pair_of_boxes(rng) for _ in range(count)]
    if kind is BoxAP:
        return pairs
    return [(posed(truth, 0), posed(answer, rng.normal(0, 4, (len(answer), 2, 2)))) for truth, answer in pairs]


def measured(kind, pairs, scorer="pycocotools"):
    metric = kind(INFO, scorer)
    for number, (truth, answer) in enumerate(pairs):
        example = Example(number, f"{number}.png", SIZE, {truth.kind: truth}, lambda reduce=1: None)
        metric.update(Prediction(number, "", SIZE, {answer.kind: answer}), example)
    return metric
