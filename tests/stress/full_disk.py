"""A disk that fills up while a run goes: one clear line, and everything saved before is whole.

    python -m tests.stress.full_disk --times 20

Trains a toy run on a small disk in memory and fills that, at a random moment, but for a random rest. The run must end
with one line that says so and what to do, with exit code 1 or 5, and with its last checkpoint whole; when there is
room again it must go on to the same end as an undisturbed one. Needs Linux, and leave to mount (it asks `unshare`).
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from .chains import Chain, Reference, undisturbed
from .examining import tell, unloadable, unsound
from .running import Running, completed, newest, recipe

DISK, CHECKPOINT = 60_000_000, 2_500_000  # bytes; the latter at least
PRIVATE = ("unshare", "--user", "--map-root-user", "--mount")  # mounts that nobody else sees, by anybody
BLOCK = 1 << 16


def may_mount() -> bool:
    """Whether this system lets a user mount a disk of his own."""
    try:
        return subprocess.run([*PRIVATE, "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


def keep_full(folder: Path, rest: int, running: Running) -> Path:
    """A file that takes all room but `rest` bytes, also what is freed meanwhile, until the run has ended."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        while not running.ended:
            try:
                file.write(bytes(min(max(0, _free(folder) - rest), BLOCK)))
            except OSError:  # the run was quicker
                continue
    return ballast


def _free(folder: Path) -> int:
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


def fill_and_go_on(disk: Path, reference: Reference, steps: int, rng: random.Random) -> Iterator[str]:
    """What is wrong with how one run on `disk` meets its end and goes on; its words are kept beside the disk."""
    chain = Chain(disk.with_name("words"), reference, run=disk / "run")
    with chain.go_on() as running:
        wanted = rng.randrange(3, steps * 3 // 4, 3)
        running.until(lambda: newest(chain.run) >= wanted)
        time.sleep(rng.uniform(0, 0.1))
        ballast = keep_full(disk, rng.choice([0, rng.randrange(CHECKPOINT)]), running)
        code = running.wait()
        said = [line for line in running.lines if line.startswith(("error: ", "Traceback"))]
    saved = completed(chain.run)
    if code not in (1, 5) or len(said) != 1:
        yield f"exit code {code} and {said}"
    elif not all(word in said[0] for word in ("disk is full", "remove", str(chain.run))):
        yield f"does not say what to do: {said[0]}"
    yield from unsound(chain.run)
    yield from unloadable(chain.run, saved)
    ballast.unlink()
    yield from chain.finish(more_lines=True)


def fill_disks(disk: Path, reference: Reference, steps: int, times: int, seed: int = 0) -> list[str]:
    """In a process that may mount: every time on an empty disk."""
    faults: list[str] = []
    for number in range(times):
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK}", "none", str(disk)], check=True)
        found = fill_and_go_on(disk, reference, steps, random.Random(f"{seed} {number}"))
        faults += [f"{number}: {fault}" for fault in found]
        subprocess.run(["umount", str(disk)], check=True)
    return faults


def in_private(*words: str) -> subprocess.CompletedProcess[str]:
    """This tool in a process that may mount."""
    command = [*PRIVATE, sys.executable, "-m", "tests.stress.full_disk", "--private", *words]
    return subprocess.run(command, text=True, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--reference", type=Path, help="undisturbed run of so many steps, if there is one")
    parser.add_argument("--private", action="store_true", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if not chosen.private:
        done = in_private(*sys.argv[1:])
        print(done.stdout, end="")
        sys.exit(done.returncode)
    with tempfile.TemporaryDirectory() as name:
        words, run = recipe(chosen.steps), chosen.reference
        reference = Reference(run, words, 1, 0, 0) if run else undisturbed(Path(name) / "reference", words)
        (disk := Path(name) / "disk").mkdir()
        faults = fill_disks(disk, reference, chosen.steps, chosen.times)
    tell("full disks", [{"times": chosen.times}], faults)


if __name__ == "__main__":
    main()
