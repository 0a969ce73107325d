"""Scores by free-running decoding: the model reads its own tokens, as when it is used."""

from __future__ import annotations

import json
import logging
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np

from .annotations import Boxes, Labels
from .assembly import fitted, make_tasks, make_vocabulary, open_run, open_split, with_data
from .config import Config
from .data.dataset import Dataset
from .data.faults import Skipped
from .data.scored import scored
from .data.transforms import place
from .decoding.speed import Speed
from .errors import DataError
from .example import Example, Prediction
from .files import write_atomic
from .inference import Answers, Predictor, merged
from .machine import pick_device
from .processes import ALONE, Processes
from .sequence.vocabulary import Vocabulary
from .task import Annotations, Decoded, Exchangeable, Metric, Task

log = logging.getLogger(__name__)
Scores = dict[str, dict[str, float]]  # by task, then by metric
Progress = Callable[[int, int], None]  # images done, images in all
Seen = Callable[[Sequence[Example], Sequence[Answers]], None]


def evaluate(
    predictor: Predictor,
    dataset: Dataset,
    names: Sequence[str],
    batch_size: int = 16,
    progress: Progress | None = None,
    oracle: bool = False,
    skipped: Skipped | None = None,
    results: Path | None = None,
    seen: Seen | None = None,
    processes: Processes = ALONE,
) -> Scores:
    """Score the tasks `names` on every image that is annotated for them, asking for the data set's own categories.

    Of several data sets each is scored by itself: under the task's name, or as `task@data` where more than one scores
    the task. A task that asks about the answers of another one gets those, or with `oracle` the true objects: their
    boxes and categories. So it does where the model lacks that other task. An image that cannot be read is named in
    the log and left out. `results` is a folder for the answers as files; `seen` is shown the first images and answers.
    Several `processes` share the images, and must call this together. Raises DataError when no image is annotated.
    """
    tasks = {name: predictor.tasks[name] for name in names}
    oracle = oracle or lacks_required(tasks, predictor.tasks)
    skipped = Skipped() if skipped is None else skipped
    shares = scored(dataset, tasks)
    scores: Scores = {}
    done, total = 0, sum(len(share.positions) for share in shares)
    for share in shares:
        categories, metrics = share.dataset.info.categories, share.metrics()
        asked: Annotations = {"labels": Labels(tuple(c.name for c in categories))} if categories else {}
        for begin in range(0, len(share.positions), batch_size * processes.world):
            chosen = share.positions[begin : begin + batch_size * processes.world]
            readable = dict(_readable(share.dataset, chosen[processes.rank :: processes.world], skipped))
            examples = list(readable.values())
            given = [{**asked, **(_true_objects(example) if oracle else {})} for example in examples]
            answers = predictor.predict(examples, list(share.tasks), given) if examples else []
            if seen and not done:
                seen(examples, answers)
            everyones = processes.gather(dict(zip(readable, answers, strict=True)))
            for position, answer in sorted(chain.from_iterable(own.items() for own in everyones), key=itemgetter(0)):
                example = readable.get(position) or share.dataset[position]
                for name in share.asked(example):
                    metrics[name].update(answer[name], example)
            done += len(chosen)
            if progress:
                progress(done, total)
        scores |= {share.labels[name]: metric.compute() for name, metric in metrics.items()}
        if results:
            _write_results({share.labels[name]: metric for name, metric in metrics.items()}, results)
    return scores


def _write_results(metrics: Mapping[str, Metric], folder: Path) -> None:
    """`det.json` and so on; a metric that has no form for others to read is left out."""
    folder.mkdir(parents=True, exist_ok=True)
    for label, metric in metrics.items():
        if isinstance(metric, Exchangeable):
            name = re.sub(r"[^\w.@-]+", "_", label)
            write_atomic(folder / f"{name}.json", json.dumps(metric.results()).encode())


