"""Outlines as the run-length masks that COCO compares, and which of them native code must not see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

MAX_SIDES, MAX_LENGTH = 16, 1_000_000  # image sides an outline may reach, its pixels: native code takes memory for each
Size = tuple[float, float]  # (width, height)


def height_width(size: Size) -> list[int]:
    """Whole pixels."""
    return [round(size[1]), round(size[0])]


def part_problem(part: NDArray[np.float64], size: Size, predicted: bool) -> str:
    """What is wrong with an outline (P, 2), or nothing."""
    if len(strange := part[~(np.abs(part) <= MAX_SIDES * max(size))]):  # nan too
        return f"an outline with {strange[0]}; it must be finite and within {MAX_SIDES} image sides"
    if len(part) and np.abs(part - np.roll(part, 1, axis=0)).max(axis=1).sum() > MAX_LENGTH:
        return f"an outline longer than {MAX_LENGTH} pixels; remove points that go to and fro"
    return "" if predicted or len(part) >= 3 else f"an outline with {len(part)} points; it needs 3"


def run_lengths(
    parts: Sequence[NDArray[np.float64]], mask: Mapping[str, Any] | None, height: int, width: int
) -> Mapping[str, Any]:
    """The packed mask of all that the outlines (P, 2) cover where there is no `mask`; empty without either."""
    corners = [part.reshape(-1).tolist() for part in parts if len(part) >= 3]
    if mask is None and corners:
        return dict(coco_mask.merge(coco_mask.frPyObjects(corners, height, width)))
    found: Mapping[str, Any] = mask or {"size": [height, width], "counts": [height * width]}
    return coco_mask.frPyObjects(found, height, width) if isinstance(found["counts"], list) else found
