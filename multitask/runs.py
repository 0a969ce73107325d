"""What the files of a run tell about it, whatever their state; no weights are read, and no torch is imported."""

from __future__ import annotations

import json
import os.path
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .config import Config, load_config
from .errors import CheckpointError, MtpError
from .files import SealedFolder
from .run_folder import first_sound
from .yamlio import check

METRICS, BAD_STEPS = "metrics.jsonl", "bad_steps.jsonl"
SIGNS = (METRICS, "checkpoints/latest")  # either makes a folder a run
TAIL = 1 << 16  # bytes at the end of a log that surely hold a line


@dataclass
class Summary:
    """A run in short; what is unknown is empty or None."""

    folder: Path
    tasks: tuple[str, ...] = ()
    step: int = 0
    steps: int | None = None
    metric: str = ""  # that decides which checkpoint is the best
    best: float | None = None
    scores: dict[str, float | None] = field(default_factory=dict)  # by "task/metric", of the last evaluation
    changed: float = 0.0  # seconds since 1970
    finished: bool = False
    fault: str = ""  # what is damaged, in one line

    @property
    def state(self) -> str:
        """One word."""
        return "damaged" if self.fault else "finished" if self.finished else "unfinished"


def summaries(root: Path) -> list[Summary]:
    """Of the runs in a folder, or of the run that it is; the one that changed last stands last.

    Raises CheckpointError where there is none.
    """
    runs = [root] if _is_run(root) else [path for path in _entries(root) if _is_run(path)]
    if not runs:
        raise CheckpointError(f"{root}: no run there: train one, or name the folder that holds them")
    return sorted(map(summary, runs), key=lambda one: (one.changed, one.folder))


def summary(run: Path) -> Summary:
    """Of one run; never raises for what its files hold."""
    found = Summary(run, changed=max(_changed(run / sign) for sign in SIGNS))
    try:
        history = evaluations(run / METRICS)
        found.step = _last_step(run / METRICS)
        config, saved = _saved(run, found)
        if config:
            found.tasks, found.steps, found.metric = tuple(config.tasks), config.train.steps, config.train.best
            found.finished = min(saved, max(history, default=0)) >= config.train.steps
        found.step = max(found.step, saved)
        _judge(found, history)
    except (MtpError, OSError) as error:
        found.fault = str(error)
    return found


def _judge(found: Summary, history: Mapping[int, Mapping[str, float | None]]) -> None:
    """Puts the last scores in, and the best value of the metric that decides."""
    found.scores = dict(history[max(history)]) if history else {}
    found.metric = found.metric or next(iter(found.scores), "")
    values = [scores.get(found.metric) for scores in history.values()]
    found.best = max((value for value in values if value is not None), default=None)


def _saved(run: Path, found: Summary) -> tuple[Config | None, int]:
    """Config and step of the latest checkpoint that is whole; before the first one, config.yaml may tell."""
    if any((run / "checkpoints").glob("step-*")):
        saved, found.fault = first_sound(run, "latest", _read)
        return saved
    return (load_config(str(run / "config.yaml")) if (run / "config.yaml").exists() else None), 0


def _read(folder: SealedFolder) -> tuple[Config, int]:
    file = folder.path / "config.json"
    try:
        config, step = json.loads(folder.read(file.name)), int(folder.info["step"])
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise CheckpointError(f"{file}: damaged (not as it was written)") from error
    return check(Config, config, str(file)), step


# ------------------------------------------------------------------------------------------------------------- logs


def parsed(line: bytes) -> dict[str, Any] | None:
    """The record of a line of a log, which has a whole number "step"; None where there is no such record."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) and isinstance(record.get("step"), int) else None


def records(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a log, one after the other; those that are damaged are left out.

    Raises CheckpointError where there is no log, or it cannot be read.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: missing, or not a file: name the folder of a run")
    try:
        with path.open("rb") as file:
            yield from (record for line in file if (record := parsed(line)))
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from error


def evaluations(path: Path) -> dict[int, dict[str, float | None]]:
    """Scores by step and "task/metric", in the order of a log; none where there is no log. Raises OSError."""
    if not path.is_file():
        return {}
    with path.open("rb") as file:  # few lines are scores: the others need not be understood
        found = [record for line in file if b'"scores"' in line and (record := parsed(line))]
    return {r["step"]: numbers(r["scores"]) for r in found if isinstance(r.get("scores"), dict)}


def numbers(values: Mapping[str, object]) -> dict[str, float | None]:
    """The values by name, with None for what is no finite number."""
    most = sys.float_info.max
    return {name: v if isinstance(v, int | float) and abs(v) <= most else None for name, v in values.items()}


def _last_step(path: Path) -> int:
    """Of the last whole line; 0 where there is no log. Raises CheckpointError where none of its lines is whole."""
    if not path.is_file():
        return 0
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - TAIL))
        lines = file.read(TAIL).splitlines()
    found = next((record for record in map(parsed, reversed(lines)) if record), None)
    if found is None and len(lines) > 1:
        raise CheckpointError(f"{path}: damaged (no line of its end is a record)")
    return int(found["step"]) if found else 0


# ------------------------------------------------------------------------------------------------------------- places


def _entries(root: Path) -> list[Path]:
    try:
        return list(root.iterdir())
    except OSError as error:
        raise CheckpointError(f"{root}: no runs there: {error.strerror}") from error


def _is_run(path: Path) -> bool:
    return any(os.path.exists(path / sign) for sign in SIGNS)


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
