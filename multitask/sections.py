"""The sections of a config: frozen models, each key with its default, limits and description."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from .yamlio import M, Section


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
    drop_path: Rate = Field(0.0, description="stochastic depth of a timm encoder")
    freeze_norm: bool = Field(False, description="batch norms of a timm encoder keep the statistics they begin with")
    init: str = Field("", description="run, checkpoint or hub id (owner/name) to begin from; wins over pretrained")
    init_vocabulary: Literal["grow", "fit"] = Field(
        "grow", description="its tokens with the new ones added, or those of this run alone; rows go by name"
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
    batch_size: Count = Field(16, description="pictures per task and step, over all processes")
    accumulate: Count = Field(1, description="parts that a process takes its share of a batch in, one after the other")
    repeats: Count = Field(1, description="times that a picture is shown in a batch, each time varied anew")
    sampling: Literal["all", "proportional"] = Field(
        "all", description="tasks of a step: all, or one, drawn by how many pictures are annotated for it"
    )
    lr: float = Field(1e-3, gt=0, le=10, description="peak learning rate")
    layer_decay: float = Field(1.0, gt=0, le=1, description="rate of an encoder's layer over that of the next one")
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
    published_weights: bool = Field(False, description="tasks absent in task_weights have that of Pix2Seq v2")
    unfreeze_encoder: Zero = Field(0, description="first step at which the encoder learns")
    freeze_encoder: Zero | None = Field(None, description="step from which the encoder learns no more; null: none")
    eval_every: Zero = Field(0, description="steps between evaluations; 0: at the end only")
    save_every: Count = Field(500, description="steps between checkpoints")
    keep: Count = Field(2, description="checkpoints kept besides the best")
    precision: Literal["auto", "fp32", "bf16"] = Field("auto", description="auto: bf16 where the device is good at it")
    compile: bool = Field(False, description="compile the layers: takes minutes at first, dropout draws otherwise")
    recompute: bool = Field(False, description="keep no activations inside layers: less memory, more time")
    parallel: Literal["ddp", "fsdp"] = Field("ddp", description="of several processes: each has the model, or a share")
    tensorboard: bool = Field(False, description="also write what TensorBoard shows (extra `track`)")
    best: str = Field("", description="metric that `best` follows, as task/metric; empty: first of the first task")

    @model_validator(mode="after")
    def _learns(self) -> Self:
        first, last = self.unfreeze_encoder, self.freeze_encoder
        if last and last <= first:
            raise ValueError(
                f"freeze_encoder {last} is not after unfreeze_encoder {first}: it would never learn; 0 says so"
            )
        return self
