"""Good data sets with one random change each: a function of (format, number) alone."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from . import coco_values, list_cases, voc_cases, yolo_cases
from .cases import HUGE, INF, NAN, Files, to_bytes

Path = tuple[Any, ...]
Change = Callable[[random.Random, Any], Any]

VALUES: list[Any] = [
    None, True, False, 0, 1, -1, 2, 0.5, -0.0, 1e-9, 1e18, 1e308, NAN, INF, -INF, 2**31, 2**63, 2**64, HUGE,
    "", " ", "0", "12", "NaN", "null", "kite", "dog", "../2.png", "/etc/passwd", "2.png", "<eos>", "\ud800", "\0",
    "x" * 11_000, [], [0], [1, 2, 3, 4], [[1, 2]], [None], {}, {"id": 1}, {"size": [30, 40], "counts": [1200]},
]  # fmt: skip
NUMBERS: list[Any] = [True, False, None, "12", 0, -1, 3, 41, 1e9, 0.5, 1e-9, -0.0, NAN, -INF, HUGE, [1]]
WORDS = [
    "", "0", "-1", "1", "2", "39", "40.5", "1e400", "1e-9", "nan", "-inf", "0x10", "1_0", "1,5", "50%", "true", "null",
    "kite", "9" * 400, "../2.png", "<b>", "&x;", '"', ";", "\t", "\0", "\xe9", "\u0663", "=1+1", "<eos>",
]  # fmt: skip


@dataclass(frozen=True)
class Mutation:
    """`number` seeds the change."""

    format: str
    number: int

    def __str__(self) -> str:
        return f"{self.format} {self.number}"

    def good(self) -> Files:
        """The set that is changed."""
        return SETS[self.format][0]()

    def files(self) -> Files:
        rng = random.Random(f"{self.format} {self.number}")
        while True:
            files, good = self.good(), self.good()
            name = rng.choice([name for name in sorted(files) if SETS[self.format][1](name)])
            raw = rng.random() < 0.25  # bytes of the file rather than what it says
            change = rng.choice(BYTES) if raw else rng.choice(STRUCTURES[self.format])
            files[name] = change(rng, to_bytes(files[name]) if raw else files[name])
            if to_bytes(files[name]) != to_bytes(good[name]):
                return files


SETS: dict[str, tuple[Callable[[], Files], Callable[[str], bool]]] = {
    "coco": (coco_values.good, lambda name: name.endswith(".json")),
    "voc": (voc_cases.good, lambda name: name.endswith((".xml", ".txt"))),
    "yolo": (yolo_cases.good, lambda name: name.endswith((".txt", ".yaml"))),
    "captions": (list_cases.good_csv, lambda name: name.endswith(".csv")),
}
SHARES = {"coco": 0.5, "voc": 0.2, "yolo": 0.16, "captions": 0.14}


def mutations(count: int) -> list[Mutation]:
    return [Mutation(format, number) for format, share in SHARES.items() for number in range(round(share * count))]


# --------------------------------------------------------------------------------------------------------------- bytes


def flip(rng: random.Random, content: bytes) -> bytes:
    found = bytearray(content)
    for _ in range(rng.randint(1, 3) if found else 0):
        found[rng.randrange(len(found))] ^= 1 << rng.randrange(8)
    return bytes(found)


def cut(rng: random.Random, content: bytes) -> bytes:
    return content[: rng.randrange(len(content) + 1)]


def insert(rng: random.Random, content: bytes) -> bytes:
    at = rng.randrange(len(content) + 1)
    return content[:at] + rng.choice([rng.randbytes(3), b"\n", b" ", b'"', b"-", b"9" * 30, b"<", b"\r"]) + content[at:]


def repeat(rng: random.Random, content: bytes) -> bytes:
    first, last = sorted(rng.randrange(len(content) + 1) for _ in range(2))
    return content[:last] + content[first:]


BYTES: list[Change] = [flip, flip, cut, insert, repeat]


# ---------------------------------------------------------------------------------------------------------------- JSON


def places(value: Any, path: Path = ()) -> Iterator[Path]:
    """Every value below this one."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*path, key)
        yield from places(inner, (*path, key))


def chosen(rng: random.Random, value: Any, wanted: Callable[[Any], bool] = lambda _: True) -> tuple[Any, Any]:
    """Something in it, as what holds it and the key; what lies deep is as likely as what does not."""
    found = [path for path in places(value) if wanted(at(value, path))]
    deep = rng.choice([*sorted({len(path) for path in found}), 4])
    path = rng.choice([path for path in found if len(path) == deep] or found)
    return at(value, path[:-1]), path[-1]


