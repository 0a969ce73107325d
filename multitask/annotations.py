"""What an image is annotated with, and what a task answers: each kind knows how to move, show and tell.

Coordinates are (x, y), x to the right and y down, origin at the top-left corner of the frame. The frame is the
original image in pixels, or the unit square of a view; `size` is always the (width, height) of its valid part.
Names carry the order: `xyxy` is (left, top, right, bottom).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cache
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from .canvas import Canvas as Canvas
from .geometry import FloatArray, Size, clip_polygon, move, rounded, warp_boxes
from .skeleton import Skeleton

ROUNDING = 1e-9  # of the frame's side: a point that is farther outside has left the frame


class Annotation(ABC):
    """One kind of annotation of one image. A plugin may add its own kind by deriving from this class."""

    kind: ClassVar[str]

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def to_json(self) -> Any:
        """A JSON value, coordinates rounded to a hundredth."""

    @classmethod
    @abstractmethod
    def concat(cls, items: Sequence[Self]) -> Self:
        """The answers of several queries about one image as one annotation; `items` is not empty."""

    def warp(self, matrix: FloatArray, size: Size) -> Self:
        """Move by the affine `matrix` (3, 3) and clip to a frame of `size`; the same where nothing has a place."""
        return self

    def answerable(self) -> Self:
        """What of the truth a perfect answer holds; the rest is not asked about."""
        return self

    def draw(self, canvas: Canvas) -> None:
        """Show on a picture; by default as a line of text."""
        canvas.text(f"{self.kind}: {self.to_json()}")


def _pick(values: Any, index: NDArray[np.int64]) -> Any:
    return values[index] if isinstance(values, np.ndarray) else tuple(values[i] for i in index)


def _join(values: Sequence[Any]) -> Any:
    return np.concatenate(values) if isinstance(values[0], np.ndarray) else tuple(v for part in values for v in part)


@dataclass(frozen=True, eq=False)
class Boxes(Annotation):
    """N labelled boxes. Arrays left out are filled: score 1, no crowd, the box's own area, ids 0 … N-1.

    Raises ValueError when lengths differ or a number is not finite.
    """

    kind: ClassVar[str] = "boxes"

    xyxy: FloatArray  # (N, 4)
    labels: tuple[str, ...]  # (N,) category names
    scores: FloatArray = None  # type: ignore[assignment]  # (N,) 1 for ground truth
    crowd: NDArray[np.bool_] = None  # type: ignore[assignment]  # (N,) a group: scored, not trained on
    areas: FloatArray = None  # type: ignore[assignment]  # (N,) as annotated, for size classes
    ids: NDArray[np.int64] = None  # type: ignore[assignment]  # (N,) annotation ids

    def __post_init__(self) -> None:
        xyxy = np.asarray(self.xyxy, dtype=np.float64).reshape(-1, 4)
        n = len(xyxy)
        areas = (xyxy[:, 2] - xyxy[:, 0]) * (xyxy[:, 3] - xyxy[:, 1])
        defaults = {"scores": np.ones(n), "crowd": np.zeros(n, dtype=bool), "areas": areas, "ids": np.arange(n)}
        object.__setattr__(self, "xyxy", xyxy)
        object.__setattr__(self, "labels", tuple(self.labels))
        for name, default in defaults.items():
            given = getattr(self, name)
            object.__setattr__(self, name, default if given is None else np.asarray(given, dtype=default.dtype))
        for name in self._per_instance():
            if len(getattr(self, name)) != n:
                raise ValueError(f"{type(self).__name__}.{name} has {len(getattr(self, name))} entries for {n} boxes")
        if not (np.isfinite(xyxy).all() and np.isfinite(self.scores).all()):
            raise ValueError(f"{type(self).__name__}: boxes and scores must be finite")

    @classmethod
    @cache
    def _per_instance(cls) -> tuple[str, ...]:
        return tuple(f.name for f in fields(cls) if not f.metadata.get("shared"))

    def __len__(self) -> int:
        return len(self.xyxy)

    def take(self, index: Any) -> Self:
        """The instances at `index` (a list of positions or a boolean mask (N,))."""
        index = np.asarray(index)
        rows = np.flatnonzero(index) if index.dtype == bool else index.astype(np.int64)
        if len(rows) == len(self) and (rows == np.arange(len(self))).all():
            return self
        return replace(self, **{name: _pick(getattr(self, name), rows) for name in self._per_instance()})

    @classmethod
    def concat(cls, items: Sequence[Self]) -> Self:
        return replace(items[0], **{n: _join([getattr(item, n) for item in items]) for n in cls._per_instance()})

    def warp(self, matrix: FloatArray, size: Size) -> Self:
        """Boxes without area in the new frame are dropped."""
        scale = abs(float(np.linalg.det(matrix[:2, :2])))
        moved = replace(self, xyxy=warp_boxes(self.xyxy, matrix, size), areas=self.areas * scale)
        return moved.take((moved.xyxy[:, 2] > moved.xyxy[:, 0]) & (moved.xyxy[:, 3] > moved.xyxy[:, 1]))

    def answerable(self) -> Self:
        """All but crowds."""
        return self.take(~self.crowd)

    def draw(self, canvas: Canvas) -> None:
        for xyxy, label, score in zip(self.xyxy, self.labels, self.scores, strict=True):
            canvas.box(xyxy, label, float(score))

    def to_json(self) -> Any:
        rows = zip(self.xyxy, self.labels, self.scores, strict=True)
        return [{"label": label, "score": round(float(s), 4), "box_xyxy": rounded(box)} for box, label, s in rows]


@dataclass(frozen=True, eq=False)
class Polygons(Boxes):
    """Boxes with outlines: each instance has any number of parts, or a run-length mask where it has no outline."""

    kind: ClassVar[str] = "polygons"

    parts: tuple[tuple[FloatArray, ...], ...] = ()  # (N,) of parts (P, 2) xy
    masks: tuple[Mapping[str, Any] | None, ...] = None  # type: ignore[assignment]  # (N,) COCO run lengths, or None

    def __post_init__(self) -> None:
        if getattr(self, "masks", None) is None:
            object.__setattr__(self, "masks", (None,) * len(self.parts))
        super().__post_init__()

    def warp(self, matrix: FloatArray, size: Size) -> Self:
        """Outlines are clipped to the frame; an instance with nothing left is dropped.

        A run-length mask belongs to the pixels of the original image, so it does not move: it is left behind.
        """
        parts = tuple(tuple(clip_polygon(move(p, matrix), size) for p in one) for one in self.parts)
        parts = tuple(tuple(p for p in one if len(p) >= 3) for one in parts)
        kept = [bool(new) or not old for new, old in zip(parts, self.parts, strict=True)]
        moved = replace(self, parts=parts, masks=(None,) * len(self)).take(np.array(kept, dtype=bool))
        return super(Polygons, moved).warp(matrix, size)

    def draw(self, canvas: Canvas) -> None:
        for parts, xyxy, label, score in zip(self.parts, self.xyxy, self.labels, self.scores, strict=True):
            for part in parts:
                canvas.polygon(part, label)
            canvas.tag(xyxy[:2], label, float(score))

    def to_json(self) -> Any:
        rows = zip(super().to_json(), self.parts, strict=True)
        return [{**row, "polygons_xy": [rounded(p) for p in one]} for row, one in rows]


@dataclass(frozen=True, eq=False)
class Keypoints(Boxes):
    """Boxes with K named points each; visibility as in COCO: 0 not labelled, 1 hidden, 2 visible.

    An answer may place a point that it takes to be out of sight: visibility 0, and yet coordinates.
    """

    kind: ClassVar[str] = "keypoints"

    points: FloatArray = None  # type: ignore[assignment]  # (N, K, 2) xy
    visibility: NDArray[np.int64] = None  # type: ignore[assignment]  # (N, K)
    point_scores: FloatArray = None  # type: ignore[assignment]  # (N, K) probability of an answer; 1 for ground truth
    skeleton: Skeleton = field(default=Skeleton(), metadata={"shared": True})

    def __post_init__(self) -> None:
        if getattr(self, "point_scores", None) is None:
            object.__setattr__(self, "point_scores", np.ones(np.shape(self.visibility)))
        super().__post_init__()

    def answerable(self) -> Self:
        """All but crowds and objects without a labelled point."""
        return self.take(~self.crowd & (self.visibility > 0).any(axis=1))

    def warp(self, matrix: FloatArray, size: Size) -> Self:
        """Points that leave the frame become not labelled; a mirror image swaps left and right."""
        points, visibility, scores = move(self.points, matrix), self.visibility, self.point_scores
        if float(np.linalg.det(matrix[:2, :2])) < 0 and len(self.skeleton):
            order = self.skeleton.mirrored()
            points, visibility, scores = points[:, order], visibility[:, order], scores[:, order]
        nearest = points.clip(0.0, np.array(size))
        inside = np.all(np.abs(points - nearest) <= ROUNDING * max(size), axis=2)
        points = np.where(inside[..., None], nearest, 0.0)
        moved = replace(self, points=points, visibility=visibility * inside, point_scores=scores)
        return super(Keypoints, moved).warp(matrix, size)

    def draw(self, canvas: Canvas) -> None:
        for points, visibility, label in zip(self.points, self.visibility, self.labels, strict=True):
            canvas.skeleton(points, visibility > 0, self.skeleton, label)

    def to_json(self) -> Any:
        columns = rounded(self.points), self.visibility.tolist(), np.round(self.point_scores, 4).tolist()
        rows = zip(super().to_json(), *columns, strict=True)
        return [{**row, "points": self.skeleton.to_json(*points)} for row, *points in rows]


@dataclass(frozen=True, eq=False)
class Captions(Annotation):
    """Sentences about the whole image."""

    kind: ClassVar[str] = "captions"

    texts: tuple[str, ...]
    scores: tuple[float, ...] = ()  # mean token probability of an answer, empty for ground truth

    def __len__(self) -> int:
        return len(self.texts)

    @classmethod
    def concat(cls, items: Sequence[Self]) -> Self:
        return cls(_join([i.texts for i in items]), _join([i.scores for i in items]))

    def draw(self, canvas: Canvas) -> None:
        for text in self.texts:
            canvas.text(text)

    def to_json(self) -> Any:
        scores = self.scores or (1.0,) * len(self)
        return [{"text": t, "score": round(float(s), 4)} for t, s in zip(self.texts, scores, strict=True)]


@dataclass(frozen=True, eq=False)
class Labels(Annotation):
    """Category names that a question is about: what to look for, what to count."""

    kind: ClassVar[str] = "labels"

    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.names)

    @classmethod
    def concat(cls, items: Sequence[Self]) -> Self:
        return cls(tuple(dict.fromkeys(_join([i.names for i in items]))))

    def to_json(self) -> Any:
        return list(self.names)
