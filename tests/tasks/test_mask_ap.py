"""Mask AP against pycocotools read from files, against masks as arrays, and at its edges."""

from __future__ import annotations

import math

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from multitask.annotations import Polygons
from multitask.errors import DataError
from multitask.example import Example, Prediction
from multitask.task import Category, DatasetInfo
from multitask.tasks.coco_metrics import MaskAP

from . import coco_reference as reference
from .coco_reference import scorer

__all__ = ["scorer"]  # a fixture
INFO = DatasetInfo("toys", (Category(7, "car"), Category(1, "ball"), Category(90, "doll")))
NAMES = ("car", "ball", "doll")
SIZE = (200, 150)  # (width, height)
PLACES = {"AP": 0, "AP50": 1, "AP75": 2, "APs": 3, "APm": 4, "APl": 5}
PLACES |= {"AR1": 6, "AR10": 7, "AR100": 8, "ARs": 9, "ARm": 10, "ARl": 11}


def pack(drawn):
    return coco_mask.encode(np.asfortranarray(drawn, dtype=np.uint8))


def drawn(parts, mask=None):
    """(H, W) of bool: each part on its own, then all together."""
    if mask is not None:
        return coco_mask.decode(mask) > 0
    shape = np.zeros(SIZE[::-1], dtype=bool)
    for part in parts:
        shape |= coco_mask.decode(coco_mask.frPyObjects([part.ravel().tolist()], *SIZE[::-1]))[:, :, 0] > 0
    return shape


def square(left, top, right, bottom):
    return np.array([[left, top], [right, top], [right, bottom], [left, bottom]], dtype=float)


def polygons(*objects, labels=None, **others):
    """Objects of parts (P, 2); their boxes are those of the parts, or of the whole image where there are none."""
    boxes = [
        [*np.concatenate(parts).min(axis=0), *np.concatenate(parts).max(axis=0)] if len(parts) else [0, 0, *SIZE]
        for parts in objects
    ]
    return Polygons(
        np.array(boxes, dtype=float).reshape(-1, 4),
        labels or ("car",) * len(objects),
        parts=tuple(tuple(parts) for parts in objects),
        **others,
    )


NOTHING = polygons()


def image(number, truth, answer, size=SIZE):
    example = Example(number, f"{number}.jpg", size, truth, lambda: np.zeros((4, 4, 3), dtype=np.uint8))
    return Prediction(number, example.file, size, answer), example


def measure(*pairs, info=INFO, size=SIZE):
    metric = MaskAP(info)
    for number, (truth, answer) in enumerate(pairs):
        metric.update(*image(number, {"polygons": truth}, {"polygons": answer}, size))
    return metric.compute()


def random_parts(rng):
    """One to three outlines with 3 to 9 corners, some beyond the border."""
    corners = [rng.uniform(-10, 10, (rng.integers(3, 10), 2)) for _ in range(rng.integers(1, 4))]
    return [rng.uniform(0, 1, 2) * SIZE + rng.choice([0.2, 1, 5]) * c for c in corners]


def random_truth(rng):
    count = rng.integers(0, 7)
    crowd = rng.uniform(size=count) < 0.2
    parts = [[] if alone else random_parts(rng) for alone in crowd]
    masks = [pack(rng.uniform(size=SIZE[::-1]) < 0.9) if alone else None for alone in crowd]
    areas = [drawn(*shape).sum() * rng.uniform(0.8, 1) for shape in zip(parts, masks, strict=True)]
    labels = tuple(rng.choice(NAMES, count))
    return polygons(*parts, masks=tuple(masks), crowd=crowd, areas=np.array(areas), labels=labels)


