"""`mtp data check`."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import UsageError
from .console import errors, output, printable, table
from .data_options import All, Annotations, Format, Images, Json, Split, say_faults
from .progress import counting_bar

if TYPE_CHECKING:
    from ..data.survey.inspection import Report

Paths = Annotated[list[str], typer.Argument(help="Folders of data sets, or annotation files.", metavar="PATH")]
Fix = Annotated[Path | None, typer.Option("--fix", help="Write what is usable to this new folder, in the same format.")]
Strict = Annotated[bool, typer.Option("--strict", help="Count what is only mended as well: exit code 4 for any fault.")]


def check(
    paths: Paths,
    format: Format = None,
    annotations: Annotations = None,
    images: Images = None,
    split: Split = None,
    fix: Fix = None,
    strict: Strict = False,
    every: All = False,
    json_: Json = False,
) -> None:
    """Find everything that is wrong in data sets.

    All annotations are read, every image is decoded, and each fault is named with what to do about it. The exit code
    is 4 when training would leave something out.
    """
    if "shapes" in paths:
        raise UsageError("shapes is drawn on the fly: there is nothing to check (a folder of that name is ./shapes)")
    if fix and len(paths) > 1:
        raise UsageError("--fix writes one data set anew: give one path with it")
    from ..data.formats.layout import Place
    from ..data.survey.conversion import refuse_target
    from ..data.survey.inspection import each_set, inspect, merges

    places = [one for path in paths for one in each_set(Place(path, annotations, images), format)]
    if fix and len(places) > 1:
        raise UsageError(f"{paths[0]} holds several sets of annotations: give one of them as --annotations with --fix")
    if fix:
        refuse_target(fix, places[0])
    with counting_bar("images") as progress:
        reports = [inspect(place, format, split, progress) for place in places]
    lines = merges(reports) if len(paths) > 1 else []
    if json_:
        found = [report.to_json() for report in reports]
        typer.echo(json.dumps(found[0] if len(found) == 1 else {"data": found, "merged": lines}, indent=1))
    else:
        for report in reports:
            _show(report, every)
        for line in lines:
            output.print(printable(line), soft_wrap=True)
    judged = [_fixed(reports[0], fix)] if fix else reports
    if any(fault.lost or strict for report in judged for fault in report.faults):
        raise typer.Exit(4)


def _show(report: Report, every: bool) -> None:
    say_faults(report.splits.faults, every)
    rows = [
        (name, images, annotations, len(faults), sum(fault.lost for fault in faults))
        for name, images, annotations, faults in report.counts()
    ]
    title = f"{report.path} ({report.splits.format}): what can be used"
    table(title, ("split", "images", "annotations", "faults", "for which something is left out"), rows)
    output.print(printable(f"{report.path}: {_verdict(report)}"), soft_wrap=True)


def _verdict(report: Report) -> str:
    if report.splits.lost:
        return (
            f"training leaves something out for {report.splits.lost} of {len(report.faults)} faults, "
            f"of {report.entries} images and annotations listed; --fix FOLDER writes the rest anew"
        )
    return "nothing would be left out; what is wrong is mended" if report.faults else "nothing is wrong"


def _fixed(report: Report, target: Path) -> Report:
    """The report of the copy; about it to standard error, where it does not mix with JSON."""
    from ..data.formats.layout import Place
    from ..data.survey.conversion import write_copy
    from ..data.survey.inspection import inspect

    lacking = write_copy(report.splits.tables, report.splits.format, target)
    for split, lines in lacking.items():
        _say(f"{split}: the format cannot carry {line}" for line in lines)
    copy = inspect(Place(str(target)), report.splits.format)
    counts = [(images, annotations) for _, images, annotations, _ in copy.counts()]
    images, annotations = (sum(column) for column in zip(*counts, strict=True))
    _say([f"wrote {target}: {images} images, {annotations} annotations; {_verdict(copy)}"])
    _say(copy.faults)
    return copy


def _say(lines: Iterable[object]) -> None:
    for line in lines:
        errors.print(printable(line), soft_wrap=True)


def register(group: typer.Typer) -> None:
    """Add the command."""
    group.command("check", no_args_is_help=True)(check)
