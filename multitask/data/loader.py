"""Loader processes for the steps of a run."""

from __future__ import annotations

import atexit
import os
import signal
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch.utils.data import DataLoader, Sampler

from ..config import Config
from ..errors import MtpError, UsageError
from ..machine import cores
from ..sequence.vocabulary import Vocabulary
from ..task import Task
from .dataset import Dataset
from .groups import Turns, group_tasks
from .mixture import Batch, Mixture

KILLED = (
    "a loader process was killed (perhaps for want of memory, in a container also of /dev/shm): "
    "lower data.workers or train.batch_size"
)
LOST = (RuntimeError, EOFError, ConnectionError, FileNotFoundError)  # what torch raises then
GRACE = 20  # seconds that a loader process goes on after SIGTERM


class Places(Sampler[tuple[int, int]]):
    """Which items of a Mixture one process of the run asks for: its `parts` of each of the `steps`."""

    def __init__(self, steps: range, parts: range) -> None:
        self.steps, self.parts = steps, parts

    def __len__(self) -> int:
        return len(self.steps) * len(self.parts)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return ((step, part) for step in self.steps for part in self.parts)


class StepLoader:
    """For each step the parts that this process learns from, each a list of one batch a look.

    Raises the error of a loader process in one line, and MtpError where such a process was killed.
    """

    def __init__(self, mixture: Mixture, places: Places, workers: int) -> None:
        self.places = places
        self.loader = DataLoader(
            mixture,
            batch_size=None,
            sampler=places,
            num_workers=workers,
            prefetch_factor=4 if workers else None,
            worker_init_fn=_settle_in,
            generator=torch.Generator(),  # its own: a loader begun anew on resuming must not move the others
        )

    def __len__(self) -> int:
        return len(self.places.steps)

    def __iter__(self) -> Iterator[list[list[Batch]]]:
        with _errors_in_one_line(self.loader.num_workers > 0), _processes_of(self.loader) as found:
            yield from map(list, zip(*[found] * len(self.places.parts), strict=True))


def step_loader(
    config: Config,
    tasks: Iterable[Task],
    vocab: Vocabulary,
    dataset: Dataset,
    first: int,
    rank: int = 0,
    world: int = 1,
    neighbours: int = 1,
) -> StepLoader:
    """What process `rank` of `world` learns from at every step from `first` on, with `neighbours` on this machine.

    What it holds does not depend on the number of loader processes. Raises UsageError where the batch cannot be shared.
    """
    train, parts = config.train, world * config.train.accumulate
    _check_shares(train.batch_size, world, train.accumulate, train.repeats)
    alone = train.sampling == "proportional"
    together = [[task] for task in tasks] if alone else [list(tasks)]
    groups = [group for some in together for group in group_tasks(some, dataset)]
    mixture = Mixture(
        dataset,
        groups,
        vocab,
        config.model.image_size,
        train.batch_size,
        config.seed,
        config.model.decoder.max_length,
        parts=parts,
        repeats=train.repeats,
        drawn=Turns(groups, config.seed, train.steps) if alone else None,
    )
    places = Places(range(first, train.steps), range(parts)[rank * train.accumulate :][: train.accumulate])
    wanted = config.data.workers if config.data.workers >= 0 else max(1, min(8, cores() // 2 // neighbours))
    return StepLoader(mixture, places, min(wanted, len(places)))


def _check_shares(batch_size: int, world: int, accumulate: int, repeats: int) -> None:
    unit = world * accumulate * repeats
    if batch_size % unit:
        below = batch_size // unit * unit
        fitting = " or ".join(str(size) for size in (below, below + unit) if size)
        parts = [str(n) for n in range(1, batch_size + 1) if batch_size % (world * n * repeats) == 0][:6]
        other = f", or train.accumulate of {', '.join(parts)}" if parts else ""
        raise UsageError(
            f"train.batch_size {batch_size} is not a multiple of {world} processes x train.accumulate {accumulate} x "
            f"train.repeats {repeats}: take a batch of {fitting}{other}"
        )


def _settle_in(_: int) -> None:
    """A signal often goes to all processes of a run, and it is for the run to end its loader processes.

    They yield to the arithmetic, and make batches in its pauses.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _spared)
    if hasattr(os, "nice"):
        os.nice(10)


def _spared(*_: object) -> None:
    """Not by a second signal, and not for ever: the run may have sent it, and wait for this process to end."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.alarm(GRACE)


@contextmanager
def _processes_of(loader: DataLoader[list[Batch]]) -> Iterator[Iterator[list[Batch]]]:
    """The batches of a loader, whose processes end with the block, or else with the run, whatever holds on to them.

    Torch's handler would raise the death of a process amid a step or a save; without it, it is noticed at a batch
    that does not come.
    """
    before = signal.getsignal(signal.SIGCHLD)
    found = iter(loader)
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGCHLD, before)
    end = getattr(found, "_shutdown_workers", int)  # there is none where the run loads by itself
    atexit.register(end)
    try:
        yield found
    finally:
        atexit.unregister(end)
        end()


@contextmanager
def _errors_in_one_line(several: bool) -> Iterator[None]:
    """The error of a loader process comes as a traceback, whose last line tells it; `several`: there are some."""
    try:
        yield
    except MtpError as error:
        name = f"{type(error).__module__}.{type(error).__name__}: "
        raise type(error)(str(error).strip().splitlines()[-1].removeprefix(name)) from error
    except LOST as error:
        told = str(error).startswith("Caught")  # one that a process met, not one of talking to it
        if told or not several or (isinstance(error, RuntimeError) and "DataLoader worker (pid" not in str(error)):
            raise
        raise MtpError(KILLED) from error
