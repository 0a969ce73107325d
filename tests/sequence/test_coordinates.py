from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multitask.sequence.coordinates import bins_to_boxes, boxes_to_bins, dequantize, quantize

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "quantize.json").read_text())
FLOAT32 = 2.0**-23
unit = st.floats(0.0, 1.0)
sizes = st.integers(2, 4000)


@pytest.mark.parametrize("case", GOLDEN["cases"], ids=lambda case: f"{case['bins']} bins")
def test_the_original_quantizes_alike(case: dict):
    assert quantize(case["x"], case["bins"]).tolist() == case["tokens"]
    np.testing.assert_allclose(dequantize(case["tokens"], case["bins"]), case["dequantized"], rtol=0, atol=1e-7)


@settings(derandomize=True, deadline=None, max_examples=500)
@given(unit, sizes)
def test_a_round_trip_errs_by_half_a_bin_at_most(x: float, bins: int):
    error = abs(float(dequantize(quantize(x, bins), bins)) - x)
    assert error <= 0.5 / (bins - 1) + 2 * FLOAT32


@settings(derandomize=True, deadline=None)
@given(st.data(), sizes)
def test_a_bin_comes_back(data: st.DataObject, bins: int):
    number = data.draw(st.integers(0, bins - 1))
    assert quantize(dequantize(number, bins), bins) == number


@settings(derandomize=True, deadline=None)
@given(st.floats(-1e6, 1e6), sizes)
def test_naive_reference(x: float, bins: int):
    exact = np.float32(x) * np.float32(bins - 1)
    assert quantize(x, bins) == min(max(round(float(exact)), 0), bins - 1)  # Python rounds half to even


def test_half_goes_to_the_even_bin_and_the_border_saturates():
    assert quantize([0.5, 2.5 / 8, 3.5 / 8], 9).tolist() == [4, 2, 4]
    assert quantize(0.5, 1000) == 500
    assert quantize([-3.0, -0.0, 1.0, 1.5], 100).tolist() == [0, 0, 99, 99]


def test_boxes_are_written_y_first():
    assert boxes_to_bins(np.array([[0.1, 0.2, 0.3, 0.4]]), 11).tolist() == [[2, 1, 4, 3]]
    np.testing.assert_allclose(bins_to_boxes([[2, 1, 4, 3]], 11), [[0.1, 0.2, 0.3, 0.4]], atol=1e-7)


@settings(derandomize=True, deadline=None, max_examples=300)
@given(st.lists(st.tuples(unit, unit, unit, unit), max_size=20), sizes)
def test_boxes_survive_up_to_half_a_bin(corners: list, bins: int):
    corners = np.array(corners).reshape(-1, 2, 2)
    boxes = np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1)
    again = bins_to_boxes(boxes_to_bins(boxes, bins), bins)
    assert again.shape == boxes.shape
    assert np.abs(again - boxes).max(initial=0.0) <= 0.5 / (bins - 1) + 2 * FLOAT32


@settings(derandomize=True, deadline=None)
@given(st.lists(st.tuples(*[st.floats(-1e7, 1e7)] * 4), max_size=5), sizes)
def test_any_numbers_become_boxes_in_the_unit_square_with_ordered_corners(numbers: list, bins: int):
    boxes = bins_to_boxes(np.array(numbers).reshape(-1, 4), bins)
    assert ((boxes >= 0) & (boxes <= 1)).all()
    assert (boxes[:, :2] <= boxes[:, 2:]).all()


def test_fractions_of_a_bin_count():
    np.testing.assert_allclose(bins_to_boxes([0.0, 2.25, 10.0, 7.5], 11), [0.225, 0.0, 0.75, 1.0], atol=1e-7)
