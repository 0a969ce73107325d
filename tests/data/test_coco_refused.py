"""Files that cannot be used at all are refused in one line that names them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from multitask.data.source import open_dataset
from multitask.errors import DataError

from .coco_folder import good, write

GOOD = json.dumps(good()["instances"])
REFUSED = {
    "nothing": (b"", "not valid JSON"),
    "cut": (GOOD[: len(GOOD) // 2].encode(), "not valid JSON"),
    "bytes": (bytes(range(256)), "not valid JSON"),
    "deep": (b"[" * 200_000, "not valid JSON (nested too deeply)"),
    "a list": (b"[]", "not a COCO file"),
    "a word": (b'"images"', "not a COCO file"),
    "null": (b"null", "not a COCO file"),
    "no images": ({"annotations": [], "categories": []}, "no list of 'images'"),
    "no annotations": ({"images": [], "categories": []}, "no list of 'annotations'"),
    "no categories": ({"images": [], "annotations": []}, "no list of 'categories'"),
    "images an object": ({"images": {}, "annotations": [], "categories": []}, "no list of 'images'"),
    "nothing listed": ({"images": [], "annotations": [], "categories": []}, "lists no usable image"),
    "no usable image": (
        {"images": [{"id": 1}], "annotations": [], "categories": []},
        "lists no usable image; first fault: annotations/instances_train.json: image 1: file_name None is not a string",
    ),
    "a key twice": (GOOD.replace('"annotations"', '"images"', 1).encode(), "key 'images' occurs twice in one object"),
    "a number too long": (b'{"images": ' + b"9" * 10_000 + b"}", "not valid JSON"),
    "images elsewhere": (
        {"images": [{"id": 1, "file_name": "no.png", "width": 9, "height": 9}], "annotations": [], "categories": []},
        "images of split 'train' not found, such as 'no.png'; looked in images/train, images, .",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_file_that_is_not_coco_is_refused_in_one_line(tmp_path: Path, case: str) -> None:
    content, message = REFUSED[case]
    with pytest.raises(DataError) as caught:
        open_dataset(str(write(tmp_path, {"instances": content})), None, role="train")
    assert message in str(caught.value)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_files_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    files = good()
    files["person_keypoints"]["categories"][0]["name"] = "human"
    with pytest.raises(DataError, match="category 3 has another name in another file"):
        open_dataset(str(write(tmp_path, files)), None, role="train")
    files = good()
    files["person_keypoints"]["categories"].append({"id": 9, "name": "dog", "keypoints": ["nose"]})
    with pytest.raises(DataError, match="categories with different keypoints"):
        open_dataset(str(write(tmp_path, files)), None, role="train")
