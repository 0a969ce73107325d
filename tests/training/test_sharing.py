"""Two processes under torchrun, and accumulated parts, give the losses and scores of one process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from multitask.errors import MtpError, UsageError
from multitask.processes import Processes

SCRIPT = Path(__file__).with_name("sharing.py")
LAUNCHED = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "2"}


def torchrun(*words: str) -> subprocess.CompletedProcess[str]:
    start = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run([*start, *words], capture_output=True, text=True, timeout=300, env=environment)


def test_every_way_of_sharing_gives_the_curve_of_one_process() -> None:
    done = torchrun(str(SCRIPT), "12")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert len(found) == 6
    for way, result in found.items():
        assert result["loss"] <= 1e-4 < 1 < result["of"], way
        assert result["same scores"], way


def test_an_error_in_one_process_ends_both(tmp_path: Path) -> None:
    """The first cannot write the run folder; the other one is told."""
    (tmp_path / "run").write_text("a file")
    settings = ["--config", "smoke", "--tasks", "det", "--out", str(tmp_path / "run")]
    done = torchrun("-m", "multitask", "train", *settings)
    assert done.returncode != 0 and 'Traceback (most recent call last):\n  File "/work' not in done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("error")]
    assert any(str(tmp_path / "run") in line for line in lines), done.stderr


def test_by_itself_a_run_is_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TORCHELASTIC_RUN_ID", raising=False)
    alone = Processes.started()
    assert alone == Processes() and alone.first and not alone.several
    assert alone.table([1, 2]).tolist() == [[1.0, 2.0]] and alone.gather("x") == ["x"]


def test_torchrun_says_who_one_is(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**LAUNCHED, "TORCHELASTIC_RUN_ID": "x", "TORCHELASTIC_RESTART_COUNT": "3"}.items():
        monkeypatch.setenv(name, value)
    assert Processes.started() == Processes(1, 2, 1, 2, 3)
    monkeypatch.delenv("WORLD_SIZE")
    with pytest.raises(UsageError, match="environment of torchrun is incomplete: 'WORLD_SIZE'"):
        Processes.started()


def test_a_lost_process_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.distributed.init_process_group", lambda *_: None)
    monkeypatch.setattr("torch.distributed.destroy_process_group", lambda: None)
    with pytest.raises(MtpError, match="process 1 lost another one"), Processes(1, 2).connected(_cpu()):
        raise RuntimeError("[gloo/transport/tcp/pair.cc:534] Connection closed by peer [127.0.0.1]:41")
    with pytest.raises(RuntimeError, match="shapes"), Processes(1, 2).connected(_cpu()):
        raise RuntimeError("shapes do not fit")


def _cpu() -> object:
    return type("Device", (), {"type": "cpu"})()
