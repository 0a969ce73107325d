"""Losses and speed of the last few steps, read from the device once for all of them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from ..data.mixture import Batch
from ..processes import Processes


class Meter:
    """Collects the steps of one process since the last reading."""

    def __init__(self) -> None:
        self.steps: list[dict[str, Tensor]] = []
        self.images, self.begun = 0, time.monotonic()

    def add(self, losses: dict[str, Tensor], parts: Sequence[Sequence[Batch]]) -> None:
        """One step: this process' share of the losses by task, and what they are of."""
        self.steps.append(losses)
        self.images += sum(len(batch.images) for part in parts for batch in part)

    def read(self, processes: Processes) -> tuple[Iterator[dict[str, float]], float]:
        """The losses of each step and the images a second of all processes, which must call this together."""
        shares = [loss for losses in self.steps for loss in losses.values()]
        own = torch.stack(shares).tolist() if shares else []
        sums = iter(processes.table([*own, self.images]).sum(0).tolist())
        found = [{name: next(sums) for name in losses} for losses in self.steps]
        return iter(found), next(sums) / max(1e-9, time.monotonic() - self.begun)
