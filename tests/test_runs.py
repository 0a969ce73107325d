from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from multitask.cli.console import LogLines
from multitask.cli.plot import plot
from multitask.cli.progress import TrainingDisplay
from multitask.cli.runs import runs
from multitask.config import load_config
from multitask.curves import COLOURS, Course, page, rate_page, read_course
from multitask.errors import CheckpointError, UsageError
from multitask.files import atomic_folder, seal_folder
from multitask.run_folder import point
from multitask.runs import evaluations, records, summaries, summary

CONFIG = load_config("smoke", ["train.steps=20"], ["det", "caption"])
LOG: list[dict[str, Any]] = [
    {"step": 10, "loss": {"det": 2.0, "caption": None}, "lr": 1e-3, "gradient_norm": 0.5},
    {"step": 10, "scores": {"det/AP": 0.5, "det/AP50": 0.75, "caption/CIDEr-D": None}},
    {"step": 20, "loss": {"det": 1.0, "caption": 3.0}, "lr": 0, "gradient_norm": 2},
    {"step": 20, "scores": {"det/AP": 0.25, "det/AP50": 1.0, "caption/CIDEr-D": 2.0}},
]


def make_run(run: Path, step: int = 20, log: list[dict[str, Any]] = LOG) -> Path:
    checkpoints = run / "checkpoints"
    checkpoints.mkdir(parents=True)
    with atomic_folder(checkpoints / f"step-{step:08d}") as folder:
        (folder / "config.json").write_text(CONFIG.model_dump_json())
        seal_folder(folder, {"format": 1, "step": step})
    point(checkpoints, "latest", checkpoints / f"step-{step:08d}")
    (run / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in log))
    return run


def test_a_finished_run_in_short(tmp_path: Path) -> None:
    found = summary(make_run(tmp_path / "a"))
    assert (found.state, found.step, found.steps, found.tasks) == ("finished", 20, 20, ("det", "caption"))
    assert (found.metric, found.best) == ("det/AP", 0.5)
    assert found.scores == {"det/AP": 0.25, "det/AP50": 1.0, "caption/CIDEr-D": 2.0}


@pytest.mark.parametrize(("step", "log", "shown"), [(10, LOG[:3], 20), (10, [], 10), (20, LOG[:3], 20)])
def test_a_run_without_its_last_scores_is_unfinished(tmp_path: Path, step: int, log: list[Any], shown: int) -> None:
    found = summary(make_run(tmp_path / "a", step, log))
    assert (found.state, found.step) == ("unfinished", shown)


def test_before_the_first_checkpoint_the_log_tells(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"step": 3}\n{"st')
    found = summary(tmp_path)
    assert (found.state, found.step, found.steps, found.tasks) == ("unfinished", 3, None, ())


def _spoil(run: Path, what: str) -> None:
    checkpoint = next((run / "checkpoints").glob("step-*"))
    if what == "config":
        (checkpoint / "config.json").write_text('{"tasks": {"det": {}}}')
    elif what == "manifest":
        (checkpoint / "manifest.json").write_text("[" * 100_000)
    elif what == "log":
        (run / "metrics.jsonl").write_bytes(b"\xff\n" * 100)
    elif what == "pipe":
        (run / "metrics.jsonl").unlink()
        os.mkfifo(run / "metrics.jsonl")


SPOILT = [("config", "damaged"), ("manifest", "damaged"), ("log", "damaged"), ("pipe", "unfinished")]


@pytest.mark.parametrize(("what", "state"), SPOILT)
def test_damaged_files_are_named_beside_the_sound_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], what: str, state: str
) -> None:
    make_run(tmp_path / "sound")
    _spoil(make_run(tmp_path / "spoilt"), what)
    states = {run.folder.name: run.state for run in summaries(tmp_path)}
    assert states == {"sound": "finished", "spoilt": state}
    runs(tmp_path)
    out, err = capsys.readouterr()
    assert "sound" in out and "spoilt" in out and ("damaged: " in err) == (state == "damaged")


