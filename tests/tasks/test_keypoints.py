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

from multitask.annotations import Boxes, Keypoints
from multitask.config import parse_options
from multitask.data.mixture import collate
from multitask.data.shapes import INFO, ShapesDataset
from multitask.data.transforms import Placement, place
from multitask.errors import UsageError
from multitask.evaluate import as_scores
from multitask.example import Example
from multitask.self_test import self_test
from multitask.skeleton import COCO_PERSON
from multitask.task import Augment, DatasetInfo, Decoded, Decoding, Query, Skeleton, Target
from multitask.tasks.keypoints import KeypointDetection, KeypointOptions
from multitask.testing import check_task, random_walk, tiny_examples, tiny_vocabulary
from multitask.walks import refusal
from multitask.yamlio import dump_yaml, parse_yaml

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "instance_train_batch.json").read_text())["keypoints"]
ROUNDS = 10_000 if os.environ.get("MTP_LONG") == "1" else 1_000
CLASSES = ("person", "child", "dog")
VOCAB = tiny_vocabulary([KeypointDetection()], CLASSES, bins=1000)
START, INVISIBLE = VOCAB.coord.start, VOCAB.id("<invisible>")
HALF_A_BIN = 0.5 / 999 + 1e-6  # of the view
FACE = Skeleton(names=("nose", "left_eye", "right_eye"), flip_pairs=((1, 2),), categories=("person", "child"))
SIZE = (200.0, 100.0)
BOX = (40.0, 20.0, 80.0, 60.0)
POINTS = np.array([[60.0, 42.0], [70.0, 33.0], [51.0, 30.0]])  # of a face in that box


def task(**options: object) -> KeypointDetection:
    return KeypointDetection(KeypointOptions(**{"skeleton": FACE, **options}))


def scene(points: object = POINTS, visibility: object = None, xyxy: object = BOX, **fields: object) -> Example:
    """People in a picture; all their points are visible unless told otherwise."""
    fields.setdefault("skeleton", FACE)
    points = np.asarray(points, dtype=float).reshape(-1, len(fields["skeleton"]), 2)
    visibility = np.full(points.shape[:2], 2) if visibility is None else np.reshape(visibility, points.shape[:2])
    labels = fields.pop("labels", ("person",) * len(points))
    people = Keypoints(np.reshape(xyxy, (-1, 4)), labels, points=points, visibility=visibility, **fields)
    return Example(0, "0.png", fields.get("size", SIZE), {"keypoints": people}, lambda: None)


def views(
    kpt: KeypointDetection, example: Example, augment: Augment | None = None, rng: np.random.Generator | None = None
) -> list[tuple[Placement, Example]]:
    """Where each view lies, and what is to be seen in it."""
    found = []
    for view in kpt.views(example.annotations, rng):
        placement = place(example.size, 64, view.region_xyxy, augment, rng)
        found.append((placement, replace(example, annotations=view.annotations).warp(placement.matrix, placement.size)))
    return found


def half_a_bin(placement: Placement) -> float:
    """In pixels of the picture, on the side that was shrunk more."""
    return HALF_A_BIN * 64 * max(np.array(placement.window[2:]) / placement.scaled)


def target(kpt: KeypointDetection, example: Example, seed: int | None = None) -> Target:
    """The one sequence of the one view."""
    ((_, seen),) = views(kpt, example)
    (found,) = kpt.serialize(seen, VOCAB, None if seed is None else np.random.default_rng(seed))
    return found


def asked(score: float = 1.0, label: str = "person", box: object = (0.25, 0.25, 0.75, 0.75)) -> Query:
    (query,) = task().queries({"boxes": Boxes([box], (label,), scores=[score], areas=[0.3], ids=[7])}, VOCAB)
    return query


def read(kpt: KeypointDetection, query: Query, *samples: Decoded) -> Keypoints:
    return kpt.deserialize(query, samples, VOCAB)["keypoints"]


