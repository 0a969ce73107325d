"""Names, numbers and sentences of a report, whatever a data set has in them."""

from __future__ import annotations

import math
import re
import unicodedata
from numbers import Integral, Real

from ..errors import escaped

LONGEST_NAME = 60
LONGEST_SENTENCE = 300
LONGEST_SLUG = 40
TEXT, SMALL = 14, 10  # points of the print in diagrams


def clipped(text: str, longest: int = LONGEST_NAME) -> str:
    """The beginning of a text, as one printable line."""
    line = escaped(text[: longest + 1])
    return line if len(line) <= longest else f"{line[: longest - 1]}…"


def slug(text: str) -> str:
    """A part of a file name, of [a-z0-9-] alone; "part" where the text has none of them."""
    letters = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", letters)[:LONGEST_SLUG].strip("-") or "part"


def slugs(texts: list[str]) -> list[str]:
    """The slug of each; equal ones are numbered."""
    found: list[str] = []
    for text in texts:
        base, number = slug(text), 1
        while (name := f"{base}{f'-{number}' * (number > 1)}") in found:
            number += 1
        found.append(name)
    return found


def number(value: object) -> str:
    """A cell of a table: a number as people read it, a dash for nan; a text as it is, cut where it is long."""
    if isinstance(value, Integral):
        return f"{int(value):,}"
    if isinstance(value, Real):
        return "–" if math.isnan(value) else f"{value:.3f}"
    return clipped(str(value))
