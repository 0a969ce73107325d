"""Noise boxes for sequence augmentation (Pix2Seq, arXiv 2109.10852, section 3.3; counts as in the original code)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def noise_boxes(xyxy: Array, count: int, size: tuple[float, float], jitter: float, rng: np.random.Generator) -> Array:
    """`count` boxes (count, 4) in the unit square, clipped to [0, width] x [0, height] of `size`.

    Some are real boxes with jittered edges, so many as a uniform draw says; the others, shuffled, are half real boxes
    moved to a random place and half random boxes. Without real boxes all are random.
    """
    duplicates = int(rng.integers(0, count + 1)) if len(xyxy) else 0
    bad = count - duplicates
    candidates = random_boxes(bad, size, rng)
    if len(xyxy):
        candidates = rng.permutation(np.concatenate([candidates, moved(tiled(xyxy, bad, rng), size, rng)]))[:bad]
    boxes = rng.permutation(np.concatenate([jittered(tiled(xyxy, duplicates, rng), jitter, rng), candidates]))
    return boxes.clip(0.0, np.array([*size, *size]))


def tiled(xyxy: Array, count: int, rng: np.random.Generator) -> Array:
    """The boxes in random order, repeated until there are `count`."""
    if not count:
        return np.zeros((0, 4))
    order = rng.permutation(len(xyxy))
    return xyxy[np.resize(order, count)]


def jittered(xyxy: Array, jitter: float, rng: np.random.Generator) -> Array:
    """Every edge moved by up to `jitter` of its side: a normal of half that deviation, cut at two deviations."""
    sides = np.tile(xyxy[:, 2:] - xyxy[:, :2], 2)
    return xyxy + sides * truncated_normal(xyxy.shape, jitter / 2, rng)


def moved(xyxy: Array, size: tuple[float, float], rng: np.random.Generator) -> Array:
    """The same widths and heights about centres uniform in the picture."""
    return _about(rng.random((len(xyxy), 2)) * size, xyxy[:, 2:] - xyxy[:, :2])


def random_boxes(count: int, size: tuple[float, float], rng: np.random.Generator) -> Array:
    """Centres uniform in the picture, sides |normal(0, 0.5)| cut at two deviations, as fractions of the picture."""
    return _about(rng.random((count, 2)) * size, np.abs(truncated_normal((count, 2), 0.5, rng)) * size)


def truncated_normal(shape: tuple[int, ...], deviation: float, rng: np.random.Generator) -> Array:
    """Normal values redrawn until they lie within two deviations."""
    values = rng.standard_normal(shape)
    while (far := np.abs(values) > 2).any():
        values[far] = rng.standard_normal(int(far.sum()))
    return values * deviation


def _about(centres: Array, sides: Array) -> Array:
    return np.concatenate([centres - sides / 2, centres + sides / 2], axis=1)
