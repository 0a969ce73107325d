"""Batches whose loss is not a number: skipped and named, ten in a row end the run, and nothing of them is kept.

    python -m tests.stress.bad_batches --bad 20

Trains a toy run in which the decoder answers NaN at 20 chosen steps, and one in which it does so ten times in a row.
The first must end as if nothing were, with the steps and their images in `bad_steps.jsonl`; the second with exit code
1 and a sound checkpoint. No file of either may hold a number that is none.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from .examining import not_finite, tell, unloadable, unsound
from .running import Running, completed, recipe

STEPS, ROW = 90, 10


def inject(steps: Sequence[int]) -> None:
    """From now on, in this process: no sound answers of a decoder that learns, at the updates of these steps."""
    from multitask.model.encoder_decoder import EncoderDecoder
    from multitask.training.trainer import Trainer

    update, decode, now = Trainer.update, EncoderDecoder.decode, [0]

    def noted(trainer: Trainer, *parts: Any, **options: Any) -> Any:
        now[0] = trainer.progress.step + 1
        return update(trainer, *parts, **options)

    def spoilt(model: EncoderDecoder, *inputs: Any, **options: Any) -> Any:
        hidden = decode(model, *inputs, **options)
        return hidden * float("nan") if model.training and now[0] in steps else hidden

    Trainer.update, EncoderDecoder.decode = noted, spoilt  # type: ignore[method-assign]


def bad_run(folder: Path, bad: Sequence[int], words: Sequence[str]) -> Running:
    """A run in `folder/run` that is spoilt at the steps `bad`."""
    command = [sys.executable, "-m", "tests.stress.bad_batches", "--inject", json.dumps(list(bad)), "train", *words]
    return Running(folder, [*command, "--out", str(folder / "run")])


def scattered(folder: Path, count: int, steps: int = STEPS, seed: int = 0) -> Iterator[str]:
    """What is wrong with a run of which so many steps are bad, never ten in a row."""
    bad = sorted(random.Random(seed).sample(range(1, steps), count))
    with bad_run(folder, bad, recipe(steps)) as running:
        if (code := running.wait()) != 0:
            yield f"exit code {code}: {running.lines[-2:]}"
    yield from examined(folder / "run", bad)
    if completed(folder / "run") != steps:
        yield f"{folder}: ended at step {completed(folder / 'run')}"


def in_a_row(folder: Path, first: int = 20, before: Sequence[int] = (), steps: int = STEPS) -> Iterator[str]:
    """What is wrong with a run of which ten steps in a row are bad, and single ones `before`."""
    bad = [*before, *range(first, first + ROW)]
    with bad_run(folder, bad, recipe(steps)) as running:
        code, said = running.wait(), [line for line in running.lines if line.startswith("error: ")]
    if code != 1 or len(said) != 1 or "in a row" not in said[0]:
        yield f"{folder}: exit code {code}: {said}"
    yield from examined(folder / "run", bad)
    yield from unloadable(folder / "run", first - 3)


def examined(run: Path, bad: Sequence[int]) -> Iterator[str]:
    """What is wrong with the files of a run, whose bad steps were these."""
    yield from unsound(run)
    yield from not_finite(run)
    file = run / "bad_steps.jsonl"
    told = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    if [record["step"] for record in told] != list(bad):
        yield f"{file}: steps {[record['step'] for record in told]}, bad were {list(bad)}"
    for record in told:
        if not record.get("files") or not all(isinstance(name, str) and name for name in record["files"]):
            yield f"{file}: step {record['step']} names no images"


def main() -> None:
    if sys.argv[1:2] == ["--inject"]:
        from multitask.cli import main as mtp

        inject(json.loads(sys.argv[2]))
        sys.argv[1:] = sys.argv[3:]
        mtp()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bad", type=int, default=20)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        faults = [*scattered(Path(folder) / "scattered", chosen.bad), *in_a_row(Path(folder) / "row")]
    tell("bad batches", [{"scattered": chosen.bad, "in a row": ROW}], faults)


if __name__ == "__main__":
    main()
