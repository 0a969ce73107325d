from __future__ import annotations

import multiprocessing
import os
import random
import select
import signal
from itertools import chain, islice

import numpy as np
import pytest
import torch
from torch.utils.data._utils import signal_handling

from multitask.config import Config, load_config
from multitask.data import loader as engine
from multitask.data.loader import step_loader
from multitask.data.mixture import Batch
from multitask.errors import DataError, MtpError, UsageError
from multitask.task import Augment, TaskOptions

VARIED = TaskOptions(augment=Augment(scale=(0.5, 1.5), flip=0.5, colour=0.5))
Steps = list[list[list[Batch]]]  # by step, by part, by look


def config(**train) -> Config:
    settings = {"steps": 8, "batch_size": 4, "warmup": 1} | train
    fixed = ["data.workers=0", "model.image_size=32", "model.decoder.max_length=64"]
    return load_config("quickstart", [*fixed, *(f"train.{key}={value}" for key, value in settings.items())], ["det"])


@pytest.fixture(autouse=True)
def as_at_the_first_loader_of_a_program(monkeypatch):
    """Without the handler that torch sets once, perhaps in another test."""
    before = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    monkeypatch.setattr(signal_handling, "_SIGCHLD_handler_set", False)
    yield
    signal.signal(signal.SIGCHLD, before)


@pytest.fixture(scope="module")
def steps(toys):
    """All steps of a process."""
    tasks = [toys.Find(VARIED), toys.Say(VARIED)]
    vocab = toys.vocabulary(*tasks)

    def loader(settings: Config, dataset=None, first: int = 0, rank: int = 0, world: int = 1, neighbours: int = 1):
        return step_loader(settings, tasks, vocab, dataset or toys.Dataset(10), first, rank, world, neighbours)

    return loader


def with_workers(settings: Config, workers: int) -> Config:
    return settings.model_copy(update={"data": settings.data.model_copy(update={"workers": workers})})


def contents(batches: list[Batch]) -> tuple[list[str], torch.Tensor, torch.Tensor, list[tuple]]:
    """What batches of one look hold, one after the other, without padding."""
    sequences, first = [], 0
    for batch in batches:
        for name, s in sorted(batch.sequences.items()):
            for n, row in enumerate(s.rows.tolist()):
                end = int(s.weights[n].nonzero().max()) + 1
                values = (t[n, :end].tolist() for t in (s.inputs, s.targets, s.weights))
                sequences.append((first + row, name, *values))
        first += len(batch.files)
    files = [file for batch in batches for file in batch.files]
    images, extents = (torch.cat([getattr(batch, field) for batch in batches]) for field in ("images", "extent"))
    return files, images, extents, sorted(sequences)


def same(one: list[Batch], other: list[Batch]) -> bool:
    a, b = contents(one), contents(other)
    return a[0] == b[0] and torch.equal(a[1], b[1]) and torch.equal(a[2], b[2]) and a[3] == b[3]


@pytest.mark.parametrize("world", [1, 2])
@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("workers", [0, 2])
def test_the_parts_of_all_processes_are_the_batch_of_one(steps, world, accumulate, workers):
    settings = with_workers(config(accumulate=accumulate), workers)
    shares: list[Steps] = [list(steps(settings, rank=rank, world=world)) for rank in range(world)]
    assert all(len(parts) == accumulate for share in shares for parts in share)
    whole = [parts[0][0] for parts in steps(config())]
    together = [[look for share in shares for (look,) in share[step]] for step in range(8)]
    assert all(same(together[step], [whole[step]]) for step in range(8))
    assert not same(together[0], [whole[1]])
    files = [file for parts in together for batch in parts for file in batch.files]
    epochs = [files[0:10], files[10:20], files[20:30]]
    assert all(sorted(epoch) == sorted(f"toys/{i}.png" for i in range(10)) for epoch in epochs)


def test_going_on_gives_what_would_have_come_whatever_the_loader_processes(steps):
    settings = config(accumulate=2)
    expected = list(chain.from_iterable(chain.from_iterable(steps(settings))))
    for workers in (0, 1, 2):
        going_on = steps(with_workers(settings, workers), first=3)
        assert len(going_on) == 5
        found = list(chain.from_iterable(chain.from_iterable(going_on)))
        assert len(found) == 10 and all(map(same, ([b] for b in found), ([b] for b in expected[6:])))