def said(*bins: int | None, **recorded: object) -> Decoded:
    """An answer of these bins, None for `<invisible>`, with what was recorded beside it."""
    tokens = np.array([INVISIBLE if b is None else START + b for b in bins], dtype=np.int64)
    return replace(Decoded.certain(tokens), **{name: np.asarray(values) for name, values in recorded.items()})


# ------------------------------------------------------------------------------------------------------- training


@pytest.fixture(params=range(2), ids=["two hidden", "three hidden"])
def golden(request) -> tuple[int, list[int], list[int], list[float]]:
    """A published person, and what ours says of it in the published ids: inputs, targets, weights."""
    row = request.param
    skeleton = COCO_PERSON.model_copy(update={"categories": ("1",)})
    points = np.array(GOLDEN["keypoints"][row][0]).reshape(-1, 2)[:, ::-1]
    xyxy = np.array(GOLDEN["bbox"][row][0])[[1, 0, 3, 2]]
    vocab = tiny_vocabulary([KeypointDetection()], [str(i) for i in range(1, 91)], bins=1000)
    label = str(GOLDEN["label"][row][0])
    example = scene(points, 2 * (points[:, 0] != -3), xyxy, skeleton=skeleton, labels=(label,))
    (found,) = task(skeleton=skeleton).serialize(example, vocab, np.random.default_rng(0))
    batch = collate([(0, found)], vocab)
    theirs = {vocab.pad: 0, vocab.eos: 0, vocab.id("<keypoints>"): 12, vocab.id("<invisible>"): 41}
    theirs |= {vocab.class_id(str(i)): 100 + i for i in range(1, 91)} | {i: 1000 + b for b, i in enumerate(vocab.coord)}
    inputs, expected = ([theirs[i] for i in ids[0].tolist()] for ids in (batch.inputs, batch.targets))
    return row, inputs, expected, batch.weights[0].tolist()


def test_targets_are_the_published_ones(golden):
    row, inputs, expected, _ = golden
    assert expected == [*GOLDEN["target_seq"][row][0], 0]  # our <eos> has no weight
    assert inputs[:6] == GOLDEN["prompt_part_of_input"][row][0]
    assert all(i in (41, e) for i, e in zip(inputs[6:], expected[5:-1], strict=True))


def test_weights_are_the_published_ones(golden):
    row, _, _, weights = golden
    assert weights == [*np.float32(GOLDEN["token_weights"][row][0]).tolist(), GOLDEN["eos_token_weight"]]


def test_the_prompt_is_six_tokens():
    found = target(task(), scene())
    assert VOCAB.render(found.prompt) == "<keypoints> <250> <250> <749> <749> person"
    assert len(found.tokens) == 6 and found.eos_weight == 0.0
    other = target(task(view_scale=1.0), scene(labels=("child",)))
    assert VOCAB.render(other.prompt) == "<keypoints> <0> <0> <999> <999> child"


def test_points_are_written_row_first():
    tokens = target(task(), scene(visibility=[2, 0, 1])).tokens  # the view is 80 pixels wide, from (20, 0)
    assert VOCAB.render(tokens) == "<524> <500> <invisible> <invisible> <375> <387>"


def test_invisible_points_weigh_less():
    for weight in (0.1, 0.5):
        found = target(task(invisible_weight=weight), scene(visibility=[2, 0, 1]))
        np.testing.assert_allclose(found.weights, [1, 1, weight, weight, 1, 1])