def at(value: Any, path: Path) -> Any:
    for key in path:
        value = value[key]
    return value


def replaced(rng: random.Random, value: Any) -> Any:
    holder, key = chosen(rng, value)
    like = NUMBERS if type(holder[key]) in (int, float) else VALUES
    holder[key] = rng.choice(like if rng.random() < 0.8 else VALUES)
    return value


def repeated(rng: random.Random, value: Any) -> Any:
    """A number as another one of its list: outlines become flat, runs too many."""
    holder, key = chosen(rng, value, lambda inner: type(inner) in (int, float))
    holder[key] = rng.choice([*(holder.values() if isinstance(holder, dict) else holder)])
    return value


def nudged(rng: random.Random, value: Any) -> Any:
    holder, key = chosen(rng, value, lambda inner: type(inner) in (int, float))
    holder[key] = rng.choice([-1, 10, 0.01, 1.5, 0]) * holder[key] + rng.choice([-1, 0, 0, 1, 1000])
    return value


def dropped(rng: random.Random, value: Any) -> Any:
    holder, key = chosen(rng, value)
    del holder[key]
    return value


def doubled(rng: random.Random, value: Any) -> Any:
    holder, key = chosen(rng, value, lambda inner: isinstance(inner, list) and bool(inner))
    one = rng.choice(holder[key])
    holder[key].insert(rng.randrange(len(holder[key]) + 1), json.loads(json.dumps(one)))
    return value


def shuffled(rng: random.Random, value: Any) -> Any:
    holder, key = chosen(rng, value, lambda inner: isinstance(inner, list) and len(inner) > 1)
    rng.shuffle(holder[key])
    return value


def swapped(rng: random.Random, value: Any) -> Any:
    """The same field of two entries."""
    entries = [one for part in value.values() for one in part]
    key = rng.choice(sorted({key for one in entries for key in one}))
    first, second = rng.choices([one for one in entries if key in one], k=2)
    first[key], second[key] = second[key], first[key]
    return value


# ---------------------------------------------------------------------------------------------------------------- text


def words(pattern: str, choices: list[str]) -> Change:
    """Another word in place of one that the pattern finds."""

    def change(rng: random.Random, content: str) -> str:
        found = list(re.finditer(pattern, content))
        if not found:
            return content + rng.choice(choices)
        one = rng.choice(found)
        return content[: one.start()] + rng.choice(choices) + content[one.end() :]

    return change


def pieces(pattern: str) -> list[Change]:
    """Pieces that the pattern finds dropped, doubled, shuffled."""

    def change(rng: random.Random, content: str, how: str) -> str:
        found = [one.group() for one in re.finditer(pattern, content)]
        if not found:
            return content * 2
        old = "".join(found)
        if old not in content:  # with something in between
            return content.replace(rng.choice(found), "" if how == "drop" else rng.choice(found) * 2, 1)
        number = rng.randrange(len(found))
        new = {"drop": found[:number] + found[number + 1 :], "double": [*found, found[number]], "shuffle": found[::-1]}
        return content.replace(old, "".join(new[how]), 1)

    return [lambda rng, content, how=how: change(rng, content, how) for how in ("drop", "double", "shuffle")]


STRUCTURES: dict[str, list[Change]] = {
    "coco": [replaced, replaced, replaced, repeated, nudged, nudged, dropped, doubled, shuffled, swapped],
    "voc": [
        words(r"(?<=>)[^<>\n]+(?=<)", WORDS),
        words(r"(?<=>)[^<>\n]+(?=<)", WORDS),
        words(r"\b\w+\b", WORDS),
        words(r"<\w+>|</\w+>", ["<x>", "</x>", "<object>", ""]),
        *pieces(r"<object>.*?</object>"),
        *pieces(r"<(\w+)>[^<>]*</\1>"),
    ],
    "yolo": [words(r"\S+", WORDS), words(r"[\d.]+", WORDS), words(r"\w+", WORDS), *pieces(r".*\n"), *pieces(r"\S+ ")],
    "captions": [words(r"[^,\n]+", WORDS), words(r"[^,\n]+", WORDS), words(r"[,\n]", WORDS), *pieces(r".*\n")],
}
