"""Short forms of the tools in this folder; `make stress` runs the long ones."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from .. import command_line as tools
from .bad_batches import in_a_row
from .chains import Chain, Reference, undisturbed
from .corruptions import Workshop, corruptions
from .elastic import kill_workers
from .full_disk import in_private, may_mount
from .kills import Tally as Kills
from .kills import kill_again_and_again
from .running import recipe
from .signals import Shot, shoot_again_and_again
from .signals import Tally as Signals

pytestmark = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="finds processes as Linux shows them")
STEPS = 24


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Reference:
    return undisturbed(tmp_path_factory.mktemp("reference"), recipe(STEPS))


def test_a_killed_run_ends_as_one_that_was_not(reference: Reference, tmp_path: Path) -> None:
    tally = Kills()
    kill_again_and_again(Chain(tmp_path, reference), 2, random.Random(0), tally)
    assert not tally.faults
    assert tally.kills == 2


def test_signals_end_a_run_and_lose_nothing(reference: Reference, tmp_path: Path) -> None:
    tally = Signals()
    shots = [Shot("saving", signal.SIGTERM, to_all=True), Shot("stepping", signal.SIGINT, to_all=False)]
    shoot_again_and_again(Chain(tmp_path, reference, "data.workers=1"), shots, random.Random(0), tally)
    assert not tally.faults
    assert (tally.signals, tally.saved) == (2, 2)


def test_bad_batches_are_skipped_and_named_and_ten_in_a_row_end_a_run(tmp_path: Path) -> None:
    assert not list(in_a_row(tmp_path, first=8, before=[2, 5], steps=20))


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    folder = tmp_path_factory.mktemp("corruptions")
    with tools.Shell(folder) as shell:
        yield Workshop(folder, shell)


@pytest.mark.parametrize("number", range(9))
def test_damage_is_named_and_the_step_before_is_taken(number: int, workshop: Workshop) -> None:
    assert not list(workshop.faults(corruptions(9)[number], number))


@pytest.mark.skipif(not may_mount(), reason="a small disk cannot be mounted here")
def test_a_full_disk_is_one_clear_line(reference: Reference) -> None:
    done = in_private("--times", "1", "--steps", str(STEPS), "--reference", str(reference.run))
    assert done.returncode == 0, done.stdout


@pytest.mark.skipif(os.environ.get("MTP_LONG") != "1", reason="takes a minute on two cores: MTP_LONG=1")
def test_a_worker_that_is_killed_begins_anew(tmp_path: Path) -> None:
    reference = undisturbed(tmp_path / "reference", recipe(STEPS), processes=2)
    assert not list(kill_workers(tmp_path / "elastic", reference, kills=1))
