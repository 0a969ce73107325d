"""Tables, diagrams and pictures of a report, as data: who makes them need not draw, who draws them knows no task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .annotations import Annotation

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Table:
    """Rows of text and numbers; a number that is nan is shown as a dash."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str | float]]
    note: str = ""  # a sentence below the title; so in every figure


@dataclass(frozen=True)
class Lines:
    """Curves over one axis."""

    title: str
    x: str  # what the axis shows
    y: str
    lines: Mapping[str, tuple[Numbers, Numbers]]  # by name: (P,) and (P,)
    note: str = ""
    unit: bool = True  # both axes go from 0 to 1
    diagonal: bool = False  # where x equals y, for comparison


@dataclass(frozen=True)
class Bars:
    """A histogram; the stacks stand on each other."""

    title: str
    x: str
    y: str
    edges: Numbers  # (B + 1,) of the bars
    stacks: Mapping[str, Numbers]  # by name: (B,) heights
    note: str = ""
    log: bool = False  # the x axis


@dataclass(frozen=True)
class Matrix:
    """Counts of pairs."""

    title: str
    row_axis: str
    column_axis: str
    rows: Sequence[str]  # (R,) names
    columns: Sequence[str]  # (C,)
    values: NDArray[np.int64]  # (R, C)
    note: str = ""


@dataclass(frozen=True)
class Case:
    """One thing to be looked at in one image: the truth beside the answer."""

    image: int | str  # its id in the data set
    words: str  # what there is to see
    truth: Sequence[Annotation]  # in pixels of the image, as all that follows
    answer: Sequence[Annotation]
    region_xyxy: tuple[float, float, float, float] | None = None  # where to look; None: the whole image


@dataclass(frozen=True)
class Gallery:
    """Pictures of some images."""

    title: str
    cases: Sequence[Case]
    note: str = ""


Figure = Table | Lines | Bars | Matrix | Gallery
