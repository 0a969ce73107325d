"""Coordinates as tokens (Pix2Seq, arXiv 2109.10852, section 3.1): the unit interval in equal bins.

The largest round-trip error is half a bin, 0.5 / (bins - 1) of the side.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def quantize(values: ArrayLike, bins: int) -> NDArray[np.int64]:
    """Bin of each coordinate in [0, 1]; rounds half to even in float32 as the original does, and saturates outside."""
    scaled = np.asarray(values, dtype=np.float32) * np.float32(bins - 1)
    return np.clip(np.round(scaled), 0, bins - 1).astype(np.int64)


def dequantize(bin_numbers: ArrayLike, bins: int) -> NDArray[np.float32]:
    """Coordinate in [0, 1] of each bin; a fraction between two bins is allowed (an expected bin)."""
    return np.asarray(bin_numbers, dtype=np.float32) / np.float32(bins - 1)


def boxes_to_bins(xyxy: NDArray[np.float64], bins: int) -> NDArray[np.int64]:
    """Boxes (..., 4) in the unit square as (ymin, xmin, ymax, xmax) bins."""
    return quantize(xyxy[..., [1, 0, 3, 2]], bins)


def bins_to_boxes(yxyx: ArrayLike, bins: int) -> NDArray[np.float64]:
    """(ymin, xmin, ymax, xmax) bins (..., 4) as xyxy boxes in the unit square, corners put in order."""
    unit = np.clip(dequantize(yxyx, bins), 0.0, 1.0).astype(np.float64)
    corners = unit[..., [1, 0, 3, 2]]
    low, high = np.minimum(corners[..., :2], corners[..., 2:]), np.maximum(corners[..., :2], corners[..., 2:])
    return np.concatenate([low, high], axis=-1)


def points_to_bins(points: NDArray[np.float64], bins: int) -> NDArray[np.int64]:
    """Points (..., 2) xy in the unit square as (y, x) bins."""
    return quantize(points[..., ::-1], bins)


def bins_to_points(yx: ArrayLike, bins: int) -> NDArray[np.float64]:
    """(y, x) bins (..., 2), fractions allowed, as points xy in the unit square."""
    return np.clip(dequantize(yx, bins), 0.0, 1.0).astype(np.float64)[..., ::-1]
