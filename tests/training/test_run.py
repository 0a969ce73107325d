from __future__ import annotations

import json
import math
import re
import signal
from pathlib import Path
from unittest.mock import Mock

import pytest
import safetensors.torch
import torch

from multitask import train
from multitask.checkpoint import load_training
from multitask.config import Config
from multitask.data.scored import Scored
from multitask.errors import MtpError, Stopped, UsageError
from multitask.sections import DataConfig, DecoderConfig, ModelConfig, TrainConfig, TransformerConfig
from multitask.training import run as run_module
from multitask.training.objective import Objective
from multitask.training.run import Run
from multitask.training.stopping import Stop
from multitask.training.trainer import Progress, Trainer

TINY = ModelConfig(
    image_size=32,
    encoder="vit",
    transformer=TransformerConfig(dim=24, depth=1, heads=3, mlp_dim=48, patch=8),
    decoder=DecoderConfig(dim=32, depth=1, heads=4, mlp_dim=64, max_length=32),
)
SURE = {"dropout": 0.0, "drop_path": 0.0}
FAST = {"steps": 40, "batch_size": 2, "lr": 5e-3, "warmup": 5, "precision": "fp32"}


def same(one: dict, other: dict) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


class Quiet:
    """A display that keeps what it is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.steps: list[int] = []
        self.begun: list[tuple[int, int]] = []

    def started(self, step, steps):
        self.begun.append((step, steps))

    def stepped(self, step, losses, images_per_second):
        self.steps.append(step)

    def evaluated(self, done, total):
        pass

    def note(self, line):
        self.notes.append(line)


def recipe(workers: int = 0, **settings) -> Config:
    return Config(
        tasks={"det": {"max_instances": 4}, "caption": {"max_tokens": 6}},
        bins=32,
        data=DataConfig(path="shapes", train_size=5, val_size=2, workers=workers),
        model=TINY,
        train=TrainConfig(**{**FAST, "steps": 6, "warmup": 2, "save_every": 3, "keep": 9, "ema": 0.9, **settings}),
    )


def checkpoint(run: Path, step: int) -> dict[str, torch.Tensor]:
    folder = run / "checkpoints" / f"step-{step:08d}"
    return {
        f"{file}/{name}": tensor
        for file in ("model", "ema", "optimizer")
        for name, tensor in safetensors.torch.load_file(folder / f"{file}.safetensors").items()
    }


def records(run: Path) -> list[dict]:
    """The log without what takes another time."""
    found = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in record.items() if key != "images_per_second"} for record in found]


def cut_back(run: Path, step: int) -> None:
    """As if the run had been killed right after it saved this step."""
    folder = run / "checkpoints"
    for later in folder.glob("step-*"):
        if int(later.name[5:13]) > step:
            for file in later.iterdir():
                file.unlink()
            later.rmdir()
    (folder / "latest").write_text(f"step-{step:08d}")


@pytest.mark.parametrize(("workers", "eval_every"), [(0, 0), (2, 2)])
def test_a_resumed_run_ends_bit_equal(tmp_path, workers, eval_every):
    run, scores = train.start(recipe(workers, eval_every=eval_every), tmp_path / "run", "cpu", False, Quiet())
    whole = checkpoint(run, 6)
    assert same(whole, checkpoint(run, 6)) and not same(whole, checkpoint(run, 3))
    log = records(run)
    cut_back(run, 3)
    display = Quiet()
    _, again = train.resumed(run, "cpu", False, display)
    assert display.begun == [(3, 6)]
    resumed = checkpoint(run, 6)
    assert [name for name in whole if not torch.equal(whole[name], resumed[name])] == []
    assert json.dumps(again) == json.dumps(scores)
    assert records(run) == log


def test_the_last_step_is_always_saved_and_scored(tmp_path):
    run, scores = train.start(recipe(steps=5, eval_every=2), tmp_path / "run", "cpu", False, Quiet())
    assert (run / "checkpoints" / "latest").read_text() == "step-00000005"
    assert [r["step"] for r in records(run) if "scores" in r] == [2, 4, 5]
    assert json.loads((run / "scores.json").read_text()).keys() == scores.keys() == {"det", "caption"}


def evaluated(value):
    """What an evaluation of detection gives."""
    return Scored("det", Mock(), Mock(compute=lambda: {"AP": value}))


def test_best_follows_the_metric_and_is_not_lost_to_one_that_is_not_a_number(tmp_path, monkeypatch):
    values = iter([0.25, math.nan, 0.5, 0.125])
    monkeypatch.setattr(run_module, "evaluate", lambda *_, **__: [evaluated(next(values))])
    run, _ = train.start(recipe(steps=4, eval_every=1), tmp_path / "run", "cpu", False, Quiet())
    folder = run / "checkpoints"
    assert (folder / "best").read_text() == "step-00000003"
    assert json.loads((folder / "step-00000004" / "state.json").read_text())["step"] == 4


def test_a_number_that_is_none_does_not_dethrone_the_best(tmp_path, monkeypatch):
    values = iter([0.25, math.nan])
    monkeypatch.setattr(run_module, "evaluate", lambda *_, **__: [evaluated(next(values))])
    run, _ = train.start(recipe(steps=2, eval_every=1), tmp_path / "run", "cpu", False, Quiet())
    assert (run / "checkpoints" / "best").read_text() == "step-00000001"


def test_a_folder_that_holds_a_run_is_not_written_over(tmp_path):
    (tmp_path / "run" / "checkpoints" / "step-00000001").mkdir(parents=True)
    with pytest.raises(MtpError, match="already holds a run: give another --out, or --resume"):
        train.start(recipe(), tmp_path / "run", "cpu", False, Quiet())


def test_a_run_that_was_killed_before_its_first_checkpoint_can_be_begun_anew(tmp_path):
    (tmp_path / "run" / "checkpoints" / ".mtp-0123456789abcdef.tmp").mkdir(parents=True)
    (tmp_path / "run" / "metrics.jsonl").write_text('{"step": 10, "loss": {}}\n{"ste')
    run, _ = train.start(recipe(steps=1), tmp_path / "run", "cpu", False, Quiet())
    assert [record["step"] for record in records(run)] == [1, 1]
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == ["best", "latest", "step-00000001"]


def test_a_run_that_is_through_is_not_scored_again(tmp_path, monkeypatch):
    run, scores = train.start(recipe(), tmp_path / "run", "cpu", False, Quiet())
    log = records(run)
    with monkeypatch.context() as patch:
        patch.setattr(run_module, "evaluate", Mock(side_effect=AssertionError))
        _, again = train.resumed(run, "cpu", False, Quiet())
    assert json.dumps(again) == json.dumps(scores) and records(run) == log
    (run / "scores.json").write_text("{")
    assert json.dumps(train.resumed(run, "cpu", False, Quiet())[1]) == json.dumps(scores)


# ------------------------------------------------------------------------------------------------------ what goes wrong


def spoil(monkeypatch: pytest.MonkeyPatch, steps: set[int]) -> None:
    """At these steps the loss is no number."""
    update = Trainer.update

    def spoilt(self: Trainer, *parts, **settings):
        if self.progress.step in steps:
            forward = Objective.forward
            with monkeypatch.context() as patch:
                patch.setattr(Objective, "forward", lambda *a: {n: math.nan * x for n, x in forward(*a).items()})
                return update(self, *parts, **settings)
        return update(self, *parts, **settings)

    monkeypatch.setattr(Trainer, "update", spoilt)


def not_finite(run: Path) -> list[str]:
    """Tensors and files of a run that hold something that is no number."""
    found = [
        f"{file}: {name}"
        for file in run.rglob("*.safetensors")
        for name, tensor in safetensors.torch.load_file(file).items()
        if not tensor.isfinite().all()
    ]
    texts = [*run.rglob("*.json"), *run.rglob("*.jsonl")]
    return found + [str(file) for file in texts if {"NaN", "Infinity"} & set(re.findall(r"\w+", file.read_text()))]


def test_bad_steps_leave_no_trace_but_a_line_with_their_images(tmp_path, monkeypatch, caplog):
    spoil(monkeypatch, {0, 2, 3, 6})
    run, _ = train.start(recipe(steps=8, save_every=1, eval_every=4), tmp_path / "run", "cpu", False, Quiet())
    assert not_finite(run) == []
    named = [json.loads(line) for line in (run / "bad_steps.jsonl").read_text().splitlines()]
    assert [bad["step"] for bad in named] == [1, 3, 4, 7]
    assert all(len(bad["files"]) == 2 and bad["reason"] for bad in named)
    state = json.loads((run / "checkpoints" / "step-00000008" / "state.json").read_text())
    assert (state["skipped"], state["bad_steps"]) == (4, 0)
    assert sum("is not finite: " in record.getMessage() for record in caplog.records) == 4
    assert same(checkpoint(run, 3), {**checkpoint(run, 3)}) and not same(checkpoint(run, 2), checkpoint(run, 5))


def test_a_skipped_step_moves_no_batch_norm(tmp_path, monkeypatch):
    spoil(monkeypatch, {2})
    small = recipe(steps=3, save_every=1)
    config = small.model_copy(update={"model": TINY.model_copy(update={"encoder": "test_efficientnet"})})
    run, _ = train.start(config, tmp_path / "run", "cpu", False, Quiet())
    before, after = checkpoint(run, 2), checkpoint(run, 3)
    assert any("running_mean" in name for name in before)
    assert [
        n for n in before if not torch.equal(before[n], after[n]) and not n.startswith("optimizer/optimizer/g")
    ] == []


def test_ten_bad_steps_in_a_row_end_the_run_with_a_sound_checkpoint(tmp_path, monkeypatch):
    spoil(monkeypatch, set(range(5, 40)))
    with pytest.raises(MtpError, match=r"10 steps in a row .*: lower train\.lr or raise train\.warmup; .*bad_steps"):
        train.start(recipe(steps=40, save_every=4, keep=1), tmp_path / "run", "cpu", False, Quiet())
    assert not_finite(tmp_path / "run") == []
    assert load_training(tmp_path / "run").step == 12
    assert len((tmp_path / "run" / "bad_steps.jsonl").read_text().splitlines()) == 10


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: you ...")])
def test_want_of_memory_is_told_with_what_to_lower(tmp_path, monkeypatch, error):
    monkeypatch.setattr(Objective, "forward", Mock(side_effect=error))
    words = (
        r"out of memory at step 0: 2 pictures of 32 x 32 pixels at once \(train.batch_size 2, train.accumulate 1\), "
    )
    with pytest.raises(
        MtpError, match=words + r"sequences of up to \d+ tokens; .*train.accumulate=2 or train.recompute"
    ):
        train.start(recipe(), tmp_path / "run", "cpu", False, Quiet())


def test_other_errors_of_torch_stay_what_they_are(tmp_path, monkeypatch):
    monkeypatch.setattr(Objective, "forward", Mock(side_effect=RuntimeError("shapes do not fit")))
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        train.start(recipe(), tmp_path / "run", "cpu", False, Quiet())


# ------------------------------------------------------------------------------------------------------ going on


def stop_at(monkeypatch: pytest.MonkeyPatch, number: int, moment: str, count: int) -> None:
    """A signal comes at the `count`th call of a method of Run."""
    method, calls = getattr(Run, moment), []

    def called(self: Run, *given):
        calls.append(None)
        if len(calls) == count:
            signal.raise_signal(number)
        return method(self, *given)

    monkeypatch.setattr(Run, moment, called)


@pytest.mark.parametrize("moment", ["_step", "_save", "_report", "_scoring"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_the_run_goes_on_to_the_same_end(tmp_path, monkeypatch, moment, number):
    config = recipe(eval_every=2)
    whole, scores = train.start(config, tmp_path / "whole", "cpu", False, Quiet())
    stop_at(monkeypatch, number, moment, 2)
    with pytest.raises(Stopped, match=r"stopped at step \d: go on with mtp train --resume --out ") as caught:
        train.start(config, tmp_path / "run", "cpu", False, Quiet())
    assert caught.value.exit_code == 128 + number
    stopped = int(str(caught.value).split(":")[0].split()[-1])
    assert load_training(tmp_path / "run").step == stopped
    monkeypatch.undo()
    run, again = train.resumed(tmp_path / "run", "cpu", False, Quiet())
    assert same(checkpoint(whole, 6), checkpoint(run, 6))
    assert json.dumps(again) == json.dumps(scores)
    assert scored_at(run) == scored_at(whole) == [2, 4, 6]
    assert (run / "checkpoints" / "best").read_text() == (whole / "checkpoints" / "best").read_text()


def scored_at(run: Path) -> list[int]:
    return [record["step"] for record in records(run) if "scores" in record]


def test_handlers_of_signals_are_put_back(tmp_path):
    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    train.start(recipe(), tmp_path / "run", "cpu", False, Quiet())
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == before


def test_a_second_signal_ends_at_once(monkeypatch):
    stop = Stop()
    with stop.listening():
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)  # the echo of a terminal
        assert stop.number == signal.SIGTERM
        monkeypatch.setattr(stop, "_heard", stop._heard - 2)
        with pytest.raises(Stopped, match="ended at once") as caught:
            signal.raise_signal(signal.SIGINT)
    assert caught.value.exit_code == 130


def test_a_checkpoint_is_not_taken_for_a_run(tmp_path):
    run, _ = train.start(recipe(), tmp_path / "run", "cpu", False, Quiet())
    saved = run / "checkpoints" / "step-00000003"
    before = sorted(saved.iterdir())
    with pytest.raises(
        UsageError, match=r"step-00000003 is a checkpoint: name its run, --out \S+/run, or begin from it"
    ):
        train.resumed(saved, "cpu", False, Quiet())
    assert sorted(saved.iterdir()) == before


@pytest.mark.parametrize(("unfreeze", "freeze", "sound"), [(0, 0, True), (5, 9, True), (5, 5, False), (15, 10, False)])
def test_an_encoder_that_would_never_learn_is_refused(unfreeze, freeze, sound):
    if sound:
        assert TrainConfig(unfreeze_encoder=unfreeze, freeze_encoder=freeze)
    else:
        with pytest.raises(ValueError, match=f"freeze_encoder {freeze} is not after unfreeze_encoder {unfreeze}"):
            TrainConfig(unfreeze_encoder=unfreeze, freeze_encoder=freeze)


def test_only_what_changes_no_result_may_change_on_going_on(tmp_path):
    sure = TINY.model_copy(update={"transformer": TINY.transformer.model_copy(update=SURE)})
    config = recipe().model_copy(
        update={"model": sure.model_copy(update={"decoder": TINY.decoder.model_copy(update=SURE)})}
    )
    whole, _ = train.start(config, tmp_path / "run", "cpu", False, Quiet())
    end = checkpoint(whole, 6)
    cut_back(whole, 3)
    with pytest.raises(UsageError, match=r"--resume train.lr=1: a run goes on as it was begun, only these may change"):
        train.resumed(whole, "cpu", False, Quiet(), ["train.lr=1"])
    words = ["train.accumulate=2", "train.recompute=true", "data.workers=1"]
    run, _ = train.resumed(whole, "cpu", False, Quiet(), words)
    again = checkpoint(run, 6)
    assert load_training(run).config.train.accumulate == 2
    assert all(torch.allclose(end[n], again[n], atol=1e-3) for n in end if "groups" not in n)


def test_a_checkpoint_of_the_first_version_goes_on(tmp_path):
    """It has a `best` in its state, states of generators, and groups without `lr_scale`."""
    assert Progress.of({"step": 3, "losses": {}, "best": 0.5, "bad_steps": 0}) == Progress(step=3)
