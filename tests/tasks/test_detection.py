from __future__ import annotations

import json
import os
from dataclasses import replace
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from multitask.annotations import Boxes, Labels
from multitask.data.mixture import collate
from multitask.errors import UsageError
from multitask.example import Example, Prediction
from multitask.task import Category, DatasetInfo, Decoded, Query, Target, Vocabulary
from multitask.tasks import detection
from multitask.tasks.detection import FIELDS, Detection, DetectionOptions
from multitask.testing import check_task, random_walk, tiny_examples, tiny_vocabulary
from multitask.walks import refusal

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "det_train_batch.json").read_text())
ROUNDS = 10_000 if os.environ.get("MTP_LONG") == "1" else 1_000
CLASSES = ("cat", "dog", "cow")
VOCAB = tiny_vocabulary([Detection()], CLASSES, bins=1000)
NOISE = VOCAB.id("<noise>")
BARE = Query(Detection().prompt.encode(VOCAB))
unit = st.floats(0.0, 1.0)


def task(**options: object) -> Detection:
    return Detection(DetectionOptions(**options))


def scene(xyxy: object, labels: list[str] | None = None, **fields: object) -> Example:
    boxes = np.asarray(xyxy, dtype=float).reshape(-1, 4)
    names = labels or [CLASSES[i % len(CLASSES)] for i in range(len(boxes))]
    return Example(0, "0.png", (1.0, 1.0), {"boxes": Boxes(boxes, tuple(names), **fields)}, lambda: None)


def random_scene(count: int, seed: int = 0) -> Example:
    corners = np.random.default_rng(seed).random((count, 2, 2))
    return scene(np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1))


def target(det: Detection, example: Example, seed: int | None = None, vocab: Vocabulary = VOCAB) -> Target:
    (found,) = det.serialize(example, vocab, None if seed is None else np.random.default_rng(seed))
    return found


def objects(tokens: np.ndarray) -> np.ndarray:
    return tokens.reshape(-1, FIELDS)


def read(det: Detection, tokens: np.ndarray, query: Query = BARE, **recorded: np.ndarray) -> Boxes:
    return det.deserialize(query, [replace(Decoded.certain(tokens), **recorded)], VOCAB)["boxes"]


# ------------------------------------------------------------------------------------------------------- training


@pytest.fixture(params=GOLDEN["cases"], ids=lambda c: f"{sum(label > 0 for label in c['label'][0])} real")
def golden(request, monkeypatch) -> tuple[dict, list[int], list[int], list[float]]:
    """A published batch of one image, and what ours says of it in the published ids: inputs, targets, weights."""
    case = request.param
    label = np.array(case["label"][0])
    xyxy = np.array(case["bbox"][0])[:, [1, 0, 3, 2]]
    vocab = tiny_vocabulary([Detection()], [str(i) for i in range(1, 91)], bins=1000)
    monkeypatch.setattr(detection, "noise_boxes", lambda *_: xyxy[label == -70])
    det = task(
        max_instances=case["n_max"],
        order="given",
        noise=bool((label == -70).any()),
        noise_weight=case["config"]["noise_bbox_weight"],
        eos_weight=case["config"]["eos_token_weight"],
    )
    real = scene(xyxy[label > 0], [str(i) for i in label[label > 0]])
    batch = collate([(0, target(det, real, 0, vocab))], vocab)
    theirs = {vocab.pad: 0, vocab.eos: 0, vocab.id("<det>"): 10, vocab.id("<noise>"): 30}
    theirs |= {vocab.class_id(str(i)): 100 + i for i in range(1, 91)} | {i: 1000 + b for b, i in enumerate(vocab.coord)}
    inputs, targets = ([theirs[i] for i in ids[0].tolist()] for ids in (batch.inputs, batch.targets))
    return case, inputs, targets, batch.weights[0].tolist()


def filled(values: list, length: int) -> list:
    """The original pads every sequence to all its slots, and has no room for the end after the last slot."""
    return (values + [0] * length)[:length]


def test_targets_are_the_published_ones(golden):
    case, _, targets, _ = golden
    assert filled(targets, 5 * case["n_max"]) == case["target_seq"][0]


