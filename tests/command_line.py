"""Runs `mtp` as a user would, each command a process of its own, but imports torch only once where the system can fork.

Whatever a command does, it may not reach a network: connecting raises.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from PIL import Image

GUARD = """
import os, socket, sys
class NoNetwork(socket.socket):
    def connect(self, address):
        if self.family in (socket.AF_INET, socket.AF_INET6):
            os.write(2, b"NETWORK USED\\n")
            os._exit(99)
        return super().connect(address)
socket.socket = NoNetwork
"""
COMMAND = f"{GUARD}\nfrom multitask.cli import main\nsys.argv = ['mtp', *sys.argv[1:]]\nmain()"
LOADED = "import multitask.predict, multitask.train, multitask.tasks.detection, multitask.tasks.captioning"
SERVER = f"""{GUARD}
import gc, json, signal, traceback
from multitask.cli import main
exec(sys.argv[1])
gc.freeze()
for line in sys.stdin:
    order = json.loads(line)
    if (child := os.fork()) == 0:
        signal.alarm(300)  # a command that hangs is ended by the system
        for number, name in enumerate(("out", "err"), 1):
            os.dup2(os.open(order[name], os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        os.chdir(order["folder"])
        os.environ.update(order["environment"])
        sys.argv = ["mtp", *order["words"]]
        try:
            main()
        except SystemExit as end:
            code = end.code
        except BaseException:
            traceback.print_exc()
            code = 1
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code or 0)  # taking down torch would copy all its memory
    _, status, usage = os.wait4(child, 0)
    kibibytes = usage.ru_maxrss // (1024 if sys.platform == "darwin" else 1)
    print(os.waitstatus_to_exitcode(status), kibibytes, flush=True)
"""
SMALL = {"COLUMNS": "150", "OMP_NUM_THREADS": "1", "MTP_OFFLINE": "1", "PYTHONWARNINGS": "ignore"}


@dataclass(frozen=True)
class Done:
    """What a command gave."""

    code: int
    out: str
    err: str
    peak: int = 0  # KiB of memory at most, where commands are forked

    @property
    def line(self) -> str:
        """The one line on standard error that it must have failed with."""
        assert "Traceback" not in self.err + self.out
        assert self.err.count("\n") == 1 and self.err.startswith("error: "), self.err
        return self.err


class Shell:
    """Runs commands in a folder; to be used as a context."""

    def __init__(self, folder: Path, loaded: str = LOADED) -> None:
        """`loaded`: code that imports, once for all commands, what takes long."""
        self.folder, self.loaded = folder, loaded
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith("MTP_")} | SMALL

    def __enter__(self) -> Self:
        self.scratch = tempfile.TemporaryDirectory()
        self.server = None
        if hasattr(os, "fork"):
            pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "env": self.environment}
            self.server = subprocess.Popen([sys.executable, "-c", SERVER, self.loaded], **pipes)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.server:
            self.server.communicate()
        self.scratch.cleanup()

    def mtp(self, *words: str, folder: Path | None = None, **environment: str) -> Done:
        """One command, in `folder` or the shell's own."""
        folder = folder or self.folder
        return (self._forked if self.server else self.fresh)(*words, folder=folder, **environment)

    def _forked(self, *words: str, folder: Path, **environment: str) -> Done:
        out, err = (Path(self.scratch.name) / name for name in ("out", "err"))
        order = {"words": words, "folder": str(folder), "environment": environment, "out": str(out), "err": str(err)}
        self.server.stdin.write(json.dumps(order) + "\n")
        self.server.stdin.flush()
        code, peak = map(int, self.server.stdout.readline().split())
        return Done(code, out.read_text(), err.read_text(), peak)

    def fresh(self, *words: str, folder: Path | None = None, **environment: str) -> Done:
        """The same in a new interpreter."""
        return self.python("-c", COMMAND, *words, folder=folder, **environment)

    def python(self, *words: str, folder: Path | None = None, **environment: str) -> Done:
        """Python itself."""
        run = subprocess.run(
            [sys.executable, *words], cwd=folder or self.folder, env=self.environment | environment,
            capture_output=True, text=True, timeout=300, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        return Done(run.returncode, run.stdout, run.stderr)


def noise_picture(path: Path, seed: int = 0, size: tuple[int, int] = (50, 40)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (*size[::-1], 3), dtype=np.uint8)).save(path)
    return path


def coco_folder(root: Path, categories: Sequence[str], count: int = 4, name: str = "{}.jpg") -> Path:
    """Noise pictures with one box and one caption each, in splits `train` and `val`."""
    (root / "annotations").mkdir(parents=True)
    for split in ("train", "val"):
        files = [name.format(number) for number in range(count)]
        for number, file in enumerate(files):
            noise_picture(root / "images" / split / file, number)
        images = [{"id": n, "file_name": file, "width": 50, "height": 40} for n, file in enumerate(files)]
        boxes = [
            {"id": n + 1, "image_id": n, "category_id": 1 + n % len(categories), "bbox": [5, 6, 20, 10]}
            for n in range(count)
        ]
        captions = [{"id": n, "image_id": n, "caption": f"a {categories[n % len(categories)]}"} for n in range(count)]
        known = [{"id": n, "name": word} for n, word in enumerate(categories, 1)]
        files_by_kind = {
            "instances": {"images": images, "annotations": boxes, "categories": known},
            "captions": {"images": images, "annotations": captions},
        }
        for kind, content in files_by_kind.items():
            (root / "annotations" / f"{kind}_{split}.json").write_text(json.dumps(content))
    return root
