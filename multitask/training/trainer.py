"""One update: the parts of a batch, one after the other and in all processes, then a step of the optimiser."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from ..assembly import empty_model
from ..checkpoint import Training
from ..config import Config
from ..data.mixture import Batch, Sequences
from ..inference import Predictor
from ..model.compilation import compile_layers
from ..model.encoder_decoder import EncoderDecoder
from ..model.state import load_into, optimizer_tensors, restore_optimizer
from ..processes import ALONE, Processes
from ..sequence.vocabulary import Vocabulary
from ..task import Task
from .objective import Objective
from .optimisation import encoder_learns, learning_rate, make_ema, make_optimizer
from .sharing import copied, sharded, summed, whole


@dataclass
class Progress:
    """What changes during a run besides the weights; saved with every checkpoint."""

    step: int = 0
    losses: dict[str, float] = field(default_factory=dict)  # running averages by task
    bad_steps: int = 0  # skipped in a row
    skipped: int = 0  # skipped in all

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> Progress:
        """What a checkpoint has saved of it; an older version may have saved more."""
        return cls(**{field.name: state[field.name] for field in fields(cls) if field.name in state})


class Trainer:
    """The live objects of a run and the one update that it repeats.

    Of the last update: `norm` of its gradient, 0-d float32; its learning `rate`; and whether it was `bad`, that is
    skipped, since its loss or gradient was not finite.
    """

    def __init__(
        self,
        config: Config,
        tasks: dict[str, Task],
        vocab: Vocabulary,
        model: EncoderDecoder,
        device: torch.device,
        processes: Processes = ALONE,
        saved: Training | None = None,
    ) -> None:
        self.config, self.tasks, self.vocab = config, tasks, vocab
        self.device, self.processes = device, processes
        self.model = model.to(device)
        self.ema = make_ema(self.model, config.train)
        if saved:
            self._load(saved)
        self.shared = self._shared(Objective(self.model, config.train, vocab.coord))
        self.optimizer = make_optimizer(self.model, config.train)
        if saved:
            restore_optimizer(self.optimizer, self.model, saved.tensors, saved.folder)
        self.progress = Progress.of(saved.state) if saved else Progress()
        self.norm, self.rate, self.bad = torch.zeros(()), 0.0, False

    def _load(self, saved: Training) -> None:
        load_into(self.model, saved.weights, saved.file)
        if self.ema and saved.ema is not None:
            load_into(self.ema.module, saved.ema, saved.folder / "ema.safetensors")

    def _shared(self, objective: Objective) -> nn.Module:
        train = self.config.train
        if train.recompute:
            self.model.recompute()
        if train.compile:
            compile_layers(self.model)
        if not self.processes.several:
            return objective
        if train.parallel == "ddp":
            return copied(objective, self.device, partly=self._leaves_some_out(objective))
        if self.ema:
            averaged = cast(EncoderDecoder, self.ema.module)
            sharded(averaged, averaged, self.device, self.processes.world)
            self.ema.foreach = False  # it would mix shares with the whole tensors that buffers are
        return sharded(objective, self.model, self.device, self.processes.world)

    def _leaves_some_out(self, objective: Objective) -> bool:
        """Whether there are parameters without a gradient, now or in some steps."""
        train = self.config.train
        if train.unfreeze_encoder or train.freeze_encoder is not None:
            return True
        name = next(iter(self.tasks))
        objective.eval()(self._filler(name).to(self.device), {name: 1.0})[name].backward()
        found = any(parameter.grad is None for parameter in objective.parameters() if parameter.requires_grad)
        objective.zero_grad(set_to_none=True)
        return found

    @property
    def best_model(self) -> EncoderDecoder:
        """The averaged weights where there are any."""
        return cast(EncoderDecoder, self.ema.module) if self.ema else self.model

    def weight(self, task: str) -> float:
        """Of a task's loss."""
        train, published = self.config.train, self.tasks[task].prompt.published_weight
        default = published if train.published_weights and published is not None else 1.0
        return train.task_weights.get(task, default)

    def update(self, *parts: Sequence[Batch], rate: float | None = None) -> dict[str, Tensor]:
        """One optimiser step on the parts of a batch that are for this process; `rate` in place of the schedule's.

        Returns this process' share of the loss of each task, not yet read from the device.
        """
        self._prepare(rate)
        batches = [batch for part in parts for batch in part if _weights(batch)]
        totals, passes = self._agreed(batches)
        losses: dict[str, Tensor] = {name: torch.zeros((), device=self.device) for name in totals}
        buffers = self._buffers()
        for number in range(passes):
            with summed(self.shared, number == passes - 1):
                for name, loss in self._pass(batches, number, totals).items():
                    losses[name] = losses[name] + loss
        self._apply(losses, buffers)
        self.progress.step += 1
        return losses

    def _prepare(self, rate: float | None) -> None:
        """Random numbers of a step depend on nothing but the step, so that no state of a generator is ever saved."""
        seed(self.config.seed, self.progress.step, self.processes.rank)
        self.model.train()
        self.rate = learning_rate(self.progress.step, self.config.train) if rate is None else rate
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate * group.get("lr_scale", 1.0)  # runs of 0.1.0 have none

    def _agreed(self, batches: Sequence[Batch]) -> tuple[dict[str, float], int]:
        """The weight of each task's tokens in all processes, of tasks that have any, and the most batches of any."""
        own: Counter[str] = Counter()
        for batch in batches:
            own.update(_weights(batch))
        table = self.processes.table([*(own[name] for name in self.tasks), len(batches)])
        sums = dict(zip(self.tasks, table[:, :-1].sum(0).tolist(), strict=True))
        return {name: total for name, total in sums.items() if total > 0}, int(table[:, -1].max())

    def _pass(self, batches: Sequence[Batch], number: int, totals: Mapping[str, float]) -> dict[str, Tensor]:
        """Forward and backward. Processes must all come to add gradients: one with fewer batches learns nothing."""
        buffers = self._buffers() if number >= len(batches) else []
        batch = batches[number] if number < len(batches) else self._filler(next(iter(totals)))
        frozen = not encoder_learns(self.progress.step, self.config.train)
        losses: dict[str, Tensor] = self.shared(batch.to(self.device), totals, frozen)
        loss = torch.stack([self.weight(name) * loss for name, loss in losses.items()]).sum()
        (self.processes.world * loss).backward()  # type: ignore[no-untyped-call]  # gradients are averaged, not summed
        if number >= len(batches):
            self._put_back(buffers)
        return {name: loss.detach() for name, loss in losses.items()}

    def _buffers(self) -> list[Tensor]:
        return [buffer.clone() for buffer in self.model.buffers()]

    def _put_back(self, buffers: Sequence[Tensor]) -> None:
        """Batch norms forget what they have seen since."""
        for buffer, before in zip(self.model.buffers(), buffers, strict=True):
            buffer.copy_(before)

    def _filler(self, name: str) -> Batch:
        """An empty image, and a sequence without weight."""
        side, ids = self.config.model.image_size, torch.full((1, 1), self.vocab.pad)
        nothing = Sequences(ids, ids, torch.zeros(1, 1), torch.zeros(1, dtype=torch.int64))
        return Batch(torch.zeros(1, 3, side, side, dtype=torch.uint8), torch.ones(1, 2), {name: nothing}, [])

    def _apply(self, losses: Mapping[str, Tensor], buffers: Sequence[Tensor]) -> None:
        """Update the weights, unless the loss or a gradient is not finite: then the step is skipped and counted."""
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.train.clip or math.inf)
        self.norm = norm.full_tensor() if isinstance(norm, DTensor) else norm
        finite = torch.stack([self.norm, *losses.values()]).isfinite().all()
        self.bad = bool(self.processes.table([float(not finite)]).any())
        if self.bad:
            self._put_back(buffers)
            self.progress.skipped += 1
        else:
            self.optimizer.step()
            if self.ema:
                self.ema.update(self.model, self.progress.step)
        self.progress.bad_steps = self.progress.bad_steps + 1 if self.bad else 0
        self.optimizer.zero_grad(set_to_none=True)

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds of this, in the words of `checkpoint.save`; all processes must call it together."""
        return {
            "model": whole(self.model.state_dict()),
            "ema": whole(self.ema.module.state_dict()) if self.ema else None,
            "tensors": whole(optimizer_tensors(self.optimizer, self.model)),
            "state": asdict(self.progress),
        }

    def predictor(self) -> Predictor:
        """All processes must call it together."""
        model = self.best_model
        if self.processes.several and self.config.train.parallel == "fsdp":
            model = empty_model(self.config, self.vocab).to(self.device)
            load_into(model, whole(self.best_model.state_dict()), "the shares of the processes")
        self.processes.agree(model.buffers())  # of batch norms, which each process has from its own pictures
        return Predictor(model, self.vocab, self.tasks, self.config.model.image_size, self.device, self.config.seed)


def seed(*numbers: int) -> None:
    """Seeds every generator there is from the `numbers`."""
    state = int(np.random.SeedSequence(numbers).generate_state(1)[0])
    torch.manual_seed(state)
    np.random.seed(state)
    random.seed(state)


def _weights(batch: Batch) -> dict[str, float]:
    """The sum of the weights of each task's tokens, of tasks that have any."""
    sums = {name: float(s.weights.sum(dtype=torch.float64)) for name, s in batch.sequences.items()}
    return {name: total for name, total in sums.items() if total > 0}
