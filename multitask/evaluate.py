"""Scores by free-running decoding: the model reads its own tokens, as when it is used."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np

from .annotations import Boxes, Captions, Labels
from .assembly import open_run, open_split, with_data
from .config import Config
from .data.dataset import Dataset
from .data.faults import Skipped
from .data.scored import Scored, scored
from .decoding.speed import Speed
from .errors import DataError
from .example import Example
from .files import unique_path, write_atomic
from .inference import Answers, Predictor
from .machine import pick_device
from .processes import ALONE, Processes
from .task import Annotations, Exchangeable, Task

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
    seen: Seen | None = None,
    processes: Processes = ALONE,
) -> list[Scored]:
    """Score the tasks `names` on every image that is annotated for them, asking for the data set's own categories.

    Of several data sets each is scored by itself: under the task's name, or as `task@data` where more than one scores
    the task. A task that asks about the answers of another one gets those, or with `oracle` the true objects: their
    boxes and categories. So it does where the model lacks that other task. An image that cannot be read is named in
    the log and left out. `seen` is shown the first images and answers. Several `processes` share the images, and must
    call this together. Raises DataError when no image is annotated.
    """
    tasks = {name: predictor.tasks[name] for name in names}
    oracle = oracle or lacks_required(tasks, predictor.tasks)
    skipped = Skipped() if skipped is None else skipped
    shares = scored(dataset, tasks)
    found: list[Scored] = []
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
        found += share.measured(metrics)
    return found


def as_scores(found: Sequence[Scored]) -> Scores:
    """The numbers of each."""
    return {one.label: one.numbers for one in found}


def write_results(found: Sequence[Scored], folder: Path) -> list[Path]:
    """`det.json` and so on, which are given; a metric that has no form for others to read is left out, and named."""
    folder.mkdir(parents=True, exist_ok=True)
    taken: set[str] = set()
    written: list[Path] = []
    for one in found:
        if isinstance(one.metric, Exchangeable):
            written.append(unique_path(folder, one.label, ".json", taken))
            write_atomic(written[-1], json.dumps(one.metric.results()).encode())
        else:
            log.warning("%s: its metric has no results() to save", one.label)
    return written


def lacks_required(tasks: Mapping[str, Task], known: Mapping[str, Task]) -> bool:
    """Whether some of `tasks` ask about the answers of a task that is not `known`."""
    return any(required not in known for task in tasks.values() for required in task.requires)


def _true_objects(example: Example) -> Annotations:
    """The objects of an image, to be asked about."""
    nothing: Annotations = {"boxes": Boxes(np.zeros((0, 4)), ())}
    return {**nothing, **{kind: a for kind, a in example.annotations.items() if isinstance(a, Boxes)}}


@dataclass(frozen=True)
class Order:
    """What a run is asked, and how."""

    words: Sequence[str] = ()  # settings under `data.` and `tasks.`; what they do not say is as it was trained
    split: str | None = None
    names: Sequence[str] | None = None  # of tasks; None: all
    oracle: bool = False
    device: str = "auto"
    batch_size: int = 16
    speed: Speed | None = None


@dataclass(frozen=True)
class Evaluation:
    """What was found, under a title that tells of whom and on what."""

    title: str
    found: Sequence[Scored]
    config: Config  # its data are those


def score_run(
    model: str | None, order: Order, progress: Progress | None = None, data: Config | None = None
) -> Evaluation:
    """Scores of a run, or of the newest, on the data of another config or else its own. Raises as `open_run` and
    `open_split`."""
    run = open_run(model, order.names or ())
    if run.notice:
        log.warning(run.notice)
    config = with_data(data or run.config, [word for word in order.words if word.startswith("data.")])
    run = run.with_options([word for word in order.words if not word.startswith("data.")])
    predictor = run.predictor(pick_device(order.device), order.speed)
    chosen = list(order.names or run.tasks)
    for name in chosen:
        predictor.task(name)
    dataset = open_split(config, "val", order.split)
    if any(set(run.tasks[name].kinds) - {Captions.kind} for name in chosen):
        _tell_unknown(dataset, run.vocab.classes)
    found = evaluate(predictor, dataset, chosen, order.batch_size, progress, order.oracle)
    given = lacks_required({name: run.tasks[name] for name in chosen}, {} if order.oracle else run.tasks)
    title = f"{run.folder} on {dataset.info.name} {dataset.split}{', true boxes given' * given}"
    return Evaluation(title, found, config)


def _tell_unknown(dataset: Dataset, classes: Sequence[str]) -> None:
    """What the model has no word for, it cannot answer with."""
    named = [category.name for category in dataset.info.categories]
    if unknown := [name for name in named if name not in classes]:
        few = ", ".join(unknown[:3]) + " …" * (len(unknown) > 3)
        log.warning("the model does not know %d of the %d categories of the data: %s", len(unknown), len(named), few)


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
