"""The rows of a list that names images and what is said about them: CSV, TSV, or an object of JSON on each line."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ...errors import DataError
from ..faults import Unusable
from ..paths import file_problem
from .strict_json import parse

CSV, JSON_LINES = (".csv", ".tsv"), (".jsonl", ".ndjson")
SUFFIXES = CSV + JSON_LINES
IMAGE = ("image", "file_name", "filename", "file", "path", "image_path")  # what the column may be called
TEXT = ("caption", "captions", "text", "sentence")
MAX_BYTES = 2 * 2**30  # of a list
UTF_16 = (b"\xff\xfe", b"\xfe\xff")  # how such files begin
MAX_FIELD = 2**20  # characters of a cell, or of a line of JSON

Row = dict[str, Any]  # by the name of the column


def column(row: Row, names: Sequence[str]) -> str:
    """The first of these columns that a row has; an empty string where it has none."""
    return next((name for name in names if name in row), "")


def fits(row: Row) -> bool:
    """Whether this is about an image and what is said about it."""
    return bool(column(row, IMAGE) and column(row, TEXT))


def first_row(path: Path) -> Row:
    """The columns of a list, from the beginning of the file alone: without values in CSV; none if unreadable."""
    if file_problem(path, path.parent):
        return {}
    with path.open("rb") as file:
        head = file.read(MAX_FIELD)
    encoding = "utf-16" if head.startswith(UTF_16) else "utf-8-sig"
    lines = io.StringIO(head.decode(encoding, "replace").replace("\0", ""), newline="")
    line = next((line for line in lines if line.strip()), "")
    if path.suffix.lower() in CSV:
        return dict.fromkeys(_names(line, _delimiter(path, line)))
    try:
        return _object_on(line)
    except Unusable:
        return {}


def read_rows(path: Path, root: Path) -> Iterator[tuple[int, Row | Unusable]]:
    """The number of the line where each row begins, and the row or what is wrong with it.

    A row that is not sound costs its first line alone: reading goes on with the next.
    Raises DataError where the file is not a list in UTF-8, or has no header."""
    lines = list(io.StringIO(_text(path, root), newline=""))
    return _json_lines(lines) if path.suffix.lower() in JSON_LINES else _csv(lines, path)


def _text(path: Path, root: Path) -> str:
    if problem := file_problem(path, root):
        raise DataError(f"{path}: {problem}")
    if path.stat().st_size > MAX_BYTES:
        raise DataError(f"{path}: larger than {MAX_BYTES // 2**30} GiB; split it")
    content = path.read_bytes()
    if content.startswith(UTF_16):
        raise DataError(f"{path}: is UTF-16; save it as UTF-8")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise DataError(f"{path}: line {line} is not UTF-8; save the file as UTF-8") from None


# -------------------------------------------------------------------------------------------------------- JSON lines


def _json_lines(lines: Sequence[str]) -> Iterator[tuple[int, Row | Unusable]]:
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                yield number, _object_on(line)
            except Unusable as error:
                yield number, error


def _object_on(line: str) -> Row:
    if len(line) > MAX_FIELD:
        raise Unusable("line", line[:60], f"is longer than {MAX_FIELD} characters", "split it")
    try:
        row = parse(line)
    except ValueError as error:
        reason = f"is not valid JSON ({error})"
        raise Unusable("line", line.rstrip(), reason, "write one object on each line") from None
    if not isinstance(row, dict):
        raise Unusable("line", line.rstrip(), "is not an object", "write {...}, or remove it")
    return row


# --------------------------------------------------------------------------------------------------------------- CSV


def _csv(lines: Sequence[str], path: Path) -> Iterator[tuple[int, Row | Unusable]]:
    at = next((number for number, line in enumerate(lines) if line.strip()), 0)
    header = "".join(lines[at : at + 1])
    delimiter = _delimiter(path, header)
    names = _header(header, delimiter, path)
    at += 1
    while at < len(lines):
        try:
            cells, end = _cells(lines, at, delimiter)
            if len(cells) not in (0, len(names)):
                raise Unusable("row", cells, f"has {len(cells)} cells, and the header {len(names)}", "put quotes right")
        except Unusable as error:
            yield at + 1, error
            at += 1
        else:
            if cells:
                yield at + 1, dict(zip(names, cells, strict=True))
            at = end


def _cells(lines: Sequence[str], at: int, delimiter: str) -> tuple[list[str], int]:
    """The row that begins at a line, none if that is blank, and the line after it."""
    usual = csv.field_size_limit(MAX_FIELD)
    try:
        reader = csv.reader(map(lines.__getitem__, range(at, len(lines))), delimiter=delimiter, strict=True)
        cells, end = next(reader), at + reader.line_num
    except csv.Error as error:
        unclosed = "unexpected end" in str(error)
        reason = "opens a quote that is never closed" if unclosed else f"is not a row of CSV ({error})"
        raise Unusable("row", lines[at].rstrip(), reason, 'close quotes, and write "" for one in a text') from None
    finally:
        csv.field_size_limit(usual)
    if any("\0" in line for line in lines[at:end]):
        raise Unusable("row", lines[at].rstrip(), "has a NUL byte", "save the file as text in UTF-8")
    return cells, end


def _header(line: str, delimiter: str, path: Path) -> list[str]:
    """Raises DataError where the first line does not name the columns."""
    names = _names(line, delimiter)
    if not fits(dict.fromkeys(names)):
        reason = (
            "has NUL bytes; save it as UTF-8" if "\0" in line else "names no columns 'image' and 'caption'; add them"
        )
        raise DataError(f"{path}: its first line {reason}")
    if twice := next((name for name, count in Counter(names).items() if name and count > 1), None):
        raise DataError(f"{path}: two columns are called '{twice}'; give each its own name")
    return names


def _names(header: str, delimiter: str) -> list[str]:
    """The columns that a header names; none if it is not sound."""
    try:
        cells = next(csv.reader([header], delimiter=delimiter, strict=True), [])
    except csv.Error:
        return []
    return [name.strip().casefold() for name in cells]


def _delimiter(path: Path, header: str) -> str:
    """Tab in TSV; in CSV what divides the header into columns that fit."""
    choices = "\t" if path.suffix.lower() == ".tsv" else ",;\t"
    return next((mark for mark in choices if fits(dict.fromkeys(_names(header, mark)))), choices[0])
