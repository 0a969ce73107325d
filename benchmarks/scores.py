"""What does AP of boxes cost? 5,000 images with 100 answers each, by each of the scorers.

    python benchmarks/scores.py
    python benchmarks/scores.py --images 500 --scorer pycocotools

Collects random answers about random objects of 80 categories and computes the scores, in a process of its own for each
scorer. Prints seconds of the processor for collecting and for computing, by how much the memory of the process grew
beyond the answers, as a multiple of what the answers take as a results file, and what the package alone takes when it
is given all of them in its own form.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import io
import json
import multiprocessing
import resource
import time
from collections.abc import Iterator

import numpy as np
from host import machine

from multitask.annotations import Boxes
from multitask.example import Example, Prediction
from multitask.task import Category, DatasetInfo
from multitask.tasks.coco.scoring import Scorer, match
from multitask.tasks.coco_metrics import BoxAP

NAMES = tuple(f"category {number}" for number in range(80))
OBJECTS, ANSWERS, SIZE = 7, 100, (640.0, 480.0)
MEGA = 2**20


def images(count: int) -> Iterator[tuple[Prediction, Example]]:
    """Answers near the objects, seven of ten with the right name."""
    rng = np.random.default_rng(0)
    for number in range(1, count + 1):
        corners = rng.uniform(0, 300, (OBJECTS, 2))
        truth = np.concatenate([corners, corners + rng.uniform(5, 180, (OBJECTS, 2))], axis=1)
        names = rng.integers(0, len(NAMES), OBJECTS)
        near = rng.integers(0, OBJECTS, ANSWERS)
        found = truth[near] + rng.normal(0, 6, (ANSWERS, 4))
        found[:, 2:] = np.maximum(found[:, 2:], found[:, :2])
        said = np.where(rng.random(ANSWERS) < 0.7, names[near], rng.integers(0, len(NAMES), ANSWERS))
        answer = Boxes(found, tuple(NAMES[i] for i in said), rng.random(ANSWERS))
        known = Boxes(truth, tuple(NAMES[i] for i in names))
        example = Example(
            number, f"{number}.jpg", SIZE, {"boxes": known}, lambda reduce=1: np.zeros((1, 1, 3), np.uint8)
        )
        yield Prediction(number, example.file, SIZE, {"boxes": answer}), example


def peak() -> int:
    """Bytes that this process has had at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def package_alone(metric: BoxAP, scorer: Scorer) -> float:
    """Seconds of the processor for reading, matching and adding up, all categories at once."""
    comparison, begun = metric.comparison(), time.process_time()
    with contextlib.redirect_stdout(io.StringIO()):
        match(comparison, scorer).accumulate()
    return time.process_time() - begun


def measure(scorer: Scorer, count: int) -> None:
    """Print what one scorer costs."""
    pairs = list(images(count))
    metric = BoxAP(DatasetInfo("random", tuple(Category(n, name) for n, name in enumerate(NAMES, 1))), scorer)
    if scorer == "hotcoco":
        import hotcoco  # noqa: F401  # loading it is no part of the scores
    gc.collect()
    gc.freeze()  # what was made above is not looked through again and again
    before, begun = peak(), time.process_time()
    for prediction, example in pairs:
        metric.update(prediction, example)
    collected = time.process_time()
    scores = metric.compute()
    done, grown = time.process_time(), peak() - before
    alone = package_alone(metric, scorer)
    size = len(json.dumps(metric.results()))
    print(
        f"{scorer:12} collecting {collected - begun:6.2f} s, computing {done - collected:6.2f} s; memory grew by "
        f"{grown / MEGA:.0f} MiB, {grown / size:.2f} x the results ({size / MEGA:.0f} MiB); AP {scores['AP']:.6f}; "
        f"the package alone {alone:.2f} s, all of it {(done - begun) / alone:.2f} x that"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--scorer", nargs="+", default=["hotcoco", "pycocotools"])
    arguments = parser.parse_args()
    print(f"{machine()}; {arguments.images} images of {ANSWERS} answers")
    for scorer in arguments.scorer:
        process = multiprocessing.get_context("spawn").Process(target=measure, args=(scorer, arguments.images))
        process.start()
        process.join()


if __name__ == "__main__":
    main()
