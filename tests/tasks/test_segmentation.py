from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from multitask.annotations import Boxes, Polygons
from multitask.data.mixture import collate
from multitask.data.shapes import ShapesDataset
from multitask.data.transforms import place
from multitask.errors import UsageError
from multitask.evaluate import as_scores
from multitask.example import Example
from multitask.self_test import self_test
from multitask.task import Augment, Decoded, Decoding, Query, Target, View, Vocabulary
from multitask.tasks.outlines import area
from multitask.tasks.segmentation import Segmentation, SegmentationOptions
from multitask.testing import check_task, random_walk, tiny_examples, tiny_vocabulary
from multitask.walks import refusal

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "instance_train_batch.json").read_text())["segmentation"]
ROUNDS = 10_000 if os.environ.get("MTP_LONG") == "1" else 1_000
CLASSES = ("cat", "dog", "cow")
VOCAB = tiny_vocabulary([Segmentation()], CLASSES, bins=1000)
START, PART = VOCAB.coord.start, VOCAB.id("<part>")
HALF_A_BIN = 0.5 / 999 + 2e-6  # of the frame; a float32 lies between
AS_PUBLISHED = {"coordinates": "view", "points": "given", "start": "given"}
SQUARE = np.array([[0.2, 0.2], [0.6, 0.2], [0.6, 0.6], [0.2, 0.6]])


def task(**options: object) -> Segmentation:
    return Segmentation(SegmentationOptions(**options))


def disc(x: float = 0.5, y: float = 0.5, radius: float = 0.3, count: int = 24) -> np.ndarray:
    angles = np.arange(count) / count * 2 * np.pi
    return np.stack([x + radius * np.cos(angles), y + radius * np.sin(angles)], axis=1)


def scene(*instances: list[np.ndarray], size: tuple[float, float] = (1.0, 1.0), **fields: object) -> Example:
    """Instances, each a list of parts, with the boxes that they fill."""
    corners = [np.concatenate(parts) if parts else np.array([[0.1, 0.1], [0.9, 0.9]]) for parts in instances]
    fields.setdefault("xyxy", np.array([[*c.min(axis=0), *c.max(axis=0)] for c in corners]).reshape(-1, 4))
    fields.setdefault("labels", tuple(CLASSES[i % len(CLASSES)] for i in range(len(instances))))
    polygons = Polygons(parts=tuple(map(tuple, instances)), **fields)
    return Example(0, "0.png", size, {"polygons": polygons}, lambda: None)


def targets(seg: Segmentation, example: Example, seed: int | None = None) -> list[Target]:
    return seg.serialize(example, VOCAB, None if seed is None else np.random.default_rng(seed))


def target(seg: Segmentation, example: Example, seed: int | None = None) -> Target:
    (found,) = targets(seg, example, seed)
    return found


def read(seg: Segmentation, query: Query, *samples: np.ndarray, **recorded: np.ndarray) -> Polygons:
    decoded = [replace(Decoded.certain(tokens), **recorded) for tokens in samples]
    return seg.deserialize(query, decoded, VOCAB)["polygons"]


def answer(seg: Segmentation, found: Target) -> tuple[np.ndarray, ...]:
    return read(seg, found.query(), found.tokens).parts[0]


def runs(tokens: np.ndarray, vocab: Vocabulary = VOCAB) -> list[np.ndarray]:
    """The points (P, 2) yx of each part in bins, as they were written; separators must come in pairs."""
    pairs = tokens.reshape(-1, 2)
    breaks = pairs == vocab.id("<part>")
    assert (breaks[:, 0] == breaks[:, 1]).all()
    parts = np.split(pairs, np.flatnonzero(breaks[:, 0]))
    return [part[part[:, 0] != vocab.id("<part>")] - vocab.coord.start for part in parts]


