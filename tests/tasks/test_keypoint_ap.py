"""Keypoint AP against pycocotools read from files, against the formula of the similarity, and at its edges."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from multitask.annotations import Keypoints
from multitask.errors import DataError
from multitask.example import Example, Prediction
from multitask.skeleton import COCO_PERSON
from multitask.task import Category, DatasetInfo, Skeleton
from multitask.tasks.coco_metrics import KeypointAP

from . import coco_reference as reference
from .coco_reference import scorer

__all__ = ["scorer"]  # a fixture
NAMES = ("nose", "left_hand", "right_hand", "left_foot", "right_foot")
BODY = Skeleton(names=NAMES, flip_pairs=((1, 2), (3, 4)), sigmas=(0.03, 0.05, 0.06, 0.09, 0.2), categories=("ape",))
INFO = DatasetInfo("zoo", (Category(9, "ape"), Category(1, "person"), Category(4, "kite")), BODY)
SIZE = (640, 480)  # (width, height)
PLACES = {"AP": 0, "AP50": 1, "AP75": 2, "APm": 3, "APl": 4, "AR": 5, "AR50": 6, "AR75": 7, "ARm": 8, "ARl": 9}
POSE = np.array([[50, 10], [20, 40], [80, 40], [40, 90], [60, 90]], dtype=float)


def people(points, visibility=None, labels=None, boxes=None, **others):
    """Objects with points (N, K, 2), all of them visible; their boxes are those of the points."""
    points = np.asarray(points, dtype=float)
    boxes = np.concatenate([points.min(axis=1), points.max(axis=1)], axis=1) if boxes is None else boxes
    seen = np.full(points.shape[:2], 2) if visibility is None else np.asarray(visibility)
    return Keypoints(boxes, labels or ("ape",) * len(points), points=points, visibility=seen, skeleton=BODY, **others)


def moved(right, down=0.0):
    """The pose at another place."""
    return POSE + np.array([right, down])


NOTHING = people([POSE]).take([])


def image(number, truth, answer):
    example = Example(number, f"{number}.jpg", SIZE, truth, lambda: np.zeros((4, 4, 3), dtype=np.uint8))
    return Prediction(number, example.file, SIZE, answer), example


def measure(*pairs, info=INFO):
    metric = KeypointAP(info)
    for number, (truth, answer) in enumerate(pairs):
        metric.update(*image(number, {"keypoints": truth}, {"keypoints": answer}))
    return metric.compute()


def random_truth(rng):
    """Medium and large objects, crowds without points as in COCO, and people whose points nobody could see."""
    count = rng.integers(0, 7)
    scale = rng.choice([0.6, 1.5, 3], (count, 1, 1))
    points = scale * (POSE + rng.normal(0, 5, (count, 5, 2))) + rng.uniform(0, 300, (count, 1, 2))
    boxes = np.concatenate([points.min(axis=1), points.max(axis=1)], axis=1)
    crowd = rng.uniform(size=count) < 0.15
    visibility = rng.choice([0, 1, 2], (count, 5), p=[0.3, 0.2, 0.5]) * (rng.uniform(size=(count, 1)) > 0.2)
    visibility *= ~crowd[:, None]
    points = np.where(visibility[..., None] > 0, points, 0.0)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) * rng.uniform(0.4, 0.8, count)
    labels = tuple(map(str, rng.choice(["ape", "person"], count)))
    return people(points, visibility, labels, boxes, areas=areas, crowd=crowd)


def random_answer(rng, truth, more=4):
    rows = [row for row in range(len(truth)) for _ in range(rng.integers(0, 4))]
    boxes, visibility = truth.xyxy[rows], truth.visibility[rows][..., None] > 0
    inside = boxes[:, None, :2] + rng.uniform(0, 1, (len(rows), 5, 2)) * (boxes[:, None, 2:] - boxes[:, None, :2])
    near = np.where(visibility, truth.points[rows], inside) + rng.normal(0, 1, (len(rows), 5, 2)) * rng.choice(
        [1, 4, 15], (len(rows), 1, 1)
    )
    points = np.concatenate([near, POSE + rng.uniform(-50, 300, (more, 5, 2))])
    labels = [truth.labels[row] for row in rows] + [str(name) for name in rng.choice(["ape", "person", "kite"], more)]
    scores = np.round(rng.uniform(0, 1, len(points)), 1)  # rounded: many ties
    boxes = rng.uniform(0, 20, (len(points), 4)).cumsum(axis=1)  # nobody asks for them: points have an extent
    return people(points, rng.integers(0, 3, (len(points), 5)), tuple(labels), boxes, scores=scores)


def rows_of(number, found, predicted):
    """As COCO's JSON has them; an answer has neither a box nor an area."""
    ids = {category.name: category.id for category in INFO.categories}
    for row, name in enumerate(found.labels):
        flat = [float(v) for xy, v in zip(found.points[row], found.visibility[row], strict=True) for v in (*xy, v)]
        common = {"image_id": number, "category_id": ids[name], "keypoints": flat}
        if predicted:
            yield {**common, "score": float(found.scores[row])}
        else:
            count = int((found.visibility[row] > 0).sum())
            yield {**common, "num_keypoints": count, "bbox": reference.bbox(found.xyxy[row]),
                   "area": float(found.areas[row]), "iscrowd": int(found.crowd[row])}  # fmt: skip


