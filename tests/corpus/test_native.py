"""Native code never sees what could hurt it: random outlines and run lengths, wild ones among them, at every door.

Each batch runs in a process of its own, since a fault of native code ends it. MTP_LONG=1 takes 10,000 of each.
"""

from __future__ import annotations

import math
import multiprocessing
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from multitask.annotations import Boxes, Keypoints, Polygons
from multitask.data import checks
from multitask.data.faults import Unusable
from multitask.data.masks import packed
from multitask.errors import DataError
from multitask.example import Example, Prediction
from multitask.geometry import clip_polygon
from multitask.skeleton import Skeleton
from multitask.task import Category, DatasetInfo
from multitask.tasks.coco_metrics import KeypointAP, MaskAP
from multitask.tasks.outlines import averaged, simplified, spaced, tidied, traced

resource = pytest.importorskip("resource")  # not in Windows
COUNT = 10_000 if os.environ.get("MTP_LONG") == "1" else 400
BATCH = 50  # images that are scored together
MEMORY = 500_000 * (1024 if sys.platform == "darwin" else 1)  # KiB, or bytes
POINTS = Skeleton(names=("a", "b", "c"))
DATASET = DatasetInfo("wild", (Category(1, "thing"),), POINTS)
WILD = [math.nan, math.inf, -math.inf, 1e18, -1e18, 1e308, 5e-324, -0.0, 1e-9, 2.0**31, -(2.0**31), 2.0**63, 0.0]
Rng = np.random.Generator
Size = tuple[int, int]


# ------------------------------------------------------------------------------------------------------------ by chance


def size(rng: Rng) -> Size:
    sides = [int(side) for side in rng.integers(1, rng.choice([3, 40, 700]), 2)]
    return (1, 20_000) if rng.random() < 0.01 else (sides[0], sides[1])


def coordinates(rng: Rng, count: int, frame: Size) -> np.ndarray:
    """Flat, x and y by turns: mostly near the frame, some at its border or as far out as is allowed, a few wild."""
    scale = np.resize(np.array(frame, dtype=np.float64), count)
    values = rng.uniform(-0.2, 1.2, count) * scale
    if rng.random() < 0.3:
        values = rng.choice([0.0, 0.5, 1.0], count) * scale
    if rng.random() < 0.2:
        values = rng.choice([-16.0, 16.0, 0.5], count) * max(frame)
    if count and rng.random() < 0.2:
        values[rng.integers(count)] = rng.choice(WILD)
    return values


def outline(rng: Rng, frame: Size, least: int = 0) -> list[float]:
    """With few points, an odd number of coordinates, or very many."""
    count = int(rng.choice([0, 1, 2, 3, 4, 5, 6, 7, 8, 20, 2000], p=[0.02] * 6 + [0.3, 0.02, 0.3, 0.24, 0.02]))
    return [float(value) for value in coordinates(rng, max(count, least), frame)]


def runs(rng: Rng, frame: Size) -> Any:
    """Run lengths as a list or as text; most add up to the frame."""
    area = frame[0] * frame[1]
    found = np.diff(np.sort(rng.integers(0, area + 1, rng.integers(0, 30))), prepend=0, append=area).tolist()
    kind = rng.random()
    if kind < 0.2:
        found[rng.integers(len(found))] += int(rng.choice([-1, 1, -area, 2**31, 2**62]))
    if kind < 0.05:
        found[0] = rng.choice([math.nan, math.inf, -1.0]).item()
    if 0.5 < kind < 0.6:
        return "".join(chr(c) for c in rng.integers(0, 128, rng.integers(0, 60)))
    if kind > 0.6:
        mask = coco_mask.frPyObjects({"size": [frame[1], frame[0]], "counts": found}, frame[1], frame[0])
        text = mask["counts"].decode()
        at = int(rng.integers(len(text)))
        return text if kind < 0.9 else text[:at] + chr(rng.integers(40, 130)) + text[at + 1 :]
    return found


def segmentation(rng: Rng, frame: Size) -> Any:
    if rng.random() < 0.4:
        wrong = [frame[1] + int(rng.integers(-1, 2)), int(rng.choice([0, -1, 2**31, 2**62, frame[0]]))]
        return {"size": [frame[1], frame[0]] if rng.random() < 0.95 else wrong, "counts": runs(rng, frame)}
    return [outline(rng, frame) for _ in range(rng.integers(0, 4))]


def movement(rng: Rng) -> np.ndarray:
    matrix = np.eye(3)
    matrix[:2] = rng.normal(0, rng.choice([1e-6, 1.0, 30.0]), (2, 3))
    return matrix


# ------------------------------------------------------------------------------------------------------------ the doors


def example(number: int, frame: Size, *annotations: Any) -> Example:
    return Example(number, f"{number}.png", frame, {one.kind: one for one in annotations}, lambda: np.zeros(0))


def polygons(frame: Size, parts: Any, mask: Any = None) -> Polygons:
    box = np.array([[0.0, 0.0, *frame]])
    return Polygons(xyxy=box, labels=("thing",), parts=(parts,), masks=(mask and packed(mask),))


