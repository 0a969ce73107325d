"""`mtp data show`: pictures as training shows them, with what they are annotated with, on one sheet."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ...annotations import Annotation
from ...draw import SMALLEST_SIDE, draw
from ...errors import DataError
from ..dataset import Dataset
from ..groups import Group, Look
from ..sights import Sight, sights

log = logging.getLogger(__name__)
COLUMNS = 4
MOST_VIEWS = 3  # of one image in one look
TITLE, TEXT = 24, 16  # heights in pixels
GAP = 8


@dataclass(frozen=True)
class Tile:
    """One view with its truth drawn in, and words on where it comes from."""

    title: str
    picture: Image.Image


def tiles(dataset: Dataset, groups: Sequence[Group], side: int, count: int, seed: int) -> list[Tile]:
    """Views of images chosen by chance, as many of each look. Raises DataError where no image has one."""
    looks = [(look, group) for group in groups for look in group.looks]
    shares = [count // len(looks) + (number < count % len(looks)) for number in range(len(looks))]
    found = [
        tile
        for (look, group), share in zip(looks, shares, strict=True)
        for tile in islice(_views(dataset, group, look, side, seed), share)
    ]
    if not found:
        raise DataError(f"{dataset.info.name}: no image could be shown")
    return found


def _views(dataset: Dataset, group: Group, look: Look, side: int, seed: int) -> Iterator[Tile]:
    names = ", ".join(task.name for task in look)
    rng = np.random.default_rng([seed, zlib.crc32(names.encode())])
    for i in rng.permutation(group.positions).tolist():
        example = dataset[i]
        try:
            pixels = example.load()
        except DataError as error:
            log.warning("skipped: %s", error)
            continue
        for number, sight in enumerate(islice(sights(look, example, side, rng), MOST_VIEWS), 1):
            picture = _drawn(sight, sight.render(pixels).permute(1, 2, 0).numpy())
            yield Tile(f"{example.file}: {names}, view {number}", picture)


def _drawn(sight: Sight, image: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> Image.Image:
    """The input with what a perfect answer would hold."""
    side = image.shape[0]
    enlarge = np.diag([side, side, 1.0])
    known = (annotation.answerable() for annotation in sight.example.annotations.values())
    shown: list[Annotation] = [annotation.warp(enlarge, (side, side)) for annotation in known]
    return draw(np.ascontiguousarray(image), shown)


def contact_sheet(found: Sequence[Tile]) -> Image.Image:
    """The tiles in rows, each below its title."""
    width = max(tile.picture.width for tile in found) + GAP
    rows = [found[begin : begin + COLUMNS] for begin in range(0, len(found), COLUMNS)]
    heights = [TITLE + GAP + max(tile.picture.height for tile in row) for row in rows]
    sheet = Image.new("RGB", (width * min(COLUMNS, len(found)) + GAP, sum(heights) + GAP), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=TEXT)
    top = GAP
    for row, height in zip(rows, heights, strict=True):
        for column, tile in enumerate(row):
            left = GAP + width * column
            pen.text((left, top), _fitted(tile.title, font, SMALLEST_SIDE), fill="black", font=font)
            sheet.paste(tile.picture, (left, top + TITLE))
        top += height
    return sheet


def _fitted(title: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    """The end of a title that is too long, and no character that is not to be seen."""
    line = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in title)
    short = line
    while font.getlength(short) > width and len(line) > 1:
        line = line[1:]
        short = f"...{line}"
    return short
