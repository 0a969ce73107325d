"""`mtp train`: from a config to a run folder with checkpoints and scores."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from itertools import chain, count
from pathlib import Path

import torch

from .assembly import empty_model, fitted, make_tasks, open_split, saved_vocabulary
from .checkpoint import find_run, load_training
from .config import Config, changed
from .data.dataset import Dataset
from .data.loader import step_loader
from .errors import UsageError
from .evaluate import Scores
from .files import MANIFEST
from .machine import pick_device
from .processes import Processes
from .run_folder import steps
from .training.display import Display, Silent
from .training.initial import begin
from .training.rate_finder import RateCurve, find_rate
from .training.run import Run
from .training.trainer import Trainer, seed

RATES_TRIED = 100  # steps
SAME_RESULT = (  # settings that a run may go on with otherwise than it was begun
    "data.workers",
    "train.accumulate",
    "train.compile",
    "train.keep",
    "train.parallel",
    "train.recompute",
    "train.save_every",
    "train.tensorboard",
)


def start(config: Config, out: Path | None, device: str, deterministic: bool, display: Display) -> tuple[Path, Scores]:
    """Train a new run; its folder and its scores. Where `torchrun` has begun anew, go on with it.

    Raises UsageError for settings that do not fit, and where the folder already holds a run.
    """
    processes = Processes.started()
    if processes.restarts and out is None:
        raise UsageError("torchrun has begun anew and does not know where: give --out, so that it can go on")
    if processes.restarts and out and steps(out / "checkpoints"):
        return resumed(out, device, deterministic, display)
    with processes.connected(_device(device, processes)):
        run = processes.gather(out or _new_folder(f"{datetime.now():%Y%m%d-%H%M%S}-{'-'.join(config.tasks)}"))[0]
        if any(processes.gather(bool(steps(run / "checkpoints")))):
            raise UsageError(f"{run} already holds a run: give another --out, or --resume to go on with it")
        _prepare(deterministic)
        trainer, dataset = _new_trainer(config, _device(device, processes), processes, display)
        return run, Run(run, trainer, dataset, _shown(display, processes)).train()


def _new_folder(name: str) -> Path:
    """Numbered where another run began in the same second."""
    names = chain([name], (f"{name}-{number}" for number in count(2)))
    return next(path for path in (Path("runs") / name for name in names) if not path.exists())


def tried_rates(config: Config, device: str, deterministic: bool, display: Display) -> RateCurve:
    """How the loss of a new model does at growing learning rates; nothing is kept of it."""
    processes = Processes.started()
    train = config.train.model_copy(update={"steps": RATES_TRIED})
    with processes.connected(_device(device, processes)):
        _prepare(deterministic)
        config = config.model_copy(update={"train": train})
        trainer, dataset = _new_trainer(config, _device(device, processes), processes, display)
        places = (processes.rank, processes.world, processes.local_world)
        loader = step_loader(trainer.config, trainer.tasks.values(), trainer.vocab, dataset, 0, *places)
        return find_rate(trainer, loader, steps=RATES_TRIED)


def _new_trainer(
    config: Config, device: torch.device, processes: Processes, display: Display
) -> tuple[Trainer, Dataset]:
    dataset = open_split(config, "train")
    config = fitted(config, dataset)
    tasks = make_tasks(config)
    seed(config.seed)
    beginning = begin(config, tasks, dataset)
    for line in beginning.notes if processes.first else ():
        display.note(line)
    return Trainer(config, tasks, beginning.vocab, beginning.model, device, processes), dataset


def resumed(
    out: Path | None, device: str, deterministic: bool, display: Display, overrides: Sequence[str] = ()
) -> tuple[Path, Scores]:
    """Go on with a run from its latest checkpoint, as if it had never stopped; None: the newest run.

    `overrides` are settings among SAME_RESULT. Raises CheckpointError when there is none, or every checkpoint of it is
    damaged, UsageError for other settings.
    """
    for override in overrides:
        if override.partition("=")[0] not in SAME_RESULT:
            allowed = ", ".join(SAME_RESULT)
            raise UsageError(f"--resume {override}: a run goes on as it was begun, only these may change: {allowed}")
    processes = Processes.started()
    with processes.connected(_device(device, processes)):
        run = processes.gather(out or find_run())[0]
        if (run / MANIFEST).exists():
            raise UsageError(
                f"{run} is a checkpoint: name its run, --out {run.parent.parent}, or begin from it: --init"
            )
        saved = load_training(run)
        if saved.notice and processes.first:
            display.note(saved.notice)
        config = changed(saved.config, overrides)
        vocab = saved_vocabulary(saved)
        _prepare(deterministic)
        model = empty_model(config, vocab)
        trainer = Trainer(config, make_tasks(config), vocab, model, _device(device, processes), processes, saved)
        dataset = open_split(config, "train")
        return run, Run(run, trainer, dataset, _shown(display, processes), saved.folder).train()


def _prepare(deterministic: bool) -> None:
    if deterministic:
        torch.use_deterministic_algorithms(True)


def _shown(display: Display, processes: Processes) -> Display:
    return display if processes.first else Silent()


def _device(name: str, processes: Processes) -> torch.device:
    """Of several processes on one machine, each has a GPU of its own."""
    device = pick_device(name)
    return torch.device("cuda", processes.local) if processes.several and device.type == "cuda" else device
