"""`mtp data stats`."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path as FilePath
from typing import TYPE_CHECKING, Annotated

import typer

from .console import errors, output, printable, table
from .data_options import Annotations, Format, Images, Json, Path, Split, prepared
from .options import Config, Overrides

if TYPE_CHECKING:
    from ..data.dataset import Dataset
    from ..data.survey.sequence_statistics import SequenceStatistics
    from ..data.survey.statistics import Statistics

Tasks = Annotated[str | None, typer.Option("--tasks", help="Tasks whose sequences are measured; all that fit.")]
Plot = Annotated[FilePath | None, typer.Option("--plot", help="Draw a page of diagrams to this PNG file.")]
SHOWN = 50  # categories
SCENES = 1000  # of `shapes`, which has no end


def stats(
    path: Path,
    overrides: Overrides = None,
    tasks: Tasks = None,
    config: Config = None,
    format: Format = None,
    annotations: Annotations = None,
    images: Images = None,
    split: Split = None,
    plot: Plot = None,
    json_: Json = False,
) -> None:
    """Count what a data set holds.

    Measured are the training sequences, too, that tasks make of it with the options of a recipe.
    """
    from ..data.joined import JoinedDataset, Part, annotated
    from ..data.survey.sequence_statistics import measure_sequences
    from ..data.survey.statistics import measure

    datasets, read_as = _opened(path, format, annotations, images, split)
    joined = JoinedDataset([Part(dataset) for dataset in datasets.values()])
    settings, made, vocab = prepared(path, joined, tasks, config, overrides)
    found = {name: measure(dataset) for name, dataset in datasets.items()}
    side, most = settings.model.image_size, settings.model.decoder.max_length
    lengths = {
        name: {
            task.name: measure_sequences(task, dataset, vocab, side, settings.seed)
            for task in made.values()
            if len(annotated(dataset, task))
        }
        for name, dataset in datasets.items()
    }
    if plot:
        _plot(plot, path, found, lengths)
    if json_:
        splits = {
            name: {**one.to_json(), "sequences": {task: s.to_json() for task, s in lengths[name].items()}}
            for name, one in found.items()
        }
        typer.echo(json.dumps({"path": path, "format": read_as, "max_length": most, "splits": splits}, indent=1))
        return
    _show(path, found)
    _show_sequences(lengths, most)


def _opened(
    path: str, format: str | None, annotations: str | None, images: str | None, split: str | None
) -> tuple[dict[str, Dataset], str]:
    """Data sets by split, and the format they were read as."""
    from ..data.formats.layout import Place
    from ..data.shapes import ShapesDataset
    from ..data.survey.splits import read_splits
    from ..data.table import TableDataset

    if path == "shapes":
        return {split or "train": ShapesDataset(split or "train", SCENES)}, path
    splits = read_splits(Place(path, annotations, images), format, split)
    if splits.lost:
        errors.print(f"faults: {splits.lost}; `mtp data check` names each", soft_wrap=True)
    return {name: TableDataset(one, name) for name, one in splits.tables.items()}, splits.format


def _show(path: str, found: Mapping[str, Statistics]) -> None:
    kinds = dict.fromkeys(kind for one in found.values() for kind in one.kinds)
    rows: list[list[object]] = [["images", *(one.images for one in found.values())]]
    rows += [[f"annotated with {kind}", *(one.kinds[kind] for one in found.values())] for kind in kinds]
    rows += [["objects", *(sum(one.objects) for one in found.values())]]
    rows += [["of these crowds", *(one.crowds for one in found.values())]]
    rows += [
        [f"{size} objects (COCO's sizes)", *(_share(one.sizes()[size], len(one.areas)) for one in found.values())]
        for size in ("small", "medium", "large")
    ]
    rows += [["captions", *(len(one.captions) for one in found.values())]]
    rows = [row for row in rows if any(value not in (0, "") for value in row[1:])]
    table(path, ("", *found), rows)
    _show_spreads(found)
    _show_categories(found)
    _show_points(found)


def _show_spreads(found: Mapping[str, Statistics]) -> None:
    from ..data.survey.statistics import spread

    rows = [
        (name, what, *(_number(v) for v in spread(values).values()))
        for name, one in found.items()
        for what, values in (
            ("image width in pixels", [size[0] for size in one.sides]),
            ("image height in pixels", [size[1] for size in one.sides]),
            ("objects of an image", one.objects),
            ("object in % of its image", [100 * share for share in one.shares]),
            ("words of a caption", one.captions),
        )
        if len(values)
    ]
    table("spread", ("split", "", "min", "median", "95 %", "max"), rows)


def _show_categories(found: Mapping[str, Statistics]) -> None:
    totals: Counter[str] = Counter()
    for one in found.values():
        totals.update(one.categories)
    rows = [(name, *(one.categories.get(name, 0) for one in found.values())) for name, _ in totals.most_common()]
    if rows:
        more = f", the {SHOWN} most frequent of {len(rows)} (--json has all)" if len(rows) > SHOWN else ""
        table(f"objects by category{more}", ("category", *found), rows[:SHOWN])


def _show_points(found: Mapping[str, Statistics]) -> None:
    rows = [(split, name, *counts) for split, one in found.items() for name, counts in one.points.items()]
    if rows:
        table("keypoints", ("split", "point", "not labelled (0)", "hidden (1)", "visible (2)"), rows)


def _show_sequences(lengths: Mapping[str, Mapping[str, SequenceStatistics]], most: int) -> None:
    found = [(split, name, one) for split, tasks in lengths.items() for name, one in tasks.items()]
    rows = []
    for split, name, one in found:
        spread = one.to_json()["tokens"]
        numbers = [_number(spread[key]) if spread else "" for key in ("min", "median", "p95", "max")]
        rows.append((split, name, len(one.lengths), *numbers, one.longest))
    columns = ("split", "task", "sequences", "min", "median", "95 %", "max", "allowed")
    table(f"tokens of training sequences, prompt included; model.decoder.max_length is {most}", columns, rows)
    for split, name, one in found:
        for line in _left_out(one, most):
            output.print(printable(f"{split}, {name}: {line}"), soft_wrap=True)


def _left_out(one: SequenceStatistics, most: int) -> Iterator[str]:
    """What does not fit, and what options leave out, in words."""
    for option, count in one.cut.items():
        images = f"{one.cut_images[option]} of {one.images} images"
        yield f"{option} cuts {count} of {len(one.lengths)} sequences, on {images}"
    if one.later:
        yield f"{one.later} more sequences have their turn when their image is seen again"
    if one.longest > most:
        yield f"up to {one.longest} tokens are allowed: raise model.decoder.max_length, or let answers be shorter"


def _plot(
    file: FilePath, path: str, found: Mapping[str, Statistics], lengths: Mapping[str, Mapping[str, SequenceStatistics]]
) -> None:
    from ..data.survey.plots import page
    from ..files import write_atomic

    write_atomic(file, page(path, found, lengths))
    errors.print(f"wrote {printable(file)}", soft_wrap=True)


def _number(value: float) -> object:
    return int(value) if float(value).is_integer() else float(value)


def _share(count: int, of: int) -> str:
    return f"{count} ({count / of:.0%})" if of else ""


def register(group: typer.Typer) -> None:
    """Add the command."""
    group.command("stats", no_args_is_help=True)(stats)
