"""Every odd file is read with the right colours, or refused in one line that names it; both cheaply."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from multitask.data.images import Slice, image_size, read_image, try_image
from multitask.errors import DataError

from .odd_images import Expected, Refused, Shown, odd_images, picture, saved


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Expected]]:
    folder = tmp_path_factory.mktemp("odd")
    return folder, odd_images(folder)


def wrong(array: np.ndarray, shown: Shown) -> str:
    """What differs from the expectation, or an empty string."""
    if array.shape != (shown.size[1], shown.size[0], 3) or array.dtype != np.uint8:
        return f"{array.shape} {array.dtype}"
    found = {at: array[at[1], at[0]].astype(int) for at in shown.pixels}
    far = {at: f.tolist() for at, f in found.items() if np.abs(f - shown.pixels[at]).max() > shown.tolerance}
    return f"{far} in place of {shown.pixels}" if far else ""


def test_there_are_many_of_both_sorts(odd):
    kinds = [type(expected) for expected in odd[1].values()]
    assert kinds.count(Shown) >= 100 and kinds.count(Refused) >= 40


def test_what_can_be_read_has_the_right_size_and_colours(odd):
    folder, expected = odd
    shown = {name: e for name, e in expected.items() if isinstance(e, Shown)}
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nothing is said about a picture that is shown
        faults = {name: wrong(read_image(folder / name, folder), e) for name, e in shown.items()}
        sizes = {name: image_size(folder / name, folder) for name in shown}
    assert {name: fault for name, fault in faults.items() if fault} == {}
    assert sizes == {name: e.size for name, e in shown.items()}


def test_a_picture_that_is_annotated_with_its_size_is_the_same(odd):
    folder, expected = odd
    for name, e in expected.items():
        if isinstance(e, Shown):
            np.testing.assert_array_equal(read_image(folder / name, size=e.size), read_image(folder / name), name)


def test_inside_another_file_it_is_the_same_picture(odd, tmp_path):
    """As in a tar archive: decoders must not look at the bytes around."""
    folder, expected = odd
    for name, e in expected.items():
        content = (folder / name).read_bytes() if isinstance(e, Shown) else b""
        if content:
            (tmp_path / "pack").write_bytes(b"x" * 512 + content + b"\0" * 512)
            found = read_image(Slice(tmp_path / "pack", 512, len(content), name))
            np.testing.assert_array_equal(found, read_image(folder / name), name)


def test_a_smaller_scale_shows_the_same_colours(odd):
    """Asked for half of its size, a file comes so or whole, whatever it is."""
    folder, expected = odd
    halves = 0
    for name, e in expected.items():
        if isinstance(e, Shown):
            array = read_image(folder / name, size=e.size, reduce=2)
            half = array.shape[:2] != e.size[::-1]
            halves += half
            pixels = {(x // 2, y // 2): colour for (x, y), colour in e.pixels.items()} if half else e.pixels
            size = (-(-e.size[0] // 2), -(-e.size[1] // 2)) if half else e.size
            assert not wrong(array, Shown(pixels, size, e.tolerance)), name
    assert halves >= 20  # JPEG files, turned ones among them


def test_what_cannot_be_read_is_refused_in_one_line_with_its_name(odd):
    folder, expected = odd
    for name, e in expected.items():
        if isinstance(e, Refused):
            with pytest.raises(DataError) as caught:
                read_image(folder / name)
            message = str(caught.value)
            assert message.startswith(f"{folder / name}: ") and e.words in message and "\n" not in message, message


def test_what_is_only_tried_is_judged_as_what_is_read(odd):
    folder, expected = odd
    for name, e in expected.items():
        if isinstance(e, Shown):
            try_image(folder / name, folder, e.size)
            with pytest.raises(DataError, match="but annotated as 7 x 5"):
                try_image(folder / name, folder, (7, 5))
        else:
            with pytest.raises(DataError) as caught:
                try_image(folder / name)
            assert e.words in str(caught.value)


HUNGRY = """
import resource, sys
from pathlib import Path
from multitask.data.images import read_image
from multitask.errors import DataError
import numpy
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for path in map(Path, sys.argv[1:]):
    try:
        read_image(path)
        print("read", path)
    except DataError:
        pass
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


def test_what_is_refused_takes_little_memory(odd):
    folder, expected = odd
    refused = [folder / name for name, e in expected.items() if isinstance(e, Refused) and "\0" not in name]
    found = subprocess.run([sys.executable, "-c", HUNGRY, *refused], capture_output=True, text=True, check=True)
    assert int(found.stdout) < 200  # MB


def files() -> dict[str, bytes]:
    """Pictures of every format and compression."""
    rng = np.random.default_rng(0)
    noise = Image.fromarray(rng.integers(0, 256, (40, 40, 3), dtype=np.uint8))
    found = {form: saved(noise, form) for form in ("jpg", "png", "gif", "webp", "bmp", "tif", "ppm", "jp2", "avif")}
    found["progressive"] = saved(noise, "jpg", progressive=True)
    found["lossless webp"] = saved(noise, "webp", lossless=True)
    found["mpo"] = saved(noise, "mpo", save_all=True, append_images=[noise])
    for compression in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"):
        found[compression] = saved(noise, "tif", compression=compression)
    found["fax"] = saved(Image.fromarray(rng.random((40, 40)) < 0.5), "tif", compression="group4")
    return found


@pytest.mark.parametrize(("kind", "whole"), files().items(), ids=files())
@pytest.mark.parametrize("reduce", [1, 4])
def test_a_file_cut_anywhere_is_refused_or_shows_all(tmp_path, kind, whole, reduce):
    """What is cut may be what follows the pixels, such as a checksum or the second picture; never a part of them."""
    path = tmp_path / "a"
    path.write_bytes(whole)
    picture, refused = read_image(path, reduce=reduce), 0
    for length in {*range(0, len(whole), len(whole) // 40), *range(len(whole) - 12, len(whole))}:
        path.write_bytes(whole[:length])
        try:
            np.testing.assert_array_equal(read_image(path, reduce=reduce), picture, f"{kind} {length}")
        except DataError:
            refused += 1
    assert refused >= 20


def test_header_only_sizes_come_without_decoding(tmp_path):
    """The size of a PNG is told although its pixels are damaged, unless its EXIF block lies behind them."""
    whole = saved(picture(), "png")
    at = whole.index(b"IDAT") + 8
    (tmp_path / "a.png").write_bytes(whole[:at] + bytes([whole[at] ^ 255]) + whole[at + 1 :])
    assert image_size(tmp_path / "a.png") == picture().size
    with pytest.raises(DataError, match=r"a\.png: "):
        read_image(tmp_path / "a.png")
