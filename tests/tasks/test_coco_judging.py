"""What became of answers and objects: against COCO's evaluation, and case by case."""

from __future__ import annotations

import numpy as np
import pytest

from multitask.annotations import Boxes
from multitask.figures import Gallery
from multitask.tasks.coco.figures import binned, calibration_error
from multitask.tasks.coco.judging import Kind, verdicts
from multitask.tasks.coco_metrics import BoxAP, KeypointAP

from .coco_toys import NAMES, images, measured, posed


def judged(metric, least=0.0):
    return list(verdicts(metric.comparison(), least))


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("kind", [BoxAP, KeypointAP])
def test_hits_are_those_of_coco(kind, seed):
    metric = measured(kind, images(seed, kind, 12))
    matches = [m for (_, area), m in metric.resampler().matches.items() if not area]
    hits = sum(int((m.hits[0] & m.counted[0]).sum()) for m in matches)
    crowded = sum(int((m.hits[0] & ~m.counted[0]).sum()) for m in matches)
    found = [one.kind for one in judged(metric)]
    assert hits > 5 and (found.count(Kind.HIT), found.count(Kind.IGNORED)) == (hits, crowded)


@pytest.mark.parametrize("least", [0.0, 0.5])
def test_every_answer_has_one_verdict_and_no_object_is_forgotten(least):
    metric = measured(BoxAP, images(3, BoxAP, 20))
    comparison, found = metric.comparison(), judged(metric, least)
    answered = [one.answer for one in found if one.answer is not None]
    assert sorted(answered) == np.flatnonzero(comparison.answers.scores >= least).tolist()
    about = {one.truth for one in found if one.truth is not None}
    assert set(np.flatnonzero(~comparison.truth.crowd)) <= about
    for kind in (Kind.HIT, Kind.MISSED, Kind.CLASS):
        rows = [one.truth for one in found if one.kind is kind]
        assert len(rows) == len(set(rows))


BOX = [100.0, 100.0, 200.0, 200.0]


def answer(xyxy, label="car", score=0.9):
    return Boxes(np.array([xyxy]), (label,), np.array([score]))


def shifted(by):
    return [BOX[0] + by, BOX[1], BOX[2] + by, BOX[3]]


@pytest.mark.parametrize(
    ("answers", "kinds"),
    [
        ([], [Kind.MISSED]),
        ([answer(BOX)], [Kind.HIT]),
        ([answer(shifted(33))], [Kind.HIT]),  # IoU 67 / 133 = 0.504
        ([answer(shifted(34))], [Kind.SHAPE]),  # IoU 66 / 134 = 0.493
        ([answer(shifted(90))], [Kind.ALARM, Kind.MISSED]),  # IoU 10 / 190 = 0.053
        ([answer(BOX, "ball")], [Kind.CLASS]),
        ([answer(shifted(60), "ball")], [Kind.ALARM, Kind.MISSED]),
        ([answer(BOX), answer(shifted(5), score=0.8)], [Kind.HIT, Kind.TWICE]),
        ([answer(BOX, "ball"), answer(shifted(5), score=0.8)], [Kind.ALARM, Kind.HIT]),
        ([answer(BOX, "ball"), answer(BOX, "doll", 0.8)], [Kind.CLASS, Kind.ALARM]),
        ([answer(shifted(60)), answer(shifted(50), score=0.8)], [Kind.SHAPE, Kind.SHAPE]),
    ],
)
def test_each_kind(answers, kinds):
    empty = Boxes(np.zeros((0, 4)), ())
    metric = measured(BoxAP, [(answer(BOX, score=1.0), Boxes.concat([empty, *answers]))])
    assert [one.kind for one in judged(metric)] == kinds


def test_a_crowd_is_neither_found_nor_missed():
    crowd = Boxes(np.array([BOX]), ("car",), crowd=np.array([True]))
    metric = measured(BoxAP, [(crowd, Boxes.concat([answer(BOX), answer(shifted(10))]))])
    assert [one.kind for one in judged(metric)] == [Kind.IGNORED, Kind.IGNORED]
    assert judged(measured(BoxAP, [(crowd, crowd.take([]))])) == []


