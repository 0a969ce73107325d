"""What is wrong with a run folder, as lines; no lines: nothing. And how the tools tell what they found."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import safetensors.torch

from multitask.checkpoint import load_training
from multitask.cli.console import table
from multitask.errors import MtpError
from multitask.files import SealedFolder
from multitask.run_folder import steps as checkpoints

from .running import newest, records

SAME = ("model.safetensors", "ema.safetensors", "optimizer.safetensors", "state.json")
VOLATILE = {"images_per_second", "time", "seconds", "memory"}  # what may differ from one time to the next


def unsound(run: Path) -> Iterator[str]:
    """Checkpoints that are not whole, and lines of logs that are not JSON, but for the last one of a file."""
    for folder in checkpoints(run / "checkpoints"):
        try:
            for name in (sealed := SealedFolder(folder)).files:
                sealed.read(name)
        except MtpError as error:
            yield str(error)
    for file in run.glob("*.jsonl"):
        for number, line in enumerate(file.read_bytes().splitlines()[:-1], 1):
            try:
                json.loads(line)
            except ValueError as error:
                yield f"{file}:{number}: {error}"


def unloadable(run: Path, least: int) -> Iterator[str]:
    """Unless the run can go on from step `least` or a later one, without passing over anything."""
    if not newest(run):
        yield from [f"{run}: step {least} was saved and is lost"] if least else []
        return
    try:
        saved = load_training(run)
    except MtpError as error:
        yield str(error)
        return
    if saved.step < least:
        yield f"{run}: step {least} was saved, and it would go on from {saved.step}"
    if saved.notice:
        yield f"{run}: {saved.notice}"


def differences(run: Path, reference: Path, more_lines: bool = False) -> Iterator[str]:
    """Between two runs that ended, in the last checkpoint and the metrics, of which the first may have more lines."""
    last, wanted = (checkpoints(path / "checkpoints")[0] for path in (run, reference))
    for name in SAME:
        if (last / name).read_bytes() != (wanted / name).read_bytes():
            yield f"{last / name}: not that of {wanted}"
    found, expected = ([_stable(record) for record in records(path)] for path in (run, reference))
    if more_lines:
        places = {_place(record) for record in expected}
        found = [record for record in found if _place(record) in places]
    for number, (one, other) in enumerate(zip_longest(found, expected, fillvalue={}), 1):
        if one != other:
            yield f"{run}/metrics.jsonl:{number}: {one}, of {len(expected)} lines expected is {other}"
            return


def _stable(record: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name not in VOLATILE}


def _place(record: Mapping[str, Any]) -> tuple[int, bool]:
    return record["step"], "scores" in record


def not_finite(run: Path) -> Iterator[str]:
    """Files with a number that is none: tensors and JSON, wherever they are."""
    for file in run.rglob("*.safetensors"):
        for name, tensor in safetensors.torch.load_file(file).items():
            if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
                yield f"{file}: {name}"
    for file in (*run.rglob("*.json"), *run.rglob("*.jsonl")):
        for number, line in enumerate(file.read_text().splitlines() if file.suffix == ".jsonl" else [file.read_text()]):
            if not _all_finite(json.loads(line)):
                yield f"{file}:{number + 1}"


def _all_finite(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(map(_all_finite, value.values()))
    if isinstance(value, list):
        return all(map(_all_finite, value))
    return not isinstance(value, float) or math.isfinite(value)


def tell(title: str, rows: Sequence[Mapping[str, Any]], faults: Sequence[str]) -> None:
    """A table, one line of JSON, the faults; the process ends with 1 where there are any."""
    if rows:
        table(title, list(rows[0]), [list(row.values()) for row in rows])
    for fault in faults:
        print(f"FAULT {fault}")
    print(json.dumps({"title": title, "rows": rows, "faults": len(faults)}))
    sys.exit(1 if faults else 0)
