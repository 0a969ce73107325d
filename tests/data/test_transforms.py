from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from multitask.annotations import Boxes, Keypoints, Polygons
from multitask.data.images import read_image
from multitask.data.transforms import PAD, colour_jitter, place
from multitask.example import Example
from multitask.geometry import move
from multitask.skeleton import Skeleton
from multitask.task import Augment

sizes = st.tuples(st.integers(8, 90), st.integers(8, 90))
sides = st.sampled_from([16, 33, 64])
augments = st.builds(
    lambda low, factor, flip: Augment(scale=(low, low * factor), flip=flip),
    st.floats(0.3, 2.0),
    st.floats(1.0, 2.0),
    st.sampled_from([0.0, 0.5, 1.0]),
)
fractions = st.tuples(*[st.floats(0, 1)] * 4)


def box_of(fractions, size) -> tuple[int, int, int, int]:
    """Whole pixels (left, top, right, bottom), at least one pixel wide and high."""
    (a, b), (c, d) = sorted(fractions[:2]), sorted(fractions[2:])
    left, top = int(a * (size[0] - 1)), int(c * (size[1] - 1))
    return left, top, max(left + 1, round(b * size[0])), max(top + 1, round(d * size[1]))


def block(size, box) -> np.ndarray:
    image = np.zeros((size[1], size[0], 3), dtype=np.uint8)
    image[box[1] : box[3], box[0] : box[2]] = 255
    return image


@settings(derandomize=True, deadline=None, max_examples=200)
@given(
    size=sizes,
    side=sides,
    block_at=fractions,
    region_at=st.none() | fractions,
    augment=st.none() | augments,
    seed=st.integers(0, 99),
)
def test_pixels_land_where_the_matrix_says(size, side, block_at, region_at, augment, seed):
    region = None if region_at is None else tuple(map(float, box_of(region_at, size)))
    rng = None if augment is None else np.random.default_rng(seed)
    placement = place(size, side, region, augment, rng)
    box = np.array(box_of(block_at, size), dtype=float)
    # What is cut off by the window does not show, also not in the resampling at its edge.
    left, top, width, height = placement.window
    visible = box.clip([left, top] * 2, [left + width, top + height] * 2)
    corners = move(visible.reshape(2, 2), placement.matrix) * side
    expected = np.concatenate([corners.min(axis=0), corners.max(axis=0)])
    assume((expected[2:] - expected[:2] >= 3).all() and (visible[2:] - visible[:2] >= 2).all())
    assert expected.min() >= -1e-6 and (expected[2:] <= np.array(placement.scaled) + 1e-6).all()
    rows, columns = np.nonzero(placement.render(block(size, tuple(box.astype(int))))[0].numpy() > 127)
    found = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    np.testing.assert_allclose(found, expected, atol=1.0)


@settings(derandomize=True, deadline=None, max_examples=200)
@given(size=sizes, side=sides, region_at=st.none() | fractions, augment=st.none() | augments, seed=st.integers(0, 99))
def test_a_placement_fits_its_image_and_its_input(size, side, region_at, augment, seed):
    region = None if region_at is None else tuple(map(float, box_of(region_at, size)))
    placement = place(size, side, region, augment, None if augment is None else np.random.default_rng(seed))
    left, top, width, height = placement.window
    low_x, low_y, high_x, high_y = region or (0, 0, *size)
    assert low_x <= left and left + width <= high_x and low_y <= top and top + height <= high_y
    assert width >= 1 and height >= 1
    assert 1 <= placement.scaled[0] <= side and 1 <= placement.scaled[1] <= side
    np.testing.assert_allclose(placement.matrix @ placement.inverse, np.eye(3), atol=1e-9)
    corners = np.array([[left, top], [left + width, top + height]], dtype=float)
    moved = np.sort(move(corners, placement.matrix), axis=0)
    np.testing.assert_allclose(moved, [[0, 0], placement.size], atol=1e-9)
    np.testing.assert_allclose(move(move(corners, placement.matrix), placement.inverse), corners, atol=1e-6)