def test_inputs_are_the_published_ones(golden):
    case, inputs, _, _ = golden
    expected = case["input_seq_class_masked_as_minus1"][0]
    pairs = zip(filled(inputs, 5 * case["n_max"]), expected, strict=True)
    assert [-1 if theirs == -1 else ours for ours, theirs in pairs] == expected
    drawn = [ours for ours, theirs in zip(inputs, expected, strict=False) if theirs == -1]
    assert all(i == 30 or 100 < i <= 190 for i in drawn)  # noise or any class


def test_weights_are_the_published_ones_up_to_the_first_end(golden):
    """The original trains on all the padding, each 0.1; ours on the one `<eos>` alone."""
    case, _, targets, weights = golden
    end = targets.index(0)
    np.testing.assert_array_equal(
        np.float32(weights[: end + 1])[: 5 * case["n_max"]], np.float32(case["token_weights"][0])[: end + 1]
    )
    assert weights[end] == pytest.approx(0.1) and not any(weights[end + 1 :])


def test_noise_fills_the_sequence():
    for count in (0, 3, 12):
        found = target(task(max_instances=12), random_scene(count), seed=count)
        assert found.tokens.shape == (60,)
        assert (objects(found.tokens)[:, 4] == NOISE).tolist() == [False] * count + [True] * (12 - count)
        weights = objects(found.weights)
        assert (weights[:count] == 1).all() and (weights[count:] == [0, 0, 0, 0, 1]).all()
    assert target(task(noise_weight=0.25), scene([]), seed=0).weights.sum() == 25
    assert target(task(), scene([]), seed=0).eos_weight == 0.1


def test_the_decoder_is_never_told_the_class():
    example = scene(np.tile([0.1, 0.1, 0.5, 0.5], (60, 1)), ["cat"] * 60)
    found = target(task(max_instances=1000), example, seed=1)
    given_classes = objects(found.inputs)[:, 4]
    np.testing.assert_array_equal(objects(found.inputs)[:, :4], objects(found.tokens)[:, :4])
    assert set(given_classes) == {NOISE, *VOCAB.ids("class")}
    assert np.mean(given_classes == NOISE) == pytest.approx(0.5, abs=0.05)
    assert np.mean(given_classes == VOCAB.class_id("dog")) == pytest.approx(1 / 6, abs=0.04)
    real = given_classes[:60]
    assert np.mean(real == NOISE) == pytest.approx(0.5, abs=0.2)


def test_without_noise_the_sequence_ends_and_the_decoder_is_fed_the_truth():
    found = target(task(noise=False), random_scene(4), seed=0)
    assert len(found.tokens) == 20 and (found.weights == 1).all()
    assert found.inputs is None  # no noise that the true class could announce


def test_without_a_generator_nothing_is_left_to_chance():
    example = random_scene(7)
    one, two = (target(task(), example) for _ in range(2))
    assert one.tokens.tolist() == two.tokens.tolist() and one.inputs is None
    assert len(one.tokens) == 35 and NOISE not in one.tokens
    assert [VOCAB.class_name(i) for i in objects(one.tokens)[:, 4]] == list(example.annotations["boxes"].labels)


def test_orders():
    sides = [0.2, 0.5, 0.3, 0.5]
    example = scene([[0, 0, s, s] for s in sides], ["cat", "dog", "cow", "cat"])

    def order(name: str, seed: int | None) -> list[str]:
        rows = objects(target(task(order=name, noise=False), example, seed).tokens)
        return [f"{VOCAB.class_name(row[4])} {round((row[2] - VOCAB.coord.start) / 999, 1)}" for row in rows]

    given_order = ["cat 0.2", "dog 0.5", "cow 0.3", "cat 0.5"]
    assert order("given", 0) == order("given", None) == order("random", None) == given_order
    assert order("area", 0) == order("area", None) == ["dog 0.5", "cat 0.5", "cow 0.3", "cat 0.2"]
    assert {tuple(order("random", seed)) for seed in range(400)} == {*permutations(given_order)}