def random_answer(rng, truth):
    """Some of the truth, moved a little, some packed; things that are not there; scores with ties."""
    parts = [truth.parts[row] or random_parts(rng) for row in range(len(truth)) for _ in range(rng.integers(0, 3))]
    labels = [truth.labels[row] for row in range(len(truth))]
    parts = [[part + rng.normal(0, rng.choice([0.2, 2]), 2) for part in one] for one in parts]
    labels = [str(rng.choice(NAMES if rng.uniform() < 0.2 or not labels else labels)) for _ in parts]
    parts += [random_parts(rng) for _ in range(rng.integers(0, 4))] + [[]]
    labels += list(rng.choice(NAMES, len(parts) - len(labels)))
    packed = rng.uniform(size=len(parts)) < 0.3
    return polygons(
        *([] if mask else one for one, mask in zip(parts, packed, strict=True)),
        masks=tuple(pack(drawn(one)) if mask else None for one, mask in zip(parts, packed, strict=True)),
        scores=np.round(rng.uniform(0, 1, len(parts)), 1),
        labels=tuple(map(str, labels)),
    )


def truth_rows(number, truth):
    """As COCO writes them: crowds as plain run lengths, others as outlines."""
    ids = {category.name: category.id for category in INFO.categories}
    for row, name in enumerate(truth.labels):
        outline = [part.ravel().tolist() for part in truth.parts[row]]
        if truth.masks[row] is not None:
            flat = drawn([], truth.masks[row]).ravel(order="F")
            ends = np.flatnonzero(np.diff(flat)) + 1
            runs = np.diff([0, *ends, len(flat)]).tolist()
            outline = {"size": [SIZE[1], SIZE[0]], "counts": [0, *runs] if flat[0] else runs}
        yield {
            "image_id": number, "category_id": ids[name], "bbox": reference.bbox(truth.xyxy[row]),
            "segmentation": outline, "area": float(truth.areas[row]), "iscrowd": int(truth.crowd[row]),
        }  # fmt: skip


def answer_rows(number, answer):
    ids = {category.name: category.id for category in INFO.categories}
    for row, name in enumerate(answer.labels):
        mask = pack(drawn(answer.parts[row], answer.masks[row]))
        outline = {"size": mask["size"], "counts": mask["counts"].decode()}
        score = float(answer.scores[row])
        yield {"image_id": number, "category_id": ids[name], "segmentation": outline, "score": score}


@pytest.mark.parametrize("seed", range(20))
def test_it_equals_pycocotools_read_from_files(seed, tmp_path):
    rng = np.random.default_rng(seed)
    truths = [random_truth(rng) for _ in range(6)] + [NOTHING]
    answers = [random_answer(rng, truth) for truth in truths]
    answers[rng.integers(6)] = NOTHING
    wanted = reference.stats(
        tmp_path, SIZE, range(7), INFO.categories,
        [row for number, truth in enumerate(truths) for row in truth_rows(number, truth)],
        [row for number, answer in enumerate(answers) for row in answer_rows(number, answer)],
        "segm",
    )  # fmt: skip
    got = measure(*zip(truths, answers, strict=True))
    assert list(got) == list(PLACES)
    assert 0 < got["AP"] < got["AP50"] < 1
    for name, place in PLACES.items():
        assert got[name] == pytest.approx(math.nan if wanted[place] == -1 else wanted[place], abs=1e-9, nan_ok=True)


@pytest.mark.parametrize("seed", range(10))
def test_a_single_pair_scores_the_overlap_of_its_arrays(seed):
    rng = np.random.default_rng(seed)
    shapes, objects = [], []
    for _ in range(2):
        rectangles = [np.array([20, 30, 120, 100]) + rng.integers(-12, 12, 4) for _ in range(2)]
        shapes.append(np.zeros(SIZE[::-1], dtype=bool))
        for left, top, right, bottom in rectangles:
            shapes[-1][top:bottom, left:right] = True
        objects.append([square(*sides) for sides in rectangles])
    wanted = reference.single(reference.mask_iou(*shapes))
    truth, answer = map(polygons, objects)
    assert measure((truth, answer))["AP"] == pytest.approx(wanted, abs=1e-9)
    packed = polygons([], masks=(pack(shapes[1]),))
    assert measure((truth, packed))["AP"] == pytest.approx(wanted, abs=1e-9)


