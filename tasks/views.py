"""Views of single objects, for tasks that look at each of them apart."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

import numpy as np

from ..annotations import Boxes
from ..task import View
from .noise import jittered

B = TypeVar("B", bound=Boxes)


def object_views(objects: Boxes, scale: float) -> list[View]:
    """A view of each object, with sides `scale` times those of its box (Pix2Seq v2, arXiv 2206.07669, section 3.2)."""
    return [
        View(around(objects.xyxy[i].tolist(), scale), {objects.kind: objects.take([i])}) for i in range(len(objects))
    ]


def around(box: list[float], scale: float) -> tuple[float, float, float, float]:
    """The box xyxy with its sides `scale` times as long, about the same middle."""
    x0, y0, x1, y1 = box
    across, down = (x1 - x0) * (scale - 1) / 2, (y1 - y0) * (scale - 1) / 2
    return x0 - across, y0 - down, x1 + across, y1 + down


def some(objects: B, most: int, jitter: float, rng: np.random.Generator) -> B:
    """At most `most` of the objects, with each edge of their boxes moved by up to `jitter` of its side."""
    chosen = objects.take(rng.permutation(len(objects))[:most])
    return replace(chosen, xyxy=jittered(chosen.xyxy, jitter, rng))
