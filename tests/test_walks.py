from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from multitask.decoding.generation import Request, generate
from multitask.decoding.stepping import Stepper
from multitask.sequence.grammar import END, Grammar, State
from multitask.sequence.ids import Ids
from multitask.sequence.prompting import Decoding
from multitask.testing import SIDE, tiny_model, tiny_vocabulary
from multitask.walks import fault, random_walk, refusal

VOCAB = tiny_vocabulary([], classes=("cat", "dog"), bins=20)
COORD, CLASSES = Ids(((VOCAB.coord.start, VOCAB.coord.stop),)), VOCAB.ids("class")
EOS = Ids.of(VOCAB.eos)
SPANS = Grammar(  # low high class, again and again
    (
        State(((COORD, 1), (EOS, END)), read=COORD, window=2),
        State(((COORD, 2),), read=COORD, not_below=1),
        State(((CLASSES, 0),)),
    ),
    12,
)


def spelt(words: str) -> list[int]:
    names = {VOCAB.render([i]): i for i in range(len(VOCAB)) if i not in VOCAB.ids("text")}
    return [names[word] for word in words.split()]


@settings(derandomize=True, deadline=None)
@given(st.integers(0, 2**32))
def test_what_is_drawn_is_accepted(seed: int):
    walk = random_walk(SPANS, VOCAB, np.random.default_rng(seed))
    assert refusal(SPANS, walk.tokens.tolist(), VOCAB) == ""
    assert len(walk.tokens) % 3 == 0 and VOCAB.eos not in walk.tokens
    lows, highs = walk.tokens.reshape(-1, 3)[:, :2].T
    assert (lows <= highs).all()


def test_walks_are_drawn_anew_and_end_early_or_late():
    lengths = {len(random_walk(SPANS, VOCAB, np.random.default_rng(seed)).tokens) for seed in range(60)}
    assert lengths == {0, 3, 6, 9, 12}
    one, two = (random_walk(SPANS, VOCAB, np.random.default_rng(5)) for _ in range(2))
    assert one.tokens.tolist() == two.tokens.tolist()


def test_what_is_recorded():
    for seed in range(30):
        walk = random_walk(SPANS, VOCAB, np.random.default_rng(seed))
        read = np.arange(len(walk.tokens)) % 3 < 2
        assert (walk.logprobs <= 0).all()
        assert (walk.best[~read] == walk.tokens[~read]).all()
        np.testing.assert_allclose(walk.best_prob[~read], np.exp(walk.logprobs[~read]))
        np.testing.assert_array_equal(walk.expected[~read], walk.tokens[~read])
        assert np.isin(walk.best[read], COORD.array()).all()
        taken = read & (walk.tokens == walk.best)
        assert (walk.best_prob[taken] >= np.exp(walk.logprobs[taken]) - 1e-12).all()  # the window's, not its own alone
        assert (walk.best_prob <= 1 + 1e-12).all()
        assert (np.abs(walk.expected - walk.best)[read] <= 2).all()


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ("", ""),
        ("<3> <3> dog", ""),
        ("<3> <5> dog <0> <19> cat", ""),
        ("<0> <0> cat " * 4, ""),  # max_tokens: no <eos> is needed
        ("<0> <0> cat " * 5, "has at most 12 tokens, ends before token 12, '<0>'"),
        ("<3> <2> dog", "state 1 does not allow token 1, '<2>' after '<3>'"),
        ("<3> dog", "state 1 does not allow token 1, 'dog' after '<3>'"),
        ("<3> <4>", "state 2 does not allow token 2, '<eos>' after '<3> <4>'"),
        ("<eos> <3>", "ends before token 1, '<3>'"),
    ],
)
def test_why_an_answer_is_refused(words: str, problem: str):
    assert refusal(SPANS, spelt(words), VOCAB) == problem


def test_a_grammar_may_end_by_its_last_arc_but_not_go_on_after_eos():
    one = Grammar((State(((CLASSES, END),)),), 5)
    assert refusal(one, spelt("cat"), VOCAB) == ""
    assert refusal(one, spelt("cat dog"), VOCAB) == "ends before token 1, 'dog'"
    endless = Grammar((State(((CLASSES | EOS, 0),)),), 5)
    assert refusal(endless, spelt("cat"), VOCAB) == "goes on after '<eos>', to state 0"


def test_a_dead_end_is_told():
    dead = Grammar((State(((COORD, 1),)), State(((EOS, END),), not_below=1)), 5)
    with pytest.raises(ValueError, match="state 1 allows nothing after '<"):
        random_walk(dead, VOCAB, np.random.default_rng(0))


def test_faults():
    assert fault(SPANS, VOCAB) == ""
    outside = Grammar((State(((Ids.of(len(VOCAB)), END),)),), 5)
    assert "state 0 allows ids outside the vocabulary" in fault(outside, VOCAB)
    shared = Grammar((State(((COORD, 0), (Ids.of(VOCAB.coord.start), END))),), 5)
    assert "two arcs of state 0 share an id" in fault(shared, VOCAB)


@pytest.mark.parametrize("temperature", [0.0, 3.0])
def test_the_engine_reads_grammars_alike(temperature: float):
    model = tiny_model(len(VOCAB))
    memory = model.encode(torch.rand(1, 3, SIDE, SIDE))
    prompt, decoding = np.array([VOCAB.pad]), Decoding(temperature=temperature)
    requests = [Request(prompt, SPANS, decoding, 0, sample) for sample in range(40)]
    answers = [answer.tokens.tolist() for answer in generate(Stepper(model.decoder), memory, requests, VOCAB.eos)]
    assert [refusal(SPANS, answer, VOCAB) for answer in answers] == [""] * 40
    assert (len(set(map(tuple, answers))) > 1) == (temperature > 0)
