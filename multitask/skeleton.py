"""The named points that objects of some categories have: how they are joined, mirrored and scored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from .yamlio import Section

DEFAULT_SIGMA = 0.05  # of a point that nobody has measured: between COCO's eyes (0.025) and ankles (0.089)

Pairs = Annotated[tuple[Annotated[tuple[int, int], Field(strict=False)], ...], Field(strict=False)]


class Skeleton(Section):
    """K named points. Pairs are positions among the names, from 0."""

    names: Annotated[tuple[str, ...], Field(strict=False)] = Field((), description="names of the points, in order")
    edges: Pairs = Field((), description="points that are joined in pictures")
    flip_pairs: Pairs = Field((), description="left and right partners, which a mirror image swaps")
    sigmas: Annotated[tuple[float, ...], Field(strict=False)] = Field(
        (), description="spread of each point, for the object keypoint similarity; filled with 0.05"
    )
    categories: Annotated[tuple[str, ...], Field(strict=False)] = Field(
        (), description="categories that have these points"
    )

    @model_validator(mode="before")
    @classmethod
    def _all_sigmas(cls, values: object) -> object:
        if isinstance(values, dict) and not values.get("sigmas") and isinstance(values.get("names"), list | tuple):
            return {**values, "sigmas": (DEFAULT_SIGMA,) * len(values["names"])}
        return values

    @model_validator(mode="after")
    def _fitting(self) -> Self:
        count = len(self.names)
        for name, pairs in ("edges", self.edges), ("flip_pairs", self.flip_pairs):
            for pair in pairs:
                if not all(0 <= point < count for point in pair):
                    raise ValueError(f"{name}: {pair} is not a pair of the points 0 to {count - 1}")
        if len(set(self.names)) < count:
            raise ValueError(f"names: a name occurs twice in {self.names}")
        if len({point for pair in self.flip_pairs for point in pair}) < 2 * len(self.flip_pairs):
            raise ValueError(f"flip_pairs: a point has two partners in {self.flip_pairs}")
        if len(self.sigmas) != count or not all(0 < sigma < 10 for sigma in self.sigmas):
            raise ValueError(f"sigmas: expected {count} numbers above 0, one for each point, got {self.sigmas}")
        return self

    def __len__(self) -> int:
        return len(self.names)

    def mirrored(self) -> list[int]:
        """For each point the one whose place it takes in a mirror image."""
        order = list(range(len(self)))
        for left, right in self.flip_pairs:
            order[left], order[right] = right, left
        return order

    def to_json(self, xy: Sequence[Any], visibility: Sequence[int], scores: Sequence[float]) -> list[dict[str, Any]]:
        """Points of one object by name; a number stands for a name that is not known."""
        names = self.names or [str(number) for number in range(len(xy))]
        rows = zip(names, xy, visibility, scores, strict=True)
        return [{"name": name, "xy": p, "visibility": v, "score": s} for name, p, v, s in rows]


def partners_by_name(names: Sequence[str]) -> tuple[tuple[int, int], ...]:
    """Points whose names differ in `left` and `right` alone, as positions; each has one partner."""
    taken: set[str] = set()
    pairs = []
    for left in names:
        right = left.replace("left", "right", 1)
        if left != right and right in names and not taken & {left, right}:
            taken |= {left, right}
            pairs.append((names.index(left), names.index(right)))
    return tuple(pairs)


_SIDES = ("eye", "ear", "shoulder", "elbow", "wrist", "hip", "knee", "ankle")
COCO_PERSON = Skeleton(
    names=("nose", *(f"{side}_{part}" for part in _SIDES for side in ("left", "right"))),
    edges=(
        (15, 13), (13, 11), (16, 14), (14, 12), (11, 12), (5, 11), (6, 12), (5, 6), (5, 7), (6, 8), (7, 9), (8, 10),
        (1, 2), (0, 1), (0, 2), (1, 3), (2, 4), (3, 5), (4, 6),
    ),
    flip_pairs=tuple((i, i + 1) for i in range(1, 17, 2)),
    sigmas=tuple(s / 1000 for s in (26, 25, 25, 35, 35, 79, 79, 72, 72, 62, 62, 107, 107, 87, 87, 89, 89)),
    categories=("person",),
)  # fmt: skip
