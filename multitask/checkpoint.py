"""Checkpoints: weights, config, vocabulary and training state, in folders that are checked byte for byte at load.

    RUN/config.yaml
    RUN/checkpoints/latest, best        text files with the name of a folder
    RUN/checkpoints/step-00000100/      model.safetensors  ema.safetensors (if averaged)  optimizer.safetensors
                                        state.json  config.json  vocabulary.json  text.model  manifest.json

A folder appears whole or not at all; `latest` and `best` turn to it afterwards. Nothing is ever unpickled.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from .config import Config, to_yaml
from .errors import CheckpointError, UsageError
from .files import SealedFolder, atomic_folder, remove_leftovers, seal_folder, space_advice, write_atomic
from .model.state import Tensors, load_into
from .run_folder import first_sound, free_name, point, prune
from .yamlio import check

__all__ = ["Saved", "Training", "find_run", "load_into", "load_training", "load_weights", "mark_best", "save"]

FORMAT = 1


@dataclass(frozen=True, eq=False)
class Saved:
    """What prediction needs of a checkpoint. `weights` are the averaged ones where the run has them."""

    folder: Path  # the checkpoint's own
    file: Path  # that `weights` come from
    step: int
    config: Config
    vocabulary: dict[str, Any]
    text_model: bytes
    weights: dict[str, Tensor]
    notice: str = ""  # one line, not empty when a damaged checkpoint was passed over


@dataclass(frozen=True, eq=False)
class Training(Saved):
    """What going on needs. `weights` are the raw ones; `tensors` and `state` are what `save` was given."""

    ema: dict[str, Tensor] | None = None
    tensors: dict[str, Tensor] = field(default_factory=dict)
    state: dict[str, Any] = field(default_factory=dict)


def save(
    run: Path,
    step: int,
    *,
    config: Config,
    vocabulary: Mapping[str, Any],
    text_model: bytes,
    model: Tensors,
    ema: Tensors | None = None,
    tensors: Tensors,
    state: Mapping[str, Any],
    keep: int = 2,
) -> Path:
    """Writes a checkpoint, turns `latest` to it, then removes all but the newest `keep` and the best.

    `model` and `ema` are whole state dicts; `tensors` any others that training needs (see model/state.py), `state` any
    JSON object. Returns the new folder. Raises CheckpointError when it cannot be written; older ones stay as they are.
    """
    folder = run / "checkpoints"
    groups = {"model": model, "ema": ema, "optimizer": tensors}
    documents = {"state": state, "config": config.model_dump(mode="json"), "vocabulary": vocabulary}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        remove_leftovers(folder)
        write_atomic(run / "config.yaml", to_yaml(config).encode())
        new = free_name(folder, step)
        with atomic_folder(new) as temporary:
            for name, group in groups.items():
                if group is not None:
                    safetensors.torch.save_file(_owned(group), temporary / f"{name}.safetensors")
            for name, document in documents.items():
                (temporary / f"{name}.json").write_text(json.dumps(document), encoding="utf-8")
            (temporary / "text.model").write_bytes(text_model)
            seal_folder(temporary, {"format": FORMAT, "step": step})
        point(folder, "latest", new)
        prune(folder, new, keep)
    except (OSError, SafetensorError) as error:
        reason = space_advice(error, run) or error
        raise CheckpointError(f"{folder}: step {step} cannot be saved: {reason}; older ones are whole") from error
    return new


def mark_best(checkpoint: Path, keep: int) -> None:
    """Turns `best` to a checkpoint, the newest of its run, and removes the one that it was turned to if that is old.

    Raises CheckpointError when it cannot.
    """
    try:
        point(checkpoint.parent, "best", checkpoint)
        prune(checkpoint.parent, checkpoint, keep)
    except OSError as error:
        reason = space_advice(error, checkpoint.parent) or error
        raise CheckpointError(f"{checkpoint.parent / 'best'}: cannot be turned: {reason}") from error


def load_weights(path: Path | str, which: str = "best") -> Saved:
    """Of a checkpoint, or of the `best` or `latest` of a run; if that is damaged, of the one before, with a `notice`.

    Raises CheckpointError: not a run, every checkpoint damaged, or a file of a kind that can run code.
    """
    saved, notice = first_sound(Path(path), which, _read_weights)
    return replace(saved, notice=notice)


def load_training(path: Path | str) -> Training:
    """Of a checkpoint, or of the `latest` of a run, as `load_weights`."""
    saved, notice = first_sound(Path(path), "latest", _read_training)
    return replace(saved, notice=notice)


def find_run(root: Path | str = "runs", needs: Iterable[str] = ()) -> Path:
    """The run under `root` that was saved last, of those that have the tasks `needs`. Raises CheckpointError."""
    needs, found = list(needs), []
    pointers = sorted(Path(root).glob("*/checkpoints/latest"), key=lambda p: p.stat().st_mtime_ns, reverse=True)
    for run in (pointer.parents[1] for pointer in pointers):
        try:
            tasks = first_sound(run, "latest", _config)[0].tasks
        except CheckpointError:
            found.append(f"{run.name} (damaged)")
            continue
        if set(needs) <= tasks.keys():
            return run
        found.append(f"{run.name} ({', '.join(tasks)})")
    wanted = f" with {', '.join(needs)}" if needs else ""
    raise CheckpointError(f"{root}: no run{wanted}; found: {', '.join(found) or 'none'}; train one, or name its folder")


def _owned(tensors: Tensors) -> dict[str, Tensor]:
    """Copies on the CPU that share no memory, as the format wants."""
    return {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}


def _read_weights(folder: SealedFolder) -> Saved:
    config, vocabulary, text_model = _config(folder), _json(folder, "vocabulary.json"), folder.read("text.model")
    file = "ema.safetensors" if "ema.safetensors" in folder.files else "model.safetensors"
    weights, path = _tensors(folder, file), folder.path
    return Saved(path, path / file, folder.info["step"], config, vocabulary, text_model, weights)


def _read_training(folder: SealedFolder) -> Training:
    saved = _read_weights(folder)
    ema = saved.weights if saved.file.name == "ema.safetensors" else None
    model = _tensors(folder, "model.safetensors") if ema else saved.weights
    fields = {**vars(saved), "file": folder.path / "model.safetensors", "weights": model, "ema": ema}
    return Training(**fields, tensors=_tensors(folder, "optimizer.safetensors"), state=_json(folder, "state.json"))


def _config(folder: SealedFolder) -> Config:
    if folder.info.get("format") != FORMAT or not isinstance(folder.info.get("step"), int):
        raise CheckpointError(f"{folder.path}: its format is {folder.info.get('format')}, this version reads {FORMAT}")
    try:
        return check(Config, _json(folder, "config.json"), str(folder.path / "config.json"))
    except UsageError as error:
        raise CheckpointError(str(error)) from error


def _json(folder: SealedFolder, name: str) -> dict[str, Any]:
    try:
        value = json.loads(folder.read(name))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{folder.path / name}: not JSON: {error}") from error
    if not isinstance(value, dict):
        raise CheckpointError(f"{folder.path / name}: expected a JSON object")
    return value


def _tensors(folder: SealedFolder, name: str) -> dict[str, Tensor]:
    """From bytes rather than a memory map, where a file that shrinks meanwhile would end the process."""
    try:
        return safetensors.torch.load(folder.read(name))
    except (SafetensorError, ValueError, KeyError) as error:
        raise CheckpointError(f"{folder.path / name}: not a safetensors file: {error}") from error
