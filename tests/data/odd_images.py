"""Image files of every odd sort, and what reading them must give: `odd_images(folder)` writes them all."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms

Pixel = tuple[int, int]
Colour = tuple[int, int, int]
SIZE = (48, 32)  # of most pictures: quarters of red, green, blue and yellow
RED, GREEN, BLUE, YELLOW = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0)
WHITE, BLACK = (255, 255, 255), (0, 0, 0)
QUARTERS: dict[Pixel, Colour] = {(12, 8): RED, (36, 8): GREEN, (12, 24): BLUE, (36, 24): YELLOW}
LOSSY = 12  # what a lossy format may change of a flat colour
TOO_LARGE = "more than 100 million"
UNKNOWN = "is not an image that can be read"
TURNED = (".jpg", ".png", ".webp", ".tif", ".avif")  # formats that know an orientation


@dataclass(frozen=True)
class Shown:
    """An image that is read, and some of its pixels (x, y)."""

    pixels: Mapping[Pixel, Colour] = field(default_factory=lambda: QUARTERS)
    size: Pixel = SIZE
    tolerance: int = 0


@dataclass(frozen=True)
class Refused:
    """A file that is refused with a DataError that names it and has these words."""

    words: str = ""


Expected = Shown | Refused


def odd_images(folder: Path) -> dict[str, Expected]:
    """Write the files below `folder`; what is expected of each, by its name."""
    folder.mkdir(parents=True, exist_ok=True)
    found: dict[str, Expected] = {}
    for make in (orientations, depths, colours, transparent, animated, shapes, jpegs, tiffs, bitmaps, names):
        for name, content, expected in make():
            (folder / name).write_bytes(content)
            found[name] = expected
    for make in (large, damaged, foreign, cut):
        for name, content, words in make():
            (folder / name).write_bytes(content)
            found[name] = Refused(words)
    return found | no_files(folder)


def quarters() -> np.ndarray:
    array = np.zeros((SIZE[1], SIZE[0], 3), dtype=np.uint8)
    for (x, y), colour in QUARTERS.items():
        array[y - 8 : y + 8, x - 12 : x + 12] = colour
    return array


def picture() -> Image.Image:
    return Image.fromarray(quarters())


def saved(image: Image.Image, form: str, **options: object) -> bytes:
    stream = BytesIO()
    image.save(stream, {"jpg": "JPEG", "tif": "TIFF", "jp2": "JPEG2000"}.get(form, form.upper()), **options)
    return stream.getvalue()


def stored(array: np.ndarray, orientation: int) -> np.ndarray:
    """The pixels that, shown with this EXIF orientation, look like `array` (written from the EXIF table)."""
    across, down = slice(None, None, -1), slice(None)
    return {
        1: array,
        2: array[:, across],
        3: array[across, across],
        4: array[across],
        5: array.transpose(1, 0, 2),
        6: array.transpose(1, 0, 2)[across, down],
        7: array.transpose(1, 0, 2)[across, across],
        8: array.transpose(1, 0, 2)[:, across],
    }[orientation]


def exif(kind: int, value: int) -> bytes:
    """A block with the orientation alone, in a field of some TIFF type: 3 is the right one."""
    return b"Exif\0\0II*\0" + struct.pack("<IHHHII", 8, 1, 0x0112, kind, 1, value) + bytes(4)


def turned(array: np.ndarray, orientation: int, form: str) -> bytes:
    """A file of `array` that is stored turned, and says so."""
    lossless = {"webp": {"lossless": True}, "jpg": {"quality": 95, "subsampling": 0}}
    image = Image.fromarray(np.ascontiguousarray(stored(array, orientation)))
    return saved(image, form, exif=exif(3, orientation), **lossless.get(form, {}))


def png(width: int, height: int, depth: int, colour: int, data: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    """`data`: rows, each after its filter byte. `chunks` stand before them."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(data)), (b"IEND", b"")]
    body = b"".join(struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in parts)
    return b"\x89PNG\r\n\x1a\n" + body


