"""Optimiser, schedule and averaged weights."""

from __future__ import annotations

import math
from itertools import product

import torch
from timm.utils.model_ema import ModelEmaV3
from torch import nn

from ..model.encoder_decoder import EncoderDecoder
from ..sections import TrainConfig


def make_optimizer(model: EncoderDecoder, config: TrainConfig) -> torch.optim.AdamW:
    """AdamW (arXiv 1711.05101) that decays matrices alone: no norms, biases, tables of embeddings or positions.

    A group has `lr_scale`, what to multiply the learning rate by; see `learning_scales`.
    """
    tables = ("embedding", "positions", "output_bias", "pos_embed", "_token")  # the last two are those of timm
    scales = learning_scales(model, config.layer_decay)
    kinds = product(sorted(set(scales.values())), (True, False))
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {kind: [] for kind in kinds}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            groups[scales[name], parameter.ndim > 1 and not name.endswith(tables)].append(parameter)
    settings = [
        {"params": parameters, "weight_decay": config.weight_decay if decays else 0.0, "lr_scale": scale}
        for (scale, decays), parameters in groups.items()
    ]
    return torch.optim.AdamW(settings, lr=config.lr, betas=config.betas, eps=config.eps, fused=True)


def learning_scales(model: EncoderDecoder, decay: float) -> dict[str, float]:
    """Learning rate of each parameter over that of the run, by name (BEiT, arXiv 2106.08254).

    The last layer of the encoder has `decay`, the one before it `decay`^2, and so on; all else has 1.
    """
    layers = {f"encoder.{name}": layer for name, layer in model.encoder.layers().items()} if decay < 1 else {}
    count = max(layers.values(), default=0) + 1
    return {name: decay ** (count - layers.get(name, count)) for name, _ in model.named_parameters()}


def learning_rate(step: int, config: TrainConfig) -> float:
    """Rate of update `step` (from 0): linear warm-up, then linear or cosine decay to `end_lr_factor`."""
    if step < config.warmup:
        return config.lr * (step + 1) / config.warmup
    done = (step - config.warmup) / max(1, config.steps - config.warmup)
    left = 1 - done if config.schedule == "linear" else (1 + math.cos(math.pi * done)) / 2
    return config.lr * (config.end_lr_factor + (1 - config.end_lr_factor) * left)


def encoder_learns(step: int, config: TrainConfig) -> bool:
    """Whether the encoder learns in update `step` (from 0)."""
    return config.unfreeze_encoder <= step < (math.inf if config.freeze_encoder is None else config.freeze_encoder)


def make_ema(model: nn.Module, config: TrainConfig) -> ModelEmaV3 | None:
    """Averaged weights (timm), whose decay grows to `ema` so that short runs forget their start; None: off."""
    return ModelEmaV3(model, decay=config.ema, use_warmup=True, warmup_power=0.75) if config.ema else None
