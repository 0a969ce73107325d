"""Which files of a data set may be opened."""

from __future__ import annotations

import os
import stat
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from .checks import text
from .faults import Unusable


def file_name(value: Any) -> str:
    """A relative path that does not climb."""
    text(value, "file_name")
    name = str(value)
    if "\0" in name or PurePosixPath(name).is_absolute() or PureWindowsPath(name).anchor:
        raise Unusable("file_name", value, "is not a relative path")
    if ".." in PurePosixPath(name.replace("\\", "/")).parts:
        raise Unusable("file_name", value, "leads out of the data folder")
    return name


def file_problem(path: Path, root: Path | None) -> str:
    """Why `path` must not be opened, or an empty string: only regular files, inside `root` once links are followed."""
    try:
        if root is not None and not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(root)):
            return "lies outside the data folder"
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        missing = isinstance(error, (FileNotFoundError, NotADirectoryError))
        return "does not exist" if missing else f"cannot be read: {getattr(error, 'strerror', None) or error}"
    if stat.S_ISDIR(mode):
        return "is a folder"
    return "" if stat.S_ISREG(mode) else "is not a regular file"