def test_a_pose_without_labelled_points_need_not_be_found():
    pose = posed(answer(BOX), 0)
    unlabelled = type(pose)(**{**vars(pose), "visibility": np.zeros((1, 2), dtype=int)})
    assert judged(measured(KeypointAP, [(unlabelled, pose.take([]))])) == []


def figures(metric):
    return {figure.title: figure for figure in metric.figures()}


@pytest.mark.parametrize("kind", [BoxAP, KeypointAP])
def test_the_figures_agree_with_each_other(kind):
    metric = measured(kind, images(1, kind, 40))
    shown = figures(metric)
    counts = dict(shown["What became of answers and objects"].rows)
    confusion, sizes = shown["Confusion"], shown["Sizes of objects"].stacks
    right = int(np.trace(confusion.values[:-1, :-1]))
    assert right == counts["right"] == sizes["found"].sum() > 10
    crowds = sum(int(truth.crowd.sum()) for truth, _ in images(1, kind, 40))
    total = sum(len(truth) for truth, _ in images(1, kind, 40)) - crowds
    assert confusion.values[:-1].sum() == total == sizes["found"].sum() + sizes["not found"].sum()
    answered = sum(counts[name] for name in counts if name not in ("missed", "not counted"))
    assert confusion.values[:, :-1].sum() == answered
    f1 = np.array(shown["Which answers to keep"].lines["F1"][1])
    assert f1.max() == pytest.approx(2 * right / (answered + total))


def test_pictures_show_the_worst_first_and_where_to_look():
    metric = measured(BoxAP, images(1, BoxAP, 40))
    galleries = [figure for figure in metric.figures() if isinstance(figure, Gallery)]
    assert {gallery.title for gallery in galleries} <= {"Missed", "False alarm", "Wrong class", "Bad box"}
    alarms = next(gallery for gallery in galleries if gallery.title == "False alarm")
    scores = [float(case.words.split()[1]) for case in alarms.cases]
    assert (
        scores == sorted(scores, reverse=True) and len({case.image for case in alarms.cases}) == len(alarms.cases) == 8
    )
    for case in alarms.cases:
        (answers,) = case.answer
        row = next(i for i, box in enumerate(answers.xyxy) if box.tolist() == pytest.approx(case.region_xyxy))
        assert f"{answers.labels[row]} {answers.scores[row]:.2f}" == case.words


def test_without_answers_or_without_truth_there_are_figures_all_the_same():
    empty = Boxes(np.zeros((0, 4)), ())
    for pair in [(empty, empty), (answer(BOX), empty), (empty, answer(BOX))]:
        shown = figures(measured(BoxAP, [pair]))
        assert {"Precision and recall", "Calibration", "Confusion", "Sizes of objects"} <= set(shown)


def test_curves_lie_above_what_ap_is():
    metric = measured(BoxAP, images(2, BoxAP, 30))
    recalls, precision = figures(metric)["Precision and recall"].lines["IoU 0.50"]
    assert len(recalls) == 101 and precision.mean() == pytest.approx(metric.compute()["AP50"])


def test_calibration_error_against_its_definition():
    rng = np.random.default_rng(0)
    scores = np.append(rng.random(500), [0.0, 1.0])
    right = rng.random(502) < scores**2
    expected = 0.0
    for low in range(10):
        some = [(s, r) for s, r in zip(scores, right, strict=True) if low <= s * 10 < low + 1 + (low == 9)]
        expected += abs(sum(s for s, _ in some) - sum(r for _, r in some)) / 502
    assert calibration_error(scores, right) == pytest.approx(expected)
    assert binned(scores, right)[0].sum() == 502 and np.isnan(calibration_error(np.zeros(0), np.zeros(0, dtype=bool)))


def test_a_category_that_nobody_has_is_not_in_the_matrix():
    confusion = figures(measured(BoxAP, [(answer(BOX), answer(BOX, "ball"))]))["Confusion"]
    assert confusion.rows == ["car", "ball", "nothing"] and confusion.columns == ["car", "ball", "missed"]
    assert confusion.values.tolist() == [[0, 1, 0], [0, 0, 0], [0, 0, 0]] and NAMES[0] == "car"
