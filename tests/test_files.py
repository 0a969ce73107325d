from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multitask import files
from multitask.errors import CheckpointError
from multitask.files import (
    MANIFEST,
    SealedFolder,
    atomic_folder,
    remove_folder,
    remove_leftovers,
    sanitise,
    seal_folder,
    unique_path,
    write_atomic,
)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_atomic(path, b"one")
    write_atomic(path, b"two")
    assert path.read_bytes() == b"two" and names(tmp_path) == {"a.json"}
    assert path.stat().st_mode & 0o777 == 0o666 & ~umask()  # readable by those who could read any other result


def umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_failed_write_leaves_the_old_file_alone(call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_atomic(path := tmp_path / "a", b"old")
    monkeypatch.setattr(os, call, lambda *_: full())
    with pytest.raises(OSError, match="No space"):
        write_atomic(path, b"new")
    assert path.read_bytes() == b"old" and names(tmp_path) == {"a"}


def full() -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_the_content_is_on_the_disk_before_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []

    def what(handle: int) -> str:
        return "sync folder" if os.path.isdir(f"/proc/self/fd/{handle}") else "sync file"

    def note(name: str, call: Callable[..., None]) -> Callable[..., None]:
        def noted(*args: Any) -> None:
            order.append(what(args[0]) if name == "fsync" else "name")
            call(*args)

        return noted

    for name in ("fsync", "replace", "rename"):
        monkeypatch.setattr(os, name, note(name, getattr(os, name)))
    write_atomic(tmp_path / "a", b"x")
    assert order == ["sync file", "name", "sync folder"]
    order.clear()
    with atomic_folder(tmp_path / "b") as folder:
        (folder / "c").write_bytes(b"x")
        (folder / "d").mkdir()
        (folder / "d" / "e").write_bytes(b"x")
    assert sorted(order[:4]) == ["sync file"] * 2 + ["sync folder"] * 2
    assert order[4:] == ["name", "sync folder"]


def test_a_folder_appears_when_it_is_full(tmp_path: Path) -> None:
    with atomic_folder(tmp_path / "run") as folder:
        (folder / "a").write_bytes(b"x")
        assert not (tmp_path / "run").exists() and folder.parent == tmp_path
    assert names(tmp_path) == {"run"} and names(tmp_path / "run") == {"a"}


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_a_folder_that_fails_leaves_nothing(error: type[BaseException], tmp_path: Path) -> None:
    def fill() -> None:
        with atomic_folder(tmp_path / "run") as folder:
            (folder / "a").write_bytes(b"x")
            raise error

    with pytest.raises(error):
        fill()
    assert names(tmp_path) == set()


def test_a_folder_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with pytest.raises(FileExistsError), atomic_folder(tmp_path / "run"):
        pass
    assert names(tmp_path) == {"run"}


def test_leftovers_and_nothing_else_are_removed(tmp_path: Path) -> None:
    (outside := tmp_path / "outside").mkdir()
    (outside / "kept").touch()
    (folder := tmp_path / "run").mkdir()
    (folder / ".mtp-1.tmp").mkdir()
    (folder / ".mtp-1.tmp" / "a").touch()
    (folder / ".mtp-2.tmp").touch()
    (folder / ".mtp-3.tmp").symlink_to(outside)
    for name in (".tmp", "a.tmp", ".other.tmp", "step-00000001"):
        (folder / name).touch()
    remove_leftovers(folder)
    assert names(folder) == {".tmp", "a.tmp", ".other.tmp", "step-00000001"} and names(outside) == {"kept"}
    remove_folder(outside)
    assert names(tmp_path) == {"run"}


def sealed(folder: Path) -> Path:
    (folder / "box").mkdir()
    (folder / "box" / "a").write_bytes(b"content")
    seal_folder(folder / "box", {"format": 7})
    return folder / "box"


def test_a_sealed_folder_gives_back_what_was_sealed(tmp_path: Path) -> None:
    box = SealedFolder(sealed(tmp_path))
    assert box.info["format"] == 7 and box.read("a") == b"content"


@pytest.mark.parametrize("content", [b"Content", b"conten", b"content ", b"", b"x" * 10_000])
def test_a_changed_file_is_refused(content: bytes, tmp_path: Path) -> None:
    box = sealed(tmp_path)
    (box / "a").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"box/a: damaged"):
        SealedFolder(box).read("a")


def test_what_is_not_listed_or_not_a_file_is_not_read(tmp_path: Path) -> None:
    box = sealed(tmp_path)
    (box / "new").write_bytes(b"x")
    (box / "a").unlink()
    os.mkfifo(box / "a")  # reading it would wait for ever
    for name in ("new", "../x", "a"):
        with pytest.raises(CheckpointError):
            SealedFolder(box).read(name)


def test_every_changed_byte_of_a_manifest_is_found(tmp_path: Path) -> None:
    file = sealed(tmp_path) / MANIFEST
    good = file.read_bytes()
    for i in range(len(good)):
        for bit in (1, 0x20, 0x80):
            file.write_bytes(good[:i] + bytes([good[i] ^ bit]) + good[i + 1 :])
            with pytest.raises(CheckpointError, match="manifest"):
                SealedFolder(file.parent)


@pytest.mark.parametrize("text", ["", "[]", "3", "{}", '{"sha256": 1}', '{"files": 3, "sha256": ""}', "[" * 100_000])
def test_a_manifest_of_another_kind_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_text(text)
    with pytest.raises(CheckpointError, match="damaged"):
        SealedFolder(tmp_path)


@pytest.mark.parametrize("listed", [{"a": 3}, {"a": [1]}, {"a": ["x", "y"]}, ["a"], None, {"a": [1, "y", 3]}])
def test_a_manifest_sealed_by_another_hand_is_refused(listed: object, tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_bytes(files._manifest({"files": listed}))
    with pytest.raises(CheckpointError, match="damaged"):
        SealedFolder(tmp_path)


@pytest.mark.parametrize(
    ("stem", "name"),
    [
        ("photo-1.det", "photo-1.det"), ("../../etc/passwd", "_.._etc_passwd"), (".hidden", "hidden"), ("-rf", "rf"),
        ("", "unnamed"), ("...", "unnamed"), ("a b\tc\n", "a_b_c_"), ("con", "_con"), ("LPT1.x", "_LPT1.x"),
        ("cafe\u0301", "café"), ("日本", "日本"), ("x\udcffy", "x_y"), ("<script>", "_script_"), ("a\x1b[31m", "a_31m"),
    ],
)  # fmt: skip
def test_stems_become_safe(stem: str, name: str) -> None:
    assert sanitise(stem) == name


@settings(derandomize=True, deadline=None, max_examples=500)
@given(st.text(max_size=300))
def test_any_stem_is_one_plain_name(stem: str) -> None:
    name = sanitise(stem)
    assert name == Path(name).name and not name.startswith((".", "-")) and not name.endswith(".")
    assert 0 < len(name.encode()) <= 121 and name.isprintable()
    assert sanitise(name) == name


def test_results_of_one_run_do_not_meet(tmp_path: Path) -> None:
    (tmp_path / "a.json").touch()  # of an earlier run: replaced
    taken: set[str] = set()
    stems = ["a", "a", "A", "a/", "a_", "a-2"]
    paths = [unique_path(tmp_path, stem, ".json", taken) for stem in stems]
    assert [path.name for path in paths] == ["a.json", "a-2.json", "A-3.json", "a_.json", "a_-2.json", "a-2-2.json"]
    assert len({str(path).casefold() for path in paths}) == len(stems)
    assert unique_path(tmp_path, "a", ".png", taken).name == "a.png"
