"""What LVIS says of its images and categories is read, kept, and lost with a word."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from multitask.data.formats.layout import Place
from multitask.data.source import FORMATS, open_dataset, open_layout
from multitask.data.survey.conversion import write_copy
from multitask.searched import Searched

from . import coco_folder


def lvis() -> dict[str, Any]:
    """Boxes on images 1 and 2, of which only the first says what it was searched for."""
    data = coco_folder.good()["instances"]
    data["images"][0] |= {"neg_category_ids": [9, 7], "not_exhaustive_category_ids": [3]}
    data["categories"] = [{**one, "frequency": often} for one, often in zip(data["categories"], "rf", strict=True)]
    return {"instances": data}


def test_images_and_categories_have_what_lvis_says(tmp_path: Path) -> None:
    dataset = open_dataset(str(coco_folder.write(tmp_path, lvis())), "train", role="train")
    assert {category.name: category.frequency for category in dataset.info.categories} == {"kite": "r", "person": "f"}
    first, second = dataset[0].annotations, dataset[1].annotations
    assert first["searched"].to_json() == {"absent": ["kite"], "partial": ["person"]}  # 9 is no category
    assert "searched" not in second and dataset.faults == []


@pytest.mark.parametrize("value", ["7", [7.5], [True], {"7": 1}])
def test_a_list_that_is_none_is_noted_and_left_out(tmp_path: Path, value: Any) -> None:
    files = lvis()
    files["instances"]["images"][0]["neg_category_ids"] = value
    dataset = open_dataset(str(coco_folder.write(tmp_path, files)), "train", role="train")
    (fault,) = dataset.faults
    assert (fault.field, fault.action) == ("neg_category_ids", "left out")
    assert "searched" not in dataset[0].annotations and len(dataset[0].annotations["boxes"]) == 3


def test_it_is_written_as_it_was_read(tmp_path: Path) -> None:
    table = open_layout(Place(str(coco_folder.write(tmp_path / "a", lvis())))).read("train")
    assert write_copy({"train": table}, "coco", tmp_path / "b") == {"train": []}
    again = open_layout(Place(str(tmp_path / "b"))).read("train")
    assert [image.searched for image in again.images] == [image.searched for image in table.images]
    assert again.images[0].searched == ((9, 7), (3,)) and list(again.categories) == list(table.categories)


@pytest.mark.parametrize("format", sorted(FORMATS.keys() - {"coco", "captions"}))
def test_other_formats_say_that_they_lose_it(tmp_path: Path, format: str) -> None:
    table = open_layout(Place(str(coco_folder.write(tmp_path / "a", lvis())))).read("train")
    lost = write_copy({"train": table}, format, tmp_path / "b")
    assert "which categories the images were searched for" in lost["train"]


def test_it_may_be_joined_and_is_not_drawn() -> None:
    both = Searched.concat([Searched(("a", "b"), ("c",)), Searched(("b",), ("d",))])
    assert both.to_json() == {"absent": ["a", "b"], "partial": ["c", "d"]} and len(both) == 4
    both.draw(None)  # type: ignore[arg-type]  # it asks nothing of the canvas
