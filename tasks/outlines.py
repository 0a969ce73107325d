"""Outlines of objects: points chosen along them, and masks traced back to them. Points are (P, 2) xy, y down."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from skimage.draw import polygon2mask
from skimage.measure import approximate_polygon, find_contours

Array = NDArray[np.float64]
Outline = tuple[Array, ...]  # parts of one object
LEAST = 3  # points of a part
CELLS = 128  # side of the grid that masks are averaged on


def tidied(parts: Sequence[Array]) -> list[Array]:
    """Parts with at least three points that enclose something: no point twice in a row, clockwise, largest first."""
    distinct = [part[np.any(part != np.roll(part, 1, axis=0), axis=1)] for part in parts]
    turned = [part if area(part) >= 0 else part[::-1] for part in distinct if len(part) >= LEAST]
    return sorted((part for part in turned if area(part) > 0), key=area, reverse=True)


def area(points: Array) -> float:
    """Signed area of a polygon, positive where its points go clockwise to the eye."""
    following = np.roll(points, -1, axis=0)
    return float((points[:, 0] * following[:, 1] - following[:, 0] * points[:, 1]).sum()) / 2


def simplified(parts: Sequence[Array], count: int) -> list[Array]:
    """At most `count` points in all: again and again the one whose triangle is smallest goes (Visvalingam 1993).

    A part keeps three.
    """
    if sum(map(len, parts)) <= count:
        return list(parts)
    parts, weights = list(parts), [_triangles(part) for part in parts]
    for _ in range(sum(map(len, parts)) - count):
        number = min(range(len(parts)), key=lambda i: weights[i].min() if len(parts[i]) > LEAST else np.inf)
        parts[number] = np.delete(parts[number], int(weights[number].argmin()), axis=0)
        weights[number] = _triangles(parts[number])
    return sorted(parts, key=area, reverse=True)


def _triangles(points: Array) -> Array:
    """(P,) twice the area between each point and its neighbours."""
    before, after = points - np.roll(points, 1, axis=0), np.roll(points, -1, axis=0) - points
    return np.abs(before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0])


def spaced(parts: Sequence[Array], count: int, offset: float = 0.0) -> list[Array]:
    """`count` points in all, shared out by length, three a part at least; within a part at equal distances.

    The first lies `offset` of such a distance after the part's own first point.
    """
    ends = [np.cumsum(np.linalg.norm(np.roll(part, -1, axis=0) - part, axis=1)) for part in parts]
    lengths = np.cumsum([end[-1] for end in ends])
    shares = np.diff(np.round(lengths / lengths[-1] * (count - LEAST * len(parts))), prepend=0).astype(int) + LEAST
    return [_along(part, end, (np.arange(n) + offset) / n) for part, end, n in zip(parts, ends, shares, strict=True)]


def _along(points: Array, ends: Array, fractions: Array) -> Array:
    """Points (F, 2) at `fractions` of the outline's length; `ends` (P,) is that length after each edge."""
    marks, closed = np.concatenate([[0.0], ends]), np.concatenate([points, points[:1]])
    return np.stack([np.interp(fractions * ends[-1], marks, closed[:, axis]) for axis in (0, 1)], axis=1)


def from_top(points: Array) -> Array:
    """The same outline, begun at its topmost point, of several the leftmost."""
    return np.roll(points, -int(np.lexsort((points[:, 0], points[:, 1]))[0]), axis=0)


def averaged(outlines: Sequence[Outline]) -> Outline:
    """The outline of what lies inside at least half of the `outlines` (Pix2Seq v2, arXiv 2206.07669, section 3.2)."""
    points = np.concatenate([part for parts in outlines for part in parts] or [np.zeros((0, 2))])
    if not len(points) or not (np.ptp(points, axis=0) > 0).all():
        return ()
    low, cell = points.min(axis=0), np.ptp(points, axis=0) / CELLS
    masks = [filled([(part - low) / cell for part in parts]) for parts in outlines]
    return tuple(part * cell + low for part in traced(np.mean(masks, axis=0) >= 0.5))


def filled(parts: Sequence[Array]) -> NDArray[np.bool_]:
    """(CELLS, CELLS): whether the centre of a cell lies inside one of the parts, whose unit is a cell."""
    mask = np.zeros((CELLS, CELLS), dtype=bool)
    for part in parts:
        mask |= polygon2mask(mask.shape, part[:, ::-1] - 0.5)  # type: ignore[no-untyped-call]
    return mask


def traced(mask: NDArray[np.bool_]) -> Outline:
    """Outlines of the regions of a mask, to less than half a cell; a hole is left out, as polygons cannot say it."""
    contours = find_contours(np.pad(mask, 1).astype(np.float64), 0.5)  # type: ignore[no-untyped-call]
    parts = [approximate_polygon(contour, 0.4)[:-1, ::-1] - 0.5 for contour in contours]  # type: ignore[no-untyped-call]
    return tuple(part for part in parts if len(part) >= LEAST and area(part) > 0)