@settings(derandomize=True, deadline=None)
@given(size=sizes, side=sides)
def test_without_chance_the_longest_side_fills_the_input_and_the_shape_stays(size, side):
    placement = place(size, side, None, Augment(scale=(0.3, 2.0), flip=1.0))
    assert placement.window == (0, 0, *size) and not placement.flip
    assert max(placement.scaled) == side
    for scaled, full in zip(placement.scaled, size, strict=True):
        assert abs(scaled - full * side / max(size)) <= 0.5 + 1e-9 or scaled == 1


@settings(derandomize=True, deadline=None, max_examples=60)
@given(size=sizes, side=sides, augment=st.none() | augments, seed=st.integers(0, 99))
def test_padding_is_grey_and_lies_at_the_right_and_bottom(size, side, augment, seed):
    placement = place(size, side, None, augment, None if augment is None else np.random.default_rng(seed))
    image = placement.render(np.full((size[1], size[0], 3), 200, dtype=np.uint8))
    assert image.shape == (3, side, side) and image.dtype == torch.uint8 and image.is_contiguous()
    width, height = placement.scaled
    assert (image[:, :height, :width] == 200).all()
    image[:, :height, :width] = PAD
    assert (image == PAD).all()
    assert pytest.approx(0.3, abs=0.002) == PAD / 255


def test_an_image_of_the_right_size_is_not_resampled(toys):
    image = toys.image(0, 32, 32)
    rendered = place((32, 32), 32).render(image)
    assert np.array_equal(rendered.permute(1, 2, 0).numpy(), image)
    mirrored = place((32, 32), 32, None, Augment(flip=1.0), np.random.default_rng(0)).render(image)
    assert np.array_equal(mirrored.permute(1, 2, 0).numpy(), image[:, ::-1])


wide = st.tuples(st.integers(40, 1500), st.integers(40, 1500))


@settings(derandomize=True, deadline=None, max_examples=300)
@given(size=wide, side=sides, region_at=st.none() | fractions, augment=augments, seed=st.integers(0, 99))
def test_a_large_image_is_seen_in_whole_squares_no_larger_than_a_pixel_of_the_input(
    size, side, region_at, augment, seed
):
    region = None if region_at is None else tuple(map(float, box_of(region_at, size)))
    placement = place(size, side, region, augment, np.random.default_rng(seed))
    left, top, width, height = placement.window
    low_x, low_y, high_x, high_y = region or (0, 0, *size)
    assert low_x <= left and left + width <= high_x and low_y <= top and top + height <= high_y
    assert width >= 1 and height >= 1
    assert not any(value % placement.reduce for value in placement.window)
    decoded = width // placement.reduce, height // placement.reduce
    assert placement.reduce == 1 or (decoded[0] >= placement.scaled[0] and decoded[1] >= placement.scaled[1])
    # The same chances without squares: nothing but the rim of less than a pixel of the input is lost.
    chance = np.random.default_rng(seed)
    scale = side / max(high_x - low_x, high_y - low_y) * chance.uniform(*augment.scale)
    for length, full in ((width, high_x - low_x), (height, high_y - low_y)):
        wanted = max(1, min(full, round(side / scale)))
        assert wanted - 2 * placement.reduce < length <= wanted
    if min(placement.scaled) > 32:
        assert placement.reduce == 8 or 2 * placement.reduce * scale > 1  # smaller would be too small
    np.testing.assert_allclose(placement.matrix @ placement.inverse, np.eye(3), atol=1e-9)


def test_without_chance_an_image_is_seen_as_it_is():
    placement = place((4001, 3001), 64, None, Augment(scale=(0.3, 2.0), flip=1.0))
    assert placement.reduce == 1 and placement.window == (0, 0, 4001, 3001)