def same_as_pycocotools(folder, truths, answers):
    wanted = reference.stats(
        folder, SIZE, range(len(truths)), INFO.categories,
        [row for number, truth in enumerate(truths) for row in rows_of(number, truth, False)],
        [row for number, answer in enumerate(answers) for row in rows_of(number, answer, True)],
        "keypoints", BODY.sigmas,
    )  # fmt: skip
    got = measure(*zip(truths, answers, strict=True))
    assert list(got) == list(PLACES)
    for name, place in PLACES.items():
        assert got[name] == pytest.approx(math.nan if wanted[place] == -1 else wanted[place], abs=1e-9, nan_ok=True)
    return got


@pytest.mark.parametrize("seed", range(20))
def test_it_equals_pycocotools_read_from_files(seed, tmp_path):
    rng = np.random.default_rng(seed)
    truths = [random_truth(rng) for _ in range(6)] + [NOTHING]
    answers = [random_answer(rng, truth) for truth in truths]
    answers[rng.integers(6)] = NOTHING
    got = same_as_pycocotools(tmp_path, truths, answers)
    assert 0 < got["AP"] < got["AP50"] < 1


def test_more_than_twenty_answers_of_an_image_are_cut_as_there(tmp_path):
    rng = np.random.default_rng(0)
    truth = people([POSE, POSE + 100, POSE + 200])
    noise = random_answer(rng, NOTHING, more=60)
    noise = replace(noise, labels=("ape",) * 60, scores=rng.uniform(0.5, 1, 60))
    last = replace(truth, scores=np.array([0.1, 0.9, 0.95]))
    got = same_as_pycocotools(tmp_path, [truth], [Keypoints.concat([noise, last])])
    assert got["AR"] == pytest.approx(2 / 3)


@pytest.mark.parametrize("seed", range(20))
def test_a_single_pair_scores_the_formula_of_the_similarity(seed):
    rng = np.random.default_rng(seed)
    visibility = rng.permutation([2, 1, 0, rng.integers(3), rng.integers(3)])
    points = np.where(visibility[:, None] > 0, POSE, 0.0)
    answer = POSE + rng.normal(0, 6, (5, 2))
    area = rng.uniform(1000, 6000)
    wanted = reference.single(reference.oks(points, visibility, area, answer, BODY.sigmas))
    truth = people([points], [visibility], areas=np.array([area]))
    assert measure((truth, people([answer])))["AP"] == pytest.approx(wanted, abs=1e-9)
    unsure = people([answer], rng.integers(0, 3, (1, 5)))  # what an answer takes to be hidden counts as well
    assert measure((truth, unsure))["AP"] == pytest.approx(wanted, abs=1e-9)


def test_one_point_off_by_its_spread():
    """At a distance of 2 sigma times the root of the area, a point counts exp(-1/2) = 0.607: thresholds to 0.6."""
    truth = people([POSE], [[0, 0, 0, 2, 0]], areas=np.array([2500.0]))
    spread = 2 * 0.09 * 50
    assert measure((truth, people([moved(spread)])))["AP"] == pytest.approx(0.3)
    half = spread * math.sqrt(2 * math.log(2))
    assert measure((truth, people([moved(0, 1.01 * half)])))["AP50"] == 0.0
    assert measure((truth, people([moved(0, 0.99 * half)])))["AP50"] == 1.0


def test_sigmas_are_those_of_the_data_set():
    truth, answer = people([POSE]), people([POSE + 4])
    strict = replace(INFO, skeleton=BODY.model_copy(update={"sigmas": (0.001,) * 5}))
    kind = replace(INFO, skeleton=BODY.model_copy(update={"sigmas": (5.0,) * 5}))
    assert measure((truth, answer), info=strict)["AP"] == 0.0
    assert measure((truth, answer), info=kind)["AP"] == 1.0


def test_people_of_coco_have_seventeen_points():
    info = DatasetInfo("coco", (Category(1, "person"),), COCO_PERSON)
    rng = np.random.default_rng(0)
    truth = people(rng.uniform(0, 400, (2, 17, 2)), labels=("person",) * 2)
    assert measure((truth, truth), info=info)["AP"] == 1.0


