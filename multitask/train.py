"""`mtp train`: from a config to a run folder with checkpoints and scores."""

from __future__ import annotations

import json
import logging
import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from itertools import chain, count
from pathlib import Path
from typing import Protocol

import torch

from .assembly import empty_model, fitted, make_tasks, make_vocabulary, open_split, saved_vocabulary
from .checkpoint import find_run, load_training, save
from .config import Config
from .data.dataset import Dataset
from .data.loader import step_loader
from .data.mixture import Batch
from .data.report import DataReport
from .data.scored import scored
from .errors import DataError, MtpError, UsageError, nearest
from .evaluate import Scores, as_json, evaluate, flat, lacks_required
from .files import write_atomic
from .machine import pick_device
from .model.encoder_decoder import build_model
from .model.state import load_into, optimizer_tensors, restore_optimizer, restore_rng, rng_tensors
from .sequence.vocabulary import Vocabulary
from .task import Task
from .training.trainer import Progress, Trainer

log = logging.getLogger(__name__)
REPORT_EVERY = 10  # steps between readings of the losses, each of which waits for the device
SMOOTHING = 0.9  # of the losses shown


class Display(Protocol):
    """Where a run shows how it goes."""

    def started(self, step: int, steps: int) -> None: ...
    def stepped(self, step: int, losses: Mapping[str, float], images_per_second: float) -> None: ...
    def evaluated(self, done: int, total: int) -> None: ...
    def note(self, line: str) -> None: ...


def start(config: Config, out: Path | None, device: str, deterministic: bool, display: Display) -> tuple[Path, Scores]:
    """Train a new run; its folder and its scores.

    Raises UsageError for settings that do not fit, and where the folder already holds a run.
    """
    run = out or _new_folder(f"{datetime.now():%Y%m%d-%H%M%S}-{'-'.join(config.tasks)}")
    if (run / "checkpoints").exists():
        raise UsageError(f"{run} already holds a run: give another --out, or --resume to go on with it")
    dataset = open_split(config, "train")
    config = fitted(config, dataset)
    tasks = make_tasks(config)
    trainer = _prepared(config, tasks, make_vocabulary(config, tasks, dataset), device, deterministic)
    return run, _Run(run, trainer, dataset, display).train()


def _new_folder(name: str) -> Path:
    """Numbered where another run began in the same second."""
    names = chain([name], (f"{name}-{number}" for number in count(2)))
    return next(path for path in (Path("runs") / name for name in names) if not path.exists())


def resumed(out: Path | None, device: str, deterministic: bool, display: Display) -> tuple[Path, Scores]:
    """Go on with a run from its latest checkpoint, as if it had never stopped; None: the newest run.

    Raises CheckpointError when there is none, or every checkpoint of it is damaged.
    """
    run = out or find_run()
    saved = load_training(run)
    if saved.notice:
        display.note(saved.notice)
    trainer = _prepared(saved.config, make_tasks(saved.config), saved_vocabulary(saved), device, deterministic, False)
    load_into(trainer.model, saved.weights, saved.file)
    restore_optimizer(trainer.optimizer, trainer.model, saved.tensors, saved.folder)
    if trainer.ema and saved.ema is not None:
        load_into(trainer.ema.module, saved.ema, saved.folder / "ema.safetensors")
    restore_rng(saved.tensors)
    trainer.progress = Progress(**saved.state)
    return run, _Run(run, trainer, open_split(saved.config, "train"), display).train()


def _prepared(
    config: Config, tasks: dict[str, Task], vocab: Vocabulary, device: str, deterministic: bool, new: bool = True
) -> Trainer:
    if deterministic:
        torch.use_deterministic_algorithms(True)
    torch.manual_seed(config.seed)
    model = build_model(config.model, len(vocab), vocab.coord) if new else empty_model(config, vocab)
    return Trainer(config, tasks, vocab, model, pick_device(device))