def tiff(width: int, height: int, data: bytes, order: str = "<", following: int = 0, **changed: object) -> bytes:
    """One uncompressed strip; `changed` by tag number as `t258=(16,)`."""
    tags: dict[int, tuple[int, ...]] = {
        256: (width,), 257: (height,), 258: (8,), 259: (1,), 262: (1,), 273: (0,), 277: (1,), 278: (height,),
        279: (len(data),),
    }  # fmt: skip
    tags |= {int(name[1:]): values for name, values in changed.items()}  # type: ignore[misc]
    extra = 8 + 2 + 12 * len(tags) + 4
    out_of_line = b""
    entries = b""
    for tag, values in sorted(tags.items()):
        packed = struct.pack(f"{order}{len(values)}I", *values)
        if len(packed) > 4:
            out_of_line, packed = out_of_line + packed, struct.pack(order + "I", extra + len(out_of_line))
        entries += struct.pack(order + "HHI", tag, 4, len(values)) + packed
    strip = struct.pack(order + "HHII", 273, 4, 1, extra + len(out_of_line))
    entries = entries.replace(struct.pack(order + "HHII", 273, 4, 1, 0), strip)
    head = {"<": b"II", ">": b"MM"}[order] + struct.pack(order + "HI", 42, 8)
    head += struct.pack(order + "H", len(tags))
    return head + entries + struct.pack(order + "I", following) + out_of_line + data


def ppm(kind: str, width: int, height: int, most: int, data: bytes) -> bytes:
    return f"{kind} {width} {height} {most}\n".encode() + data


Readable = Iterator[tuple[str, bytes, Expected]]
Unreadable = Iterator[tuple[str, bytes, str]]


def orientations() -> Readable:
    for form in TURNED:
        for orientation in range(1, 9):
            content = turned(quarters(), orientation, form[1:])
            yield f"turned-{orientation}{form}", content, Shown(tolerance=LOSSY)
    for name, kind, value in (("nought", 3, 0), ("nine", 3, 9), ("words", 2, 0x363636), ("fraction", 5, 6)):
        block = exif(kind, value)
        yield f"orientation-{name}.jpg", saved(picture(), "jpg", quality=95, exif=block), Shown(tolerance=LOSSY)
    garbage = saved(picture(), "jpg", exif=b"Exif\0\0garbage")
    yield "exif-garbage.jpg", garbage, Shown(tolerance=LOSSY)
    late = saved(Image.fromarray(np.ascontiguousarray(stored(quarters(), 6))), "png")
    block = exif(3, 6)[6:]
    chunk = struct.pack(">I", len(block)) + b"eXIf" + block + struct.pack(">I", zlib.crc32(b"eXIf" + block))
    yield "exif-behind-pixels.png", late[:-12] + chunk + late[-12:], Shown()


def grey_steps(dtype: str) -> bytes:
    """Two pixels: a half of full scale, a fifth of it."""
    return np.array([0x8000, 0x3333], dtype=dtype).tobytes()


HALF_AND_FIFTH = Shown({(0, 0): (128,) * 3, (1, 0): (51,) * 3}, (2, 1), 1)


def depths() -> Readable:
    grey = HALF_AND_FIFTH
    yield "grey16.png", png(2, 1, 16, 0, b"\0" + grey_steps(">u2")), grey
    clear = Shown({**grey.pixels, (1, 0): WHITE}, (2, 1), 1)
    yield "grey16-alpha.png", png(2, 1, 16, 4, b"\0\x80\0\xff\xff\x33\x33\0\0"), clear
    colours16 = np.array([[0xFFFF, 0x8000, 0x00FF], [0x0101, 0x3333, 0xFE00]], dtype=">u2")
    colour = Shown({(0, 0): (255, 128, 1), (1, 0): (1, 51, 254)}, (2, 1), 1)
    yield "colour16.png", png(2, 1, 16, 2, b"\0" + colours16.tobytes()), colour
    with_alpha = np.insert(colours16, 3, 0xFFFF, axis=1)
    yield "colour16-alpha.png", png(2, 1, 16, 6, b"\0" + with_alpha.tobytes()), colour
    yield "colour16.ppm", ppm("P6", 2, 1, 65535, colours16.tobytes()), colour
    yield "grey16.pgm", ppm("P5", 2, 1, 65535, grey_steps(">u2")), grey
    yield "grey10.pgm", ppm("P5", 2, 1, 1023, np.array([512, 205], dtype=">u2").tobytes()), grey
    for order in "<>":
        name = {"<": "little", ">": "big"}[order]
        yield f"grey16-{name}.tif", tiff(2, 1, grey_steps(order + "u2"), order, t258=(16,)), grey
        words = colours16.astype(order + "u2").tobytes()
        yield f"colour16-{name}.tif", tiff(2, 1, words, order, t258=(16,) * 3, t262=(2,), t277=(3,)), colour
    inverted = tiff(2, 1, np.array([0x7FFF, 0xCCCC], dtype="<u2").tobytes(), t258=(16,), t262=(0,))
    yield "grey16-white-is-zero.tif", inverted, grey
    yield "grey12.tif", tiff(2, 1, bytes([0x80, 0x03, 0x33]), t258=(12,)), grey
    jp2 = saved(Image.fromarray(np.frombuffer(grey_steps("<u2") * 32, dtype=np.uint16).reshape(32, 2)), "jp2")
    yield "grey16.jp2", jp2, Shown(grey.pixels, (2, 32), 1)
    for depth, data in {1: 0b10 << 6, 2: 0b1001 << 4, 4: 0x83}.items():
        shades = {1: (255, 0), 2: (170, 85), 4: (136, 51)}[depth]
        shown = Shown({(i, 0): (shade,) * 3 for i, shade in enumerate(shades)}, (2, 1))
        yield f"grey{depth}.png", png(2, 1, depth, 0, bytes([0, data])), shown
    black_and_white = Shown({(0, 0): WHITE, (1, 0): BLACK}, (2, 1))
    yield "bits.tif", tiff(2, 1, bytes([0b10 << 6]), t258=(1,)), black_and_white
    yield "bits-white-is-zero.tif", tiff(2, 1, bytes([0b01 << 6]), t258=(1,), t262=(0,)), black_and_white
    yield "bits.pbm", b"P4 2 1\n" + bytes([0b01 << 6]), black_and_white


