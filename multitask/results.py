"""Scores of answers that some software has written to a file."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from .assembly import fitted, make_tasks, open_split
from .config import Config
from .data.formats.coco_results import read_results
from .data.scored import Scored, Share, scored
from .errors import DataError, UsageError
from .evaluate import Evaluation
from .example import Prediction
from .task import Annotations

log = logging.getLogger(__name__)


def score_file(path: Path, config: Config, split: str | None) -> Evaluation:
    """Scores of a file in COCO's results form, on the data and for the one task of `config`.

    Images that the file says nothing about have no answers. Raises DataError where an entry is not sound, UsageError
    where the config has several tasks.
    """
    if len(config.tasks) != 1:
        raise UsageError(f"--results {path} holds the answers of one task: name it with --task")
    dataset = open_split(config, "val", split)
    shares = scored(dataset, make_tasks(fitted(config, dataset)))
    if len(shares) != 1:
        raise UsageError(f"--results {path} is about one data set, and {len(shares)} were given")
    return Evaluation(f"{path} on {dataset.info.name} {dataset.split}", _scored(path, shares[0]), config)


def _scored(path: Path, share: Share) -> list[Scored]:
    ((name, metric),) = share.metrics().items()
    examples = [share.dataset[position] for position in share.positions]
    answers = read_results(path, share.dataset.info, {example.id: _whole(example.size) for example in examples})
    _check_kinds(path, answers, share.tasks[name].kinds)
    if len(answers) < len(examples):
        log.warning("%s is about %d of %d images: the others count as not answered", path, len(answers), len(examples))
    for example in examples:
        metric.update(Prediction(example.id, example.file, example.size, answers.get(example.id, {})), example)
    return share.measured({name: metric})


def _check_kinds(path: Path, answers: Mapping[int | str, Annotations], kinds: tuple[str, ...]) -> None:
    for image, found in answers.items():
        if missing := set(kinds) - set(found):
            what = f"{path}: the answers about image {image!r} have no {', '.join(missing)}, which this task scores"
            raise DataError(f"{what}; name the task of this file with --task")


def _whole(size: tuple[float, float]) -> tuple[int, int]:
    return round(size[0]), round(size[1])
