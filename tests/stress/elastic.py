"""`torchrun --max-restarts`: when a process is killed, all begin anew from the last checkpoint.

    python -m tests.stress.elastic --kills 3

Trains a toy run in two processes, kills one of them at random moments and does nothing else: the run must come to the
same end as an undisturbed one. Needs Linux.
"""

from __future__ import annotations

import argparse
import random
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

from .chains import Chain, Reference, undisturbed
from .examining import tell
from .running import completed, recipe

PROCESSES = 2


def kill_workers(folder: Path, reference: Reference, kills: int, seed: int = 0) -> Iterator[str]:
    """What is wrong with a run of which so many workers are killed, one after the other."""
    rng, chain = random.Random(seed), Chain(folder, reference)
    with chain.go_on(restarts=kills) as running:
        for _ in range(kills):
            wanted = completed(chain.run) + rng.randrange(3, 10, 3)
            running.until(lambda: completed(chain.run) >= wanted)  # noqa: B023
            if running.ended:
                yield f"{folder}: ended with {running.wait()} before all kills: {running.lines[-3:]}"
                return
            running.send(signal.SIGKILL, [rng.choice(running.workers())])
        if (code := running.wait()) != 0:
            yield f"{folder}: exit code {code}: {running.lines[-3:]}"
            return
        chain.through = True
    yield from chain.finish()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--steps", type=int, default=60)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        reference = undisturbed(Path(folder) / "reference", recipe(chosen.steps), PROCESSES)
        faults = list(kill_workers(Path(folder) / "elastic", reference, chosen.kills))
    tell("workers killed under torchrun", [{"kills": chosen.kills}], faults)


if __name__ == "__main__":
    main()
