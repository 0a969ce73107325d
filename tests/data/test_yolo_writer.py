"""From a table to YOLO's text files, and back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from multitask.data.formats.yolo_writer import write
from multitask.data.outlines import area
from multitask.data.table import Table, TableImage, TableObject
from multitask.errors import DataError
from multitask.skeleton import Skeleton
from multitask.task import Category
from multitask.yamlio import read_yaml

from .yolo_folder import boxes, draw, read, write_text

KITE, DOG = Category(0, "kite"), Category(1, "dog")


def table_of(root: Path, *images: TableImage, **more: Any) -> Table:
    for image in images:
        draw(root, image.name, size=image.size)
    return Table(root, root, list(images), more.pop("categories", [KITE, DOG]), **more)


def image_of(name: str = "a.png", size: tuple[int, int] = (640, 480), **objects: list[TableObject]) -> TableImage:
    return TableImage(Path(name).stem, name, size, "", objects)


def thing(*xyxy: float, category: Category = KITE, **more: Any) -> TableObject:
    """With the area of its first part, or else of its box."""
    part = more.get("parts", (np.array(xyxy)[[0, 1, 2, 1, 2, 3, 0, 3]].reshape(4, 2),))[-1]
    return TableObject(1, category, np.array(xyxy, dtype=np.float64), area(part), **more)


SIDE = st.floats(0, 640, width=32)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(st.lists(st.tuples(SIDE, SIDE, SIDE, SIDE), max_size=6))
def test_boxes_come_back_within_a_ten_thousandth_of_a_pixel(
    tmp_path_factory: pytest.TempPathFactory, corners: list[tuple[float, ...]]
) -> None:
    tmp_path = tmp_path_factory.mktemp("boxes")
    kept = [(min(a, c), min(b, d), max(a, c), max(b, d)) for a, b, c, d in corners if abs(a - c) * abs(b - d) > 0.01]
    objects = [thing(*xyxy) for xyxy in dict.fromkeys(kept)]
    image = image_of(size=(640, 640), boxes=objects)
    assert write(table_of(tmp_path / "in", image), "train", tmp_path / "out") == []
    (again,) = read(tmp_path / "out").images
    assert len(again.objects["boxes"]) == len(objects)
    for one, two in zip(objects, again.objects["boxes"], strict=True):
        assert np.abs(one.xyxy - two.xyxy).max() < 1e-4


def test_a_split_written_and_read_is_the_same(tmp_path: Path) -> None:
    first = image_of("deep/a.png", boxes=[thing(1, 2, 31, 42), thing(600, 2, 640, 480, category=DOG)])
    table = table_of(tmp_path / "in", first, image_of("b.jpg", (64, 48), boxes=[]))
    assert write(table, "train", tmp_path / "out") == []
    again = read(tmp_path / "out")
    assert again.faults == []
    assert [(image.id, image.size, boxes(image)) for image in again.images] == [
        ("a", (640, 480), [("kite", [1, 2, 31, 42]), ("dog", [600, 2, 640, 480])]), ("b", (64, 48), []),
    ]  # fmt: skip
    assert again.categories == [KITE, DOG]
    assert (tmp_path / "out/images/train/b.jpg").read_bytes() == (tmp_path / "in/b.jpg").read_bytes()
    assert (tmp_path / "out/labels/train/b.txt").read_bytes() == b""


def test_outlines_come_back_and_what_has_none_is_a_box(tmp_path: Path) -> None:
    outline = np.array([[10.0, 10], [50, 12], [30, 77.25]])
    objects = [thing(10, 10, 50, 77.25, parts=(outline,)), thing(1, 2, 3, 4)]
    table = table_of(tmp_path / "in", image_of(boxes=objects, polygons=objects[:1]))
    assert write(table, "train", tmp_path / "out") == []
    again = read(tmp_path / "out").images[0]
    assert boxes(again) == [("kite", [10, 10, 50, 77.25]), ("kite", [1, 2, 3, 4])]
    assert [np.abs(one.parts[0] - outline).max() < 1e-4 for one in again.objects["polygons"]] == [True]


def test_of_an_outline_the_largest_part_inside_the_image_is_written(tmp_path: Path) -> None:
    small, large = np.array([[0.0, 0], [5, 0], [5, 5]]), np.array([[-40.0, 10], [60, 10], [60, 60], [-40, 60]])
    one = replace(thing(0, 0, 60, 60, parts=(small, large)), area=3000)
    told = write(table_of(tmp_path / "in", image_of(polygons=[one])), "train", tmp_path / "out")
    assert told == ["all but the largest part of 1 outline"]
    table = read(tmp_path / "out")
    assert boxes(table.images[0]) == [("kite", [0, 10, 60, 60])]
    assert table.faults == []


def test_images_without_outlines_are_kept_for_their_boxes(tmp_path: Path) -> None:
    one = thing(1, 1, 5, 5, parts=(np.array([[1.0, 1], [5, 1], [5, 5]]),))
    table = table_of(tmp_path / "in", image_of(polygons=[one]), image_of("b.png", boxes=[thing(1, 2, 3, 4)]))
    assert write(table, "train", tmp_path / "out") == ["that outlines were not looked for on 1 image"]
    assert [len(image.objects["polygons"]) for image in read(tmp_path / "out").images] == [1, 0]


def pose_table(root: Path, **skeleton: Any) -> Table:
    points = np.array([[10.5, 20], [0, 0], [640, 480]]), np.array([2, 0, 1])
    objects = [thing(1, 2, 31, 42, points=points), thing(5, 5, 9, 9)]
    names = ("a", "left_b", "right_b")
    bones = Skeleton(names=names, flip_pairs=((1, 2),), categories=("kite",), **skeleton)
    return table_of(
        root, image_of(boxes=[*objects, thing(2, 2, 4, 4, category=DOG)], keypoints=objects), skeleton=bones
    )


def test_points_come_back_with_names_and_partners(tmp_path: Path) -> None:
    table = pose_table(tmp_path / "in")
    assert write(table, "train", tmp_path / "out") == ["1 object of categories without keypoints"]
    again = read(tmp_path / "out")
    assert (again.skeleton, again.categories, again.faults) == (table.skeleton, [KITE], [])
    posed, bare = (one.points for one in again.images[0].objects["keypoints"])
    assert posed is not None and bare is not None
    assert np.abs(posed[0] - [[10.5, 20], [0, 0], [640, 480]]).max() < 1e-4
    assert (posed[1].tolist(), bare[1].tolist()) == ([2, 0, 1], [0, 0, 0])


def test_edges_and_sigmas_are_told_as_lost(tmp_path: Path) -> None:
    told = write(pose_table(tmp_path / "in", edges=((0, 1),), sigmas=(0.1, 0.2, 0.2)), "train", tmp_path / "out")
    assert told[1:] == ["the edges of the skeleton", "the sigmas of the points"]


def crowd() -> TableImage:
    return image_of(boxes=[thing(1, 2, 3, 4, crowd=True), thing(4, 5, 6, 7)])


def masked() -> TableImage:
    one = thing(1, 2, 3, 4, mask={"size": [480, 640], "counts": [480 * 640]})
    return image_of(boxes=[one], polygons=[one])


def captioned() -> TableImage:
    image = image_of(boxes=[])
    image.captions = ["A kite."]
    return image


UNCARRIED: dict[str, tuple[Callable[[], TableImage], str]] = {
    "crowd": (crowd, "1 crowd"),
    "mask": (masked, "run-length masks of 1 object, which become boxes"),
    "area": (
        lambda: image_of(boxes=[replace(thing(1, 2, 3, 4), area=3.9)]),
        "areas of 1 object, which are taken from what is written",
    ),
    "id": (lambda: replace(image_of(boxes=[]), id=7), "ids of 1 image, whose file names are taken"),
    "captions": (captioned, "captions of 1 image"),
    "double": (
        lambda: image_of(boxes=[thing(1, 2, 3, 4)] * 2 + [thing(1, 2, 3, 4)]),
        "1 object standing twice in one place",
    ),
}


@pytest.mark.parametrize("case", UNCARRIED)
def test_what_is_not_carried_is_told(tmp_path: Path, case: str) -> None:
    make, line = UNCARRIED[case]
    assert write(table_of(tmp_path / "in", make()), "train", tmp_path / "out") == [line]
    assert read(tmp_path / "out").faults == []


def test_images_that_would_be_misread_are_left_out(tmp_path: Path) -> None:
    """One that nobody looked for objects on, one annotated unturned, which YOLO's readers turn, and an odd name."""
    table = table_of(tmp_path / "in", image_of(boxes=[]), image_of("unknown.png"), image_of("turned.jpg", boxes=[]))
    table.images.append(image_of("odd", boxes=[]))
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (640, 480)).save(tmp_path / "in/turned.jpg", exif=exif)
    assert write(table, "train", tmp_path / "out") == [
        "1 image without boxes",
        "1 image that cannot be read, or whose size is not the annotated one when upright",
        "1 image whose names do not end like those of images",
    ]
    assert [image.id for image in read(tmp_path / "out").images] == ["a"]


