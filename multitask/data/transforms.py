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
REDUCTIONS = (8, 4, 2)  # that JPEG can be decoded at
SIMCLR_STRENGTH = 0.8  # brightness, contrast and saturation vary by this times the strength; hue by a quarter of it

Region = tuple[float, float, float, float]


@dataclass(frozen=True)
class Placement:
    """Where a window of the image lands in the network's input: scaled, at the top left, maybe mirrored."""

    image: tuple[int, int]  # width, height in pixels
    window: tuple[int, int, int, int]  # left, top, width, height in pixels of the image
    scaled: tuple[int, int]  # width, height in pixels of the input
    side: int  # of the square input, in pixels
    flip: bool = False
    reduce: int = 1  # the window consists of squares of so many pixels, each smaller than a pixel of the input

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
        """The input (3, side, side) uint8 from the image (H, W, 3) uint8; `change` is applied before padding.

        The image may come at a fraction of its size, down to 1 / `reduce`, as `Example.load` gives it.
        """
        shrunk = -(-max(self.image) // max(image.shape[:2]))
        left, top, width, height = (value // shrunk for value in self.window)
        window = np.ascontiguousarray(image[top : top + height, left : left + width])
        pixels = torch.from_numpy(window).permute(2, 0, 1)  # channels last in memory, which is resized fastest
        if (width, height) != self.scaled:
            pixels = F.resize(pixels, [self.scaled[1], self.scaled[0]], antialias=True)
        found = (change(pixels) if change else pixels).numpy()
        padded = np.full((3, self.side, self.side), PAD, dtype=np.uint8)
        padded[:, : self.scaled[1], : self.scaled[0]] = found[..., ::-1] if self.flip else found
        return torch.from_numpy(padded)


def place(
    size: Size, side: int, region: Region | None = None, augment: Augment | None = None,
    rng: np.random.Generator | None = None,
) -> Placement:  # fmt: skip
    """Plan how a region (xyxy pixels; None: all) of an image of `size` fills an input of `side` pixels.

    Without `rng` the longest side fills the input. With it, the size is a random multiple of that and a window is
    cut at random where it does not fit (scale jitter and crop of the paper), maybe mirrored. Where the image is much
    larger than the input, the window keeps to whole squares of pixels, so that the image can be decoded smaller.
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
    reduce = 1 if rng is None else _reduction(scale, min(cut_width, cut_height))
    (left, cut_width), (top, cut_height) = _squares(left, cut_width, reduce), _squares(top, cut_height, reduce)
    scaled = (max(1, min(side, round(cut_width * scale))), max(1, min(side, round(cut_height * scale))))
    return Placement((int(size[0]), int(size[1])), (left, top, cut_width, cut_height), scaled, side, flip, reduce)


def _reduction(scale: float, shortest: int) -> int:
    """The fraction at which an image may be decoded: never to less than it is scaled to anyway."""
    return next((r for r in REDUCTIONS if r * scale <= 1 and 2 * r <= shortest), 1)


def _squares(begin: int, length: int, reduce: int) -> tuple[int, int]:
    """Begin and length of the whole squares in a range of pixels, at least one if two of them would have room."""
    first = -(-begin // reduce) * reduce
    return first, (begin + length) // reduce * reduce - first


def _whole_pixels(size: Size, region: Region | None) -> tuple[int, int, int, int]:
    """left, top, width, height of a region widened to whole pixels inside the image, at least one of them."""
    width, height = int(size[0]), int(size[1])
    if region is None:
        return 0, 0, width, height
    left, top = min(max(0, int(np.floor(region[0]))), width - 1), min(max(0, int(np.floor(region[1]))), height - 1)
    right, bottom = min(width, int(np.ceil(region[2]))), min(height, int(np.ceil(region[3])))
    return left, top, max(1, right - left), max(1, bottom - top)


def colour_jitter(strength: float, rng: np.random.Generator) -> Callable[[Tensor], Tensor]:
    """The colour distortion of SimCLR v2 (arXiv 2006.10029) of images (3, H, W) uint8, drawn by lot now."""
    steps: list[Callable[[Tensor], Tensor]] = []
    if strength > 0 and rng.random() < 0.8:
        spread = SIMCLR_STRENGTH * strength
        brightness, contrast, saturation = rng.uniform(max(0.0, 1 - spread), 1 + spread, 3).tolist()
        hue = float(rng.uniform(-spread / 4, spread / 4))
        distortions: list[Callable[[Tensor], Tensor]] = [
            lambda x: F.adjust_brightness(x, brightness),
            lambda x: F.adjust_contrast(x, contrast),
            lambda x: F.adjust_saturation(x, saturation),
            lambda x: F.adjust_hue(x, hue),
        ]
        steps += [distortions[i] for i in rng.permutation(len(distortions))]
    if strength > 0 and rng.random() < 0.2:
        steps.append(lambda x: F.rgb_to_grayscale(x, num_output_channels=3))

    def change(pixels: Tensor) -> Tensor:
        for step in steps:
            pixels = step(pixels)
        return pixels

    return change
