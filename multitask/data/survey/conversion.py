"""A data set written anew, in its own or another format, as a new folder that is whole or not there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from ...errors import DataError, UsageError, nearest
from ...files import atomic_folder
from ..formats.layout import Place
from ..source import FORMATS
from ..table import Table


def write_copy(tables: Mapping[str, Table], format: str, target: Path) -> dict[str, list[str]]:
    """Writes all splits to the folder `target`; by split what the format cannot carry, in plain words.

    Raises UsageError as `refuse_format` and `refuse_target`, DataError where an image cannot be read or the format has
    no place for it.
    """
    refuse_format(format)
    refuse_target(target)
    filled = {split: table for split, table in tables.items() if table.images}
    if not filled:
        raise DataError(f"{target}: not written, since no image is left that can be used")
    with _new_folder(target.expanduser()) as folder:
        try:
            lost = {split: FORMATS[format].write(table, split, folder) for split, table in filled.items()}
        except DataError as error:
            raise DataError(str(error).replace(str(folder), str(target))) from error
    searched = [split for split, table in filled.items() if any(image.searched for image in table.images)]
    for split in searched if format != "coco" else ():
        lost[split].append("which categories the images were searched for")
    return lost


def refuse_format(format: str) -> None:
    """Raises UsageError for a format that is not there."""
    if format not in FORMATS:
        raise UsageError(f"there is no format '{format}'{nearest(format, FORMATS)}: {', '.join(FORMATS)}")


def refuse_target(target: Path, source: Place | None = None) -> None:
    """Raises UsageError where `target` cannot be a new folder beside `source`."""
    path = target.expanduser()
    if path.is_symlink() or (path.exists() and (not path.is_dir() or any(path.iterdir()))):
        raise UsageError(f"{target}: exists and is not an empty folder: give a new one")
    if path.resolve() == Path.cwd():
        raise UsageError(f"{target}: is the folder that you are in: give a new one")
    if source is not None and path.resolve().is_relative_to(_folder(source).resolve()):
        raise UsageError(f"{target}: lies inside {source.path}, which is left as it is: give a folder beside it")


@contextmanager
def _new_folder(path: Path) -> Iterator[Path]:
    """A folder to fill, which becomes `path` when all went well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        path.rmdir()
    with atomic_folder(path) as folder:
        yield folder


def _folder(source: Place) -> Path:
    return source.here if source.here.is_dir() else source.here.parent
