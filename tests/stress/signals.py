"""SIGTERM and SIGINT at any moment: a run saves, says how to go on, is gone soon, and loses nothing.

    python -m tests.stress.signals --signals 20 --workers 0 2 --processes 1 2

Sends signals to a toy run while it starts, steps, saves and evaluates: to its main process (the agent of `torchrun`,
where there are several) or to all of its processes at once, and resumes it each time. Checks that it ends within 10
seconds with 128 + the signal's number (`torchrun` has codes of its own), that the last line tells how to go on and
from which step, that this step is saved, and that 5 seconds later no process is left; at the end the run must equal
one that nobody disturbed. Needs Linux.
"""

from __future__ import annotations

import argparse
import random
import re
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count, cycle, islice, product
from pathlib import Path

from .chains import Chain, Reference, undisturbed
from .examining import tell, unloadable, unsound
from .running import Running, completed, is_saving, recipe, records

GONE, LEFT = 10.0, 5.0  # seconds until the run has ended, and until the last of its processes has
EVALUATIONS = ("train.eval_every=30", "data.val_size=16")
MOMENTS = ("starting", "stepping", "saving", "evaluating")
STOPPED = re.compile(r"stopped at step (\d+): go on with (?:mtp|torchrun \.\.\. -m multitask) train --resume --out \S+")


@dataclass(frozen=True)
class Shot:
    """A signal, the moment for it, and whether all processes get it or the main one alone."""

    moment: str
    number: signal.Signals
    to_all: bool


@dataclass
class Tally:
    """What was done, and what was wrong."""

    signals: int = 0
    saved: int = 0  # that the run answered with a save
    slowest: float = 0.0  # seconds from a signal to the end
    runs: int = 0  # that came to their end
    faults: list[str] = field(default_factory=list)


def shots(moments: Sequence[str] = MOMENTS) -> Iterator[Shot]:
    """Every moment with every signal, in turn to the main process and to all."""
    return cycle(Shot(m, n, a) for a in (False, True) for n in (signal.SIGTERM, signal.SIGINT) for m in moments)


def wait_for(shot: Shot, running: Running, chain: Chain, rng: random.Random) -> None:
    """Until the moment of the shot, or the end of the run."""
    if shot.moment == "starting":
        until = running.begun + chain.reference.start * rng.uniform(0, 0.95)
        running.until(lambda: time.monotonic() > until)
        return
    begin, steps = len(records(chain.run)), rng.randint(1, 4)
    running.until(lambda: len(records(chain.run)) >= begin + steps)
    if shot.moment == "saving":
        running.until(lambda: not is_saving(chain.run))
        running.until(lambda: is_saving(chain.run))
    elif shot.moment == "evaluating":
        running.until(lambda: is_evaluating(chain))
    time.sleep(rng.uniform(0, 0.05))


def is_evaluating(chain: Chain) -> bool:
    """Whether an evaluation is due at the step that was told last, and its scores are not there."""
    last = records(chain.run)[-1]
    return last["step"] % 30 == 0 and "scores" not in last


def fire(shot: Shot, running: Running, chain: Chain, tally: Tally) -> None:
    """Send the signal, and see what becomes of it."""
    place, several = f"{chain.folder} {shot}", chain.reference.processes > 1
    begun, before = time.monotonic(), completed(chain.run)
    running.send(shot.number, running.everyone() if shot.to_all else [running.process.pid])
    try:
        code = running.wait(3 * GONE)
    except subprocess.TimeoutExpired:
        tally.faults.append(f"{place}: still there after {3 * GONE:.0f} s")
        return
    seconds = time.monotonic() - begun
    tally.signals, tally.slowest = tally.signals + 1, max(tally.slowest, round(seconds, 2))
    tally.faults += [f"{place}: took {seconds:.1f} s"] * (seconds > GONE)
    if left := running.until_gone(LEFT):
        tally.faults.append(f"{place}: processes {left} are left")
    if code != 128 + shot.number and not (several and code):
        tally.faults.append(f"{place}: exit code {code}: {running.lines[-2:]}")
    tally.faults += [*unsound(chain.run), *judged_words(shot, running, chain, before, tally)]


def judged_words(shot: Shot, running: Running, chain: Chain, before: int, tally: Tally) -> Iterator[str]:
    """What is wrong with what a run said at its end and saved. Before it is up, all that counts is that it ends."""
    place, told = f"{chain.folder} {shot}", [found for line in running.lines if (found := STOPPED.search(line))]
    if told:
        tally.saved += 1
        if int(told[-1][1]) != completed(chain.run):
            yield f"{place}: {told[-1][0]}, but saved is step {completed(chain.run)}"
    elif shot.moment != "starting":
        yield f"{place}: does not say how to go on: {running.lines[-2:]}"
    if shot.moment != "starting" and chain.reference.processes == 1 and any("Trace" in line for line in running.lines):
        yield f"{place}: a traceback"
    yield from unloadable(chain.run, before)


def shoot_again_and_again(chain: Chain, planned: Sequence[Shot], rng: random.Random, tally: Tally) -> None:
    """One run to its end, with these signals on the way if it is long enough."""
    for shot in planned:
        with chain.go_on() as running:
            wait_for(shot, running, chain, rng)
            if chain.ended_by_itself(running):
                break
            fire(shot, running, chain, tally)
    tally.faults += chain.finish(more_lines=True)
    tally.runs += 1


def shoot_runs(folder: Path, reference: Reference, wanted: int, workers: int, seed: int = 0) -> Tally:
    """As many runs as it takes for so many signals."""
    rng, tally, planned = random.Random(f"{seed} {workers} {reference.processes}"), Tally(), shots()
    for number in count():
        if tally.signals >= wanted or number > 2 * wanted:
            return tally
        chain = Chain(folder / f"{number}", reference, f"data.workers={workers}")
        shoot_again_and_again(chain, list(islice(planned, min(4, wanted - tally.signals))), rng, tally)
    raise AssertionError


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--signals", type=int, default=20, help="of each combination")
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 2], help="loader processes")
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    rows, faults, references = [], [], {}
    with tempfile.TemporaryDirectory() as name:
        folder, words = Path(name), recipe(chosen.steps, *EVALUATIONS)
        for processes in chosen.processes:
            references[processes] = undisturbed(folder / f"reference-{processes}", words, processes)
        for processes, workers in product(chosen.processes, chosen.workers):
            place = folder / f"{processes}-{workers}"
            tally = shoot_runs(place, references[processes], chosen.signals, workers, chosen.seed)
            figures = {name: value for name, value in vars(tally).items() if name != "faults"}
            rows.append({"processes": processes, "workers": workers, **figures, "faults": len(tally.faults)})
            faults += tally.faults
    tell("ended by a signal and resumed", rows, faults)


if __name__ == "__main__":
    main()
