"""`shapes` version 1, the embedded data set: drawn scenes with boxes, outlines, keypoints and captions, without end.

Frozen: docs/shapes.md describes it, a test holds its checksums, and any change of a scene is a new version. A scene is
a function of (seed, split, index) alone, on every machine: it is built from `random()` and `integers()` of PCG64 and
from outlines that are exact (outlines.py).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..annotations import Annotation, Boxes, Captions, Keypoints, Polygons
from ..errors import UsageError, nearest
from ..example import Example
from ..geometry import FloatArray, clip_polygon
from ..skeleton import Skeleton
from ..task import Category, DatasetInfo
from .faults import Fault
from .outlines import area, figure, fill, solid

VERSION = 1
SIDE = 128  # pixels
SPLITS = {"train": 2**17, "val": 200, "test": 200}  # default sizes
NAMES = ("disc", "rectangle", "triangle", "star", "figure")
COLOURS = {
    "red": (214, 44, 48),
    "green": (40, 158, 70),
    "blue": (42, 96, 214),
    "yellow": (248, 214, 52),
    "purple": (142, 62, 186),
    "orange": (246, 132, 30),
}
# A figure faces the viewer: its left hand is on the right of the picture.
POINTS = (
    "head", "neck", "hip", "left_elbow", "right_elbow", "left_hand", "right_hand", "left_foot", "right_foot",
)  # fmt: skip
INFO = DatasetInfo(
    name="shapes",
    categories=tuple(Category(i, name) for i, name in enumerate(NAMES, 1)),
    skeleton=Skeleton(
        names=POINTS,
        edges=((0, 1), (1, 2), (1, 3), (3, 5), (1, 4), (4, 6), (2, 7), (2, 8)),
        flip_pairs=((3, 4), (5, 6), (7, 8)),
        sigmas=(0.08,) * len(POINTS),
        categories=("figure",),
    ),
)
KINDS = frozenset({"boxes", "polygons", "keypoints", "captions"})
MOST = 6  # objects in a scene
VISIBLE = 0.75  # least visible fraction of an object
TRIES = 20  # positions tried for an object before it is left out
_MARGIN = 32  # border of the label map: what lies there is outside the picture
_WIDTH = SIDE + 2 * _MARGIN
_OUTSIDE = 255


@dataclass(frozen=True, eq=False)
class _Thing:
    name: str
    colour: str
    parts: list[FloatArray]  # outlines (P, 2), clipped to the picture
    points: FloatArray | None  # (9, 2) of a figure
    visibility: NDArray[np.int64] | None


def _snap(points: FloatArray) -> FloatArray:
    """To sixteenths of a pixel: exact in binary, so rasterising has nothing left to round."""
    return np.round(points * 16) / 16


def _inside(part: FloatArray) -> FloatArray:
    return part if part.min() >= 0 and part.max() <= SIDE else clip_polygon(part, (SIDE, SIDE))


def _place(labels: NDArray[np.uint8], number: int, rng: np.random.Generator) -> _Thing | None:
    """Put a random object behind those that `labels`, flat (_WIDTH squared,), already shows; None if it has no room."""
    name, colour = NAMES[rng.integers(len(NAMES))], list(COLOURS)[rng.integers(len(COLOURS))]
    parts, points = figure(rng) if name == "figure" else (solid(name, rng), None)
    parts = [_snap(part) for part in parts]
    reach = np.concatenate(parts).max(axis=0) * (0.75 if rng.random() < 0.25 else 1.0)  # some stick out by an eighth
    rows, columns = fill(parts)
    pixels = rows * _WIDTH + columns
    for _ in range(TRIES):
        centre = np.array([rng.integers(int(r), SIDE - int(r) + 1) for r in reach])
        where = pixels + int(centre[1] + _MARGIN) * _WIDTH + int(centre[0] + _MARGIN)
        free = where[labels[where] == 0]
        if len(free) >= VISIBLE * len(where):
            points = None if points is None else _snap(points + centre)
            visibility = None if points is None else _visibility(labels, points)
            labels[free] = number
            clipped = [_inside(part + centre) for part in parts]
            return _Thing(name, colour, [p for p in clipped if len(p) >= 3], points, visibility)
    return None


def _visibility(labels: NDArray[np.uint8], points: FloatArray) -> NDArray[np.int64]:
    """2 where nothing lies in front of a point, 1 where something does, 0 outside the picture."""
    cells = np.floor(points).astype(np.int64) + _MARGIN
    front = labels[cells[:, 1] * _WIDTH + cells[:, 0]]
    return np.where(front == _OUTSIDE, 0, np.where(front > 0, 1, 2))


def _compose(rng: np.random.Generator) -> tuple[list[_Thing], NDArray[np.uint8]]:
    """The objects, front to back, and the label map (SIDE, SIDE) that says whose each pixel is: 0 background, 1 … n."""
    labels = np.full((_WIDTH, _WIDTH), _OUTSIDE, dtype=np.uint8)
    picture = labels[_MARGIN:-_MARGIN, _MARGIN:-_MARGIN]
    picture[:] = 0
    things: list[_Thing] = []
    for _ in range(rng.integers(1, MOST + 1)):
        thing = _place(labels.reshape(-1), len(things) + 1, rng)
        things += [thing] if thing else []
    return things, picture.copy()


def _paint(key: list[int], colours: Sequence[str], labels: NDArray[np.uint8], reduce: int = 1) -> NDArray[np.uint8]:
    """The image (SIDE, SIDE, 3), whatever `reduce`: flat colours, darker rims, a faint gradient and mild noise."""
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([*key, 1])))
    pastel = rng.random() < 0.5
    ground = rng.integers(168, 216) + rng.integers(0, 36, 3) if pastel else np.full(3, rng.integers(72, 232))
    jitter = rng.integers(-14, 15, (len(colours), 3))
    palette = np.concatenate([[ground], np.array([COLOURS[c] for c in colours]) + jitter])
    slope = rng.integers(-16, 17, 2, dtype=np.int16)
    steps = np.arange(SIDE, dtype=np.int16) - SIDE // 2
    noise = rng.integers(0, 256, (SIDE, SIDE), dtype=np.uint8) % np.uint8(11)
    shade = (slope[0] * steps[:, None] + slope[1] * steps) // SIDE + noise - _rims(labels) * np.int16(40)
    shades = np.arange(-64, 25)[:, None]  # every colour in every shade, then one look-up for each pixel
    table = np.clip(palette[:, None] + shades, 0, 255).astype(np.uint8).reshape(-1, 3)
    image: NDArray[np.uint8] = np.take(table, labels * np.int16(len(shades)) + (shade + 59), axis=0)
    return image


def _rims(labels: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Pixels of an object next to a pixel of what lies behind it; objects are numbered from the front."""
    depth = labels - np.uint8(1)  # the background wraps to 255, behind everything
    rims = np.zeros(labels.shape, dtype=bool)
    rims[:-1] |= depth[:-1] < depth[1:]
    rims[1:] |= depth[1:] < depth[:-1]
    rims[:, :-1] |= depth[:, :-1] < depth[:, 1:]
    rims[:, 1:] |= depth[:, 1:] < depth[:, :-1]
    return rims


