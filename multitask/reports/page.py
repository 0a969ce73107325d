"""The page of a report: HTML that loads nothing and runs nothing, made from a template."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Literal

from jinja2 import Environment, StrictUndefined

from .. import __version__
from ..errors import escaped
from ..figures import Table
from .cases import Shown
from .words import number

NOT_AVAILABLE = "not available"
OPEN_ROWS = 14  # of a table; longer ones are opened by the reader


@dataclass(frozen=True)
class Picture:
    """An image within the page."""

    uri: str  # data:
    size: tuple[int, int]  # width and height, in pixels of the page


@dataclass
class Part:
    """A figure as the page shows it."""

    title: str
    notes: list[str]  # sentences
    kind: Literal["chart", "table", "gallery"] = "table"
    words: str = ""  # for those who cannot see the picture
    picture: Picture | None = None
    wide: bool = False  # scrolled sideways rather than made too small to read
    table: Table | None = None
    cases: Sequence[tuple[Shown, Picture | None]] = ()


@dataclass
class Chapter:
    """A section as the page shows it."""

    anchor: str
    title: str
    scores: Mapping[str, str]
    parts: list[Part] = field(default_factory=list)


def data_uri(content: bytes, kind: str) -> str:
    """The content of an image of that kind as an address that holds it."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def render(title: str, facts: Mapping[str, str], chapters: Sequence[Chapter]) -> str:
    """The page. Every text in it is escaped, and one printable line."""
    environment = Environment(
        autoescape=True, finalize=_printable, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["number"] = number
    template = environment.from_string((files(__package__) / "page.html").read_text(encoding="utf-8"))
    return template.render(
        title=title, facts=facts, chapters=chapters, version=__version__, open_rows=OPEN_ROWS, is_text=_is_text
    )


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _printable(value: object) -> object:
    return escaped(value) if type(value) is str else value
