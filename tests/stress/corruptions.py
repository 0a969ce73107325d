"""Damage to the newest checkpoint: found, named, and the one before is taken instead.

    python -m tests.stress.corruptions --corruptions 50

Trains a toy run, then damages its newest checkpoint in one way after the other: files cut off, with a flipped byte,
missing, empty, of another step or another run, folders in place of files, manifests that were edited. `mtp eval` and
`mtp train --resume` must name the file and go back to the step before; the run must end as it did without damage.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from multitask.files import MANIFEST, seal_folder

from .. import command_line as tools
from .examining import differences, tell
from .running import recipe

STEPS, DAMAGED, BEFORE = 8, "step-00000006", "step-00000004"
RECIPE = (*recipe(STEPS, "train.save_every=2", "train.keep=4", "train.eval_every=6"),)
ALL = ("model.safetensors", "ema.safetensors", "optimizer.safetensors", "state.json", "config.json", "vocabulary.json",
       "text.model", MANIFEST)  # fmt: skip
EVALUATED = set(ALL) - {"model.safetensors", "optimizer.safetensors", "state.json"}  # what `mtp eval` reads
OF_A_STEP = ("model.safetensors", "ema.safetensors", "optimizer.safetensors", "state.json", MANIFEST)


@dataclass(frozen=True)
class Corruption:
    """A way to damage a file of a checkpoint."""

    kind: str
    file: str

    def apply(self, checkpoint: Path, other: Path, rng: random.Random) -> None:
        """`other` is the checkpoint of an unlike run."""
        KINDS[self.kind][0](checkpoint / self.file, other, rng)


def cut(file: Path, _: Path, rng: random.Random) -> None:
    file.write_bytes((content := file.read_bytes())[: rng.randrange(1, len(content))])


def flip(file: Path, _: Path, rng: random.Random) -> None:
    content = bytearray(file.read_bytes())
    content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    file.write_bytes(content)


def remove(file: Path, _: Path, rng: random.Random) -> None:
    file.unlink()


def empty(file: Path, _: Path, rng: random.Random) -> None:
    file.write_bytes(b"")


def turn_into_folder(file: Path, _: Path, rng: random.Random) -> None:
    file.unlink()
    file.mkdir()


def take_other_step(file: Path, _: Path, rng: random.Random) -> None:
    shutil.copy(file.parents[1] / BEFORE / file.name, file)


def take_other_run(file: Path, other: Path, rng: random.Random) -> None:
    shutil.copy(other / file.name, file)


def take_other_run_sealed(file: Path, other: Path, rng: random.Random) -> None:
    """With a manifest that says it belongs there: nothing but its meaning can tell."""
    take_other_run(file, other, rng)
    info = json.loads((file.parent / MANIFEST).read_text())
    (file.parent / MANIFEST).unlink()
    seal_folder(file.parent, {name: info[name] for name in info.keys() - {"files", "sha256"}})


def edit(file: Path, _: Path, rng: random.Random) -> None:
    """As somebody would who knows what a field means."""
    document = json.loads(file.read_text())
    listed = document["files"]
    changes: list[Callable[[], object]] = [
        lambda: document.update(step=8),
        lambda: document.update(format=2),
        lambda: listed.pop("ema.safetensors"),
        lambda: listed.update({"ema.safetensors": listed["model.safetensors"]}),
        lambda: document.update(files=[]),
        lambda: document.pop("sha256"),
    ]
    rng.choice(changes)()
    file.write_text(json.dumps(document, sort_keys=True, indent=1))


KINDS: dict[str, tuple[Callable[[Path, Path, random.Random], None], tuple[str, ...]]] = {
    "cut off": (cut, ALL),
    "a flipped bit": (flip, ALL),
    "missing": (remove, ALL),
    "empty": (empty, ALL),
    "a folder": (turn_into_folder, ALL),
    "of another step": (take_other_step, OF_A_STEP),
    "of another run": (take_other_run, ("vocabulary.json", "config.json", "model.safetensors", MANIFEST)),
    "of another run, sealed": (take_other_run_sealed, ("vocabulary.json", "config.json")),
    "edited": (edit, (MANIFEST,) * 4),
}


def corruptions(wanted: int) -> list[Corruption]:
    """So many, every kind about as often, each of its files in turn."""
    rows = [[Corruption(kind, file) for file in files] for kind, (_, files) in KINDS.items()]
    longest = max(map(len, rows))
    found = [row[n % len(row)] for n, row in product(range(longest), rows)]
    return [found[n % len(found)] for n in range(wanted)]


class Workshop:
    """An unfinished run to be damaged, copy by copy, and the end that it should come to."""

    def __init__(self, folder: Path, shell: tools.Shell) -> None:
        """Trains it. Raises AssertionError where that fails."""
        self.folder, self.shell = folder, shell
        self.reference, self.sound, other = (folder / name for name in ("reference", "sound", "other"))
        for run, more in ((self.reference, ()), (other, ("bins=32", "model.decoder.dim=16"))):
            done = shell.mtp("train", *RECIPE, *more, "--out", str(run))
            assert done.code == 0, done.err
        self.other = other / "checkpoints" / DAMAGED
        shutil.copytree(self.reference, self.sound)
        checkpoints = self.sound / "checkpoints"
        shutil.rmtree(checkpoints / f"step-{STEPS:08}")
        for pointer in ("latest", "best"):
            (checkpoints / pointer).write_text(DAMAGED)

    def damage(self, corruption: Corruption, number: int) -> Path:
        """A damaged copy of the run."""
        run = self.folder / f"{number}"
        shutil.copytree(self.sound, run)
        corruption.apply(run / "checkpoints" / DAMAGED, self.other, random.Random(number))
        return run

    def faults(self, corruption: Corruption, number: int) -> Iterator[str]:
        """What is wrong with how a damaged copy is met."""
        run = self.damage(corruption, number)
        place = f"{number}: {corruption}"
        scored = self.shell.mtp("eval", "--model", str(run), "--json")
        resumed = self.shell.mtp("train", "--resume", "--out", str(run))
        if corruption.file in EVALUATED:
            yield from judged(f"{place}: eval", corruption, scored)
        elif scored.code:
            yield f"{place}: eval does without this file, and ends with {scored.code}: {scored.err}"
        yield from judged(f"{place}: resume", corruption, resumed)
        if resumed.code == 0:
            yield from differences(run, self.reference, more_lines=True)
        shutil.rmtree(run)


def judged(place: str, corruption: Corruption, done: tools.Done) -> Iterator[str]:
    """It must be named and passed over; what was sealed again may also be refused, in one line."""
    if "sealed" in corruption.kind and done.code in (4, 5) and done.err.count("\n") == 1:
        return
    said = done.err[-300:]
    if done.code:
        yield f"{place}: exit code {done.code}: {said}"
    elif f"went back to {BEFORE}" not in done.err:
        yield f"{place}: does not say that it went back: {said}"
    named = f"{DAMAGED}/{'' if corruption.file == MANIFEST else corruption.file}"  # a manifest accuses other files
    if named not in done.err:
        yield f"{place}: {named} is not named: {said}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corruptions", type=int, default=50)
    wanted = corruptions(parser.parse_args().corruptions)
    faults: list[str] = []
    with tempfile.TemporaryDirectory() as folder, tools.Shell(Path(folder)) as shell:
        workshop = Workshop(Path(folder), shell)
        for number, corruption in enumerate(wanted):
            faults += workshop.faults(corruption, number)
    kinds = [c.kind for c in wanted]
    tell("damaged checkpoints", [{"kind": kind, "tried": kinds.count(kind)} for kind in dict.fromkeys(kinds)], faults)


if __name__ == "__main__":
    main()