def _phrase(count: int, name: str, colour: str) -> str:
    number = ("an" if colour[0] in "aeiou" else "a", "two", "three", "four", "five", "six")[count - 1]
    return f"{number} {colour} {name}{'s' if count > 1 else ''}"


def caption(names: Sequence[str], colours: Sequence[str], left: Sequence[bool]) -> str:
    """`"on the left a red disc and two blue stars; on the right a green triangle."`"""
    return "; ".join(half for half in (_half(names, colours, left, side) for side in ("left", "right")) if half) + "."


def _half(names: Sequence[str], colours: Sequence[str], left: Sequence[bool], side: str) -> str:
    things = zip(names, colours, strict=True)
    counts = Counter(thing for thing, here in zip(things, left, strict=True) if here == (side == "left"))
    order = sorted(counts, key=lambda thing: (NAMES.index(thing[0]), list(COLOURS).index(thing[1])))
    phrases = [_phrase(counts[thing], *thing) for thing in order]
    listed = " and ".join(part for part in (", ".join(phrases[:-1]), *phrases[-1:]) if part)
    return f"on the {side} {listed}" if phrases else ""


def _annotate(things: list[_Thing], first_id: int) -> dict[str, Annotation]:
    """What is said about a scene; coordinates in pixels, objects numbered from `first_id`."""
    corners = [np.concatenate(thing.parts) for thing in things]
    common: dict[str, Any] = {
        "xyxy": np.array([[*c.min(axis=0), *c.max(axis=0)] for c in corners]),
        "areas": np.array([sum(area(part) for part in thing.parts) for thing in things]),
        "ids": first_id + np.arange(len(things)),
    }
    names, colours = [thing.name for thing in things], [thing.colour for thing in things]
    left = common["xyxy"][:, [0, 2]].sum(axis=1) < SIDE
    figures = [i for i, name in enumerate(names) if name == "figure"]
    visibility = np.array([things[i].visibility for i in figures], dtype=np.int64).reshape(-1, len(POINTS))
    points = np.array([things[i].points for i in figures]).reshape(-1, len(POINTS), 2)
    return {
        "boxes": Boxes(labels=tuple(names), **common),
        "polygons": Polygons(labels=tuple(names), parts=tuple(tuple(thing.parts) for thing in things), **common),
        "keypoints": Keypoints(
            labels=("figure",) * len(figures),
            points=np.where(visibility[..., None] > 0, points, 0.0),
            visibility=visibility,
            skeleton=INFO.skeleton,
            **{name: values[figures] for name, values in common.items()},
        ),
        "captions": Captions((caption(names, colours, left.tolist()),)),
    }


class ShapesDataset:
    """The first `size` scenes of a split; scene i is the same whatever the size."""

    info = INFO
    faults: Sequence[Fault] = ()

    def __init__(self, split: str = "train", size: int | None = None, seed: int = 0) -> None:
        if split not in SPLITS:
            raise UsageError(f"shapes has no split '{split}'{nearest(split, SPLITS)} (it has {', '.join(SPLITS)})")
        self.split, self.size, self.seed = split, SPLITS[split] if size is None else size, seed

    def __len__(self) -> int:
        return self.size

    @property
    def entries(self) -> int:
        return self.size

    def kinds(self, i: int) -> frozenset[str]:
        return KINDS

    def __getitem__(self, i: int) -> Example:
        i = range(self.size)[i]
        key = [VERSION, self.seed, list(SPLITS).index(self.split), i]
        things, labels = _compose(np.random.Generator(np.random.PCG64(np.random.SeedSequence(key))))
        load = partial(_paint, key, [thing.colour for thing in things], labels)
        return Example(i, f"shapes/{self.split}/{i:06d}", (SIDE, SIDE), _annotate(things, i * MOST), load)
