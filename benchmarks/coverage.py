"""How often the intervals of `mtp eval --compare` hold the true difference of two models.

    python benchmarks/coverage.py [--comparisons 500] [--images 100] [--samples 1000]

Simulates pairs of models whose true difference is known: on a share of exact answers by construction, on AP of boxes by
scoring both on very many images. 95 % is meant; prints the share of intervals that hold it, and how wide they are.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np

from multitask.annotations import Boxes
from multitask.comparison import differences
from multitask.example import Example, Prediction
from multitask.metric import ExactMatch, Resampler
from multitask.task import Category, DatasetInfo
from multitask.tasks.coco_metrics import BoxAP

MANY = 20_000  # images that tell the truth about AP
SIZE = (640, 640)
LABELS = ("car", "dog")
INFO = DatasetInfo("simulated", tuple(Category(number, name) for number, name in enumerate(LABELS)))
SKILLS = ((0.7, 12.0, 1.0), (0.8, 10.0, 0.7))  # of A and B: share found, pixels off, false alarms an image
Pair = tuple[Resampler, Resampler]


def exact(images: int, rng: np.random.Generator) -> Pair:
    """Two models that are right about 60 and 66 % of the images, mostly the same ones."""
    hard = rng.random(images)
    found = []
    for share in (0.60, 0.66):
        metric = ExactMatch("captions")
        metric.ids = list(range(images))
        metric.hits = (np.where(rng.random(images) < 0.7, hard, rng.random(images)) < share).tolist()
        found.append(metric)
    return found[0], found[1]


def boxes(images: int, rng: np.random.Generator) -> Pair:
    """Two detectors of different skill on the same images."""
    metrics = BoxAP(INFO, "hotcoco"), BoxAP(INFO, "hotcoco")
    for number in range(images):
        truth = some_boxes(rng, int(rng.integers(1, 6)))
        example = Example(number, "", SIZE, {"boxes": truth}, lambda reduce=1: np.zeros((1, 1, 3), dtype=np.uint8))
        for metric, skill in zip(metrics, SKILLS, strict=True):
            metric.update(Prediction(number, "", SIZE, {"boxes": answer(truth, skill, rng)}), example)
    a, b = (metric.resampler() for metric in metrics)
    for one in (a, b):
        one.numbers = {name: one.numbers[name] for name in ("AP", "AP50")}
    return a, b


def some_boxes(rng: np.random.Generator, count: int) -> Boxes:
    corners = rng.uniform(0, 400, (count, 2))
    labels = tuple(rng.choice(LABELS, count).tolist())
    return Boxes(np.concatenate([corners, corners + rng.uniform(40, 200, (count, 2))], axis=1), labels)


def answer(truth: Boxes, skill: tuple[float, float, float], rng: np.random.Generator) -> Boxes:
    share, off, alarms = skill
    found = truth.take(rng.random(len(truth)) < share)
    moved = Boxes(found.xyxy + rng.normal(0, off, (len(found), 1)), found.labels, rng.beta(5, 2, len(found)))
    wrong = some_boxes(rng, int(rng.poisson(alarms)))
    return Boxes.concat([moved, Boxes(wrong.xyxy, wrong.labels, rng.beta(2, 5, len(wrong)))])


def truth(simulate: Callable[[int, np.random.Generator], Pair], rng: np.random.Generator) -> dict[str, float]:
    """The differences on very many images."""
    a, b = (dict(one.scores(np.ones(MANY, dtype=np.int64))) for one in simulate(MANY, rng))
    return {name: b[name] - a[name] for name in a}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--comparisons", type=int, default=500)
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--samples", type=int, default=1000)
    options = parser.parse_args()
    print(f"{options.comparisons} comparisons on {options.images} images each, {options.samples} draws")
    for simulate, known in ((exact, {"exact": 0.06}), (boxes, truth(boxes, np.random.default_rng(1)))):
        rng = np.random.default_rng(0)
        held: dict[str, list[tuple[bool, float]]] = {name: [] for name in known}
        for number in range(options.comparisons):
            for one in differences("", *simulate(options.images, rng), options.samples, number):
                held[one.metric].append((one.low <= known[one.metric] <= one.high, one.high - one.low))
        for name, found in held.items():
            share, width = np.mean(found, axis=0)
            print(f"{name:6} true difference {known[name]:+.4f}: in {share:.1%} of the intervals, {width:.3f} wide")


if __name__ == "__main__":
    main()
