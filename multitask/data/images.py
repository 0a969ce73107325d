"""Reading images: regular files of a few formats, not too large, upright, as RGB.

`upright` is as displayed: the EXIF orientation is applied. Transparency is shown on white, of an animation the first
frame counts, 16 bits become 8.
"""

from __future__ import annotations

import glob
import os
import struct
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, UnidentifiedImageError
from PIL.Image import Transpose
from PIL.TiffImagePlugin import BITSPERSAMPLE, PHOTOMETRIC_INTERPRETATION

from ..errors import DataError, nearest
from .checks import MAX_PIXELS, Size
from .paths import file_problem

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "JPEG2000", "AVIF")  # none runs another program
EXTENSIONS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".jp2", ".avif")
TOO_LARGE = f"more than {MAX_PIXELS // 10**6} million pixels; make it smaller"
_ORIENTATION = 0x0112
_UPRIGHT = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}


@dataclass(frozen=True)
class Slice:
    """An image inside another file, such as a tar archive: `length` bytes from `start`."""

    file: Path
    start: int
    length: int
    name: str  # inside that file, for messages

    def __str__(self) -> str:
        return f"{self.file}: {self.name}"

    def bytes(self) -> BytesIO:
        with self.file.open("rb") as file:
            file.seek(self.start)
            return BytesIO(file.read(self.length))


def read_image(
    path: Path | str | Slice, root: Path | None = None, size: Size | None = None, reduce: int = 1
) -> NDArray[np.uint8]:
    """The image (height, width, 3), upright.

    `size`, (width, height) as annotated, decides for an image that EXIF turns by a quarter: where it is the size as
    stored, the annotator saw the image unturned, and so it is returned. Any other size is an error.
    With `reduce` 2, 4 or 8, a JPEG is decoded at that fraction of its size, rounded up, which takes less time: a pixel
    is the mean of a square. Other formats come whole, as do turned images that do not divide into such squares.
    Raises DataError, in one line that names the file, for whatever cannot be read; nothing outside `root` is opened.
    """
    with _opened(path, root) as image:
        turn = _decode(image, size, reduce)
        shown = _rgb(image)
        return np.array(shown if turn is None else shown.transpose(turn))


def try_image(path: Path | str | Slice, root: Path | None = None, size: Size | None = None) -> None:
    """Raises DataError where `read_image` does, with a quarter of its memory: pixels are decoded, not copied."""
    with _opened(path, root) as image:
        _decode(image, size, 1)
        _rgb(image if image.mode.startswith("I") else image.crop((0, 0, 1, 1)))  # one pixel shows whether colours fit


def _decode(image: Image.Image, size: Size | None, reduce: int) -> Transpose | None:
    """Reads the pixels; how they must be turned yet. Raises ValueError for another size than the annotated one."""
    orientation = _orientation(image)
    upright = _upright_size(image, orientation)
    as_stored = orientation >= 5 and size is not None and upright != size == upright[::-1]
    if size is not None and size != upright and not as_stored:
        raise ValueError(f"is {_by(upright)} pixels, but annotated as {_by(size)}")
    if reduce > 1:
        _draft(image, reduce, orientation)
    image.load()
    if orientation not in _UPRIGHT or as_stored != (image.format == "TIFF"):  # Pillow has turned TIFF by itself
        return None
    return _UPRIGHT[{6: 8, 8: 6}.get(orientation, orientation) if as_stored else orientation]


def image_size(path: Path | str | Slice, root: Path | None = None) -> Size:
    """(width, height) of the upright image, from its header. Raises DataError as `read_image` does."""
    with _opened(path, root) as image:
        header_only = image.format == "PNG" and "exif" not in image.info and not _exif_follows(image)
        return image.size if header_only else _upright_size(image, _orientation(image))


def _upright_size(image: Image.Image, orientation: int) -> Size:
    return image.size[::-1] if orientation >= 5 and image.format != "TIFF" else image.size


