"""Loader processes for the steps of a run."""

from __future__ import annotations

import signal
from collections.abc import Iterable

import torch
from torch.utils.data import DataLoader

from ..config import Config
from ..machine import cores
from ..sequence.vocabulary import Vocabulary
from ..task import Task
from .dataset import Dataset
from .groups import group_tasks
from .mixture import Batch, Mixture


def step_loader(
    config: Config, tasks: Iterable[Task], vocab: Vocabulary, dataset: Dataset, first: int
) -> DataLoader[list[Batch]]:
    """The batches of every step from `first` on; what they hold does not depend on the number of processes."""
    data, train = config.data, config.train
    longest = config.model.decoder.max_length
    groups = group_tasks(tasks, dataset)
    mixture = Mixture(dataset, groups, vocab, config.model.image_size, train.batch_size, config.seed, longest)
    remaining = range(first, train.steps)
    workers = min(data.workers if data.workers >= 0 else max(1, min(8, cores() // 2)), len(remaining))
    return DataLoader(
        mixture,
        batch_size=None,
        sampler=remaining,
        num_workers=workers,
        prefetch_factor=4 if workers else None,
        worker_init_fn=_leave_signals_to_the_parent,
        generator=torch.Generator(),  # its own: a loader begun anew on resuming must not move the others
    )


def _leave_signals_to_the_parent(_: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
