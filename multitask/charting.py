"""What all diagrams share: a figure, its PNG, colours, and names that are never formulas.

matplotlib is imported when a figure is made.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from io import BytesIO
from typing import TYPE_CHECKING

from .errors import UsageError

if TYPE_CHECKING:
    from matplotlib.artist import Artist as Artist
    from matplotlib.axes import Axes as Axes
    from matplotlib.figure import Figure as Figure
    from matplotlib.legend import Legend

# Told apart by every kind of colour vision (Okabe and Ito, Color Universal Design), less the yellow, pale on white.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
DASHES = ("-", "--", ":")  # when all colours are taken
MOST_LINES = len(COLOURS) * len(DASHES)


def need_matplotlib() -> type[Figure]:
    """Its class of figures; to be asked for before work that is to end in a diagram.

    Raises UsageError where matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UsageError(
            "diagrams need matplotlib, which is not installed: pip install 'multitask-prompts[plot]'"
        ) from error
    return Figure


def blank_figure(width: float, height: float) -> Figure:
    """Of so many inches. Raises UsageError where matplotlib is not installed."""
    return need_matplotlib()(figsize=(width, height), layout="constrained")


def png(figure: Figure, dots: float = 100) -> bytes:
    """The figure with so many dots an inch; the same bytes for the same figure."""
    content = BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a letter that the font lacks
        figure.savefig(content, format="png", dpi=dots, metadata={"Software": None})
    return content.getvalue()


def styles() -> Iterator[tuple[str, str]]:
    """MOST_LINES pairs of colour and dash."""
    yield from ((colour, dash) for dash in DASHES for colour in COLOURS)


def plain(legend: Legend | None) -> None:
    """Names come from files: none of them is a formula."""
    for text in legend.get_texts() if legend else ():
        text.set_parse_math(False)
