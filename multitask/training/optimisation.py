"""Optimiser, schedule and averaged weights."""

from __future__ import annotations

import math

import torch
from timm.utils.model_ema import ModelEmaV3
from torch import nn

from ..sections import TrainConfig


def make_optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.AdamW:
    """AdamW (arXiv 1711.05101) that decays matrices alone: no norms, biases, tables of embeddings or positions."""
    parameters = [p for p in model.named_parameters() if p[1].requires_grad]
    tables = ("embedding", "positions", "output_bias", "pos_embed", "_token")  # the last two are those of timm
    decayed = [p for name, p in parameters if p.ndim > 1 and not name.endswith(tables)]
    kept = [p for name, p in parameters if p.ndim <= 1 or name.endswith(tables)]
    groups = [{"params": decayed, "weight_decay": config.weight_decay}, {"params": kept, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=config.lr, betas=config.betas, eps=config.eps, fused=True)


def learning_rate(step: int, config: TrainConfig) -> float:
    """Rate of update `step` (from 0): linear warm-up, then linear or cosine decay to `end_lr_factor`."""
    if step < config.warmup:
        return config.lr * (step + 1) / config.warmup
    done = (step - config.warmup) / max(1, config.steps - config.warmup)
    left = 1 - done if config.schedule == "linear" else (1 + math.cos(math.pi * done)) / 2
    return config.lr * (config.end_lr_factor + (1 - config.end_lr_factor) * left)


def make_ema(model: nn.Module, config: TrainConfig) -> ModelEmaV3 | None:
    """Averaged weights (timm), whose decay grows to `ema` so that short runs forget their start; None: off."""
    return ModelEmaV3(model, decay=config.ema, use_warmup=True, warmup_power=0.75) if config.ema else None
