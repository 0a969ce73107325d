"""Moving and clipping boxes and outlines. Points are (x, y), matrices affine (3, 3), `size` is (width, height)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
Size = tuple[float, float]


def move(points: FloatArray, matrix: FloatArray) -> FloatArray:
    """Apply the affine `matrix` (3, 3) to `points` (..., 2)."""
    moved: FloatArray = points @ matrix[:2, :2].T + matrix[:2, 2]
    return moved


def warp_boxes(xyxy: FloatArray, matrix: FloatArray, size: Size) -> FloatArray:
    """Bounds (N, 4) of the moved boxes, clipped to [0, width] x [0, height]."""
    corners = move(xyxy[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 4, 2), matrix)
    bounds: FloatArray = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)
    return bounds.clip(0.0, np.array([*size, *size]))


def clip_polygon(points: FloatArray, size: Size) -> FloatArray:
    """The part of a polygon (P, 2) inside [0, width] x [0, height] (Sutherland and Hodgman 1974); (0, 2) if none is."""
    if len(points) and (points >= 0).all() and (points <= np.array(size)).all():
        return points
    for axis, bound, sign in ((0, 0.0, 1.0), (0, size[0], -1.0), (1, 0.0, 1.0), (1, size[1], -1.0)):
        if not len(points):
            break
        inside = sign * (points[:, axis] - bound)
        kept: list[FloatArray] = []
        for a, b, da, db in zip(points, np.roll(points, -1, 0), inside, np.roll(inside, -1), strict=True):
            if da >= 0:
                kept.append(a)
            if (da > 0 > db) or (da < 0 < db):
                crossing = a + (b - a) * (da / (da - db))
                crossing[axis] = bound  # exactly on the border, whatever the rounding
                kept.append(crossing)
        points = np.array(kept).reshape(-1, 2)
    return points


def rounded(values: FloatArray) -> list[Any]:
    """Nested lists of numbers, to a hundredth: coordinates for people and JSON."""
    numbers: list[Any] = np.round(np.asarray(values, dtype=np.float64), 2).tolist()
    return numbers
