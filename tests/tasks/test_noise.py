from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multitask.tasks import noise
from multitask.tasks.noise import jittered, moved, noise_boxes, random_boxes, tiled, truncated_normal

REAL = np.array([[0.1, 0.2, 0.3, 0.5], [0.4, 0.1, 0.9, 0.2], [0.05, 0.6, 0.15, 0.95]])
SIZE = (1.0, 0.75)
unit = st.floats(0.0, 1.0)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@settings(derandomize=True, deadline=None)
@given(st.lists(st.tuples(unit, unit, unit, unit), max_size=8), st.integers(0, 100), st.integers(0, 2**32), unit, unit)
def test_as_many_as_asked_inside_the_picture_and_never_turned(corners, count, seed, width, height):
    pairs = np.array(corners).reshape(-1, 2, 2) * (width, height)
    real = np.concatenate([pairs.min(axis=1), pairs.max(axis=1)], axis=1)
    boxes = noise_boxes(real, count, (width, height), 0.1, rng(seed))
    assert boxes.shape == (count, 4)
    assert (boxes >= 0).all() and (boxes <= [width, height, width, height]).all()
    assert (boxes[:, :2] <= boxes[:, 2:]).all()


def test_the_same_generator_gives_the_same_boxes_and_the_real_ones_stay():
    before = REAL.copy()
    one, two = (noise_boxes(REAL, 20, SIZE, 0.1, rng(3)) for _ in range(2))
    np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(REAL, before)


def test_half_of_the_boxes_are_duplicates_on_average(monkeypatch: pytest.MonkeyPatch):
    counts: list[int] = []
    monkeypatch.setattr(noise, "jittered", lambda xyxy, jitter, rng: counts.append(len(xyxy)) or xyxy)
    for seed in range(2000):
        noise_boxes(REAL, 10, SIZE, 0.1, rng(seed))
    shares = np.bincount(counts, minlength=11) / 2000
    np.testing.assert_allclose(shares, 1 / 11, atol=0.025)  # uniform from none to all of them


def test_of_the_others_half_are_moved_and_half_random(monkeypatch: pytest.MonkeyPatch):
    mark = np.full(4, 0.5)
    monkeypatch.setattr(noise, "jittered", lambda xyxy, jitter, rng: np.zeros_like(xyxy))
    monkeypatch.setattr(noise, "moved", lambda xyxy, size, rng: np.tile(mark, (len(xyxy), 1)))
    monkeypatch.setattr(noise, "random_boxes", lambda count, size, rng: np.tile(mark / 2, (count, 1)))
    boxes = np.concatenate([noise_boxes(REAL, 20, SIZE, 0.1, rng(seed)) for seed in range(300)])
    assert (boxes == mark).all(axis=1).sum() == pytest.approx((boxes == mark / 2).all(axis=1).sum(), rel=0.05)


def test_without_real_boxes_all_are_random(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(noise, "random_boxes", lambda count, size, rng: np.full((count, 4), 0.25))
    assert (noise_boxes(np.zeros((0, 4)), 7, SIZE, 0.1, rng()) == 0.25).all()


def test_noise_is_shuffled():
    order = [noise_boxes(REAL[:1], 2, SIZE, 1e-9, rng(seed)) for seed in range(60)]
    near = [np.abs(boxes - REAL[0]).max(axis=1) < 1e-6 for boxes in order]
    single = [tuple(n) for n in near if n.sum() == 1]
    assert set(single) == {(True, False), (False, True)}


def test_tiles_are_fair():
    found = tiled(REAL, 8, rng())
    counts = [(found == real).all(axis=1).sum() for real in REAL]
    assert sorted(counts) == [2, 3, 3]
    assert {tuple(tiled(REAL, 1, rng(seed))[0]) for seed in range(40)} == set(map(tuple, REAL))
    assert tiled(REAL, 0, rng()).shape == (0, 4) == tiled(np.zeros((0, 4)), 0, rng()).shape


def test_edges_move_by_a_tenth_of_the_side_at_most():
    many = np.repeat(REAL, 3000, axis=0)
    shifts = (jittered(many, 0.1, rng()) - many) / np.tile(many[:, 2:] - many[:, :2], 2)
    assert 0.099 < np.abs(shifts).max() <= 0.1 + 1e-12
    np.testing.assert_allclose(shifts.mean(axis=0), 0, atol=0.002)
    np.testing.assert_allclose(shifts.std(axis=0), 0.05 * 0.8796, rtol=0.03)  # a normal cut at two deviations
    assert np.abs(np.corrcoef(shifts.T) - np.eye(4)).max() < 0.05  # every edge on its own


def test_moved_boxes_keep_their_sides_and_have_centres_everywhere():
    many = np.repeat(REAL, 3000, axis=0)
    found = moved(many, SIZE, rng())
    np.testing.assert_allclose(found[:, 2:] - found[:, :2], many[:, 2:] - many[:, :2])
    centres = (found[:, :2] + found[:, 2:]) / 2
    assert (centres >= 0).all() and (centres <= SIZE).all()
    np.testing.assert_allclose(centres.mean(axis=0), np.array(SIZE) / 2, rtol=0.03)
    np.testing.assert_allclose(centres.std(axis=0), np.array(SIZE) / 12**0.5, rtol=0.03)


def test_random_boxes_have_sides_in_parts_of_the_picture():
    found = random_boxes(9000, SIZE, rng())
    sides = (found[:, 2:] - found[:, :2]) / SIZE
    assert (sides >= 0).all() and (sides <= 1).all()
    half = 0.5 * np.sqrt(2 / np.pi) * (1 - np.exp(-2)) / 0.9545  # mean of |normal(0, 0.5)| cut at two deviations
    np.testing.assert_allclose(sides.mean(axis=0), half, rtol=0.03)


def test_truncated_normal():
    values = truncated_normal((20000,), 0.5, rng())
    assert 0.99 < np.abs(values).max() <= 1.0
    assert values.std() == pytest.approx(0.5 * 0.8796, rel=0.03)
    assert truncated_normal((0, 2), 0.5, rng()).shape == (0, 2)
