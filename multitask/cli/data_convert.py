"""`mtp data convert`."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import UsageError
from .console import output, printable, table
from .data_options import All, Annotations, Format, Images, Split, say_faults

if TYPE_CHECKING:
    from ..data.table import Table

Source = Annotated[str, typer.Argument(help="Folder of a data set, an annotation file, or `shapes`.", metavar="SRC")]
Target = Annotated[Path, typer.Argument(help="New folder.", metavar="DST")]
To = Annotated[str, typer.Option("--to", help="coco, voc, yolo, captions or webdataset.")]
Count = Annotated[int | None, typer.Option("--n", min=1, help="Pictures of each split (shapes only).")]


def convert(
    source: Source,
    target: Target,
    to: To,
    format: Format = None,
    annotations: Annotations = None,
    images: Images = None,
    split: Split = None,
    count: Count = None,
    every: All = False,
) -> None:
    """Write a data set in another format.

    Images are copied as they are, to a new folder. What cannot be read or carried is named; the exit code is 3 when
    something was left out as unusable.
    """
    if (source == "shapes") != (count is not None):
        raise UsageError("--n goes with shapes: how many pictures of each split to draw")
    from ..data.formats.layout import Place
    from ..data.survey.conversion import refuse_format, refuse_target, write_copy

    place = Place(source, annotations, images)
    refuse_format(to)
    refuse_target(target, None if count else place)
    with tempfile.TemporaryDirectory() as scratch:
        if count:
            tables, lost = _drawn(split, count, Path(scratch)), 0
        else:
            from ..data.survey.splits import read_splits

            splits = read_splits(place, format, split)
            say_faults(splits.faults, every)
            tables, lost = splits.tables, splits.lost
        lacking = write_copy(tables, to, target)
    _say(target, to, tables, lacking)
    if lost:
        raise typer.Exit(3)


def _drawn(split: str | None, count: int, scratch: Path) -> dict[str, Table]:
    from ..data.shapes import SPLITS
    from ..data.survey.drawn import drawn_table

    return {name: drawn_table(name, count, 0, scratch / name) for name in ([split] if split else SPLITS)}


def _say(target: Path, to: str, tables: Mapping[str, Table], lacking: Mapping[str, list[str]]) -> None:
    from ..data.survey.inspection import annotation_count

    rows = [(name, len(table.images), sum(map(annotation_count, table.images))) for name, table in tables.items()]
    table(f"{target} ({to})", ("split", "images read", "annotations read"), rows)
    for split, lines in lacking.items():
        for line in lines:
            output.print(printable(f"{split}: {to} cannot carry {line}"), soft_wrap=True)


def register(group: typer.Typer) -> None:
    """Add the command."""
    group.command("convert", no_args_is_help=True)(convert)
