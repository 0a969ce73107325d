"""Options that several commands share, and how they become a config."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .. import config as configuration
from .. import plugins
from ..errors import UsageError
from ..yamlio import parse_yaml

if TYPE_CHECKING:
    from ..config import Config as Settings

Overrides = Annotated[
    list[str] | None,
    typer.Argument(help="Settings as key=value: train.lr=1e-4 model.encoder=resnet50", metavar="[KEY=VALUE]..."),
]
Data = Annotated[
    list[str] | None,
    typer.Option("--data", help="Folder of a data set, or `shapes` (embedded); several: give it again."),
]
Config = Annotated[str | None, typer.Option("--config", help="Recipe by name, or a YAML file.")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or mps.")]
Precision = Annotated[
    str, typer.Option("--precision", help="Of decoding: fp32, bf16, or int8 (weights of 8 bits, on a CPU).")
]
CudaGraphs = Annotated[bool, typer.Option("--cuda-graphs", help="Replay decoding steps as CUDA graphs.")]
Seed = Annotated[int | None, typer.Option("--seed", help="Seed of weights, data order and augmentation.")]
Deterministic = Annotated[bool, typer.Option("--deterministic", help="Refuse operations whose result may vary.")]
Model = Annotated[str | None, typer.Option("--model", help="Run folder; the newest under runs/ if left out.")]

Init = Annotated[
    str | None, typer.Option("--init", help="Begin with the weights of this run, checkpoint or hub id (owner/name).")
]


def sleep_soon() -> None:
    """Threads of torch that wait sleep soon, and leave their core to others. To be said before torch is loaded."""
    os.environ.setdefault("GOMP_SPINCOUNT", "2000")


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
    name: str | None,
    overrides: Sequence[str] | None,
    tasks: str | None,
    data: Sequence[str] | None,
    seed: int | None,
    init: str | None = None,
) -> Settings:
    """The config that these words ask for; `quickstart` on the embedded data set, `finetune` on other data.

    With `init` and without `name`, what the weights were trained for: tasks, bins, text model and model are those of
    the checkpoint, and so are the data where none are given. Raises CheckpointError when it cannot be had.
    """
    words = [f"model.init={json.dumps(init)}"] if init else []
    words += [*data_words(data), *(overrides or ())]
    words += [f"seed={seed}"] if seed is not None else []
    names = task_names(tasks)
    if init and name is None:
        return configuration.changed(_continued(init, names, words), words, names)
    recipe = name or ("finetune" if data and list(data) != ["shapes"] else "quickstart")
    return configuration.load_config(recipe, words, names)


def _continued(init: str, tasks: Sequence[str] | None, words: Sequence[str]) -> Settings:
    """The recipe `finetune` for the model of a checkpoint, and for `tasks` if given."""
    from ..hub import saved_config

    saved, recipe = saved_config(init), configuration.load_config("finetune")
    options = {**recipe.tasks, **saved.tasks}
    update = {
        "tasks": {name: options.get(name, {}) for name in tasks or saved.tasks},
        "bins": saved.bins,
        "text_model": saved.text_model,
        "model": saved.model.model_copy(update={"init_vocabulary": "grow"}),
        "data": recipe.data if any(word.startswith("data.path=") for word in words) else saved.data,
    }
    return recipe.model_copy(update=update)


def data_words(data: Sequence[str] | None) -> list[str]:
    """Settings for what was given as --data: a path each, or the keys of one data set as `{path: a, tasks: [det]}`.

    Raises UsageError where it is neither.
    """
    sources = [_source(word) for word in data or ()]
    first = [f"data.{key}={json.dumps(value)}" for key, value in sources[0].items()] if sources else []
    return [*first, f"data.more={json.dumps(sources[1:])}"] if len(sources) > 1 else first


def _source(word: str) -> dict[str, Any]:
    if not word.startswith("{"):
        return {"path": word}
    source = parse_yaml(word, f"--data {word}")
    if not isinstance(source, dict) or "path" not in source:
        raise UsageError(f"--data {word}: expected {{path: FOLDER, ...}}")
    return source
