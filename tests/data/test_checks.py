"""The rules for values, and that what passes them is safe for native code."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from multitask.data import checks
from multitask.data.faults import Unusable
from multitask.data.paths import file_name

SIZE = (40, 30)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=8) | st.dictionaries(st.sampled_from(["size", "counts", "id"]), inner),
    max_leaves=12,
)
RULES: dict[str, Any] = {
    "box": lambda v: checks.box(v, SIZE),
    "segmentation": lambda v: checks.segmentation(v, SIZE),
    "points": lambda v: checks.points(v, 3, SIZE),
    "identifier": lambda v: checks.identifier(v, "id"),
    "image_id": lambda v: checks.image_id(v, "id"),
    "text": lambda v: checks.text(v, "name"),
    "side": lambda v: checks.side(v, "width"),
    "crowd": checks.crowd,
    "area": checks.area,
    "names": lambda v: checks.names(v, "keypoints"),
    "skeleton": lambda v: checks.skeleton(v, 3),
    "known": lambda v: checks.known(v, "image_id", {1: "one"}),
    "file_name": file_name,
}


@pytest.mark.parametrize("rule", RULES)
@settings(derandomize=True, deadline=None, max_examples=150)
@given(value=ANYTHING)
def test_a_rule_passes_or_says_why(rule: str, value: Any) -> None:
    try:
        RULES[rule](value)
    except Unusable as error:
        fault = error.fault("a.json", "annotation 1")
        lines = str(fault).splitlines()
    else:
        lines = ["passed"]
    assert len(lines) == 1


@settings(derandomize=True, deadline=None, max_examples=300)
@given(st.lists(st.floats(-640, 640) | st.integers(-640, 640), min_size=4, max_size=4))
def test_a_box_that_passes_lies_inside_and_has_area(value: list[float]) -> None:
    try:
        xyxy, clipped = checks.box(value, SIZE)
    except Unusable:
        x, y, w, h = value
        assert (
            w <= 0
            or h <= 0
            or x + w <= 0
            or y + h <= 0
            or x >= 40
            or y >= 30
            or x + w == x
            or y + h == y
            or max(x + w, y + h) <= 1
        )
        return
    assert 0 <= xyxy[0] < xyxy[2] <= 40
    assert 0 <= xyxy[1] < xyxy[3] <= 30
    given_xyxy = np.array([value[0], value[1], value[0] + value[2], value[1] + value[3]])
    assert clipped == (np.abs(given_xyxy - xyxy).max() > 1)


def test_a_box_one_pixel_outside_is_rounding() -> None:
    xyxy, clipped = checks.box([-1, -1, 42, 32], SIZE)
    assert (xyxy.tolist(), clipped) == ([0, 0, 40, 30], False)
    assert checks.box([-1, -1, 42.5, 32], SIZE)[1]


def test_points_outside_lose_their_label() -> None:
    (xy, seen), outside = checks.points([41, 5, 2, 42, 5, 1, 99, 99, 0], 3, SIZE)
    assert (xy.tolist(), seen.tolist(), outside) == ([[40, 5], [0, 0], [0, 0]], [2, 0, 0], True)
    assert not checks.points([1, 1, 2, 2, 2, 1, 99, 99, 0], 3, SIZE)[1]


@settings(derandomize=True, deadline=None, max_examples=300)
@given(st.integers(0, 2**32 - 1), st.floats(0, 1))
def test_packed_runs_unpack_as_pycocotools_packed_them(seed: int, share: float) -> None:
    drawn = (np.random.default_rng(seed).random((30, 40)) < share).astype(np.uint8)
    drawn[15, 20] = 1  # a mask of nothing is refused
    packed = coco_mask.encode(np.asfortranarray(drawn))
    mask = checks.mask({"size": [30, 40], "counts": packed["counts"].decode()}, SIZE)
    ends = np.cumsum(mask["counts"])
    runs = np.repeat(np.arange(len(ends)) % 2, np.diff(ends, prepend=0))
    np.testing.assert_array_equal(runs.reshape(40, 30).T, drawn)


@settings(derandomize=True, deadline=None, max_examples=500)
@given(
    st.text("0123456789:;<=>?@ABCNOPQRSTXYZ[\\]^_`abcmno~", max_size=40) | st.lists(st.integers(-5, 1300), max_size=9)
)
def test_no_run_lengths_that_pass_can_hurt_pycocotools(counts: Any) -> None:
    try:
        mask = checks.mask({"size": [30, 40], "counts": counts}, SIZE)
    except Unusable:
        return
    packed = coco_mask.frPyObjects(mask, 30, 40)
    assert coco_mask.decode(packed).shape == (30, 40)
    assert 0 <= coco_mask.area(packed) <= 1200


@settings(derandomize=True, deadline=None, max_examples=300)
@given(st.lists(st.lists(st.floats(allow_nan=True, allow_infinity=True, width=32), max_size=12), max_size=3))
def test_no_polygons_that_pass_can_hurt_pycocotools(value: Any) -> None:
    try:
        parts, _ = checks.segmentation(value, SIZE)
    except Unusable:
        return
    assert coco_mask.decode(coco_mask.frPyObjects([part.ravel().tolist() for part in parts], 30, 40)).shape[:2] == (
        30,
        40,
    )


def test_numbers_reach_sixteen_sides_and_no_further() -> None:
    assert checks.numbers([640.0, -640], "bbox", SIZE).tolist() == [640, -640]
    with pytest.raises(Unusable, match="reaches further than 16 image sides"):
        checks.numbers([640.1], "bbox", SIZE)


def test_file_names_may_have_folders_and_dots() -> None:
    for name in ("a.png", "sub/a.png", "a..b.png", "./a.png", " a b.png", "日本.png"):
        assert file_name(name) == name