def test_a_random_share_of_the_input_is_hidden():
    whole = COCO_PERSON.model_copy(update={"names": tuple(map(str, range(17)))})
    example = scene(np.random.default_rng(0).uniform(30, 60, (17, 2)), skeleton=whole)
    kpt, shares = task(skeleton=whole), []
    for seed in range(200):
        found = target(kpt, example, seed)
        hidden = found.inputs == INVISIBLE
        assert found.tokens.tolist() == target(kpt, example).tokens.tolist() and INVISIBLE not in found.tokens
        assert (found.inputs[~hidden] == found.tokens[~hidden]).all()
        shares.append(hidden.mean())
    published = GOLDEN["masked_fraction_over_200_seeds"]
    assert np.mean(shares) == pytest.approx(0.5, abs=0.05) == pytest.approx(published["mean"], abs=0.05)
    assert np.std(shares) == pytest.approx(0.29, abs=0.03) == pytest.approx(published["std"], abs=0.03)
    assert min(shares) < 0.05 and max(shares) > 0.95
    assert target(kpt, example).inputs is None and target(task(mask_inputs=False), scene(), 0).inputs is None


def test_a_view_is_twice_the_box():
    example = scene([POINTS, POINTS + 60], xyxy=[BOX, [100, 80, 140, 90]], ids=[5, 6])
    found = task().views(example.annotations)
    assert [view.region_xyxy for view in found] == [(20, 0, 100, 80), (80, 75, 160, 95)]
    assert [view.annotations["keypoints"].ids.tolist() for view in found] == [[5], [6]]
    assert task(view_scale=1.5).views(example.annotations)[0].region_xyxy == (30, 10, 90, 70)


def test_only_people_with_points_are_looked_at():
    example = scene(
        [POINTS] * 5, [[2] * 3, [2] * 3, [0] * 3, [0, 1, 0], [2] * 3], [BOX] * 5,
        labels=("person", "person", "person", "child", "dog"), crowd=[False, True, False, False, False], ids=range(5),
    )  # fmt: skip
    assert [view.annotations["keypoints"].ids.tolist() for view in task().views(example.annotations)] == [[0], [3]]
    assert [t.about["boxes"].ids.tolist() for t in task().serialize(example, VOCAB, None)] == [[0], [3]]
    assert [q.about["boxes"].ids.tolist() for q in task().queries(example.annotations, VOCAB)] == [[0], [3]]
    for nothing in ({}, scene(np.zeros((0, 3, 2)), xyxy=[]).annotations, {"boxes": Boxes([], ())}):
        assert task().views(nothing) == task().queries(nothing, VOCAB) == []


def test_too_many_people_are_cut_by_chance():
    example = scene([POINTS] * 10, xyxy=[BOX] * 10)
    chosen = []
    for seed in range(50):
        found = task(max_instances=3).views(example.annotations, np.random.default_rng(seed))
        chosen.append({int(view.annotations["keypoints"].ids[0]) for view in found})
    assert {len(ids) for ids in chosen} == {3} and set().union(*chosen) == set(range(10))
    assert len(task(max_instances=3).views(example.annotations)) == 10


def test_jitter_moves_the_box_and_its_view():
    seen = []
    for seed in range(50):
        ((placement, one),) = views(task(box_jitter=0.25), scene(), None, np.random.default_rng(seed))
        (found,) = task().serialize(one, VOCAB, None)
        answer = read(task(), found.query(), Decoded.certain(found.tokens)).warp(placement.inverse, SIZE)
        assert 0 < np.abs(answer.xyxy - np.array(BOX)).max() <= 0.25 * 40 + 1e-9
        assert np.abs(answer.points[0] - POINTS).max() <= half_a_bin(placement)
        seen.append(placement.window)
    assert len(set(seen)) > 40
    ((placement, _),) = views(task(box_jitter=0), scene(), None, np.random.default_rng(0))
    assert placement.window == (20, 0, 80, 80)