@pytest.mark.parametrize(
    ("moved", "ap"),
    [(0, 1.0), (2, 0.9), (8, 0.4), (20, 0.0), (40, 0.0)],  # IoU 1, 38/42, 32/48, a third, nothing
)
def test_a_square_of_40_pixels_moved_to_the_right(moved, ap):
    truth, answer = polygons([square(10, 10, 50, 50)]), polygons([square(10 + moved, 10, 50 + moved, 50)])
    got = measure((truth, answer))
    assert got["AP"] == pytest.approx(ap, abs=1e-9)
    assert got["AP50"] == (1.0 if moved < 20 else 0.0)


def test_half_of_a_mask_reaches_the_lowest_threshold_though_its_box_is_right():
    truth = polygons([square(10, 10, 50, 50)])
    comb = polygons([square(x, 10, x + 2, 50) for x in range(10, 50, 4)])
    got = measure((truth, comb))
    assert got["AP50"] == 1.0 and got["AP"] == pytest.approx(0.1) and got["AP75"] == 0.0


def test_parts_that_overlap_are_one_mask():
    truth = polygons([square(10, 10, 60, 60)])
    assert measure((truth, polygons([square(10, 10, 40, 60), square(30, 10, 60, 60)])))["AP"] == 1.0


def test_a_mask_goes_before_outlines():
    corner = np.zeros(SIZE[::-1], dtype=bool)
    corner[:20, :30] = True
    both = polygons([square(100, 100, 150, 140)], masks=(pack(corner),))
    assert measure((both, polygons([square(0, 0, 30, 20)])))["AP"] == 1.0


def test_plain_run_lengths_are_taken():
    plain = {"size": [150, 200], "counts": [0, 150 * 30, 150 * 170]}
    assert measure((polygons([], masks=(plain,)), polygons([square(0, 0, 30, 150)])))["AP"] == 1.0


def test_the_size_of_an_answer_is_that_of_its_mask():
    """A large answer that is not there counts against large objects alone; its mask is small, its box is large."""
    truth = polygons([square(0, 0, 120, 120)], [square(150, 10, 160, 20)])
    answer = polygons([square(0, 0, 120, 120)], [square(130, 30, 132, 32), square(190, 140, 192, 142)])
    got = measure((truth, Polygons.concat([answer.take([1]), answer.take([0])])))
    assert got["APl"] == 1.0 and got["APs"] == 0.0


def test_the_truth_fed_back_is_exactly_one():
    rng = np.random.default_rng(0)
    truths = [random_truth(rng) for _ in range(8)]
    got = measure(*((truth, truth.answerable()) for truth in truths))
    assert {value for name, value in got.items() if name != "AR1" and not math.isnan(value)} == {1.0}
    assert got["AP"] == 1.0 and any(truth.crowd.any() for truth in truths)


def test_an_answer_inside_a_crowd_costs_nothing():
    crowd = pack(drawn([square(100, 0, 200, 150)]))
    truth = polygons([square(10, 10, 50, 50)], [], masks=(None, crowd), crowd=np.array([False, True]))
    inside = polygons([square(120, 20, 140, 40)], [square(150, 20, 170, 60)], [square(10, 10, 50, 50)])
    assert measure((truth, inside))["AP"] == 1.0


def test_without_answers_or_with_empty_ones_the_score_is_zero():
    truth = polygons([square(10, 10, 50, 50)])
    assert measure((truth, NOTHING))["AP"] == 0.0
    assert measure((truth, polygons([])))["AP"] == 0.0
    metric = MaskAP(INFO)
    metric.update(*image(1, {"polygons": truth}, {}))
    assert metric.compute()["AP"] == 0.0


def test_nobody_finds_an_object_without_outline():
    truth = polygons([square(10, 10, 50, 50)], [])
    assert measure((truth, truth))["AR100"] == 0.5