def test_the_truth_fed_back_is_exactly_one():
    rng = np.random.default_rng(0)
    truths = [random_truth(rng) for _ in range(8)]
    got = measure(*((truth, truth.answerable()) for truth in truths))
    assert {value for value in got.values() if not math.isnan(value)} == {1.0}
    assert got["AP"] == 1.0 and sum(len(t) - len(t.answerable()) for t in truths) > 3


def test_answers_about_crowds_and_people_without_points_cost_nothing():
    empty = np.zeros((5, 2))
    boxes = np.array([[20.0, 10, 80, 90], [320, 310, 380, 390], [420, 310, 480, 390]])
    truth = people([POSE, empty, empty], [[2] * 5, [0] * 5, [0] * 5], boxes=boxes, crowd=[False, False, True])
    answer = people([moved(300, 300), moved(400, 300), moved(400, 300), POSE], scores=np.array([0.9, 0.8, 0.7, 0.6]))
    assert measure((truth, answer))["AP"] == 1.0
    assert measure((truth.take([0]), answer))["AP"] < 1.0


def test_without_answers_the_score_is_zero():
    truth = people([POSE])
    assert measure((truth, NOTHING))["AP"] == measure((truth, NOTHING))["AR"] == 0.0
    metric = KeypointAP(INFO)
    metric.update(*image(1, {"keypoints": truth}, {}))
    assert metric.compute()["AP"] == 0.0


UNSEEN = people([np.zeros((5, 2))], [[0] * 5], boxes=np.array([[0.0, 0, 50, 50]]))


@pytest.mark.parametrize("pairs", [[], [(NOTHING, NOTHING)], [(NOTHING, people([POSE]))], [(UNSEEN, people([POSE]))]])
def test_without_truth_the_score_is_nan(pairs):
    got = measure(*pairs)
    assert list(got) == list(PLACES) and all(math.isnan(value) for value in got.values())


def test_a_data_set_without_points_has_no_score():
    assert all(math.isnan(value) for value in measure(info=DatasetInfo("none")).values())


def test_images_without_keypoints_are_ignored():
    metric, truth = KeypointAP(INFO), people([POSE])
    metric.update(*image(1, {"keypoints": truth}, {"keypoints": truth}))
    metric.update(*image(2, {"boxes": truth}, {"keypoints": truth}))
    assert metric.compute()["AP"] == 1.0


def refused(truth, answer, problem, info=INFO):
    with pytest.raises(DataError, match=problem) as error:
        KeypointAP(info).update(*image(1, {"keypoints": truth}, {"keypoints": answer}))
    assert "\n" not in str(error.value)


def test_another_number_of_points_is_refused_with_the_names_of_the_points():
    truth, other = people([POSE]), people(np.zeros((1, 17, 2)))
    has = "the data set zoo has 5: nose, left_hand, right_hand, left_foot, right_foot"
    refused(truth, other, rf"^1\.jpg \(image 1\): the model writes 17 points, {has}$")
    refused(other, truth, rf"^1\.jpg \(image 1\): is annotated with 17 points, {has}$")
    nameless = replace(INFO, skeleton=Skeleton())
    refused(truth, NOTHING, "is annotated with 5 points, the data set zoo has no named points", nameless)
    nobody = people(np.zeros((1, 0, 2)), boxes=np.array([[0.0, 0, 50, 50]]))
    refused(nobody, NOTHING, "is annotated with 0 points, the data set zoo has no named points", nameless)
    assert measure((truth, other.take([])))["AP"] == 0.0  # nothing was written


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_points_that_are_not_finite_are_refused(value):
    good, bad = people([POSE, POSE]), people([POSE, POSE], ids=np.array([4, 17]))
    bad.points[1, 3, 0] = value
    refused(bad, good, rf"^1\.jpg \(image 1\) box 17 has points \[{value}, 90\.0\]; it must be finite")
    refused(good, bad, r"^1\.jpg \(image 1\): predicted box 17 has points ")


def test_what_boxes_are_refused_for_holds_for_keypoints():
    refused(people([POSE], labels=("apes",)), NOTHING, r"unknown category 'apes'; did you mean 'ape'\?")
    refused(people([POSE], areas=np.array([math.nan])), NOTHING, "has areas nan; it must be finite")


def test_computing_is_silent_and_may_be_repeated(capfd):
    rng = np.random.default_rng(3)
    metric, truth = KeypointAP(INFO), random_truth(rng)
    metric.update(*image(1, {"keypoints": truth}, {"keypoints": random_answer(rng, truth)}))
    assert metric.compute() == metric.compute()
    assert capfd.readouterr() == ("", "")
