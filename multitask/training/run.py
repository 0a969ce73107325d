"""A run folder being filled: steps, and reports, evaluations and checkpoints on the way."""

from __future__ import annotations

import json
import logging
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from itertools import chain
from pathlib import Path

from ..assembly import open_split
from ..checkpoint import save
from ..config import to_yaml
from ..data.dataset import Dataset
from ..data.loader import step_loader
from ..data.mixture import Batch
from ..data.report import DataReport
from ..errors import DataError, MtpError, Stopped
from ..evaluate import Scores, as_json, as_scores, evaluate, flat, lacks_required
from ..example import Example
from ..files import space_advice, write_atomic
from ..inference import Answers
from ..machine import give_back_memory
from ..runs import BAD_STEPS as BAD_STEPS_FILE
from .best import Best, followed
from .display import Display
from .journal import Journal
from .memory import memory_advice
from .meter import Meter
from .stopping import Stop
from .tensorboard import answered_pictures
from .trainer import Trainer

log = logging.getLogger(__name__)
Parts = Sequence[Sequence[Batch]]
REPORT_EVERY = 10  # steps between readings of the losses, each of which waits for the device
SMOOTHING = 0.9  # of the losses shown
BAD_STEPS = 10  # updates in a row that may be skipped


class Run:
    """One process of a run; the first writes the folder and speaks, the others agree with it."""

    def __init__(
        self, folder: Path, trainer: Trainer, dataset: Dataset, display: Display, saved: Path | None = None
    ) -> None:
        self.folder, self.trainer, self.dataset, self.display = folder, trainer, dataset, display
        self.config, self.progress, self.processes = trainer.config, trainer.progress, trainer.processes
        self.validation = open_split(self.config, "val")
        self.data_report = DataReport(self.dataset, self.validation, self.config.data.max_skipped)
        self.scores: Scores = {}
        self.stop, self.meter = Stop(), Meter()
        self.saved = saved  # the checkpoint of this very step
        self.unread: list[str] = []  # images that could not be read since the last report
        self.journal: Journal | None = None
        self.metric = followed(self.config.train.best, self.validation, self.trainer.tasks)

    def train(self) -> Scores:
        """All remaining steps, with evaluations and checkpoints on the way; the last scores.

        Raises Stopped where a signal asked for it, when all is saved.
        """
        with self.stop.listening(), self._space():
            self._open()
            if self._is_cut_off():
                self._evaluate()
            self._steps()
            self.scores = self.processes.gather(self.best.scored(self.progress.step))[0]
            if not self.scores:
                self._evaluate()
        for line in self.data_report.closing():
            self.display.note(line)
        return self.scores

    def _open(self) -> None:
        """The logs, as they were at this step; what is to be said before the first one."""
        train = self.config.train
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.processes.first:
            self.journal = Journal(self.folder, self.progress.step, train.tensorboard)
            write_atomic(self.folder / "config.yaml", to_yaml(self.config).encode())
            write_atomic(self.folder / "data.txt", self.data_report.written().encode())
        self.best = Best(self.folder, self.metric, train.keep)
        for line in self.data_report.opening():
            self.display.note(line)
        if lacks_required(self.trainer.tasks, self.trainer.tasks):
            self.display.note(
                "no task of this run finds the objects that others ask about: scores are for the true boxes"
            )
        self.display.started(self.progress.step, train.steps)

    @contextmanager
    def _space(self) -> Iterator[None]:
        """A log may be what fills the disk. Whatever happens, the logs are closed."""
        try:
            yield
        except OSError as error:
            advice = space_advice(error, self.folder)
            if not advice:
                raise
            raise MtpError(f"{error.filename}: {advice}; then {self._going_on()}") from error
        finally:
            if self.journal:
                self.journal.close()

    def _is_cut_off(self) -> bool:
        """Whether the evaluation that this step asks for has not come to its end."""
        step, every = self.progress.step, self.config.train.eval_every
        due = bool(every) and 0 < step < self.config.train.steps and step % every == 0
        return self.processes.gather(due and step not in self.best.values)[0]

    def _steps(self) -> None:
        self.meter = Meter()
        with closing(self._batches()) as batches:
            for parts in batches:
                self._step(parts)
                self._look_after(self.progress.step)

    def _batches(self) -> Generator[Parts, None, None]:
        p = self.processes
        tasks, vocab, first = self.trainer.tasks.values(), self.trainer.vocab, self.progress.step
        yield from step_loader(self.config, tasks, vocab, self.dataset, first, p.rank, p.world, p.local_world)

    def _look_after(self, step: int) -> None:
        """What is due after a step."""
        train, stopping = self.config.train, self._is_stopping()
        saving, last = step % train.save_every == 0, step == train.steps
        regular = step % REPORT_EVERY == 0 or saving or last
        if regular or stopping:
            self._report(regular)
        if stopping or (saving and not last):
            self._save()
        if stopping:
            raise self._stopped()
        if train.eval_every and step % train.eval_every == 0 and not last:
            self._evaluate()

    def _step(self, parts: Parts) -> None:
        self.saved = None
        with memory_advice(self.config, self.progress.step, parts):
            losses = self.trainer.update(*parts)
        if self.trainer.bad:
            self._tell_bad(parts)
        self.meter.add({} if self.trainer.bad else losses, parts)
        self.unread += [line for part in parts for batch in part for line in batch.skipped]

    def _tell_bad(self, parts: Parts) -> None:
        """Name what the skipped update was made of; end the run when there are too many in a row."""
        step, row = self.progress.step, self.progress.bad_steps
        own = [file for part in parts for batch in part for file in batch.files]
        files = list(dict.fromkeys(chain.from_iterable(self.processes.gather(own))))
        if self.journal:
            self.journal.bad({"step": step, "reason": "the loss or a gradient is not finite", "files": files})
        more = f" and {len(files) - 3} more" if len(files) > 3 else ""
        if self.processes.first:
            log.warning("step %d skipped: the loss or a gradient is not finite: %s%s", step, ", ".join(files[:3]), more)
        if row >= BAD_STEPS:
            raise MtpError(
                f"{row} steps in a row without a finite loss and gradient: lower train.lr or raise train.warmup; "
                f"their images are named in {self.folder / BAD_STEPS_FILE}; the last checkpoint is from before or "
                "holds the weights from before"
            )

    def _is_stopping(self) -> bool:
        """Whether any process has been told to."""
        return bool(self.processes.table([self.stop.wanted]).any())

    def _stopped(self) -> Stopped:
        number = max(self.processes.gather(self.stop.number or 0))
        return Stopped(f"stopped at step {self.progress.step}: {self._going_on()}", number)

    def _going_on(self) -> str:
        command = "torchrun ... -m multitask" if self.processes.several else "mtp"
        return f"go on with {command} train --resume --out {self.folder}"

    def _report(self, logged: bool) -> None:
        """Losses and speed since the last report; `logged` where an unbroken run would report too."""
        steps, images_per_second = self.meter.read(self.processes)
        shown = self.progress.losses
        for losses in steps:
            for name, loss in losses.items():
                shown[name] = SMOOTHING * shown.get(name, loss) + (1 - SMOOTHING) * loss
        self.display.stepped(self.progress.step, shown, images_per_second)
        if self.journal and logged:
            speed = {"images_per_second": round(images_per_second, 2)}
            rates = {"lr": self.trainer.rate, "gradient_norm": float(self.trainer.norm)}
            self.journal.steps({"step": self.progress.step, "loss": shown, **speed, **rates})
        self._name_unreadable()
        give_back_memory()
        self.meter = Meter()

    def _name_unreadable(self) -> None:
        lines, self.unread = list(chain.from_iterable(self.processes.gather(self.unread))), []
        try:
            self.data_report.met(lines)
        except DataError:
            self._save()
            self.display.note(f"saved at step {self.progress.step}: {self._going_on()}")
            raise

    def _evaluate(self) -> None:
        """Scores of this step, which is saved first: what is cut off here is begun again on resuming."""
        self._save()
        step, names = self.progress.step, list(self.trainer.tasks)
        found = evaluate(
            self.trainer.predictor(),
            self.validation,
            names,
            self.config.train.batch_size,
            self._scoring,
            skipped=self.data_report.skipped,
            seen=self._draw,
            processes=self.processes,
        )
        self.scores = as_scores(found)
        if self.journal and self.saved:
            self.best.judge(step, flat(self.scores), self.saved)
            write_atomic(self.folder / "scores.json", json.dumps(as_json(self.scores), indent=1).encode())
            self.journal.scores(step, flat(self.scores))
        shown = [f"{task} {name} {v:.3f}" for task, s in self.scores.items() for name, v in list(s.items())[:2]]
        self.display.note(f"step {step}: {', '.join(shown)}")
        self.meter = Meter()

    def _scoring(self, done: int, total: int) -> None:
        self.display.evaluated(done, total)
        if self._is_stopping():
            raise self._stopped()

    def _draw(self, examples: Sequence[Example], answers: Sequence[Answers]) -> None:
        """The first images of an evaluation with their answers."""
        if self.journal and self.journal.board:
            self.journal.pictures(self.progress.step, answered_pictures(examples, answers))

    def _save(self) -> None:
        """Once a step; all processes take part where each holds a share of the weights."""
        if self.saved:
            return
        state = self.trainer.state()
        self.saved = self.folder
        if self.processes.first:
            vocab = self.trainer.vocab
            self.saved = save(
                self.folder,
                self.progress.step,
                config=self.config,
                vocabulary=vocab.manifest(),
                text_model=vocab.text.model,
                keep=self.config.train.keep,
                **state,
            )
