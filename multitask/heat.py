"""Pictures of what weight each place of an image has: panels side by side, bright where there is much."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from .geometry import FloatArray

PANEL = 256  # pixels of the longer side of a panel
MOST_PANELS = 64
LEAST_WIDTH = 128  # pixels of a panel, so that its title has room
TEXT, MARGIN = 14, 6  # pixels
# Evenly brighter to the eye from black over red to yellow, and told apart by the colour-blind.
COLOURS = ((0, 0, 4), (51, 10, 95), (120, 28, 109), (187, 55, 84), (237, 105, 37), (252, 180, 26), (252, 255, 164))

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


class Panel(NamedTuple):
    """One map over the image."""

    title: str
    heat: FloatArray  # (H, W) as `panel_size` says, not negative


def panel_size(size: tuple[int, int]) -> tuple[int, int]:
    """(width, height) in pixels of the panels of an image of `size`."""
    scale = PANEL / max(size)
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def draw_panels(
    image: NDArray[np.uint8], title: str, panels: Sequence[Panel], box: FloatArray | None = None
) -> Image.Image:
    """The image (H, W, 3) uint8 as it is, then once for each panel, row by row: the first MOST_PANELS of them.

    The highest heat of each stands beside its title. `box` (4,) xyxy, in pixels of the image, is drawn on all.
    """
    height, width = image.shape[:2]
    small = Image.fromarray(image).resize(panel_size((width, height)), Image.Resampling.LANCZOS, reducing_gap=2)
    frame = None if box is None else box * ([small.width / width, small.height / height] * 2)
    shown = panels[:MOST_PANELS]
    left_out = f"{len(shown)} of {len(panels)}" if len(panels) > len(shown) else ""
    tiles = [_tile(small, title, left_out, frame, "red")]
    tiles += [_tile(_lit(small, p.heat), p.title, f"{p.heat.max():.1f} x", frame, "white") for p in shown]
    return _grid(tiles)


def _lit(small: Image.Image, heat: FloatArray) -> Image.Image:
    """The image in dark grey under the colours of the heat, the most of which is brightest."""
    level, steps = heat / max(heat.max(), 1e-12), np.linspace(0, 1, len(COLOURS))
    colours = np.stack([np.interp(level, steps, channel) for channel in zip(*COLOURS, strict=True)], axis=2)
    grey = 0.6 * np.asarray(small.convert("L"), dtype=np.float64)
    cover = 0.2 + 0.6 * level[..., None]
    return Image.fromarray(((1 - cover) * grey[..., None] + cover * colours).astype(np.uint8))


def _tile(picture: Image.Image, title: str, number: str, frame: FloatArray | None, colour: str) -> Image.Image:
    """A panel with a frame (4,) xyxy in its pixels, and above it its title to the left and a number to the right."""
    font, left = ImageFont.load_default(size=TEXT), max(picture.width, LEAST_WIDTH)
    tile = Image.new("RGB", (left + MARGIN, picture.height + TEXT + 2 * MARGIN), "white")
    tile.paste(picture, (0, TEXT + MARGIN))
    pen = ImageDraw.Draw(tile)
    room = left - font.getlength(number)
    pen.text((room, 0), number, fill="black", font=font)
    pen.text((0, 0), _fitting(title, font, room - MARGIN), fill="black", font=font)
    if frame is not None:
        x0, y0, x1, y1 = (frame + [0, TEXT + MARGIN] * 2).tolist()
        pen.rectangle((x0, y0, max(x0, x1), max(y0, y1)), outline=colour, width=2)
    return tile


def _fitting(title: str, font: Font, width: float) -> str:
    """As much of the title as has room; a character that cannot be printed becomes a question mark."""
    words = "".join(c if c.isprintable() else "?" for c in title)
    while words and font.getlength(words) > width:
        words = words[:-2] + "…" if len(words) > 2 else ""
    return words


def _grid(tiles: Sequence[Image.Image]) -> Image.Image:
    """Equal tiles row by row, about as many across as down."""
    columns = math.ceil(math.sqrt(len(tiles)))
    width, height = tiles[0].size
    sheet = Image.new("RGB", (width * columns, height * -(-len(tiles) // columns)), "white")
    for number, tile in enumerate(tiles):
        sheet.paste(tile, (number % columns * width, number // columns * height))
    return sheet
