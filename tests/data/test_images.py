"""Images are read upright, as RGB, from regular files of a sensible size, or refused in one line."""

from __future__ import annotations

import os
import warnings
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from multitask.data.images import image_size, read_image
from multitask.errors import DataError

from .odd_images import exif, png, stored, turned

WIDTH, HEIGHT = 96, 64
RED_XYXY = (16, 0, 48, 16)  # in the upright picture


def upright() -> np.ndarray:
    array = np.full((HEIGHT, WIDTH, 3), 255, dtype=np.uint8)
    x1, y1, x2, y2 = RED_XYXY
    array[y1:y2, x1:x2] = (255, 0, 0)
    return array


def save_turned(path: Path, orientation: int) -> Path:
    path.write_bytes(turned(upright(), orientation, path.suffix[1:]))
    return path


def mean_of_box(array: np.ndarray) -> np.ndarray:
    x1, y1, x2, y2 = RED_XYXY
    return array[y1:y2, x1:x2].reshape(-1, 3).mean(axis=0)


@pytest.mark.parametrize("extension", [".jpg", ".png", ".webp", ".tif", ".avif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_is_shown_upright(tmp_path: Path, orientation: int, extension: str) -> None:
    path = save_turned(tmp_path / f"a{extension}", orientation)
    for size in (None, (WIDTH, HEIGHT)):
        array = read_image(path, size=size)
        assert array.shape == (HEIGHT, WIDTH, 3)
        assert np.abs(mean_of_box(array) - (255, 0, 0)).max() <= 12
    assert image_size(path) == (WIDTH, HEIGHT)


@pytest.mark.parametrize("extension", [".png", ".webp", ".tif"])
@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_an_annotation_of_the_unturned_picture_gets_the_unturned_picture(
    tmp_path: Path, orientation: int, extension: str
) -> None:
    path = save_turned(tmp_path / f"a{extension}", orientation)
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
    with pytest.raises(DataError, match=r"b\.tif: has 32-bit or signed pixels; convert"):
        read_image(tmp_path / "b.tif")


@pytest.mark.parametrize(("width", "height"), [(10_001, 10_000), (13_000, 13_000), (65_000, 65_000)])
def test_more_than_100_megapixels_are_refused_before_decoding(tmp_path: Path, width: int, height: int) -> None:
    (tmp_path / "a.png").write_bytes(png(width, height, 1, 0, b""))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for read in (read_image, image_size):
            with pytest.raises(DataError, match=r"a\.png: "):
                read(tmp_path / "a.png")


def test_100_megapixels_are_allowed(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(10_000, 10_000, 1, 0, b""))
    assert image_size(tmp_path / "a.png") == (10_000, 10_000)


def test_a_text_chunk_that_unpacks_to_much_is_refused(tmp_path: Path) -> None:
    text = b"k\0\0" + zlib.compress(b"a" * 20_000_000)
    (tmp_path / "a.png").write_bytes(png(1, 1, 1, 0, b"", (b"zTXt", text)))
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


BLOCK = 16  # pixels: where subsampled colours change


def mosaic(width: int, height: int) -> np.ndarray:
    """Squares of random colours, so that a pixel of 1, 2, 4 or 8 of them has one colour."""
    rng = np.random.default_rng(3)
    squares = rng.integers(30, 226, (-(-height // BLOCK), -(-width // BLOCK), 3), dtype=np.uint8)
    return squares.repeat(BLOCK, axis=0).repeat(BLOCK, axis=1)[:height, :width]


@pytest.mark.parametrize("size", [(128, 64), (121, 67), (135, 71), (8, 90)])
@pytest.mark.parametrize("reduce", [2, 4, 8])
def test_a_jpeg_is_decoded_at_a_fraction_of_its_size(tmp_path: Path, reduce: int, size: tuple[int, int]) -> None:
    array = mosaic(*size)
    Image.fromarray(array).save(tmp_path / "a.jpg", quality=95)
    found = read_image(tmp_path / "a.jpg", size=size, reduce=reduce)
    assert found.shape == (-(-size[1] // reduce), -(-size[0] // reduce), 3)
    assert np.abs(found.astype(int) - array[::reduce, ::reduce]).max() <= 12


@pytest.mark.parametrize("orientation", range(2, 9))
@pytest.mark.parametrize("reduce", [2, 8])
def test_a_turned_jpeg_is_decoded_smaller_where_squares_fit(tmp_path: Path, orientation: int, reduce: int) -> None:
    """Where they do not, squares counted from the stored corner would not be those counted from the shown one."""
    for size, divisor in (((128, 96), reduce), ((128, 97), 1), ((127, 96), 1)):
        array = mosaic(*size)
        (tmp_path / "a.jpg").write_bytes(turned(array, orientation, "jpg"))
        found = read_image(tmp_path / "a.jpg", size=size, reduce=reduce)
        assert found.shape == (size[1] // divisor, size[0] // divisor, 3)
        assert np.abs(found.astype(int) - array[::divisor, ::divisor]).max() <= 12


@pytest.mark.parametrize("extension", [".png", ".gif", ".webp", ".bmp", ".tif", ".jp2"])
def test_other_formats_come_whole(tmp_path: Path, extension: str) -> None:
    Image.fromarray(mosaic(64, 64)).save(tmp_path / f"a{extension}")
    found = read_image(tmp_path / f"a{extension}", reduce=4)
    np.testing.assert_array_equal(found, read_image(tmp_path / f"a{extension}"))


@pytest.mark.parametrize("size", [(1, 1), (3, 40), (40, 3), (7, 7)])
def test_an_image_of_few_pixels_comes_whole(tmp_path: Path, size: tuple[int, int]) -> None:
    Image.fromarray(mosaic(*size)).save(tmp_path / "a.jpg")
    np.testing.assert_array_equal(read_image(tmp_path / "a.jpg", reduce=8), read_image(tmp_path / "a.jpg"))


@pytest.mark.parametrize("orientation", [1, 6])
def test_the_whole_size_is_compared_whatever_the_scale(tmp_path: Path, orientation: int) -> None:
    Image.fromarray(mosaic(64, 32)).save(tmp_path / "a.jpg", exif=exif(3, orientation))
    shown, other = ((64, 32), (32, 16)) if orientation == 1 else ((32, 64), (16, 32))
    assert read_image(tmp_path / "a.jpg", size=shown, reduce=2).shape == (shown[1] // 2, shown[0] // 2, 3)
    with pytest.raises(DataError, match=f"is {shown[0]} x {shown[1]} pixels, but annotated as {other[0]} x {other[1]}"):
        read_image(tmp_path / "a.jpg", size=other, reduce=2)


def test_an_image_annotated_as_it_is_stored_is_reduced_as_it_is_stored(tmp_path: Path) -> None:
    array = mosaic(64, 48)
    (tmp_path / "a.jpg").write_bytes(turned(array, 6, "jpg"))
    found = read_image(tmp_path / "a.jpg", size=(48, 64), reduce=4)
    assert found.shape == (16, 12, 3)
    assert np.abs(found.astype(int) - stored(array, 6)[::4, ::4]).max() <= 12
