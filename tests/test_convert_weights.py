"""Pickles become safetensors, and those that want to run code run none. Only few are read by a process of their own."""

from __future__ import annotations

import argparse
import importlib.metadata
import io
import os
import pickle
import resource
import runpy
import subprocess
import sys
import warnings
from contextlib import redirect_stdout
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file

from multitask import convert_weights
from multitask.cli import convert_weights as command
from multitask.cli.app import app
from multitask.errors import CheckpointError, UsageError

TENSORS = {"a.weight": torch.arange(6.0).reshape(2, 3).T, "a.bias": torch.ones(2, dtype=torch.float16)}


class Hostile:
    """Touches a file when it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self):
        return os.system, (f"touch {self.canary}",)


def same(file: Path, expected=TENSORS) -> None:
    found = load_file(file)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) and found[name].dtype == expected[name].dtype for name in found)


@pytest.fixture
def here(monkeypatch):
    """The process that reads is this one: quicker, and the rest is the same. Gives what it was started with."""
    started = SimpleNamespace()

    def run(words, **given):
        vars(started).update(given, words=words)
        monkeypatch.setattr(sys, "argv", ["", *words[4:]])
        with redirect_stdout(io.StringIO()) as out, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # runpy's, that the module is imported already
            runpy.run_module(words[3], run_name="__main__")
        return SimpleNamespace(stdout=out.getvalue().encode(), returncode=0)

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(resource, "setrlimit", lambda what, limit: setattr(started, "limit", limit))
    return started


def converted(content: object, folder: Path, **options) -> convert_weights.Conversion:
    torch.save(content, folder / "w.pth", _use_new_zipfile_serialization=options.pop("zipped", True))
    return convert_weights.convert_weights(folder / "w.pth", folder / "w.safetensors", **options)


def test_a_file_is_read_by_a_process_of_its_own(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    content = {"epoch": 3, "model": {"module.a.weight": TENSORS["a.weight"], "module.steps": 7}, "ema": dict(TENSORS)}
    torch.save({**content, "args": argparse.Namespace(lr=0.1)}, "w.pth")
    command.convert_weights(Path("w.pth"), Path("w.safetensors"), yes=True)
    same(tmp_path / "w.safetensors", {"a.weight": TENSORS["a.weight"]})
    assert capsys.readouterr().out.splitlines() == [
        "w.safetensors: 1 tensors of 'model', 6 numbers, float32",
        "left out, no tensors: module.steps",
        "also there, see --key: ema",
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["w.pth", "w.safetensors"]


def test_one_that_takes_too_long_is_ended(tmp_path):
    with pytest.raises(CheckpointError, match=r"w\.pth: not read within 0\.01 seconds"):
        converted(TENSORS, tmp_path, seconds=0.01)
    assert [path.name for path in tmp_path.iterdir()] == ["w.pth"]


@pytest.mark.parametrize("zipped", [True, False])
def test_a_hostile_pickle_runs_nothing(tmp_path, here, zipped):
    canary = tmp_path / "canary"
    with pytest.raises(CheckpointError, match=r"^\S+w\.pth: needs \w+\.system to be read, which is code") as caught:
        converted({"model": TENSORS, "more": Hostile(canary)}, tmp_path, zipped=zipped)
    assert "\n" not in str(caught.value) and not canary.exists()
    pickle.loads(pickle.dumps(Hostile(canary)))
    assert canary.exists()  # it would have been seen


def test_the_process_gets_no_secrets_and_little_memory(tmp_path, here, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "secret")
    converted(TENSORS, tmp_path)
    assert "PATH" in here.env and "secret" not in here.env.values()
    assert here.stdin == subprocess.DEVNULL and here.timeout == convert_weights.SECONDS
    assert 1 << 30 < here.limit[0] < 1 << 34


@pytest.mark.parametrize("key", ["", *convert_weights.KEYS])
def test_weights_are_found_under_the_usual_keys(tmp_path, here, key):
    found = converted({"epoch": 1, key: TENSORS} if key else TENSORS, tmp_path)
    assert found == convert_weights.Conversion(key, 2, 8, ("float16", "float32"), (), ())
    same(tmp_path / "w.safetensors")


def test_a_key_chooses(tmp_path, here):
    content = {"model": {"x": torch.zeros(1)}, "generator": TENSORS, "numbers": {"a": 1}}
    assert converted(content, tmp_path, key="generator").others == ("model",)
    same(tmp_path / "w.safetensors")
    with pytest.raises(CheckpointError, match="no weights under 'numbers'; found: model, generator, numbers"):
        converted(content, tmp_path, key="numbers", force=True)
    same(tmp_path / "w.safetensors")  # stays as it was


def test_prefixes_of_wrappers_go_unless_names_would_meet(tmp_path, here):
    x, y = torch.zeros(1), torch.ones(1)
    converted({"module._orig_mod.x": x, "n_averaged": y, "my.module.z": x}, tmp_path)
    same(tmp_path / "w.safetensors", {"x": x, "n_averaged": y, "my.module.z": x})
    converted({"module.x": x, "x": y}, tmp_path, force=True)
    same(tmp_path / "w.safetensors", {"module.x": x, "x": y})


def test_shared_tensors_are_written_apart(tmp_path, here):
    table = torch.arange(4.0)
    converted({"in": table, "out": table, "half": table[:2]}, tmp_path)
    same(tmp_path / "w.safetensors", {"in": table, "out": table, "half": table[:2]})


@pytest.mark.parametrize(
    ("write", "reason"),
    [
        (lambda path: path.write_bytes(b""), "damaged, or no weights: EOFError"),
        (lambda path: path.write_bytes(bytes(range(256))), "damaged|holds more"),
        (lambda path: path.write_bytes(path.read_bytes()[:-400]), "damaged, or no weights: RuntimeError"),
        (lambda path: path.write_bytes(b"\x80\x02\x8a\xff" + b"\xff" * 40), "damaged|holds more"),
        (lambda path: torch.save({"w": torch.zeros(1).expand(1 << 50)}, path), "damaged, or no weights: RuntimeError"),
        (lambda path: torch.save({"a": 1, "b": [TENSORS]}, path), "no weights where they are looked for.*found: a, b$"),
        (lambda path: torch.save([1], path), "found: a list$"),
        (lambda path: torch.save(torch.nn.Linear(1, 1), path), "needs torch.nn.modules.linear.Linear to be read"),
        (lambda path: save_file({"x": torch.zeros(1)}, path), "damaged|holds more"),
    ],
    ids=["empty", "bytes", "cut", "huge number", "huge tensor", "lists", "no mapping", "a module", "no pickle"],
)
def test_a_file_that_cannot_be_used_is_refused_in_one_line(tmp_path, here, write, reason):
    path = tmp_path / "w.pth"
    torch.save(TENSORS, path)
    write(path)
    with pytest.raises(CheckpointError, match=rf"w\.pth: .*({reason})") as caught:
        convert_weights.convert_weights(path, tmp_path / "w.safetensors")
    assert "\n" not in str(caught.value) and "weights_only" not in str(caught.value)
    assert [found.name for found in tmp_path.iterdir()] == ["w.pth"]


def test_a_process_that_dies_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: SimpleNamespace(stdout=b"", returncode=-9))
    with pytest.raises(CheckpointError, match=r"w\.pth: damaged: reading it ended the process, code -9"):
        converted(TENSORS, tmp_path)


@pytest.mark.parametrize(
    ("source", "target", "error", "reason"),
    [
        ("no.pth", "new.safetensors", CheckpointError, "no.pth: no such file"),
        (".", "new.safetensors", CheckpointError, "no such file"),
        ("w.pth", "new.pth", UsageError, r"then a name in \.safetensors"),
        ("old.safetensors", "new.safetensors", UsageError, "give a pickle file"),
        ("w.pth", "old.safetensors", UsageError, "old.safetensors exists: give another name, or --force"),
        ("w.pth", "nowhere/new.safetensors", UsageError, "there is no folder nowhere"),
    ],
)
def test_names_that_do_not_fit_are_refused_before_reading(tmp_path, monkeypatch, source, target, error, reason):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("it was read"))
    for name in ("w.pth", "old.safetensors"):
        Path(name).write_bytes(b"")
    with pytest.raises(error, match=reason):
        command.convert_weights(Path(source), Path(target), yes=True)


def test_an_old_torch_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(convert_weights, "version", lambda name: "2.9.1+cpu")
    with pytest.raises(UsageError, match=r"torch 2\.9\.1\+cpu does not read pickles safely"):
        converted(TENSORS, tmp_path)
    assert importlib.metadata.version("torch") != "2.9.1+cpu"


def test_it_is_a_command_of_mtp():
    assert [info.callback for info in app.registered_commands if info.name == "convert-weights"] == [
        command.convert_weights
    ]


def test_it_asks_first(tmp_path, here, monkeypatch, capsys):
    path, target = tmp_path / "w.pth", tmp_path / "w.safetensors"
    torch.save(TENSORS, path)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: False))
    with pytest.raises(UsageError, match=r"can run code .* say so with --yes"):
        command.convert_weights(path, target)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(isatty=lambda: True))
    monkeypatch.setattr(command.typer, "confirm", lambda question, err: False)
    with pytest.raises(command.typer.Exit):
        command.convert_weights(path, target)
    assert "only if you trust where it comes from" in capsys.readouterr().err and not target.exists()
    monkeypatch.setattr(command.typer, "confirm", lambda question, err: True)
    command.convert_weights(path, target)
    same(target)