@pytest.mark.parametrize("reduce", [1, 2, 4, 8])
@pytest.mark.parametrize("flip", [0.0, 1.0])
@pytest.mark.parametrize("size", [(701, 523), (522, 699)])
def test_a_dot_lands_where_the_matrix_says_at_every_scale_of_decoding(tmp_path, size, reduce, flip):
    side, length, errors = 32, 6, []
    low = 0.8 * max(size) / side / (2 * reduce) if reduce < 8 else 0.5
    augment = Augment(scale=(low, max(size) / side / reduce), flip=flip)
    for seed in range(40):
        rng = np.random.default_rng(seed)
        placement = place(size, side, None, augment, rng)
        if placement.reduce != reduce:
            continue
        left, top, width, height = placement.window
        x, y = left + int(rng.integers(0, width - length + 1)), top + int(rng.integers(0, height - length + 1))
        file = tmp_path / f"{seed}.jpg"
        dotted = block(size, (x, y, x + length, y + length))
        Image.fromarray(dotted).save(file, quality=100, subsampling=0)
        whole, smaller = read_image(file, size=size), read_image(file, size=size, reduce=reduce)
        assert max(smaller.shape) == -(-max(size) // reduce)
        expected = move(np.array([x + length / 2, y + length / 2]), placement.matrix) * side
        if (expected < 2).any() or (expected > np.array(placement.scaled) - 2).any():
            continue  # what the window cuts off moves the middle of the rest
        for pixels in (whole, smaller):
            light = placement.render(pixels)[0].double().numpy()[: placement.scaled[1], : placement.scaled[0]]
            light[light < light.max() / 8] = 0  # ripples of the JPEG
            rows, columns = np.indices(light.shape) + 0.5
            found = np.array([(columns * light).sum(), (rows * light).sum()]) / light.sum()
            errors.append(found - expected)
    assert len(errors) >= 20
    assert np.abs(errors).max() <= 0.5
    assert np.abs(np.mean(errors, axis=0)).max() <= 0.1  # a shift that is always the same would be a fault


@pytest.mark.parametrize("flip", [0.0, 1.0])
def test_a_smaller_decoded_photograph_looks_the_same(tmp_path, toys, flip):
    size, side = (803, 605), 48
    coarse = Image.fromarray(toys.image(0, 12, 9)).resize(size, Image.Resampling.BICUBIC)
    coarse.save(tmp_path / "a.jpg", quality=95)
    for seed in range(10):
        placement = place(size, side, None, Augment(scale=(0.5, 3.0), flip=flip), np.random.default_rng(seed))
        whole, smaller = (read_image(tmp_path / "a.jpg", size=size, reduce=r) for r in (1, placement.reduce))
        assert smaller.shape < whole.shape
        difference = (placement.render(whole).int() - placement.render(smaller).int()).abs()
        assert difference.float().mean() < 1 and difference.max() <= 16


@pytest.mark.parametrize(
    ("region", "window"),
    [
        ((10.2, 5.9, 20.1, 9.0), (10, 5, 11, 4)),
        ((-5.0, -5.0, 500.0, 500.0), (0, 0, 50, 40)),
        ((12.3, 7.3, 12.4, 7.4), (12, 7, 1, 1)),
        ((12.0, 7.0, 12.0, 7.0), (12, 7, 1, 1)),
        ((49.9, 39.9, 60.0, 60.0), (49, 39, 1, 1)),
        ((80.0, 90.0, 95.0, 99.0), (49, 39, 1, 1)),
        ((-9.0, -9.0, -2.0, -2.0), (0, 0, 1, 1)),
    ],
)
def test_a_region_becomes_whole_pixels_of_the_image(region, window):
    placement = place((50, 40), 32, region)
    assert placement.window == window
    assert placement.render(np.zeros((40, 50, 3), dtype=np.uint8)).shape == (3, 32, 32)


def placements(augment: Augment, count: int = 300, size=(80, 60)) -> list:
    return [place(size, 40, None, augment, np.random.default_rng(seed)) for seed in range(count)]


def test_chance_covers_the_scales_the_offsets_and_the_mirror_images():
    found = placements(Augment(scale=(0.5, 2.0), flip=0.5))
    scales = [p.scaled[0] / p.window[2] * 2 for p in found]  # 80 pixels fit 40 at scale 1
    assert min(scales) == pytest.approx(0.5, abs=0.05) and max(scales) == pytest.approx(2.0, abs=0.05)
    assert 0.4 < np.mean([p.flip for p in found]) < 0.6
    cropped = [p for p in found if p.window[2] < 75]
    assert min(p.window[0] for p in cropped) == 0
    assert any(p.window[0] + p.window[2] == 80 for p in cropped)
    assert len({p.window[:2] for p in cropped}) > 50
    assert all(p.window == (0, 0, 80, 60) for p in placements(Augment(scale=(0.4, 0.9)), 50))
    assert not any(p.flip for p in placements(Augment(), 50)) and all(p.flip for p in placements(Augment(flip=1), 50))


def test_a_placement_is_a_function_of_the_generator():
    augment = Augment(scale=(0.3, 2.0), flip=0.5)
    assert placements(augment, 20) == placements(augment, 20)


@settings(derandomize=True, deadline=None, max_examples=100)
@given(size=sizes, block_at=fractions, augment=augments, seed=st.integers(0, 99))
def test_annotations_move_with_the_pixels(size, block_at, augment, seed):
    side, box = 64, box_of(block_at, size)
    placement = place(size, side, None, augment, np.random.default_rng(seed))
    xyxy = np.array([box], dtype=float)
    left, top, right, bottom = box
    outline = np.array([[left, top], [right, top], [right, bottom], [left, bottom]], dtype=float)
    annotations = {
        "boxes": Boxes(xyxy, ("x",)),
        "polygons": Polygons(xyxy, ("x",), parts=((outline,),)),
        "keypoints": Keypoints(
            xyxy,
            ("x",),
            points=outline[None, [0, 2]],
            visibility=np.array([[2, 2]]),
            skeleton=Skeleton(names=("left", "right"), flip_pairs=((0, 1),)),
        ),
    }
    example = Example(0, "x", size, annotations, lambda reduce=1: block(size, box))
    moved = example.warp(placement.matrix, placement.size)
    rows, columns = np.nonzero(placement.render(example.load())[0].numpy() > 127)
    if not len(moved.annotations["boxes"]):
        assert len(rows) <= 2 * side  # nothing but the rim
        return
    expected = moved.annotations["boxes"].xyxy[0] * side
    assume((expected[2:] - expected[:2] >= 3).all() and right - left >= 2 and bottom - top >= 2)
    found = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    np.testing.assert_allclose(found, expected, atol=1.01)
    part = moved.annotations["polygons"].parts[0][0] * side
    np.testing.assert_allclose([*part.min(axis=0), *part.max(axis=0)], expected, atol=1e-6)
    points, visible = moved.annotations["keypoints"].points[0] * side, moved.annotations["keypoints"].visibility[0]
    for point, seen, edge in zip(points, visible, expected[[0, 2]], strict=True):
        if seen:  # left stays left, also in a mirror image: the partners have changed places
            assert point[0] == pytest.approx(edge, abs=1e-6)


def test_colour_jitter_is_a_function_of_the_generator_and_keeps_shape_and_type(toys):
    image = torch.from_numpy(toys.image(0, 20, 24)).permute(2, 0, 1)
    before = image.clone()
    for seed in range(20):
        one, again = (colour_jitter(1.0, np.random.default_rng(seed))(image) for _ in range(2))
        assert torch.equal(one, again)
        assert one.shape == image.shape and one.dtype == torch.uint8
    assert torch.equal(image, before)


def test_colours_are_drawn_when_the_change_is_made_and_stay(toys):
    image = torch.from_numpy(toys.image(0, 20, 24)).permute(2, 0, 1)
    rng = np.random.default_rng(1)
    changes = [colour_jitter(1.0, rng) for _ in range(6)]
    state = rng.bit_generator.state
    found = [change(image) for change in changes]
    assert rng.bit_generator.state == state
    assert all(torch.equal(change(image), f) for change, f in zip(changes, found, strict=True))
    assert not torch.equal(found[0], found[1])


def test_colour_jitter_varies_most_images_and_greys_a_fifth(toys):
    image = torch.from_numpy(toys.image(0, 20, 24)).permute(2, 0, 1)
    found = [colour_jitter(0.5, np.random.default_rng(seed))(image) for seed in range(300)]
    same = np.mean([torch.equal(f, image) for f in found])
    grey = np.mean([torch.equal(f[0], f[1]) and torch.equal(f[1], f[2]) for f in found])
    assert 0.1 < same < 0.22  # one in five escapes the jitter, one in five of the others becomes grey
    assert 0.14 < grey < 0.26
    assert torch.equal(colour_jitter(0.0, np.random.default_rng(0))(image), image)
    near = [colour_jitter(0.01, np.random.default_rng(seed))(image) for seed in range(20)]
    closest = [f for f in near if not torch.equal(f[0], f[1])]
    assert max((f.int() - image.int()).abs().max() for f in closest) < 12
