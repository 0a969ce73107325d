"""`mtp data stats`: what a data set holds, in numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...annotations import Annotation, Boxes, Captions, Keypoints, Polygons
from ...example import Example
from ..dataset import Dataset

SIZES = {"small": 0.0, "medium": 32.0**2, "large": 96.0**2}  # COCO's classes by the least area in square pixels
OBJECTS = (Boxes.kind, Polygons.kind, Keypoints.kind)  # objects are counted by the first that an image has


@dataclass
class Statistics:
    """Numbers of one split."""

    images: int = 0
    kinds: Counter[str] = field(default_factory=Counter)  # images annotated with each kind
    categories: dict[str, int] = field(default_factory=dict)  # objects of each, in the order of their ids
    crowds: int = 0
    sides: list[tuple[int, int]] = field(default_factory=list)  # (width, height) of each image
    objects: list[int] = field(default_factory=list)  # on each image that is annotated for them
    areas: list[float] = field(default_factory=list)  # of each object in square pixels
    shares: list[float] = field(default_factory=list)  # of the image, that each object takes
    points: dict[str, list[int]] = field(default_factory=dict)  # how often each has visibility 0, 1, 2
    captions: list[int] = field(default_factory=list)  # words of each caption

    def sizes(self) -> dict[str, int]:
        """Objects by COCO's classes of size."""
        counts = Counter(size_class(area) for area in self.areas)
        return {name: counts[name] for name in SIZES}

    def to_json(self) -> dict[str, Any]:
        widths, heights = ([size[axis] for size in self.sides] for axis in (0, 1))
        return {
            "images": self.images,
            "kinds": dict(self.kinds),
            "objects": sum(self.objects),
            "crowds": self.crowds,
            "objects_per_image": spread(self.objects),
            "categories": self.categories,
            "object_sizes": self.sizes(),
            "object_share_of_image": spread(self.shares),
            "image_width": spread(widths),
            "image_height": spread(heights),
            "keypoint_visibility": self.points,
            "captions": len(self.captions),
            "caption_words": spread(self.captions),
        }


def size_class(area: float) -> str:
    """COCO's name for an area in square pixels."""
    return [name for name, least in SIZES.items() if area >= least][-1]


def spread(values: Sequence[float]) -> dict[str, float]:
    """Least, middle, 95th percentile and most; nothing of no values."""
    if not len(values):
        return {}
    found = np.quantile(np.asarray(values, dtype=np.float64), (0, 0.5, 0.95, 1), method="higher").tolist()
    return dict(zip(("min", "median", "p95", "max"), found, strict=True))


def measure(dataset: Dataset) -> Statistics:
    """The numbers of a data set; no pixels are read."""
    found = Statistics(len(dataset), categories={category.name: 0 for category in dataset.info.categories})
    found.points = {name: [0, 0, 0] for name in dataset.info.skeleton.names}
    for i in range(len(dataset)):
        example = dataset[i]
        found.kinds.update(example.annotations.keys())
        found.sides.append((int(example.size[0]), int(example.size[1])))
        _add_objects(found, example)
        for annotation in example.annotations.values():
            _add_others(found, annotation)
    return found


def _add_objects(found: Statistics, example: Example) -> None:
    objects = objects_of(example.annotations)
    if objects is None:
        return
    found.objects.append(len(objects))
    found.crowds += int(objects.crowd.sum())
    for label, area in zip(objects.labels, objects.areas.tolist(), strict=True):
        found.categories[label] = found.categories.get(label, 0) + 1
        found.areas.append(area)
        found.shares.append(min(1.0, area / (example.size[0] * example.size[1])))


def objects_of(annotations: Mapping[str, Annotation]) -> Boxes | None:
    """The objects of an image; None where it is not annotated for any."""
    known = next((annotations[kind] for kind in OBJECTS if kind in annotations), None)
    return known if isinstance(known, Boxes) else None


def _add_others(found: Statistics, annotation: Annotation) -> None:
    if isinstance(annotation, Captions):
        found.captions += [len(text.split()) for text in annotation.texts]
    if isinstance(annotation, Keypoints):
        for name, seen in zip(annotation.skeleton.names, annotation.visibility.T, strict=True):
            for value in seen.tolist():
                found.points[name][value] += 1
