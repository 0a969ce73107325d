"""Options that several commands share, and how they become a config."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from .. import config as configuration
from .. import plugins
from ..errors import UsageError

if TYPE_CHECKING:
    from ..config import Config as Settings

Overrides = Annotated[
    list[str] | None,
    typer.Argument(help="Settings as key=value: train.lr=1e-4 model.encoder=resnet50", metavar="[KEY=VALUE]..."),
]
Data = Annotated[str | None, typer.Option("--data", help="Folder of a data set, or `shapes` (embedded).")]
Config = Annotated[str | None, typer.Option("--config", help="Recipe by name, or a YAML file.")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or mps.")]
Seed = Annotated[int | None, typer.Option("--seed", help="Seed of weights, data order and augmentation.")]
Deterministic = Annotated[bool, typer.Option("--deterministic", help="Refuse operations whose result may vary.")]
Model = Annotated[str | None, typer.Option("--model", help="Run folder; the newest under runs/ if left out.")]


def task_names(words: str | None) -> list[str] | None:
    """Names of tasks for a comma-separated list that may hold aliases; None where nothing was asked.

    Raises UsageError with the nearest installed name.
    """
    if words is None:
        return None
    names = list(dict.fromkeys(plugins.find(word.strip()).name for word in words.split(",") if word.strip()))
    if not names:
        raise UsageError("--tasks names no task: give some of " + ", ".join(p.name for p in plugins.installed()))
    return names


def chosen_config(
    name: str | None, overrides: Sequence[str] | None, tasks: str | None, data: str | None, seed: int | None
) -> Settings:
    """The config that these words ask for; `quickstart` on the embedded data set, `finetune` on other data."""
    words = list(overrides or ())
    recipe = name or ("finetune" if data not in (None, "shapes") else "quickstart")
    words += [f"data.path={data}"] if data is not None else []
    words += [f"seed={seed}"] if seed is not None else []
    return configuration.load_config(recipe, words, task_names(tasks))