def _draft(image: Image.Image, reduce: int, orientation: int) -> None:
    """Choose the scale of decoding. Squares are counted from the stored corner, which turning moves elsewhere."""
    width, height = image.size
    if min(width, height) >= reduce and (orientation == 1 or width % reduce == height % reduce == 0):
        image.draft(None, (width // reduce, height // reduce))


def _exif_follows(image: Image.Image) -> bool:
    """Whether a PNG has an EXIF block behind its pixels; to ask Pillow would be to decode them."""
    stream = image.fp  # type: ignore[attr-defined]
    begun = stream.tell()
    stream.seek(8)
    kind = b""
    while len(head := stream.read(8)) == 8 and kind not in (b"IEND", b"eXIf"):
        length, kind = struct.unpack(">I4s", head)
        stream.seek(length + 4, os.SEEK_CUR)
    stream.seek(begun)
    return kind == b"eXIf"


@contextmanager
def _opened(path: Path | str | Slice, root: Path | None) -> Iterator[Image.Image]:
    path = Path(path) if isinstance(path, str) else path
    problem = file_problem(path.file if isinstance(path, Slice) else path, root)
    if problem:
        raise DataError(f"{path}: {problem}")
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="PIL")  # remarks about damage; the limit of pixels here is lower
            with Image.open(path.bytes() if isinstance(path, Slice) else path, formats=FORMATS) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise ValueError(f"is {_by(image.size)}, {TOO_LARGE}")
                yield image
    except UnidentifiedImageError:
        raise DataError(f"{path}: {_instead(path)}") from None
    except Image.DecompressionBombError:
        raise DataError(f"{path}: has {TOO_LARGE}") from None
    except MemoryError:
        raise DataError(f"{path}: does not fit into memory") from None
    except Exception as error:  # decoders of damaged files raise almost anything
        raise DataError(f"{path}: {str(error).splitlines()[0] if str(error) else type(error).__name__}") from error


def _instead(path: Path | Slice) -> str:
    """What a file is that no format knows."""
    with path.bytes() if isinstance(path, Slice) else path.open("rb") as file:
        begins = file.read(64).lstrip()
    if not begins:
        return "is empty"
    if begins.startswith(b"<"):
        return "is a web page or other text in tags, not an image; get the image itself"
    if begins.startswith(b"version https://git-lfs"):
        return "is a pointer of Git LFS, not an image; run `git lfs pull`"
    return f"is not an image that can be read ({', '.join(FORMATS)})"


def _by(size: Size) -> str:
    return f"{size[0]} x {size[1]}"


def _orientation(image: Image.Image) -> int:
    """1 … 8; 1 where the EXIF block says nothing or is damaged. Raises where the pixels of a PNG are damaged."""
    if image.format == "PNG" and "exif" not in image.info:
        image.load()  # the block may follow them
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # the picture itself may be sound
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _rgb(image: Image.Image) -> Image.Image:
    """The same in three channels of 8 bits, on white; a profile of colours is not applied."""
    if image.mode == "F":
        raise ValueError("has floating-point pixels; convert it to 8 or 16 bits")
    if image.mode.startswith("I"):
        return _eight_bits(image).convert("RGB")
    if image.mode == "LAB":
        return ImageCms.profileToProfile(  # type: ignore[return-value]
            image, ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), outputMode="RGB"
        )
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        colours = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", colours.size, "white"), colours)
    return image if image.mode == "RGB" else image.convert("RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    """Deep grey scaled, where Pillow would clip it."""
    if image.mode == "I" and image.format != "PPM":
        raise ValueError("has 32-bit or signed pixels; convert it to 8 or 16 bits")
    tags = getattr(image, "tag_v2", {})
    full = 2 ** tags.get(BITSPERSAMPLE, (16,))[0] - 1
    table = ((np.arange(full + 1) * 255 + full // 2) // full).astype(np.uint8)
    if tags.get(PHOTOMETRIC_INTERPRETATION) == 0:  # nought is white
        table = table[::-1]
    if isinstance(key := image.info.get("transparency"), int):
        table[key] = 255
    return Image.fromarray(table[np.asarray(image)])


def list_images(arguments: Sequence[Path | str]) -> list[Path]:
    """Files, the images of folders (by extension, not of their sub-folders) and of patterns such as `a/**/*.png`.

    In the order given, each once, sorted within a folder or pattern. Raises DataError for what is not there.
    """
    return list(dict.fromkeys(path for argument in arguments for path in _matches(str(argument))))


def _matches(argument: str) -> list[Path]:
    path = Path(argument).expanduser()
    if path.is_dir():
        found = _images(path.iterdir())
        hint = f"no images in this folder ({' '.join(EXTENSIONS)})"
    elif path.exists() or path.is_symlink():
        return [path]
    elif glob.has_magic(argument):
        found = _images(map(Path, glob.iglob(str(path), recursive=True)))
        hint = f"no image matches this pattern ({' '.join(EXTENSIONS)})"
    else:
        names = [other.name for other in path.parent.iterdir()] if path.parent.is_dir() else []
        raise DataError(f"{argument}: no such file or folder{nearest(path.name, names)}")
    if not found:
        raise DataError(f"{argument}: {hint}")
    return found


def _images(paths: Iterator[Path]) -> list[Path]:
    return sorted(path for path in paths if path.suffix.lower() in EXTENSIONS and not path.is_dir())