def lacks_required(tasks: Mapping[str, Task], known: Mapping[str, Task]) -> bool:
    """Whether some of `tasks` ask about the answers of a task that is not `known`."""
    return any(required not in known for task in tasks.values() for required in task.requires)


def _true_objects(example: Example) -> Annotations:
    """The objects of an image, to be asked about."""
    nothing: Annotations = {"boxes": Boxes(np.zeros((0, 4)), ())}
    return {**nothing, **{kind: a for kind, a in example.annotations.items() if isinstance(a, Boxes)}}


def score_run(
    model: str | None, words: Sequence[str], split: str | None, names: Sequence[str] | None, device: str,
    batch_size: int, progress: Progress | None = None, oracle: bool = False, results: Path | None = None,
    speed: Speed | None = None,
) -> dict[str, Scores]:  # fmt: skip
    """Scores of a run on the data it was trained for, or as settings under `data.` and `tasks.` say; under a title.

    Raises as `open_run` and `open_split`."""
    run = open_run(model, names or ())
    if run.notice:
        log.warning(run.notice)
    config = with_data(run.config, [word for word in words if word.startswith("data.")])
    run = run.with_options([word for word in words if not word.startswith("data.")])
    predictor = run.predictor(pick_device(device), speed)
    chosen = list(names or run.tasks)
    for name in chosen:
        predictor.task(name)
    dataset = open_split(config, "val", split)
    scores = evaluate(predictor, dataset, chosen, batch_size, progress, oracle, results=results)
    tasks = {name: run.tasks[name] for name in chosen}
    given = lacks_required(tasks, {} if oracle else run.tasks)
    return {f"{run.folder} on {dataset.info.name} {dataset.split}{', true boxes given' * given}": scores}


def score_truth(config: Config, split: str | None) -> dict[str, Scores]:
    """What the ground truth itself would score: fed back directly, and through tokens. No model is needed."""
    dataset = open_split(config, "val", split)
    tasks = make_tasks(fitted(config, dataset))
    vocab = make_vocabulary(config, tasks, dataset)
    side = config.model.image_size
    return {
        "ground truth, fed back directly": self_test(dataset, tasks, vocab, side, through_tokens=False),
        f"ground truth through tokens, {vocab.bins} bins": self_test(dataset, tasks, vocab, side, through_tokens=True),
    }


def self_test(
    dataset: Dataset, tasks: Mapping[str, Task], vocab: Vocabulary, side: int, through_tokens: bool
) -> Scores:
    """Scores of the ground truth itself: fed back as it is, or through tokens and back. The ceiling of any model."""
    scores: Scores = {}
    for share in scored(dataset, tasks):
        metrics = share.metrics()
        for position in share.positions:
            example = share.dataset[position]
            for name, task in share.asked(example).items():
                answer = round_trip(task, example, vocab, side)
                if not through_tokens:
                    answer = {**answer, **{kind: a.answerable() for kind, a in example.annotations.items()}}
                metrics[name].update(Prediction(example.id, example.file, example.size, answer), example)
        scores |= {share.labels[name]: metric.compute() for name, metric in metrics.items()}
    return scores


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


def flat(scores: Scores) -> dict[str, float]:
    """`{"det/AP50": 0.5}`: each score under its task's name."""
    return {f"{task}/{name}": value for task, found in scores.items() for name, value in found.items()}


def as_json(value: Any) -> Any:
    """Numbers by name, however deep, with null for what is not finite: JSON has no nan."""
    if isinstance(value, Mapping):
        return {key: as_json(v) for key, v in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _readable(dataset: Dataset, positions: Sequence[int], skipped: Skipped) -> Iterator[tuple[int, Example]]:
    """Positions, and examples with their pixels in memory; those that cannot be read are named and left out."""
    for position in positions:
        example = dataset[position]
        try:
            pixels = example.load()
        except DataError as error:
            skipped.add(str(error))
            continue
        yield position, replace(example, load=lambda reduce=1, pixels=pixels: pixels)
