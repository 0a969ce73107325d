"""Options that the commands of `mtp data` share, and what they make of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from .. import plugins
from ..errors import UsageError
from .console import errors, output, printable, table
from .options import chosen_config, task_names

if TYPE_CHECKING:
    from ..config import Config as Settings
    from ..data.dataset import Dataset
    from ..data.faults import Fault
    from ..sequence.vocabulary import Vocabulary
    from ..task import Task

Path = Annotated[str, typer.Argument(help="Folder of a data set, or an annotation file.", metavar="PATH")]
Format = Annotated[str | None, typer.Option("--format", help="Format to read; found by looking if left out.")]
Annotations = Annotated[str | None, typer.Option("--annotations", help="Annotation folder, file or pattern in it.")]
Images = Annotated[str | None, typer.Option("--images", help="Image folder in it.")]
Split = Annotated[str | None, typer.Option("--split", help="One split; all if left out.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
All = Annotated[bool, typer.Option("-v", "--all", help="Print every fault.")]
SHOWN = 200  # faults named one by one


def say_faults(faults: Mapping[str, Sequence[Fault]], every: bool) -> None:
    """Each fault as a line, a table of their kinds, and how many there are of each."""
    from ..data.survey.inspection import kinds

    listed = [fault for found in faults.values() for fault in found]
    for fault in listed if every else listed[:SHOWN]:
        output.print(printable(fault), soft_wrap=True)
    if len(listed) > SHOWN and not every:
        output.print(f"{len(listed) - SHOWN} more faults: --all names each", soft_wrap=True)
    if listed:
        table("faults by kind", ("count", "kind"), [(count, kind) for kind, count in kinds(listed).items()])


def refuse_data_words(overrides: Sequence[str] | None) -> None:
    """The command's own options say what data is meant."""
    if word := next((word for word in overrides or () if word.startswith("data.")), None):
        raise UsageError(f"{word}: the data set is told by PATH, --format, --annotations, --images and --split")


def prepared(
    path: str, dataset: Dataset, tasks: str | None, recipe: str | None, overrides: Sequence[str] | None
) -> tuple[Settings, dict[str, Task], Vocabulary]:
    """What a run on this data set would have: settings, tasks and vocabulary.

    The tasks are those named, or those of the recipe, or else all installed ones, as far as the data set fits them.
    """
    from ..assembly import fitted, make_tasks, make_vocabulary

    refuse_data_words(overrides)
    names = task_names(tasks) or _fitting(dataset, recipe)
    config = fitted(chosen_config(recipe, overrides, ",".join(names), [path], None), dataset)
    made = make_tasks(config)
    return config, made, make_vocabulary(config, made, dataset)


def _fitting(dataset: Dataset, recipe: str | None) -> list[str]:
    from ..config import load_config

    known = list(load_config(recipe).tasks) if recipe else [plugin.name for plugin in plugins.installed()]
    fitting = [name for name in known if _fits(name, dataset)]
    if not fitting:
        raise UsageError(f"{dataset.info.name}: no image is annotated for any of the tasks {', '.join(known)}")
    return fitting


def _fits(name: str, dataset: Dataset) -> bool:
    try:
        kinds = set(plugins.load(name).kinds)
    except UsageError as error:  # a broken plugin must not take the others with it
        errors.print(f"left out: {printable(error)}", soft_wrap=True)
        return False
    return any(kinds <= dataset.kinds(i) for i in range(len(dataset)))
