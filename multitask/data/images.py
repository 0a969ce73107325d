"""Reading images: regular files of a few formats, not too large, upright, as RGB.

`upright` is as displayed: the EXIF orientation is applied. Transparency is shown on white, of an animation the first
frame counts, 16 bits of grey become 8.
"""

from __future__ import annotations

import glob
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from PIL.Image import Transpose

from ..errors import DataError, nearest
from .checks import MAX_PIXELS, Size
from .paths import file_problem

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "JPEG2000", "AVIF")  # none runs another program
EXTENSIONS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".jp2", ".avif")
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


def read_image(path: Path | str, root: Path | None = None, size: Size | None = None) -> NDArray[np.uint8]:
    """The image (height, width, 3), upright.

    `size`, (width, height) as annotated, decides for an image that EXIF turns by a quarter: where it is the size as
    stored, the annotator saw the image unturned, and so it is returned. Any other size is an error.
    Raises DataError, in one line that names the file, for whatever cannot be read; nothing outside `root` is opened.
    """
    with _opened(Path(path), root) as image:
        image.load()
        orientation = _orientation(image)
        stored_as_annotated = size is not None and orientation >= 5 and image.size == size != image.size[::-1]
        if orientation in _UPRIGHT and not stored_as_annotated:
            image = image.transpose(_UPRIGHT[orientation])
        if size is not None and image.size != size:
            raise ValueError(f"is {_by(image.size)} pixels, but annotated as {_by(size)}")
        return _rgb(image)


def image_size(path: Path | str, root: Path | None = None) -> Size:
    """(width, height) of the upright image, from its header. Raises DataError as `read_image` does."""
    with _opened(Path(path), root) as image:
        turned = image.format != "TIFF" and _orientation(image) >= 5  # Pillow turns TIFF by itself
        return image.size[::-1] if turned else image.size


@contextmanager
def _opened(path: Path, root: Path | None) -> Iterator[Image.Image]:
    problem = file_problem(path, root)
    if problem:
        raise DataError(f"{path}: {problem}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the limit here is lower
            image = Image.open(path, formats=FORMATS)
        with image:
            if image.width * image.height > MAX_PIXELS:
                raise ValueError(
                    f"has {_by(image.size)} pixels, more than {MAX_PIXELS // 10**6} million; make it smaller"
                )
            yield image
    except UnidentifiedImageError:
        raise DataError(f"{path}: is not an image that can be read ({', '.join(FORMATS)})") from None
    except MemoryError:
        raise DataError(f"{path}: does not fit into memory") from None
    except Exception as error:  # decoders of damaged files raise almost anything
        raise DataError(f"{path}: {str(error).splitlines()[0] if str(error) else type(error).__name__}") from error


def _by(size: Size) -> str:
    return f"{size[0]} x {size[1]}"


def _orientation(image: Image.Image) -> int:
    """1 … 8; 1 where the EXIF block says nothing or is damaged."""
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # the picture itself may be sound
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _rgb(image: Image.Image) -> NDArray[np.uint8]:
    if image.mode == "F":
        raise ValueError("has floating-point pixels; convert it to 8 or 16 bits")
    if image.mode.startswith("I"):
        grey = np.asarray(image)
        if grey.min() < 0 or grey.max() > 65535:
            raise ValueError("has 32-bit pixels; convert it to 8 or 16 bits")
        return np.repeat(((grey.astype(np.uint32) + 128) // 257).astype(np.uint8)[..., None], 3, axis=2)
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        colours = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", colours.size, "white"), colours)
    return np.array(image.convert("RGB"))


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