def frame(seg: Segmentation, box: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Origin and sides of what coordinates are relative to."""
    if seg.options.coordinates == "view":
        return np.zeros(2), np.ones(2)
    sides = box[2:] - box[:2]
    return box[:2] - seg.options.margin * sides, (1 + 2 * seg.options.margin) * sides


# ------------------------------------------------------------------------------------------------------- training


@pytest.fixture(params=range(2), ids=["one part", "two parts"])
def golden(request) -> tuple[int, list[int], list[int], list[float]]:
    """A published instance, and what ours says of it in the published ids: inputs, targets, weights."""
    row = request.param
    pairs = np.array(GOLDEN["points"][0][row]).reshape(-1, 2)
    pairs = pairs[pairs[:, 0] != -1]
    parts = [part[part[:, 0] >= 0][:, ::-1] for part in np.split(pairs, np.flatnonzero(pairs[:, 0] == -2))]
    xyxy = np.array(GOLDEN["bbox"][0][row])[[1, 0, 3, 2]]
    vocab = tiny_vocabulary([Segmentation()], [str(i) for i in range(1, 91)], bins=1000)
    seg = task(max_points=GOLDEN["max_points"], eos_weight=GOLDEN["eos_token_weight"], **AS_PUBLISHED)
    (found,) = seg.serialize(scene(parts, xyxy=xyxy, labels=(str(GOLDEN["label"][0][row]),)), vocab, None)
    batch = collate([(0, found)], vocab)
    theirs = {vocab.pad: 0, vocab.eos: 0, vocab.id("<segment>"): 11, vocab.id("<part>"): 40}
    theirs |= {vocab.class_id(str(i)): 100 + i for i in range(1, 91)} | {i: 1000 + b for b, i in enumerate(vocab.coord)}
    inputs, expected = ([theirs[i] for i in ids[0].tolist()] for ids in (batch.inputs, batch.targets))
    return row, inputs, expected, batch.weights[0].tolist()


def filled(values: list, length: int) -> list:
    """The original pads every sequence to all its points."""
    return values + [0] * (length - len(values))


def test_inputs_and_targets_are_the_published_ones(golden):
    row, inputs, expected, _ = golden
    assert filled(inputs, GOLDEN["max_seq_len"]) == GOLDEN["input_seq"][0][row]
    assert filled(expected, GOLDEN["max_seq_len"]) == GOLDEN["target_seq"][0][row]


def test_weights_are_the_published_ones_up_to_the_first_end(golden):
    """The original trains on all the padding, each 1; ours on the one `<eos>` alone."""
    row, _, expected, weights = golden
    end = expected.index(0)
    assert weights[: end + 1] == GOLDEN["token_weights"][0][row][: end + 1]
    assert weights[end] == 1.0 and not any(weights[end + 1 :])
    assert set(GOLDEN["token_weights"][0][row][end:]) == {1.0}


@pytest.mark.parametrize("coordinates", ["box", "view"])
def test_the_prompt_is_six_tokens(coordinates):
    found = target(task(coordinates=coordinates), scene([SQUARE], xyxy=[[0.1, 0.2, 0.6, 0.7]], labels=("dog",)))
    assert VOCAB.render(found.prompt) == "<segment> <200> <100> <699> <599> dog"  # float32: 0.6 * 999 is 599.4
    assert found.eos_weight == 1.0 and found.inputs is None and (found.weights == 1).all()
    assert target(task(eos_weight=0.3), scene([SQUARE])).eos_weight == 0.3


def test_coordinates_are_relative_to_the_enlarged_box():
    seg = task(start="given")
    (found,) = runs(target(seg, scene([SQUARE])).tokens)  # a margin of 0.1 on each side of 1 is 1/12 of the whole
    near, far = round(999 / 12), round(999 * 11 / 12)
    assert found.tolist() == [[near, near], [near, far], [far, far], [far, near]]
    (found,) = runs(target(task(start="given", margin=0.0), scene([SQUARE])).tokens)
    assert found.tolist() == [[0, 0], [0, 999], [999, 999], [999, 0]]
    (found,) = runs(target(task(start="given", coordinates="view"), scene([SQUARE])).tokens)
    assert found.tolist() == [[200, 200], [200, 599], [599, 599], [599, 200]]


def test_separators_stand_between_parts():
    tokens = target(task(), scene([disc(0.2, 0.2, 0.1, 8), disc(0.7, 0.6, 0.2, 5), disc(0.2, 0.8, 0.15, 7)])).tokens
    assert np.flatnonzero(tokens == PART).tolist() == [10, 11, 26, 27]  # the largest part comes first
    assert list(map(len, runs(tokens))) == [5, 7, 8]


@pytest.mark.parametrize("points", ["curvature", "uniform", "given"])
@pytest.mark.parametrize("most", [3, 4, 6, 7, 8, 19, 20, 64])
def test_long_outlines_are_shortened(points, most):
    parts = [disc(0.2 * i + 0.1, 0.5, 0.01 * (i + 1), 12) for i in range(5)]
    seg = task(points=points, max_points=most, start="given")
    found = target(seg, scene(parts))
    assert refusal(seg.grammar(found.query(), VOCAB), found.tokens.tolist(), VOCAB) == ""
    if points == "given":  # cut off, as published
        assert (
            found.tokens.tolist()
            == target(task(points="given", start="given"), scene(parts)).tokens[: 2 * most].tolist()
        )
        return
    written = runs(found.tokens)
    assert len(written) == min(5, (most + 1) // 4) and min(map(len, written)) >= 3
    assert sum(map(len, written)) + len(written) - 1 == len(found.tokens) / 2 == most
    sizes = [np.ptp(part[:, 1]) for part in written]  # the largest parts are left
    assert sizes == sorted(sizes, reverse=True)
    left = answer(seg, found)[0][:, 0] - 0.9
    assert np.abs(left).max() < 0.06


def test_evenly_spaced_points():
    seg = task(points="uniform", max_points=8, start="given", margin=0.0)
    (found,) = answer(seg, target(seg, scene([SQUARE])))
    wanted = [[2, 2], [4, 2], [6, 2], [6, 4], [6, 6], [4, 6], [2, 6], [2, 4]]
    np.testing.assert_allclose(found, np.array(wanted) / 10, atol=0.4 * HALF_A_BIN)


@pytest.mark.parametrize("points", ["curvature", "given"])
@pytest.mark.parametrize("coordinates", ["box", "view"])
def test_an_outline_begins_anywhere_and_keeps_its_direction(points, coordinates):
    seg = task(points=points, coordinates=coordinates, box_jitter=0)
    example = scene([disc(count=10)])
    (whole,) = runs(target(seg, example).tokens)
    rotations = [np.roll(whole, i, axis=0).tolist() for i in range(10)]
    seen = [runs(target(seg, example, seed).tokens)[0].tolist() for seed in range(200)]
    assert all(found in rotations for found in seen) and all(rotation in seen for rotation in rotations)


def test_evenly_spaced_points_begin_anywhere():
    seg = task(points="uniform", max_points=16)
    found = [answer(seg, target(seg, scene([SQUARE]), seed))[0] for seed in range(50)]
    assert all(len(part) == 16 and area(part) == pytest.approx(0.16, rel=0.1) for part in found)
    assert all(np.abs(np.abs(part - 0.4).max(axis=1) - 0.2).max() < 1e-3 for part in found)  # on the rim
    assert len({round(float(part[0, 0]), 3) for part in found}) > 20


def test_an_outline_begins_at_the_top():
    example = scene([np.roll(disc(count=12), 1, axis=0)])
    for seed in (None, 0, 1):
        (found,) = answer(task(start="top"), target(task(start="top"), example, seed))
        np.testing.assert_allclose(found[0], [0.5, 0.2], atol=1e-3)
    (found,) = answer(task(start="given"), target(task(start="given"), example, 0))
    np.testing.assert_allclose(found, example.annotations["polygons"].parts[0][0], atol=1e-3)


def test_turned_outlines_are_written_clockwise_unless_as_given():
    example = scene([SQUARE[::-1]])
    assert area(answer(task(), target(task(), example))[0]) > 0
    given_points = task(points="given", start="given")
    np.testing.assert_allclose(answer(given_points, target(given_points, example))[0], SQUARE[::-1], atol=1e-3)


def test_crowds_and_masks_without_outline_are_not_learnt():
    rle = {"size": [4, 4], "counts": [0, 16]}
    example = scene(
        [SQUARE], [SQUARE + 0.1], [], [SQUARE - 0.1],
        crowd=[False, True, False, False], masks=(None, None, rle, None), ids=[5, 6, 7, 8],
    )  # fmt: skip
    assert [found.about["boxes"].ids.tolist() for found in targets(task(), example)] == [[5], [8]]
    assert targets(task(), scene()) == [] == targets(task(), scene(), 0)
    line = np.array([[0.1, 0.2], [0.5, 0.5], [0.9, 0.8]])
    assert targets(task(), scene([line])) == []  # it encloses nothing


def test_too_many_objects_are_cut_by_chance():
    example = scene(*[[disc(0.1 * i + 0.05, 0.5, 0.04)] for i in range(10)])
    chosen = [[int(t.about["boxes"].ids[0]) for t in targets(task(max_instances=3), example, i)] for i in range(50)]
    assert {len(set(ids)) for ids in chosen} == {3} and {i for ids in chosen for i in ids} == set(range(10))
    assert len(targets(task(max_instances=3), example)) == 10


def test_jitter_moves_the_question_alone():
    example = scene([disc(0.5, 0.5, 0.2)], [disc(0.1, 0.9, 0.1)])
    still, moving = (task(coordinates="view", box_jitter=jitter) for jitter in (0.0, 0.25))
    for seed in range(20):
        for one, other in zip(targets(still, example, seed), targets(moving, example, seed), strict=True):
            assert one.tokens.tolist() == other.tokens.tolist() and one.prompt.tolist() != other.prompt.tolist()
            assert one.prompt[[0, 5]].tolist() == other.prompt[[0, 5]].tolist()
            before, after = one.about["boxes"].xyxy[0], other.about["boxes"].xyxy[0]
            assert 0 < np.abs(after - before).max() <= 0.25 * 0.4 + 1e-9 and (after >= 0).all() and (after <= 1).all()
            bins = np.round(np.float32(after[[1, 0, 3, 2]]) * 999).astype(int)
            assert (other.prompt[1:5] - START).tolist() == bins.tolist()


def test_a_frame_that_moved_takes_its_points_along():
    seg, example = task(box_jitter=0.25, margin=0.5, start="given"), scene([disc(0.5, 0.5, 0.2)])
    found = [target(seg, example, seed) for seed in range(20)]
    assert len({tuple(one.tokens) for one in found}) == 20
    for one in found:
        np.testing.assert_allclose(answer(seg, one)[0], disc(0.5, 0.5, 0.2), atol=1e-3)
    small = task(box_jitter=0.25, margin=0.0, start="given")  # what leaves the frame lies on its rim
    for seed in range(20):
        found = target(small, example, seed)
        box = found.about["boxes"].xyxy[0]
        wanted = disc(0.5, 0.5, 0.2).clip(box[:2], box[2:])
        assert all(np.abs(wanted - point).max(axis=1).min() < 1e-3 for point in answer(small, found)[0])


def test_options_out_of_range_are_refused():
    for bad in ({"max_points": 2}, {"points": "sharp"}, {"start": "left"}, {"margin": -0.1}, {"box_jitter": 0.3}):
        with pytest.raises(ValidationError):
            SegmentationOptions(**bad)


# ------------------------------------------------------------------------------------------------------ round trips

fraction = st.sampled_from([0.0, 1.0]) | st.floats(0.0, 1.0)
outline = st.tuples(
    st.lists(st.tuples(fraction, fraction), min_size=3, max_size=6).map(np.array),
    st.sampled_from([1.0, 0.3, 0.01]),  # tiny ones too
    st.tuples(fraction, fraction).map(np.array),
).map(lambda drawn: drawn[2] + (drawn[0] - drawn[2]) * drawn[1])


@st.composite
def pictures(draw) -> tuple[Example, int | None]:
    """A picture in pixels, and a seed of its variation."""
    size = draw(st.tuples(st.integers(8, 200), st.integers(8, 200)))
    parts = draw(st.lists(st.lists(outline, min_size=1, max_size=3), min_size=1, max_size=3))
    instances = [[part * np.array(size, dtype=float) for part in one] for one in parts]
    return scene(*instances, size=size), draw(st.none() | st.integers(0, 9))


def seen(example: Example, seed: int | None) -> Example:
    """In the view that the network gets: all of it, or a random crop, maybe mirrored."""
    rng = None if seed is None else np.random.default_rng(seed)
    placement = place(example.size, 64, None, Augment(scale=(0.5, 3.0), flip=0.5), rng)
    return example.warp(placement.matrix, placement.size)


def asked_about(example: Example, found: Target) -> Polygons:
    polygons = example.annotations["polygons"]
    return polygons.take(polygons.ids == found.about["boxes"].ids)


@settings(derandomize=True, deadline=None, max_examples=150)
@given(pictures(), st.sampled_from(["box", "view"]))
def test_corners_survive_up_to_half_a_bin(picture, coordinates):
    example, seed = seen(*picture), picture[1]
    seg = task(coordinates=coordinates)
    for found in targets(seg, example, seed):
        truth = asked_about(example, found)
        corners = np.concatenate(truth.parts[0])
        _, sides = frame(seg, found.about["boxes"].xyxy[0])
        parts = answer(seg, found)
        assert 0 < len(parts) <= len(truth.parts[0])
        for part in parts:
            errors = np.abs(part[:, None] - corners) / sides
            assert errors.max(axis=2).min(axis=1).max() <= HALF_A_BIN
            assert area(part) > 0


@settings(derandomize=True, deadline=None, max_examples=150)
@given(pictures(), st.sampled_from(["box", "view"]))
def test_given_outlines_survive_point_by_point(picture, coordinates):
    example, seed = seen(*picture), picture[1]
    seg = task(coordinates=coordinates, points="given", start="given")
    found = targets(seg, example, seed)
    assert len(found) == len(example.annotations["polygons"])
    for one in found:
        truth = asked_about(example, one)
        _, sides = frame(seg, one.about["boxes"].xyxy[0])
        for part, original in zip(answer(seg, one), truth.parts[0], strict=True):
            assert part.shape == original.shape and np.abs((part - original) / sides).max() <= HALF_A_BIN


def test_truth_through_tokens_scores_nearly_one():
    vocab = tiny_vocabulary([Segmentation()], bins=1000)
    for options in ({}, {"points": "uniform"}, {"coordinates": "view"}):
        scores = as_scores(
            self_test(ShapesDataset("val", 30), {"segment": task(**options)}, vocab, 64, through_tokens=True)
        )
        assert scores["segment"]["AP"] > 0.95 and scores["segment"]["AP50"] == 1.0, options


@pytest.mark.parametrize("start", ["random", "top", "given"])
@pytest.mark.parametrize("points", ["curvature", "uniform", "given"])
@pytest.mark.parametrize("coordinates", ["box", "view"])
def test_the_contract(coordinates: str, points: str, start: str):
    seg = task(coordinates=coordinates, points=points, start=start, max_points=24, box_jitter=0.1)
    check_task(seg, tiny_examples(2), samples=10, exact=points != "uniform")


def test_the_contract_with_several_samples():
    check_task(task(decoding=Decoding(samples=3, temperature=1.0), max_points=12), tiny_examples(2), samples=10)


# ------------------------------------------------------------------------------------------------------- answering


def test_boxes_are_asked_about_one_by_one():
    boxes = Boxes([[0.1, 0.2, 0.6, 0.7], [0, 0, 1, 1]], ("dog", "cat"), scores=[0.3, 0.9], areas=[0.2, 0.4], ids=[7, 8])
    queries = task().queries({"boxes": boxes}, VOCAB)
    assert [VOCAB.render(query.prompt) for query in queries] == [
        "<segment> <200> <100> <699> <599> dog",
        "<segment> <0> <0> <999> <999> cat",
    ]
    tokens = target(task(), scene([SQUARE])).tokens
    found = Polygons.concat([read(task(), query, tokens) for query in queries])
    assert found.labels == ("dog", "cat") and found.scores.tolist() == [0.3, 0.9]
    assert found.ids.tolist() == [7, 8] and found.areas.tolist() == [0.2, 0.4]
    np.testing.assert_array_equal(found.xyxy, boxes.xyxy)
    assert list(map(len, found.parts)) == [1, 1]


def test_the_truth_is_asked_about_before_boxes():
    rle = {"size": [4, 4], "counts": [0, 16]}
    example = scene([SQUARE], [], [SQUARE + 0.1], crowd=[False, False, True], masks=(None, rle, None), ids=[5, 6, 7])
    other = Boxes([[0, 0, 1, 1]], ("cow",))
    queries = task().queries({"boxes": other, **example.annotations}, VOCAB)
    assert [query.about["boxes"].ids.tolist() for query in queries] == [[5], [6]]  # a run-length mask has a box too
    assert all(type(query.about["boxes"]) is Boxes for query in queries)  # and no outline that could be copied
    assert task().queries({}, VOCAB) == [] == task().queries({"boxes": other.take([])}, VOCAB)


def test_a_box_without_a_category_is_refused():
    with pytest.raises(UsageError, match="needs a class, and none was given: use --class"):
        task().queries({"boxes": Boxes([[0, 0, 1, 1]], ("",))}, VOCAB)
    with pytest.raises(UsageError, match="no category 'cot'; did you mean 'cow'"):
        task().queries({"boxes": Boxes([[0, 0, 1, 1]], ("cot",))}, VOCAB)


@pytest.mark.parametrize("coordinates", ["box", "view"])
def test_points_between_two_bins(coordinates):
    seg, sure = task(coordinates=coordinates), task(coordinates=coordinates, expected=False)
    found = target(seg, scene([SQUARE]))
    (low, sides), query = frame(seg, found.about["boxes"].xyxy[0]), found.query()
    tokens, expected = found.tokens, found.tokens + 0.25

    def points(bins: np.ndarray) -> np.ndarray:
        return ((bins - START).reshape(-1, 2)[:, ::-1] / 999) * sides + low

    (between,) = read(seg, query, tokens, expected=expected).parts[0]
    np.testing.assert_allclose(between, points(expected), atol=1e-6)
    (drawn,) = read(sure, query, tokens, expected=expected).parts[0]
    np.testing.assert_allclose(drawn, points(tokens), atol=1e-6)
    best = tokens.copy()
    best[3] += 40  # another one was drawn: the mean about the best says nothing of it
    (mixed,) = read(seg, query, tokens, expected=expected + 40 * (best != tokens), best=best).parts[0]
    np.testing.assert_allclose(mixed, points(np.where(best == tokens, expected, tokens)), atol=1e-6)


def test_several_answers_become_one_outline():
    seg = task(coordinates="view")
    moved = [target(seg, scene([SQUARE + np.array([0.1 * i, 0])])) for i in range(3)]
    (found,) = read(seg, moved[0].query(), *(one.tokens for one in moved)).parts[0]
    np.testing.assert_allclose([found.min(axis=0), found.max(axis=0)], [[0.3, 0.2], [0.7, 0.6]], atol=0.01)
    assert area(found) == pytest.approx(0.16, rel=0.03)
    nothing = np.zeros(0, dtype=np.int64)
    (found,) = read(seg, moved[0].query(), moved[0].tokens, nothing).parts[0]  # a half is enough
    assert area(found) == pytest.approx(0.16, rel=0.03)
    assert read(seg, moved[0].query(), moved[0].tokens, nothing, nothing).parts == ((),)
    assert read(seg, moved[0].query(), nothing).parts == ((),)


def test_any_tokens_are_read():
    rng = np.random.default_rng(0)
    tasks = [task(), task(coordinates="view"), task(expected=False, margin=2.0)]
    queries = [target(seg, scene([disc(0.9, 0.1, 0.09)])).query() for seg in tasks]
    counts = set()
    for number in range(ROUNDS):
        samples = []
        for _ in range(3 if number % 20 == 0 else 1):
            length = int(rng.integers(0, 80))
            tokens = rng.integers(-5, 2 * len(VOCAB), length)
            near = rng.choice([*VOCAB.coord[::50], PART, PART, VOCAB.eos, VOCAB.class_id("cat")], length)
            tokens = np.where(rng.random(length) < (number % 3) / 2, near, tokens)
            expected = tokens + rng.normal(0, 50, length)
            expected[rng.random(length) < 0.02] = np.nan
            best = np.where(rng.random(length) < 0.5, rng.permutation(tokens), tokens)
            recorded = {"best": best, "best_prob": rng.random(length) * 2, "expected": expected}
            samples.append(replace(Decoded.certain(tokens), **recorded))
        found = tasks[number % 3].deserialize(queries[number % 3], samples, VOCAB)["polygons"]
        assert len(found) == 1
        for part in found.parts[0]:
            assert part.ndim == 2 and part.shape[1] == 2 and len(part) >= 3
            assert (part >= 0).all() and (part <= 1).all()
        counts.add(len(found.parts[0]))
    assert {0, 1, 2} <= counts


def test_every_answer_under_the_grammar_is_whole_parts():
    seg, rng = task(max_points=20, expected=False, coordinates="view"), np.random.default_rng(0)
    vocab = tiny_vocabulary([seg], CLASSES, bins=8)  # few, so that parts end often
    (query,) = seg.queries({"boxes": Boxes([[0, 0, 1, 1]], ("cat",))}, vocab)
    grammar, counts, lengths = seg.grammar(query, vocab), set(), set()
    for _ in range(300):
        walk = random_walk(grammar, vocab, rng)
        written = runs(walk.tokens, vocab)
        if written and len(written[-1]) < 3 and len(walk.tokens) == 40:
            written.pop()  # cut off by max_points
        found = seg.deserialize(query, [walk], vocab)["polygons"].parts[0]
        assert found and min(map(len, found)) >= 3
        for part, bins in zip(found, written, strict=True):
            np.testing.assert_allclose(part, bins[:, ::-1] / 7, atol=1e-6)
        counts.add(len(found))
        lengths.add(len(walk.tokens))
    assert {1, 2, 3, 4} <= counts and {6, 40} <= lengths


def test_the_grammar_refuses_halves():
    seg = task(max_points=10)
    found = target(seg, scene([disc(0.3, 0.3, 0.1, 4), disc(0.7, 0.7, 0.1, 4)]))
    grammar, tokens = seg.grammar(found.query(), VOCAB), found.tokens.tolist()
    assert refusal(grammar, tokens, VOCAB) == "" and grammar.max_tokens == 20 and grammar.stop is None
    assert refusal(grammar, tokens[:6], VOCAB) == ""
    for half in ([], tokens[:4], tokens[:7], tokens[:9], tokens[:10], tokens[:14]):
        assert "does not allow token" in refusal(grammar, half, VOCAB)
    for wrong in ([*tokens[:4], PART, PART], [*tokens[:7], PART, PART], [*tokens[:8], PART, tokens[0]], [PART, PART]):
        assert "does not allow token" in refusal(grammar, wrong, VOCAB)


@pytest.mark.parametrize(
    ("words", "found"),
    [("segment dogs", "dogs"), ("Segment everything.", ""), ("outline the cat", "the cat"), ("cut out", None)],
)
def test_the_words_people_type(words: str, found: str | None):
    assert task().prompt.match(words) == found


def test_each_object_may_have_a_view_of_its_own():
    example = scene([SQUARE * 100], [disc() * 100], [SQUARE * 50], crowd=[False, False, True], size=(100.0, 100.0))
    near, far = task(view="object", view_scale=1.5), task()
    assert (near.whole_image, far.whole_image) == (False, True)
    assert far.views(example.annotations) == [View()]
    views = near.views(example.annotations)
    assert [view.region_xyxy for view in views] == [pytest.approx((10, 10, 70, 70)), pytest.approx((5, 5, 95, 95))]
    assert [view.annotations["polygons"].ids.tolist() for view in views] == [[0], [1]]
    found = near.views({"boxes": Boxes([[20, 20, 40, 60]], ("cat",), scores=[0.5])})
    assert [view.region_xyxy for view in found] == [pytest.approx((15, 10, 45, 70))]
    assert near.views({}) == []


def test_in_training_views_are_drawn_and_the_question_moves_once():
    example = scene([SQUARE * 100], [disc() * 100], size=(100.0, 100.0))
    seg = task(view="object", max_instances=1, box_jitter=0.1)
    seen = set()
    for seed in range(12):
        (view,) = seg.views(example.annotations, np.random.default_rng(seed))
        one = view.annotations["polygons"]
        seen |= set(one.ids.tolist())
        assert (one.xyxy != example.annotations["polygons"].take(one.ids).xyxy).all()
        inside = replace(example, annotations=view.annotations).warp(np.diag([0.01, 0.01, 1.0]), (1.0, 1.0))
        asked = target(seg, inside, seed).about["boxes"]
        np.testing.assert_allclose(asked.xyxy, one.xyxy / 100)
    assert seen == {0, 1}


def test_the_contract_with_views_of_objects():
    check_task(task(view="object", max_points=20), tiny_examples(6), samples=40)
    vocab = tiny_vocabulary([Segmentation()], bins=1000)
    scores = as_scores(
        self_test(ShapesDataset("val", 30), {"segment": task(view="object")}, vocab, 64, through_tokens=True)
    )
    assert scores["segment"]["AP50"] == 1.0
