"""YOLO's text files: where they lie, what they say, and the way back."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from multitask.data.formats.layout import Place, choose_split
from multitask.data.formats.yolo import find
from multitask.errors import DataError
from multitask.skeleton import COCO_PERSON, Skeleton
from multitask.task import Category

from .yolo_folder import SIZE, boxes, draw, found, read, write_set, write_text

KITE, DOG = Category(0, "kite"), Category(1, "dog")


# ------------------------------------------------------------------------------------------------------------ reading


def test_boxes_are_fractions_of_the_image_and_a_missing_file_says_nothing_is_there(tmp_path: Path) -> None:
    table = read(write_set(tmp_path))
    assert [(image.id, image.name, image.size) for image in table.images] == [
        ("1", "1.png", SIZE), ("2", "2.png", SIZE), ("3", "3.png", SIZE),
    ]  # fmt: skip
    assert boxes(table.images[0]) == [("kite", [16, 6, 24, 14]), ("dog", [0, 0, 20, 20])]
    assert [set(image.objects) for image in table.images] == [{"boxes"}] * 3
    assert [len(image.objects["boxes"]) for image in table.images] == [2, 0, 0]
    assert [(one.id, one.area) for one in table.images[0].objects["boxes"]] == [(1, pytest.approx(64)), (2, 400)]
    assert (table.root, table.folder) == (tmp_path, tmp_path / "images/train")
    assert table.categories == [KITE, DOG]
    assert (table.faults, table.entries) == ([], 5)


def test_a_set_with_one_outline_is_a_set_of_outlines(tmp_path: Path) -> None:
    rows = "0 0.25 0.25 0.75 0.25 0.75 0.75\n1 0.5 0.5 0.2 0.4\n"
    first, second, _ = read(write_set(tmp_path, {"train/1": rows, "train/2": "1 0.5 0.5 0.2 0.4"})).images
    assert boxes(first) == [("kite", [10, 5, 30, 15]), ("dog", [16, 6, 24, 14])]
    (outline,) = first.objects["polygons"]
    assert outline is first.objects["boxes"][0]
    assert outline.parts[0].tolist() == [[10, 5], [30, 5], [30, 15]]
    assert outline.area == 100
    assert (len(second.objects["boxes"]), second.objects["polygons"]) == (1, [])


POSE = {"kpt_shape": [3, 3], "flip_idx": [0, 2, 1]}


def test_points_follow_the_box(tmp_path: Path) -> None:
    row = "0 0.5 0.5 0.2 0.4 0.5 0.5 2 0.25 0.5 1 0 0 0"
    table = read(write_set(tmp_path, {"train/1": row}, **POSE))
    (posed,) = table.images[0].objects["keypoints"]
    assert posed is table.images[0].objects["boxes"][0]
    assert posed.points is not None
    assert posed.points[0].tolist() == [[20, 10], [10, 10], [0, 0]]
    assert posed.points[1].tolist() == [2, 1, 0]
    assert table.images[1].objects == {"boxes": [], "keypoints": []}
    assert table.skeleton == Skeleton(
        names=("p0", "p1", "p2"), flip_pairs=((1, 2),), categories=("kite", "dog")
    )  # fmt: skip


def test_of_points_with_two_numbers_all_but_those_at_the_origin_are_visible(tmp_path: Path) -> None:
    table = read(write_set(tmp_path, {"train/1": "0 0.5 0.5 0.2 0.4 0.5 0.5 0 0.5 0 0"}, kpt_shape=[3, 2]))
    points = table.images[0].objects["keypoints"][0].points
    assert points is not None
    assert points[0].tolist() == [[20, 10], [0, 10], [0, 0]]
    assert points[1].tolist() == [2, 2, 0]


@pytest.mark.parametrize(
    ("given_names", "expected"),
    [
        ({0: ["a", "left_b", "right_b"], 1: ["a", "left_b", "right_b"]}, ("a", "left_b", "right_b")),
        (["x", "y", "z"], ("x", "y", "z")),
        (None, ("p0", "p1", "p2")),
    ],
)
def test_points_may_have_names_for_each_class_or_for_all(
    tmp_path: Path, given_names: Any, expected: tuple[str, ...]
) -> None:
    assert found(write_set(tmp_path, kpt_shape=[3, 3], kpt_names=given_names)).settings.skeleton.names == expected


def test_partners_without_flip_idx_are_told_by_names(tmp_path: Path) -> None:
    names = ["left_b", "a", "right_b"]
    assert found(write_set(tmp_path, kpt_shape=[3, 3], kpt_names=names)).settings.skeleton.flip_pairs == ((0, 2),)


def test_points_named_as_those_of_coco_are_scored_and_joined_alike(tmp_path: Path) -> None:
    root = write_set(tmp_path, kpt_shape=[17, 3], kpt_names=list(COCO_PERSON.names))
    skeleton = found(root).settings.skeleton
    assert (skeleton.sigmas, skeleton.edges) == (COCO_PERSON.sigmas, COCO_PERSON.edges)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("[no, 'true', on, 7]", {0: "no", 1: "true", 2: "on", 3: "7"}),
        ("{3: kite, 90: dog}", {3: "kite", 90: "dog"}),
        ("\n  - a b\n  - 'ü'", {0: "a b", 1: "ü"}),
    ],
)
def test_names_are_words_in_a_list_or_by_class(tmp_path: Path, names: str, expected: dict[int, str]) -> None:
    write_text(tmp_path, **{"data.yaml": f"train: images/train\nnames: {names}\n"})
    assert found(tmp_path).settings.names == expected


def test_classes_keep_their_numbers(tmp_path: Path) -> None:
    table = read(write_set(tmp_path, {"train/1": "90 0.5 0.5 1 1"}, names={3: "kite", 90: "dog"}, nc=2))
    assert table.images[0].objects["boxes"][0].category == Category(90, "dog")


def test_a_file_may_have_a_mark_carriage_returns_tabs_and_classes_with_a_point(tmp_path: Path) -> None:
    rows = b"\xef\xbb\xbf0.0\t5e-1 .5  0.2 0.4\r\n\r\n1 +0.25 0.5 0.5 1\r"
    assert len(read(write_set(tmp_path, {"train/1": rows})).images[0].objects["boxes"]) == 2


def test_rounding_over_the_border_is_clipped_without_a_word(tmp_path: Path) -> None:
    rows = "0 0.5 0.5 1.001 1\n1 -0.0009 0 1 1.0009 1 0\n"
    table = read(write_set(tmp_path, {"train/1": rows}))
    assert boxes(table.images[0]) == [("kite", [0, 0, 40, 20]), ("dog", [0, 0, 40, 20])]
    assert table.faults == []


def test_the_frame_is_that_of_the_upright_image(tmp_path: Path) -> None:
    write_set(tmp_path)
    exif = Image.Exif()
    exif[0x0112] = 6
    (tmp_path / "images/train/1.png").unlink()
    Image.new("RGB", (40, 20)).save(tmp_path / "images/train/1.jpg", exif=exif)
    image = read(tmp_path).images[0]
    assert image.size == (20, 40)
    assert boxes(image)[0] == ("kite", [8, 12, 12, 28])


# ------------------------------------------------------------------------------------------------------------- places


def test_labels_take_the_place_of_the_last_folder_called_images(tmp_path: Path) -> None:
    draw(tmp_path, "images/a/images/b/1.jpg")
    rows = {"data.yaml": "{train: images, names: [kite]}", "images/a/labels/b/1.txt": "0 0.5 0.5 1 1"}
    write_text(tmp_path, **rows)
    image = read(tmp_path).images[0]
    assert (image.name, image.file, len(image.objects["boxes"])) == ("a/images/b/1.jpg", "images/a/labels/b/1.txt", 1)


def test_labels_lie_beside_images_that_are_in_no_folder_called_images(tmp_path: Path) -> None:
    draw(tmp_path, "pictures/1.JPG")
    write_text(tmp_path, **{"set.yaml": "{train: pictures, names: [kite]}", "pictures/1.txt": "0 0.5 0.5 1 1"})
    assert len(read(tmp_path).images[0].objects["boxes"]) == 1


def test_a_root_called_images_is_no_part_of_the_rule(tmp_path: Path) -> None:
    root = tmp_path / "images"
    draw(root, "train/1.png")
    write_text(root, **{"data.yaml": "{train: train, names: [kite]}", "train/1.txt": "0 0.5 0.5 1 1"})
    assert len(read(root).images[0].objects["boxes"]) == 1


def test_the_layout_of_roboflow(tmp_path: Path) -> None:
    draw(tmp_path, "train/images/1.png", "valid/images/2.png")
    write_text(tmp_path, **{f"{part}/labels/{i}.txt": "0 0.5 0.5 1 1" for part, i in (("train", 1), ("valid", 2))})
    text = "train: ../train/images\nval: ../valid/images\ntest: ../test/images\n\nnc: 1\nnames: ['kite']\n"
    write_text(tmp_path, **{"data.yaml": text, "README.roboflow.txt": "by hand"})
    layout = found(tmp_path)
    assert list(layout.splits) == ["train", "val", "test"]
    assert [len(layout.read(split).images[0].objects["boxes"]) for split in ("train", "val")] == [1, 1]
    with pytest.raises(DataError, match=r"test: '\.\./test/images' is not there, or outside"):
        layout.read("test")


def test_climbing_never_leaves_the_data_set(tmp_path: Path) -> None:
    root = tmp_path / "set"
    draw(tmp_path, "images/train/1.png")
    write_text(root, **{"data.yaml": "{train: ../images/train, names: [kite]}"})
    with pytest.raises(DataError, match=r"data\.yaml: train: '\.\./images/train' is not there"):
        read(root)
    os.symlink(tmp_path / "images", root / "images")
    with pytest.raises(DataError, match="is not there, or outside"):
        read(root)


@pytest.mark.parametrize("path", ["sub", "./sub", "../elsewhere/../sub/", "sub/../sub", "{here}/sub"])
def test_path_is_the_root(tmp_path: Path, path: str) -> None:
    write_set(tmp_path / "sub")
    (tmp_path / "sub/data.yaml").rename(tmp_path / "data.yaml")
    with (tmp_path / "data.yaml").open("a") as file:
        file.write(f"path: {path.format(here=tmp_path)}\n")
    assert len(read(tmp_path).images) == 3
    assert len(read(tmp_path / "data.yaml").images) == 3


@pytest.mark.parametrize("path", ["/content/data", "../datasets/coco8", "gone", "", 5, None])
def test_a_path_that_leads_nowhere_is_passed_over(tmp_path: Path, path: Any) -> None:
    assert len(read(write_set(tmp_path, path=path)).images) == 3


def test_a_split_may_be_several_folders(tmp_path: Path) -> None:
    write_set(tmp_path, train=["images/train", "images/val"])
    table = read(tmp_path)
    assert [image.name for image in table.images] == ["train/1.png", "train/2.png", "train/3.png", "val/4.png"]
    assert table.folder == tmp_path / "images"


@pytest.mark.parametrize(
    "line", ["./images/train/1.png", "images/train/1.png", "../images/train/1.png", "{root}/images/train/1.png"]
)
def test_a_split_may_be_a_list_of_images(tmp_path: Path, line: str) -> None:
    write_set(tmp_path, train="lists/train.txt")
    write_text(tmp_path, **{"lists/train.txt": f"{line.format(root=tmp_path)}\r\n\r\nimages\\val\\4.png\n"})
    table = read(tmp_path)
    assert [image.name for image in table.images] == ["train/1.png", "val/4.png"]
    assert len(table.images[0].objects["boxes"]) == 2
    assert table.faults == []


def test_where_file_names_repeat_images_are_named_by_their_paths(tmp_path: Path) -> None:
    write_set(tmp_path)
    draw(tmp_path, "images/train/deep/1.png")
    assert [image.id for image in read(tmp_path).images] == ["1", "2", "3", "deep/1"]


def test_a_folder_without_yaml(tmp_path: Path) -> None:
    draw(tmp_path, "images/1.png", "images/2.png")
    write_text(tmp_path, **{"classes.txt": "kite\r\n\r\ndog\n", "labels/1.txt": "2 0.5 0.5 1 1"})
    layout = found(tmp_path)
    assert list(layout.splits) == ["all"]
    table = layout.read("all")
    assert table.categories == [KITE, Category(2, "dog")]
    assert [boxes(image) for image in table.images] == [[("dog", [0, 0, 40, 20])], []]


def test_a_folder_without_yaml_may_have_splits(tmp_path: Path) -> None:
    draw(tmp_path, "images/train/1.png", "images/val/2.png")
    write_text(tmp_path, **{"labels/classes.txt": "kite", "labels/val/2.txt": "0 0.5 0.5 1 1"})
    layout = found(tmp_path)
    assert list(layout.splits) == ["train", "val"]
    assert [image.id for image in layout.read("val").images] == ["2"]


NOT_YOLO: dict[str, dict[str, str]] = {
    "nothing": {},
    "yaml of something else": {"config.yaml": "train: {steps: 5}\n", "images/1.txt": "", "labels/1.txt": ""},
    "other yaml that is damaged": {"a.yaml": "{", "b.yml": "names: [x]"},
    "labels without names": {"images/1.png": "", "labels/1.txt": ""},
    "names without labels": {"images/1.png": "", "labels/classes.txt": "kite"},
}


@pytest.mark.parametrize("case", NOT_YOLO)
def test_other_folders_are_left_to_other_formats(tmp_path: Path, case: str) -> None:
    write_text(tmp_path, **NOT_YOLO[case])
    assert find(Place(str(tmp_path))) is None


def test_the_place_may_be_a_yaml_file_of_any_name(tmp_path: Path) -> None:
    write_set(tmp_path)
    (tmp_path / "data.yaml").rename(tmp_path / "mine.YML")
    assert len(read(tmp_path / "mine.YML").images) == 3
    assert len(read(tmp_path).images) == 3
    assert find(Place(str(tmp_path / "images/train/1.png"))) is None


def test_a_person_may_choose_the_settings_the_labels_and_the_images(tmp_path: Path) -> None:
    write_set(tmp_path)
    write_text(tmp_path, **{"small.yaml": "{train: images/val, names: [cat]}", "second/train/2.txt": "1 0.5 0.5 1 1"})
    draw(tmp_path, "small/train/1.png")
    assert read(tmp_path, annotations="small.yaml").categories == [Category(0, "cat")]
    assert [len(image.objects["boxes"]) for image in read(tmp_path, annotations="second").images] == [0, 1, 0]
    table = read(tmp_path, images="small")
    assert [(image.id, len(image.objects["boxes"])) for image in table.images] == [("1", 2)]
    assert find(Place(str(tmp_path), annotations="data.*l")) is not None
    write_text(tmp_path, **{"some.json": "{}"})
    assert find(Place(str(tmp_path), annotations="*.json")) is None


def test_validation_takes_val_before_valid(tmp_path: Path) -> None:
    write_set(tmp_path, valid="images/train")
    assert choose_split("x", found(tmp_path).splits, None, "val") == "val"