def test_ids_are_kept_unless_they_are_negative(tmp_path: Path) -> None:
    table = table_of(tmp_path / "in", image_of(boxes=[thing(1, 2, 3, 4, category=Category(7, "kite"))]))
    table.categories = [Category(7, "kite"), Category(3, "dog")]
    assert write(table, "train", tmp_path / "out") == [
        "class numbers with gaps, or not from 0, to other programs; they are kept"
    ]
    assert read(tmp_path / "out").images[0].objects["boxes"][0].category == Category(7, "kite")
    table.categories = [Category(7, "kite"), Category(-3, "dog")]
    assert write(table, "train", tmp_path / "second") == []
    assert read(tmp_path / "second").images[0].objects["boxes"][0].category == Category(1, "kite")


def test_images_that_would_share_a_label_file_are_numbered(tmp_path: Path) -> None:
    names = ("x/a.png", "y/A.png", "a.jpg")
    table = table_of(tmp_path / "in", *(image_of(name, boxes=[thing(1, 2, 3, 4 + i)]) for i, name in enumerate(names)))
    write(table, "train", tmp_path / "out")
    assert {image.id: boxes(image)[0][1][3] for image in read(tmp_path / "out").images} == {"a": 4, "A-2": 5, "a-3": 6}


def test_splits_are_written_one_after_the_other(tmp_path: Path) -> None:
    train, val = (table_of(tmp_path / name, image_of(f"{name}.png", boxes=[thing(1, 2, 3, 4)])) for name in "ab")
    assert write(train, "train", tmp_path / "out") == []
    assert write(val, "val2017", tmp_path / "out") == ["the name of the split, which becomes val"]
    assert write(train, "train", tmp_path / "out") == []
    assert read_yaml(tmp_path / "out/data.yaml") == {
        "train": "images/train", "names": {0: "kite", 1: "dog"}, "val": "images/val2017",
    }  # fmt: skip
    assert [read(tmp_path / "out", split).images[0].id for split in ("train", "val")] == ["a", "b"]


