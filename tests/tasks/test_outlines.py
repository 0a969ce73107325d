from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multitask.tasks.outlines import (
    CELLS,
    LEAST,
    area,
    averaged,
    filled,
    from_top,
    simplified,
    spaced,
    tidied,
    traced,
)

SQUARE = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])  # clockwise to the eye: y points down
FINE = 256  # points a side that areas are compared on

bins = st.integers(0, 40).map(float)
polygons = st.lists(st.tuples(bins, bins), min_size=1, max_size=12).map(np.array)
outlines = st.lists(polygons, min_size=1, max_size=4).map(tidied).filter(bool)


def disc(x: float = 0.5, y: float = 0.5, radius: float = 0.3, count: int = 60) -> np.ndarray:
    angles = np.arange(count) / count * 2 * np.pi
    return np.stack([x + radius * np.cos(angles), y + radius * np.sin(angles)], axis=1)


def blob(rng: np.random.Generator) -> np.ndarray:
    """A random outline about the middle that does not cross itself."""
    angles = np.sort(rng.random(rng.integers(8, 40))) * 2 * np.pi
    radii = rng.uniform(0.25, 0.5, len(angles))
    return np.stack([0.5 + radii * np.cos(angles), 0.5 + radii * np.sin(angles)], axis=1)


def ring(part: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """The edges, the last back to the first point."""
    return [(part[i], part[(i + 1) % len(part)]) for i in range(len(part))]


def inside(parts, xy: np.ndarray) -> np.ndarray:
    """Whether points (N, 2) lie in one of the parts: a ray to the right crosses an odd number of its edges."""
    found = np.zeros(len(xy), dtype=bool)
    for part in parts:
        crossed = np.zeros(len(xy), dtype=bool)
        for (x0, y0), (x1, y1) in ring(part):
            if y0 != y1:
                at = x0 + (xy[:, 1] - y0) / (y1 - y0) * (x1 - x0)
                crossed ^= ((y0 > xy[:, 1]) != (y1 > xy[:, 1])) & (xy[:, 0] < at)
        found |= crossed
    return found


def grid(side: float = 1.0, count: int = FINE) -> np.ndarray:
    """The centres (count squared, 2) of equal cells of a square."""
    steps = (np.arange(count) + 0.5) / count * side
    return np.stack([np.tile(steps, count), np.repeat(steps, count)], axis=1)


def iou(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / max(1, (one | other).sum()))


def same(one, other) -> bool:
    return len(one) == len(other) and all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def rotations(part: np.ndarray) -> list[list[list[float]]]:
    return [np.roll(part, i, axis=0).tolist() for i in range(len(part))]


# ------------------------------------------------------------------------------------------------- points of outlines


@settings(derandomize=True, deadline=None)
@given(polygons)
def test_area_is_the_sum_over_the_edges(part):
    slowly = sum((b[0] - a[0]) * (a[1] + b[1]) for a, b in ring(part)) / -2  # trapezia down to the x axis
    assert area(part) == pytest.approx(slowly)
    assert area(part[::-1]) == pytest.approx(-slowly) and area(np.roll(part, 3, axis=0)) == pytest.approx(slowly)


def test_area_is_positive_clockwise_to_the_eye():
    assert area(SQUARE) == 1 and area(SQUARE[::-1]) == -1
    assert area(disc(radius=0.3, count=720)) == pytest.approx(0.09 * np.pi, rel=1e-4)
    assert area(SQUARE[:2]) == 0 and area(np.zeros((0, 2))) == 0


def test_what_encloses_nothing_is_left_out():
    small, large = SQUARE * 2, SQUARE[::-1] * 5
    twice = np.repeat(SQUARE * 3, 2, axis=0)
    nothing = [SQUARE[list(i)] for i in ((), (0,), (0, 1), (0, 0, 0), (0, 1, 0, 1), (0, 1, 2, 1))]
    found = tidied([*nothing[:3], small, *nothing[3:], large, twice])
    assert [area(part) for part in found] == [25, 9, 4]
    assert found[0].tolist() in rotations(SQUARE * 5)  # turned round
    assert found[1].tolist() == (SQUARE * 3).tolist()
    assert tidied(nothing) == [] and tidied([]) == []


@settings(derandomize=True, deadline=None)
@given(st.lists(polygons, max_size=4))
def test_tidied_outlines_are_in_order(parts):
    found = tidied(parts)
    for part in found:
        assert len(part) >= LEAST and area(part) > 0
        assert all(a.tolist() != b.tolist() for a, b in ring(part))
    sizes = [area(part) for part in found]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes == sorted((abs(area(part)) for part in parts if area(part)), reverse=True)
    assert same(tidied(found), found)


def by_hand(parts, count: int) -> list[np.ndarray]:
    """One point after the other: of all points that may go, the one with the smallest triangle."""
    left = [part.tolist() for part in parts]
    while sum(map(len, left)) > count:
        triangles = []
        for number, part in enumerate(left):
            for i, (x, y) in enumerate(part if len(part) > 3 else []):
                (px, py), (nx, ny) = part[i - 1], part[(i + 1) % len(part)]
                triangles.append((abs((x - px) * (ny - y) - (y - py) * (nx - x)), number, i))
        _, number, i = min(triangles)
        del left[number][i]
    return sorted(map(np.array, left), key=area, reverse=True)


@settings(derandomize=True, deadline=None)
@given(outlines, st.integers(0, 40))
def test_corners_that_matter_least_go_first(parts, more):
    count = LEAST * len(parts) + more
    found = simplified(parts, count)
    assert sum(map(len, found)) == min(count, sum(map(len, parts)))
    assert same(found, by_hand(parts, count))
    assert same(simplified(found, count), found)
    known = {tuple(point) for part in parts for point in part.tolist()}
    for part in found:
        assert len(part) >= LEAST and {tuple(point) for point in part.tolist()} <= known


def test_points_on_an_edge_are_no_corners():
    corners = np.array([[0.0, 0.0], [9.0, 0.0], [9.0, 5.0], [0.0, 5.0]])
    marks = [0.0, 0.2, 0.5, 0.7]
    rectangle = np.array([a + (b - a) * mark for a, b in ring(corners) for mark in marks])
    (found,) = simplified([rectangle], 4)
    np.testing.assert_array_equal(found, corners)
    one, other = simplified([rectangle, rectangle / 2], 8)  # two parts share the points out as they need them
    np.testing.assert_array_equal(one, corners)
    np.testing.assert_array_equal(other, corners / 2)


def test_a_part_keeps_three_points_however_small():
    large, small = disc(radius=0.4, count=50), disc(radius=0.001, count=20)
    assert [len(part) for part in simplified([large, small], 30)] == [27, 3]
    assert [len(part) for part in simplified([large, small], 6)] == [3, 3]


def at(part: np.ndarray, distance: float) -> np.ndarray:
    """The point after a way of `distance` along the outline, walked edge by edge."""
    for a, b in ring(part) * 2:
        length = float(np.hypot(*(b - a)))
        if distance <= length:
            return a + (b - a) * distance / length
        distance -= length
    raise AssertionError("twice around")


def around(part: np.ndarray) -> float:
    return sum(float(np.hypot(*(b - a))) for a, b in ring(part))


@settings(derandomize=True, deadline=None)
@given(outlines, st.integers(0, 30), st.floats(0, 0.99))
def test_spaced_points_lie_at_equal_distances(parts, more, offset):
    count = LEAST * len(parts) + more
    found = spaced(parts, count, offset)
    assert sum(map(len, found)) == count and len(found) == len(parts)
    whole = sum(map(around, parts))
    for old, new in zip(parts, found, strict=True):
        assert len(new) >= LEAST and abs(len(new) - LEAST - more * around(old) / whole) <= 1
        way = around(old) / len(new)
        np.testing.assert_allclose(new, [at(old, (i + offset) * way) for i in range(len(new))], atol=1e-9)


@pytest.mark.parametrize("each", [1, 2, 5])
def test_spaced_points_of_a_square(each):
    (found,) = spaced([SQUARE], 4 * each)
    np.testing.assert_allclose(found[::each], SQUARE, atol=1e-12)
    np.testing.assert_allclose(
        found, [a + (b - a) * i / each for a, b in ring(SQUARE) for i in range(each)], atol=1e-12
    )
    (found,) = spaced([SQUARE], 4, offset=0.5)
    np.testing.assert_allclose(found, [[0.5, 0], [1, 0.5], [0.5, 1], [0, 0.5]], atol=1e-12)


@settings(derandomize=True, deadline=None)
@given(polygons)
def test_an_outline_begins_at_its_topmost_point(part):
    found = from_top(part)
    assert found.tolist() in rotations(part)
    assert found[0].tolist() == min(part.tolist(), key=lambda point: (point[1], point[0]))


# ---------------------------------------------------------------------------------------------------------- averages


@pytest.mark.parametrize("seed", range(12))
def test_the_average_of_one_outline_is_that_outline(seed):
    rng = np.random.default_rng(seed)
    outline = (blob(rng) * rng.uniform(0.05, 1.0, 2) / 2 + rng.random(2) / 2,)
    low, high = outline[0].min(axis=0), outline[0].max(axis=0)
    xy = low + grid() * (high - low)  # however small it is
    for outlines in ([outline], [outline] * 3):
        assert iou(inside(averaged(outlines), xy), inside(outline, xy)) > 0.97


def test_the_average_of_two_parts_has_two():
    outline = (disc(0.25, 0.3, 0.2), disc(0.75, 0.7, 0.2))
    found = averaged([outline])
    assert len(found) == 2 and iou(inside(found, grid()), inside(outline, grid())) > 0.97
    assert len(averaged([outline, outline[:1], outline[:1]])) == 1


def test_most_outlines_decide():
    three = [(disc(0.4 + 0.1 * i, 0.5, 0.3),) for i in range(3)]
    wanted = sum(inside(outline, grid()).astype(int) for outline in three) >= 2
    assert iou(inside(averaged(three), grid()), wanted) > 0.97
    assert iou(inside(averaged(three[::-1]), grid()), wanted) > 0.97


def test_of_two_outlines_one_is_enough():
    two = [(disc(0.4),), (disc(0.6),)]
    wanted = inside(two[0], grid()) | inside(two[1], grid())
    assert iou(inside(averaged(two), grid()), wanted) > 0.97
    assert iou(inside(averaged([two[0], ()]), grid()), inside(two[0], grid())) > 0.97


def test_the_average_of_nothing_is_nothing():
    line = np.array([[0.1, 0.5], [0.4, 0.5], [0.9, 0.5]])
    for nothing in ([], [()], [(), ()], [(line,)], [(line[:, ::-1],)], [(line[[0, 0, 0]],)], [(disc(),), (), ()]):
        assert averaged(nothing) == ()


@pytest.mark.parametrize("seed", range(12))
def test_cells_are_filled_whose_centre_lies_inside(seed):
    rng = np.random.default_rng(seed)
    parts = [blob(rng) * CELLS * rng.uniform(0.2, 1) + rng.random(2) for _ in range(2)]
    mask = filled(parts)
    assert mask.shape == (CELLS, CELLS) and mask.dtype == bool
    np.testing.assert_array_equal(mask.reshape(-1), inside(parts, grid(CELLS, CELLS)))


@pytest.mark.parametrize("seed", range(12))
def test_masks_survive_their_outlines(seed):
    mask = filled([blob(np.random.default_rng(seed)) * CELLS])
    found = traced(mask)
    assert all(area(part) > 0 for part in found)
    assert iou(filled(found), mask) > 0.97
    assert sum(map(len, found)) < 2 * CELLS  # not every cell of the rim


def test_each_region_has_an_outline_and_holes_have_none():
    mask = np.zeros((CELLS, CELLS), dtype=bool)
    assert traced(mask) == ()
    mask[10:40, 10:50] = mask[60:120, 70:110] = True
    one, other = traced(mask)
    assert area(one) == pytest.approx(30 * 40, rel=0.03) and area(other) == pytest.approx(60 * 40, rel=0.03)
    np.testing.assert_allclose([one.min(axis=0), one.max(axis=0)], [[10, 10], [50, 40]], atol=0.5)  # xy
    mask[80:100, 80:100] = False
    assert len(traced(mask)) == 2 and sum(map(area, traced(mask))) == pytest.approx(30 * 40 + 60 * 40, rel=0.03)
    (whole,) = traced(np.ones((CELLS, CELLS), dtype=bool))
    np.testing.assert_allclose([whole.min(axis=0), whole.max(axis=0)], [[0, 0], [CELLS, CELLS]], atol=0.5)