@pytest.mark.parametrize("pairs", [[], [(NOTHING, NOTHING)], [(NOTHING, polygons([square(10, 10, 50, 50)]))]])
def test_without_truth_the_score_is_nan(pairs):
    got = measure(*pairs)
    assert list(got) == list(PLACES) and all(math.isnan(value) for value in got.values())


def test_images_without_outlines_are_ignored():
    metric, truth = MaskAP(INFO), polygons([square(10, 10, 50, 50)])
    metric.update(*image(1, {"polygons": truth}, {"polygons": truth}))
    metric.update(*image(2, {"boxes": truth}, {"polygons": truth}))
    assert metric.compute()["AP"] == 1.0


def test_the_size_of_the_image_is_rounded():
    truth = polygons([square(10, 10, 50, 50)], masks=(pack(np.ones(SIZE[::-1])),))
    assert measure((truth, truth), size=(200.4, 149.6))["AP"] == 1.0


def test_parts_of_an_answer_with_less_than_three_points_cover_nothing():
    truth = polygons([square(10, 10, 50, 50)])
    line = np.array([[60.0, 60.0], [140.0, 140.0]])  # four numbers: pycocotools alone would see a box
    for strange in ([line], [line[:1]], [np.zeros((0, 2)), line]):
        assert measure((truth, polygons([*strange, square(10, 10, 50, 50)])))["AP"] == 1.0
    assert measure((truth, polygons([line])))["AP"] == 0.0


def refused(truth, answer, problem):
    with pytest.raises(DataError, match=problem) as error:
        MaskAP(INFO).update(*image(1, {"polygons": truth}, {"polygons": answer}))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e300, 16 * 200 + 1])
def test_coordinates_that_are_damaged_never_reach_native_code(value):
    good, bad = polygons([square(10, 10, 50, 50)]), square(10, 10, 50, 50)
    bad[2, 1] = value
    box = good.xyxy.repeat(2, axis=0)
    broken = Polygons(box, ("car",) * 2, ids=np.array([4, 17]), parts=((good.parts[0][0],), (good.parts[0][0], bad)))
    refused(
        broken, NOTHING, r"^1\.jpg \(image 1\) box 17 has an outline with .*; it must be finite and within 16 image"
    )
    refused(good, broken, r"^1\.jpg \(image 1\): predicted box 17 has an outline with ")


def test_coordinates_far_outside_are_no_trouble():
    far = polygons([square(-3000, -3000, 3000, 3000)])
    assert measure((polygons([square(0, 0, *SIZE)]), far))["AP"] == 1.0


def test_a_truth_with_less_than_three_points_is_refused():
    line = polygons([square(10, 10, 50, 50), np.array([[10.0, 10], [20, 20]])], ids=np.array([5]))
    refused(line, NOTHING, r"box 5 has an outline with 2 points; it needs 3")


def test_a_mask_of_another_size_is_refused():
    strange = polygons([], masks=(pack(np.ones((200, 150))),), ids=np.array([3]))
    good = polygons([square(10, 10, 50, 50)])
    problem = r"box 3 has a mask of size \[200, 150\]; the image has \[height, width\] \[150, 200\]"
    refused(strange, NOTHING, r"\(image 1\) " + problem)
    refused(good, strange, "predicted " + problem)


def test_what_boxes_are_refused_for_holds_for_masks():
    square_car = [square(10, 10, 50, 50)]
    refused(polygons(square_car, labels=("cars",)), NOTHING, r"unknown category 'cars'; did you mean 'car'\?")
    refused(polygons(square_car, areas=np.array([math.nan])), NOTHING, "has areas nan; it must be finite")


def test_computing_leaves_the_annotations_and_may_be_repeated(capfd):
    rng = np.random.default_rng(3)
    metric, truth = MaskAP(INFO), random_truth(rng)
    metric.update(*image(1, {"polygons": truth}, {"polygons": random_answer(rng, truth)}))
    masks = truth.masks
    assert metric.compute() == metric.compute()
    assert truth.masks is masks and capfd.readouterr() == ("", "")
