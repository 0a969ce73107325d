"""Files of answers in COCO's results form: what is read, and what is refused by name."""

from __future__ import annotations

import json

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from multitask.data.formats.coco_results import read_results
from multitask.errors import DataError
from multitask.task import Category, DatasetInfo, Skeleton

BODY = Skeleton(names=("head", "foot"), flip_pairs=(), sigmas=(0.1, 0.1), categories=("ape",))
INFO = DatasetInfo("zoo", (Category(9, "ape"), Category(4, "kite")), BODY)
SIZES = {7: (40, 30), "left": (20, 20)}
GOOD = {"image_id": 7, "category_id": 9, "bbox": [1, 2, 10.5, 20], "score": 0.25}


def read(folder, rows):
    path = folder / "answers.json"
    path.write_text(rows if isinstance(rows, str) else json.dumps(rows))
    return read_results(path, INFO, SIZES)


def test_boxes_of_each_image_in_the_order_of_the_file(tmp_path):
    rows = [GOOD, {**GOOD, "image_id": "left", "category_id": 4}, {**GOOD, "bbox": [-3, 0, 4, 0], "score": 2}]
    found = read(tmp_path, rows)
    assert list(found) == [7, "left"] and set(found[7]) == {"boxes"}
    boxes = found[7]["boxes"]
    assert boxes.xyxy.tolist() == [[1, 2, 11.5, 22], [-3, 0, 1, 0]]
    assert boxes.labels == ("ape", "ape") and boxes.scores.tolist() == [0.25, 2]
    assert found["left"]["boxes"].labels == ("kite",)


def test_outlines_and_run_lengths_and_an_empty_mask(tmp_path):
    drawn = np.zeros((30, 40), dtype=np.uint8, order="F")
    drawn[3:9, 5:20] = 1
    packed = coco_mask.encode(drawn)
    rle = {"size": [30, 40], "counts": packed["counts"].decode()}
    empty = {"size": [30, 40], "counts": [1200]}
    common = {"image_id": 7, "category_id": 4, "score": 1}
    rows = [{**common, "segmentation": shape} for shape in (rle, [[1, 1, 9, 1, 9, 9]], empty)]
    found = read(tmp_path, rows)[7]
    assert set(found) == {"polygons"}
    polygons = found["polygons"]
    np.testing.assert_array_equal(coco_mask.decode(dict(polygons.masks[0])), drawn)
    assert polygons.parts[1][0].tolist() == [[1, 1], [9, 1], [9, 9]] and polygons.masks[1] is None
    assert coco_mask.area(dict(polygons.masks[2])) == 0


def test_points_and_captions(tmp_path):
    pose = {**GOOD, "keypoints": [1, 2, 0.9, 3, 4, 0]}
    found = read(tmp_path, [pose])[7]["keypoints"]
    assert found.points.tolist() == [[[1, 2], [3, 4]]] and found.scores.tolist() == [0.25]
    assert read(tmp_path, [{"image_id": 7, "caption": "a  kite"}])[7]["captions"].texts == ("a kite",)
    assert read(tmp_path, []) == {}


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (5, "entry 1 is not an object"),
        ({**GOOD, "image_id": 8}, "entry 1: no image has the image_id 8; 'zoo' has 2 images, such as 7"),
        ({**GOOD, "image_id": "7"}, "no image has the image_id '7'; write it without quotes"),
        ({**GOOD, "image_id": True}, "no image has the image_id True"),
        ({**GOOD, "image_id": [7]}, "no image has the image_id"),
        (
            {**GOOD, "category_id": 5},
            r"entry 1: category_id 5 is no category of 'zoo' \(refused\); that has 9 \(ape\), 4",
        ),
        ({k: v for k, v in GOOD.items() if k != "score"}, "entry 1 has no score, which"),
        ({**GOOD, "score": float("nan")}, "score nan is not a finite number"),
        ({**GOOD, "score": 10**400}, "is not a finite number"),
        ({**GOOD, "bbox": [1, 2, 3]}, r"bbox \[1, 2, 3\] is not \[left, top, width, height\]"),
        ({**GOOD, "bbox": [1, 2, -3, 4]}, r"is not \[left, top"),
        ({**GOOD, "bbox": [1, 2, 3, float("inf")]}, "is not finite"),
        ({**GOOD, "bbox": "1234"}, "is not a list of numbers"),
        ({k: v for k, v in GOOD.items() if k != "bbox"}, "entry 1 has no bbox, which"),
        ({**GOOD, "segmentation": {"size": [30, 40], "counts": [5, 5]}}, "do not add up"),
        ({**GOOD, "segmentation": {"size": [30, 41], "counts": [1230]}}, "size that is not"),
        ({**GOOD, "segmentation": []}, "neither a list of polygons"),
        ({**GOOD, "keypoints": [1, 2, 2]}, "has not 3 numbers for each of the 2 points"),
        ({"image_id": 7, "caption": 5}, "caption 5 is not a string"),
        ({"image_id": 7, "caption": "another"}, "entry 1: image 7 has a caption already"),
    ],
)
def test_an_entry_that_is_not_sound_is_refused_by_its_place(row, said, tmp_path):
    good = [{"image_id": 7, "caption": "a kite"}] if isinstance(row, dict) and "caption" in row else [GOOD]
    if isinstance(row, dict) and "segmentation" in row:
        good = [{**GOOD, "segmentation": [[1, 1, 9, 1, 9, 9]]}]
    if isinstance(row, dict) and "keypoints" in row:
        good = [{**GOOD, "keypoints": [1, 2, 2, 3, 4, 2]}]
    with pytest.raises(DataError, match=said) as caught:
        read(tmp_path, [*good, row])
    assert "answers.json" in str(caught.value) and len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("text", ["{", "{}", '[{"image_id": 7, "image_id": 7}]', "[" * 100_000])
def test_what_is_no_list_of_answers_is_refused(text, tmp_path):
    with pytest.raises(DataError, match=r"answers\.json"):
        read(tmp_path, text)


@pytest.mark.parametrize("text", ["", "  "])
def test_a_caption_may_say_nothing(tmp_path, text):
    found = read(tmp_path, [{"image_id": 7, "caption": text}, {"image_id": "left", "caption": "a  kite"}])
    assert (found[7]["captions"].texts, found["left"]["captions"].texts) == (("",), ("a kite",))
