"""Keypoints: the named points of one object, told by its box and category (Pix2Seq v2, arXiv 2206.07669).

Each object is looked at alone, in a view of twice its box. Five tokens after the task's own say which object is meant,
`ymin xmin ymax xmax class`; the answer is `y x` of every point of the skeleton, `<invisible>` twice where it is not
to be seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator

from ..annotations import Boxes, Keypoints
from ..errors import UsageError
from ..example import Example
from ..sequence.coordinates import bins_to_points, points_to_bins
from ..skeleton import COCO_PERSON
from ..task import (
    Annotations,
    Augment,
    DatasetInfo,
    Decoded,
    Grammar,
    Ids,
    Metric,
    Passage,
    Query,
    Skeleton,
    State,
    Target,
    Task,
    TaskOptions,
    View,
    Vocabulary,
)
from .coco_metrics import KeypointAP, PoseScorer
from .objects import asked_about, known_objects, object_views, question, some

Array = NDArray[np.float64]


class KeypointOptions(TaskOptions):
    """Settings under `tasks.keypoints`; the defaults are the published ones but for flip, jitter and score."""

    augment: Augment = Field(Augment(scale=(0.3, 1.0), flip=0.5), description="variation of the training views")
    skeleton: Skeleton | None = Field(None, description="the points; null: those of the data set, or else COCO's 17")
    view_scale: float = Field(2.0, ge=1, le=10, description="sides of a view as multiples of those of the box")
    box_jitter: float = Field(0.05, ge=0, le=0.25, description="largest shift of an edge of the box, in training")
    max_instances: int = Field(10, ge=1, le=1000, description="objects of an image trained on each time it is seen")
    mask_inputs: bool = Field(True, description="hide a random share of the points from the decoder in training")
    invisible_weight: float = Field(0.1, ge=0, description="loss weight of points that are not to be seen")
    score_weight: float = Field(0.1, ge=0, le=1, description="weight of the points in the score; the rest is the box's")
    expected: bool = Field(True, description="answer with the mean of the bins about the best one, not with the best")
    window: int = Field(3, ge=0, description="bins on each side that this mean is taken over")
    scorer: PoseScorer = Field("pycocotools", description="what computes AP; hotcoco is faster (extra `fast`)")

    @field_validator("skeleton")
    @classmethod
    def _told(cls, skeleton: Skeleton | None) -> Skeleton | None:
        lacking = [key for key in ("names", "categories") if skeleton is not None and not getattr(skeleton, key)]
        if lacking:
            raise ValueError(f"lacks {' and '.join(lacking)}: list the points, and the categories that have them")
        return skeleton


class KeypointDetection(Task):
    """Finds the points of a skeleton: joints of people, landmarks of faces."""

    name = "keypoints"
    kinds = ("keypoints",)
    requires = ("det",)
    prompt_file = "multitask.prompts/keypoints.yaml"
    Options = KeypointOptions
    options: KeypointOptions

    @property
    def skeleton(self) -> Skeleton:
        return self.options.skeleton or COCO_PERSON

    def fitted(self, dataset: DatasetInfo) -> TaskOptions:
        """With the data set's skeleton; one that is given may have other edges and sigmas.

        Raises UsageError where it has other points or partners.
        """
        given, theirs = self.options.skeleton, dataset.skeleton
        if given and len(theirs) and (given.names, given.mirrored()) != (theirs.names, theirs.mirrored()):
            raise UsageError(
                f"tasks.keypoints.skeleton: its points or flip_pairs are not those of {dataset.name}, which has "
                f"{', '.join(theirs.names)}: leave the skeleton out, or correct it"
            )
        return self.options.model_copy(update={"skeleton": given or (theirs if len(theirs) else None)})

    def tokens(self) -> Sequence[str]:
        return (self.prompt.token, "<invisible>")

    def views(self, annotations: Annotations, rng: np.random.Generator | None = None) -> list[View]:
        """One an object that can have these points, its box enlarged."""
        objects = self._objects(annotations)
        if rng is not None:
            objects = some(objects, self.options.max_instances, self.options.box_jitter, rng)
        return object_views(objects, self.options.view_scale)

    def _objects(self, annotations: Annotations) -> Boxes:
        objects = known_objects(annotations, self.kinds[0])
        fitting = {"", *self.skeleton.categories}  # a box without a category is one that the user drew
        return objects.take([i for i, label in enumerate(objects.labels) if label in fitting])

    def queries(self, annotations: Annotations, vocab: Vocabulary) -> list[Query]:
        """One question for each object in the view."""
        objects = self._objects(annotations)
        return [self._query(objects.take([i]), vocab) for i in range(len(objects))]

    def _query(self, one: Boxes, vocab: Vocabulary) -> Query:
        return question(self.prompt, one, one.labels[0] or self.skeleton.categories[0], vocab)

    def serialize(self, example: Example, vocab: Vocabulary, rng: np.random.Generator | None) -> list[Target]:
        """One sequence an object with a labelled point."""
        objects = self._objects({"keypoints": example.annotations["keypoints"]})
        return [self._target(cast("Keypoints", objects.take([i])), vocab, rng) for i in range(len(objects))]

    def _target(self, one: Keypoints, vocab: Vocabulary, rng: np.random.Generator | None) -> Target:
        invisible = vocab.id("<invisible>")
        bins = points_to_bins(one.points[0], vocab.bins) + vocab.coord.start
        seen = np.repeat(one.visibility[0] > 0, 2)
        tokens = np.where(seen, bins.reshape(-1), invisible)
        weights = np.where(seen, 1.0, self.options.invisible_weight).astype(np.float32)
        inputs = None
        if rng is not None and self.options.mask_inputs:
            inputs = np.where(rng.random(len(tokens)) < rng.random(), invisible, tokens)
        query = self._query(one, vocab)
        return Target(query.prompt, tokens, weights, inputs, eos_weight=0.0, about=query.about)  # the grammar ends it

    def grammar(self, query: Query, vocab: Vocabulary) -> Grammar:
        """A coordinate or `<invisible>`, as often as the skeleton has points, twice."""
        coord, invisible = vocab.ids("coord"), Ids.of(vocab.id("<invisible>"))
        state = State(((coord | invisible, 0),), read=coord, window=self.options.window)
        return Grammar((state,), 2 * len(self.skeleton))

    def deserialize(self, query: Query, samples: Sequence[Decoded], vocab: Vocabulary) -> Annotations:
        """The object asked about with its points, the mean of all samples.

        A point that was called invisible is placed all the same, where it is most likely, or else in the middle of
        the box; its visibility is 0. The score weighs that of the box against the mean probability of the points.
        """
        asked = asked_about(query)
        each = [self._points(sample, asked, vocab) for sample in samples]
        points, drawn, probs = (np.mean(values, axis=0) for values in zip(*each, strict=True))
        weight = self.options.score_weight
        scores = weight * probs.mean() + (1 - weight) * asked.scores
        visibility = np.where(drawn >= 0.5, 2, 0)[None]
        shown = {"points": points[None], "visibility": visibility, "point_scores": probs[None]}
        return {"keypoints": Keypoints(**{**vars(asked), "scores": scores}, **shown, skeleton=self.skeleton)}

    def _points(self, answer: Decoded, asked: Boxes, vocab: Vocabulary) -> tuple[Array, Array, Array]:
        """Points (K, 2) xy in the view, whether they were drawn as visible (K,), and their probabilities (K,)."""
        first, last = vocab.coord.start, vocab.coord.stop - 1
        tokens, best, expected, probs = (
            self._pairs(values) for values in (answer.tokens, answer.best, answer.expected, answer.best_prob)
        )
        known = np.all((best >= first) & (best <= last), axis=1)
        drawn = known & np.all((tokens >= first) & (tokens <= last), axis=1)
        bins = np.nan_to_num(expected if self.options.expected else best) - first
        middle = (asked.xyxy[0, :2] + asked.xyxy[0, 2:]) / 2
        likely = np.sqrt(np.clip(np.nan_to_num(probs), 0.0, 1.0).prod(axis=1))
        points = np.where(known[:, None], bins_to_points(bins, vocab.bins), middle)
        return points, drawn.astype(np.float64), likely

    def _pairs(self, values: NDArray[Any]) -> Array:
        """What was recorded of each point (K, 2) yx; -1 where the answer is too short."""
        found = np.full(2 * len(self.skeleton), -1.0)
        found[: len(values)] = values[: len(found)]
        return found.reshape(-1, 2)

    def passages(self, query: Query, answer: Decoded, vocab: Vocabulary) -> list[Passage]:
        """Each point that was written, by its name."""
        written = self.skeleton.names[: len(answer.tokens) // 2]
        return [Passage(name, (2 * place, 2 * place + 1), 0) for place, name in enumerate(written)]

    def metric(self, dataset: DatasetInfo) -> Metric:
        same = self.skeleton.names == dataset.skeleton.names  # then the sigmas may be the user's own
        return KeypointAP(replace(dataset, skeleton=self.skeleton) if same else dataset, self.options.scorer)
