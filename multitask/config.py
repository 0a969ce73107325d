"""A run's settings: frozen models, recipes in YAML, dotted overrides, and one-line errors that name the key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from .errors import nearest
from .yamlio import M, Section, check, dump_yaml, parse_scalar, read_yaml, refusal, shorten

__all__ = ["Config", "Section", "load_config", "parse_options", "read_yaml", "recipes", "to_yaml"]

# ---------------------------------------------------------------------------------------------------------- models


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


Int = Annotated[int, BeforeValidator(_whole)]  # steps=1e4 is a whole number too
Count = Annotated[Int, Field(ge=1, le=10**9)]
Zero = Annotated[Int, Field(ge=0, le=10**9)]
Rate = Annotated[float, Field(ge=0, lt=1)]


def _divides(section: M, dim: int, heads: int) -> M:
    if dim % heads:
        raise ValueError(f"heads {heads} does not divide dim {dim}")
    return section


class SourceConfig(Section):
    """One data set."""

    path: str = Field("shapes", description="data folder or annotation file, or 'shapes' for generated pictures")
    format: str | None = Field(None, description="coco, voc, yolo, captions or webdataset; null: found by looking")
    annotations: str | None = Field(None, description="annotation folder, file or pattern in the data folder")
    images: str | None = Field(None, description="image folder in the data folder; null: found by looking")
    train_split: str | None = Field(None, description="split to train on; null: found in the folder")
    val_split: str | None = Field(None, description="split to evaluate on; null: found in the folder")
    tasks: Annotated[tuple[str, ...], Field(strict=False)] | None = Field(
        None, description="tasks that learn from it and are scored on it; null: all that it is annotated for"
    )
    weight: float = Field(1.0, gt=0, le=1000, description="how often its images are shown, beside other data sets")


class DataConfig(SourceConfig):
    """What to learn from: a data set, and maybe more of them."""

    more: Annotated[tuple[SourceConfig, ...], Field(strict=False)] = Field((), description="further data sets")
    max_skipped: float = Field(0.01, ge=0, le=1, description="share of images and annotations that may be unusable")
    train_size: Count | None = Field(None, description="number of training pictures (shapes only)")
    val_size: Count | None = Field(None, description="number of pictures evaluated; null: all")
    workers: Int = Field(-1, ge=-1, le=256, description="loader processes; -1: chosen for this machine")

    @property
    def sources(self) -> tuple[SourceConfig, ...]:
        """Every data set, this one first."""
        return (self, *self.more)


class TransformerConfig(Section):
    """The transformer of the published encoders."""

    dim: Count = Field(768, multiple_of=4, description="width; the 2-D sin-cos position code needs a multiple of 4")
    depth: Count = Field(12, description="layers")
    heads: Count = Field(12, description="attention heads; must divide dim")
    mlp_dim: Count = Field(3072, description="hidden width of the feed-forward block")
    patch: Count = Field(16, description="side of a patch in pixels (vit only)")
    dropout: Rate = Field(0.1, description="dropout inside the feed-forward block")
    drop_path: Rate = Field(0.1, description="stochastic depth")

    @model_validator(mode="after")
    def _heads(self) -> Self:
        return _divides(self, self.dim, self.heads)


class DecoderConfig(Section):
    """The sequence decoder."""

    dim: Count = Field(256, multiple_of=4, description="width; the 2-D sin-cos position code needs a multiple of 4")
    depth: Count = Field(6, description="layers")
    heads: Count = Field(8, description="attention heads; must divide dim")
    mlp_dim: Count = Field(1024, description="hidden width of the feed-forward block")
    max_length: Count = Field(512, description="longest sequence, prompt included, in tokens")
    dropout: Rate = Field(0.1, description="dropout inside the feed-forward block")
    drop_path: Rate = Field(0.0, description="stochastic depth")

    @model_validator(mode="after")
    def _heads(self) -> Self:
        return _divides(self, self.dim, self.heads)


class ModelConfig(Section):
    """Encoder and decoder."""

    image_size: Int = Field(128, ge=16, le=4096, description="side of the square network input in pixels")
    encoder: str = Field("mobilenetv4_conv_small", description="a timm name, or 'vit' / 'resnet_transformer'")
    pretrained: bool | str = Field(False, description="start from timm's weights, or from this safetensors file")
    stride: Literal[4, 8, 16, 32] = Field(16, description="pixels per feature of a convolutional encoder")
    positions: Literal["published", "fourier"] = Field(
        "published", description="codes of places; fourier: finer ones, also at first in the coordinate tokens"
    )
    backbone: str = Field("resnet50", description="the convolutional part (resnet_transformer only)")
    transformer: TransformerConfig = Field(TransformerConfig(), description="published encoders only")
    decoder: DecoderConfig = Field(DecoderConfig(), description="the sequence decoder")

    @model_validator(mode="after")
    def _patches(self) -> Self:
        if self.encoder == "vit" and self.image_size % self.transformer.patch:
            raise ValueError(f"image_size {self.image_size} is not a multiple of patch {self.transformer.patch}")
        return self


class TrainConfig(Section):
    """Optimisation."""

    steps: Count = Field(1000, description="optimiser steps")
    batch_size: Count = Field(16, description="pictures per task and step")
    lr: float = Field(1e-3, gt=0, le=10, description="peak learning rate")
    warmup: Zero = Field(100, description="steps of linear warm-up")
    schedule: Literal["linear", "cosine"] = Field("linear", description="decay after the warm-up")
    end_lr_factor: float = Field(0.01, ge=0, le=1, description="last learning rate as a fraction of the peak")
    weight_decay: float = Field(0.05, ge=0, le=1, description="decoupled weight decay (AdamW)")
    betas: Annotated[tuple[Rate, Rate], Field(strict=False)] = Field((0.9, 0.95), description="AdamW moment decays")
    eps: float = Field(1e-8, gt=0, le=1, description="AdamW epsilon")
    clip: float = Field(1.0, ge=0, description="gradient norm limit; 0: off")
    ema: Rate = Field(0.0, description="decay of the averaged weights; 0: off")
    coordinate_sigma: float = Field(0.0, ge=0, le=100, description="Gaussian smoothing of coordinate targets, in bins")
    task_weights: dict[str, Annotated[float, Field(ge=0)]] = Field({}, description="loss weight by task; 1 if absent")
    eval_every: Zero = Field(0, description="steps between evaluations; 0: at the end only")
    save_every: Count = Field(500, description="steps between checkpoints")
    keep: Count = Field(2, description="checkpoints kept besides the best")
    precision: Literal["auto", "fp32", "bf16"] = Field("auto", description="auto: bf16 where the device is good at it")
    best: str = Field("", description="metric that `best` follows, as task/metric; empty: first of the first task")


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


def changed(config: Config, overrides: Sequence[str]) -> Config:
    """The config with `data.path=...` and the like put in. Raises UsageError as `load_config`."""
    return _checked(config.model_dump(mode="json"), "config", overrides) if overrides else config


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
