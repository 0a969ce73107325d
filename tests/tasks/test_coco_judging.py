"""What became of answers and objects: against COCO's evaluation, and case by case."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from multitask.annotations import Boxes
from multitask.figures import Gallery
from multitask.tasks.coco import scoring
from multitask.tasks.coco.figures import binned, calibration_error
from multitask.tasks.coco.judging import Kind, verdicts
from multitask.tasks.coco_metrics import BoxAP, KeypointAP

from .coco_toys import NAMES, images, measured, posed


def judged(metric, least=0.0):
    return list(verdicts(metric.comparison(), metric.resampler().matches, least))


def hidden(pairs, rng):
    """The same poses, some of the truth without a labelled point."""
    for truth, found in pairs:
        seen = rng.random((len(truth), 1)) < 0.7
        yield replace(truth, visibility=truth.visibility * seen), found


@pytest.mark.parametrize("rows", [5, 10**6])
@pytest.mark.parametrize("scorer", ["pycocotools", "hotcoco"])
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("kind", [BoxAP, KeypointAP])
def test_hits_are_those_of_coco(kind, seed, scorer, rows, monkeypatch):
    monkeypatch.setattr(scoring, "ROWS", rows)  # instances of some categories are evaluated at a time
    pairs = images(seed, kind, 12)
    metric = measured(kind, hidden(pairs, np.random.default_rng(seed)) if kind is KeypointAP else pairs, scorer)
    matches = [m for (_, area), m in metric.resampler().matches.items() if not area]
    hits = sum(int((m.hits[0] & m.counted[0]).sum()) for m in matches)
    crowded = sum(int((m.hits[0] & ~m.counted[0]).sum()) for m in matches)
    found, comparison = judged(metric), metric.comparison()
    kinds = [one.kind for one in found]
    assert hits > 5 and (kinds.count(Kind.HIT), kinds.count(Kind.IGNORED)) == (hits, crowded)
    for one in (one for one in found if one.kind in (Kind.HIT, Kind.IGNORED)):
        assert one.answer is not None and one.truth is not None
        truth, answers = comparison.truth, comparison.answers
        assert truth.images[one.truth] == answers.images[one.answer]
        assert truth.categories[one.truth] == answers.categories[one.answer]
        assert (one.kind is Kind.HIT) == (one.similarity >= 0.5)
    assert sum(one.truth is not None and one.kind is not Kind.IGNORED for one in found) >= sum(
        len(m.truth) for m in matches
    )


def test_of_equal_overlaps_coco_takes_the_last():
    truth = Boxes(np.array([[0.0, 0, 100, 100], [40, 0, 140, 100]]), ("car", "car"))
    found = Boxes(np.array([[20.0, 0, 120, 100], [0, 0, 70, 100]]), ("car", "car"), np.array([0.9, 0.8]))
    assert [(one.kind, one.truth) for one in judged(measured(BoxAP, [(truth, found)]))] == [
        (Kind.HIT, 1),
        (Kind.HIT, 0),
    ]


def test_answers_beyond_the_limit_are_not_counted():
    boxes = Boxes(np.tile([[5.0, 5, 25, 25]], (130, 1)) + 2 * np.arange(130)[:, None], ("car",) * 130)
    metric = measured(BoxAP, [(boxes, replace(boxes, scores=np.linspace(1, 0.5, 130)))])
    kinds = [one.kind for one in judged(metric)]
    assert (kinds.count(Kind.HIT), kinds.count(Kind.IGNORED), kinds.count(Kind.MISSED)) == (100, 30, 30)
    counts = dict(figures(metric)["What became of answers and objects"].rows)
    assert counts["right"] == 100 and metric.compute()["AR100"] == pytest.approx(100 / 130)


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


@pytest.mark.parametrize("scale", [100.0, -3.0])
def test_scores_that_are_no_probabilities_are_shown_as_they_are(scale):
    pairs = [(truth, replace(found, scores=found.scores * scale)) for truth, found in images(1, BoxAP, 20)]
    metric = measured(BoxAP, pairs)
    shown, scores = figures(metric), metric.comparison().answers.scores
    assert "Calibration" not in shown and not shown["Which answers to keep"].unit
    counted = dict(shown["What became of answers and objects"].rows)
    assert sum(bars.sum() for bars in shown["Scores"].stacks.values()) >= counted["right"] > 0
    assert shown["Scores"].edges[0] <= scores.min() and shown["Scores"].edges[-1] >= scores.max()


def test_of_a_model_that_is_never_right_all_answers_are_shown():
    wrong = Boxes(np.tile(BOX, (4, 1)) + 150, ("ball",) * 4, np.array([0.9, 0.5, 0.2, 0.1]))
    shown = figures(measured(BoxAP, [(answer(BOX), wrong)]))
    assert dict(shown["What became of answers and objects"].rows)["false alarm"] == 4


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