def test_too_many_objects_are_cut_after_the_shuffle():
    example = scene([[0, 0, (i + 1) / 20, 1] for i in range(20)], ["cat"] * 20)
    kept = [objects(target(task(max_instances=5), example, seed).tokens)[:, 3] for seed in range(60)]
    assert {len(rows) for rows in kept} == {5}
    assert len(set(np.concatenate(kept))) == 20  # each has its turn
    largest = objects(target(task(max_instances=5, order="area"), example, 0).tokens)[:, 3]
    assert (largest - VOCAB.coord.start).tolist() == [999, 949, 899, 849, 799]


def test_crowds_are_not_learnt():
    example = scene([[0, 0, 0.5, 0.5], [0, 0, 1, 1]], ["cat", "dog"], crowd=[False, True])
    assert [VOCAB.class_name(i) for i in objects(target(task(), example).tokens)[:, 4]] == ["cat"]


def test_an_unknown_category_is_named():
    with pytest.raises(UsageError, match="no category 'cot'; did you mean 'cow'"):
        target(task(), scene([[0, 0, 1, 1]], ["cot"]))


def test_options_out_of_range_are_refused():
    for bad in ({"max_instances": 0}, {"noise_jitter": 0.6}, {"order": "size"}, {"eos_weight": -1}):
        with pytest.raises(ValidationError):
            DetectionOptions(**bad)


# ------------------------------------------------------------------------------------------------------- answering


@settings(derandomize=True, deadline=None, max_examples=300)
@given(st.lists(st.tuples(unit, unit, unit, unit, st.sampled_from(CLASSES)), max_size=10), st.booleans())
def test_boxes_survive_up_to_half_a_bin(rows: list, expected: bool):
    corners = np.array([row[:4] for row in rows]).reshape(-1, 2, 2)
    example = scene(np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1), [row[4] for row in rows])
    det, truth = task(expected=expected), example.annotations["boxes"]
    found = read(det, target(det, example).tokens)
    assert found.labels == truth.labels and (found.scores == 1).all()
    assert np.abs(found.xyxy - truth.xyxy).max(initial=0) <= 0.5 / 999 + 1e-6


@pytest.mark.parametrize("options", [{}, {"order": "given"}, {"noise": False, "stop_run": 2}, {"expected": False}])
def test_the_contract(options: dict):
    check_task(task(**options), tiny_examples(4), samples=50)


def test_any_tokens_are_read():
    det, rng = task(), np.random.default_rng(0)
    for number in range(ROUNDS):
        length = int(rng.integers(0, 60))
        tokens = rng.integers(-5, 2 * len(VOCAB), length)
        near = rng.choice([*VOCAB.coord[::100], *VOCAB.ids("class"), NOISE, VOCAB.eos, VOCAB.pad], length)
        tokens = np.where(rng.random(length) < (number % 3) / 2, near, tokens)
        expected = tokens + rng.normal(0, 50, length)
        expected[rng.random(length) < 0.02] = np.nan
        boxes = read(det, tokens, best=rng.permutation(tokens), best_prob=rng.random(length) * 2, expected=expected)
        assert ((boxes.xyxy >= 0) & (boxes.xyxy <= 1)).all() and (boxes.xyxy[:, :2] <= boxes.xyxy[:, 2:]).all()
        assert ((boxes.scores >= 0) & (boxes.scores <= 1)).all() and set(boxes.labels) <= set(CLASSES)


def test_every_answer_under_the_grammar_is_whole_objects():
    det, rng = task(max_instances=20), np.random.default_rng(0)
    grammar = det.grammar(BARE, VOCAB)
    lengths = set()
    for _ in range(200):
        walk = random_walk(grammar, VOCAB, rng)
        rows = objects(walk.tokens) - VOCAB.coord.start
        found = det.deserialize(BARE, [walk], VOCAB)["boxes"]
        assert len(found) == len(rows)  # the answer `<noise>` has a best class too
        assert (rows[:, 0] <= rows[:, 2]).all() and (rows[:, 1] <= rows[:, 3]).all()
        lengths.add(len(rows))
    assert {0, 20} <= lengths and len(lengths) > 5


def test_a_part_of_an_object_is_dropped():
    tokens = target(task(), random_scene(2)).tokens
    assert [len(read(task(), tokens[:length])) for length in range(11)] == [0] * 5 + [1] * 5 + [2]


