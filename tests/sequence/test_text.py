from __future__ import annotations

import copy
import importlib.util
import io
import json
import pickle
import unicodedata
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

import pytest
import sentencepiece
from hypothesis import example, given, settings
from hypothesis import strategies as st

from multitask.errors import DataError, UsageError
from multitask.sequence.text import TextCodec

TOOL = Path(__file__).parents[2] / "tools" / "train_text_model.py"
TEXTS = ["a red disc on the left", "two blue stars at the top", "A man riding a wave on a surfboard."]
SPECIAL = [
    "<s>",
    "</s>",
    "<unk>",
    "<pad>",
    "<eos>",
    "<mask>",
    "<det>",
    "<caption>",
    "<0>",
    "<999>",
    "<0x41>",
    "▁",
    "▁a",
    "⁇",
]

builtin = TextCodec.builtin()
anything = st.text() | st.lists(st.sampled_from(SPECIAL) | st.text(max_size=3)).map("".join)


def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("train_text_model", TOOL)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def silent_ids(codec: TextCodec) -> set[int]:
    """Unknown and control pieces, asked of the library directly."""
    library = sentencepiece.SentencePieceProcessor(model_proto=codec.model)
    return {i for i in range(len(codec.pieces)) if library.is_unknown(i) or library.is_control(i)}


def odd_model(**settings: object) -> bytes:
    """A user's own model: control and user-defined pieces, no byte pieces."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXTS * 3),
        model_writer=model,
        vocab_size=60,
        hard_vocab_limit=False,
        pad_id=3,
        minloglevel=2,
        **settings,
    )
    return model.getvalue()


@settings(derandomize=True, deadline=None, max_examples=500)
@given(anything)
@example("\ud800 lone surrogate")
@example("\x00\t\n \u200b\u3000")
@example("ﷺ ① Ａ é 漢字 🏄‍♀️")
def test_every_text_survives_up_to_normalisation(text: str) -> None:
    ids = builtin.encode(text)
    assert builtin.decode(ids) == builtin.normalise(text)
    assert not silent_ids(builtin) & set(ids)
    assert all(0 <= i < len(builtin.pieces) for i in ids)


@settings(derandomize=True, deadline=None, max_examples=500)
@given(st.lists(st.integers(0, len(builtin.pieces) - 1), max_size=60))
def test_any_ids_give_valid_text(ids: list[int]) -> None:
    builtin.decode(ids).encode("utf-8")


@settings(derandomize=True, deadline=None)
@given(st.binary(max_size=20))
def test_byte_pieces_decode_as_utf_8_does(data: bytes) -> None:
    ids = [builtin.pieces.index(f"<0x{byte:02X}>") for byte in data]
    decoded = builtin.decode(ids)
    try:
        assert decoded == data.decode()
    except UnicodeDecodeError:
        assert "\ufffd" in decoded


def test_normalise_is_nfkc_with_single_spaces() -> None:
    text = "  Ｔｗｏ\u00a0red \t ﬁsh  "
    assert builtin.normalise(text) == " ".join(unicodedata.normalize("NFKC", text).split()) == "Two red fish"


@pytest.mark.parametrize("spelling", SPECIAL)
def test_text_spelt_like_a_special_token_is_plain(spelling: str) -> None:
    ids = builtin.encode(f"a {spelling} b")
    assert not silent_ids(builtin) & set(ids)
    assert builtin.decode(ids) == builtin.normalise(f"a {spelling} b")
    assert "<0x41>" not in [builtin.pieces[i] for i in builtin.encode(spelling)]  # not the letter A


def test_unknown_control_and_broken_bytes_decode_to_nothing_or_the_replacement() -> None:
    start = [builtin.pieces.index(piece) for piece in ("<0xC3>", "▁dog")]
    assert builtin.decode([0, *start, 0]) == "\ufffd dog"
    assert builtin.decode([]) == builtin.decode([0]) == ""


def test_the_shipped_model_has_few_pieces_and_knows_captions() -> None:
    assert len(builtin.pieces) == len(set(builtin.pieces)) == 2000
    assert sum(piece.startswith("<0x") for piece in builtin.pieces) == 256
    words = "A man riding a wave on a surfboard next to two small dogs and a red umbrella".split()
    assert len(builtin.encode(" ".join(words))) <= 1.2 * len(words)
    assert len(builtin.encode("two red discs on the left and a blue star at the top right")) == 14


def test_the_script_gives_the_shipped_model() -> None:
    script = tool()
    found = {name: version(name) for name in script.MADE_WITH}
    if found != script.MADE_WITH:
        pytest.skip(f"made with {script.MADE_WITH}, here are {found}")
    assert TextCodec.train(script.corpus(), script.SIZE).model == builtin.model


def test_training_is_deterministic_and_quiet(capfd: pytest.CaptureFixture[str]) -> None:
    texts = list(tool().corpus(200))
    first, second = TextCodec.train(texts, 700), TextCodec.train(iter(texts), 700)
    assert first.model == second.model
    assert first.model != TextCodec.train(texts[:100], 700).model
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "texts",
    [[], [""], [" \n "], ["\ud800"], TEXTS, SPECIAL, ["x" * 100_000], ["".join(map(chr, range(0x4E00, 0x5800)))]],
    ids=["none", "empty", "blank", "surrogate", "few", "special", "long", "many characters"],
)
def test_training_takes_any_texts(texts: list[str]) -> None:
    codec = TextCodec.train(texts, 400)
    assert 257 <= len(codec.pieces) <= 400
    text = "a red disc, 漢字 and <s>"
    assert codec.decode(codec.encode(text)) == text


def test_training_refuses_a_size_without_room_for_characters() -> None:
    with pytest.raises(UsageError, match="needs 320 pieces or more, 257 of them for single bytes; got 300"):
        TextCodec.train(TEXTS, 300)


def test_copies_and_loader_workers_get_the_same_codec() -> None:
    for codec in (pickle.loads(pickle.dumps(builtin)), copy.deepcopy(builtin), TextCodec.from_bytes(builtin.model)):
        assert codec.model == builtin.model
        assert codec.encode("two dogs") == builtin.encode("two dogs")


@pytest.mark.parametrize("kind", [{"control_symbols": "<det>"}, {"user_defined_symbols": "<det>"}])
def test_a_users_model_never_gives_control_or_unknown_ids(kind: dict[str, object]) -> None:
    codec = TextCodec.from_bytes(odd_model(**kind))
    for text in (*SPECIAL, *TEXTS, "漢字"):
        assert not silent_ids(codec) & set(codec.encode(text)), text
    assert codec.decode(codec.encode("a 漢字 red disc")).split() == ["a", "red", "disc"]
    for ids in ([i] for i in range(len(codec.pieces))):
        codec.decode(ids).encode("utf-8")


def test_a_model_on_disk_is_read(tmp_path: Path) -> None:
    path = tmp_path / "my.model"
    path.write_bytes(builtin.model)
    assert TextCodec.from_file(path).pieces == builtin.pieces


@pytest.mark.parametrize(
    "content", [b"", b"\0" * 99, b"PK\x03\x04 a zip", builtin.model[:5000], json.dumps({}).encode()]
)
def test_a_damaged_model_is_one_line_that_names_the_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "my.model"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"my\.model'") as caught:
        TextCodec.from_file(path)
    assert "\n" not in str(caught.value)


def test_a_missing_model_and_a_folder_are_named(tmp_path: Path) -> None:
    for path in (tmp_path / "none.model", tmp_path):
        with pytest.raises(DataError, match="is not a file"):
            TextCodec.from_file(path)