def test_one_task_by_lot_is_the_same_one_in_all_processes(steps):
    settings = config(sampling="proportional", accumulate=2, steps=12)
    shares = [list(steps(settings, rank=rank, world=2)) for rank in range(2)]
    names = [[list(batch.sequences) for share in shares for (batch,) in share[step]] for step in range(12)]
    assert all(len(found) == 4 and found == found[:1] * 4 and len(found[0]) == 1 for found in names)
    assert {found[0][0] for found in names} == {"find", "say"}


@pytest.mark.parametrize("workers", [0, 1])
def test_loading_moves_no_random_numbers_and_no_handlers_of_the_run(steps, workers):
    def state() -> list[object]:
        own = [torch.get_rng_state().tolist(), str(np.random.get_state()), random.getstate()]
        return [*own, *map(signal.getsignal, (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM))]

    before = state()
    for _ in steps(with_workers(config(steps=2), workers)):
        assert state() == before
    assert state() == before


@pytest.mark.parametrize(
    ("size", "world", "more", "advice"),
    [
        (
            10,
            2,
            {"accumulate": 2},
            "10 is not a multiple of 2 processes x train.accumulate 2 x train.repeats 1: "
            "take a batch of 8 or 12, or train.accumulate of 1, 5",
        ),
        (2, 1, {"repeats": 4}, "2 .* 1 processes x train.accumulate 1 x train.repeats 4: take a batch of 4"),
    ],
)
def test_a_batch_that_cannot_be_shared_is_refused_with_sizes_that_can(steps, size, world, more, advice):
    with pytest.raises(UsageError, match=rf"^train\.batch_size {advice}$"):
        steps(config(batch_size=size, **more), world=world)


def test_processes_on_one_machine_share_its_cores(steps, monkeypatch):
    monkeypatch.setattr(engine, "cores", lambda: 16)
    settings = with_workers(config(steps=100), -1)
    assert [steps(settings, neighbours=n).loader.num_workers for n in (1, 2, 4, 100)] == [8, 4, 2, 1]
    assert steps(with_workers(config(steps=100), 3), neighbours=4).loader.num_workers == 3


@pytest.mark.parametrize("workers", [0, 1])
def test_the_error_of_a_loader_process_is_one_line(steps, toys, workers):
    with pytest.raises(
        DataError, match=r"^10 images in a row cannot be read, the last one: toys/\d+\.png: is damaged$"
    ):
        list(steps(with_workers(config(), workers), toys.Dataset(30, damaged=range(30))))


@pytest.mark.parametrize("kind", [RuntimeError, FileNotFoundError])
def test_a_fault_of_another_kind_keeps_its_traceback(steps, toys, kind):
    class Faulty(toys.Dataset):
        def __getitem__(self, i):
            raise kind("a bug")

    with pytest.raises(kind, match=r"(?s)Traceback.*a bug"):
        list(steps(with_workers(config(), 1), Faulty(3)))


def test_a_loader_process_that_is_told_to_end_does_so_in_the_end(steps, monkeypatch):
    monkeypatch.setattr(engine, "GRACE", 1)
    known = set(multiprocessing.active_children())
    batches = iter(steps(with_workers(config(steps=40), 1)))
    next(batches)
    (worker,) = set(multiprocessing.active_children()) - known
    worker.terminate()
    worker.join(20)
    assert worker.exitcode == -signal.SIGALRM


def test_a_loader_process_lives_on_after_one_signal_and_not_after_two(steps):
    known = set(multiprocessing.active_children())
    batches = iter(steps(with_workers(config(steps=40), 1)))
    next(batches)
    (worker,) = set(multiprocessing.active_children()) - known
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(worker.pid, number)
    assert len(list(islice(batches, 8))) == 8  # twice as many as lie ready
    worker.terminate()
    worker.join(20)
    assert worker.exitcode == -signal.SIGTERM
    with pytest.raises(MtpError, match=r"^a loader process was killed .*: lower data\.workers or train\.batch_size$"):
        list(batches)


def test_no_loader_process_outlives_a_killed_run(steps):
    """All of them hold the writing end of a pipe, whose end comes when none is left."""
    reading, writing = os.pipe()

    def run() -> None:
        for _ in steps(with_workers(config(steps=100), 2)):
            os.write(writing, b"!")
            signal.pause()

    process = multiprocessing.get_context("fork").Process(target=run)
    process.start()
    os.close(writing)
    assert os.read(reading, 9) == b"!"
    process.kill()
    process.join(20)
    assert process.exitcode == -signal.SIGKILL
    assert select.select([reading], [], [], 20)[0] and os.read(reading, 1) == b""
    os.close(reading)
