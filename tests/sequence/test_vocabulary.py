from __future__ import annotations

import copy
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multitask.errors import CheckpointError, UsageError
from multitask.sequence.text import TextCodec
from multitask.sequence.vocabulary import SPECIAL, Vocabulary

TEXT = TextCodec.builtin()
SMALL = TextCodec.train(["a red disc", "two blue stars"], 320)
TASKS = {"one": ("<one>", "<noise>"), "two": ("<two>",)}
DISGUISED = ("<eos>", "<pad>", "</s>", "<one>", "<0>", "<mask>", "a", "▁a", "<unknown 7>")  # as category names


def build(classes=("disc", "star"), bins=50, tasks=TASKS, text=TEXT) -> Vocabulary:
    return Vocabulary.build(bins, classes, text, tasks)


def everything(vocab: Vocabulary) -> dict[int, tuple[str, str]]:
    """Block and spelling by id, read from the blocks alone."""
    return {
        start + i: (block, token)
        for block, extents in vocab.blocks.items()
        for start, tokens in extents
        for i, token in enumerate(tokens)
    }


def test_every_id_is_used_once():
    vocab = build()
    assert sorted(everything(vocab)) == list(range(len(vocab)))
    assert len(vocab) == 3 + 50 + 2 + len(TEXT.pieces) + 3
    assert {len(vocab.ids(block)) for block in vocab.blocks} == {3, 50, 2, len(TEXT.pieces), 1}
    assert not len(vocab.ids("no such block"))


def test_names_of_ids():
    vocab = build()
    assert [vocab.id(token) for token in SPECIAL] == [vocab.pad, vocab.eos, vocab.mask]
    assert (vocab.bins, len(vocab.coord)) == (50, 50)
    assert [vocab.render([i]) for i in vocab.coord] == [f"<{i}>" for i in range(50)]
    assert vocab.id("<7>") == vocab.coord[7]
    assert vocab.classes == ("disc", "star")
    assert [vocab.class_name(vocab.class_id(name)) for name in vocab.classes] == ["disc", "star"]
    assert list(vocab.class_ids(["star", "no such", "disc"])) == [vocab.class_id("star"), vocab.class_id("disc")]
    assert {vocab.class_name(i) for i in (vocab.eos, vocab.coord[0], -1, len(vocab))} == {None}


@pytest.mark.parametrize("token", ["disc", "a", "0:<unk>", "<tow>", ""])
def test_only_special_tokens_of_the_engine_and_the_tasks_have_an_id_by_spelling(token: str):
    with pytest.raises(UsageError, match=r"the vocabulary has no token '"):
        build().id(token)


def test_an_unknown_name_gets_the_nearest():
    with pytest.raises(UsageError, match=r"no token '<tow>'; did you mean '<two>'\?"):
        build().id("<tow>")
    with pytest.raises(UsageError, match=r"no category 'disk'; did you mean 'disc'\?"):
        build().class_id("disk")


blocks = st.sampled_from(["class", "task/one", "task/three", "task/four"])
words = st.sampled_from([f"w{i}" for i in range(30)])


@settings(derandomize=True, deadline=None)
@given(st.lists(st.tuples(blocks, st.lists(words, max_size=5)), max_size=8))
def test_no_id_ever_moves(steps: list[tuple[str, list[str]]]):
    vocab = build()
    for block, tokens in steps:
        tokens = [f"{block}:{token}" for token in tokens]
        before, size = everything(vocab), len(vocab)
        vocab = vocab.extended(block, tokens)
        assert before.items() <= everything(vocab).items()
        assert sorted(everything(vocab)) == list(range(len(vocab)))
        assert {everything(vocab)[i] for i in range(size, len(vocab))} == {(block, t) for t in tokens} - set(
            before.values()
        )
        assert {(block, token) for token in tokens} <= set(everything(vocab).values())
    again = Vocabulary.from_manifest(json.loads(json.dumps(vocab.manifest())), TEXT)
    assert everything(again) == everything(vocab) and len(again) == len(vocab)


def test_extending_gives_a_new_table_and_leaves_the_old_one():
    old = build()
    new = old.extended("class", ["figure", "disc"])
    assert (old.classes, new.classes) == (("disc", "star"), ("disc", "star", "figure"))
    assert new.class_id("figure") == len(old)
    assert list(new.ids("class")) == [*old.ids("class"), len(old)]
    assert new.extended("class", ["figure"]) is new
    assert new.coord == old.coord


@pytest.mark.parametrize(
    ("token", "owner"), [("<noise>", "task/one"), ("<two>", "task/two"), ("<eos>", "special"), ("<7>", "coord")]
)
def test_a_task_cannot_take_the_token_of_another(token: str, owner: str):
    message = f"token '{token}' of 'task/three' already belongs to '{owner}'"
    with pytest.raises(UsageError, match=message):
        build().extended("task/three", ["<three>", token])
    with pytest.raises(UsageError, match=message):
        build(tasks={**TASKS, "three": [token]})


