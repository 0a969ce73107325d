"""What to do when memory runs out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

from ..config import Config
from ..data.mixture import Batch
from ..errors import MtpError

WORDS = ("can't allocate memory", "not enough memory", "out of memory", "std::bad_alloc", "Cannot allocate memory")


@contextmanager
def memory_advice(config: Config, step: int, parts: Sequence[Sequence[Batch]]) -> Iterator[None]:
    """Raises MtpError where the block runs out of memory: it says what was worked on, and what to lower."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not _lacks_memory(error):
            raise
        raise MtpError(f"out of memory at step {step}: {_worked_on(config, parts)}; {_advice(config)}") from error


def _lacks_memory(error: RuntimeError) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or any(word in str(error) for word in WORDS)


def _worked_on(config: Config, parts: Sequence[Sequence[Batch]]) -> str:
    batches = [batch for part in parts for batch in part]
    images = max((len(batch.images) for batch in batches), default=0)
    longest = max((s.inputs.shape[1] for batch in batches for s in batch.sequences.values()), default=0)
    side, size = config.model.image_size, config.train.batch_size
    return (
        f"{images} pictures of {side} x {side} pixels at once (train.batch_size {size}, train.accumulate "
        f"{config.train.accumulate}), sequences of up to {longest} tokens"
    )


def _advice(config: Config) -> str:
    train = config.train
    more = f"train.accumulate={2 * train.accumulate}"
    more += "" if train.recompute else " or train.recompute=true"
    return f"go on with --resume {more}, which change no result; or begin anew with a smaller model.image_size"
