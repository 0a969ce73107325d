"""Real `mtp train` processes, alone or under `torchrun`, to be ended from outside at a chosen moment."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from multitask.files import TEMPORARY
from multitask.run_folder import steps as checkpoints

TOKEN = "MTP_STRESS"  # in the environment of a run and all that it starts, however they are named and grouped
SMALL = {"OMP_NUM_THREADS": "1", "MTP_OFFLINE": "1", "COLUMNS": "150", "PYTHONWARNINGS": "ignore"}
TORCHRUN = ("-m", "torch.distributed.run", "--standalone")
TICK = 0.001  # seconds between looks at a run folder: a save takes some 50
PATIENCE = 300.0  # seconds until a process counts as hanging
Words = Sequence[str]


def recipe(steps: int = 120, *more: str) -> list[str]:
    """Words for a toy run with averaged weights, two tasks and accumulation, that saves much of its time."""
    train = f"train.steps={steps} train.batch_size=4 train.accumulate=2 train.ema=0.9 train.save_every=3 train.keep=3"
    return ["--config", "smoke", "--tasks", "det,caption", *train.split(), *more]


def command(processes: int, restarts: int = 0) -> list[str]:
    """The words before those of `mtp`."""
    agent = (*TORCHRUN, f"--nproc-per-node={processes}", f"--max-restarts={restarts}")
    return [sys.executable, *(agent if processes > 1 or restarts else ()), "-m", "multitask"]


class Running:
    """A process that was started in `folder`; what it writes goes to `folder/log`. Nothing of it outlives the block."""

    def __init__(self, folder: Path, words: Words) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.log, self.token = folder / "log", secrets.token_hex(8)
        self.begun = time.monotonic()
        environment = {name: value for name, value in os.environ.items() if not name.startswith("MTP_")}
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                words, env={**environment, **SMALL, TOKEN: self.token}, start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.send(signal.SIGKILL, self.everyone())
        self.process.wait()

    @property
    def ended(self) -> bool:
        return self.process.poll() is not None

    @property
    def lines(self) -> list[str]:
        """What it has said, on either stream."""
        return self.log.read_text(errors="replace").splitlines()

    def wait(self, seconds: float = PATIENCE) -> int:
        """Exit code as a shell tells it. Raises subprocess.TimeoutExpired."""
        code = self.process.wait(seconds)
        return code if code >= 0 else 128 - code

    def everyone(self) -> list[int]:
        """Ids of all processes that came of it, loaders too, that are there still."""
        return _carrying(f"{TOKEN}={self.token}".encode())

    def workers(self) -> list[int]:
        """Ids of the processes that an agent started, in no order."""
        return [number for number in self.everyone() if _parent(number) == self.process.pid]

    def send(self, number: int, processes: Sequence[int]) -> None:
        for process in processes:
            try:
                os.kill(process, number)
            except ProcessLookupError:  # gone meanwhile
                continue

    def until(self, condition: Callable[[], bool], seconds: float = PATIENCE) -> bool:
        """Whether the condition came true before the process ended. Raises TimeoutError."""
        limit = time.monotonic() + seconds
        while not condition():
            if self.ended:
                return False
            if time.monotonic() > limit:
                raise TimeoutError(f"{self.process.args}: nothing happens; its last words: {self.lines[-3:]}")
            time.sleep(TICK)
        return True

    def until_gone(self, seconds: float) -> list[int]:
        """Ids of what is left after that time; waits no longer than needed."""
        limit = time.monotonic() + seconds
        while (left := self.everyone()) and time.monotonic() < limit:
            time.sleep(10 * TICK)
        return left


def is_saving(run: Path) -> bool:
    """Whether a checkpoint, or a pointer to one, is being written; so it seems too where that was cut off."""
    return any((run / "checkpoints").glob(TEMPORARY))


def newest(run: Path) -> int:
    """Step of the newest checkpoint; 0: none."""
    found = checkpoints(run / "checkpoints")
    return int(found[0].name.removeprefix("step-").partition(".")[0]) if found else 0


def completed(run: Path) -> int:
    """Step of the last save that came to its end, which is when `latest` names it; 0: none."""
    pointer = run / "checkpoints" / "latest"
    return int(pointer.read_text().removeprefix("step-").partition(".")[0]) if pointer.exists() else 0


def records(run: Path) -> list[dict[str, Any]]:
    """The whole lines of metrics.jsonl."""
    file = run / "metrics.jsonl"
    lines = file.read_bytes().splitlines(keepends=True) if file.exists() else []
    return [json.loads(line) for line in lines if line.endswith(b"\n")]


def _carrying(entry: bytes) -> list[int]:
    """Ids of the processes with this entry in their environment; those that wait to be buried have none."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            entries = path.read_bytes().split(b"\0")
        except OSError:
            continue
        found += [int(path.parent.name)] if entry in entries else []
    return found


def _parent(process: int) -> int:
    try:
        return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0
