"""What an image encoder is, and timm's models as encoders."""

from __future__ import annotations

import logging
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple, cast

import timm
import torch
from einops import parse_shape, rearrange
from torch import Tensor, nn

from ..errors import CheckpointError, UsageError, nearest
from .weights import Weights, read_weights

logging.getLogger("timm").setLevel(logging.ERROR)  # it warns of the layers that we leave out on purpose


class Features(NamedTuple):
    """An encoded batch: tokens (B, N, dim) of a (height, width) grid of N = height * width cells, row by row."""

    tokens: Tensor
    grid: tuple[int, int]


class Encoder(nn.Module, ABC):
    """Turns images into a grid of tokens; normalises pixels itself."""

    dim: int
    """Channels of a token."""
    mlp_ratio: float
    """Hidden width over width of its feed-forward layers; the bridge to the decoder follows it."""

    @abstractmethod
    def forward(self, images: Tensor, extent: Tensor | None = None) -> Features:
        """Encode images (B, 3, H, W), float32 in [0, 1].

        extent: (B, 2) float, (height, width) of the picture as fractions of (H, W); the rest, at the bottom and right,
        is padding. None: no padding.
        """


def valid_cells(extent: Tensor | None, grid: tuple[int, int]) -> Tensor | None:
    """(B, N) bool: whether a cell begins before the picture ends; None: all do. The top left cell always counts."""
    if extent is None or bool((extent >= 1).all()):
        return None
    height, width = grid
    # Half a thousandth of a cell absorbs the rounding of the fractions.
    rows = torch.arange(height, device=extent.device) < (extent[:, :1] * height - 5e-4).clamp(min=0.5)
    columns = torch.arange(width, device=extent.device) < (extent[:, 1:] * width - 5e-4).clamp(min=0.5)
    return rearrange(rows[:, :, None] & columns[:, None], "b h w -> b (h w)")


class TimmEncoder(Encoder):
    """A timm model with its normalisation.

    The mean and deviation are saved with the weights, so that a checkpoint of a model which began pretrained loads
    into one built without. From random weights any constants do; these centre and scale natural images.
    """

    mlp_ratio = 4.0

    def __init__(
        self, net: nn.Module, dim: int, mean: Iterable[float] = (0.5,) * 3, std: Iterable[float] = (0.25,) * 3
    ) -> None:
        super().__init__()
        self.net = net
        self.dim = dim
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(tuple(mean))[:, None, None])
        self.register_buffer("std", torch.tensor(tuple(std))[:, None, None])

    def normalise(self, images: Tensor) -> Tensor:
        return (images - self.mean) / self.std


class TimmTransformer(TimmEncoder):
    """Patch tokens after the last block; class and register tokens are dropped."""

    def forward(self, images: Tensor, extent: Tensor | None = None) -> Features:
        net: Any = self.net
        tokens = net.forward_features(self.normalise(images))
        return Features(tokens[:, net.num_prefix_tokens :], net.patch_embed.grid_size)


class TimmConvolutional(TimmEncoder):
    """One feature map. Runs in channels-last layout, which a CPU prefers."""

    def __init__(self, net: nn.Module, dim: int, **normalisation: Iterable[float]) -> None:
        super().__init__(net, dim, **normalisation)
        for module in net.modules():
            if isinstance(module, nn.Conv2d):
                module.to(memory_format=torch.channels_last)
        last = getattr(net, "output_fmt", "NCHW") == "NHWC"  # Swin and its relatives
        self.axes = "b h w c" if last else "b c h w"

    def forward(self, images: Tensor, extent: Tensor | None = None) -> Features:
        pixels = self.normalise(images).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", enabled=False):  # bfloat16 convolutions double the backward pass of a CPU
            (maps,) = self.net(pixels)
        return Features(rearrange(maps, f"{self.axes} -> b (h w) c"), _grid(maps, self.axes))


def _grid(maps: Tensor, axes: str) -> tuple[int, int]:
    sizes = parse_shape(maps, axes)
    return sizes["h"], sizes["w"]


