"""Box AP against a plain implementation of its definition, and at its edges."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from multitask.annotations import Boxes, Polygons
from multitask.errors import DataError
from multitask.example import Example, Prediction
from multitask.task import Category, DatasetInfo
from multitask.tasks.coco import scoring as coco_scoring
from multitask.tasks.coco.ap import CocoAP
from multitask.tasks.coco.scoring import Number
from multitask.tasks.coco_metrics import BoxAP

from .coco_reference import scorer

__all__ = ["scorer"]  # a fixture

INFO = DatasetInfo("toys", (Category(7, "car"), Category(0, "ball"), Category(90, "doll")))
NAMES = ("car", "ball", "doll")
THRESHOLDS = [0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95]
RECALLS = np.linspace(0, 1, 101)
SIZES = {"": (0, 1e10), "s": (0, 32**2), "m": (32**2, 96**2), "l": (96**2, 1e10)}
NOTHING = Boxes(np.zeros((0, 4)), ())


def overlap(answer, truth, crowd):
    width = min(answer[2], truth[2]) - max(answer[0], truth[0])
    height = min(answer[3], truth[3]) - max(answer[1], truth[1])
    if width <= 0 or height <= 0:
        return 0.0
    own, other = [(b[2] - b[0]) * (b[3] - b[1]) for b in (answer, truth)]
    return width * height / (own if crowd else own + other - width * height)


def verdicts(truth, answer, category, threshold, sizes, most):
    """(score, hit) of every counted answer of one image and category, and the number of objects to find."""
    objects = [
        {"box": b, "crowd": bool(c), "ignored": bool(c) or not sizes[0] <= a <= sizes[1], "taken": False}
        for b, name, c, a in zip(truth.xyxy, truth.labels, truth.crowd, truth.areas, strict=True)
        if name == category
    ]
    rows = [i for i, name in enumerate(answer.labels) if name == category]
    found = []
    for i in sorted(rows, key=lambda i: -answer.scores[i])[:most]:
        box = answer.xyxy[i]
        best = None
        for ignored in (False, True):
            free = [o for o in objects if o["ignored"] is ignored and (o["crowd"] or not o["taken"])]
            close = [(overlap(box, o["box"], o["crowd"]), n, o) for n, o in enumerate(free)]
            close = [c for c in close if c[0] >= threshold]
            if close:
                best = max(close, key=lambda c: c[:2])[2]
                break
        if best is not None:
            best["taken"] = True
        area = (box[2] - box[0]) * (box[3] - box[1])
        out = best["ignored"] if best is not None else not sizes[0] <= area <= sizes[1]
        if not out:
            found.append((answer.scores[i], best is not None))
    return found, sum(not o["ignored"] for o in objects)


def curve(pairs, category, threshold, sizes, most=100):
    """Precision and recall after each answer, or None where there is nothing to find."""
    parts = [verdicts(truth, answer, category, threshold, sizes, most) for truth, answer in pairs]
    total = sum(count for _, count in parts)
    if not total:
        return None
    hits = [hit for _, hit in sorted((v for found, _ in parts for v in found), key=lambda v: -v[0])]
    true = np.cumsum(hits) if hits else np.zeros(0)
    return true / np.arange(1, len(hits) + 1), true / total


def average(values):
    values = [v for v in values if v is not None]
    return float(np.mean(values)) if values else math.nan


def naive_ap(pairs, category, threshold, sizes):
    points = curve(pairs, category, threshold, sizes)
    if points is None:
        return None
    precision, recall = points
    return float(np.mean([max(precision[recall >= r], default=0.0) for r in RECALLS]))


def naive_recall(pairs, category, threshold, sizes, most):
    points = curve(pairs, category, threshold, sizes, most)
    return None if points is None else float(max(points[1], default=0.0))


def naive(pairs, names=NAMES):
    def ap(thresholds=THRESHOLDS, sizes=SIZES[""]):
        return average([naive_ap(pairs, name, t, sizes) for name in names for t in thresholds])

    result = {"AP": ap(), "AP50": ap([0.5]), "AP75": ap([0.75])}
    result |= {f"AP{size}": ap(sizes=SIZES[size]) for size in "sml"}

    def ar(sizes=SIZES[""], most=100):
        return average([naive_recall(pairs, name, t, sizes, most) for name in names for t in THRESHOLDS])

    result |= {f"AR{most}": ar(most=most) for most in (1, 10, 100)}
    return result | {f"AR{size}": ar(SIZES[size]) for size in "sml"}


def random_boxes(rng, count, scores=False, crowd=False):
    corner = rng.uniform(0, 200, (count, 2))
    sides = rng.choice([15.0, 60.0, 180.0], (count, 1)) * rng.uniform(0.6, 1.4, (count, 2))
    xyxy = np.concatenate([corner, corner + sides], axis=1)
    return Boxes(
        xyxy,
        tuple(rng.choice(NAMES, count)),
        np.round(rng.uniform(0, 1, count), 1) if scores else None,  # rounded: many ties
        rng.uniform(size=count) < 0.15 if crowd else None,
        sides.prod(axis=1) * rng.uniform(0.5, 1, count) if crowd else None,  # masks cover less than boxes
    )


def random_pair(rng, objects=8):
    truth = random_boxes(rng, rng.integers(0, objects + 1), crowd=True)
    near = truth.take(rng.permutation(len(truth))[: rng.integers(0, len(truth) + 1)].tolist() * 2)
    jitter = rng.normal(0, 1, near.xyxy.shape) * rng.choice([0.5, 3.0, 12.0], (len(near), 1))
    xyxy = near.xyxy + jitter
    xyxy[:, 2:] = np.maximum(xyxy[:, 2:], xyxy[:, :2] + 1)
    labels = tuple(n if rng.uniform() < 0.9 else str(rng.choice(NAMES)) for n in near.labels)
    close = Boxes(xyxy, labels, np.round(rng.uniform(0, 1, len(near)), 1))
    return truth, Boxes.concat([close, random_boxes(rng, rng.integers(0, 6), scores=True)])


def image(number, truth, answer):
    size, file = (400.0, 400.0), f"{number}.jpg"
    example = Example(number, file, size, truth, lambda: np.zeros((4, 4, 3), dtype=np.uint8))
    return Prediction(number, file, size, answer), example


def measure(pairs, ids=None, info=INFO, order=None):
    metric = BoxAP(info)
    ids = list(range(len(pairs))) if ids is None else ids
    for i in range(len(pairs)) if order is None else order:
        metric.update(*image(ids[i], {"boxes": pairs[i][0]}, {"boxes": pairs[i][1]}))
    return metric.compute()


def same(got, wanted):
    assert list(got) == list(wanted)
    assert got == pytest.approx(wanted, abs=1e-6, nan_ok=True)


def truths(seed=0, count=6):
    rng = np.random.default_rng(seed)
    return [random_boxes(rng, 6, crowd=True) for _ in range(count)]


@pytest.mark.parametrize("seed", range(20))
def test_ap_equals_the_plain_implementation(seed):
    rng = np.random.default_rng(seed)
    pairs = [random_pair(rng) for _ in range(rng.integers(4, 9))]
    wanted = naive(pairs)
    assert 0 < wanted["AP50"] < 1
    same(measure(pairs), wanted)


def test_more_than_a_hundred_answers_of_a_category_are_cut_by_score():
    rng = np.random.default_rng(0)
    truth = random_boxes(rng, 5)
    truth = replace(truth, labels=("car",) * 5)
    noise = replace(random_boxes(rng, 130, scores=True), labels=("car",) * 130)
    answer = Boxes.concat([noise, replace(truth, scores=np.array([0.0, 0.0, 0.95, 0.95, 0.95]))])
    got = measure([(truth, answer)])
    same(got, naive([(truth, answer)]))
    assert got["AR100"] < 1  # two of the five come after the hundredth


@pytest.mark.parametrize("count", [1, 6])
def test_the_truth_fed_back_is_exactly_one(count):
    pairs = [(truth, truth.take(~truth.crowd)) for truth in truths(count=count)]
    got = measure(pairs)
    assert {value for name, value in got.items() if name not in ("AR1", "AR10") and not math.isnan(value)} == {1.0}
    assert got["AP"] == got["AP50"] == got["AR100"] == 1.0


def test_a_single_object_found_is_exactly_one():
    one = Boxes(np.array([[0.1, 0.2, 33.3, 44.4]]), ("car",))
    assert measure([(one, one)])["AP"] == 1.0


def test_an_answer_inside_a_crowd_costs_nothing():
    truth = Boxes(np.array([[0, 0, 50, 50], [100, 100, 300, 300]]), ("car", "car"), crowd=np.array([False, True]))
    inside = Boxes(np.array([[110.0, 110, 150, 150], [120, 120, 160, 160], [0, 0, 50, 50]]), ("car",) * 3)
    assert measure([(truth, inside)])["AP"] == 1.0


def test_without_answers_the_score_is_zero():
    got = measure([(truth, NOTHING) for truth in truths()])
    assert got["AP"] == got["AP50"] == got["AR100"] == 0.0
    metric = BoxAP(INFO)
    metric.update(*image(1, {"boxes": truths()[0]}, {}))  # an answer without the kind
    assert metric.compute()["AP"] == 0.0


@pytest.mark.parametrize("pairs", [[], [(NOTHING, NOTHING)], [(NOTHING, truths()[0])]])
def test_without_truth_the_score_is_nan(pairs):
    assert all(math.isnan(value) for value in measure(pairs).values())


def test_without_categories_the_score_is_nan():
    assert all(math.isnan(value) for value in measure([(NOTHING, truths()[0])], info=DatasetInfo("none")).values())


def test_images_that_are_not_annotated_are_ignored():
    metric, (truth, *_) = BoxAP(INFO), truths()
    metric.update(*image(1, {"boxes": truth}, {"boxes": truth.take(~truth.crowd)}))
    metric.update(*image(2, {}, {"boxes": truth}))
    assert metric.compute()["AP"] == 1.0
    metric.update(*image(0, {"boxes": NOTHING}, {"boxes": truth}))  # annotated, empty and first: all are wrong
    assert metric.compute()["AP"] < 1.0


def test_answers_with_unknown_labels_are_ignored():
    truth = truths()[0]
    strange = replace(truth, labels=("unicorn",) * len(truth))
    answer = Boxes.concat([strange, truth.take(~truth.crowd)])
    assert measure([(truth, answer)])["AP"] == 1.0


@pytest.mark.parametrize("ids", [list("hgfedcba"), [2**62 - i for i in range(8)], [3, "b", 10**12, "a", 1, 0, 2, -5]])
def test_any_ids_give_the_score_of_the_sorted_images(ids):
    rng = np.random.default_rng(3)
    pairs = [random_pair(rng) for _ in range(8)]
    ranks = sorted(range(8), key=lambda i: (isinstance(ids[i], str), ids[i]))
    same(measure(pairs, ids), naive([pairs[i] for i in ranks]))


@pytest.mark.parametrize("rows", [1, 30, 10**6])
def test_some_categories_at_a_time_give_the_score_of_all(rows, monkeypatch):
    rng = np.random.default_rng(3)
    pairs = [random_pair(rng) for _ in range(8)]
    whole = measure(pairs)
    evaluated, evaluate = [], coco_scoring._evaluated

    def counting(part, scorer):
        evaluated.append(len(part.categories))
        return evaluate(part, scorer)

    monkeypatch.setattr(coco_scoring, "ROWS", rows)
    monkeypatch.setattr(coco_scoring, "_evaluated", counting)
    same(measure(pairs), whole)
    assert sum(evaluated) == 3 and (len(evaluated) == 1) == (rows == 10**6)


def test_the_order_of_updates_does_not_matter():
    rng = np.random.default_rng(4)
    pairs = [random_pair(rng) for _ in range(10)]
    assert measure(pairs) == measure(pairs, order=rng.permutation(10).tolist())


def test_compute_is_silent_and_may_be_repeated(capfd):
    metric = BoxAP(INFO)
    pairs = [random_pair(np.random.default_rng(5)) for _ in range(2)]
    for number, (truth, answer) in enumerate(pairs):
        metric.update(*image(number, {"boxes": truth}, {"boxes": answer}))
    assert metric.compute() == metric.compute()
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("dtype", [np.float32, np.int64])
def test_scores_and_boxes_of_any_dtype_are_taken(dtype):
    box = np.array([[1, 2, 30, 40]], dtype=dtype)
    one = Boxes(box, ("car",), np.ones(1, dtype=dtype))
    assert measure([(one, one)])["AP"] == 1.0


def test_a_turned_answer_is_a_false_positive():
    truth = Boxes(np.array([[0, 0, 50, 50]]), ("car",))
    answer = Boxes(np.array([[50, 50, 0, 0], [0, 0, 50, 50]]), ("car", "car"), np.array([0.9, 0.5]))
    assert measure([(truth, answer)])["AP"] == pytest.approx(0.5)


def broken(values, **others):
    """Boxes made valid, then changed behind the back of their checks."""
    boxes = Boxes(np.array([[0.0, 0.0, 50.0, 50.0]]), ("car",), **others)
    boxes.xyxy[0] = values
    return boxes


def test_a_turned_truth_is_refused_by_name():
    turned = Boxes(np.array([[50, 50, 0, 0]]), ("car",), ids=np.array([17]))
    with pytest.raises(DataError, match=r"1\.jpg \(image 1\): box 17 is turned"):
        BoxAP(INFO).update(*image(1, {"boxes": turned}, {}))


def test_an_unknown_category_in_the_truth_is_refused_by_name():
    with pytest.raises(DataError, match=r"1\.jpg .*box 0 .*'cars'; did you mean 'car'\?"):
        BoxAP(INFO).update(*image(1, {"boxes": Boxes(np.array([[0, 0, 5, 5]]), ("cars",))}, {}))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_numbers_that_are_not_finite_never_reach_native_code(value):
    good, bad = truths()[0], broken([0, 0, value, 50])
    with pytest.raises(DataError, match=r"box 0 has xyxy .* finite"):
        BoxAP(INFO).update(*image(1, {"boxes": bad}, {}))
    with pytest.raises(DataError, match=r"predicted box 0 has xyxy .* finite"):
        BoxAP(INFO).update(*image(1, {"boxes": good}, {"boxes": bad}))
    area = Boxes(np.array([[0, 0, 5, 5]]), ("car",), areas=np.array([value]))
    with pytest.raises(DataError, match=r"has areas .* finite"):
        BoxAP(INFO).update(*image(1, {"boxes": area}, {}))


def test_masks_need_no_more_than_a_shape():
    """What the base class promises to the other kinds of AP."""

    class MaskAP(CocoAP):
        annotation, iou_type, numbers = Polygons, "segm", {"AP": Number("precision")}

        def shapes(self, boxes, size):
            assert size == (400.0, 400.0)
            return [{"segmentation": [part.reshape(-1).tolist() for part in parts]} for parts in boxes.parts]

    square = np.array([[10.0, 10], [110, 10], [110, 110], [10, 110]])
    triangle = square[:3]
    boxes = np.array([[10.0, 10, 110, 110]])
    truth = Polygons(boxes, ("car",), parts=((square,),))
    metric = MaskAP(INFO)
    metric.update(*image(1, {"polygons": truth}, {"polygons": truth}))
    assert metric.compute() == {"AP": 1.0}
    metric = MaskAP(INFO)  # the same box, half of the mask: IoU about 0.5
    metric.update(*image(1, {"polygons": truth}, {"polygons": Polygons(boxes, ("car",), parts=((triangle,),))}))
    assert metric.compute()["AP"] <= 0.1


def test_categories_may_be_listed_in_any_order(scorer):
    """`INFO` has them in another order than that of their ids."""
    metric = BoxAP(INFO, scorer)
    truth = Boxes(np.array([[10.0, 10, 90, 90], [100, 100, 190, 190]]), ("car", "ball"))
    answer = truth.take([0])
    example = Example(1, "1.png", (300, 300), {"boxes": truth}, lambda reduce=1: None)
    metric.update(Prediction(1, "", (300, 300), {"boxes": answer}), example)
    found = {name: numbers["AP"] for name, numbers in metric.per_category().items()}
    assert list(found) == ["ball", "car", "doll"]
    assert (found["car"], found["ball"]) == (1.0, 0.0) and math.isnan(found["doll"])
