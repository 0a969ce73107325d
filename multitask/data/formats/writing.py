"""What the writers of all formats share."""

from __future__ import annotations

from pathlib import Path

from ...errors import DataError
from ...files import write_atomic
from ..paths import file_problem
from ..table import Table, TableImage


def image_bytes(table: Table, image: TableImage) -> bytes:
    """The file of an image as it is stored. Raises DataError where it cannot be read."""
    path = image.slice.file if image.slice else table.folder / image.name
    where = image.slice or path
    if problem := file_problem(path, table.root):
        raise DataError(f"{where}: {problem}")
    try:
        return image.slice.bytes().read() if image.slice else path.read_bytes()
    except OSError as error:
        raise DataError(f"{where}: cannot be read: {error.strerror}") from error


def fits(target: Path, content: bytes) -> bool:
    """Whether there is no such file yet, or it holds just this."""
    if not target.exists():
        return True
    return target.is_file() and target.stat().st_size == len(content) and target.read_bytes() == content


def put(target: Path, content: bytes) -> None:
    """Writes a file and the folders above it. Raises DataError where another file has its place."""
    if not fits(target, content):
        raise DataError(f"{target}: exists and is another file; give an empty folder")
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(target, content)


def copy_image(table: Table, image: TableImage, target: Path) -> None:
    """Writes the image, byte for byte, to the file `target`, whose folders are made.

    A file that is there already is left if it is the same. Raises DataError if it is not."""
    put(target, image_bytes(table, image))


def plain(value: float) -> int | float:
    """The same number, as an integer where it is whole."""
    number = float(value)
    return int(number) if number.is_integer() else number


def counted(number: int, unit: str) -> str:
    """`1 image`, `2 images`, `2 categories`."""
    plural = f"{unit[:-1]}ies" if unit.endswith("y") else f"{unit}s"
    return f"{number} {unit if number == 1 else plural}"
