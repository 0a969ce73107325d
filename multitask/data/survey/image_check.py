"""Every image decoded once, in threads, with a bound on the pixels that are in memory at a time."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Condition

from PIL import Image

from ...errors import DataError
from ..checks import Size
from ..images import Slice, image_size, try_image

PIXELS = 100_000_000  # decoded at a time, of 4 bytes each
THREADS = 8
BLOCK = 2**26  # bytes of Pillow's pieces of memory: so large ones go back to the system when they are free
Progress = Callable[[int, int], None]  # images done, images in all


@dataclass(frozen=True)
class Picture:
    """An image as training would open it."""

    where: Path | Slice
    root: Path  # nothing outside it is opened
    size: Size  # as annotated


@dataclass(frozen=True)
class Verdict:
    """Why an image cannot be read, or else what its file holds."""

    problem: str = ""
    digest: str = ""  # SHA-256 of the file


class Budget:
    """Lets threads go on while what they take together stays within a limit; one alone may take more."""

    def __init__(self, limit: int) -> None:
        self.limit, self.used, self.changed = limit, 0, Condition()

    @contextmanager
    def taken(self, amount: int) -> Iterator[None]:
        """Waits until there is room for `amount`."""
        with self.changed:
            self.changed.wait_for(lambda: not self.used or self.used + amount <= self.limit)
            self.used += amount
        try:
            yield
        finally:
            with self.changed:
                self.used -= amount
                self.changed.notify_all()


def check_images(pictures: Sequence[Picture], progress: Progress | None = None) -> dict[Picture, Verdict]:
    """What became of each, judged as in training."""
    distinct, judge = list(dict.fromkeys(pictures)), partial(_judged, budget=Budget(PIXELS))
    found: dict[Picture, Verdict] = {}
    with warnings.catch_warnings(), _large_blocks(), ThreadPoolExecutor(THREADS) as threads:
        warnings.simplefilter("ignore")  # here and not in the threads, which share one list of filters
        try:
            for picture, verdict in zip(distinct, threads.map(judge, distinct), strict=True):
                found[picture] = verdict
                if progress:
                    progress(len(found), len(distinct))
        except BaseException:  # such as Ctrl-C: what waits need not be decoded first
            threads.shutdown(cancel_futures=True)
            raise
    return found


@contextmanager
def _large_blocks() -> Iterator[None]:
    """Otherwise each thread keeps the memory of the largest image that it had."""
    allocator = Image.core  # type: ignore[attr-defined]  # its documented place
    before = allocator.get_block_size()
    allocator.set_block_size(BLOCK)
    try:
        yield
    finally:
        allocator.set_block_size(before)


def _judged(picture: Picture, budget: Budget) -> Verdict:
    try:
        width, height = image_size(picture.where, picture.root)
        with budget.taken(width * height):
            try_image(picture.where, picture.root, picture.size)
        return Verdict(digest=_digest(picture.where))
    except DataError as error:
        return Verdict(str(error).removeprefix(f"{picture.where}: "))
    except OSError as error:
        return Verdict(f"cannot be read: {error.strerror or error}")


def _digest(where: Path | Slice) -> str:
    if isinstance(where, Slice):
        return hashlib.sha256(where.bytes().getbuffer()).hexdigest()
    with where.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
