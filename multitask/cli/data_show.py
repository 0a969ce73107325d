"""`mtp data show`."""

from __future__ import annotations

from pathlib import Path as FilePath
from typing import Annotated

import typer

from .console import output, printable
from .data_options import Annotations, Format, Images, Path, prepared
from .options import Config, Overrides

Tasks = Annotated[str | None, typer.Option("--tasks", help="Tasks whose views are shown; all that fit if left out.")]
Split = Annotated[str | None, typer.Option("--split", help="Split to show; that for training if left out.")]
Count = Annotated[int, typer.Option("--n", min=1, max=200, help="Pictures on the sheet.")]
Out = Annotated[FilePath, typer.Option("--out", help="Picture to write.")]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Seed of which images, and how they are varied.")]


def show(
    path: Path,
    overrides: Overrides = None,
    count: Count = 12,
    tasks: Tasks = None,
    config: Config = None,
    format: Format = None,
    annotations: Annotations = None,
    images: Images = None,
    split: Split = None,
    seed: Seed = 0,
    out: Out = FilePath("data-show.png"),
) -> None:
    """Draw images as training shows them.

    They are varied and cut to the views of each task, and what is annotated there is drawn in.
    """
    from ..data.groups import group_tasks
    from ..data.source import open_dataset
    from ..data.survey.sheet import contact_sheet, tiles
    from ..draw import save_picture

    dataset = open_dataset(
        path, split, role="train", size=1000 if path == "shapes" else None, format=format, annotations=annotations,
        images=images,
    )  # fmt: skip
    settings, made, _ = prepared(path, dataset, tasks, config, overrides)
    found = tiles(dataset, group_tasks(made.values(), dataset), settings.model.image_size, count, seed)
    save_picture(contact_sheet(found), out)
    output.print(printable(f"wrote {out}: {path}, {dataset.split}"), soft_wrap=True)


def register(group: typer.Typer) -> None:
    """Add the command."""
    group.command("show", no_args_is_help=True)(show)
