"""The pictures of a gallery on one sheet, each above its words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from PIL import Image, ImageDraw, ImageFont

from .cases import Shown, jpeg
from .words import clipped

MOST = 24  # pictures of a sheet
COLUMNS = 2
WIDTH, GAP = 640, 16  # pixels
TEXT, STEP = 17, 24  # height of letters and of lines
LONGEST_LINES = 3  # of the words below a picture

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def contact_sheet(title: str, shown: Sequence[Shown]) -> bytes:
    """A JPEG of the first pictures below a title."""
    font = ImageFont.load_default(size=TEXT)
    tiles = [_tile(one, font) for one in shown[:MOST]]
    rows = [tiles[begin : begin + COLUMNS] for begin in range(0, len(tiles), COLUMNS)]
    heights = [max(tile.height for tile in row) + GAP for row in rows]
    width = GAP + min(COLUMNS, max(1, len(tiles))) * (WIDTH + GAP)
    sheet = Image.new("RGB", (width, 2 * STEP + GAP + sum(heights)), "white")
    ImageDraw.Draw(sheet).text((GAP, STEP // 2), clipped(title), fill="black", font=ImageFont.load_default(size=22))
    top = 2 * STEP
    for row, height in zip(rows, heights, strict=True):
        for column, tile in enumerate(row):
            sheet.paste(tile, (GAP + column * (WIDTH + GAP), top))
        top += height
    return jpeg(sheet)


def _tile(one: Shown, font: Font) -> Image.Image:
    lines = [
        one.words,
        *(f"truth: {text}" for text in one.truth),
        *(f"answer: {text}" for text in one.answer),
        one.fault,
    ]
    rows = [row for line in lines if line for row in _wrapped(line, font)]
    height = one.picture.height if one.picture else 0
    tile = Image.new("RGB", (WIDTH, height + STEP * len(rows) + 4), "white")
    if one.picture:
        tile.paste(one.picture)
    for number, row in enumerate(rows):
        ImageDraw.Draw(tile).text((0, height + 4 + STEP * number), row, fill="black", font=font)
    return tile


def _wrapped(line: str, font: Font) -> Iterator[str]:
    """As many rows as have room."""
    for _ in range(LONGEST_LINES):
        row = _fitting(line, font)
        if row:
            yield row
        line = line[len(row) :].lstrip()


def _fitting(line: str, font: Font) -> str:
    """The beginning of a line that is as long as a row, to the end of a word where there is one."""
    if font.getlength(line) <= WIDTH:
        return line
    most = next(n for n in range(len(line), 0, -1) if font.getlength(line[:n]) <= WIDTH)
    return line[: line.rfind(" ", 0, most + 1)] if " " in line[: most + 1].lstrip() else line[:most]
