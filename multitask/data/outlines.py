"""Outlines of the shapes and figures that the embedded data set draws, centred on the origin, in pixels.

The cosines come from a rounded table and the rest is arithmetic that IEEE 754 rounds exactly: the same on every
machine. Part of what docs/shapes.md freezes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from skimage.draw import polygon

from ..geometry import FloatArray, clip_polygon

_COS = np.round(np.cos(np.radians(np.arange(360))) * 4096) / 4096  # no entry is near a tie
_SIN = np.roll(_COS, 90)
_REACH = 64  # no outline goes farther from the origin


def _ring(degrees: Sequence[int] | NDArray[np.int64]) -> FloatArray:
    """Points of the unit circle, clockwise from the top."""
    return np.stack([_SIN[degrees], -_COS[degrees]], axis=1)


def _halves(points: FloatArray, axis: int) -> tuple[FloatArray, FloatArray]:
    """What is left of a convex outline when a bar across its middle is taken out."""
    low = np.array([-2.0, -2.0])
    low[axis] = 0.13
    half = clip_polygon(points - low, (4.0, 4.0)) + low
    mirror = np.where(np.arange(2) == axis, -1.0, 1.0)
    return half, (clip_polygon(points * mirror - low, (4.0, 4.0)) + low) * mirror


_WHOLE = {
    "disc": _ring(np.arange(0, 360, 15)),
    "rectangle": np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]]),
    "triangle": _ring([0, 120, 240]),
    "star": _ring(np.arange(0, 360, 36)) * np.where(np.arange(10) % 2, 0.4375, 1.0)[:, None],
}
_CUT = {name: [_halves(_WHOLE[name], axis) for axis in (0, 1)] for name in ("disc", "rectangle", "triangle")}


def _turn(points: FloatArray, degrees: int) -> FloatArray:
    """Clockwise about the origin."""
    sin = _SIN[degrees]
    turned: FloatArray = points * _COS[degrees] + points[:, ::-1] * np.array([-sin, sin])
    return turned


def solid(name: str, rng: np.random.Generator) -> list[FloatArray]:
    """Outlines of a disc, rectangle, triangle or star, box centred on the origin."""
    cut = name in _CUT and rng.random() < 0.25
    parts = _CUT[name][rng.integers(2)] if cut else (_WHOLE[name],)
    size = int(rng.integers(28 if cut else 16, 57))
    flat = 1.0 - rng.integers(33) / 64 if name in ("rectangle", "triangle") else 1.0
    angle = int(rng.integers(-25, 26)) + (90 * int(rng.integers(2)) if name == "rectangle" else 0)
    turned = [_turn(part * (1.0, flat), angle) for part in parts]
    corners = np.concatenate(turned)
    low, high = corners.min(axis=0), corners.max(axis=0)
    return [(part - (low + high) / 2) * (size / (high - low).max()) for part in turned]


def _side(upper: int, fore: int, leg: int) -> tuple[FloatArray, FloatArray]:
    """Right half of a figure, neck at the origin: outline from shoulder to crotch; elbow, hand and foot.

    Angles in degrees from straight down. A limb is a band of half width `t` along its direction.
    """
    t, hip = 0.05, np.array([0.0, 0.34])
    along = {a: np.array([_SIN[a], _COS[a]]) for a in (upper, fore, leg)}
    out = {a: np.array([_COS[a], -_SIN[a]]) * t for a in (upper, fore, leg)}  # to the outer edge
    elbow = along[upper] * 0.2
    hand, foot = elbow + along[fore] * 0.2, hip + along[leg] * 0.4
    joint = (out[upper] + out[fore]) / (1 + (out[upper] * out[fore]).sum() / t**2)  # mitre of the two bands
    shoulder = out[upper] + along[upper] * (t * (1 - _COS[upper]) / _SIN[upper])  # where the edges reach x = t
    armpit = -out[upper] + along[upper] * (t * (1 + _COS[upper]) / _SIN[upper])
    waist = hip + out[leg] + along[leg] * (t * (1 - _COS[leg]) / _SIN[leg])
    crotch = hip + np.array([0.0, t / _SIN[leg]])
    ends = [hand + out[fore], hand - out[fore], elbow - joint, armpit, waist, foot + out[leg], foot - out[leg]]
    return np.array([shoulder, elbow + joint, *ends, crotch]), np.array([elbow, hand, foot])


def figure(rng: np.random.Generator) -> tuple[list[FloatArray], FloatArray]:
    """Outline of a stick figure, box centred on the origin, and its points (9, 2)."""
    size, tilt = int(rng.integers(32, 65)), int(rng.integers(-10, 11))
    sides = []
    for _ in range(2):
        upper, bend, leg = int(rng.integers(40, 121)), int(rng.integers(-50, 51)), int(rng.integers(14, 36))
        sides.append(_side(upper, min(max(upper + bend, 25), 140), leg))
    (right, right_ends), (left, left_ends) = sides[0], [points * (-1.0, 1.0) for points in sides[1]]
    head = np.array([0.0, -0.24])
    skull = head + 0.13 * _ring(np.arange(156, -157, -26))
    outline = _turn(np.concatenate([skull, left, right[::-1]]), tilt)
    limbs = np.stack([right_ends, left_ends], axis=1).reshape(6, 2)  # the figure's left first
    points = _turn(np.concatenate([[head, (0.0, 0.0), (0.0, 0.34)], limbs]), tilt)
    low, high = outline.min(axis=0), outline.max(axis=0)
    scale = size / (high - low)[1]
    return [(outline - (low + high) / 2) * scale], (points - (low + high) / 2) * scale


def _following(points: FloatArray) -> FloatArray:
    """The other end of each edge of a closed outline."""
    return points[np.arange(1 - len(points), 1)]


def area(points: FloatArray) -> float:
    """Area of a simple polygon (P, 2)."""
    ends = _following(points)
    return abs(float((points[:, 0] * ends[:, 1] - points[:, 1] * ends[:, 0]).sum())) / 2


def fill(parts: Sequence[FloatArray]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows and columns of the pixels whose centre is inside one of the parts (P, 2), which do not overlap."""
    shift = _REACH - 0.5  # scikit-image counts pixels from their centres, and draws nothing left of 0
    cells = [polygon(part[:, 1] + shift, part[:, 0] + shift) for part in parts]  # type: ignore[no-untyped-call]
    rows, columns = (np.concatenate([cell[axis] for cell in cells]) - _REACH for axis in (0, 1))
    return rows, columns
