from __future__ import annotations

import errno
import os
import pickle
import random
import resource
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch

from multitask import checkpoint
from multitask.checkpoint import find_run, load_training, load_weights, mark_best, save
from multitask.config import load_config
from multitask.errors import CheckpointError
from multitask.files import MANIFEST, SealedFolder, seal_folder
from multitask.run_folder import steps

CONFIG = load_config("smoke")
WORDS = {"blocks": {"class": ["dog", "日本"]}, "size": 3}


def write(run: Path, step: int, best: bool = False, **options: Any) -> Path:
    """A checkpoint whose every tensor holds its step."""
    weight = torch.full((3, 4), float(step))
    contents: dict[str, Any] = {
        "config": CONFIG,
        "vocabulary": WORDS,
        "text_model": b"text\x00model",
        "model": {"a": weight, "tied": weight, "turned": weight.T, "count": torch.tensor(step)},
        "ema": {"a": weight + 0.5},
        "tensors": {"optimizer/exp_avg/a": weight, "rng/cpu": torch.arange(5, dtype=torch.uint8)},
        "state": {"step": step, "loss": float("inf"), "rng": {"state": 2**127}},
        "keep": 2,
    }
    folder = save(run, step, **{**contents, **options})
    if best:
        mark_best(folder, options.get("keep", 2))
    return folder


def kept(run: Path) -> list[str]:
    return [path.name for path in steps(run / "checkpoints")]


def pointer(run: Path, name: str = "latest") -> str:
    return (run / "checkpoints" / name).read_text()


def damage(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def refused(call: Callable[[], object]) -> str:
    with pytest.raises(CheckpointError) as error:
        call()
    assert "\n" not in str(error.value) and error.value.exit_code == 5
    return str(error.value)


# ------------------------------------------------------------------------------------------------------- round trip


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    folder = write(tmp_path, 100)
    saved = load_training(tmp_path)
    assert saved.folder == folder == tmp_path / "checkpoints" / "step-00000100" and saved.step == 100
    assert (saved.config, saved.vocabulary, saved.text_model) == (CONFIG, WORDS, b"text\x00model")
    assert saved.state == {"step": 100, "loss": float("inf"), "rng": {"state": 2**127}}
    assert torch.equal(saved.weights["turned"], torch.full((4, 3), 100.0)) and saved.weights["count"].item() == 100
    assert torch.equal(saved.tensors["rng/cpu"], torch.arange(5, dtype=torch.uint8))
    assert saved.ema is not None and torch.equal(saved.ema["a"], torch.full((3, 4), 100.5))
    assert saved.notice == "" and load_config(str(tmp_path / "config.yaml")) == CONFIG
    files = {path.name for path in folder.iterdir()}
    assert files == {
        "model.safetensors", "ema.safetensors", "optimizer.safetensors", "state.json", "config.json", "vocabulary.json",
        "text.model", "manifest.json",
    }  # fmt: skip


def test_prediction_takes_averaged_weights_where_there_are_any(tmp_path: Path) -> None:
    write(tmp_path, 1)
    saved = load_weights(tmp_path)
    assert saved.weights["a"][0, 0] == 1.5 and saved.file.name == "ema.safetensors"
    write(tmp_path, 2, ema=None)
    saved = load_weights(tmp_path)
    assert saved.weights["a"][0, 0] == 2 and saved.file == saved.folder / "model.safetensors"
    assert load_training(tmp_path).ema is None


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16, torch.int64, torch.bool])
def test_every_number_keeps_its_bits(dtype: torch.dtype, tmp_path: Path) -> None:
    torch.manual_seed(0)
    tensor = torch.randint(0, 256, (7, 16), dtype=torch.uint8) % 2 if dtype == torch.bool else None
    tensor = torch.randn(7, 8).mul(100).to(dtype) if tensor is None else tensor.bool()
    write(tmp_path, 1, model={"a": tensor}, ema=None)
    read = load_weights(tmp_path).weights["a"]
    assert read.dtype == dtype and torch.equal(read, tensor)


# --------------------------------------------------------------------------------------------- pointers and pruning


