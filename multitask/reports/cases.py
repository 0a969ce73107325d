"""Pictures of cases: the truth on the left, the answer on the right, cut out where there is something to see."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from ..annotations import Annotation
from ..draw import Picture
from ..errors import DataError
from ..example import Example
from ..figures import Case
from ..geometry import FloatArray, move
from .words import LONGEST_SENTENCE, clipped

Images = Callable[[int | str], Example]  # by id; raises KeyError where there is none
Window = tuple[float, float, float, float]  # left, top, right, bottom in pixels of the image

PANE = 316  # pixels of the longer side of one half
GAP, HEAD = 4, 24  # pixels between the halves, and above them for what they are
DARK, TRUTH, ANSWER = (38, 38, 38), (0, 110, 80), (0, 90, 150)  # behind all, and behind the names of the halves
FINE = 2  # drawn so many times as large, then made smaller: lines become smooth
CONTEXT, LEAST_CONTEXT = 0.5, 48  # around a region on each side: a share of its longer side, in pixels at least
CORNER = 10  # pixels of the lines that mark the corners of the region
LONGEST_LABEL = 24
MOST_LINES = 6  # of text on one side


@dataclass(frozen=True)
class Shown:
    """A case that has been looked at."""

    words: str
    where: str  # which image
    picture: Image.Image | None = None
    truth: list[str] = field(default_factory=list)  # what is not drawn: captions, say
    answer: list[str] = field(default_factory=list)
    fault: str = ""  # why there is no picture


def look(case: Case, images: Images) -> Shown:
    """The picture of a case; where the image cannot be read, a sentence about that."""
    words, where = clipped(case.words, LONGEST_SENTENCE), f"image {clipped(str(case.image))}"
    try:
        example = images(case.image)
        pixels = example.load()
    except KeyError:
        return Shown(words, where, fault="The image is not in the data set.")
    except DataError as error:
        return Shown(words, where, fault=f"The image cannot be read: {clipped(str(error), LONGEST_SENTENCE)}")
    scene = _Scene.of(pixels, case.region_xyxy)
    truth, answer = scene.pane(case.truth), scene.pane(case.answer)
    alike = truth.image.tobytes() == answer.image.tobytes() and bool(truth.lines or answer.lines)
    picture = truth.small() if alike else _beside(truth.small(), answer.small())
    file = clipped(example.file, LONGEST_SENTENCE)
    return Shown(words, f"{where}, {file}", picture, _texts(truth.lines), _texts(answer.lines))


def jpeg(picture: Image.Image, scale: float = 1.0, quality: int = 85) -> bytes:
    """The picture at a share of its size; in good quality thin coloured lines have their colour in every pixel."""
    content = BytesIO()
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    smaller = picture if scale == 1 else picture.resize(size, Image.Resampling.LANCZOS)
    smaller.save(content, format="JPEG", quality=quality, subsampling=0 if quality > 50 else 2, optimize=True)
    return content.getvalue()


class _Pane(Picture):
    """Print and lines that can be read when the picture is small."""

    def __init__(self, image: NDArray[np.uint8]) -> None:
        super().__init__(image)
        self.line, self.text_size = 5 * FINE // 2, 17 * FINE
        self.font = ImageFont.load_default(size=self.text_size)

    def tag(self, xy: FloatArray, label: str, score: float) -> None:
        super().tag(xy, clipped(label, LONGEST_LABEL), score)

    def small(self) -> Image.Image:
        """The picture in its final size."""
        return self.image.reduce(FINE)

    def mark(self, xyxy: FloatArray) -> None:
        """Corners a little outside of a region, white on black."""
        grown = xyxy + FINE * np.array([-5, -5, 5, 5])
        (left, top), (right, bottom) = grown.reshape(2, 2).tolist()
        for colour, width in (((0, 0, 0), 4 * FINE), ((255, 255, 255), 2 * FINE)):
            for x, inward in ((left, 1), (right, -1)):
                for y, down in ((top, 1), (bottom, -1)):
                    corner = ((x, y + down * CORNER * FINE), (x, y), (x + inward * CORNER * FINE, y))
                    self.pen.line(corner, fill=colour, width=width, joint="curve")


@dataclass(frozen=True)
class _Scene:
    """The part of an image that is shown, FINE times as large as in the end."""

    image: NDArray[np.uint8]  # (H, W, 3)
    matrix: FloatArray  # (3, 3) from pixels of the whole image
    region: FloatArray | None  # (4,) xyxy, to be marked

    @classmethod
    def of(cls, pixels: NDArray[np.uint8], region: Window | None) -> _Scene:
        left, top, right, bottom = window = _window(region, (pixels.shape[1], pixels.shape[0]))
        scale = FINE * PANE / max(right - left, bottom - top)
        size = (max(1, round((right - left) * scale)), max(1, round((bottom - top) * scale)))
        cut = Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS, box=window, reducing_gap=2.0)
        matrix = np.array([[scale, 0, -left * scale], [0, scale, -top * scale], [0, 0, 1]])
        moved = None if region is None else move(np.array(region).reshape(2, 2), matrix).reshape(-1)
        return cls(np.asarray(cut), matrix, moved)

    def pane(self, annotations: Sequence[Annotation]) -> _Pane:
        """With annotations of the whole image."""
        pane = _Pane(self.image)
        if self.region is not None:
            pane.mark(self.region)
        for annotation in annotations:
            annotation.warp(self.matrix, pane.image.size).draw(pane)
        return pane


def _window(region: Window | None, size: tuple[int, int]) -> Window:
    """A square around the region, moved and cut to lie inside an image of `size`; the whole image without one."""
    width, height = size
    if region is None:
        return 0, 0, width, height
    left, top, right, bottom = region
    longer = max(right - left, bottom - top)
    side = longer + 2 * max(LEAST_CONTEXT, CONTEXT * longer)
    wide, high = min(side, width), min(side, height)
    x = min(max(0.0, (left + right - wide) / 2), width - wide)
    y = min(max(0.0, (top + bottom - high) / 2), height - high)
    return x, y, x + wide, y + high


def _beside(truth: Image.Image, answer: Image.Image) -> Image.Image:
    sheet = Image.new("RGB", (truth.width + GAP + answer.width, HEAD + truth.height), DARK)
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=16)
    halves = ((0, "truth", TRUTH, truth), (truth.width + GAP, "answer", ANSWER, answer))
    for left, words, colour, half in halves:
        sheet.paste(half, (left, HEAD))
        pen.rectangle((left, 0, left + half.width - 1, HEAD - 1), fill=colour)
        pen.text((left + 6, 2), words, fill="white", font=font)
    return sheet


def _texts(lines: Sequence[str]) -> list[str]:
    more = [f"… and {len(lines) - MOST_LINES} more"] if len(lines) > MOST_LINES else []
    return [clipped(line, LONGEST_SENTENCE) for line in lines[:MOST_LINES]] + more
