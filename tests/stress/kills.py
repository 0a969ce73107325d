"""Runs that are killed again and again must end as one that never was.

    python -m tests.stress.kills --kills 60 --workers 0 2 --processes 1 2

Trains a toy recipe once without disturbance for each number of processes. Then it starts the same run, kills it with
SIGKILL at a random moment (every other time inside a save), resumes it, kills it again, and so on to the end. After
every kill each checkpoint must be whole and no save lost; at the end weights, averages, optimiser, state and metrics
must equal those of the undisturbed run, byte for byte. Needs Linux.
"""

from __future__ import annotations

import argparse
import random
import signal
import tempfile
import time
from dataclasses import dataclass, field
from itertools import count, product
from pathlib import Path

from .chains import Chain, Reference, undisturbed
from .examining import tell, unloadable, unsound
from .running import TICK, Running, completed, is_saving, recipe

PER_RUN = 8  # kills that a run meets on its way to the end
SAVE = 0.02  # seconds within which an aimed kill comes; a save takes rather more
LEFT = 15.0  # seconds in which loaders, which look every 5 whether the run is there, must be gone


@dataclass
class Tally:
    """What was done, and what was wrong."""

    kills: int = 0
    inside_saves: int = 0  # that left half a checkpoint or pointer
    of_one_worker: int = 0  # of several processes
    runs: int = 0  # that came to their end
    faults: list[str] = field(default_factory=list)


def kill_again_and_again(chain: Chain, kills: int, rng: random.Random, tally: Tally) -> None:
    """One run to its end, with so many kills on the way if it is long enough."""
    for number in range(kills):
        saved = completed(chain.run)
        with chain.go_on() as running:
            seen, victims = wait_inside_save(running, chain, rng) if number % 2 else wait(running, chain, rng)
            if chain.ended_by_itself(running):
                break
            running.send(signal.SIGKILL, victims)
            running.wait()
            left = running.until_gone(LEFT)
        tally.kills += 1
        tally.inside_saves += is_saving(chain.run)
        tally.of_one_worker += running.process.pid not in victims
        tally.faults += [f"{chain.run}: processes {left} are left of a killed run"] * bool(left)
        tally.faults += [*unsound(chain.run), *unloadable(chain.run, max(seen, saved))]
    tally.faults += chain.finish()
    tally.runs += 1


def wait(running: Running, chain: Chain, rng: random.Random) -> tuple[int, list[int]]:
    """Until a random moment, at times before the first step; the last finished save just before, and whom to kill."""
    start, stepping = chain.reference.start, chain.reference.total - chain.reference.start
    seconds = start * rng.uniform(0.1, 1.1) + stepping * rng.uniform(0, 2 / PER_RUN)
    while time.monotonic() - running.begun < seconds and not running.ended:
        time.sleep(TICK)
    return completed(chain.run), chosen(running, chain, rng)


def wait_inside_save(running: Running, chain: Chain, rng: random.Random) -> tuple[int, list[int]]:
    """Until a random moment inside one of the next saves; the last finished one before, and whom to kill."""
    for _ in range(rng.randint(2, 4)):  # the first may be what an earlier kill left
        running.until(lambda: not is_saving(chain.run))
        seen, victims = completed(chain.run), chosen(running, chain, rng)
        running.until(lambda: is_saving(chain.run))
    time.sleep(rng.choice([0, rng.uniform(0, SAVE)]))
    return seen, victims


def chosen(running: Running, chain: Chain, rng: random.Random) -> list[int]:
    """All processes of a run, or at times but one of several, which must take the others along."""
    if chain.reference.processes == 1:
        return [running.process.pid]
    workers = running.workers() if rng.random() < 0.4 else []
    return [rng.choice(workers)] if workers else running.everyone()


def kill_runs(folder: Path, reference: Reference, kills: int, workers: int, seed: int = 0) -> Tally:
    """As many runs as it takes for so many kills."""
    rng, tally = random.Random(f"{seed} {workers} {reference.processes}"), Tally()
    for number in count():
        if tally.kills >= kills:
            return tally
        chain = Chain(folder / f"{number}", reference, f"data.workers={workers}")
        kill_again_and_again(chain, min(PER_RUN, kills - tally.kills), rng, tally)
    raise AssertionError


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=60, help="in all, shared by the combinations")
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 2], help="loader processes")
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    combinations = list(product(arguments.processes, arguments.workers))
    each = -(-arguments.kills // len(combinations))
    rows, faults, references = [], [], {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for processes in arguments.processes:
            references[processes] = undisturbed(folder / f"reference-{processes}", recipe(arguments.steps), processes)
        for processes, workers in combinations:
            place = folder / f"{processes}-{workers}"
            tally = kill_runs(place, references[processes], each, workers, arguments.seed)
            figures = {name: value for name, value in vars(tally).items() if name != "faults"}
            rows.append({"processes": processes, "workers": workers, **figures, "faults": len(tally.faults)})
            faults += tally.faults
    tell("killed and resumed", rows, faults)


if __name__ == "__main__":
    main()
