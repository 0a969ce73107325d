"""The numbers of a data set as one page of diagrams; matplotlib is imported when a page is drawn."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...charting import blank_figure, plain, png
from ...errors import escaped
from .sequence_statistics import SequenceStatistics
from .statistics import Statistics

if TYPE_CHECKING:
    from ...charting import Axes

MOST_BARS = 30  # categories shown
BINS = 40


def page(
    title: str, splits: Mapping[str, Statistics], lengths: Mapping[str, Mapping[str, SequenceStatistics]]
) -> bytes:
    """A page as PNG: of each split the statistics, and by task those of its sequences.

    Raises UsageError where matplotlib is not installed.
    """
    figure = blank_figure(16, 15)
    figure.suptitle(escaped(title), parse_math=False)
    draw: list[Callable[[Axes], None]] = [
        lambda axes: _categories(axes, splits),
        lambda axes: _sizes(axes, splits),
        lambda axes: _histogram(axes, "objects: share of the image", {n: s.shares for n, s in splits.items()}),
        lambda axes: _images(axes, splits),
        lambda axes: _histogram(axes, "captions: words", {n: s.captions for n, s in splits.items()}),
        lambda axes: _histogram(axes, "sequences: tokens of prompt and answer", _by_task(lengths)),
    ]
    for number, one in enumerate(draw, 1):
        one(figure.add_subplot(3, 2, number))
    return png(figure)


def _categories(axes: Axes, splits: Mapping[str, Statistics]) -> None:
    totals: dict[str, int] = {}
    for found in splits.values():
        for name, count in found.categories.items():
            totals[name] = totals.get(name, 0) + count
    shown = sorted(totals, key=lambda name: -totals[name])[:MOST_BARS]
    left = np.zeros(len(shown))
    for split, found in splits.items():
        counts = np.array([found.categories.get(name, 0) for name in shown])
        axes.barh(np.arange(len(shown)), counts, left=left, label=escaped(split))
        left += counts
    axes.set_yticks(np.arange(len(shown)), [escaped(name)[:40] for name in shown], parse_math=False)
    axes.invert_yaxis()
    more = f", the {len(shown)} most frequent of {len(totals)}" if len(totals) > len(shown) else ""
    _finish(axes, f"categories: objects{more}", bool(shown))


def _sizes(axes: Axes, splits: Mapping[str, Statistics]) -> None:
    width = 0.8 / max(1, len(splits))
    for number, (split, found) in enumerate(splits.items()):
        sizes = found.sizes()
        axes.bar(np.arange(len(sizes)) + number * width, list(sizes.values()), width, label=escaped(split))
        axes.set_xticks(np.arange(len(sizes)) + 0.4 - width / 2, list(sizes))
    _finish(
        axes, "objects: size (small below 32 x 32 pixels, large from 96 x 96)", any(s.areas for s in splits.values())
    )


def _images(axes: Axes, splits: Mapping[str, Statistics]) -> None:
    for split, found in splits.items():
        points = np.array(found.sides).reshape(-1, 2)
        axes.scatter(points[:, 0], points[:, 1], s=12, alpha=0.4, label=escaped(split))
    axes.set_xlabel("width in pixels")
    axes.set_ylabel("height in pixels")
    _finish(axes, "images: size", any(s.sides for s in splits.values()))


def _histogram(axes: Axes, title: str, values: Mapping[str, Sequence[float]]) -> None:
    known = {name: found for name, found in values.items() if len(found)}
    if known:
        edges = _edges(np.concatenate([np.asarray(found) for found in known.values()]))
        for name, found in known.items():
            axes.hist(found, edges.tolist(), histtype="step", linewidth=1.5, label=escaped(name))
    _finish(axes, title, bool(known))


def _edges(values: NDArray[Any]) -> NDArray[np.float64]:
    """Of the bins of a histogram; whole numbers lie in the middle of theirs."""
    if values.dtype.kind != "i":
        return np.histogram_bin_edges(values, BINS).astype(np.float64)
    step = -(-(int(np.ptp(values)) + 1) // BINS)
    return np.arange(values.min(), values.max() + step + 1, step) - 0.5


def _by_task(lengths: Mapping[str, Mapping[str, SequenceStatistics]]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for tasks in lengths.values():
        for task, one in tasks.items():
            found.setdefault(task, []).extend(one.lengths)
    return found


def _finish(axes: Axes, title: str, filled: bool) -> None:
    axes.set_title(title, fontsize=11)
    if filled:
        plain(axes.legend(fontsize=8))
    else:
        axes.text(0.5, 0.5, "none", ha="center", transform=axes.transAxes)
        axes.set_axis_off()