def cmyk(colour: Colour) -> Image.Image:
    return Image.new("CMYK", (16, 16), (*(255 - value for value in colour), 0))


def ycck(colour: Colour) -> bytes:
    """Pillow writes CMYK alone: give it Y, Cb and Cr of the inks as inverted inks, then say so in Adobe's marker."""
    inks = tuple(255 - value for value in colour)
    y, cb, cr = Image.new("RGB", (1, 1), inks).convert("YCbCr").getpixel((0, 0))
    content = saved(Image.new("CMYK", (16, 16), (255 - y, 255 - cb, 255 - cr, 0)), "jpg", quality=95, subsampling=0)
    at = content.index(b"Adobe") + 11
    return content[:at] + b"\2" + content[at + 1 :]


def colours() -> Readable:
    orange = (230, 120, 40)
    flat = Shown({(8, 8): orange}, (16, 16), LOSSY)
    yield "cmyk.jpg", saved(cmyk(orange), "jpg", quality=95), flat
    yield "ycck.jpg", ycck(orange), flat
    yield "cmyk.tif", saved(cmyk(orange), "tif"), flat
    yield "ycbcr.tif", saved(Image.new("RGB", (16, 16), orange).convert("YCbCr"), "tif"), flat
    to_lab = ImageCms.buildTransform(ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB")
    lab = ImageCms.applyTransform(Image.new("RGB", (16, 16), orange), to_lab)
    yield "lab.tif", saved(lab, "tif"), flat
    yield "grey.jpg", saved(Image.new("L", (16, 16), 77), "jpg"), Shown({(8, 8): (77,) * 3}, (16, 16), 2)
    yield "palette.png", saved(picture().convert("P", palette=Image.Palette.ADAPTIVE), "png"), Shown()
    yield "palette.gif", saved(picture(), "gif"), Shown(tolerance=2)
    yield "palette.bmp", saved(picture().convert("P", palette=Image.Palette.ADAPTIVE), "bmp"), Shown()
    yield "palette.tif", saved(picture().convert("P", palette=Image.Palette.ADAPTIVE), "tif"), Shown()


def transparent() -> Readable:
    palette = Image.new("P", (2, 1))
    palette.putpalette([10, 20, 30, 200, 100, 50])
    palette.putdata([0, 1])
    first = Shown({(0, 0): WHITE, (1, 0): (200, 100, 50)}, (2, 1))
    yield "palette-index.png", saved(palette, "png", transparency=0), first
    yield "palette-index.gif", saved(palette, "gif", transparency=0), first
    half = Shown({(0, 0): (132, 137, 142), (1, 0): (200, 100, 50)}, (2, 1), 1)
    yield "palette-alpha.png", saved(palette, "png", transparency=bytes([128, 255])), half
    key = (b"tRNS", b"\0\x21")
    yield "grey-key.png", png(2, 1, 8, 0, b"\0\x21\x63", key), Shown({(0, 0): WHITE, (1, 0): (99,) * 3}, (2, 1))
    key = (b"tRNS", b"\0\x0a\0\x14\0\x1e")
    rows = b"\0" + bytes([10, 20, 30, 200, 100, 50])
    yield "colour-key.png", png(2, 1, 8, 2, rows, key), first
    key = (b"tRNS", b"\x80\0")
    first_grey = Shown({(0, 0): WHITE, (1, 0): (51,) * 3}, (2, 1), 1)
    yield "grey16-key.png", png(2, 1, 16, 0, b"\0" + grey_steps(">u2"), key), first_grey
    clear = Image.new("RGBA", (16, 16), (255, 0, 0, 128))
    clear.paste((0, 0, 255, 0), (8, 0, 16, 16))
    pink = Shown({(2, 8): (255, 127, 127), (13, 8): WHITE}, (16, 16), 1)
    for form in ("png", "tif", "jp2"):
        yield f"alpha.{form}", saved(clear, form), pink
    yield "alpha.webp", saved(clear, "webp", lossless=True), pink
    yield "alpha.avif", saved(clear, "avif", quality=100), Shown(pink.pixels, (16, 16), LOSSY)
    yield "grey-alpha.png", saved(clear.convert("LA"), "png"), Shown({(2, 8): (165,) * 3, (13, 8): WHITE}, (16, 16), 1)


def animated() -> Readable:
    frames = [Image.new("RGB", SIZE, colour) for colour in (GREEN, BLUE)]
    for form in ("gif", "png", "tif"):
        yield f"frames.{form}", saved(picture(), form, save_all=True, append_images=frames), Shown(tolerance=2)
    moving = saved(picture(), "webp", save_all=True, append_images=frames, lossless=True)
    yield "frames.webp", moving, Shown()
    yield "frames.avif", saved(picture(), "avif", save_all=True, append_images=frames), Shown(tolerance=LOSSY)
    yield "frames-mpo.jpg", saved(picture(), "mpo", save_all=True, append_images=frames), Shown(tolerance=LOSSY)
    small = saved(Image.new("P", (4, 4)), "gif")  # a frame of 4 pixels on a screen of 8 x 6, at (2, 1)
    at = small.index(b"\x2c")
    content = small[:6] + struct.pack("<HH", 8, 6) + small[10 : at + 1] + struct.pack("<HH", 2, 1) + small[at + 5 :]
    yield "frame-inside-screen.gif", content, Shown({(3, 2): BLACK}, (8, 6))


def shapes() -> Readable:
    for form in ("png", "jpg", "gif", "bmp", "webp", "tif", "jp2", "avif", "ppm"):
        one = saved(Image.new("RGB", (1, 1), (9, 9, 9)), form)
        yield f"one-pixel.{form}", one, Shown({(0, 0): (9, 9, 9)}, (1, 1), LOSSY)
    for size in ((10_000, 10), (10, 10_000)):
        corner = {(size[0] - 1, size[1] - 1): (200, 100, 50)}
        for form in ("png", "jpg"):
            content = saved(Image.new("RGB", size, (200, 100, 50)), form)
            yield f"{size[0]}x{size[1]}.{form}", content, Shown(corner, size, LOSSY)


def jpegs() -> Readable:
    shown = Shown(tolerance=LOSSY)
    plain = saved(picture(), "jpg", quality=95)
    yield "progressive.jpg", saved(picture(), "jpg", quality=95, progressive=True), shown
    yield "restarts.jpg", saved(picture(), "jpg", quality=95, restart_marker_blocks=1), shown
    inks = Image.new("CMYK", (16, 8), (0, 255, 255, 0))
    inks.paste((255, 255, 0, 0), (0, 0, 8, 8))
    standing = Shown({(4, 4): BLUE, (4, 12): RED}, (8, 16), LOSSY)
    yield "cmyk-turned.jpg", saved(inks, "jpg", quality=95, subsampling=0, exif=exif(3, 6)), standing
    yield "bytes-behind.jpg", plain + bytes(5000), shown
    yield "comment.jpg", saved(picture(), "jpg", quality=95, comment=b"\x1b[31m" + b"x" * 9000), shown
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    yield "profile.jpg", saved(picture(), "jpg", quality=95, icc_profile=profile), shown
    yield "profile-garbage.jpg", saved(picture(), "jpg", quality=95, icc_profile=b"garbage"), shown


def tiffs() -> Readable:
    for compression in ("tiff_lzw", "tiff_adobe_deflate", "packbits"):
        yield f"{compression}.tif", saved(picture(), "tif", compression=compression), Shown()
    yield "jpeg-inside.tif", saved(picture(), "tif", compression="jpeg", quality=95), Shown(tolerance=LOSSY)
    yield "fax.tif", saved(Image.new("1", (16, 16), 1), "tif", compression="group4"), Shown({(8, 8): WHITE}, (16, 16))
    yield "big.tif", saved(picture(), "tif", big_tiff=True), Shown()
    loop = tiff(1, 1, b"\x4d", following=8)  # the next picture of the file is this one again
    grey = Shown({(0, 0): (77,) * 3}, (1, 1))
    yield "loop.tif", loop, grey
    counted = patched(tiff(1, 1, b"\x4d", t700=(1,) * 3), struct.pack("<HI", 4, 3), struct.pack("<HI", 4, 2**31))
    yield "far-too-many-values.tif", counted, grey


def bitmaps() -> Readable:
    rows = quarters()[::-1, :, ::-1]  # bottom row first, blue first
    size = struct.pack("<iiHH", *SIZE, 1, 24)
    header = lambda info, data: b"BM" + struct.pack("<IHHI", 54 + len(data), 0, 0, 54) + info + data  # noqa: E731
    info = struct.pack("<I", 40) + size + bytes(24)
    yield "plain.bmp", header(info, rows.tobytes()), Shown()
    info = struct.pack("<IiiHH", 40, SIZE[0], -SIZE[1], 1, 24) + bytes(24)
    yield "top-down.bmp", header(info, rows[::-1].tobytes()), Shown()
    words = (quarters()[::-1].astype(np.uint16) >> 3) @ np.array([1024, 32, 1], dtype=np.uint16)
    info = struct.pack("<IiiHH", 40, *SIZE, 1, 16) + bytes(24)
    yield "five-bits.bmp", header(info, words.astype("<u2").tobytes()), Shown()
    yield "whole.j2k", saved(picture(), "jp2", no_jp2=True), Shown(tolerance=1)
    yield "grey.jp2", saved(Image.new("L", (8, 8)), "jp2"), Shown({(4, 4): BLACK}, (8, 8))


def names() -> Readable:
    yield "png-called.jpg", saved(picture(), "png"), Shown()
    yield "jpg-called.png", saved(picture(), "jpg", quality=95), Shown(tolerance=LOSSY)
    yield "webp-called.gif", saved(picture(), "webp", lossless=True), Shown()
    yield "no-extension", saved(picture(), "png"), Shown()
    yield "SHOUTED.JPG", saved(picture(), "jpg", quality=95), Shown(tolerance=LOSSY)
    yield "spaces and ünïcödé 图.png", saved(picture(), "png"), Shown()


def patched(content: bytes, old: bytes, new: bytes) -> bytes:
    """The same with one place changed, which must be there."""
    assert len(old) == len(new) and content.count(old) >= 1
    return content.replace(old, new)


def large() -> Unreadable:
    """Small files that claim to be, or unpack to, more than is allowed."""
    for width, height in ((10_001, 10_000), (13_500, 13_500), (65_000, 65_000)):
        yield f"{width}x{height}.png", png(width, height, 1, 0, b""), TOO_LARGE
    gif = saved(Image.new("P", (4, 4)), "gif")
    yield "screen.gif", gif[:6] + struct.pack("<HH", 65535, 65535) + gif[10:], TOO_LARGE
    at = gif.index(b"\x2c") + 1
    yield "frame-far-away.gif", gif[:at] + struct.pack("<HH", 60000, 60000) + gif[at + 4 :], TOO_LARGE
    jpg = saved(picture(), "jpg")
    yield "large.jpg", patched(jpg, struct.pack(">HH", SIZE[1], SIZE[0]), struct.pack(">HH", 65000, 65000)), TOO_LARGE
    bmp = saved(picture(), "bmp")
    yield "large.bmp", patched(bmp, struct.pack("<ii", *SIZE), struct.pack("<ii", 60000, 60000)), TOO_LARGE
    yield "large.tif", tiff(60_000, 60_000, b""), TOO_LARGE
    yield "large.ppm", ppm("P6", 60_000, 60_000, 255, b""), TOO_LARGE
    webp = saved(picture(), "webp", lossless=True, exif=Image.Exif().tobytes() + b"x")
    canvas = (16_383).to_bytes(3, "little") * 2
    yield "canvas.webp", patched(webp, (47).to_bytes(3, "little") + (31).to_bytes(3, "little"), canvas), ""
    jp2 = saved(picture(), "jp2")
    box, claimed = struct.pack(">II", SIZE[1], SIZE[0]), struct.pack(">II", 60000, 60000)
    yield "box.jp2", jp2.replace(b"ihdr" + box, b"ihdr" + claimed), TOO_LARGE
    codestream = struct.pack(">II", *SIZE)
    yield "codestream.jp2", patched(jp2, codestream, claimed), ""
    yield "codestream.j2k", patched(saved(picture(), "jp2", no_jp2=True), codestream, claimed), TOO_LARGE
    avif = saved(picture(), "avif")
    yield "large.avif", patched(avif, codestream, claimed), ""
    text = b"k\0\0" + zlib.compress(b"a" * 20_000_000)
    yield "text.png", png(1, 1, 8, 0, b"\0\0", (b"zTXt", text)), ""
    text = b"k\0\1\0\0\0" + zlib.compress(b"a" * 20_000_000)
    yield "international-text.png", png(1, 1, 8, 0, b"\0\0", (b"iTXt", text)), ""


def damaged() -> Unreadable:
    yield "nothing.png", png(0, 5, 8, 0, b""), ""
    whole = saved(picture(), "png")
    at = whole.index(b"IDAT") + 8
    yield "checksum.png", whole[:at] + bytes([whole[at] ^ 255]) + whole[at + 1 :], ""
    yield "float.tif", saved(Image.new("F", (4, 4), 0.5), "tif"), "floating-point"
    yield "float.pfm", b"Pf 1 1 -1\n" + struct.pack("<f", 0.5), "floating-point"
    for name, value in {"small": 200, "wide": 70000, "negative": -5}.items():
        yield f"int32-{name}.tif", saved(Image.new("I", (4, 4), value), "tif"), "32-bit"
    yield "int16-signed.tif", tiff(2, 1, grey_steps("<u2"), t258=(16,), t339=(2,)), "32-bit"
    yield "lost.tif", tiff(1, 1, b"")[:4] + struct.pack("<I", 10**6), ""
    yield "headless.jpg", saved(picture(), "jpg")[2:], UNKNOWN


def foreign() -> Unreadable:
    yield "empty.jpg", b"", "is empty"
    yield "page.jpg", b"<!DOCTYPE html><html><body>404 Not Found</body></html>", "a web page"
    yield "drawing.png", b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>', "a web page"
    yield "pointer.jpg", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n", "Git LFS"
    yield "postscript.png", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", UNKNOWN
    yield "archive.jpg", b"PK\3\4" + bytes(60), UNKNOWN
    yield "apple.jpg", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(60), UNKNOWN
    yield "noughts.bmp", bytes(4096), UNKNOWN


def cut() -> Unreadable:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    for form in ("jpg", "png", "gif", "webp", "bmp", "tif", "ppm", "jp2", "avif"):
        whole = saved(noise, form)
        yield f"cut.{form}", whole[: len(whole) * 6 // 10], ""
    whole = saved(noise, "jpg", progressive=True)
    yield "cut-progressive.jpg", whole[: len(whole) * 6 // 10], ""
    whole = saved(noise, "tif", compression="tiff_lzw")
    yield "cut-lzw.tif", whole[: len(whole) * 6 // 10], ""


def no_files(folder: Path) -> dict[str, Expected]:
    """What is there under a name and is no file."""
    os.mkfifo(folder / "pipe.png")  # to open it would be to wait for a writer for ever
    (folder / "folder.png").mkdir()
    for name, target in {"dangling": "nowhere", "circle": "circle.png", "device": "/dev/zero"}.items():
        (folder / f"{name}.png").symlink_to(target)
    return {
        "pipe.png": Refused("is not a regular file"),
        "folder.png": Refused("is a folder"),
        "dangling.png": Refused("does not exist"),
        "circle.png": Refused("cannot be read"),
        "device.png": Refused("is not a regular file"),
        "nul\0byte.png": Refused("cannot be read"),
    }