def test_noise_is_scored_by_its_best_class():
    tokens = target(task(), random_scene(3)).tokens.copy()
    best, prob = tokens.copy(), np.ones(15)
    tokens[[4, 9]], best[4], best[9], prob[4], prob[9] = NOISE, VOCAB.class_id("cow"), NOISE, 0.3, 0.9
    found = read(task(), tokens, best=best, best_prob=prob)
    assert found.labels == ("cow", "cow") and found.scores.tolist() == [0.3, 1.0]  # nothing named the second


def test_coordinates_between_two_bins():
    tokens = target(task(), scene([[0.2, 0.3, 0.6, 0.7]])).tokens
    expected = tokens + 0.25
    found = read(task(), tokens, expected=expected)
    np.testing.assert_allclose(found.xyxy, (objects(expected)[:, [1, 0, 3, 2]] - VOCAB.coord.start) / 999, atol=1e-7)
    assert read(task(expected=False), tokens, expected=expected).xyxy[0, 0] == pytest.approx(200 / 999, abs=1e-7)


def test_a_question_about_categories_gets_only_these():
    det, rng = task(max_instances=5), np.random.default_rng(0)
    (query,) = det.queries({"labels": Labels(("dog", "unheard of")), "boxes": scene([]).annotations["boxes"]}, VOCAB)
    assert set(query.about) == {"labels"}
    grammar = det.grammar(query, VOCAB)
    assert list(grammar.states[4].allowed()) == [VOCAB.class_id("dog"), NOISE]
    for _ in range(100):
        walk = random_walk(grammar, VOCAB, rng)
        assert set(det.deserialize(query, [walk], VOCAB)["boxes"].labels) <= {"dog"}
    (nothing,) = det.queries({"labels": Labels(("unheard of",))}, VOCAB)
    walk = random_walk(det.grammar(nothing, VOCAB), VOCAB, rng)
    assert len(det.deserialize(nothing, [walk], VOCAB)["boxes"]) == 0


def test_the_grammar_takes_training_sequences_and_refuses_turned_boxes():
    det = task(max_instances=10)
    grammar = det.grammar(BARE, VOCAB)
    for seed in range(20):
        assert refusal(grammar, target(det, random_scene(seed), seed).tokens.tolist(), VOCAB) == ""
    tokens = target(det, scene([[0.2, 0.2, 0.4, 0.4]])).tokens.tolist()
    assert "does not allow token 2" in refusal(grammar, [tokens[0], tokens[1], tokens[0] - 1, *tokens[3:]], VOCAB)
    assert "does not allow token 4, '<eos>'" in refusal(grammar, tokens[:4], VOCAB)
    assert grammar.max_tokens == 50 and grammar.stop is None


def test_the_stop_rule_counts_noise():
    stop = task(stop_run=3, stop_threshold=0.7).grammar(BARE, VOCAB).stop
    assert (list(stop.ids), stop.run, stop.threshold) == ([NOISE], 3, 0.7)


def test_categories_spelt_like_special_tokens():
    names = ("<eos>", "<det>", "<pad>", "</s>", "<noise>", "<0>")
    vocab = tiny_vocabulary([Detection()], names)
    example = scene(np.tile([0.1, 0.2, 0.3, 0.4], (6, 1)), list(names))
    tokens = target(task(), example, vocab=vocab).tokens
    assert not {vocab.eos, vocab.pad, vocab.id("<noise>"), vocab.id("<det>")} & set(tokens.tolist())
    assert set(objects(tokens)[:, 4]) == set(vocab.ids("class"))
    assert task().deserialize(BARE, [Decoded.certain(tokens)], vocab)["boxes"].labels == names


def test_truth_scores_one():
    info = DatasetInfo("d", tuple(Category(i, name) for i, name in enumerate(CLASSES, 1)))
    metric = task().metric(info)
    example = random_scene(6)
    metric.update(Prediction(0, "0.png", (1.0, 1.0), example.annotations), example)
    assert metric.compute()["AP"] == 1.0


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("detect cats", "cats"),
        ("find everything", ""),
        ("detect objects", ""),
        ("Where are dogs?", "dogs"),
        ("eat", None),
    ],
)
def test_the_words_people_type(words: str, found: str | None):
    assert task().prompt.match(words) == found
