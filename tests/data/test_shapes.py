"""The embedded data set: frozen, exact, and the same scene whatever the size of the split."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest

from multitask.annotations import Boxes, Captions, Keypoints, Polygons
from multitask.data import outlines
from multitask.data.dataset import captions
from multitask.data.outlines import area, figure, fill, solid
from multitask.data.shapes import COLOURS, NAMES, POINTS, SIDE, VISIBLE, ShapesDataset, _compose, caption
from multitask.data.source import open_dataset
from multitask.errors import UsageError
from multitask.example import Example

FROZEN = {  # SHA-256 of the images and of the annotations of scenes 0 to 19
    "train": (
        "fb0b14c91a7a79c0254ef65d4843b97134cb95137c0c1b0681f28ae2d1c07876",
        "a6a3c241850eabb0b667f061f7a64cbc46b7806f7549575e41f45f93b543097d",
    ),
    "val": (
        "64cdbfc260a1d6ecd06b47ee7ec088703815c5615c0e6a6f08e522f69893b7c1",
        "353f2639428da31a1e8a670b966f878e6737e87fec45f61b9c976935d804f4db",
    ),
    "test": (
        "fd00ce2d978ee63aa327fa8be164f2a389adb347fe06019a59e5a250aaf2a3b7",
        "bb4d58551e2ffe6d207bed3ae060986862ec6b65d38016c54f5f3801872b37eb",
    ),
}


def told(example: Example) -> str:
    return json.dumps({kind: example.annotations[kind].to_json() for kind in sorted(example.annotations)})


def told_as_in_version_1(example: Example) -> str:
    """The scene in the JSON that `FROZEN` was made from, which listed the points of an object without their names."""
    kinds = {kind: example.annotations[kind].to_json() for kind in sorted(example.annotations)}
    for one in kinds["keypoints"]:
        points = one.pop("points")
        assert [(p["name"], p["score"]) for p in points] == [(name, 1.0) for name in POINTS]
        one |= {"points_xy": [p["xy"] for p in points], "visibility": [p["visibility"] for p in points]}
    return json.dumps(kinds)


def scenes(count: int = 300) -> list[Example]:
    dataset = ShapesDataset("train", count)
    return [dataset[i] for i in range(count)]


def get(example: Example, kind: type[Boxes]) -> Boxes:
    annotation = example.annotations[kind.kind]
    assert isinstance(annotation, kind)
    return annotation


@pytest.mark.parametrize("split", FROZEN)
def test_the_first_scenes_are_those_of_version_1(split: str) -> None:
    images, words = hashlib.sha256(), hashlib.sha256()
    for example in map(ShapesDataset(split, 20).__getitem__, range(20)):
        images.update(example.load().tobytes())
        words.update(told_as_in_version_1(example).encode())
    assert (images.hexdigest(), words.hexdigest()) == FROZEN[split]


def test_no_cosine_of_the_table_is_near_a_tie() -> None:
    exact = np.cos(np.radians(np.arange(360))) * 4096
    assert np.abs(np.abs(exact - np.floor(exact)) - 0.5).min() > 1e-6
    np.testing.assert_allclose(outlines._COS, np.cos(np.radians(np.arange(360))), atol=2e-4)
    np.testing.assert_allclose(outlines._SIN, np.sin(np.radians(np.arange(360))), atol=2e-4)


def test_a_scene_depends_on_seed_split_and_index_alone() -> None:
    small, large = ShapesDataset("val", 8), ShapesDataset("val", 10**6)
    assert told(small[7]) == told(large[7])
    np.testing.assert_array_equal(small[7].load(), large[7].load())
    others = [ShapesDataset("val", 8, seed=1)[7], ShapesDataset("train", 8)[7], small[6]]
    assert len({told(other) for other in [small[7], *others]}) == 4


def test_load_gives_the_same_picture_every_time() -> None:
    example = ShapesDataset()[3]
    first = example.load()
    assert first.shape == (SIDE, SIDE, 3)
    assert first.dtype == np.uint8
    np.testing.assert_array_equal(first, example.load())


def test_objects_keep_to_their_limits() -> None:
    for example in scenes():
        boxes = get(example, Boxes)
        assert 1 <= len(boxes) <= 6
        assert set(boxes.labels) <= set(NAMES)
        assert boxes.xyxy.min() >= 0
        assert boxes.xyxy.max() <= SIDE
        assert (boxes.xyxy[:, 2:] - boxes.xyxy[:, :2]).max() <= 80  # a figure with its arms out


def test_outlines_have_the_size_they_were_drawn_with() -> None:
    rng = np.random.default_rng(5)
    for name in ("disc", "rectangle", "triangle", "star"):
        for _ in range(50):
            corners = np.concatenate(solid(name, rng))
            size = (corners.max(axis=0) - corners.min(axis=0)).max()
            assert 16 - 1e-9 <= size <= 56 + 1e-9
            assert size == pytest.approx(round(size))
    for _ in range(50):
        (outline,), points = figure(rng)
        assert 32 - 1e-9 <= np.ptp(outline[:, 1]) <= 64 + 1e-9
        assert (points >= outline.min(axis=0) - 1e-9).all()
        assert (points <= outline.max(axis=0) + 1e-9).all()


def crosses(a: np.ndarray, b: np.ndarray, c: np.ndarray, d: np.ndarray) -> bool:
    def side(p: np.ndarray, q: np.ndarray, r: np.ndarray) -> float:
        return float((q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0]))

    return side(a, b, c) * side(a, b, d) < 0 and side(c, d, a) * side(c, d, b) < 0


def test_no_outline_of_a_figure_crosses_itself() -> None:
    rng = np.random.default_rng(6)
    for _ in range(100):
        (outline,), _ = figure(rng)
        edges = list(zip(outline, np.roll(outline, -1, axis=0), strict=True))
        for i, one in enumerate(edges):
            assert not any(crosses(*one, *other) for other in edges[i + 1 :])


def inside(part: np.ndarray, x: float, y: float) -> bool:
    result = False
    for (x1, y1), (x2, y2) in zip(part, np.roll(part, -1, axis=0), strict=True):
        if (y1 <= y) != (y2 <= y) and x > x1 + (y - y1) * ((x2 - x1) / (y2 - y1)):
            result = not result
    return result


def test_fill_marks_the_pixels_whose_centre_is_inside() -> None:
    rng = np.random.default_rng(7)
    for name in NAMES:
        parts = figure(rng)[0] if name == "figure" else solid(name, rng)
        marked = set(zip(*(axis.tolist() for axis in fill(parts)), strict=True))
        box = range(-45, 45)
        expected = {(r, c) for r in box for c in box if any(inside(part, c + 0.5, r + 0.5) for part in parts)}
        assert marked == expected
        assert len(marked) == pytest.approx(sum(map(area, parts)), rel=0.1)


def test_polygons_and_boxes_agree_and_cover_the_pixels() -> None:
    for example in scenes(100):
        boxes, polygons = get(example, Boxes), get(example, Polygons)
        assert isinstance(polygons, Polygons)
        for xyxy, size, parts in zip(boxes.xyxy, boxes.areas, polygons.parts, strict=True):
            corners = np.concatenate(parts)
            np.testing.assert_allclose(xyxy, [*corners.min(axis=0), *corners.max(axis=0)])
            assert size == pytest.approx(sum(map(area, parts)))


def test_most_of_every_object_is_seen() -> None:
    for i in range(200):
        things, labels = _compose(np.random.Generator(np.random.PCG64(i)))
        for number, thing in enumerate(things, 1):
            whole = sum(map(area, thing.parts))  # clipped to the picture, so the bound is a little stricter
            assert (labels == number).sum() >= (VISIBLE - 0.1) * whole - 4
        assert labels.max() == len(things)


def test_some_objects_come_in_two_parts() -> None:
    polygons = [get(example, Polygons) for example in scenes()]
    counts = [len(parts) for one in polygons for parts in one.parts]  # type: ignore[attr-defined]
    assert set(counts) == {1, 2}
    assert 0.08 < np.mean(np.array(counts) == 2) < 0.22


def test_keypoints_belong_to_the_figures() -> None:
    states: set[int] = set()
    for example in scenes():
        boxes, people = get(example, Boxes), get(example, Keypoints)
        assert isinstance(people, Keypoints)
        figures = [i for i, label in enumerate(boxes.labels) if label == "figure"]
        assert people.ids.tolist() == boxes.ids[figures].tolist()
        assert people.points.shape == (len(figures), 9, 2)
        assert people.skeleton == ShapesDataset.info.skeleton and people.skeleton.categories == ("figure",)
        states |= set(people.visibility.ravel().tolist())
        for points, visibility, xyxy in zip(people.points, people.visibility, people.xyxy, strict=True):
            assert (points[visibility == 0] == 0).all()
            assert (points[visibility > 0] >= xyxy[:2]).all()
            assert (points[visibility > 0] <= xyxy[2:]).all()
    assert states == {0, 1, 2}


def test_left_is_the_figures_own_left() -> None:
    (_, points) = figure(np.random.default_rng(8))
    skeleton = ShapesDataset.info.skeleton
    names = skeleton.names
    assert len(skeleton.flip_pairs) == 3
    for a, b in skeleton.flip_pairs:
        assert (names[a].split("_")[0], names[b].split("_")[0]) == ("left", "right")
        assert points[a, 0] > points[b, 0]  # it faces the viewer


def test_ids_are_unique_over_the_set() -> None:
    ids = [key for example in scenes(100) for key in get(example, Boxes).ids.tolist()]
    assert len(ids) == len(set(ids))


def test_a_caption_counts_colours_and_sides() -> None:
    names, colours = ["star", "disc", "star", "triangle"], ["blue", "red", "blue", "green"]
    expected = "on the left a red disc and two blue stars; on the right a green triangle."
    assert caption(names, colours, [True, True, True, False]) == expected
    assert caption(["figure"], ["orange"], [False]) == "on the right an orange figure."
    three = caption(["disc", "disc", "figure"], ["green", "red", "red"], [True] * 3)
    assert three == "on the left a red disc, a green disc and a red figure."


def test_captions_are_short_and_name_every_object() -> None:
    words = {w: n for n, w in enumerate(("", "one", "two", "three", "four", "five", "six"))} | {"a": 1, "an": 1}
    for example in scenes(100):
        boxes, texts = get(example, Boxes), example.annotations["captions"]
        assert isinstance(texts, Captions)
        said = texts.texts[0].rstrip(".").replace(",", "").replace(";", "").split()
        assert len(said) <= 26
        counted = [
            (words[a], b, c.rstrip("s")) for a, b, c in zip(said, said[1:], said[2:], strict=False) if b in COLOURS
        ]
        assert sum(count for count, _, _ in counted) == len(boxes)
        assert {name for _, _, name in counted} == set(boxes.labels)


def test_colours_can_be_told_apart() -> None:
    values = np.array(list(COLOURS.values()))
    distances = np.abs(values[:, None] - values[None]).max(axis=2) + 255 * np.eye(len(values))
    assert distances.min() > 2 * 14  # the jitter of two colours


def test_open_dataset_takes_the_split_of_the_role() -> None:
    train, val = open_dataset("shapes", None, role="train"), open_dataset("shapes", None, role="val")
    assert (train.split, len(train), val.split, len(val)) == ("train", 2**17, "val", 200)
    assert len(open_dataset("shapes", "test", role="val", size=5)) == 5
    assert told(open_dataset("shapes", None, role="train", seed=3)[0]) == told(ShapesDataset("train", 1, 3)[0])
    with pytest.raises(UsageError, match="no split 'tran'; did you mean 'train'"):
        open_dataset("shapes", "tran", role="train")


def test_captions_can_be_walked_and_ends_known() -> None:
    dataset = ShapesDataset("val", 5)
    assert list(captions(dataset)) == [dataset[i].annotations["captions"].to_json()[0]["text"] for i in range(5)]
    assert dataset[-1].id == 4
    with pytest.raises(IndexError):
        dataset[5]