def test_hostile_lines_and_names_do_no_harm(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = "a\x1b[31m[red]"
    run = make_run(tmp_path / name)
    huge = b'{"step": 30, "scores": {"det/\x1b[2J": 1' + b"0" * 4000 + b', "[bold]x": "y", "inf": 1e999}}\n'
    with (run / "metrics.jsonl").open("ab") as file:
        file.write(b'{"step": 30, "scores": [1]}\n' + b"[" * 50_000 + b"\n" + b'{"step": 1e9}\n')
        file.write(huge.replace(b"\x1b", b"\\u001b"))
    assert evaluations(run / "metrics.jsonl")[30] == {"det/\x1b[2J": None, "[bold]x": None, "inf": None}
    runs(tmp_path)
    assert "\x1b" not in (out := capsys.readouterr().out) and "[bold]" in out
    runs(tmp_path, json_=True)
    assert json.loads(capsys.readouterr().out)[0]["folder"] == str(run)


def test_the_newest_run_stands_last_and_a_run_itself_may_be_named(tmp_path: Path) -> None:
    for number, name in enumerate(("c", "a", "b")):
        run = make_run(tmp_path / name)
        for file in ("metrics.jsonl", "checkpoints/latest"):
            os.utime(run / file, (1000 + number, 1000 + number))
    (tmp_path / "config.yaml").write_text("a recipe, not a run")
    assert [run.folder.name for run in summaries(tmp_path)] == ["c", "a", "b"]
    assert [run.folder.name for run in summaries(tmp_path / "a")] == ["a"]
    for empty in (tmp_path / "a" / "checkpoints", tmp_path / "nowhere", tmp_path / "config.yaml"):
        with pytest.raises(CheckpointError, match="run"):
            summaries(empty)


def test_runs_are_listed_without_torch(tmp_path: Path) -> None:
    make_run(tmp_path / "a")
    code = f"""
import sys
from multitask.cli import main
sys.argv = ["mtp", "runs", {str(tmp_path)!r}, "--json"]
try:
    main()
finally:
    print("MODULES", *sys.modules)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    listed, _, modules = run.stdout.partition("MODULES")
    assert run.returncode == 0, run.stderr
    (found,) = json.loads(listed)
    assert found["state"] == "finished" and found["best"] == 0.5
    assert not {"torch", "matplotlib"} & set(modules.split())


# ------------------------------------------------------------------------------------------------------------- curves


def read_png(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))


def drawn(content: bytes, line: int = 0) -> int:
    """Pixels of a line's colour."""
    colour = [int(COLOURS[line][i : i + 2], 16) for i in (1, 3, 5)]
    return int((abs(read_png(content).astype(int) - colour).sum(-1) < 30).sum())


def course(*losses: float | None, name: str = "run") -> Course:
    found = Course(name)
    for step, loss in enumerate(losses):
        found.add({"step": step, "loss": {"a": loss}})
    return found


def test_a_curve_breaks_where_a_value_is_not_finite_and_no_name_is_a_formula() -> None:
    whole, broken = page([course(3, 2, 2, 1)]), page([course(3, 2, None, 1, name="$\\frac{\x1b")])
    assert read_png(whole).shape == (580, 1200, 3)
    assert drawn(whole) > 2 * drawn(broken) > 0 == drawn(whole, 1)


def test_several_runs_are_drawn_over_each_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plot([make_run(tmp_path / "a"), make_run(tmp_path / "b", log=LOG[:2])])
    content = (tmp_path / "a" / "curves.png").read_bytes()
    assert "wrote" in capsys.readouterr().err
    assert read_png(content).shape == (870, 1200, 3) and drawn(content) and drawn(content, 1)


def test_scores_belong_to_their_task_whatever_the_data_set() -> None:
    found = Course("run")
    found.add({"step": 1, "scores": {"a@x/AP": 1, "a@y/AP": 2, "ab/AP": 3, "a/AP of b/c": 4}})
    assert list(found.of("a")) == ["@x AP", "@y AP", "AP of b/c"]


def test_a_run_without_a_log_or_with_nothing_in_it_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"metrics.jsonl: missing"):
        read_course(tmp_path)
    (tmp_path / "metrics.jsonl").write_text('{"step": 1}\n{"step"')
    assert list(records(tmp_path / "metrics.jsonl")) == [{"step": 1}]
    with pytest.raises(CheckpointError, match="nothing to draw"):
        read_course(tmp_path)


def test_the_suggested_rate_is_marked() -> None:
    content = rate_page([1e-4, 1e-3, 1e-2, 1e-1], [3.0, 2.5, 1.0, 4.0], 1e-3)
    assert read_png(content).shape[1] == 1200 and drawn(content) and drawn(content, 1)


def test_matplotlib_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(UsageError, match=r"pip install 'multitask-prompts\[plot\]'"):
        page([course(1, 2)])


# ----------------------------------------------------------------------------------------------------------- progress


def test_plain_lines_have_no_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    with TrainingDisplay() as display:
        display.started(0, 20)
        for step in (10, 20):
            display.stepped(step, {"a\x1b[31m": 1.0}, 5)
        display.note("scores \x1b[2J")
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[0] for line in lines] == ["step", "scores"] and lines[0].startswith("step 20/20")
    assert all(line.isprintable() for line in lines)


def test_training_goes_on_when_nobody_reads_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    with os.fdopen(writer, "w") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        with TrainingDisplay() as display:
            display.started(0, 20)
            display.note("heard")
            os.close(reader)
            display.stepped(20, {"a": 1.0}, 5)
            LogLines().emit(logging.makeLogRecord({"msg": "unheard"}))
            display.note("unheard")
        assert sys.stderr is stream
        stream.flush()  # as the interpreter does when it ends


@pytest.mark.parametrize("closed", [True, False])
def test_a_display_needs_no_standard_error(monkeypatch: pytest.MonkeyPatch, closed: bool) -> None:
    stream = io.StringIO()
    stream.close()
    monkeypatch.setattr(sys, "stderr", stream if closed else None)
    with TrainingDisplay() as display:
        display.started(0, 1)
        display.note("unheard")
