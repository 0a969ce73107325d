"""A run's settings: frozen models, recipes in YAML, dotted overrides, and one-line errors that name the key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Self

from pydantic import Field, field_validator, model_validator

from .errors import nearest
from .sections import DataConfig, Int, ModelConfig, TrainConfig
from .yamlio import M, Section, check, dump_yaml, parse_scalar, read_yaml, refusal, shorten

__all__ = ["Config", "Section", "load_config", "parse_options", "read_yaml", "recipes", "to_yaml"]


class Config(Section):
    """Everything a run is made of; `tasks` maps a task's name to its own options, which the task itself checks."""

    tasks: dict[str, dict[str, Any]] = Field(min_length=1, description="options by task name")
    text_model: str = Field("builtin", description="'builtin', 'train' (from the captions), or a SentencePiece file")
    bins: Int = Field(1000, ge=2, le=100_000, description="coordinate tokens per axis")
    data: DataConfig = Field(DataConfig(), description="what to learn from")
    model: ModelConfig = Field(ModelConfig(), description="encoder and decoder")
    train: TrainConfig = Field(TrainConfig(), description="optimisation")
    seed: Int = Field(0, ge=0, lt=2**32, description="of weights, order and augmentation")

    @field_validator("tasks", mode="before")
    @classmethod
    def _no_options(cls, tasks: Any) -> Any:
        return {k: {} if v is None else v for k, v in tasks.items()} if isinstance(tasks, dict) else tasks

    @model_validator(mode="after")
    def _known_tasks(self) -> Self:
        best = [self.train.best.split("/")[0].split("@")[0]] if self.train.best else []
        named = [("train.task_weights", self.train.task_weights), ("train.best", best)]
        named += [("data.tasks", source.tasks or ()) for source in self.data.sources]
        for key, names in named:
            for name in sorted(set(names) - set(self.tasks)):
                raise ValueError(f"{key} names '{name}', not a task of this run{nearest(name, self.tasks)}")
        return self


# --------------------------------------------------------------------------------------------------------- loading


def recipes() -> tuple[str, ...]:
    """Names of the recipes that come with the package."""
    return tuple(
        sorted(f.name[:-5] for f in resources.files("multitask.configs").iterdir() if f.name.endswith(".yaml"))
    )


def load_config(name_or_path: str | None, overrides: Sequence[str] = (), tasks: Sequence[str] | None = None) -> Config:
    """A recipe by name or by path (None: the defaults) with `train.lr=1e-4` overrides, limited to `tasks` if given.

    Raises UsageError in one line that names the file or override, the dotted key, and what is expected.
    """
    raw, source = ({}, "config") if name_or_path is None else (_read_recipe(name_or_path), name_or_path)
    if tasks is not None:
        _keep_tasks(raw, tasks)
    return _checked(raw, source, overrides, tasks)


def changed(config: Config, overrides: Sequence[str], tasks: Sequence[str] | None = None) -> Config:
    """The config with `data.path=...` and the like put in. Raises UsageError as `load_config`."""
    return _checked(config.model_dump(mode="json"), "config", overrides, tasks) if overrides else config


def _checked(raw: dict[str, Any], source: str, overrides: Sequence[str], tasks: Sequence[str] | None = None) -> Config:
    origins = {}
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals or not all(key.split(".")):
            raise refusal(f"override {override!r}: expected key=value, such as train.lr=1e-4")
        if tasks is not None and key.startswith("tasks.") and (name := key.split(".")[1]) not in tasks:
            raise refusal(f"override {override!r}: '{name}' is not among the chosen tasks: {', '.join(tasks)}")
        _set(raw, key.split("."), parse_scalar(text, f"override {override!r}"))
        origins[key] = f"override {override!r}"
    return check(Config, raw, source, origins=origins)


def parse_options(model_type: type[M], raw: Mapping[str, Any], where: str) -> M:
    """`raw` as a `model_type`; errors name a key as `where`.key (`tasks.<name>`), or after `where` if that is a file.

    Raises UsageError in one line, as `load_config`.
    """
    if where.endswith(".yaml"):
        return check(model_type, dict(raw), where)
    return check(model_type, dict(raw), "", f"{where}.")


def _read_recipe(name_or_path: str) -> dict[str, Any]:
    is_path = Path(name_or_path).suffix in (".yaml", ".yml") or Path(name_or_path).name != name_or_path
    if not is_path and name_or_path not in (known := recipes()):
        hint = nearest(name_or_path, known) or f"; there are: {', '.join(known)}"
        raise refusal(f"no recipe '{name_or_path}'{hint} (a path ends in .yaml)")
    raw = read_yaml(Path(name_or_path) if is_path else resources.files("multitask.configs") / f"{name_or_path}.yaml")
    if not isinstance(raw, dict | None):
        raise refusal(f"{name_or_path}: expected keys and values, got {shorten(raw)}")
    return raw or {}


def _keep_tasks(raw: dict[str, Any], names: Sequence[str]) -> None:
    """Drops the other tasks with what refers to them; a name the recipe does not list gets no options."""
    tasks = raw.get("tasks")
    dropped = set(tasks) - set(names) if isinstance(tasks, dict) else set()
    if isinstance(tasks, dict | None):
        raw["tasks"] = {name: (tasks or {}).get(name) for name in names}
    if isinstance(train := raw.get("train"), dict):
        if isinstance(weights := train.get("task_weights"), dict):
            train["task_weights"] = {name: weight for name, weight in weights.items() if name not in dropped}
        if str(train.get("best")).split("/")[0] in dropped:
            del train["best"]


def _set(raw: dict[str, Any], path: Sequence[str], value: Any) -> None:
    for key in path[:-1]:
        if not isinstance(raw.get(key), dict):
            raw[key] = {}
        raw = raw[key]
    raw[path[-1]] = value


def to_yaml(config: Config) -> str:
    """The whole config as YAML; `load_config` of it gives an equal config."""
    return dump_yaml(config.model_dump(mode="json"))
