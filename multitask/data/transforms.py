"""From an image to the square input of the network: one plan moves the pixels and the annotations alike."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from ..geometry import FloatArray, Size
from ..task import Augment

PAD = 76  # 0.3 of full scale, as published
SIMCLR_STRENGTH = 0.8  # brightness, contrast and saturation vary by this times the strength; hue by a quarter of it

Region = tuple[float, float, float, float]


@dataclass(frozen=True)
class Placement:
    """Where a window of the image lands in the network's input: scaled, at the top left, maybe mirrored."""

    window: tuple[int, int, int, int]  # left, top, width, height in pixels of the image
    scaled: tuple[int, int]  # width, height in pixels of the input
    side: int  # of the square input, in pixels
    flip: bool = False

    @property
    def size(self) -> Size:
        """(width, height) of the picture in the unit square; the rest is padding."""
        return self.scaled[0] / self.side, self.scaled[1] / self.side

    @property
    def matrix(self) -> FloatArray:
        """Affine map (3, 3) from pixels of the image to the unit square."""
        left, top, width, height = self.window
        scale_x, scale_y = self.size[0] / width, self.size[1] / height
        moved = np.array([[scale_x, 0.0, -left * scale_x], [0.0, scale_y, -top * scale_y], [0.0, 0.0, 1.0]])
        mirror = np.array([[-1.0, 0.0, self.size[0]], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
        return mirror @ moved if self.flip else moved

    @property
    def inverse(self) -> FloatArray:
        """Affine map (3, 3) from the unit square back to pixels of the image."""
        return np.linalg.inv(self.matrix).astype(np.float64)

    def render(self, image: NDArray[np.uint8], change: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """The input (3, side, side) uint8 from the image (H, W, 3) uint8; `change` is applied before padding."""
        left, top, width, height = self.window
        pixels = torch.from_numpy(image[top : top + height, left : left + width]).permute(2, 0, 1)
        if (width, height) != self.scaled:
            pixels = F.resize(pixels.contiguous(), [self.scaled[1], self.scaled[0]], antialias=True)
        if self.flip:
            pixels = F.horizontal_flip(pixels)
        if change:
            pixels = change(pixels)
        right, bottom = self.side - self.scaled[0], self.side - self.scaled[1]
        padded: Tensor = F.pad(pixels, [0, 0, right, bottom], fill=PAD)
        return padded.contiguous()


def place(
    size: Size, side: int, region: Region | None = None, augment: Augment | None = None,
    rng: np.random.Generator | None = None,
) -> Placement:  # fmt: skip
    """Plan how a region (xyxy pixels; None: all) of an image of `size` fills an input of `side` pixels.

    Without `rng` the longest side fills the input. With it, the size is a random multiple of that and a window is
    cut at random where it does not fit (scale jitter and crop of the paper), maybe mirrored.
    """
    left, top, width, height = _whole_pixels(size, region)
    scale, flip = side / max(width, height), False
    if augment is not None and rng is not None:
        scale *= float(rng.uniform(*augment.scale))
        flip = bool(rng.random() < augment.flip)
    cut_width, cut_height = (max(1, min(full, round(side / scale))) for full in (width, height))
    if rng is not None:  # each axis has its own offset; the original draws one for both
        left += int(rng.integers(0, width - cut_width + 1))
        top += int(rng.integers(0, height - cut_height + 1))
    scaled = (max(1, min(side, round(cut_width * scale))), max(1, min(side, round(cut_height * scale))))
    return Placement((left, top, cut_width, cut_height), scaled, side, flip)


def _whole_pixels(size: Size, region: Region | None) -> tuple[int, int, int, int]:
    """left, top, width, height of a region widened to whole pixels inside the image, at least one of them."""
    width, height = int(size[0]), int(size[1])
    if region is None:
        return 0, 0, width, height
    left, top = min(max(0, int(np.floor(region[0]))), width - 1), min(max(0, int(np.floor(region[1]))), height - 1)
    right, bottom = min(width, int(np.ceil(region[2]))), min(height, int(np.ceil(region[3])))
    return left, top, max(1, right - left), max(1, bottom - top)


def colour_jitter(pixels: Tensor, strength: float, rng: np.random.Generator) -> Tensor:
    """The colour distortion of SimCLR v2 (arXiv 2006.10029) on an image (3, H, W) uint8."""
    if strength > 0 and rng.random() < 0.8:
        spread = SIMCLR_STRENGTH * strength
        factors = rng.uniform(max(0.0, 1 - spread), 1 + spread, 3)
        hue = float(rng.uniform(-spread / 4, spread / 4))
        steps = [
            lambda x: F.adjust_brightness(x, float(factors[0])),
            lambda x: F.adjust_contrast(x, float(factors[1])),
            lambda x: F.adjust_saturation(x, float(factors[2])),
            lambda x: F.adjust_hue(x, hue),
        ]
        for i in rng.permutation(len(steps)):
            pixels = steps[i](pixels)
    if strength > 0 and rng.random() < 0.2:
        pixels = F.rgb_to_grayscale(pixels, num_output_channels=3)
    return pixels