def test_the_newest_and_the_best_are_kept(tmp_path: Path) -> None:
    for step in range(1, 7):
        write(tmp_path, step, best=step == 2)
        assert pointer(tmp_path) == f"step-{step:08d}"
    assert kept(tmp_path) == ["step-00000006", "step-00000005", "step-00000002"]
    assert load_weights(tmp_path).step == 2 and load_weights(tmp_path, "latest").step == 6
    assert load_weights(tmp_path / "checkpoints" / "step-00000005").step == 5
    write(tmp_path, 7, best=True, keep=1)
    assert kept(tmp_path) == ["step-00000007"] and load_weights(tmp_path).step == 7


def test_a_step_that_is_saved_again_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    write(tmp_path, 1, best=True)
    write(tmp_path, 1, state={"again": 1})
    assert kept(tmp_path) == ["step-00000001.1", "step-00000001"]  # the best one still
    write(tmp_path, 1, state={"again": 2}, best=True)
    assert kept(tmp_path) == ["step-00000001.2"]
    assert load_training(tmp_path).state == {"again": 2}


def test_a_course_that_was_left_is_removed(tmp_path: Path) -> None:
    for step in (10, 20, 30):
        write(tmp_path, step, keep=3)
    write(tmp_path, 15, keep=3)  # went on from step 10
    assert kept(tmp_path) == ["step-00000015", "step-00000010"] and load_training(tmp_path).step == 15


@pytest.mark.parametrize(
    "text", ["", "step-00000009", "../../other/checkpoints/step-00000001", "/etc", "\x00", "x" * 500]
)
def test_a_pointer_to_nowhere_is_passed_over(text: str, tmp_path: Path) -> None:
    write(tmp_path / "run", 1)
    write(tmp_path / "other", 1, state={"secret": 1})
    write(tmp_path / "run", 2)
    (tmp_path / "run" / "checkpoints" / "latest").write_text(text)
    assert load_training(tmp_path / "run").step == 2


# ------------------------------------------------------------------------------------------------------------ damage


def test_every_flipped_byte_is_found(tmp_path: Path) -> None:
    folder, rng = write(tmp_path, 1), random.Random(0)
    files = sorted(folder.iterdir())
    for i in range(200):
        good = (file := files[i % len(files)]).read_bytes()
        at = rng.randrange(len(good))
        file.write_bytes(good[:at] + bytes([good[at] ^ rng.randrange(1, 256)]) + good[at + 1 :])
        assert file.name in refused(lambda: load_training(folder))
        file.write_bytes(good)
    assert load_training(folder).notice == ""


def test_every_cut_and_every_missing_file_is_found(tmp_path: Path) -> None:
    folder, rng = write(tmp_path, 1), random.Random(0)
    for file in sorted(folder.iterdir()):
        good = file.read_bytes()
        for content in [good[:-1], good[1:], b"", good + b"\0", good[: rng.randrange(len(good))]]:
            file.write_bytes(content)
            assert file.name in refused(lambda: load_training(folder))
        file.unlink()
        refused(lambda: load_training(folder))
        file.write_bytes(good)
    assert load_training(folder).step == 1


def test_a_damaged_checkpoint_falls_back_to_the_one_before_and_says_so(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        write(tmp_path, step, keep=3, best=step == 3)
    damage(tmp_path / "checkpoints" / "step-00000003" / "ema.safetensors")
    for saved in (load_training(tmp_path), load_weights(tmp_path), load_weights(tmp_path, "latest")):
        assert saved.step == 2
        assert "step-00000003/ema.safetensors: damaged" in saved.notice and "went back to step-00000002" in saved.notice
        assert "\n" not in saved.notice
    refused(lambda: load_weights(tmp_path / "checkpoints" / "step-00000003"))  # asked for by name: nothing else will do
    write(tmp_path, 3)  # the run goes on and saves that step again
    assert load_training(tmp_path).notice == ""
    assert kept(tmp_path) == ["step-00000003.1", "step-00000003", "step-00000002"]  # the best is kept, whatever it is
    for folder in steps(tmp_path / "checkpoints"):
        damage(folder / "config.json")
    assert refused(lambda: load_training(tmp_path)).count("config.json: damaged") >= 2


def test_a_checkpoint_of_another_version_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path, 1)
    for info in ({"format": 2, "step": 1}, {"step": 1}, {"format": 1}, {"format": 1, "step": "1"}):
        (folder / MANIFEST).unlink()
        seal_folder(folder, info)
        assert "this version reads 1" in refused(lambda: load_weights(folder))


