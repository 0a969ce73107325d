"""Figures of every kind, and names that would break a careless page."""

from __future__ import annotations

import numpy as np

from multitask.annotations import Boxes, Captions
from multitask.errors import DataError
from multitask.example import Example
from multitask.figures import Bars, Case, Gallery, Lines, Matrix, Table

NAMES = (
    "<script>alert(1)</script>",
    "\"><img src=x onerror='alert(1)'>",
    "</style></title>{{ 7 * 7 }}",
    "$x^2$ $\\frac{",
    "\x1b[31m\x00\n\u202e\ud800",
    "word" * 300,
    "斑马 حمار وحشي 🦓",
    "_hidden",
)
RAMP = np.linspace(0, 1, 50)
SIDE = 64


def lines(names=("a", "b")):
    return Lines("Curves", "recall", "precision", {n: (RAMP, RAMP ** (i + 1)) for i, n in enumerate(names)}, "A note.")


def bars(names=("right", "wrong"), log=False):
    edges = np.geomspace(9, 210, 6) if log else np.linspace(0, 1, 6)
    return Bars("Bars", "score", "answers", edges, {name: np.arange(5.0) for name in names}, log=log)


def matrix(names):
    values = np.random.default_rng(0).integers(0, 5, (len(names), len(names))) + 40 * np.eye(len(names), dtype=int)
    return Matrix("Confusion", "truth", "answer", names, names, values)


def table(names=("a", "b"), value=0.5):
    return Table("Scores by category", ("category", "AP"), [(name, value) for name in names])


def noise(number, side=SIDE):
    return np.random.default_rng(number).integers(0, 256, (side, side, 3), dtype=np.uint8)


def image(number):
    """Example `number` of noise; 13 cannot be read, from 1000 on there is none."""
    if number >= 1000:
        raise KeyError(number)

    def load(reduce=1):
        if number == 13:
            raise DataError("13.png: is <b>empty</b>")
        return noise(number)

    return Example(number, f"{number}.png", (SIDE, SIDE), {}, load)


def boxes(*labels, score=1.0):
    corners = np.array([[10.0 + i, 12.0 + i, 40.0 + i, 38.0 + i] for i in range(len(labels))]).reshape(-1, 4)
    return Boxes(corners, labels, np.full(len(labels), score))


def case(number, words="disc, 30 x 26 pixels", labels=("disc",)):
    return Case(number, words, [boxes(*labels)], [boxes("star", score=0.5)], (10.0, 12.0, 40.0, 38.0))


def gallery(numbers=(0, 1)):
    return Gallery("Missed", [case(number) for number in numbers], "The largest.")


def captions(text="a red disc"):
    return Gallery("Captions", [Case(0, "CIDEr-D 0.5", [Captions((text, "a disc"))], [Captions(("a star",))])])


def everything(names=NAMES):
    """One figure of each kind, with these names wherever a name may be."""
    labels = [name.replace("\ud800", "") for name in names]  # which readers of data refuse
    hostile = Gallery(names[0], [case(i, name, (labels[i],)) for i, name in enumerate(names)], names[1])
    figures = (lines(names), bars(names), bars(names, True), matrix(names), table(names), hostile, captions(names[2]))
    return [*figures, Table(names[4], names, [names])]