@pytest.mark.parametrize("block", ["special", "coord", "text"])
def test_what_must_stay_in_one_piece_does_not_grow(block: str):
    with pytest.raises(UsageError, match=f"token '<50>': block '{block}' cannot grow"):
        build().extended(block, ["<50>"])


def test_categories_spelt_like_special_tokens_are_categories():
    plain, vocab = build(), build(classes=DISGUISED)
    assert vocab.classes == DISGUISED
    assert {vocab.class_id(name) for name in DISGUISED} == set(vocab.ids("class"))
    assert (vocab.pad, vocab.eos, vocab.mask) == (plain.pad, plain.eos, plain.mask)
    assert vocab.id("<one>") in vocab.ids("task/one") and vocab.id("<0>") == vocab.coord[0]


@settings(derandomize=True, deadline=None, max_examples=300)
@given(st.lists(st.sampled_from([*SPECIAL, "<one>", "<noise>", "<0>", "</s>", "disc", " "]) | st.text(max_size=4)))
def test_text_never_gives_a_special_id(parts: list[str]):
    vocab, text = build(), "".join(parts)
    ids = vocab.encode_text(text)
    assert all(i in vocab.ids("text") for i in ids)
    assert vocab.decode_text(ids) == TEXT.normalise(text)
    others = [vocab.eos, vocab.coord[3], vocab.class_id("disc"), vocab.id("<one>"), -5, 10**9]
    assert vocab.decode_text([*others, *ids, *others]) == vocab.decode_text(ids)


def test_any_sequence_can_be_read_by_people():
    vocab = build()
    ids = [vocab.id("<one>"), vocab.coord[12], vocab.class_id("disc"), *vocab.encode_text("a: b"), vocab.eos, -1, 10**9]
    assert vocab.render(ids) == "<one> <12> disc ▁a : ▁b <eos> <unknown -1> <unknown 1000000000>"
    assert vocab.render([]) == ""


def manifest() -> dict:
    return copy.deepcopy(build(text=SMALL).extended("class", ["figure"]).manifest())


def read(changed: dict) -> Vocabulary:
    return Vocabulary.from_manifest(json.loads(json.dumps(changed)), SMALL)


def test_a_manifest_comes_back():
    vocab = read(manifest())
    assert vocab.classes == ("disc", "star", "figure") and vocab.manifest() == manifest()
    assert vocab.render([vocab.eos, vocab.coord[3], vocab.id("<noise>")]) == "<eos> <3> <noise>"


def drop(block: str):
    return lambda m: m["blocks"].pop(block)


def put(block: str, position: int, key: str, value: object):
    return lambda m: m["blocks"][block][position].update({key: value})


def spell(block: str, position: int, token: str):
    def change(m: dict) -> None:
        m["blocks"][block][0]["tokens"][position] = token

    return change


DAMAGE = {
    "another format": (lambda m: m.update(format=2), "vocabulary format 2 is not 1: made by another version"),
    "no format": (lambda m: m.pop("format"), "vocabulary format None"),
    "no blocks": (lambda m: m.pop("blocks"), "cannot be read"),
    "a list of blocks": (lambda m: m.update(blocks=[1]), "cannot be read"),
    "a number of extents": (lambda m: m["blocks"].update({"class": 5}), "cannot be read"),
    "no start": (lambda m: m["blocks"]["class"][0].pop("start"), "cannot be read"),
    "a start in words": (put("class", 0, "start", "three"), "cannot be read"),
    "no tokens": (put("class", 0, "tokens", None), "cannot be read"),
    "a gap": (put("class", 1, "start", 5000), "overlap or leave gaps"),
    "an overlap": (put("class", 1, "start", 0), "overlap or leave gaps"),
    "negative ids": (put("special", 0, "start", -1), "overlap or leave gaps"),
    "a block less": (drop("task/one"), "overlap or leave gaps"),
    "the last block less": (drop("class"), "overlap or leave gaps"),
    "nothing at all": (lambda m: m.update(blocks={}), "block 'special'"),
    "other special tokens": (spell("special", 1, "<end>"), "block 'special'"),
    "coordinates out of order": (spell("coord", 3, "<4>"), "block 'coord'"),
    "a class twice": (spell("class", 1, "disc"), "block 'class'"),
    "a token of two tasks": (spell("task/two", 0, "<noise>"), "block 'task/two'"),
    "a task that ends sequences": (spell("task/two", 0, "<eos>"), "block 'task/two'"),
    "another text model": (spell("text", 9, "9:other"), "block 'text' of the vocabulary differs from the text model"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_a_damaged_manifest_is_refused(case: str):
    damage, message = DAMAGE[case]
    changed = manifest()
    damage(changed)
    with pytest.raises(CheckpointError) as caught:
        read(changed)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_a_manifest_belongs_to_its_text_model():
    with pytest.raises(CheckpointError, match="differs from the text model saved beside it"):
        Vocabulary.from_manifest(manifest(), TEXT)
