"""COCO files as others write them: LVIS, Objects365, Roboflow, single files, several sets in one folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from multitask.annotations import Boxes
from multitask.data.formats.layout import Place
from multitask.data.source import open_dataset, open_layout
from multitask.data.table import TableDataset
from multitask.errors import DataError, UsageError

from .coco_folder import good
from .coco_folder import write as write_good


def image(path: Path, red: int = 80) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (40, 30), (red, 0, 0)).save(path)


def put(path: Path, data: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data))
    return path


def opened(path: Path, split: str | None = None, **where: str) -> TableDataset:
    dataset = open_dataset(str(path), split, role="train", **where)
    assert isinstance(dataset, TableDataset)
    return dataset


def boxes(dataset: TableDataset, position: int = 0) -> Boxes:
    found = dataset[position].annotations["boxes"]
    assert isinstance(found, Boxes)
    return found


# ------------------------------------------------------------------------------------------------------------- LVIS


def lvis(split: str) -> dict[str, Any]:
    """No file names, no `iscrowd`; which categories were looked for stands with each image."""
    images = [
        {"id": i, "coco_url": f"http://images.cocodataset.org/{split}2017/{i:012}.jpg", "width": 40, "height": 30,
         "license": 1, "neg_category_ids": [5], "not_exhaustive_category_ids": [], "flickr_url": "http://a.b/c.jpg"}
        for i in (391895, 522418)
    ]  # fmt: skip
    annotation = {"id": 3, "image_id": 391895, "category_id": 1203, "bbox": [2.5, 3, 10, 8], "area": 61.25,
                  "segmentation": [[2.5, 3, 12.5, 3, 12.5, 11]]}  # fmt: skip
    categories = [
        {"id": 5, "name": "alarm_clock", "synset": "alarm_clock.n.01", "frequency": "f", "image_count": 9},
        {"id": 1203, "name": "zucchini", "synset": "zucchini.n.02", "frequency": "r", "synonyms": ["courgette"]},
    ]
    return {"images": images, "annotations": [annotation], "categories": categories, "licenses": [], "info": {}}


@pytest.mark.parametrize("folder", [".", "images", "coco2017"])
def test_lvis(tmp_path: Path, folder: str) -> None:
    for split in ("train", "val"):
        put(tmp_path / f"annotations/lvis_v1_{split}.json", lvis(split))
        for i, red in ((391895, 80), (522418, 160)):
            image(tmp_path / folder / f"{split}2017/{i:012}.jpg", red)
    dataset = opened(tmp_path)
    assert (dataset.split, dataset.faults, len(dataset)) == ("train", [], 2)
    assert open_dataset(str(tmp_path), None, role="val").split == "val"
    assert dataset[0].id == 391895
    assert dataset[0].file == "train2017/000000391895.jpg"
    assert abs(int(dataset[1].load()[0, 0, 0]) - 160) < 3
    assert boxes(dataset).xyxy.tolist() == [[2.5, 3, 12.5, 11]]
    assert boxes(dataset).crowd.tolist() == [False]
    assert boxes(dataset).areas.tolist() == [61.25]
    assert dataset.kinds(0) == {"boxes", "polygons"}
    assert [(c.id, c.name) for c in dataset.info.categories] == [(5, "alarm_clock"), (1203, "zucchini")]


@pytest.mark.parametrize("folder", ["train2017", "images/train2017", "images", "."])
def test_lvis_with_its_images_in_one_folder(tmp_path: Path, folder: str) -> None:
    put(tmp_path / "lvis_v1_train.json", lvis("train"))
    image(tmp_path / folder / "000000391895.jpg")
    image(tmp_path / folder / "000000522418.jpg")
    assert opened(tmp_path).faults == []
    assert opened(tmp_path)[0].load().shape == (30, 40, 3)


def test_addresses_do_not_lead_out(tmp_path: Path) -> None:
    data = lvis("train")
    data["images"][1]["coco_url"] = "http://images.cocodataset.org/.."
    put(tmp_path / "lvis_v1_train.json", data)
    image(tmp_path / "train2017/000000391895.jpg")
    (fault,) = opened(tmp_path).faults
    assert (fault.where, fault.reason) == ("image 522418", "leads out of the data folder")


# ------------------------------------------------------------------------------------------------------- Objects365


def objects365(version: str) -> dict[str, Any]:
    """Category ids with gaps; names that begin with folders that the disk has not."""
    names = {i: f"images/{version}/patch{i}/objects365_{version}_0000{i}.jpg" for i in (8, 16)}
    images = [{"id": i, "file_name": name, "width": 40, "height": 30, "url": ""} for i, name in names.items()]
    common = {"isfake": 0, "isreflected": 0, "area": 80.0}
    annotations = [
        {"id": 1, "image_id": 8, "category_id": 365, "bbox": [2, 3, 10, 8], "iscrowd": 0, **common},
        {"id": 2, "image_id": 16, "category_id": 1, "bbox": [0, 0, 40, 30], "iscrowd": 1, **common},
    ]
    categories = [{"id": 1, "name": "Person"}, {"id": 10, "name": "Hat"}, {"id": 365, "name": "Table Tennis"}]
    return {"images": images, "annotations": annotations, "categories": categories}


@pytest.mark.parametrize("place", ["annotations", "."])
def test_objects365(tmp_path: Path, place: str) -> None:
    put(tmp_path / place / "zhiyuan_objv2_train.json", objects365("v1"))
    put(tmp_path / place / "zhiyuan_objv2_val.json", objects365("v2"))
    for split, version in (("train", "v1"), ("val", "v2")):
        for i in (8, 16):
            image(tmp_path / split / f"patch{i}/objects365_{version}_0000{i}.jpg", 10 * i)
    dataset = opened(tmp_path)
    assert dataset.faults == []
    assert [dataset[i].file for i in (0, 1)] == ["patch8/objects365_v1_00008.jpg", "patch16/objects365_v1_000016.jpg"]
    assert abs(int(dataset[1].load()[0, 0, 0]) - 160) < 3
    assert boxes(dataset, 0).labels == ("Table Tennis",)
    assert boxes(dataset, 1).crowd.tolist() == [True]
    assert dataset.kinds(0) == {"boxes"}
    assert [category.id for category in dataset.info.categories] == [1, 10, 365]
    assert open_dataset(str(tmp_path), None, role="val")[0].file == "patch8/objects365_v2_00008.jpg"


def test_images_of_both_versions_in_one_split(tmp_path: Path) -> None:
    """As it is: some images may not have been fetched yet."""
    data, others = objects365("v1"), objects365("v2")
    for item in others["images"]:
        item["id"] += 100
    data["images"] += others["images"]
    put(tmp_path / "zhiyuan_objv2_train.json", data)
    image(tmp_path / "train/patch8/objects365_v1_00008.jpg")
    image(tmp_path / "train/patch16/objects365_v2_000016.jpg")
    dataset = opened(tmp_path)
    assert [dataset[i].id for i in range(len(dataset))] == [8, 116]
    assert [(fault.where, fault.reason) for fault in dataset.faults] == [
        ("image 16", "does not exist"),
        ("image 108", "does not exist"),
    ]


# --------------------------------------------------------------------------------------------------------- Roboflow


def roboflow(number: int) -> dict[str, Any]:
    """Image and annotation ids from 0; category 0 is a group of all, which no object has."""
    name = f"photo-{number}_jpg.rf.0123456789abcdef.jpg"
    annotation = {"id": 0, "image_id": 0, "category_id": 1, "bbox": [2, 3, 10, 8], "area": 80, "segmentation": [],
                  "iscrowd": 0}  # fmt: skip
    return {
        "info": {"year": "2024"},
        "licenses": [{"id": 1, "name": "CC BY 4.0"}],
        "categories": [
            {"id": 0, "name": "cells", "supercategory": "none"},
            {"id": 1, "name": "RBC", "supercategory": "cells"},
        ],
        "images": [{"id": 0, "license": 1, "file_name": name, "height": 30, "width": 40, "extra": {"name": "x"}}],
        "annotations": [annotation],
    }


def export(root: Path) -> Path:
    for number, split in enumerate(("train", "valid", "test")):
        data = roboflow(number)
        put(root / split / "_annotations.coco.json", data)
        image(root / split / data["images"][0]["file_name"], 80 * number + 80)
    (root / "README.roboflow.txt").write_text("cells")
    return root


def test_roboflow(tmp_path: Path) -> None:
    root = export(tmp_path)
    assert open_layout(Place(str(root))).splits == ["test", "train", "valid"]
    dataset = opened(root)
    assert (dataset.split, dataset.faults) == ("train", [])
    assert open_dataset(str(root), None, role="val").split == "valid"
    assert boxes(dataset).ids.tolist() == [0]
    assert boxes(dataset).labels == ("RBC",)
    assert dataset.kinds(0) == {"boxes"}
    for split, red in (("train", 80), ("valid", 160), ("test", 240)):
        assert abs(int(opened(root, split)[0].load()[0, 0, 0]) - red) < 3


@pytest.mark.parametrize("path", ["train", "train/_annotations.coco.json"])
def test_one_split_of_it_alone(tmp_path: Path, path: str) -> None:
    dataset = opened(export(tmp_path) / path)
    assert (dataset.split, dataset.faults, len(dataset)) == ("train", [], 1)
    assert dataset[0].load().shape == (30, 40, 3)


def test_folders_that_name_no_split_are_splits_themselves(tmp_path: Path) -> None:
    for number, name in enumerate(("monday", "tuesday")):
        data = roboflow(number)
        put(tmp_path / name / "_annotations.coco.json", data)
        image(tmp_path / name / data["images"][0]["file_name"])
    assert open_layout(Place(str(tmp_path))).splits == ["monday", "tuesday"]
    assert opened(tmp_path, "tuesday")[0].file.startswith("photo-1")


# ------------------------------------------------------------------------------------------------------ single files


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("annotations.json", "annotations"),
        ("My project (3).coco.json", "My project (3).coco"),
        ("deepfashion2_train.json", "train"),
        ("coco_val_2.json", "val"),
        ("retraining.json", "retraining"),
    ],
)
@pytest.mark.parametrize("place", [".", "annotations"])
def test_a_file_of_any_name(tmp_path: Path, name: str, split: str, place: str) -> None:
    write_good(tmp_path, {}, images="images")
    path = put(tmp_path / place / name, good()["instances"])
    for typed in (path, tmp_path):
        assert open_layout(Place(str(typed))).splits == [split]
        dataset = opened(typed, split)
        assert (dataset.faults, len(dataset)) == ([], 2)
        assert dataset.kinds(0) == {"boxes", "polygons"}
        assert dataset[1].load()[0, 0].tolist() == [160, 0, 0]


def test_a_file_beside_others_stands_for_itself(tmp_path: Path) -> None:
    write_good(tmp_path, {}, images="images")
    put(tmp_path / "other_train.json", {"images": [], "annotations": [], "categories": []})
    put(tmp_path / "package.json", {"name": "viewer"})
    path = put(tmp_path / "mine_train.json", good()["instances"])
    assert len(opened(path)) == 2
    with pytest.raises(DataError, match=r"several files with instances of split 'train': mine_train.json, other_tra"):
        opened(tmp_path)
    assert len(opened(tmp_path, annotations="mine_*.json")) == 2


@pytest.mark.parametrize("kind", ["instances", "person_keypoints", "captions"])
def test_what_a_file_holds_tells_its_kind(tmp_path: Path, kind: str) -> None:
    path = put(tmp_path / "all_train.json", good()[kind])
    write_good(tmp_path, {}, images="images")
    own = {"instances": {"boxes", "polygons"}, "captions": {"captions"}}
    assert opened(path).kinds(0) == own.get(kind, {"boxes", "polygons", "keypoints"})


# ------------------------------------------------------------------------------------------- several sets in a folder


def several(root: Path) -> Path:
    """Two sets of points and two sets of images, which differ in colour; a split each."""
    points = good()["person_keypoints"]
    for split in ("train", "val"):
        write_good(root, {"keypoints3": points, "keypoints3b": points}, split=split, images=f"small/{split}")
        for number in (1, 2, 3):
            image(root / f"large/{split}/{number}.png", 33)
    return root


def test_annotations_choose_among_several(tmp_path: Path) -> None:
    root = several(tmp_path)
    with pytest.raises(DataError, match=r"keypoints3_train\.json, keypoints3b_train\.json; give one .* or choose with"):
        opened(root)
    for pattern in ("annotations/keypoints3_*.json", "annotations/keypoints3_train.json"):
        dataset = opened(root, annotations=pattern, images="small/train")
        assert (dataset.split, dataset.faults) == ("train", [])
    assert open_layout(Place(str(root), "annotations/keypoints3b_*.json")).splits == ["train", "val"]


def test_images_choose_among_several(tmp_path: Path) -> None:
    root = several(tmp_path)
    for folder, red in (("small/train", 80), ("large/train", 33), ("large/val", 33)):
        dataset = opened(root, annotations="annotations/keypoints3_*.json", images=folder)
        assert dataset[0].load()[0, 0].tolist() == [red, 0, 0]


def test_a_folder_of_annotations_may_be_chosen(tmp_path: Path) -> None:
    write_good(tmp_path, good())
    put(tmp_path / "corrected/v2/boxes_train.json", good()["instances"])
    assert opened(tmp_path).kinds(0) == {"boxes", "captions", "keypoints", "polygons"}
    assert opened(tmp_path, annotations="corrected/v2").kinds(0) == {"boxes", "polygons"}


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ({"annotations": "none"}, r"data\.annotations=none names no \.json file in it"),
        ({"annotations": "annotations/*.toml"}, r"data\.annotations=annotations/\*\.toml names no"),
        ({"annotations": "images"}, "no annotations found; looked for"),
        ({"annotations": "../*/annotations"}, "data.annotations="),
        ({"annotations": "/etc/*.json"}, "is not a pattern below it"),
        ({"images": "none"}, r"data\.images=none is not a folder in it"),
        ({"images": ".."}, r"data\.images=\.\. is not a folder in it"),
        ({"images": "annotations"}, "does not exist"),
    ],
)
def test_choices_that_name_nothing(tmp_path: Path, where: dict[str, str], message: str) -> None:
    write_good(tmp_path, good())
    (tmp_path / "images/train/deeper").mkdir()
    with pytest.raises(DataError, match=message) as caught:
        open_dataset(str(tmp_path), None, role="train", format="coco", **where)
    assert "\n" not in str(caught.value)


def test_a_folder_that_is_named_by_a_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(export(tmp_path) / "valid")
    assert opened(Path(), "valid")[0].file.startswith("photo-1")


def test_choices_do_not_lead_out(tmp_path: Path) -> None:
    put(tmp_path / "secret/instances_train.json", good()["instances"])
    root = write_good(tmp_path / "set", good())
    with pytest.raises(DataError, match=r"instances_train\.json: lies outside the data folder"):
        opened(root, annotations="../secret")


def test_a_split_that_no_file_names_is_asked_for(tmp_path: Path) -> None:
    write_good(tmp_path, {}, images="images")
    put(tmp_path / "labels.json", good()["instances"])
    with pytest.raises(UsageError, match=r"no split for train \(found labels\); set data\.train_split"):
        opened(tmp_path)
    np.testing.assert_array_equal(boxes(opened(tmp_path, "labels")).ids, [11, 12, 13])


# ----------------------------------------------------------------------------------------- keys that few programs write


def with_points(root: Path, **values: Any) -> TableDataset:
    """A category of three points with these keys."""
    files = {"person_keypoints": good()["person_keypoints"]}
    files["person_keypoints"]["categories"][0].update(values)
    return opened(write_good(root, files))


def test_partners_may_stand_in_the_file(tmp_path: Path) -> None:
    assert with_points(tmp_path).info.skeleton.flip_pairs == ((1, 2),)  # by their names
    assert with_points(tmp_path, flip_pairs=[[1, 3]]).info.skeleton.flip_pairs == ((0, 2),)
    assert with_points(tmp_path, flip_pairs=[]).info.skeleton.flip_pairs == ()
    assert with_points(tmp_path, flip_pairs=None).info.skeleton.flip_pairs == ((1, 2),)


@pytest.mark.parametrize(
    ("pairs", "reason"),
    [
        ([[0, 1]], "is not a pair of point numbers"),
        ([[1, 4]], "is not a pair of point numbers"),
        ([[1, 2], [2, 3]], "give a point two partners, or itself"),
        ([[2, 2]], "give a point two partners, or itself"),
        ("left", "is not a pair of point numbers"),
    ],
)
def test_partners_that_are_none(tmp_path: Path, pairs: Any, reason: str) -> None:
    dataset = with_points(tmp_path, flip_pairs=pairs)
    assert [(fault.where, fault.field, fault.reason) for fault in dataset.faults] == [
        ("category 3", "flip_pairs", reason)
    ]
    assert dataset.info.skeleton.flip_pairs == ((1, 2),)


def test_no_name_makes_a_point_the_partner_of_two(tmp_path: Path) -> None:
    names = ["left left", "right left", "right right"]
    dataset = with_points(tmp_path, keypoints=names)
    assert dataset.faults == []
    assert dataset.info.skeleton.flip_pairs == ((0, 1),)


def test_a_name_that_is_too_long_costs_its_own_image(tmp_path: Path) -> None:
    files = good()
    files["instances"]["images"][1]["file_name"] = "a" * 5000 + ".png"
    dataset = open_dataset(str(write_good(tmp_path, {"instances": files["instances"]})), None, role="train")
    assert [dataset[i].id for i in range(len(dataset))] == [1]
    assert [(fault.where, fault.field) for fault in dataset.faults] == [("image 2", "file_name")]


def test_notes_of_label_studio_are_no_annotations(tmp_path: Path) -> None:
    write_good(tmp_path, {"instances": good()["instances"]})
    for folder in (tmp_path, tmp_path / "annotations"):
        (folder / "notes.json").write_text('{"categories": [{"id": 0, "name": "cat"}], "info": {}}')
    dataset = open_dataset(str(tmp_path), None, role="train")
    assert dataset.faults == []
    (tmp_path / "annotations" / "instances_train.json").unlink()
    with pytest.raises(DataError, match="no annotations found"):
        open_dataset(str(tmp_path), None, role="train")
