"""Images are read upright, as RGB, from regular files of a sensible size, or refused in one line."""

from __future__ import annotations

import os
import struct
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from multitask.data.images import image_size, read_image
from multitask.errors import DataError

WIDTH, HEIGHT = 96, 64
RED_XYXY = (16, 0, 48, 16)  # in the upright picture


def upright() -> np.ndarray:
    array = np.full((HEIGHT, WIDTH, 3), 255, dtype=np.uint8)
    x1, y1, x2, y2 = RED_XYXY
    array[y1:y2, x1:x2] = (255, 0, 0)
    return array


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


def save_turned(path: Path, orientation: int) -> Path:
    image = Image.fromarray(np.ascontiguousarray(stored(upright(), orientation)))
    exif = Image.Exif()
    exif[0x0112] = orientation
    image.save(path, exif=exif, quality=95) if path.suffix == ".jpg" else image.save(path, exif=exif)
    return path


def mean_of_box(array: np.ndarray) -> np.ndarray:
    x1, y1, x2, y2 = RED_XYXY
    return array[y1:y2, x1:x2].reshape(-1, 3).mean(axis=0)


@pytest.mark.parametrize("extension", [".jpg", ".png", ".webp", ".tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_shown_upright(tmp_path: Path, orientation: int, extension: str) -> None:
    path = save_turned(tmp_path / f"a{extension}", orientation)
    for size in (None, (WIDTH, HEIGHT)):
        array = read_image(path, size=size)
        assert array.shape == (HEIGHT, WIDTH, 3)
        assert np.abs(mean_of_box(array) - (255, 0, 0)).max() <= 12
    assert image_size(path) == (WIDTH, HEIGHT)


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_an_annotation_of_the_unturned_picture_gets_the_unturned_picture(tmp_path: Path, orientation: int) -> None:
    path = save_turned(tmp_path / "a.png", orientation)
    np.testing.assert_array_equal(read_image(path, size=(HEIGHT, WIDTH)), stored(upright(), orientation))


def test_another_size_than_annotated_is_refused(tmp_path: Path) -> None:
    path = save_turned(tmp_path / "a.png", 6)
    with pytest.raises(DataError, match=r"a\.png: is 96 x 64 pixels, but annotated as 96 x 65"):
        read_image(path, size=(96, 65))


def test_a_damaged_exif_block_leaves_the_picture_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    Image.fromarray(upright()).save(path, exif=b"Exif\0\0garbage", quality=95)
    assert np.abs(mean_of_box(read_image(path)) - (255, 0, 0)).max() <= 12


@pytest.mark.parametrize("extension", [".png", ".tif"])
def test_sixteen_bits_of_grey_are_scaled(tmp_path: Path, extension: str) -> None:
    grey = np.linspace(0, 65535, 64 * 4).astype(np.uint16).reshape(4, 64)
    Image.fromarray(grey).save(tmp_path / f"a{extension}")
    array = read_image(tmp_path / f"a{extension}")
    np.testing.assert_array_equal(array[..., 0], np.round(grey / 257))
    assert (array == array[..., :1]).all()


def test_cmyk_becomes_its_colours(tmp_path: Path) -> None:
    Image.new("CMYK", (9, 9), (0, 255, 255, 0)).save(tmp_path / "a.jpg", quality=95)
    assert np.abs(read_image(tmp_path / "a.jpg").mean(axis=(0, 1)) - (255, 0, 0)).max() <= 12


def test_palettes_and_transparency_on_white(tmp_path: Path) -> None:
    palette = Image.new("P", (2, 1))
    palette.putpalette([10, 20, 30, 200, 100, 50])
    palette.putdata([0, 1])
    palette.save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png").tolist() == [[[10, 20, 30], [200, 100, 50]]]
    palette.save(tmp_path / "b.png", transparency=0)
    assert read_image(tmp_path / "b.png").tolist() == [[[255, 255, 255], [200, 100, 50]]]
    Image.new("RGBA", (1, 1), (255, 0, 0, 128)).save(tmp_path / "c.png")
    np.testing.assert_allclose(read_image(tmp_path / "c.png")[0, 0], [255, 127, 127], atol=1)
    Image.new("LA", (1, 1), (40, 0)).save(tmp_path / "d.png")
    assert read_image(tmp_path / "d.png").tolist() == [[[255, 255, 255]]]


@pytest.mark.parametrize("extension", [".gif", ".png", ".webp"])
def test_of_an_animation_the_first_frame(tmp_path: Path, extension: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "lime", "blue")]
    frames[0].save(tmp_path / f"a{extension}", save_all=True, append_images=frames[1:], duration=50)
    assert np.abs(read_image(tmp_path / f"a{extension}")[4, 4] - np.array([255.0, 0, 0])).max() <= 12


def test_bilevel_and_grey_and_one_pixel(tmp_path: Path) -> None:
    Image.new("1", (1, 1), 1).save(tmp_path / "a.png")
    Image.new("L", (1, 1), 77).save(tmp_path / "b.bmp")
    assert read_image(tmp_path / "a.png").tolist() == [[[255, 255, 255]]]
    assert read_image(tmp_path / "b.bmp").tolist() == [[[77, 77, 77]]]


def test_pixels_that_have_no_scale_are_refused(tmp_path: Path) -> None:
    Image.new("F", (4, 4), 0.5).save(tmp_path / "a.tif")
    Image.new("I", (4, 4), 70000).save(tmp_path / "b.tif")
    with pytest.raises(DataError, match=r"a\.tif: has floating-point pixels; convert"):
        read_image(tmp_path / "a.tif")
    with pytest.raises(DataError, match=r"b\.tif: has 32-bit pixels; convert"):
        read_image(tmp_path / "b.tif")


def png(width: int, height: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG of a few bytes that claims to be large."""
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(b"")), (b"IEND", b"")]
    body = b"".join(struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in parts)
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize(("width", "height"), [(10_001, 10_000), (13_000, 13_000), (65_000, 65_000)])
def test_more_than_100_megapixels_are_refused_before_decoding(tmp_path: Path, width: int, height: int) -> None:
    (tmp_path / "a.png").write_bytes(png(width, height))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for read in (read_image, image_size):
            with pytest.raises(DataError, match=r"a\.png: "):
                read(tmp_path / "a.png")


def test_100_megapixels_are_allowed(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(10_000, 10_000))
    assert image_size(tmp_path / "a.png") == (10_000, 10_000)


def test_a_text_chunk_that_unpacks_to_much_is_refused(tmp_path: Path) -> None:
    text = b"k\0\0" + zlib.compress(b"a" * 20_000_000)
    (tmp_path / "a.png").write_bytes(png(1, 1, (b"zTXt", text)))
    with pytest.raises(DataError, match=r"a\.png: "):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize("extension", [".jpg", ".png", ".gif", ".webp", ".bmp", ".tif"])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.3, 0.6, 0.9])
def test_cut_files_are_refused_by_name(tmp_path: Path, extension: str, share: float) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / f"a{extension}")
    whole = (tmp_path / f"a{extension}").read_bytes()
    (tmp_path / f"a{extension}").write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(DataError) as caught:
        read_image(tmp_path / f"a{extension}")
    assert f"a{extension}: " in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("extension", [".jpg", ".png", ".gif", ".webp", ".bmp", ".tif"])
def test_flipped_bytes_give_a_picture_or_one_line(tmp_path: Path, extension: str) -> None:
    rng = np.random.default_rng(2)
    Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(tmp_path / f"a{extension}")
    whole = np.frombuffer((tmp_path / f"a{extension}").read_bytes(), dtype=np.uint8)
    for _ in range(60):
        damaged = whole.copy()
        damaged[rng.integers(0, len(whole), 3)] = rng.integers(0, 256, 3)
        (tmp_path / "b").write_bytes(damaged.tobytes())
        result: object = None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's remarks about damage
            try:
                result = read_image(tmp_path / "b")
            except DataError as error:  # anything else fails the test
                result = str(error)
        assert isinstance(result, np.ndarray) or "\n" not in str(result)


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")  # opening it would wait for a writer for ever
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    (tmp_path / "folder.png").mkdir()
    expected = {"pipe.png": "is not a regular file", "loop.png": "cannot be read", "folder.png": "is a folder"}
    for name, reason in {**expected, "none.png": "does not exist"}.items():
        with pytest.raises(DataError, match=f"{name}: {reason}"):
            read_image(tmp_path / name)
    with pytest.raises(DataError, match="/dev/zero: is not a regular file"):
        read_image("/dev/zero")


def test_nothing_outside_the_root_is_opened(tmp_path: Path) -> None:
    root = tmp_path / "set"
    root.mkdir()
    Image.fromarray(upright()).save(tmp_path / "secret.png")
    Image.fromarray(upright()).save(root / "own.png")
    (root / "link.png").symlink_to(tmp_path / "secret.png")
    (root / "inner.png").symlink_to("own.png")
    assert read_image(root / "own.png", root).shape == read_image(root / "inner.png", root).shape
    for path in (root / "link.png", root / ".." / "secret.png", tmp_path / "secret.png"):
        with pytest.raises(DataError, match="lies outside the data folder"):
            read_image(path, root)


def test_files_that_are_no_images_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    with pytest.raises(DataError, match=r"a\.jpg: is not an image that can be read \(JPEG, "):
        read_image(tmp_path / "a.jpg")
