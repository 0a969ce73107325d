from __future__ import annotations

import numpy as np
import pytest
from pydantic import ValidationError

from multitask.errors import UsageError
from multitask.sequence.prompting import Decoding, Prompt, category_words, load_prompt
from multitask.task import Task
from multitask.testing import tiny_vocabulary

WHOLE = Prompt(token="<seek>", layout="<seek> {box} {class}", phrases=["seek {class} now", "seek {class}", "seek"])


class Seek(Task):
    name = "seek"
    kinds = ("boxes",)


VOCAB = tiny_vocabulary([Seek()], classes=("cat", "<eos>", "hot dog"), bins=11)
BOX = np.array([0.1, 0.2, 0.3, 0.4])


def test_the_token_alone():
    ids = Prompt(token="<seek>").encode(VOCAB)
    assert VOCAB.render(ids) == "<seek>" and ids.dtype == np.int64


def test_slots_are_filled():
    assert VOCAB.render(WHOLE.encode(VOCAB, BOX, "hot dog")) == "<seek> <2> <1> <4> <3> hot dog"
    assert VOCAB.render(WHOLE.encode(VOCAB, BOX * 9 - 3, "cat")) == "<seek> <0> <0> <6> <0> cat"  # saturates


def test_a_category_spelt_like_a_special_token_is_a_category():
    assert WHOLE.encode(VOCAB, BOX, "<eos>")[-1] == VOCAB.class_id("<eos>") != VOCAB.eos


@pytest.mark.parametrize(
    ("box", "label", "message"),
    [
        (None, "cat", "needs a box, and none was given"),
        (BOX, None, "needs a class, and none was given"),
        (BOX, "cot", "no category 'cot'; did you mean 'cat'"),
    ],
)
def test_an_empty_slot_is_refused(box: np.ndarray | None, label: str | None, message: str):
    with pytest.raises(UsageError, match=message):
        WHOLE.encode(VOCAB, box, label)


def test_an_unknown_token_of_the_layout_is_named():
    with pytest.raises(UsageError, match="no token '<sek>'; did you mean '<seek>'"):
        Prompt(token="<seek>", layout="<sek> {box}").encode(VOCAB, BOX)


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("seek", ""),
        ("seek cats", "cats"),
        ("  SEEK red Cats and dogs? ", "red Cats and dogs"),
        ("seek cats now", "cats"),
        ("hide", None),
        ("please seek", None),
        ("", None),
    ],
)
def test_what_people_type(words: str, found: str | None):
    assert WHOLE.match(words) == found


def test_a_whole_phrase_comes_before_one_with_a_category():
    prompt = Prompt(token="<seek>", phrases=["find {class}", "find everything"])
    assert prompt.match("find everything") == ""
    assert prompt.match("find everyone") == "everyone"
    assert Prompt(token="<seek>", phrases=["what? (all)"]).match("what? (all)") == ""  # no pattern


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ("cat", ("cat",)),
        ("cats, the hot dogs and a bus", ("cat", "hot dog", "bus")),
        ("Buses", ("bus",)),
        ("all ponies and every pony", ("pony",)),
        ("glasses", ("glasses",)),
        ("glass", ("glass",)),
    ],
)
def test_category_words(words: str, names: tuple[str, ...]):
    assert category_words(words, ("cat", "hot dog", "bus", "pony", "glass", "glasses")) == names


@pytest.mark.parametrize("words", ["cot", "cats and", "the", "cat;dog"])
def test_words_that_are_no_category(words: str):
    with pytest.raises(UsageError, match="the model has no category '"):
        category_words(words, ("cat", "dog"))


@pytest.mark.parametrize(
    ("resource", "message"),
    [
        ("no_such_package/x.yaml", "there is no package 'no_such_package'"),
        ("x.yaml", "there is no package ''"),
        ("multitask.prompts/no_such.yaml", r"no_such\.yaml"),
        ("multitask.prompts/text.model", r"text\.model"),
    ],
)
def test_a_prompt_file_that_cannot_be_had(resource: str, message: str):
    with pytest.raises(UsageError, match=message):
        load_prompt(resource)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("- a\n- b\n", "must hold keys and values"),
        ("layout: <x>\n", "token"),
        ("token: <x>\ntokens: 3\n", "tokens"),
        ("token: <x>\ndecoding: {temperature: -1}\n", "decoding.temperature"),
    ],
)
def test_a_wrong_prompt_file_names_itself_and_the_key(tmp_path, monkeypatch, content: str, message: str):
    (tmp_path / "prompts_of_a_test").mkdir()
    (tmp_path / "prompts_of_a_test" / "own.yaml").write_text(content)
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(UsageError, match=message) as caught:
        load_prompt("prompts_of_a_test/own.yaml")
    assert "prompts_of_a_test/own.yaml" in str(caught.value)


def test_samples_must_be_able_to_differ():
    assert Decoding(samples=8, temperature=0.7).samples == 8
    with pytest.raises(ValidationError, match="8 samples at temperature 0 are all the same"):
        Decoding(samples=8)
