from __future__ import annotations

import json
import math
import multiprocessing
import os
import signal
import sys
from pathlib import Path

import numpy as np
import pytest

from multitask.annotations import Boxes, Captions
from multitask.errors import UsageError
from multitask.example import Example, Prediction
from multitask.training.journal import Journal
from multitask.training.tensorboard import answered_pictures

forking = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def record(step: int) -> dict:
    return {"step": step, "loss": {"a": 2.5, "b": math.nan}, "lr": 1e-3}


def test_steps_and_scores_are_lines_in_order_and_what_is_not_finite_is_null(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.steps(record(10))
    journal.scores(10, {"a/AP": math.inf, "b/AP": 0.5})
    journal.bad({"step": 11, "reason": "loss", "files": ["x.jpg"]})
    journal.close()
    assert lines(tmp_path / "metrics.jsonl") == [
        {"step": 10, "loss": {"a": 2.5, "b": None}, "lr": 1e-3},
        {"step": 10, "scores": {"a/AP": None, "b/AP": 0.5}},
    ]
    assert lines(tmp_path / "bad_steps.jsonl") == [{"step": 11, "reason": "loss", "files": ["x.jpg"]}]


def test_a_resumed_run_logs_what_an_unbroken_one_does(tmp_path: Path) -> None:
    unbroken, killed = tmp_path / "unbroken", tmp_path / "killed"
    for folder, courses in ((unbroken, [(0, 60)]), (killed, [(0, 50), (30, 60)])):
        folder.mkdir()
        for begin, end in courses:
            journal = Journal(folder, begin)
            for step in range(begin + 10, end + 1, 10):
                journal.steps(record(step))
                journal.bad({"step": step, "reason": "gradient", "files": []})
                if step % 30 == 0:
                    journal.scores(step, {"a/AP": 0.1})
            with (folder / "metrics.jsonl").open("ab") as file:
                file.write(b'{"step": 60, "lo' if end == 50 else b"")  # a writer that was killed
    for name in ("metrics.jsonl", "bad_steps.jsonl"):
        assert (killed / name).read_bytes() == (unbroken / name).read_bytes()


@pytest.mark.parametrize("end", [b'{"step": 20, "lr"', b'{"step": 20}', b"\0" * 40, b"\xff\xfe"])
def test_a_half_line_at_the_end_goes_and_a_damaged_one_before_it_stays(tmp_path: Path, end: bytes) -> None:
    whole = b'{"step": 10}\n\xff damaged\n[1, 2]\n{"step": 20}\n'
    (tmp_path / "metrics.jsonl").write_bytes(whole + end)
    Journal(tmp_path, 20)
    assert (tmp_path / "metrics.jsonl").read_bytes() == whole


def _write_for_ever(folder: Path) -> None:
    journal = Journal(folder)
    for step in range(1, sys.maxsize):
        journal.steps({"step": step, "loss": {f"task {n}": 0.1 for n in range(200)}})


@forking
def test_after_kill_9_every_line_but_the_last_is_whole(tmp_path: Path) -> None:
    writer = multiprocessing.get_context("fork").Process(target=_write_for_ever, args=(tmp_path,))
    writer.start()
    while not (tmp_path / "metrics.jsonl").exists() or (tmp_path / "metrics.jsonl").stat().st_size < 1_000_000:
        assert writer.is_alive()
    os.kill(writer.pid or 0, signal.SIGKILL)
    writer.join()
    text = (tmp_path / "metrics.jsonl").read_text()
    steps = [json.loads(line)["step"] for line in text[: text.rindex("\n")].split("\n")]
    assert steps == list(range(1, len(steps) + 1))


def _fill_up(folder: Path) -> None:
    import resource

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
    journal = Journal(folder)
    try:
        for step in range(1, 10):
            journal.bad({"step": step, "reason": "x" * 20})
    except OSError as error:
        os._exit(0 if error.filename == str(folder / "bad_steps.jsonl") else 1)
    os._exit(2)


@forking
def test_a_full_disk_names_the_file_and_leaves_whole_lines(tmp_path: Path) -> None:
    writer = multiprocessing.get_context("fork").Process(target=_fill_up, args=(tmp_path,))
    writer.start()
    writer.join()
    assert writer.exitcode == 0
    assert [line["step"] for line in lines(tmp_path / "bad_steps.jsonl")] == [1, 2]


def test_tensorboard_shows_losses_rates_scores_and_pictures_of_one_course(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    first = Journal(tmp_path, 0, tensorboard=True)
    for step in (10, 20, 30):
        first.steps(record(step))
    first.close()
    again = Journal(tmp_path, 20, tensorboard=True)
    again.steps({"step": 30, "loss": {"a": 1.5}, "lr": 2e-3, "images_per_second": 7, "gradient_norm": 0.25})
    again.scores(30, {"a/AP": 0.75})
    again.pictures(30, [("answers/1", np.full((4, 6, 3), 200, np.uint8))])
    again.close()
    found = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    values = {tag: [(e.step, round(e.value, 6)) for e in found.Scalars(tag)] for tag in found.Tags()["scalars"]}
    assert values.pop("loss/b")[0][0] == 10
    assert values == {
        "loss/a": [(10, 2.5), (20, 2.5), (30, 1.5)],
        "lr": [(10, 1e-3), (20, 1e-3), (30, 2e-3)],
        "images_per_second": [(30, 7)],
        "gradient_norm": [(30, 0.25)],
        "scores/a/AP": [(30, 0.75)],
    }
    (picture,) = found.Images("answers/1")
    assert (picture.step, picture.width, picture.height) == (30, 6, 4)


def test_tensorboard_that_is_not_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(UsageError, match=r"pip install 'multitask-prompts\[track\]'"):
        Journal(tmp_path, tensorboard=True)
    assert not (tmp_path / "metrics.jsonl").exists()


def test_answers_are_drawn_on_the_first_images_and_doubtful_ones_left_out() -> None:
    grey = np.full((2000, 1000, 3), 128, np.uint8)
    examples = [Example(n, f"{n}.jpg", (1000, 2000), {}, lambda reduce=1: grey) for n in range(10)]
    boxes = Boxes(np.array([[100.0, 1000, 900, 1900]]), ("cat",), np.array([0.9]))
    found = [{"one": Prediction(e.id, e.file, e.size, {"boxes": boxes})} for e in examples]
    found[1] = {"one": Prediction(1, "1.jpg", (1000, 2000), {"boxes": Boxes(boxes.xyxy, ("cat",), np.array([0.1]))})}
    found[2]["two"] = Prediction(2, "2.jpg", (1000, 2000), {"captions": Captions(("a cat",))})
    pictures = dict(answered_pictures(examples, found))
    assert list(pictures) == [f"answers/{n}" for n in range(1, 9)]
    drawn, doubtful, captioned = (pictures[f"answers/{n}"] for n in (1, 2, 3))
    assert drawn.shape == doubtful.shape == (640, 320, 3) and drawn.dtype == np.uint8
    assert (doubtful == 128).all() and (drawn[:300] == 128).all() and not (drawn[300:] == 128).all()
    assert captioned.shape[1] < 320 and (captioned[-3:] == 255).all()
