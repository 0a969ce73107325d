"""Signals that end a run: the first lets the step finish, so that what is saved is whole; the second ends at once."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from ..errors import Stopped

SIGNALS = (signal.SIGINT, signal.SIGTERM)
ECHO = 1.0  # seconds in which a signal is taken for the first one again: a terminal and `torchrun` may both send it


class Stop:
    """Hears signals, and remembers the first."""

    def __init__(self) -> None:
        self.number: int | None = None
        self._heard = 0.0

    @property
    def wanted(self) -> bool:
        return self.number is not None

    @contextmanager
    def listening(self) -> Iterator[None]:
        """While the block runs; elsewhere than in the main thread, nothing is heard."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._hear) for number in SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _hear(self, number: int, _: FrameType | None) -> None:
        if self.number is None:
            self.number, self._heard = number, time.monotonic()
        elif time.monotonic() - self._heard > ECHO:
            raise Stopped("ended at once: what came after the last checkpoint is lost", number)