# ---------------------------------------------------------------------------------------------- interrupted and full

CALLS = [(os, "fsync"), (os, "replace"), (os, "rename"), (os, "unlink"), (os, "rmdir")]
CALLS += [(safetensors.torch, "save_file")]


def at_call(number: int, act: Callable[[], None], patch: pytest.MonkeyPatch, *, after: bool = False) -> list[int]:
    """Lets `act` happen before (or after) the call `number` of all that write; the list counts the calls."""
    count = [0]

    def wrap(call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **options: Any) -> Any:
            count[0] += 1
            mine = count[0] == number
            if mine and not after:
                act()
            try:
                return call(*args, **options)
            finally:
                if mine and after:
                    act()

        return wrapped

    for module, name in CALLS:
        patch.setattr(module, name, wrap(getattr(module, name)))
    return count


def forked(work: Callable[[], None]) -> int:
    """Wait status of a child process that does `work`."""
    if (child := os.fork()) == 0:
        try:
            work()
            os._exit(0)
        except CheckpointError:
            os._exit(5)
        finally:
            os._exit(99)
    return os.waitpid(child, 0)[1]


def kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def two_saved(folder: Path) -> Path:
    write(folder, 1, best=True)
    write(folder, 2)
    return folder


def number_of_calls(folder: Path) -> int:
    run = two_saved(folder)
    with pytest.MonkeyPatch.context() as patch:
        count = at_call(0, kill, patch)
        write(run, 3, best=True)
        return count[0]


def assert_sound(run: Path) -> int:
    """Everything that is taken for a checkpoint is whole, and the run can go on; the step that it goes on from."""
    for folder in steps(run / "checkpoints"):
        for name in (sealed := SealedFolder(folder)).files:
            sealed.read(name)
    saved = load_training(run)
    assert saved.notice == "" and saved.weights["a"][0, 0] == saved.step == saved.state["step"]
    assert load_weights(run).step in (1, saved.step)
    return saved.step


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("after", [False, True])
def test_a_kill_at_any_moment_of_a_save_loses_no_earlier_one(after: bool, tmp_path: Path) -> None:
    calls = number_of_calls(tmp_path / "count")
    assert calls > 30  # files and folders to the disk, names changed, and a checkpoint removed file by file
    ends = set()
    for number in range(1 + after, calls + 1, 2):  # before every odd call, after every even one
        run = two_saved(tmp_path / str(number))

        def work(run: Path = run, number: int = number) -> None:
            at_call(number, kill, pytest.MonkeyPatch(), after=after)
            write(run, 3, best=True)

        assert os.WTERMSIG(forked(work)) == signal.SIGKILL
        ends.add(assert_sound(run))
        write(run, 4)
        assert load_training(run).step == 4
        assert not list((run / "checkpoints").glob(".*")), "a killed save's leftovers stay"
    assert ends == {2, 3}


def test_a_full_disk_at_any_moment_of_a_save_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full() -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    failed = 0
    for number in range(1, number_of_calls(tmp_path / "count") + 1):
        run = two_saved(tmp_path / str(number))
        with pytest.MonkeyPatch.context() as patch:
            at_call(number, full, patch)
            try:
                write(run, 3, best=True)
            except CheckpointError as error:
                failed += 1
                assert "cannot be" in str(error) and "the disk is full" in str(error)  # noqa: PT017
        assert_sound(run)
    assert failed > 10


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_files_that_may_not_grow_end_a_save_cleanly(tmp_path: Path) -> None:
    run = two_saved(tmp_path)

    def work() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
        write(run, 3, model={"a": torch.zeros(100_000)})

    assert os.waitstatus_to_exitcode(forked(work)) == 5
    assert assert_sound(run) == 2 and not list((run / "checkpoints").glob(".*"))


# ------------------------------------------------------------------------------------------------------ hostile files


class Canary:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str, bytes]]:
        return _sing, (str(self.path), b"sang")


