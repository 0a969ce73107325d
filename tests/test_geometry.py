from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from multitask.geometry import clip_polygon, move, warp_boxes

finite = st.floats(-50, 150, width=32)
SHIFT = np.array([[2.0, 0.0, 5.0], [0.0, 3.0, -7.0], [0.0, 0.0, 1.0]])
MIRROR = np.array([[-1.0, 0.0, 100.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])


def area(points: np.ndarray) -> float:
    x, y = points[:, 0], points[:, 1]
    return abs(float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))) / 2


def painted(points: np.ndarray, side: int = 100, fine: int = 8) -> float:
    """Area inside the frame, counted in fractions of pixels."""
    picture = Image.new("1", (3 * side * fine, 3 * side * fine))
    ImageDraw.Draw(picture).polygon([((x + side) * fine, (y + side) * fine) for x, y in points], fill=1)
    return float(np.asarray(picture)[side * fine : 2 * side * fine, side * fine : 2 * side * fine].sum()) / fine**2


def test_points_move_as_the_matrix_says():
    assert move(np.array([[1.0, 2.0], [0.0, 0.0]]), SHIFT).tolist() == [[7.0, -1.0], [5.0, -7.0]]
    assert move(np.zeros((4, 3, 2)), SHIFT).shape == (4, 3, 2)
    assert move(np.zeros((0, 2)), SHIFT).shape == (0, 2)


def test_boxes_keep_left_below_right_when_mirrored():
    assert warp_boxes(np.array([[10.0, 20, 30, 50]]), MIRROR, (100, 100)).tolist() == [[70, 20, 90, 50]]


def test_boxes_are_clipped_on_every_side():
    boxes = np.array([[-5.0, -6, 120, 130], [200, 0, 210, 10], [-9, -9, -1, -1]])
    expected = [[0, 0, 100, 80], [100, 0, 100, 10], [0, 0, 0, 0]]
    assert warp_boxes(boxes, np.eye(3), (100, 80)).tolist() == expected
    assert warp_boxes(np.zeros((0, 4)), SHIFT, (100, 80)).shape == (0, 4)


@settings(derandomize=True, deadline=None)
@given(
    centre=st.tuples(st.floats(-30, 130), st.floats(-30, 130)), reach=st.lists(st.floats(3, 70), min_size=3, max_size=9)
)
def test_the_clipped_area_equals_that_of_painted_pixels(centre, reach):
    """Star-shaped outlines, convex or not, whose clipped parts may hang together along the border."""
    angles = np.linspace(0, 2 * np.pi, len(reach), endpoint=False)
    polygon = np.array(centre) + np.array(reach)[:, None] * np.column_stack([np.cos(angles), np.sin(angles)])
    clipped = clip_polygon(polygon, (100.0, 100.0))
    around = np.hypot(*(np.roll(polygon, -1, 0) - polygon).T).sum()
    assert (area(clipped) if len(clipped) else 0.0) == pytest.approx(painted(polygon), abs=around / 8 + 0.1)


@settings(derandomize=True, deadline=None)
@given(points=st.lists(st.tuples(finite, finite), min_size=1, max_size=8))
def test_any_polygon_ends_up_inside_and_clipping_again_changes_nothing(points):
    polygon = np.array(points)
    before = polygon.copy()
    clipped = clip_polygon(polygon, (100.0, 60.0))
    assert clipped.shape[1:] == (2,)
    assert (clipped >= 0).all() and (clipped <= (100, 60)).all()
    assert np.array_equal(clip_polygon(clipped, (100.0, 60.0)), clipped)
    assert np.array_equal(polygon, before)


def test_a_polygon_inside_stays_and_one_outside_goes():
    inside = np.array([[0.0, 0.0], [100.0, 0.0], [50.0, 60.0]])
    assert np.array_equal(clip_polygon(inside, (100.0, 60.0)), inside)
    assert clip_polygon(inside + 200, (100.0, 60.0)).shape == (0, 2)
    assert clip_polygon(np.zeros((0, 2)), (100.0, 60.0)).shape == (0, 2)


def test_corners_are_cut_to_the_frame():
    square = np.array([[-10.0, -10.0], [20.0, -10.0], [20.0, 20.0], [-10.0, 20.0]])
    clipped = clip_polygon(square, (100.0, 100.0))
    assert sorted(map(tuple, clipped.tolist())) == [(0, 0), (0, 20), (20, 0), (20, 20)]
