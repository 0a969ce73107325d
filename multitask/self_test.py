"""The ground truth as if it were an answer: what the best of models could reach."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from .assembly import fitted, make_tasks, make_vocabulary, open_split
from .config import Config
from .data.dataset import Dataset
from .data.scored import Scored, scored
from .data.transforms import place
from .evaluate import Evaluation
from .example import Example, Prediction
from .inference import merged
from .sequence.vocabulary import Vocabulary
from .task import Annotations, Decoded, Task


def score_truth(config: Config, split: str | None) -> list[Evaluation]:
    """What the ground truth itself would score: fed back directly, and through tokens. No model is needed."""
    dataset = open_split(config, "val", split)
    tasks = make_tasks(fitted(config, dataset))
    vocab = make_vocabulary(config, tasks, dataset)
    side = config.model.image_size
    ways = {"fed back directly": False, f"through tokens, {vocab.bins} bins": True}
    return [
        Evaluation(f"ground truth {way}", self_test(dataset, tasks, vocab, side, through), config)
        for way, through in ways.items()
    ]


def self_test(
    dataset: Dataset, tasks: Mapping[str, Task], vocab: Vocabulary, side: int, through_tokens: bool
) -> list[Scored]:
    """Scores of the ground truth itself: fed back as it is, or through tokens and back. The ceiling of any model."""
    found: list[Scored] = []
    for share in scored(dataset, tasks):
        metrics = share.metrics()
        for position in share.positions:
            example = share.dataset[position]
            for name, task in share.asked(example).items():
                answer = round_trip(task, example, vocab, side)
                if not through_tokens:
                    answer = {**answer, **{kind: a.answerable() for kind, a in example.annotations.items()}}
                metrics[name].update(Prediction(example.id, example.file, example.size, answer), example)
        found += share.measured(metrics)
    return found


def round_trip(task: Task, example: Example, vocab: Vocabulary, side: int) -> Annotations:
    """The annotations of an example after serialize and deserialize, in pixels of the image."""
    parts: list[Annotations] = []
    for view in task.views(example.annotations):
        placement = place(example.size, side, view.region_xyxy)
        seen = example if view.annotations is None else replace(example, annotations=view.annotations)
        inverse = placement.inverse
        for target in task.serialize(seen.warp(placement.matrix, placement.size), vocab, None):
            answer = task.deserialize(target.query(), [Decoded.certain(target.tokens)], vocab)
            parts.append({kind: a.warp(inverse, example.size) for kind, a in answer.items()})
    return merged(parts)
