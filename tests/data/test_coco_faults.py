"""Files that are broken in one entry each: it is left out and noted, and the rest is used."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from multitask.data.faults import tally
from multitask.data.source import open_dataset

from .coco_folder import good, write

Files = dict[str, Any]


def put(stem: str, part: str, position: int, **values: Any) -> Callable[[Files], None]:
    return lambda files: files[stem][part][position].update(values)


def cut(stem: str, part: str, position: int, key: str) -> Callable[[Files], None]:
    return lambda files: files[stem][part][position].pop(key)


def add(stem: str, part: str, item: Any) -> Callable[[Files], None]:
    return lambda files: files[stem][part].append(item)


def box(**values: Any) -> Callable[[Files], None]:
    return put("instances", "annotations", 0, **values)


def outline(value: Any) -> Callable[[Files], None]:
    return box(segmentation=value)


def mask(**values: Any) -> Callable[[Files], None]:
    return lambda files: files["instances"]["annotations"][2]["segmentation"].update(values)


def pose(value: Any) -> Callable[[Files], None]:
    return put("person_keypoints", "annotations", 0, keypoints=value)


def image(**values: Any) -> Callable[[Files], None]:
    return put("instances", "images", 1, **values)


NAN, INF, HUGE = float("nan"), float("inf"), 10**400

# what is done to the good files, the field and the reason of the one fault, what became of it
ANNOTATIONS = {
    "box with NaN": (box(bbox=[NAN, 3, 10, 8]), "bbox", "is not finite", "skipped"),
    "box with infinity": (box(bbox=[2, INF, 10, 8]), "bbox", "is not finite", "skipped"),
    "box with an integer beyond floats": (box(bbox=[2, HUGE, 10, 8]), "bbox", "is not finite", "skipped"),
    "box of three": (box(bbox=[2, 3, 10]), "bbox", "has not 4 numbers", "skipped"),
    "box of five": (box(bbox=[2, 3, 10, 8, 1]), "bbox", "has not 4 numbers", "skipped"),
    "box of none": (box(bbox=[]), "bbox", "has not 4 numbers", "skipped"),
    "box null": (box(bbox=None), "bbox", "is not a list of numbers", "skipped"),
    "box missing": (cut("instances", "annotations", 0, "bbox"), "bbox", "is not a list of numbers", "skipped"),
    "box of words": (box(bbox=["2", "3", "10", "8"]), "bbox", "is not a list of numbers", "skipped"),
    "box with true": (box(bbox=[2, 3, True, 8]), "bbox", "is not a list of numbers", "skipped"),
    "box with null": (box(bbox=[2, 3, None, 8]), "bbox", "is not a list of numbers", "skipped"),
    "box as object": (box(bbox={"x": 1}), "bbox", "is not a list of numbers", "skipped"),
    "box nested": (box(bbox=[[2, 3, 10, 8]]), "bbox", "is not a list of numbers", "skipped"),
    "box without width": (box(bbox=[2, 3, 0, 8]), "bbox", "has no positive width and height", "skipped"),
    "box with negative height": (box(bbox=[2, 3, 10, -8]), "bbox", "has no positive width and height", "skipped"),
    "box left of the image": (box(bbox=[-20, 3, 10, 8]), "bbox", "lies outside the image", "skipped"),
    "box below the image": (box(bbox=[2, 30, 10, 8]), "bbox", "lies outside the image", "skipped"),
    "box too far": (box(bbox=[2, 3, 641, 8]), "bbox", "reaches further than 16 image sides", "skipped"),
    "box partly outside": (box(bbox=[35, 3, 10, 8]), "bbox", "reaches out of the image", "clipped"),
    "category unknown": (box(category_id=99), "category_id", "names nothing in this file", "skipped"),
    "category as word": (box(category_id="7"), "category_id", "names nothing in this file", "skipped"),
    "category true": (box(category_id=True), "category_id", "names nothing in this file", "skipped"),
    "category as list": (box(category_id=[7]), "category_id", "names nothing in this file", "skipped"),
    "category missing": (cut("instances", "annotations", 0, "category_id"), "category_id", "names nothing", "skipped"),
    "image unknown": (box(image_id=99), "image_id", "names nothing in this file", "skipped"),
    "image of another file": (box(image_id=3), "image_id", "names nothing in this file", "skipped"),
    "image null": (box(image_id=None), "image_id", "names nothing in this file", "skipped"),
    "id missing": (cut("instances", "annotations", 0, "id"), "id", "is not a 64-bit integer", "skipped"),
    "id with a fraction": (box(id=1.5), "id", "is not a 64-bit integer", "skipped"),
    "id too large": (box(id=2**63), "id", "is not a 64-bit integer", "skipped"),
    "id twice": (box(id=12), "id", "occurs twice", "skipped"),
    "entry a number": (add("instances", "annotations", 5), "entry", "is not an object", "skipped"),
    "crowd two": (box(iscrowd=2), "iscrowd", "is not 0 or 1", "skipped"),
    "crowd a word": (box(iscrowd="no"), "iscrowd", "is not 0 or 1", "skipped"),
    "area negative": (box(area=-1), "area", "is not a finite number from 0", "area of the box taken"),
    "area NaN": (box(area=NAN), "area", "is not a finite number from 0", "area of the box taken"),
    "area a word": (box(area="big"), "area", "is not a finite number from 0", "area of the box taken"),
    "outline with NaN": (outline([[2, 3, 12, NAN, 12, 11]]), "segmentation", "is not finite", "outline left out"),
    "outline too far": (outline([[2, 3, 12, 1e9, 12, 11]]), "segmentation", "reaches further", "outline left out"),
    "outline odd": (outline([[2, 3, 12, 3, 12, 11, 4]]), "segmentation", "has an odd number", "outline left out"),
    "outline of two points": (outline([[2, 3, 12, 3]]), "segmentation", "has fewer than 3", "outline left out"),
    "outline flat": (outline([2, 3, 12, 3, 12, 11]), "segmentation", "is not a list of num", "outline left out"),
    "outline of pairs": (outline([[[2, 3], [12, 3], [12, 11]]]), "segmentation", "is not a li", "outline left out"),
    "outline empty among others": (outline([]), "segmentation", "is neither", "outline left out"),
    "outline a word": (outline("M0,0"), "segmentation", "is neither", "outline left out"),
    "outline second part bad": (outline([[2, 3, 12, 3, 12, 11], []]), "segmentation", "has few", "outline left out"),
    "mask short": (mask(counts=[0, 60, 1139]), "segmentation", "has run lengths that do not add", "outline left out"),
    "mask long": (mask(counts=[0, 60, 2**40]), "segmentation", "has run lengths that do not add", "outline left out"),
    "mask negative": (mask(counts=[1300, -100]), "segmentation", "has run lengths that are not", "outline left out"),
    "mask with fractions": (mask(counts=[0.5, 1199.5]), "segmentation", "has run lengths that", "outline left out"),
    "mask without runs": (mask(counts=None), "segmentation", "has run lengths that are not", "outline left out"),
    "mask text damaged": (mask(counts="no such~~"), "segmentation", "has run lengths that", "outline left out"),
    "mask text cut": (mask(counts="X"), "segmentation", "has run lengths that", "outline left out"),
    "mask turned": (mask(size=[40, 30]), "segmentation", "has a size that is not", "outline left out"),
    "mask without size": (mask(size=None), "segmentation", "has a size that is not", "outline left out"),
    "points short": (pose([22, 6, 2]), "keypoints", "has not 3 numbers for each of the 3", "keypoints left out"),
    "points with NaN": (pose([22, NAN, 2, *[0] * 6]), "keypoints", "is not finite", "keypoints left out"),
    "points too far": (pose([22, -9999, 2, *[0] * 6]), "keypoints", "reaches further", "keypoints left out"),
    "points null": (pose(None), "keypoints", "is not a list of numbers", "keypoints left out"),
    "visibility three": (pose([22, 6, 3, *[0] * 6]), "keypoints", "has a visibility", "keypoints left out"),
    "visibility half": (pose([22, 6, 0.5, *[0] * 6]), "keypoints", "has a visibility", "keypoints left out"),
    "point outside": (pose([60, 6, 2, *[0] * 6]), "keypoints", "reach out of the image", "those points left out"),
    "caption a number": (put("captions", "annotations", 0, caption=3), "caption", "is not a string", "skipped"),
    "caption empty": (put("captions", "annotations", 0, caption=""), "caption", "is empty", "skipped"),
    "caption blank": (put("captions", "annotations", 0, caption=" \n"), "caption", "is empty", "skipped"),
    "caption missing": (cut("captions", "annotations", 0, "caption"), "caption", "is not a string", "skipped"),
    "caption of halves": (put("captions", "annotations", 0, caption="a\ud800"), "caption", "is not valid", "skipped"),
    "caption endless": (put("captions", "annotations", 0, caption="a" * 10001), "caption", "is longer", "skipped"),
    "caption of no image": (put("captions", "annotations", 0, image_id=2), "image_id", "names nothing", "skipped"),
    "category twice": (add("instances", "categories", {"id": 7, "name": "x"}), "id", "occurs twice", "skipped"),
    "category name twice": (add("instances", "categories", {"id": 8, "name": "kite"}), "name", "occurs tw", "skipped"),
    "category unnamed": (add("instances", "categories", {"id": 8, "name": ""}), "name", "is empty", "skipped"),
    "category without id": (add("instances", "categories", {"name": "x"}), "id", "is not a 64-bit", "skipped"),
    "skeleton from 0": (
        put("person_keypoints", "categories", 0, skeleton=[[0, 1]]), "skeleton", "is not a pair", "left out",
    ),
    "image twice": (add("instances", "images", {"id": 1}), "id", "occurs twice", "skipped"),
    "image without width": (cut("instances", "images", 1, "width"), "width", "is not a positive", "skipped with"),
    "image of no height": (image(height=0), "height", "is not a positive", "skipped with"),
    "image with a negative side": (image(width=-40), "width", "is not a positive", "skipped with"),
    "image with NaN": (image(width=NAN), "width", "is not a positive", "skipped with"),
    "image with a word": (image(width="40"), "width", "is not a positive", "skipped with"),
    "image too large": (image(width=10**5, height=10**5), "width", "is more than 100 megapixels", "skipped with"),
    "image without id": (cut("instances", "images", 1, "id"), "id", "is not a 64-bit", "skipped with"),
    "image without name": (cut("instances", "images", 1, "file_name"), "file_name", "is not a string", "skipped with"),
    "image that climbs": (image(file_name="../../etc/passwd"), "file_name", "leads out of the data", "skipped with"),
    "image that climbs in Windows": (image(file_name="..\\a.png"), "file_name", "leads out of", "skipped with"),
    "image with absolute name": (image(file_name="/etc/passwd"), "file_name", "is not a relative", "skipped with"),
    "image on a drive": (image(file_name="C:\\a.png"), "file_name", "is not a relative path", "skipped with"),
    "image with a NUL": (image(file_name="a\0.png"), "file_name", "is not a relative path", "skipped with"),
    "image with another size elsewhere": (
        put("captions", "images", 0, width=41), "file_name", "or the size differs", "skipped with",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", ANNOTATIONS)
def test_one_bad_entry_is_noted_and_the_rest_is_used(tmp_path: Path, case: str) -> None:
    spoil, field, reason, action = ANNOTATIONS[case]
    files = good()
    spoil(files)
    dataset = open_dataset(str(write(tmp_path, files)), None, role="train")
    own = [fault for fault in dataset.faults if (fault.field, fault.action.startswith(action)) == (field, True)]
    assert len(own) == 1, dataset.faults
    assert reason in own[0].reason
    assert own[0].file.startswith("annotations/")
    assert len(own[0].value) <= 60
    assert "\n" not in str(own[0])
    # An image that one file lists wrongly may stay through another file; everything else is still there.
    assert len(dataset) >= 2
    for i in range(len(dataset)):
        assert dataset.kinds(i) == set(dataset[i].annotations)
    left_out = {"skipped": 1, "outline left out": 1, "keypoints left out": 1}.get(action, 0)
    total = sum(len(a) for i in range(len(dataset)) for a in dataset[i].annotations.values())
    objects = 3 + 3 + 1 + 2  # boxes, polygons, keypoints, captions of the good files
    about_an_object = own[0].where.startswith("annotation") and "at position 3" not in own[0].where
    if about_an_object:
        both = 2 if action == "skipped" and own[0].file.endswith("instances_train.json") else left_out
        assert total == objects - both


def test_a_faulty_image_of_one_file_takes_its_annotations_along_without_more_ado(tmp_path: Path) -> None:
    files = good()
    put("instances", "images", 0, height=-1)(files)
    dataset = open_dataset(str(write(tmp_path, files)), None, role="train")
    assert [(fault.where, fault.action) for fault in dataset.faults] == [("image 1", "skipped with its annotations")]
    assert {dataset[i].id: dataset.kinds(i) for i in range(3)} == {
        1: {"keypoints", "captions"},  # which other files say
        2: {"boxes", "polygons", "keypoints"},
        3: {"captions"},
    }


def test_a_missing_image_file_is_noted(tmp_path: Path) -> None:
    root = write(tmp_path, good())
    (root / "images/train/2.png").unlink()
    dataset = open_dataset(str(root), None, role="train")
    assert [dataset[i].id for i in range(len(dataset))] == [1, 3]
    assert tally(dataset.faults) == {"file_name does not exist (skipped with its annotations)": 1}


def test_tally_counts_the_most_frequent_first(tmp_path: Path) -> None:
    files = good()
    for position in range(3):
        put("instances", "annotations", position, bbox=[])(files)
    add("instances", "annotations", None)(files)
    faults = open_dataset(str(write(tmp_path, files)), None, role="train").faults
    assert tally(faults) == {"bbox has not 4 numbers (skipped)": 3, "entry is not an object (skipped)": 1}
