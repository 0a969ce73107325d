"""The processes of a run, as `torchrun` starts them, and what they tell each other."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
import torch.distributed as dist

from .errors import MtpError, UsageError

T = TypeVar("T")
LOST = ("gloo", "Connection closed", "Connection reset", "NCCL", "Broken pipe", "Socket")  # words of torch's errors


@dataclass(frozen=True)
class Processes:
    """Which of how many this one is; by itself, a run has one."""

    rank: int = 0
    world: int = 1
    local: int = 0  # its number on this machine
    local_world: int = 1  # how many run on this machine
    restarts: int = 0  # how often `torchrun` has begun anew

    @classmethod
    def started(cls) -> Processes:
        """As the environment says, where `torchrun` has set it. Raises UsageError where it is incomplete."""
        names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "TORCHELASTIC_RESTART_COUNT")
        if "TORCHELASTIC_RUN_ID" not in os.environ:
            return cls()
        try:
            return cls(*(int(os.environ[name]) for name in names))
        except (KeyError, ValueError) as error:
            raise UsageError(f"the environment of torchrun is incomplete: {error}") from None

    @property
    def first(self) -> bool:
        """Whether this is the one that speaks, and that writes the run folder."""
        return self.rank == 0

    @property
    def several(self) -> bool:
        return self.world > 1

    @contextmanager
    def connected(self, device: torch.device) -> Iterator[None]:
        """The processes can tell each other things while the block runs."""
        if not self.several:
            yield
            return
        dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo", **self._meeting())
        try:
            yield
        except RuntimeError as error:
            if isinstance(error, dist.DistError) or any(word in str(error) for word in LOST):
                raise MtpError(f"process {self.rank} lost another one, whose own error tells why") from error
            raise
        finally:
            dist.destroy_process_group()

    def _meeting(self) -> dict[str, Any]:
        """Where processes find each other.

        On one machine `torchrun` keeps the store of addresses when it begins anew, and the old addresses in it
        (https://github.com/pytorch/pytorch/issues/135712): each beginning has its own.
        """
        if self.local_world < self.world:
            return {}
        store, rank, world = next(dist.rendezvous("env://"))  # type: ignore[attr-defined]
        own = dist.PrefixStore(f"restart-{self.restarts}", store)  # type: ignore[attr-defined]
        return {"store": own, "rank": rank, "world_size": world}

    def agree(self, tensors: Iterable[torch.Tensor]) -> None:
        """Every process takes what the first one has, as after going on from its checkpoint."""
        for tensor in tensors if self.several else ():
            dist.broadcast(tensor, 0)

    def table(self, numbers: Sequence[float]) -> torch.Tensor:
        """The `numbers` (n,) of every process: (world, n) float64."""
        own = torch.tensor(numbers, dtype=torch.float64)
        if not self.several:
            return own[None]
        rows = [torch.empty_like(own) for _ in range(self.world)]
        dist.all_gather(rows, own)
        return torch.stack(rows)

    def gather(self, value: T) -> list[T]:
        """The `value` of every process, in the order of their ranks."""
        if not self.several:
            return [value]
        values: list[T | None] = [None] * self.world
        dist.all_gather_object(values, value)
        return values  # type: ignore[return-value]


ALONE = Processes()
