from __future__ import annotations

import os
import string
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multitask.errors import UsageError
from multitask.yamlio import MAX_BYTES, dump_yaml, parse_scalar, parse_yaml, read_yaml

SCALARS = [
    ("1e-4", 1e-4), ("-1E+3", -1000.0), (".5", 0.5), ("5.", 5.0), ("10", 10), ("010", 10), ("0x1F", 31), ("0o17", 15),
    ("-7", -7), (".inf", float("inf")), ("-.INF", float("-inf")), ("true", True), ("FALSE", False), ("null", None),
    ("~", None), ("", None), ("no", "no"), ("yes", "yes"), ("on", "on"), ("off", "off"), ("y", "y"), ("1_000", "1_000"),
    ("12:30:45", "12:30:45"), ("2026-01-01", "2026-01-01"), ("<<", "<<"), ("=", "="), ("tRUE", "tRUE"), ("e5", "e5"),
    (".", "."), ("9" * 31, float("9" * 31)), ("0x" + "f" * 17, "0x" + "f" * 17),
]  # fmt: skip


@pytest.mark.parametrize(("text", "value"), SCALARS)
def test_plain_scalars_follow_yaml_1_2(text: str, value: object) -> None:
    for read in (parse_yaml(f"key: {text}", "x")["key"], parse_scalar(text, "x")):
        assert read == value and type(read) is type(value)


@pytest.mark.parametrize("text", ["a #b", "a: b", "*x", "&x", "!x", "%x", "@x", "C:\\data", "- a", "# a", " a", "a\nb"])
def test_a_typed_value_is_text_as_it_stands(text: str) -> None:
    assert parse_scalar(text, "x") == text


def test_a_typed_value_may_be_a_list_a_mapping_or_quoted() -> None:
    assert parse_scalar("[0.9, 1e-1]", "x") == [0.9, 0.1]
    assert parse_scalar("{det: 2}", "x") == {"det": 2}
    assert parse_scalar("'1'", "x") == "1"


def levels(depth: int) -> str:
    return "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, depth))


BAD = {
    "syntax": ("a: [1, 2\nb: 3", "line 2: not valid YAML"),
    "indentation": ("a: 1\n  b: 2", "line 2"),
    "tab": ("a:\n\tb: 1", "line 2"),
    "unknown alias": ("a: *b", "undefined alias"),
    "two documents": ("a: 1\n---\nb: 2", "line 2"),
    "duplicate key": ("a: 1\nb: 2\na: 3", "line 3: key 'a' stands twice"),
    "nested duplicate key": ("a:\n  b: 1\n  b: 2", "line 3: key 'b' stands twice"),
    "duplicate key, other spelling": ("a: 1\n'a': 2", "line 2: key 'a' stands twice"),
    "key that is a list": ("[a]: 1", "line 1: a key must be"),
    "code in a tag": (
        "a: !!python/object/apply:os.system [touch x]",
        "'!!python/object/apply:os.system' is not allowed",
    ),
    "name in a tag": ("a: 1\nb: !!python/name:os.system x", "line 2: tag '!!python/name:os.system' is not allowed"),
    "own tag": ("a: !thing {b: 1}", "tag '!thing' is not allowed"),
    "set": ("a: !!set {b, c}", "'!!set' is not allowed"),
    "binary": ("a: !!binary aGk=", "'!!binary' is not allowed"),
    "number that is none": ("a: !!int b", "'b' is not a int"),
    "tag of another kind": ("a: !!int [1]", "'!!int' is not allowed"),
    "alias bomb": (levels(9), "aliases expand to more than 100000 values"),
    "cycle": ("a: &a [*a]", "nested deeper than 100 levels"),
    "cycle of mappings": ("a: &a {b: *a, c: *a}", "nested deeper than 100 levels"),
    "deep": ("[" * 200 + "]" * 200, "nested deeper than 100 levels"),
    "very deep": ("[" * 100_000, "nested deeper than 100 levels"),
    "control character": ("a: \x07", "not valid YAML"),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_yaml_is_one_line(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # where a canary would appear
    text, message = BAD[kind]
    Path("bad.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(UsageError) as error:
        read_yaml(Path("bad.yaml"))
    assert str(error.value).startswith("bad.yaml: ") and message in str(error.value)
    assert str(error.value).isprintable()
    assert [p.name for p in tmp_path.iterdir()] == ["bad.yaml"]


def test_aliases_count_as_what_they_expand_to() -> None:
    text = f"a: &a [{', '.join(['x'] * 999)}]\nb: [{{}}]"  # *a stands for 1000 values
    assert len(parse_yaml(text.format(", ".join(["*a"] * 98)), "x")["b"]) == 98
    with pytest.raises(UsageError, match="line 1: aliases expand to more than 100000 values"):
        parse_yaml(text.format(", ".join(["*a"] * 99)), "x")


def test_aliases_below_the_cap_expand_to_values_that_share_nothing() -> None:
    value = parse_yaml("a: &a {x: [1]}\nb: *a", "x")
    value["a"]["x"].append(2)
    assert value["b"] == {"x": [1]}


def test_only_small_regular_text_files_are_read(tmp_path: Path) -> None:
    (big := tmp_path / "big.yaml").write_bytes(b"#" * (MAX_BYTES + 1))
    (latin := tmp_path / "latin.yaml").write_bytes(b"a: \xe9")
    os.mkfifo(pipe := tmp_path / "pipe.yaml")
    (loop := tmp_path / "loop.yaml").symlink_to("loop.yaml")
    (whole := tmp_path / "whole.yaml").write_bytes(b"\xef\xbb\xbfa: 1" + b"\n" * (MAX_BYTES - 7))
    for path in (big, latin, pipe, loop, tmp_path, tmp_path / "none.yaml", tmp_path / ("x" * 300)):
        with pytest.raises(UsageError, match=path.name[:50]):
            read_yaml(path)
    assert read_yaml(whole) == {"a": 1}


keys = st.text(string.printable, max_size=4)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**18), 10**18) | st.floats(allow_nan=False)
    | st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=8)
    | st.text(string.digits + ".eExo-+~:#'\"\n &*!%@`yn", max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@settings(derandomize=True, deadline=None, max_examples=500)
@given(values)
def test_what_is_written_reads_back_equal(value: Any) -> None:
    read = parse_yaml(dump_yaml(value), "x")
    assert read == value and repr(read) == repr(value)


@settings(derandomize=True, deadline=None, max_examples=500)
@given(st.text("abc:-[]{}&*!|>'\"#%@,? \n\t0123", max_size=40))
def test_any_text_is_read_or_refused_in_one_line(text: str) -> None:
    fault = "x:"
    try:
        parse_yaml(text, "x")
    except UsageError as error:
        fault = str(error)
    assert fault.startswith("x:") and fault.isprintable()
