"""A folder with damaged images among sound ones trains to the end, and each of them is named, once."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .. import command_line as tools
from .cases import SIZE, Told, picture, write
from .image_files import FILE, PICTURES, good

IMAGES, STEPS = 100, 52  # of 4 images each: two epochs and more
SMOKE = ("--config", "smoke", "--tasks", "det", "train.warmup=0", "data.train_size=null", f"train.steps={STEPS}")


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tools.Shell]:
    with tools.Shell(tmp_path_factory.mktemp("damaged")) as found:
        yield found


def damaged_pictures() -> dict[str, Any]:
    """What lies in place of an image, by kind; None for one that is not there."""
    found: dict[str, Any] = {}
    for kind, (spoil, expected) in PICTURES.items():
        if isinstance(expected, Told) and "itself" not in kind:
            files = good()
            spoil(files)
            found[kind] = files.get(FILE)
    return found


def write_set(root: Path, damaged: list[Any]) -> set[str]:
    """Every fifth image is damaged, until all kinds are there; the names of these."""
    contents = [damaged[n // 5] if n % 5 == 0 and n // 5 < len(damaged) else picture(n % 5) for n in range(IMAGES)]
    images = [{"id": n, "file_name": f"{n:03}.png", "width": SIZE[0], "height": SIZE[1]} for n in range(IMAGES)]
    boxes = [{"id": n, "image_id": n, "category_id": 1, "bbox": [2, 3, 10, 8]} for n in range(IMAGES)]
    listed = {"images": images, "annotations": boxes, "categories": [{"id": 1, "name": "kite"}]}
    few = {**listed, "images": images[1:5], "annotations": boxes[1:5]}
    files = {f"images/{n:03}.png": content for n, content in enumerate(contents) if content is not None}
    write(root, files | {"annotations/instances_train.json": listed, "annotations/instances_val.json": few})
    return {f"{5 * n:03}.png" for n in range(len(damaged))}


def test_damaged_images_are_named_once_and_the_run_ends(shell: tools.Shell, tmp_path: Path) -> None:
    kinds = damaged_pictures()
    assert len(kinds) >= 12
    names = write_set(tmp_path / "set", list(kinds.values()))
    words = ("train", *SMOKE, "--data", str(tmp_path / "set"), "--out", str(tmp_path / "run"))
    done = shell.mtp(*words, "data.max_skipped=0.3")
    assert done.code == 0, done.err
    told = re.findall(r"\b(\d{3}\.png)\b", done.err)
    assert sorted(told) == sorted(names)
    assert (tmp_path / "run" / "scores.json").exists()
    lost, unread = map(int, re.search(r"data: (\d+) entries left out .* (\d+) images", done.err).groups())
    assert lost + unread == len(names)


def test_without_leave_the_run_stops(shell: tools.Shell, tmp_path: Path) -> None:
    write_set(tmp_path / "set", list(damaged_pictures().values()))
    done = shell.mtp("train", *SMOKE, "--data", str(tmp_path / "set"), "--out", str(tmp_path / "run"))
    assert done.code == 4 and "more than data.max_skipped=0.01" in done.line
