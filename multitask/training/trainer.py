"""One update on one batch of every task: encode once, decode each task, weigh the losses, step."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import cast

import torch
from torch import Tensor

from ..config import Config
from ..data.mixture import Batch
from ..errors import MtpError
from ..inference import Predictor
from ..machine import bf16_is_fast
from ..model.decoder import Memory
from ..model.encoder_decoder import EncoderDecoder
from ..model.loss import sequence_loss
from ..sequence.vocabulary import Vocabulary
from ..task import Task
from .optimisation import learning_rate, make_ema, make_optimizer

log = logging.getLogger(__name__)
BAD_STEPS = 10  # updates in a row that may be skipped for a loss that is not finite


@dataclass
class Progress:
    """What changes during a run besides the weights; saved with every checkpoint."""

    step: int = 0
    losses: dict[str, float] = field(default_factory=dict)  # running averages by task
    best: float | None = None  # value of the metric that `best` follows
    bad_steps: int = 0  # skipped in a row


class Trainer:
    """The live objects of a run and the one update that it repeats."""

    def __init__(
        self, config: Config, tasks: dict[str, Task], vocab: Vocabulary, model: EncoderDecoder, device: torch.device
    ) -> None:
        self.config, self.tasks, self.vocab, self.device = config, tasks, vocab, device
        self.model = model.to(device)
        self.optimizer = make_optimizer(self.model, config.train)
        self.ema = make_ema(self.model, config.train)
        self.progress = Progress()

    @property
    def best_model(self) -> EncoderDecoder:
        """The averaged weights where there are any."""
        return cast(EncoderDecoder, self.ema.module) if self.ema else self.model

    def update(self, batches: Sequence[Batch]) -> dict[str, Tensor]:
        """One optimiser step on one batch of every task; the losses by task, not yet read from the device."""
        self.model.train()
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self.progress.step, self.config.train)
        losses: dict[str, Tensor] = {}
        for batch in batches:
            found = self.losses(batch.to(self.device)) if len(batch.images) else {}
            if not found:
                continue
            weights = self.config.train.task_weights
            total = torch.stack([weights.get(name, 1.0) * loss for name, loss in found.items()]).sum()
            total.backward()  # type: ignore[no-untyped-call]
            losses |= {name: loss.detach() for name, loss in found.items()}
        self._apply()
        self.progress.step += 1
        return losses

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Loss of each task that has anything to say, on a batch whose images are encoded once."""
        with self._precision():
            memory = self.model.encode(batch.images.float() / 255, batch.extent)
            return {name: self._loss(memory, batch, name) for name, s in batch.sequences.items() if len(s.rows)}

    def _loss(self, memory: Memory, batch: Batch, name: str) -> Tensor:
        s = batch.sequences[name]
        hidden = self.model.decode(s.inputs, memory, s.rows)
        sigma = self.config.train.coordinate_sigma
        return sequence_loss(hidden, self.model.logits, s.targets, s.weights, self.vocab.coord, sigma)

    def _precision(self) -> AbstractContextManager[object]:
        wanted = self.config.train.precision
        if wanted == "bf16" or (wanted == "auto" and bf16_is_fast(self.device.type)):
            return torch.autocast(self.device.type, torch.bfloat16)
        return nullcontext()

    def _apply(self) -> None:
        """Update the weights, unless a gradient is not finite: then the step is skipped and counted."""
        limit = self.config.train.clip or math.inf
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), limit)
        if bool(torch.isfinite(norm)):
            self.optimizer.step()
            if self.ema:
                self.ema.update(self.model, self.progress.step)
            self.progress.bad_steps = 0
        else:
            self.progress.bad_steps += 1
            log.warning("step %d skipped: the gradient is not finite", self.progress.step)
            if self.progress.bad_steps >= BAD_STEPS:
                raise MtpError(f"{BAD_STEPS} steps in a row without a finite gradient: lower train.lr or raise warmup")
        self.optimizer.zero_grad(set_to_none=True)

    def predictor(self) -> Predictor:
        side = self.config.model.image_size
        return Predictor(self.best_model, self.vocab, self.tasks, side, self.device, self.config.seed)
