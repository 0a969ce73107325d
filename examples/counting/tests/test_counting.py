from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from mtp_counting import MOST, NUMBERS, Counting, CountingOptions, Counts

from multitask.annotations import Boxes, Labels
from multitask.example import Example, Prediction
from multitask.task import Decoded
from multitask.testing import check_task, random_walk, tiny_examples, tiny_vocabulary

TASK = Counting()
VOCAB = tiny_vocabulary([TASK])


def scene(*labels: str, crowd: int = 0) -> Example:
    """One box a label, the first ones crowds."""
    boxes = Boxes(np.tile([0.0, 0.0, 1.0, 1.0], (len(labels), 1)), labels, crowd=np.arange(len(labels)) < crowd)
    return replace(tiny_examples(1)[0], annotations={"boxes": boxes})


def spelt(example: Example, options: CountingOptions | None = None, seed: int | None = None) -> list[str]:
    """Questions and answers, for people."""
    rng = None if seed is None else np.random.default_rng(seed)
    targets = Counting(options).serialize(example, VOCAB, rng)
    return [VOCAB.render([*t.prompt, *t.tokens]) for t in targets]


def score(truth: Example, said: dict[str, int] | None) -> dict[str, float]:
    metric = TASK.metric(None)
    answer = {} if said is None else {"counts": Counts(said)}
    metric.update(Prediction(truth.id, truth.file, truth.size, answer), truth)
    return metric.compute()


def test_the_contract():
    check_task(TASK, tiny_examples(8))


def test_what_is_trained():
    found = spelt(scene("disc", "star", "disc"), CountingOptions(absent=1))
    assert found == ["<count> disc <count=2>", "<count> star <count=1>", "<count> rectangle <count=0>"]


def test_a_crowd_counts_for_nothing():
    assert spelt(scene("disc", "disc", "star", crowd=1), CountingOptions(absent=0)) == [
        "<count> disc <count=1>",
        "<count> star <count=1>",
    ]


def test_absent_categories_are_drawn_at_random():
    found = {tuple(spelt(scene("disc"), seed=seed)) for seed in range(200)}
    assert len(found) == 4 * 3  # two of four, in any order
    assert all(len(questions) == 3 for questions in found)


def test_more_than_the_most_is_the_most():
    assert spelt(scene(*["disc"] * (MOST + 4)), CountingOptions(absent=0)) == [f"<count> disc <count={MOST}>"]


def test_questions_are_about_the_labels_or_all_categories():
    asked = TASK.queries({"labels": Labels(("star", "unheard of", "disc"))}, VOCAB)
    assert [VOCAB.render(query.prompt) for query in asked] == ["<count> star", "<count> disc"]
    assert len(TASK.queries({}, VOCAB)) == len(VOCAB.classes)


@pytest.mark.parametrize("number", range(MOST + 1))
def test_an_answer_is_read(number: int):
    (query,) = TASK.queries({"labels": Labels(("star",))}, VOCAB)
    said = Decoded.certain(np.array([VOCAB.id(NUMBERS[number])]))
    assert TASK.deserialize(query, [said], VOCAB)["counts"].to_json() == {"star": number}


def test_every_answer_under_the_grammar_is_a_number():
    (query,) = TASK.queries({"labels": Labels(("star",))}, VOCAB)
    grammar, rng = TASK.grammar(query, VOCAB), np.random.default_rng(0)
    walks = [random_walk(grammar, VOCAB, rng) for _ in range(200)]
    assert {int(token) for walk in walks for token in walk.tokens} == {VOCAB.id(token) for token in NUMBERS}
    assert all(len(walk.tokens) == 1 for walk in walks)


def test_answers_are_joined_and_shown():
    lines: list[str] = []
    canvas = type("Canvas", (), {"text": staticmethod(lines.append)})
    Counts.concat([Counts({"disc": 2}), Counts({"star": MOST})]).draw(canvas)
    assert lines == [f"disc: 2, star: {MOST}+"]


def test_scores():
    truth = scene("disc", "disc", "star")
    assert score(truth, {"disc": 2, "star": 1, "figure": 0}) == {"accuracy": 1.0, "accuracy_present": 1.0}
    assert score(truth, {"disc": 1, "star": 1, "figure": 0, "rectangle": 0}) == {
        "accuracy": 0.75,
        "accuracy_present": 0.5,
    }
    assert score(truth, None) == {"accuracy": 0.0, "accuracy_present": 0.0}
    assert np.isnan(score(scene(), {})["accuracy"])


def test_the_words_people_type():
    for words in ("how many discs", "How many discs?", "count discs", "how many discs are there?"):
        assert TASK.prompt.match(words) == "discs"
    assert TASK.prompt.match("count everything") == ""
