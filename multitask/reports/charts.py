"""Diagrams of a report as PNGs, large enough in print to be read on a phone."""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from typing import TYPE_CHECKING, Protocol

import numpy as np
from PIL import Image

from ..charting import COLOURS, MOST_LINES, blank_figure, plain, png, styles
from ..figures import Bars, Lines, Matrix
from .matrix import MatrixDrawing
from .words import TEXT, clipped

if TYPE_CHECKING:
    from ..charting import Artist, Axes, Figure

Chart = Lines | Bars | Matrix

WIDTH, HEIGHT, DOTS = 7.0, 4.5, 130  # inches, and dots in each
FLAT = 1.2  # inches of height where there is nothing to show
MARKED = 30  # points of a line, up to which each is marked
LONGEST_KEY, LEGEND_WIDTH = 40, 54  # letters of a name in the legend, and of a row of it
SHADES = 128  # colours of a PNG, a third of the bytes of all colours


class Drawing(Protocol):
    """A chart that is about to be drawn."""

    keys: list[str]  # of the legend
    height: float  # in inches, without the legend
    empty: bool
    remark: str  # how to read it, and what it leaves out; mostly nothing
    words: str  # what it shows, for those who cannot see it
    wide: bool  # has small print

    def draw(self, axes: Axes) -> list[Artist]:
        """Gives what the keys of the legend are about."""


def drawing_of(chart: Chart) -> Drawing:
    """How to draw a chart."""
    if isinstance(chart, Matrix):
        return MatrixDrawing(chart)
    return _Lines(chart) if isinstance(chart, Lines) else _Bars(chart)


def draw_chart(drawing: Drawing) -> bytes:
    """A PNG; title and note are left to the page. Raises UsageError where matplotlib is not installed."""
    columns = max(1, LEGEND_WIDTH // (6 + max(map(len, drawing.keys), default=0)))
    rows = -(-len(drawing.keys) // columns)
    figure = blank_figure(WIDTH, FLAT if drawing.empty else drawing.height + 0.25 * rows)
    axes = figure.add_subplot()
    if drawing.empty:
        axes.text(0.5, 0.5, "nothing to show", ha="center", color="grey", fontsize=TEXT, transform=axes.transAxes)
        axes.set_axis_off()
    else:
        _legend(figure, drawing.draw(axes), drawing.keys, columns)
    return _smaller(png(figure, DOTS))


class _Lines:
    wide = False

    def __init__(self, chart: Lines) -> None:
        self.chart, self.height = chart, HEIGHT
        lines = chart.lines.items()
        self.known = {name: (x, y) for name, (x, y) in lines if (np.isfinite(x) & np.isfinite(y)).any()}
        self.keys, self.empty = _keys(self.known, MOST_LINES), not self.known
        self.remark = _cut("lines", len(self.known), MOST_LINES)
        self.words = _words(chart, self.keys)

    def draw(self, axes: Axes) -> list[Artist]:
        shown: list[Artist] = []
        if self.chart.diagonal:
            axes.axline((0, 0), slope=1, color="0.6", linestyle="--", linewidth=1.2)
        for (x, y), (colour, dash) in zip(self.known.values(), styles(), strict=False):
            shown += axes.plot(x, y, dash, color=colour, linewidth=2.2, marker="o" if len(x) <= MARKED else None)
        if self.chart.unit:
            axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
        _finish(axes, self.chart)
        return shown


class _Bars:
    wide = False

    def __init__(self, chart: Bars) -> None:
        self.chart, self.height, edges = chart, HEIGHT, np.asarray(chart.edges)
        self.stacks = {name: np.nan_to_num(bars, posinf=0, neginf=0) for name, bars in chart.stacks.items()}
        self.keys = _keys(self.stacks, len(COLOURS))
        sound = len(edges) > 1 and np.isfinite(edges).all() and (not chart.log or edges[0] > 0)
        self.empty = not sound or not any(bars.any() for bars in self.stacks.values())
        self.remark = _cut("stacks", len(self.stacks), len(COLOURS))
        self.words = _words(chart, self.keys)

    def draw(self, axes: Axes) -> list[Artist]:
        shown: list[Artist] = []
        edges, bottom = self.chart.edges, np.zeros(len(self.chart.edges) - 1)
        for bars, colour in zip(self.stacks.values(), COLOURS, strict=False):
            found = axes.bar(edges[:-1], bars, np.diff(edges), bottom, align="edge", color=colour, edgecolor="white")
            shown.append(found[0])
            bottom = bottom + bars
        axes.locator_params(axis="y", integer=True)  # it counts
        if self.chart.log:
            _log_ticks(axes, float(edges[0]), float(edges[-1]))
        _finish(axes, self.chart)
        return shown


def _keys(named: Mapping[str, object], most: int) -> list[str]:
    return [clipped(name, LONGEST_KEY) for name in list(named)[:most]]


def _words(chart: Lines | Bars, keys: list[str]) -> str:
    return f"{clipped(chart.y)} over {clipped(chart.x)}: {', '.join(keys) or 'nothing to show'}"


def _cut(what: str, count: int, most: int) -> str:
    return f"The first {most} of {count} {what}." if count > most else ""


def _log_ticks(axes: Axes, low: float, high: float) -> None:
    """1, 2, 5, 10 and so on, written as people write them."""
    axes.set_xscale("log")
    powers = np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1)
    steps = np.array([1.0, 2.0, 5.0] if len(powers) < 5 else [1.0])
    every = np.outer(10.0**powers, steps).ravel()
    ticks = every[(every >= low) & (every <= high)].tolist()
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()


def _finish(axes: Axes, chart: Lines | Bars) -> None:
    axes.set_xlabel(clipped(chart.x), fontsize=TEXT, parse_math=False)
    axes.set_ylabel(clipped(chart.y), fontsize=TEXT, parse_math=False)
    axes.tick_params(labelsize=TEXT - 2)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="0.9", linewidth=0.8)
    axes.set_axisbelow(True)


def _legend(figure: Figure, shown: list[Artist], keys: list[str], columns: int) -> None:
    """Below the axes, where it hides nothing."""
    if keys:
        plain(figure.legend(shown, keys, loc="outside lower center", ncols=columns, fontsize=TEXT - 1, frameon=False))


def _smaller(content: bytes) -> bytes:
    """The same picture in few colours."""
    found = BytesIO()
    picture = Image.open(BytesIO(content)).convert("RGB")
    picture.quantize(SHADES, dither=Image.Dither.NONE).save(found, format="PNG", optimize=True)
    return found.getvalue()
