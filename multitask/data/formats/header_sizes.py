"""The sizes of images that no annotation tells, from their headers."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from PIL import Image

from ...errors import DataError
from ..checks import Size
from ..faults import Unusable
from ..images import Slice, image_size

THREADS = 8  # most of the time is spent waiting for the disk


def header_sizes(places: Iterable[Path | Slice], root: Path) -> list[Size | Unusable]:
    """(width, height) of the upright images, or what is wrong with them."""
    with warnings.catch_warnings(), ThreadPoolExecutor(THREADS) as pool:
        # The threads switch the warning off and on in each other's way: here it is off for all.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        return list(pool.map(partial(_size, root=root), places))


def _size(place: Path | Slice, root: Path) -> Size | Unusable:
    try:
        return image_size(place, root)
    except DataError as error:
        reason = str(error).removeprefix(f"{place}: ")
        return Unusable("image", place.name, reason, "put a whole image there, or remove it")