def what_files_say(rng: Rng, count: int) -> int:
    """How many outlines were sound; each of them is moved, clipped and scored."""
    sound, metric = 0, MaskAP(DATASET)
    for number in range(count):
        frame = size(rng)
        try:
            parts, mask = checks.segmentation(segmentation(rng, frame), frame)
        except Unusable:
            continue
        sound += 1
        if mask is not None:
            assert coco_mask.area(packed(mask)) == sum(mask["counts"][1::2]) > 0
        truth = polygons(frame, parts, mask)
        moved = truth.warp(movement(rng), (64.0, 48.0))
        for part in (part for one in moved.parts for part in one):
            assert len(part) >= 3 and (part >= 0).all() and (part <= (64, 48)).all()
        answer = (
            truth if rng.random() < 0.5 else polygons(frame, (np.array(outline(rng, frame, 6)[:6]).reshape(-1, 2),))
        )
        score(metric, number, frame, truth, answer)
    check_scores(metric)
    return sound


def what_models_say(rng: Rng, count: int) -> int:
    """How many answers could be scored: the doors of the metrics are open to plugins, too."""
    scored, masks, poses = 0, MaskAP(DATASET), KeypointAP(DATASET)
    for number in range(count):
        frame = size(rng)
        parts = tuple(
            coordinates(rng, 2 * int(rng.choice([*range(9), 1000])), frame).reshape(-1, 2)
            for _ in range(rng.integers(0, 3))
        )
        for part in parts:
            clipped = clip_polygon(part, (float(frame[0]), float(frame[1])))
            assert clipped.ndim == 2 and (not np.isfinite(part).all() or (clipped >= 0).all())
        whole = np.array([[0.0, 0.0], [frame[0], 0.0], [frame[0], frame[1]]], dtype=np.float64)
        scored += score(masks, number, frame, polygons(frame, (whole,)), polygons(frame, parts))
        points = coordinates(rng, 6, frame).reshape(1, 3, 2)
        seen = rng.integers(0, 3, (1, 3))
        box = {"xyxy": np.array([[0.0, 0.0, *frame]]), "labels": ("thing",), "skeleton": POINTS}
        truth = Keypoints(**box, points=np.ones((1, 3, 2)), visibility=np.full((1, 3), 2))
        score(poses, number, frame, truth, Keypoints(**box, points=points, visibility=seen))
    check_scores(masks)
    check_scores(poses)
    return scored


def what_is_drawn(rng: Rng, count: int) -> int:
    """How many outlines of the unit square enclose something; they are thinned, spaced and averaged."""
    enclosing = 0
    for number in range(count):
        parts = [rng.random((rng.integers(0, 12), 2)) for _ in range(rng.integers(0, 4))]
        scale = rng.choice([1.0, 1e-300, 1e-160, 1e-9])
        parts = [np.round(part, int(rng.integers(0, 3))) * scale for part in parts]
        found, written = tidied(parts), tuple(part for part in parts if len(part) >= 3)
        enclosing += bool(found)
        if found:
            least = 3 * len(found)
            assert sum(map(len, simplified(found, least))) == least
            assert all(np.isfinite(part).all() for part in spaced(found, least + 5))
        if number % 25 == 0:
            assert all(np.isfinite(part).all() for part in averaged([written, tuple(found)]))
            assert all(len(part) >= 3 for part in traced(rng.random((64, 64)) < rng.random()))
    return enclosing


def what_boxes_and_points_say(rng: Rng, count: int) -> int:
    """How many boxes were sound."""
    sound = 0
    for _ in range(count):
        frame = size(rng)
        try:
            xyxy, _ = checks.box(list(map(float, coordinates(rng, 4, frame))), frame)
        except Unusable:
            continue
        sound += 1
        moved = Boxes(xyxy=xyxy[None], labels=("thing",)).warp(movement(rng), (64.0, 48.0))
        assert (moved.xyxy >= 0).all() and (moved.xyxy <= (64, 48, 64, 48)).all()
        triples = np.insert(coordinates(rng, 6, frame).reshape(3, 2), 2, rng.integers(0, 3, 3), axis=1)
        try:
            (xy, seen), _ = checks.points(triples.ravel().tolist(), 3, frame)
        except Unusable:
            continue
        assert (xy >= 0).all() and (xy <= frame).all() and np.isin(seen, (0, 1, 2)).all()
    return sound


def score(metric: Any, number: int, frame: Size, truth: Any, answer: Any) -> bool:
    """Whether the metric takes the answer; otherwise it says in one line why not."""
    try:
        metric.update(Prediction(number, f"{number}.png", frame, {answer.kind: answer}), example(number, frame, truth))
    except DataError as error:
        line = str(error)
    else:
        return True
    assert f"{number}.png" in line and "\n" not in line
    return False


def check_scores(metric: Any) -> None:
    assert all(math.isnan(value) or 0 <= value <= 1 for value in metric.compute().values())


DOORS: dict[str, tuple[Callable[[Rng, int], int], float]] = {  # and the least share that is sound
    "what files say": (what_files_say, 0.3),
    "what models say": (what_models_say, 0.5),
    "what is drawn": (what_is_drawn, 0.25),
    "what boxes and points say": (what_boxes_and_points_say, 0.2),
}


def batches(door: str) -> Iterator[Rng]:
    for number in range(COUNT // BATCH):
        yield np.random.default_rng([number, len(door)])


def run(door: str) -> None:
    """In a process of its own: ends it with an error where too little was sound, or memory grew."""
    warnings.simplefilter("ignore")
    visit, least = DOORS[door]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    sound = sum(visit(rng, BATCH) for rng in batches(door))
    assert least * COUNT < sound < COUNT, sound
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < MEMORY


@pytest.mark.parametrize("door", DOORS)
def test_no_signal_and_no_traceback(door: str) -> None:
    process = multiprocessing.get_context("fork").Process(target=run, args=(door,))
    process.start()
    process.join()
    assert process.exitcode == 0
