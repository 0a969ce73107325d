"""Pictures of answers: boxes, outlines, skeletons and sentences on an image."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from .annotations import Annotation
from .files import write_atomic
from .geometry import FloatArray
from .skeleton import Skeleton

# Twelve hues that stay apart for most kinds of colour vision, none of them near white or black.
PALETTE = (
    (230, 75, 53), (77, 187, 213), (0, 160, 135), (60, 84, 136), (243, 155, 127), (132, 145, 180),
    (145, 209, 194), (220, 0, 120), (126, 97, 72), (240, 190, 40), (120, 60, 180), (90, 170, 60),
)  # fmt: skip
SMALLEST_SIDE = 512  # smaller images are enlarged, so that labels can be read


def colour_of(label: str) -> tuple[int, int, int]:
    """The same colour for a label everywhere."""
    return PALETTE[zlib.crc32(label.encode()) % len(PALETTE)]


class Picture:
    """A canvas over an image (H, W, 3) uint8; coordinates are pixels of that image, whatever it is enlarged by."""

    def __init__(self, image: NDArray[np.uint8]) -> None:
        height, width = image.shape[:2]
        self.scale = max(1.0, SMALLEST_SIDE / max(height, width))
        size = (round(width * self.scale), round(height * self.scale))
        self.image = Image.fromarray(image).resize(size, Image.Resampling.LANCZOS)
        self.pen = ImageDraw.Draw(self.image, "RGBA")
        self.line = max(2, round(max(size) / 300))
        self.text_size = max(12, round(max(size) / 45))
        self.font = ImageFont.load_default(size=self.text_size)
        self.lines: list[str] = []

    def box(self, xyxy: FloatArray, label: str, score: float) -> None:
        colour = colour_of(label)
        left, top, right, bottom = (float(v) * self.scale for v in xyxy)
        self.pen.rectangle((left, top, max(left, right), max(top, bottom)), outline=colour, width=self.line)
        self.tag(xyxy[:2], label, score)

    def polygon(self, points: FloatArray, label: str) -> None:
        colour = colour_of(label)
        corners = [(float(x) * self.scale, float(y) * self.scale) for x, y in points]
        self.pen.polygon(corners, fill=(*colour, 70), outline=(*colour, 255), width=self.line)

    def skeleton(self, points: FloatArray, visible: NDArray[np.bool_], skeleton: Skeleton, label: str) -> None:
        colour = colour_of(label)
        dots = [(float(x) * self.scale, float(y) * self.scale) for x, y in points]
        for a, b in skeleton.edges:
            if visible[a] and visible[b]:
                self.pen.line((*dots[a], *dots[b]), fill=colour, width=self.line)
        for (x, y), seen in zip(dots, visible, strict=True):
            if seen:
                r = self.line * 1.5
                self.pen.ellipse((x - r, y - r, x + r, y + r), fill=colour, outline=(255, 255, 255))

    def tag(self, xy: FloatArray, label: str, score: float) -> None:
        """The label, with its score if that is not 1, above the point; below where there is no room."""
        colour, words = colour_of(label), label if score >= 1 else f"{label} {score:.2f}"
        left, top, right, bottom = self.pen.textbbox((0, 0), words, font=self.font)
        width, height = right - left + 6, bottom - top + 6
        x, y = (float(v) * self.scale for v in xy)
        x = min(max(0.0, x), max(0.0, self.image.width - width))
        y = y - height if y >= height else min(y, max(0.0, self.image.height - height))
        self.pen.rectangle((x, y, x + width, y + height), fill=(*colour, 220))
        ink = (0, 0, 0) if sum(colour) > 390 else (255, 255, 255)
        self.pen.text((x + 3 - left, y + 3 - top), words, fill=ink, font=self.font)

    def text(self, line: str) -> None:
        self.lines.append(line)

    def finish(self) -> Image.Image:
        """The picture, with the lines of text below it."""
        rows = [row for line in self.lines for row in self._wrapped(line)]
        if not rows:
            return self.image
        step = round(self.text_size * 1.4)
        sheet = Image.new("RGB", (self.image.width, self.image.height + step * len(rows) + step // 2), "white")
        sheet.paste(self.image)
        pen = ImageDraw.Draw(sheet)
        for number, row in enumerate(rows):
            pen.text((step // 2, self.image.height + step // 4 + step * number), row, fill="black", font=self.font)
        return sheet

    def _wrapped(self, line: str) -> list[str]:
        limit, rows = self.image.width - self.text_size, [""]
        for word in line.split():
            longer = f"{rows[-1]} {word}".strip()
            if rows[-1] and self.font.getlength(longer) > limit:
                rows.append(word)
            else:
                rows[-1] = longer
        return rows


def draw(image: NDArray[np.uint8], annotations: Sequence[Annotation]) -> Image.Image:
    """The image (H, W, 3) uint8 with each annotation shown; coordinates are its pixels."""
    picture = Picture(image)
    for annotation in annotations:
        annotation.draw(picture)
    return picture.finish()


def save_picture(picture: Image.Image, path: Path) -> None:
    """Write a picture whole or not at all: as JPEG where `path` says .jpg, else as PNG."""
    content = BytesIO()
    if path.suffix == ".jpg":  # thin coloured lines want their colour in every pixel
        picture.convert("RGB").save(content, format="JPEG", quality=90, subsampling=0)
    else:  # a quarter of the usual time, for a file up to a quarter larger
        picture.save(content, format="PNG", compress_level=1, compress_type=zlib.Z_RLE)
    write_atomic(path, content.getvalue())