OTHERS: dict[str, tuple[Callable[[Path], Table], str, str]] = {
    "names": (lambda root: table_of(root, image_of(boxes=[]), categories=[KITE]), "val", "'names' is another than"),
    "points": (pose_table, "val", "'names' is another than that of split 'val'"),
    "split": (lambda root: table_of(root, image_of(boxes=[])), "train2", "'train' is another than that"),
    "image": (lambda root: table_of(root, image_of(size=(5, 5), boxes=[])), "train", "exists and is another"),
    "nothing to write": (lambda root: table_of(root, image_of()), "train", "has no image with boxes, outlines or"),
}


@pytest.mark.parametrize("case", OTHERS)
def test_what_was_written_before_is_not_changed(tmp_path: Path, case: str) -> None:
    make, split, reason = OTHERS[case]
    write(table_of(tmp_path / "in", image_of(boxes=[])), "train", tmp_path / "out")
    before = {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()}
    with pytest.raises(DataError, match=reason):
        write(make(tmp_path / "other"), split, tmp_path / "out")
    assert {path: path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file()} == before


def test_a_yaml_file_about_something_else_is_not_written_over(tmp_path: Path) -> None:
    write_text(tmp_path, **{"out/data.yaml": "x: 1"})
    with pytest.raises(DataError, match="is about something else"):
        write(table_of(tmp_path / "in", image_of(boxes=[])), "train", tmp_path / "out")
