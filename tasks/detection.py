"""Object detection: five tokens an object, `ymin xmin ymax xmax class` (Pix2Seq, arXiv 2109.10852).

Made-up boxes whose class target is `<noise>` fill the sequence, so that the model learns to judge boxes and P(class)
can serve as a score (section 3.3 there: sequence augmentation).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ..annotations import Boxes, Labels
from ..example import Example
from ..sequence.coordinates import bins_to_boxes, boxes_to_bins
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
    Stop,
    Target,
    Task,
    TaskOptions,
    Vocabulary,
)
from .coco_metrics import BoxAP, Scorer
from .noise import noise_boxes

CORNERS = ("ymin", "xmin", "ymax", "xmax")
FIELDS = len(CORNERS) + 1  # tokens an object


class DetectionOptions(TaskOptions):
    """Settings under `tasks.det`; the defaults are the published ones but for `eos_weight` (only one is counted)."""

    augment: Augment = Field(Augment(scale=(0.3, 2.0), flip=0.5), description="variation of the training images")
    max_instances: int = Field(100, ge=1, le=1000, description="objects a sequence holds, noise included")
    order: Literal["random", "area", "given"] = Field("random", description="order of objects in training")
    noise: bool = Field(True, description="fill training sequences with noise boxes up to max_instances")
    noise_weight: float = Field(1.0, ge=0, description="loss weight of the class `<noise>`")
    noise_jitter: float = Field(0.1, gt=0, le=0.5, description="largest shift of a duplicated box's edge, of its side")
    eos_weight: float = Field(0.1, ge=0, description="loss weight of the end of the sequence")
    stop_run: int = Field(0, ge=0, description="end after this many noise objects in a row; 0: never")
    stop_threshold: float = Field(0.9, gt=0, lt=1, description="probability of noise above which an object counts so")
    expected: bool = Field(True, description="answer with the mean of the bins about the best one, not with the best")
    window: int = Field(3, ge=0, description="bins on each side that this mean is taken over")
    scorer: Scorer = Field(
        "pycocotools", description="what computes AP; extra `fast`: hotcoco is faster, lvis has its own rules"
    )


class Detection(Task):
    """Finds objects: boxes, category names, scores."""

    name = "det"
    kinds = ("boxes",)
    prompt_file = "multitask.prompts/det.yaml"
    Options = DetectionOptions
    options: DetectionOptions

    def tokens(self) -> Sequence[str]:
        return (self.prompt.token, "<noise>")

    def queries(self, annotations: Annotations, vocab: Vocabulary) -> list[Query]:
        """One question; `labels` restrict its answers to these categories."""
        about = {kind: a for kind, a in annotations.items() if isinstance(a, Labels)}
        return [Query(self.prompt.encode(vocab), about)]

    def serialize(self, example: Example, vocab: Vocabulary, rng: np.random.Generator | None) -> list[Target]:
        """One sequence: real objects, then noise; with noise the decoder is never fed a true class (section 3.3)."""
        boxes = example.annotations["boxes"]
        assert isinstance(boxes, Boxes)  # noqa: S101  # by its kind
        known = boxes.take(~boxes.crowd)
        boxes = self._ordered(known, rng)
        noise = self._noise(boxes.xyxy, example, rng)
        corners = vocab.coord.start + boxes_to_bins(np.concatenate([boxes.xyxy, noise]), vocab.bins)
        labels = np.array([vocab.class_id(name) for name in boxes.labels], dtype=np.int64)
        classes = np.concatenate([labels, np.full(len(noise), vocab.id("<noise>"))])
        weights = np.ones((len(classes), FIELDS), dtype=np.float32)
        weights[len(boxes) :] = [0, 0, 0, 0, self.options.noise_weight]
        tokens = np.column_stack([corners, classes])
        inputs = None
        if rng is not None and self.options.noise:
            inputs = np.column_stack([corners, self._fake_classes(len(classes), vocab, rng)]).reshape(-1)
        prompt, end = self.prompt.encode(vocab), self.options.eos_weight
        cut = ("max_instances",) if len(known) > len(boxes) else ()
        return [Target(prompt, tokens.reshape(-1), weights.reshape(-1), inputs, end, cut=cut)]

    def _ordered(self, boxes: Boxes, rng: np.random.Generator | None) -> Boxes:
        order = np.arange(len(boxes))
        if self.options.order == "area":
            sides = boxes.xyxy[:, 2:] - boxes.xyxy[:, :2]
            order = np.argsort(-sides.prod(axis=1), kind="stable")
        elif self.options.order == "random" and rng is not None:
            order = rng.permutation(len(boxes))
        return boxes.take(order[: self.options.max_instances])

    def _noise(
        self, xyxy: NDArray[np.float64], example: Example, rng: np.random.Generator | None
    ) -> NDArray[np.float64]:
        missing = self.options.max_instances - len(xyxy)
        if rng is None or not self.options.noise or missing <= 0:
            return np.zeros((0, 4))
        return noise_boxes(xyxy, missing, example.size, self.options.noise_jitter, rng)

    def _fake_classes(self, count: int, vocab: Vocabulary, rng: np.random.Generator) -> NDArray[np.int64]:
        """Half `<noise>`, half any category (as published): were it the truth, one noise would announce the next."""
        classes = vocab.ids("class").array()
        if not len(classes):
            return np.full(count, vocab.id("<noise>"))
        return np.where(rng.random(count) < 0.5, rng.choice(classes, count), vocab.id("<noise>"))

    def grammar(self, query: Query, vocab: Vocabulary) -> Grammar:
        """`ymin xmin ymax xmax class` again and again, or the end in place of a ymin."""
        coord, noise = vocab.ids("coord"), Ids.of(vocab.id("<noise>"))
        classes = self._classes(query, vocab)
        window = self.options.window

        def corner(following: int, not_below: int = 0) -> State:
            return State(((coord, following),), read=coord, window=window, not_below=not_below)

        first = State(((coord, 1), (Ids.of(vocab.eos), END)), read=coord, window=window)
        name = State(((classes | noise, 0),), read=classes if len(classes) else noise, window=0)
        stop = Stop(noise, self.options.stop_run, self.options.stop_threshold) if self.options.stop_run else None
        states = (first, corner(2), corner(3, not_below=2), corner(4, not_below=2), name)
        return Grammar(states, FIELDS * self.options.max_instances, stop)

    def _classes(self, query: Query, vocab: Vocabulary) -> Ids:
        asked = query.about.get("labels")
        return vocab.class_ids(asked.names) if isinstance(asked, Labels) else vocab.ids("class")

    def deserialize(self, query: Query, samples: Sequence[Decoded], vocab: Vocabulary) -> Annotations:
        """Whole objects of the first sample, scored by P(class); the answer `<noise>` is scored by its best class."""
        answer = samples[0]
        count = len(answer.tokens) // FIELDS
        bins = answer.expected if self.options.expected else answer.tokens.astype(np.float64)
        corners = np.nan_to_num(bins[: count * FIELDS].reshape(-1, FIELDS)[:, :4]) - vocab.coord.start
        scores = np.nan_to_num(answer.best_prob[: count * FIELDS].reshape(-1, FIELDS)[:, 4])
        found = self._objects(answer, vocab)
        rows = list(found)
        xyxy = bins_to_boxes(corners[rows], vocab.bins)
        return {"boxes": Boxes(xyxy, tuple(found.values()), np.clip(scores[rows], 0.0, 1.0))}

    def _objects(self, answer: Decoded, vocab: Vocabulary) -> dict[int, str]:
        """Category of each whole object, by its place in the answer."""
        end = len(answer.tokens) // FIELDS * FIELDS
        names = [vocab.class_name(token) for token in answer.best[:end].reshape(-1, FIELDS)[:, 4]]
        drawn = answer.tokens[:end].reshape(-1, FIELDS)[:, :4]
        whole = np.all((drawn >= vocab.coord.start) & (drawn < vocab.coord.stop), axis=1)
        return {place: name for place, name in enumerate(names) if name is not None and whole[place]}

    def passages(self, query: Query, answer: Decoded, vocab: Vocabulary) -> list[Passage]:
        """Of each object its category first, then its four coordinates."""
        return [
            Passage(label, (FIELDS * place + field,), item)
            for item, (place, name) in enumerate(self._objects(answer, vocab).items())
            for field, label in ((len(CORNERS), name), *enumerate(CORNERS))
        ]

    def metric(self, dataset: DatasetInfo) -> Metric:
        return BoxAP(dataset, self.options.scorer)
