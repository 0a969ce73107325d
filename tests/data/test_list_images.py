"""Which images the arguments of a command name."""

from __future__ import annotations

from pathlib import Path

import pytest

from multitask.data.images import EXTENSIONS, list_images
from multitask.errors import DataError


def test_list_images_takes_files_folders_and_patterns(tmp_path: Path) -> None:
    for name in ("b.jpg", "a.PNG", "c.txt", "sub/d.webp"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()

    def names(*arguments: str) -> list[str]:
        return [p.relative_to(tmp_path).as_posix() for p in list_images([tmp_path / a for a in arguments])]

    assert names("") == ["a.PNG", "b.jpg"]
    assert names("**/*") == ["a.PNG", "b.jpg", "sub/d.webp"]
    assert names("c.txt", "*.jpg", "b.jpg", "") == ["c.txt", "b.jpg", "a.PNG"]
    assert all(extension == extension.lower() for extension in EXTENSIONS)


def test_list_images_says_what_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "street.jpg").touch()
    (tmp_path / "empty").mkdir()
    cases = {
        "stret.jpg": "no such file or folder; did you mean 'street.jpg'?",
        "none/a.jpg": "no such file or folder",
        "empty": "no images in this folder (.jpg .jpeg",
        "*.png": "no image matches this pattern",
    }
    for argument, message in cases.items():
        with pytest.raises(DataError) as caught:
            list_images([tmp_path / argument])
        assert str(caught.value).startswith(f"{tmp_path / argument}: {message}")


def test_a_name_with_pattern_signs_that_exists_is_that_file(tmp_path: Path) -> None:
    (tmp_path / "a[1].png").touch()
    assert list_images([tmp_path / "a[1].png"]) == [tmp_path / "a[1].png"]