def test_mirrored_people_swap_left_and_right():
    kpt = task(box_jitter=0)
    ((_, plain),) = views(kpt, scene())
    ((placement, mirrored),) = views(kpt, scene(visibility=[2, 2, 1]), Augment(flip=1.0), np.random.default_rng(0))
    assert placement.flip
    (before,), (after,) = (kpt.serialize(one, VOCAB, None) for one in (plain, mirrored))
    y, x = before.tokens.reshape(-1, 2).T - START
    swapped = np.stack([y, 999 - x], axis=1)[[0, 2, 1]]
    assert np.abs(after.tokens.reshape(-1, 2) - START - swapped).max() <= 1  # an end of a bin may round either way
    assert x[1] > x[2] and after.tokens[3] > after.tokens[5]  # their left stays on the right of the picture
    answer = read(kpt, after.query(), Decoded.certain(after.tokens)).warp(placement.inverse, SIZE)
    assert np.abs(answer.points[0] - POINTS).max() <= half_a_bin(placement)  # and back in the picture all is as it was
    hidden = scene(visibility=[2, 0, 2])
    ((_, mirrored),) = views(kpt, hidden, Augment(flip=1.0), np.random.default_rng(0))
    (found,) = kpt.serialize(mirrored, VOCAB, None)
    assert (found.tokens.reshape(-1, 2)[:, 0] == INVISIBLE).tolist() == [False, False, True]


# ------------------------------------------------------------------------------------------------------ round trips


