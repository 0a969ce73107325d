from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multitask.annotations import Captions
from multitask.example import Example, Prediction
from multitask.task import DatasetInfo, Decoded, Query
from multitask.tasks.captioning import Captioning, CaptioningOptions
from multitask.testing import check_task, random_walk, tiny_examples, tiny_vocabulary
from multitask.walks import refusal

ROUNDS = 10_000 if os.environ.get("MTP_LONG") == "1" else 1_000
VOCAB = tiny_vocabulary([Captioning()])
QUERY = Query(Captioning().prompt.encode(VOCAB))
SPECIAL = ["<eos>", "<pad>", "<mask>", "<caption>", "</s>", "<s>", "<0>", "<det>", "disc"]


def task(**options: object) -> Captioning:
    return Captioning(CaptioningOptions(**options))


def scene(*texts: str) -> Example:
    return Example(0, "0.png", (1.0, 1.0), {"captions": Captions(texts)}, lambda: None)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_the_contract():
    check_task(task(), tiny_examples(4), samples=50)


def test_one_sequence_a_caption():
    targets = task().serialize(scene("a red disc", "two blue stars"), VOCAB, None)
    assert [VOCAB.decode_text(t.tokens) for t in targets] == ["a red disc", "two blue stars"]
    for target in targets:
        assert VOCAB.render(target.prompt) == "<caption>"
        assert (target.weights == 1).all() and target.eos_weight == 0.1 and target.inputs is None
    assert task().serialize(scene(), VOCAB, rng()) == []


def test_half_of_the_input_is_hidden_and_nothing_of_the_target():
    text = "on the left a red disc; on the right two blue stars and a green figure."
    plain = task().serialize(scene(text), VOCAB, None)[0].tokens
    hidden = []
    for seed in range(300):
        (target,) = task().serialize(scene(text), VOCAB, rng(seed))
        assert target.tokens.tolist() == plain.tolist()
        assert ((target.inputs == plain) | (target.inputs == VOCAB.mask)).all()
        hidden.append(target.inputs == VOCAB.mask)
    np.testing.assert_allclose(np.mean(hidden, axis=0), 0.5, atol=0.12)  # at every place
    assert np.mean(hidden) == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("share", [0.0, 0.2])
def test_another_share_may_be_hidden(share: float):
    (target,) = task(input_dropout=share, max_tokens=4000).serialize(scene("red disc " * 800), VOCAB, rng())
    assert np.mean(target.inputs == VOCAB.mask) == pytest.approx(share, abs=0.03)


def test_some_captions_of_an_image():
    five = scene("one", "two", "three", "four", "five")
    chosen = task(captions_per_image=2)
    drawn = [tuple(VOCAB.decode_text(t.tokens) for t in chosen.serialize(five, VOCAB, rng(s))) for s in range(200)]
    assert {len(set(texts)) for texts in drawn} == {2}
    assert len(set(drawn)) == 20
    assert len(chosen.serialize(five, VOCAB, None)) == len(task().serialize(five, VOCAB, rng())) == 5
    assert len(chosen.serialize(scene("one"), VOCAB, rng())) == 1


def test_a_long_caption_is_cut():
    (target,) = task(max_tokens=7).serialize(scene("a red disc " * 9), VOCAB, rng())
    assert len(target.tokens) == len(target.weights) == len(target.inputs) == 7
    assert refusal(task(max_tokens=7).grammar(QUERY, VOCAB), target.tokens.tolist(), VOCAB) == ""
    assert "at most 7 tokens" in refusal(task(max_tokens=7).grammar(QUERY, VOCAB), [*target.tokens, 900], VOCAB)


def test_an_empty_caption_ends_at_once():
    (target,) = task().serialize(scene(""), VOCAB, rng())
    assert not len(target.tokens)
    assert task().deserialize(QUERY, [Decoded.certain(target.tokens)], VOCAB)["captions"].texts == ("",)


@settings(derandomize=True, deadline=None, max_examples=300)
@given(st.lists(st.sampled_from([*SPECIAL, " "]) | st.text(max_size=4)).map("".join))
def test_every_text_survives_up_to_normalisation_and_is_never_special(text: str):
    (target,) = task(max_tokens=1000).serialize(scene(text), VOCAB, None)
    assert all(token in VOCAB.ids("text") for token in target.tokens.tolist())
    answer = task().deserialize(QUERY, [Decoded.certain(target.tokens)], VOCAB)["captions"]
    assert answer.texts == (VOCAB.text.normalise(text),)


def test_any_tokens_are_read():
    draw = rng()
    for _ in range(ROUNDS):
        samples = [Decoded.certain(draw.integers(-5, 2 * len(VOCAB), draw.integers(0, 60))) for _ in range(2)]
        answer = task().deserialize(QUERY, samples, VOCAB)["captions"]
        assert len(answer) == len(answer.scores) == 2 and all(isinstance(text, str) for text in answer.texts)


def test_every_answer_under_the_grammar_is_text():
    draw, grammar = rng(), task(max_tokens=30).grammar(QUERY, VOCAB)
    walks = [random_walk(grammar, VOCAB, draw) for _ in range(100)]
    assert all(token in VOCAB.ids("text") for walk in walks for token in walk.tokens.tolist())
    lengths = {len(walk.tokens) for walk in walks}
    assert max(lengths) == 30 and len(lengths) > 5


def test_scores_are_mean_token_probabilities():
    tokens = np.array(VOCAB.encode_text("a disc"))
    sure, unsure = Decoded.certain(tokens), replace(Decoded.certain(tokens), logprobs=np.log([0.25, 1.0]))
    answer = task().deserialize(QUERY, [sure, unsure, Decoded.certain(tokens[:0])], VOCAB)["captions"]
    assert answer.texts == ("a disc", "a disc", "")
    np.testing.assert_allclose(answer.scores, [1.0, 0.5, 0.0])


def test_truth_scores_best():
    metric = task().metric(DatasetInfo("d"))
    for number, text in enumerate(("a red disc on the left", "two blue stars and a green figure on the right")):
        example = replace(scene(text), id=number)
        metric.update(Prediction(number, example.file, example.size, {"captions": Captions((text,))}), example)
    scores = metric.compute()
    assert scores["BLEU-4"] == pytest.approx(1.0) and scores["CIDEr-D"] > 1
