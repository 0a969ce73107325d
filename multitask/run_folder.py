"""The checkpoints of a run: their names and order, the pointers to them, which to keep, and which is sound."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from .errors import CheckpointError
from .files import MANIFEST, SealedFolder, remove_folder, write_atomic

NAME = re.compile(r"step-[0-9]{8,12}(\.[0-9]{1,6})?")  # .1, .2 … when a step is saved again
T = TypeVar("T")


def steps(folder: Path) -> list[Path]:
    """Checkpoints, the newest first."""
    return sorted((p for p in folder.glob("step-*") if NAME.fullmatch(p.name) and p.is_dir()), key=_order)[::-1]


def _order(path: Path) -> tuple[int, int]:
    step, _, again = path.name.removeprefix("step-").partition(".")
    return int(step), int(again or 0)


def free_name(folder: Path, step: int) -> Path:
    """Where to write a checkpoint of `step`; an older one of the same step stays until the new one is whole."""
    taken = [_order(path)[1] for path in steps(folder) if _order(path)[0] == step]
    return folder / (f"step-{step:08d}" + (f".{max(taken) + 1}" if taken else ""))


def point(folder: Path, pointer: str, checkpoint: Path) -> None:
    """Turns a pointer to a checkpoint that is on the disk."""
    write_atomic(folder / pointer, checkpoint.name.encode())


def prune(folder: Path, new: Path, keep: int) -> None:
    """Keeps the newest `keep`, `new` among them, and the best.

    Steps at or after `new` go too: they were damaged, or belong to a course that the run has left.
    """
    older = [path for path in steps(folder) if _order(path)[0] < _order(new)[0]]
    kept = {new, *older[: max(keep, 1) - 1], *_pointed(folder, "best")}
    for path in set(steps(folder)) - kept:
        with suppress(OSError):  # what cannot be removed harms nobody
            remove_folder(path)


def _pointed(folder: Path, pointer: str) -> list[Path]:
    """The checkpoint that a pointer names, if it names one; it cannot lead out of the folder."""
    file = folder / pointer
    name = file.read_text(errors="replace").strip() if file.is_file() and file.stat().st_size < 100 else ""
    return [folder / name] if NAME.fullmatch(name) else []


def _candidates(path: Path, which: str) -> list[Path]:
    """The checkpoints to try, the wanted one first."""
    if path.is_file():
        advice = "of weights that you trust, make a safetensors file with mtp convert-weights for model.pretrained"
        raise CheckpointError(f"{path}: not a run's folder, and not opened, since such files can run code; {advice}")
    if (path / MANIFEST).exists():
        return [path]
    folder = path / "checkpoints"
    found = [*_pointed(folder, which), *_pointed(folder, "latest"), *steps(folder)]
    if not found:
        raise CheckpointError(f"{path}: no checkpoint there: name a run's folder, or one of its checkpoints/step-*")
    return list(dict.fromkeys(found))


def first_sound(path: Path, which: str, read: Callable[[SealedFolder], T]) -> tuple[T, str]:
    """What `read` makes of the first checkpoint that is whole, and a line about those that were not."""
    faults: list[str] = []
    for folder in _candidates(path, which):
        try:
            return read(SealedFolder(folder)), "; ".join([*faults, f"went back to {folder.name}"] if faults else [])
        except CheckpointError as error:
            faults.append(str(error))
    raise CheckpointError("; ".join(faults))