class _Run:
    """A run folder being filled."""

    def __init__(self, folder: Path, trainer: Trainer, dataset: Dataset, display: Display) -> None:
        self.folder, self.trainer, self.dataset, self.display = folder, trainer, dataset, display
        self.config, self.progress = trainer.config, trainer.progress
        self.validation = open_split(self.config, "val")
        self.scores: Scores = {}
        self.data_report = DataReport(self.dataset, self.validation, self.config.data.max_skipped)
        self.stopping = False
        self._check_best()

    def _check_best(self) -> None:
        """Before hours of work: the metric that `best` follows must be one that some task has."""
        empty = {
            share.labels[name]: metric.compute()
            for share in scored(self.validation, self.trainer.tasks)
            for name, metric in share.metrics().items()
        }
        wanted, known = self.config.train.best, flat(empty)
        if wanted and wanted not in known:
            raise UsageError(f"train.best: there is no metric '{wanted}'{nearest(wanted, known)}")

    def train(self) -> Scores:
        """All remaining steps, with evaluations and checkpoints on the way; the last scores."""
        settings = self.config.train
        self.folder.mkdir(parents=True, exist_ok=True)
        write_atomic(self.folder / "data.txt", self.data_report.written().encode())
        for line in self.data_report.opening():
            self.display.note(line)
        if lacks_required(self.trainer.tasks, self.trainer.tasks):
            self.display.note(
                "no task of this run finds the objects that others ask about: scores are for the true boxes"
            )
        self.display.started(self.progress.step, settings.steps)
        with self._interruptible():
            self._steps()
        if self.stopping:
            self._save()
            step, folder = self.progress.step, self.folder
            self.display.note(f"stopped at step {step}: go on with mtp train --resume --out {folder}")
            raise KeyboardInterrupt
        self._evaluate()
        for line in self.data_report.closing():
            self.display.note(line)
        return self.scores

    @contextmanager
    def _interruptible(self) -> Iterator[None]:
        """The first Ctrl-C lets the step finish, so that what is saved is whole; the second ends at once."""

        def stop(*_: object) -> None:
            self.stopping = True
            signal.signal(signal.SIGINT, before)

        if threading.current_thread() is not threading.main_thread():  # signals belong to the main thread
            yield
            return
        before = signal.signal(signal.SIGINT, stop)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def _steps(self) -> None:
        settings, begun, seen = self.config.train, time.monotonic(), 0
        recent: list[dict[str, torch.Tensor]] = []
        for batches in self._batches():
            recent.append(self.trainer.update(batches))
            self._name_unreadable(batches)
            seen += sum(len(batch.images) for batch in batches)
            step = self.progress.step
            saving = step % settings.save_every == 0
            if step % REPORT_EVERY == 0 or saving or self.stopping or step == settings.steps:
                self._report(recent, seen / max(1e-9, time.monotonic() - begun))
                recent, seen, begun = [], 0, time.monotonic()
            if settings.eval_every and step % settings.eval_every == 0 and step < settings.steps:
                self._evaluate()
                begun = time.monotonic()
            elif saving and step < settings.steps:
                self._save()
            if self.stopping:
                return

    def _name_unreadable(self, batches: Sequence[Batch]) -> None:
        try:
            self.data_report.met(line for batch in batches for line in batch.skipped)
        except DataError:
            self._save()
            self.display.note(f"saved at step {self.progress.step}: go on with mtp train --resume --out {self.folder}")
            raise

    def _batches(self) -> Iterator[list[Batch]]:
        """What the loader gives. The error of a loader process comes as a traceback, whose last line tells it."""
        try:
            yield from step_loader(
                self.config, self.trainer.tasks.values(), self.trainer.vocab, self.dataset, self.progress.step
            )
        except MtpError as error:
            raise type(error)(str(error).strip().splitlines()[-1].removeprefix(_full_name(error))) from error

    def _report(self, recent: list[dict[str, torch.Tensor]], images_per_second: float) -> None:
        shown = self.progress.losses
        for losses in recent:
            for name, loss in losses.items():
                shown[name] = SMOOTHING * shown.get(name, loss.item()) + (1 - SMOOTHING) * loss.item()
        self.display.stepped(self.progress.step, shown, images_per_second)
        self._log({"step": self.progress.step, "loss": shown, "images_per_second": round(images_per_second, 2)})

    def _evaluate(self) -> None:
        names = list(self.trainer.tasks)
        predictor, progress = self.trainer.predictor(), self.display.evaluated
        size = self.config.train.batch_size
        self.scores = evaluate(predictor, self.validation, names, size, progress, skipped=self.data_report.skipped)
        found = flat(self.scores)
        self._log({"step": self.progress.step, "scores": found})
        shown = [f"{task} {name} {v:.3f}" for task, s in self.scores.items() for name, v in list(s.items())[:2]]
        self.display.note(f"step {self.progress.step}: {', '.join(shown)}")
        value = found[self.config.train.best or next(iter(found))]
        best = self.progress.best is None or value > self.progress.best
        if best:
            self.progress.best = value if value == value else None
        self._save(best)
        write_atomic(self.folder / "scores.json", json.dumps(as_json(self.scores), indent=1).encode())

    def _save(self, best: bool = False) -> None:
        trainer = self.trainer
        save(
            self.folder,
            self.progress.step,
            config=self.config,
            vocabulary=trainer.vocab.manifest(),
            text_model=trainer.vocab.text.model,
            model=trainer.model.state_dict(),
            ema=trainer.ema.module.state_dict() if trainer.ema else None,
            tensors={**optimizer_tensors(trainer.optimizer, trainer.model), **rng_tensors()},
            state=asdict(self.progress),
            keep=self.config.train.keep,
            best=best,
        )

    def _log(self, record: Mapping[str, object]) -> None:
        """One JSON line; a file that is cut off while writing loses its last line alone."""
        with (self.folder / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(as_json(record)) + "\n")


def _full_name(error: Exception) -> str:
    return f"{type(error).__module__}.{type(error).__name__}: "
