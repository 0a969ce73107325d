"""Instance segmentation: an object, told by its box and category, is outlined (Pix2Seq v2, arXiv 2206.07669).

Five tokens after the task's own say which object is meant: `ymin xmin ymax xmax class`. The answer are the points of
its outline, `y x y x …`, its parts separated by `<part> <part>`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ..annotations import Annotation, Boxes, Polygons
from ..example import Example
from ..sequence.coordinates import bins_to_points, quantize
from ..task import (
    END,
    Annotations,
    Augment,
    DatasetInfo,
    Decoded,
    Grammar,
    Ids,
    Metric,
    Passage,
    Query,
    State,
    Target,
    Task,
    TaskOptions,
    View,
    Vocabulary,
)
from .coco_metrics import MaskAP, Scorer
from .objects import asked_about, known_objects, object_views, question, some
from .outlines import LEAST, Array, averaged, from_top, simplified, spaced, tidied


class SegmentationOptions(TaskOptions):
    """Settings under `tasks.segment`."""

    augment: Augment = Field(Augment(scale=(0.3, 1.0), flip=0.5), description="variation of the training images")
    max_points: int = Field(64, ge=LEAST, le=2048, description="points of an outline; a separator counts as one")
    points: Literal["curvature", "uniform", "given"] = Field(
        "curvature", description="which points: the sharpest corners, evenly spaced ones, or as annotated and cut off"
    )
    start: Literal["random", "top", "given"] = Field("random", description="where an outline begins in training")
    view: Literal["image", "object"] = Field("image", description="what is looked at: all, or what is around the box")
    view_scale: float = Field(
        2.0, ge=1, le=10, description="sides of an object's view as multiples of those of its box"
    )
    coordinates: Literal["box", "view"] = Field("box", description="what coordinates are relative to")
    margin: float = Field(0.1, ge=0, le=2, description="that box is enlarged on each side by this much of its side")
    box_jitter: float = Field(0.05, ge=0, le=0.25, description="largest shift of an edge of the box, in training")
    max_instances: int = Field(10, ge=1, le=1000, description="objects of an image trained on each time it is seen")
    eos_weight: float = Field(1.0, ge=0, description="loss weight of the end of the outline")
    expected: bool = Field(True, description="answer with the mean of the bins about the best one, not with the best")
    window: int = Field(3, ge=0, description="bins on each side that this mean is taken over")
    scorer: Scorer = Field(
        "pycocotools", description="what computes AP; extra `fast`: hotcoco is faster, lvis has its own rules"
    )


class Segmentation(Task):
    """Outlines objects: polygons, category names, scores."""

    name = "segment"
    kinds = ("polygons",)
    requires = ("det",)
    prompt_file = "multitask.prompts/segment.yaml"
    Options = SegmentationOptions
    options: SegmentationOptions

    def tokens(self) -> Sequence[str]:
        return (self.prompt.token, "<part>")

    @property
    def whole_image(self) -> bool:
        return self.options.view == "image"

    def views(self, annotations: Annotations, rng: np.random.Generator | None = None) -> list[View]:
        """The image, or one view an object."""
        if self.whole_image:
            return super().views(annotations, rng)
        objects = known_objects(annotations, self.kinds[0])
        if rng is not None:
            objects = self._some(_outlined(objects), rng)
        return object_views(objects, self.options.view_scale)

    def queries(self, annotations: Annotations, vocab: Vocabulary) -> list[Query]:
        """One question for each object, whatever is known of it besides its box and category."""
        objects = known_objects(annotations, self.kinds[0])
        return [self._query(objects.take([i]), vocab) for i in range(len(objects))]

    def _query(self, one: Boxes, vocab: Vocabulary) -> Query:
        return question(self.prompt, one, one.labels[0], vocab)

    def serialize(self, example: Example, vocab: Vocabulary, rng: np.random.Generator | None) -> list[Target]:
        """One sequence an object that has an outline and is no crowd."""
        objects = _outlined(example.annotations["polygons"])
        if rng is not None and self.whole_image:  # else the view has one already
            moved = self._some(objects, rng)
            objects = replace(moved, xyxy=moved.xyxy.clip(0, np.array([*example.size, *example.size])))
        targets = (self._target(objects.take([i]), vocab, rng) for i in range(len(objects)))
        return [target for target in targets if len(target.tokens)]

    def _some(self, objects: Polygons, rng: np.random.Generator) -> Polygons:
        return some(objects, self.options.max_instances, self.options.box_jitter, rng)

    def _target(self, one: Polygons, vocab: Vocabulary, rng: np.random.Generator | None) -> Target:
        query = self._query(one, vocab)
        low, side = self._frame(one.xyxy[0])
        bins = [quantize((part - low) / side, vocab.bins).astype(np.float64) for part in one.parts[0]]  # (P, 2) xy
        tokens: list[int] = []
        for part in self._outline(bins, rng):
            separator = [vocab.id("<part>")] * 2 if tokens else []
            tokens += [*separator, *(vocab.coord.start + np.round(part[:, ::-1]).astype(np.int64)).reshape(-1)]
        answer = np.array(tokens[: 2 * self.options.max_points], dtype=np.int64)
        weights = np.ones(len(answer), dtype=np.float32)
        annotated = sum(map(len, bins)) + len(bins) - 1  # with a separator before each part but the first
        cut = ("max_points",) if annotated > self.options.max_points else ()
        return Target(query.prompt, answer, weights, None, self.options.eos_weight, query.about, cut)

    def _frame(self, box: Array) -> tuple[Array, Array]:
        """Origin (2,) and sides (2,) of what coordinates are relative to, in the unit square of the view."""
        if self.options.coordinates == "view":
            return np.zeros(2), np.ones(2)
        sides = np.maximum(box[2:] - box[:2], 1e-6)
        return box[:2] - self.options.margin * sides, sides * (1 + 2 * self.options.margin)

    def _outline(self, parts: Sequence[Array], rng: np.random.Generator | None) -> list[Array]:
        """The points to write, part by part; none where nothing is enclosed."""
        options = self.options
        if options.points == "given":
            return [self._begun(part, rng) for part in parts]
        largest = tidied(parts)[: (options.max_points + 1) // (LEAST + 1)]  # with a separator before each but the first
        room = options.max_points - len(largest) + 1
        if not largest:
            return []
        if options.points == "curvature":
            return [self._begun(part, rng) for part in simplified(largest, room)]
        offset = rng.random() if rng is not None and options.start == "random" else 0.0
        return spaced([self._begun(part, rng) for part in largest], room, offset)

    def _begun(self, part: Array, rng: np.random.Generator | None) -> Array:
        """The outline from another point on; its direction stays."""
        if self.options.start == "random" and rng is not None:
            return np.roll(part, int(rng.integers(len(part))), axis=0)
        return from_top(part) if self.options.start == "top" else part

    def grammar(self, query: Query, vocab: Vocabulary) -> Grammar:
        """At least three points, then more of them, the next part, or the end."""
        coord, part = vocab.ids("coord"), Ids.of(vocab.id("<part>"))
        last = 2 * LEAST  # here the part may be over

        def state(*arcs: tuple[Ids, int]) -> State:
            return State(arcs, read=coord, window=self.options.window)

        first = [state((coord, number + 1)) for number in range(last)]
        more = [state((coord, last + 1), (part, last + 2), (Ids.of(vocab.eos), END)), state((coord, last))]
        return Grammar((*first, *more, State(((part, 0),))), 2 * self.options.max_points)

    def deserialize(self, query: Query, samples: Sequence[Decoded], vocab: Vocabulary) -> Annotations:
        """The object asked about with the outline that was written, of several what most of them hold."""
        asked = asked_about(query)
        low, side = self._frame(asked.xyxy[0])
        written = [tuple(np.clip(p * side + low, 0.0, 1.0) for p in self._parts(s, vocab)) for s in samples]
        outline = written[0] if len(written) == 1 else averaged(written)
        return {"polygons": Polygons(**vars(asked), parts=(outline,))}

    def _parts(self, answer: Decoded, vocab: Vocabulary) -> list[Array]:
        """Runs of coordinates with at least three points (P, 2) xy, as fractions of the frame."""
        agree = (answer.tokens == answer.best) & self.options.expected
        bins = np.where(agree, np.nan_to_num(answer.expected), answer.tokens) - vocab.coord.start
        return [bins_to_points(bins[places], vocab.bins) for places in _places(answer, vocab)]

    def passages(self, query: Query, answer: Decoded, vocab: Vocabulary) -> list[Passage]:
        """Each point of the outline."""
        points = [tuple(pair.tolist()) for places in _places(answer, vocab) for pair in places]
        return [Passage(f"point {number}", pair, 0) for number, pair in enumerate(points, 1)]

    def metric(self, dataset: DatasetInfo) -> Metric:
        return MaskAP(dataset, self.options.scorer)


def _places(answer: Decoded, vocab: Vocabulary) -> list[NDArray[np.int64]]:
    """Where in the answer the points (P, 2) yx of each part stand that has enough of them."""
    coordinate = (answer.tokens >= vocab.coord.start) & (answer.tokens < vocab.coord.stop)
    runs = np.split(np.arange(len(coordinate)), np.flatnonzero(np.diff(coordinate)) + 1)
    whole = [run for run in runs if len(run) >= 2 * LEAST and coordinate[run[0]]]
    return [run[: len(run) // 2 * 2].reshape(-1, 2) for run in whole]


def _outlined(polygons: Annotation) -> Polygons:
    """What can be learnt from: no crowds, no run-length masks."""
    assert isinstance(polygons, Polygons)  # noqa: S101  # by its kind
    return polygons.take([bool(parts) and not polygons.crowd[i] for i, parts in enumerate(polygons.parts)])
