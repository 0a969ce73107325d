"""COCO's numbers for any choice of images: as if those images had been scored, copies and all."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from multitask.annotations import Boxes, Keypoints
from multitask.example import Example, Prediction
from multitask.skeleton import Skeleton
from multitask.task import Category, DatasetInfo
from multitask.tasks.coco_metrics import BoxAP, KeypointAP

from .coco_reference import scorer

__all__ = ["scorer"]  # a fixture

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


def measured(kind, pairs):
    metric = kind(INFO)
    for number, (truth, answer) in enumerate(pairs):
        example = Example(number, f"{number}.png", SIZE, {truth.kind: truth}, lambda reduce=1: None)
        metric.update(Prediction(number, "", SIZE, {answer.kind: answer}), example)
    return metric


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("kind", [BoxAP, KeypointAP])
def test_numbers_are_those_of_as_many_copies(kind, seed):
    pairs = images(seed, kind)
    counts = np.random.default_rng(seed).integers(0, 4, len(pairs))
    resampler = measured(kind, pairs).resampler()
    copies = measured(kind, [pair for pair, count in zip(pairs, counts, strict=True) for _ in range(count)])
    found, expected = resampler.scores(counts), copies.compute()
    assert found == pytest.approx(expected, abs=1e-9, nan_ok=True) and list(found) == list(expected)
    assert len(set(map(str, expected.values()))) > 4  # neither all 0 nor all the same


@pytest.mark.parametrize("kind", [BoxAP, KeypointAP])
def test_every_image_once_gives_the_scores_themselves(kind):
    metric = measured(kind, images(3, kind, 30))
    resampler = metric.resampler()
    assert resampler.scores(np.ones(30, dtype=int)) == pytest.approx(metric.compute(), abs=1e-9, nan_ok=True)
    assert list(resampler.ids) == list(range(30))


def test_without_images_there_is_nothing_to_score():
    resampler = measured(BoxAP, images(3, BoxAP)).resampler()
    assert all(np.isnan(value) for value in resampler.scores(np.zeros(6, dtype=int)).values())


def test_a_category_has_the_numbers_of_its_own_boxes():
    pairs = images(5, BoxAP, 12)
    found = measured(BoxAP, pairs).per_category()
    assert list(found) == list(NAMES)
    for name in NAMES:
        own = [tuple(b.take([label == name for label in b.labels]) for b in pair) for pair in pairs]
        assert found[name] == pytest.approx(measured(BoxAP, own).compute(), abs=1e-9, nan_ok=True)