@st.composite
def pictures(draw) -> tuple[Example, int | None]:
    """People with any skeleton, their points inside the picture; and a seed of its variation."""
    count, people = draw(st.integers(1, 20)), draw(st.integers(1, 3))
    order, pairs = draw(st.permutations(range(count))), draw(st.integers(0, count // 2))
    skeleton = Skeleton(
        names=tuple(f"point {i}" for i in range(count)),
        flip_pairs=tuple((order[2 * i], order[2 * i + 1]) for i in range(pairs)),
        categories=("person",),
    )
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    size = rng.integers(16, 400, 2)
    corners = np.sort(rng.random((people, 2, 2)), axis=1) * (size - 4)
    corners[:, 1] += 4
    share = draw(st.sampled_from([0.3, 1.0, 1.5]))  # points lie about the box, and some beyond the view
    points = (
        corners.mean(axis=1)[:, None]
        + (rng.random((people, count, 2)) - 0.5) * 2 * share * np.ptp(corners, axis=1)[:, None]
    )
    points = points.clip(1, size - 1)
    visibility = rng.integers(0, 3, (people, count))
    example = scene(points, visibility, corners.reshape(-1, 4), skeleton=skeleton)
    return replace(example, size=tuple(size.tolist())), draw(st.none() | st.integers(0, 9))


@settings(derandomize=True, deadline=None, max_examples=150)
@given(pictures())
def test_points_survive_up_to_half_a_bin(picture):
    example, seed = picture
    rng = None if seed is None else np.random.default_rng(seed)
    truth = example.annotations["keypoints"]
    kpt = task(skeleton=truth.skeleton)
    answered = []
    for placement, seen in views(kpt, example, Augment(scale=(0.3, 1.0), flip=0.5), rng):
        (one,) = seen.annotations["keypoints"].ids
        left, top, width, height = placement.window
        points = truth.points[one]
        inside = np.all((points >= [left, top]) & (points <= [left + width, top + height]), axis=1)
        visible = (truth.visibility[one] > 0) & inside
        found = kpt.serialize(seen, VOCAB, rng)
        assert len(found) == visible.any()
        for each in found:
            answer = read(kpt, each.query(), Decoded.certain(each.tokens)).warp(placement.inverse, example.size)
            assert ((answer.visibility[0] > 0) == visible).all()
            errors = np.abs(answer.points[0] - truth.points[one])[visible]
            assert errors.max() <= half_a_bin(placement)
            answered.append(one)
    assert len(set(answered)) == len(answered)


def test_truth_through_tokens_scores_nearly_one():
    vocab = tiny_vocabulary([KeypointDetection()], bins=1000)
    kpt = KeypointDetection(KeypointDetection().fitted(INFO))
    scores = as_scores(self_test(ShapesDataset("val", 60), {"keypoints": kpt}, vocab, 64, through_tokens=True))
    assert scores["keypoints"]["AP"] > 0.99


@pytest.mark.parametrize("options", [{}, {"mask_inputs": False}, {"expected": False}, {"view_scale": 1.0}])
def test_the_contract(options: dict):
    check_task(task(skeleton=INFO.skeleton, **options), tiny_examples(8), samples=30)


def test_the_contract_with_several_samples():
    decoding = Decoding(samples=3, temperature=1.0)
    check_task(task(skeleton=INFO.skeleton, decoding=decoding), tiny_examples(8), samples=30)


# ------------------------------------------------------------------------------------------------------- answering


def test_boxes_of_the_skeletons_categories_are_asked_about():
    boxes = Boxes([BOX] * 4, ("dog", "child", "", "person"), scores=[0.1, 0.2, 0.3, 0.4], ids=[3, 4, 5, 6])
    assert [view.annotations["boxes"].ids.tolist() for view in task().views({"boxes": boxes})] == [[4], [5], [6]]
    queries = task().queries({"boxes": boxes.warp(np.diag([1 / 200, 1 / 100, 1]), (1, 1))}, VOCAB)
    assert [VOCAB.render(query.prompt).split()[-1] for query in queries] == ["child", "person", "person"]
    found = Keypoints.concat([read(task(), query, said(*range(6))) for query in queries])
    assert found.labels == ("child", "person", "person") and found.ids.tolist() == [4, 5, 6]
    assert found.skeleton == FACE and not found.crowd.any()
    turned = FACE.model_copy(update={"categories": ("child", "person")})
    (query,) = task(skeleton=turned).queries({"boxes": boxes.take([2])}, VOCAB)
    assert VOCAB.render(query.prompt).endswith(" child")


def test_the_truth_is_asked_about_before_boxes():
    others = Boxes([BOX] * 2, ("person", "child"))
    (view,) = task().views({"boxes": others, **scene(ids=[9]).annotations})
    assert view.annotations["keypoints"].ids.tolist() == [9]
    (query,) = task().queries({"boxes": others, **scene(xyxy=[0, 0, 1, 1], ids=[9]).annotations}, VOCAB)
    assert query.about["boxes"].ids.tolist() == [9] and type(query.about["boxes"]) is Boxes


def test_a_category_that_the_model_lacks_is_named():
    apes = FACE.model_copy(update={"categories": ("ape",)})
    with pytest.raises(UsageError, match="no category 'ape'"):
        task(skeleton=apes).queries({"boxes": Boxes([BOX], ("",))}, VOCAB)


def test_what_is_known_of_the_object_is_kept():
    found = read(task(), asked(0.4, "child"), said(*range(6)))
    assert found.labels == ("child",) and found.ids.tolist() == [7] and found.areas.tolist() == [0.3]
    assert found.xyxy.tolist() == [[0.25, 0.25, 0.75, 0.75]] and found.skeleton == FACE


def test_invisible_points_are_placed_where_they_are_likely():
    best = START + np.arange(100, 700, 100)
    answer = said(
        100, 200, None, None, 500, None, best=best, expected=best + 0.5, best_prob=[0.81, 0.25, 0.49, 1, 0, 1]
    )
    found = read(task(), asked(), answer)
    np.testing.assert_allclose(found.points[0], (np.array([[200, 100], [400, 300], [600, 500]]) + 0.5) / 999, atol=1e-6)
    assert found.visibility.tolist() == [[2, 0, 0]]  # of the last point one half was called invisible
    np.testing.assert_allclose(found.point_scores[0], [0.45, 0.7, 0])
    sure = read(task(expected=False), asked(), answer)
    np.testing.assert_allclose(sure.points[0], np.array([[200, 100], [400, 300], [600, 500]]) / 999, atol=1e-6)


def test_points_that_are_missing_lie_in_the_middle_of_the_box():
    query = asked(box=(0.2, 0.1, 0.4, 0.7))
    found = read(task(), query, said(100, 200, 300))
    np.testing.assert_allclose(found.points[0], [[200 / 999, 100 / 999], [0.3, 0.4], [0.3, 0.4]], atol=1e-6)
    assert found.visibility.tolist() == [[2, 0, 0]] and found.point_scores.tolist() == [[1, 0, 0]]
    silent = read(task(), query, said(*[None] * 6))  # nothing recorded but what was drawn
    assert silent.points.tolist() == [[[pytest.approx(0.3), pytest.approx(0.4)]] * 3]
    assert not silent.visibility.any() and silent.scores.tolist() == [1]  # the truth through tokens is as sure
    longer = read(task(), query, said(*range(9)))
    np.testing.assert_allclose(longer.points[0], np.array([[1, 0], [3, 2], [5, 4]]) / 999, atol=1e-6)


@pytest.mark.parametrize("weight", [0.0, 0.1, 1.0])
def test_the_score_is_a_mean_of_points_and_box(weight):
    answer = said(*range(6), best_prob=[0.9, 0.9, 0.4, 0.4, 0.2, 0.2])
    found = read(task(score_weight=weight), asked(0.6), answer)
    np.testing.assert_allclose(found.scores, [weight * 0.5 + (1 - weight) * 0.6])


def test_several_answers_are_averaged():
    kpt = task(score_weight=1.0)
    one = said(100, 100, 300, 300, 500, 500, best_prob=[0.5] * 6)
    two = said(200, 300, None, None, None, None, best=START + np.array([200, 300, 400, 500, 600, 700]))
    found = read(kpt, asked(), replace(two, expected=two.best.astype(float)), one)
    np.testing.assert_allclose(found.points[0], np.array([[200, 150], [400, 350], [600, 550]]) / 999, atol=1e-6)
    np.testing.assert_allclose(found.point_scores, 0.75)
    assert found.visibility.tolist() == [[2, 2, 2]] and found.scores.tolist() == [pytest.approx(0.75)]
    most = read(kpt, asked(), one, two, two)
    assert most.visibility.tolist() == [[2, 0, 0]]


def test_every_answer_under_the_grammar_is_a_whole_skeleton():
    kpt, rng = task(skeleton=COCO_PERSON, window=0), np.random.default_rng(0)
    vocab = tiny_vocabulary([kpt], CLASSES, bins=4)  # few, so that points are often called invisible
    (query,) = kpt.queries({"boxes": Boxes([[0, 0, 1, 1]], ("person",))}, vocab)
    grammar, invisible, drawn = kpt.grammar(query, vocab), vocab.id("<invisible>"), []
    for _ in range(100):
        walk = random_walk(grammar, vocab, rng)
        assert len(walk.tokens) == 34 and invisible not in walk.best
        found = kpt.deserialize(query, [walk], vocab)["keypoints"]
        np.testing.assert_allclose(
            found.points[0], (walk.best.reshape(-1, 2)[:, ::-1] - vocab.coord.start) / 3, atol=1e-6
        )
        hidden = (walk.tokens.reshape(-1, 2) == invisible).any(axis=1)
        assert (found.visibility[0] == np.where(hidden, 0, 2)).all() and (found.point_scores > 0).all()
        drawn.append(hidden.mean())
    assert 0.1 < np.mean(drawn) < 0.9


def test_the_grammar_takes_training_sequences():
    kpt = task()
    for seed in range(20):
        found = target(kpt, scene(visibility=np.random.default_rng(seed).permutation([0, 1, 2])), seed)
        grammar = kpt.grammar(found.query(), VOCAB)
        assert refusal(grammar, found.tokens.tolist(), VOCAB) == ""
    assert grammar.max_tokens == 6 and grammar.stop is None
    assert "does not allow token 4, '<eos>'" in refusal(grammar, found.tokens[:4].tolist(), VOCAB)
    assert "at most 6 tokens" in refusal(grammar, found.tokens.tolist() * 2, VOCAB)


def test_any_tokens_are_read():
    rng = np.random.default_rng(0)
    tasks = [task(), task(skeleton=COCO_PERSON, expected=False), task(skeleton=COCO_PERSON, score_weight=1.0)]
    for number in range(ROUNDS):
        kpt, samples = tasks[number % 3], []
        for _ in range(1 + number % 2):
            length = int(rng.integers(0, 40))
            tokens = rng.integers(-5, 2 * len(VOCAB), length)
            near = rng.choice([*VOCAB.coord[::50], INVISIBLE, VOCAB.eos, VOCAB.class_id("dog")], length)
            tokens = np.where(rng.random(length) < (number % 5) / 4, near, tokens)
            expected, probs = tokens + rng.normal(0, 50, length), rng.random(length) * 2
            expected[rng.random(length) < 0.02] = probs[rng.random(length) < 0.02] = np.nan
            recorded = {"best": rng.permutation(tokens), "best_prob": probs, "expected": expected}
            samples.append(replace(Decoded.certain(tokens), **recorded))
        found = read(kpt, asked(), *samples)
        count = len(kpt.skeleton)
        assert found.points.shape == (1, count, 2) and ((found.points >= 0) & (found.points <= 1)).all()
        assert found.visibility.shape == (1, count) and set(found.visibility[0]) <= {0, 2}
        assert found.point_scores.shape == (1, count)
        assert ((found.point_scores >= 0) & (found.point_scores <= 1)).all() and 0 <= found.scores[0] <= 1


# --------------------------------------------------------------------------------------------------------- options


def test_the_skeleton_is_the_data_sets_unless_given():
    bare, of_shapes = KeypointDetection(), DatasetInfo("d", INFO.categories, INFO.skeleton)
    assert bare.skeleton == COCO_PERSON and bare.fitted(DatasetInfo("d")) == bare.options
    fitted = KeypointDetection(bare.fitted(of_shapes))
    assert fitted.skeleton == INFO.skeleton and fitted.options.score_weight == bare.options.score_weight
    assert fitted.grammar(asked(), VOCAB).max_tokens == 2 * len(INFO.skeleton)
    assert task().fitted(DatasetInfo("d")).skeleton == FACE
    sharper = INFO.skeleton.model_copy(update={"sigmas": (0.02,) * len(INFO.skeleton), "edges": ()})
    assert task(skeleton=sharper).fitted(of_shapes).skeleton == sharper
    with pytest.raises(UsageError, match=r"points or flip_pairs are not those of d, which has head, neck, "):
        task().fitted(of_shapes)


def test_options_survive_yaml():
    for options in (KeypointDetection().fitted(INFO), task(augment=Augment(scale=(0.5, 1.0))).options):
        text = dump_yaml(options.model_dump(mode="json"))
        assert parse_options(KeypointOptions, parse_yaml(text, "x.yaml"), "tasks.keypoints") == options


@pytest.mark.parametrize(
    ("skeleton", "problem"),
    [
        ({"names": ["tip"]}, "lacks categories: list the points, and the categories that have them"),
        ({"categories": ["kite"]}, "lacks names"),
        ({}, "lacks names and categories"),
    ],
)
def test_a_skeleton_must_say_whose_points_it_has(skeleton: dict, problem: str):
    with pytest.raises(UsageError, match=f"^tasks.keypoints.skeleton: {problem}"):
        parse_options(KeypointOptions, {"skeleton": skeleton}, "tasks.keypoints")
    whole = {"names": ["tip"], "categories": ["kite"]}
    assert len(parse_options(KeypointOptions, {"skeleton": whole}, "tasks.keypoints").skeleton) == 1


def test_options_out_of_range_are_refused():
    for bad in ({"view_scale": 0.9}, {"box_jitter": 0.3}, {"max_instances": 0}, {"score_weight": 1.1}, {"window": -1}):
        with pytest.raises(ValidationError):
            KeypointOptions(**bad)


@pytest.mark.parametrize(
    ("words", "found"),
    [("find the pose of people", "people"), ("Find poses.", ""), ("pose", ""), ("strike a pose", None)],
)
def test_the_words_people_type(words: str, found: str | None):
    assert task().prompt.match(words) == found