def timm_encoder(name: str, image_size: int, stride: int, pretrained: bool | str = False) -> Encoder:
    """The timm model `name` for square images of `image_size` pixels.

    stride: pixels a cell of a convolutional map; a transformer has its own patch size.
    pretrained: True fetches the published weights; a path reads a safetensors file of the whole model.
    Raises UsageError for an unknown name, size or stride, CheckpointError for weights that cannot be had or do not fit.
    """
    _check_name(name)
    weights = _weights(name, pretrained)
    with torch.device("meta"):  # shapes alone
        probe: Any = timm.create_model(name, num_classes=0)
    normalisation = _normalisation(name) if pretrained else {}
    if hasattr(probe, "num_prefix_tokens") and hasattr(probe, "patch_embed"):
        patch = max(probe.patch_embed.patch_size)
        if image_size % patch:
            raise UsageError(f"model.image_size {image_size} is not a multiple of {patch}, the patch size of {name}")
        net = _create(name, weights, num_classes=0, img_size=image_size)
        return TimmTransformer(net, probe.num_features, **normalisation)
    index, dim = _feature_map(name, image_size, stride)
    net = _create(name, weights, features_only=True, out_indices=(index,))
    return TimmConvolutional(net, dim, **normalisation)


def _check_name(name: str) -> None:
    known = {*timm.list_models(), *timm.list_pretrained()}
    if name not in known:
        raise UsageError(f"model.encoder '{name}' is not a timm model{nearest(name, known)}")


def _normalisation(name: str) -> dict[str, Iterable[float]]:
    published = timm.get_pretrained_cfg(name)
    return {"mean": published.mean, "std": published.std} if published else {}


def _feature_map(name: str, image_size: int, stride: int) -> tuple[int, int]:
    """Index and channels of the last feature map with `stride`."""
    try:
        with torch.device("meta"):
            net: Any = timm.create_model(name, features_only=True).eval()
            net(torch.empty(1, 3, image_size, image_size))
    except (RuntimeError, AttributeError, AssertionError, ValueError) as error:
        reason = f"gives no feature maps of {image_size} pixel images"
        raise UsageError(f"model.encoder '{name}' {reason}; choose another size, a CNN or a plain ViT") from error
    strides = net.feature_info.reduction()
    if stride not in strides:
        raise UsageError(f"model.stride {stride} is not one of {name}: {', '.join(map(str, strides))}")
    index = len(strides) - 1 - strides[::-1].index(stride)
    return index, net.feature_info.channels()[index]


def _create(name: str, weights: bool | Weights, **options: Any) -> nn.Module:
    """The timm model with weights from where `weights` says: fetched, given, or random."""
    if not weights:
        return timm.create_model(name, **options)
    given = {"state_dict": weights} if isinstance(weights, dict) else None
    try:
        net: Any = timm.create_model(name, pretrained=True, pretrained_cfg_overlay=given, **options)
    except Exception as error:  # network, hub and timm raise many kinds; all mean "no weights"
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise CheckpointError(f"model.pretrained: cannot get the weights of {name}: {reason}") from error
    for settings in (net.pretrained_cfg, net.default_cfg):
        settings.pop("state_dict", None)  # timm would keep the weights a second time
    return cast("nn.Module", net)


def _weights(name: str, pretrained: bool | str) -> bool | Weights:
    if isinstance(pretrained, str):
        with torch.device("meta"):
            expected = timm.create_model(name).state_dict()
        return read_weights(Path(pretrained), name, expected, ignored=_classifiers(name))
    if pretrained and os.environ.get("MTP_OFFLINE") == "1":
        raise CheckpointError(
            f"model.pretrained: MTP_OFFLINE=1 forbids fetching {name}; give the path of a safetensors file"
        )
    return pretrained


def _classifiers(name: str) -> tuple[str, ...]:
    """How the keys of the classification layers begin."""
    published: Any = timm.get_pretrained_cfg(name)
    names = (published and published.classifier) or ()
    return tuple(f"{each}." for each in ((names,) if isinstance(names, str) else names))
