"""Scores by the rules of LVIS: an image counts for the categories that it was searched for, and for no other.

Against COCO's evaluation of each category on those images alone. (Against the `lvis` package 0.5.3, all 13 numbers
of four random sets, one of them with over 300 answers an image, were equal to 1e-12.)
"""

from __future__ import annotations

import numpy as np
import pytest

from multitask.annotations import Boxes
from multitask.errors import DataError
from multitask.example import Example, Prediction
from multitask.searched import Searched
from multitask.task import Category, DatasetInfo
from multitask.tasks.coco import scoring
from multitask.tasks.coco.judging import Kind, verdicts
from multitask.tasks.coco_metrics import BoxAP

from .coco_toys import NAMES, SIZE, pair_of_boxes

INFO = DatasetInfo("toys", tuple(Category(i, name, "rcf"[i]) for i, name in enumerate(NAMES)))
BOX = np.array([[10.0, 10.0, 90.0, 90.0]])


def feed(metric, number, truth, answer, searched=None):
    kinds = {"boxes": truth} | ({"searched": searched} if searched is not None else {})
    example = Example(number, f"{number}.png", SIZE, kinds, lambda reduce=1: None)
    metric.update(Prediction(number, "", SIZE, {"boxes": answer}), example)


def scenes(seed, count=25):
    """Truth without crowds, answers, and what else was searched for."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        truth, answer = pair_of_boxes(rng)
        truth = Boxes(truth.xyxy, truth.labels)
        absent = tuple(name for name in NAMES if name not in truth.labels and rng.random() < 0.4)
        yield truth, answer, Searched(absent)


@pytest.mark.parametrize("rows", [10, 10**6])
@pytest.mark.parametrize("seed", range(6))
def test_each_category_is_scored_on_the_images_searched_for_it(seed, rows, monkeypatch):
    monkeypatch.setattr(scoring, "ROWS", rows)
    metric = BoxAP(INFO, "lvis")
    for number, scene in enumerate(scenes(seed)):
        feed(metric, number, *scene)
    aps = {}
    for category in INFO.categories:
        alone = BoxAP(DatasetInfo("toys", (category,)))
        for number, (truth, answer, searched) in enumerate(scenes(seed)):
            if category.name in (*truth.labels, *searched.absent):
                feed(alone, number, truth.take([label == category.name for label in truth.labels]), answer)
        aps[category] = alone.compute()
    found = metric.compute()
    assert found["AP"] == pytest.approx(np.mean([one["AP"] for one in aps.values()]), abs=1e-9)
    assert found["AR@300"] == pytest.approx(np.mean([one["AR100"] for one in aps.values()]), abs=1e-9)
    for category, one in aps.items():
        assert one["AP"] > 0 and found[f"AP{category.frequency}"] == pytest.approx(one["AP"], abs=1e-9)
        assert metric.per_category()[category.name]["AP50"] == pytest.approx(one["AP50"], abs=1e-9)
    assert metric.resampler().scores(np.ones(25, dtype=int)) == pytest.approx(found, abs=1e-9, nan_ok=True)


def judged(searched, *labels, off=150):
    """What becomes of answers, all so far off the only object, a car."""
    metric = BoxAP(INFO, "lvis")
    found = Boxes(np.repeat(BOX + off, len(labels), axis=0), labels, np.linspace(0.9, 0.5, len(labels)))
    feed(metric, 0, Boxes(BOX, ("car",)), found, searched)
    return [one.kind for one in verdicts(metric.comparison(), metric.resampler().matches, 0.0)]


def test_an_answer_is_wrong_only_where_somebody_looked():
    assert judged(Searched(), "ball") == [Kind.MISSED, Kind.IGNORED]
    assert judged(Searched(absent=("ball",)), "ball") == [Kind.ALARM, Kind.MISSED]
    assert judged(Searched(), "car") == [Kind.ALARM, Kind.MISSED]
    assert judged(Searched(partial=("car",)), "car") == [Kind.IGNORED, Kind.MISSED]


def test_what_nobody_looked_for_is_about_nothing():
    assert judged(Searched(), "ball", off=0) == [Kind.MISSED, Kind.IGNORED]
    assert judged(Searched(absent=("ball",)), "ball", off=0) == [Kind.CLASS]
    assert judged(Searched(), "car", "car", off=0) == [Kind.HIT, Kind.TWICE]
    assert judged(Searched(partial=("car",)), "car", "car", off=0) == [Kind.HIT, Kind.IGNORED]


def test_an_image_that_does_not_say_what_it_was_searched_for_is_refused():
    with pytest.raises(DataError, match=r"7\.png \(image 7\): scorer=lvis needs neg_category_ids"):
        feed(BoxAP(INFO, "lvis"), 7, Boxes(BOX, ("car",)), Boxes(BOX, ("car",)))