def _sing(path: str, content: bytes) -> None:
    Path(path).write_bytes(content)


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin", ".pkl", ".ckpt", ".npy", ".safetensors", ""])
def test_a_pickle_is_refused_and_not_run(suffix: str, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    (file := tmp_path / f"weights{suffix}").write_bytes(content := pickle.dumps({"a": Canary(canary)}))
    torch.save({"a": Canary(canary)}, archive := tmp_path / f"archive{suffix}")
    for path in (file, archive):
        assert "model.pretrained" in refused(lambda: load_weights(path))  # noqa: B023
    for name in ("model.safetensors", "ema.safetensors", "optimizer.safetensors", "state.json", "vocabulary.json"):
        shutil.rmtree(tmp_path / "run", ignore_errors=True)
        folder = write(tmp_path / "run", 1)
        (folder / f"extra{suffix}").write_bytes(content)
        (folder / name).write_bytes(content)
        (folder / MANIFEST).unlink()
        seal_folder(folder, {"format": 1, "step": 1})  # whoever sends it can seal it
        assert name in refused(lambda: load_training(folder))  # noqa: B023
    assert not canary.exists()
    pickle.loads(content)
    assert canary.exists()  # the canary does sing


HEADERS = {
    "empty": b"",
    "short": b"\x08\x00",
    "absurd header": b"\xff" * 8 + b"{}",
    "long header": (2**40).to_bytes(8, "little") + b"{}",
    "not JSON": (2).to_bytes(8, "little") + b"{x",
    "data missing": (h := b'{"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}}', len(h).to_bytes(8, "little") + h)[
        1
    ],
    "huge shape": (
        h := b'{"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]}}',
        len(h).to_bytes(8, "little") + h,
    )[1],
    "unknown dtype": (h := b'{"a":{"dtype":"F33","shape":[0],"data_offsets":[0,0]}}', len(h).to_bytes(8, "little") + h)[
        1
    ],
}


@pytest.mark.parametrize("kind", HEADERS)
def test_absurd_safetensors_are_one_line(kind: str, tmp_path: Path) -> None:
    folder = write(tmp_path, 1)
    (folder / "ema.safetensors").write_bytes(HEADERS[kind])
    (folder / MANIFEST).unlink()
    seal_folder(folder, {"format": 1, "step": 1})
    assert "ema.safetensors: not a safetensors file" in refused(lambda: load_weights(folder))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("config.json", '{"tasks": {"det": {}}, "trian": 1}', "trian: unknown key; did you mean 'train'?"),
        ("config.json", "[]", "expected a JSON object"),
        ("vocabulary.json", "[" * 100_000, "not JSON"),
        ("state.json", "3", "expected a JSON object"),
        ("state.json", "\x80", "not JSON"),
    ],
)
def test_documents_of_another_kind_are_one_line(name: str, content: str, message: str, tmp_path: Path) -> None:
    folder = write(tmp_path, 1)
    (folder / name).write_text(content, encoding="latin-1")
    (folder / MANIFEST).unlink()
    seal_folder(folder, {"format": 1, "step": 1})
    line = refused(lambda: load_training(folder))
    assert name in line and message in line


# ---------------------------------------------------------------------------------------------------------- find runs


def test_the_newest_run_with_the_tasks_is_found(tmp_path: Path) -> None:
    both, one = (load_config("smoke", (), tasks) for tasks in (["det", "caption"], ["caption"]))
    for time, (name, config) in enumerate([("a", both), ("b", both), ("c", one), ("d", both)]):
        write(tmp_path / name, 1, config=config)
        os.utime(tmp_path / name / "checkpoints" / "latest", (time, time))
    damage(tmp_path / "d" / "checkpoints" / "step-00000001" / "config.json")
    (tmp_path / "empty" / "checkpoints").mkdir(parents=True)
    (tmp_path / "file").touch()
    assert find_run(tmp_path) == tmp_path / "c"
    assert find_run(tmp_path, ("det", "caption")) == tmp_path / "b"
    message = refused(lambda: find_run(tmp_path, ("segment",)))
    assert message.startswith(
        f"{tmp_path}: no run with segment; found: d (damaged), c (caption), b (det, caption), a (det"
    )
    assert "found: none" in refused(lambda: find_run(tmp_path / "nowhere"))


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere", tmp_path / "x.pt"):
        assert f"{path}: no checkpoint there" in refused(lambda: load_weights(path))  # noqa: B023


def test_the_module_cannot_unpickle() -> None:
    assert not any(name in vars(checkpoint) for name in ("pickle", "torch"))
