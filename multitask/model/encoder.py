"""What an image encoder is, and timm's models as encoders."""

from __future__ import annotations

import logging
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, Self, cast

import timm
import torch
from einops import parse_shape, rearrange
from timm.models import group_parameters
from torch import Tensor, nn

from ..errors import CheckpointError, UsageError, nearest
from .batch_norms import BatchNorms
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

    def layers(self) -> dict[str, int]:
        """The layer of each parameter, by name, from 0 at the image; all are one layer unless an encoder says more."""
        return {name: 0 for name, _ in self.named_parameters()}


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
        self,
        name: str,
        net: nn.Module,
        dim: int,
        freeze_norm: bool = False,
        mean: Iterable[float] = (0.5,) * 3,
        std: Iterable[float] = (0.25,) * 3,
    ) -> None:
        super().__init__()
        self.name = name
        self.net = net
        self.dim = dim
        self.freeze_norm = freeze_norm
        self.norms = BatchNorms(net)
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(tuple(mean))[:, None, None])
        self.register_buffer("std", torch.tensor(tuple(std))[:, None, None])

    def normalise(self, images: Tensor) -> Tensor:
        return (images - self.mean) / self.std

    def train(self, mode: bool = True) -> Self:
        """As every module; batch norms that are frozen stay as in evaluation, but their weights and biases learn."""
        super().train(mode)
        if self.freeze_norm:
            self.norms.freeze()
        return self

    def recompute(self) -> None:
        """Keep few activations from now on, and compute the rest again in the backward pass, where the net can."""
        with suppress(AttributeError, AssertionError):  # those of a net that cannot
            cast(Any, self.net).set_grad_checkpointing()

    def layers(self) -> dict[str, int]:
        """As timm groups the parameters of the whole model; the names of a part of it have other separators."""
        with torch.device("meta"):
            whole: Any = timm.create_model(self.name, num_classes=0)
        grouped = group_parameters(whole, whole.group_matcher(coarse=False), reverse=True)
        known = {f"net_{name.replace('.', '_')}": layer for name, layer in grouped.items()}
        last = max(known.values())
        found = {name: known.get(name.replace(".", "_"), last) for name, _ in self.named_parameters()}
        ordered = sorted(set(found.values()))
        return {name: ordered.index(layer) for name, layer in found.items()}


class TimmTransformer(TimmEncoder):
    """Patch tokens after the last block; class and register tokens are dropped."""

    def forward(self, images: Tensor, extent: Tensor | None = None) -> Features:
        net: Any = self.net
        with self.norms.once():
            tokens = net.forward_features(self.normalise(images))
        return Features(tokens[:, net.num_prefix_tokens :], net.patch_embed.grid_size)


class TimmConvolutional(TimmEncoder):
    """One feature map. Runs in channels-last layout, which a CPU prefers."""

    def __init__(
        self, name: str, net: nn.Module, dim: int, freeze_norm: bool = False, **normalisation: Iterable[float]
    ) -> None:
        super().__init__(name, net, dim, freeze_norm, **normalisation)
        for module in net.modules():
            if isinstance(module, nn.Conv2d):
                module.to(memory_format=torch.channels_last)
        last = getattr(net, "output_fmt", "NCHW") == "NHWC"  # Swin and its relatives
        self.axes = "b h w c" if last else "b c h w"

    def forward(self, images: Tensor, extent: Tensor | None = None) -> Features:
        pixels = self.normalise(images).contiguous(memory_format=torch.channels_last)
        # On a CPU the backward pass of bfloat16 convolutions takes twice as long.
        with self.norms.once(), torch.autocast("cpu", enabled=False):
            (maps,) = self.net(pixels)
        return Features(rearrange(maps, f"{self.axes} -> b (h w) c"), _grid(maps, self.axes))


def _grid(maps: Tensor, axes: str) -> tuple[int, int]:
    sizes = parse_shape(maps, axes)
    return sizes["h"], sizes["w"]


def timm_encoder(
    name: str,
    image_size: int,
    stride: int,
    pretrained: bool | str = False,
    drop_path: float = 0.0,
    freeze_norm: bool = False,
) -> Encoder:
    """The timm model `name` for square images of `image_size` pixels.

    stride: pixels a cell of a convolutional map; a transformer has its own patch size.
    pretrained: True fetches the published weights; a path reads a safetensors file of the whole model.
    drop_path: its stochastic depth; 0 changes nothing.
    freeze_norm: batch norms keep the statistics that they begin with.
    Raises UsageError for an unknown name, size or stride, and for what the model does not have, CheckpointError for
    weights that cannot be had or do not fit.
    """
    _check_name(name)
    weights = _weights(name, pretrained)
    options = {"drop_path_rate": drop_path} if drop_path else {}
    probe = _probe(name, options, freeze_norm)
    normalisation = _normalisation(name) if pretrained else {}
    if hasattr(probe, "num_prefix_tokens") and hasattr(probe, "patch_embed"):
        patch = max(probe.patch_embed.patch_size)
        if image_size % patch:
            raise UsageError(f"model.image_size {image_size} is not a multiple of {patch}, the patch size of {name}")
        net = _create(name, weights, num_classes=0, img_size=image_size, **options)
        return TimmTransformer(name, net, probe.num_features, freeze_norm, **normalisation)
    index, dim = _feature_map(name, image_size, stride)
    net = _create(name, weights, features_only=True, out_indices=(index,), **options)
    return TimmConvolutional(name, net, dim, freeze_norm, **normalisation)


def _check_name(name: str) -> None:
    known = {*timm.list_models(), *timm.list_pretrained()}
    if name not in known:
        raise UsageError(f"model.encoder '{name}' is not a timm model{nearest(name, known)}")


def _probe(name: str, options: Mapping[str, Any], freeze_norm: bool) -> Any:
    """The model without values. Raises UsageError when it cannot have the `options`, or no batch norm to freeze."""
    try:
        with torch.device("meta"):
            probe = timm.create_model(name, num_classes=0, **options)
    except TypeError as error:
        raise UsageError(f"model.drop_path: '{name}' has no stochastic depth; set it to 0") from error
    if freeze_norm and not BatchNorms(probe).norms:
        raise UsageError(f"model.freeze_norm: '{name}' has no batch norms; set it to false")
    return probe


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
