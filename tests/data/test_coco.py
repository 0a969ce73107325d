"""COCO folders: every layout, every subset of files, ids and orders kept."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from multitask.annotations import Boxes, Captions, Keypoints, Polygons
from multitask.data.dataset import captions
from multitask.data.source import open_dataset
from multitask.data.table import TableDataset
from multitask.errors import DataError, UsageError
from multitask.skeleton import COCO_PERSON, Skeleton

from .coco_folder import POINTS, good, write


def opened(root: Path, split: str | None = None) -> TableDataset:
    return open_dataset(str(root), split, role="train")


def test_a_whole_data_set(tmp_path: Path) -> None:
    dataset = opened(write(tmp_path, good()))
    assert dataset.faults == []
    assert [(c.id, c.name) for c in dataset.info.categories] == [(3, "person"), (7, "kite")]
    assert dataset.info.name == tmp_path.name
    assert [sorted(dataset.kinds(i)) for i in range(len(dataset))] == [
        ["boxes", "captions", "keypoints", "polygons"], ["boxes", "keypoints", "polygons"], ["captions"],
    ]  # fmt: skip
    assert all(dataset.kinds(i) == set(dataset[i].annotations) for i in range(3))
    example = dataset[0]
    assert (example.id, example.file, example.size) == (1, "1.png", (40, 30))
    assert example.load()[0, 0].tolist() == [80, 0, 0]
    assert list(captions(dataset)) == ["A kite flies.", "Sea"]


def test_boxes_keep_ids_areas_and_crowds(tmp_path: Path) -> None:
    boxes = opened(write(tmp_path, good()))[0].annotations["boxes"]
    assert isinstance(boxes, Boxes)
    np.testing.assert_array_equal(boxes.xyxy, [[2, 3, 12, 11], [20, 5, 24, 25], [0, 0, 2, 30]])
    assert boxes.labels == ("kite", "person", "person")
    assert boxes.ids.tolist() == [11, 12, 13]
    assert boxes.areas.tolist() == [70.5, 60, 60]
    assert boxes.crowd.tolist() == [False, False, True]


def test_an_image_without_entries_has_empty_annotations(tmp_path: Path) -> None:
    for kind, annotation in opened(write(tmp_path, good()))[1].annotations.items():
        assert annotation.kind == kind
        assert len(annotation) == 0


def test_polygons_and_masks(tmp_path: Path) -> None:
    polygons = opened(write(tmp_path, good()))[0].annotations["polygons"]
    assert isinstance(polygons, Polygons)
    assert [len(parts) for parts in polygons.parts] == [2, 1, 0]
    np.testing.assert_array_equal(polygons.parts[0][0], [[2, 3], [12, 3], [12, 11]])
    assert polygons.masks[:2] == (None, None)
    mask = coco_mask.decode(polygons.masks[2])
    assert mask[:, :2].all()
    assert mask.sum() == 60


def test_packed_masks_are_the_same_masks(tmp_path: Path) -> None:
    files = good()
    drawn = (np.random.default_rng(1).random((30, 40)) < 0.3).astype(np.uint8)
    packed = coco_mask.encode(np.asfortranarray(drawn))
    files["instances"]["annotations"][2]["segmentation"] = {"size": [30, 40], "counts": packed["counts"].decode()}
    dataset = opened(write(tmp_path, files))
    assert dataset.faults == []
    polygons = dataset[0].annotations["polygons"]
    assert isinstance(polygons, Polygons)
    np.testing.assert_array_equal(coco_mask.decode(polygons.masks[2]), drawn)


def test_keypoints(tmp_path: Path) -> None:
    dataset = opened(write(tmp_path, good()))
    people = dataset[0].annotations["keypoints"]
    assert isinstance(people, Keypoints)
    np.testing.assert_array_equal(people.points, [[[22, 6], [20, 12], [0, 0]]])
    assert people.visibility.tolist() == [[2, 1, 0]]
    assert people.ids.tolist() == [12]
    np.testing.assert_array_equal(people.point_scores, [[1, 1, 1]])
    assert people.skeleton == dataset.info.skeleton
    assert dataset.info.skeleton == Skeleton(
        names=tuple(POINTS),
        edges=((0, 1), (0, 2)),
        flip_pairs=((1, 2),),
        sigmas=(0.05,) * 3,
        categories=("person",),
    )


def test_cocos_own_points_have_cocos_sigmas(tmp_path: Path) -> None:
    files = {"person_keypoints": good()["person_keypoints"]}
    edges = [[a + 1, b + 1] for a, b in COCO_PERSON.edges]
    files["person_keypoints"]["categories"][0] |= {"keypoints": list(COCO_PERSON.names), "skeleton": edges}
    files["person_keypoints"]["annotations"][0]["keypoints"] = [1, 1, 2] * 17
    assert opened(write(tmp_path, files)).info.skeleton == COCO_PERSON


def test_the_skeleton_names_the_categories_that_have_its_points(tmp_path: Path) -> None:
    files = {"person_keypoints": good()["person_keypoints"]}
    person = files["person_keypoints"]["categories"][0]
    files["person_keypoints"]["categories"] = [{**person, "id": 9, "name": "ape"}, {"id": 7, "name": "kite"}, person]
    one = files["person_keypoints"]["annotations"][0]
    files["person_keypoints"]["annotations"] += [{**one, "id": 20 + key, "category_id": key} for key in (7, 9)]
    dataset = opened(write(tmp_path, files))
    assert dataset.faults == []
    assert dataset.info.skeleton.categories == ("person", "ape")  # in the order of their ids
    assert dataset[0].annotations["keypoints"].labels == ("person", "ape")  # the kite's points mean nothing
    assert dataset[0].annotations["boxes"].labels == ("person", "kite", "ape")


def test_without_named_points_the_skeleton_is_empty(tmp_path: Path) -> None:
    assert opened(write(tmp_path, {"instances": good()["instances"]})).info.skeleton == Skeleton()


@pytest.mark.parametrize(
    ("stems", "kinds"),
    [
        (["instances"], {"boxes", "polygons"}),
        (["captions"], {"captions"}),
        (["person_keypoints"], {"boxes", "polygons", "keypoints"}),
        (["instances", "captions"], {"boxes", "polygons", "captions"}),
    ],
)
def test_any_subset_of_the_files(tmp_path: Path, stems: list[str], kinds: set[str]) -> None:
    dataset = opened(write(tmp_path, {stem: good()[stem] for stem in stems}))
    assert dataset.kinds(0) == kinds
    assert dataset.faults == []


def test_without_any_outline_there_are_no_polygons(tmp_path: Path) -> None:
    files = {"instances": good()["instances"]}
    for annotation in files["instances"]["annotations"]:
        annotation["segmentation"] = []
    dataset = opened(write(tmp_path, files))
    assert dataset.kinds(0) == {"boxes"}
    assert dataset.faults == []


@pytest.mark.parametrize("images", ["images/train", "train", "images", ".", "JPEGImages"])
@pytest.mark.parametrize("place", ["annotations", "coco", "."])
def test_layouts(tmp_path: Path, images: str, place: str) -> None:
    write(tmp_path, good(), images=images)
    if place != "annotations":
        for path in (tmp_path / "annotations").glob("*.json"):
            (tmp_path / place).mkdir(exist_ok=True)
            shutil.move(path, tmp_path / place / path.name)
        (tmp_path / "annotations").rmdir()
    dataset = opened(tmp_path)
    assert len(dataset) == 3
    assert dataset[2].load()[0, 0].tolist() == [240, 0, 0]


def test_file_names_with_folders(tmp_path: Path) -> None:
    files = {"instances": good()["instances"]}
    for image in files["instances"]["images"]:
        image["file_name"] = "train/" + image["file_name"]
    assert opened(write(tmp_path, files))[0].load().shape == (30, 40, 3)


def test_splits_are_found_for_a_role(tmp_path: Path) -> None:
    for split in ("train2017", "val2017", "test2017"):
        write(tmp_path, good(), split=split, images=f"images/{split}")
    assert open_dataset(str(tmp_path), None, role="train").split == "train2017"
    assert open_dataset(str(tmp_path), None, role="val").split == "val2017"
    assert open_dataset(str(tmp_path), "test2017", role="val", size=2).split == "test2017"
    assert len(open_dataset(str(tmp_path), None, role="val", size=2)) == 2
    for path in (tmp_path / "annotations").glob("*val2017.json"):
        path.unlink()
    assert open_dataset(str(tmp_path), None, role="val").split == "test2017"


def test_split_errors(tmp_path: Path) -> None:
    write(tmp_path, good(), split="train2014")
    with pytest.raises(UsageError, match="no split 'train'; did you mean 'train2014'"):
        opened(tmp_path, "train")
    with pytest.raises(UsageError, match=r"no split for val \(found train2014\); set data.val_split"):
        open_dataset(str(tmp_path), None, role="val")
    write(tmp_path, good(), split="train2017")
    with pytest.raises(
        UsageError, match=r"several splits to choose from \(train2014, train2017\); set data.train_split"
    ):
        opened(tmp_path)


def test_two_files_of_one_kind_are_refused_and_one_can_be_named(tmp_path: Path) -> None:
    points = good()["person_keypoints"]
    write(tmp_path, {"keypoints5": points, "keypoints68": points, "captions": good()["captions"]})
    with pytest.raises(DataError, match=r"several files with keypoints of split 'train': keypoints5_train.json, keypo"):
        opened(tmp_path)
    dataset = opened(tmp_path / "annotations" / "keypoints5_train.json")
    assert dataset.kinds(0) == {"boxes", "polygons", "keypoints"}
    assert dataset.info.name == tmp_path.name


def test_paths_that_hold_no_data_set(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder; give a data folder, an annotation file or 'shapes'"):
        open_dataset(str(tmp_path / "none"), None, role="train")
    with pytest.raises(
        DataError, match=r"no annotations found; looked for .*coco: instances_\*.json, .* in annotations/, coco/"
    ):
        open_dataset(str(tmp_path), None, role="train")
    (tmp_path / "labels.json").write_text("{}")
    with pytest.raises(DataError, match=r"labels\.json: no list of 'images', so this is not a COCO file"):
        open_dataset(str(tmp_path / "labels.json"), "labels", role="train")


def test_image_ids_may_be_words(tmp_path: Path) -> None:
    files = {"captions": good()["captions"]}
    for item in files["captions"]["images"]:
        item["id"] = f"image {item['id']}"
    for item in files["captions"]["annotations"]:
        item["image_id"] = f"image {item['image_id']}"
    assert opened(write(tmp_path, files))[0].id == "image 1"


def test_an_image_of_another_size_than_annotated_is_told_when_loaded(tmp_path: Path) -> None:
    dataset = opened(write(tmp_path, good()))
    Image.new("RGB", (41, 30)).save(tmp_path / "images/train/1.png")
    with pytest.raises(DataError, match=r"1\.png: is 41 x 30 pixels, but annotated as 40 x 30"):
        dataset[0].load()


def test_images_behind_links_that_lead_out_are_left_out(tmp_path: Path) -> None:
    root = write(tmp_path / "set", good())
    shutil.move(root / "images/train/1.png", tmp_path / "secret.png")
    (root / "images/train/1.png").symlink_to(tmp_path / "secret.png")
    dataset = opened(root)
    assert [dataset[i].id for i in range(len(dataset))] == [2, 3]
    assert [str(fault) for fault in dataset.faults] == [
        "annotations/instances_train.json: image 1: file_name '1.png' lies outside the data folder "
        "(skipped with its annotations); put the file there, or remove the entry"
    ]


def test_a_set_is_the_same_in_any_encoding_of_its_json(tmp_path: Path) -> None:
    text = json.dumps(good()["captions"])
    for i, raw in enumerate([text.encode("utf-8-sig"), text.encode("utf-16"), text.encode()]):
        dataset = opened(write(tmp_path / str(i), {"captions": raw}))
        annotation = dataset[0].annotations["captions"]
        assert isinstance(annotation, Captions)
        assert annotation.texts == ("A kite flies.",)
