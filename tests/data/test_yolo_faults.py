"""YOLO data sets with one thing wrong: it is left out and noted, and the rest is used; or refused in one line."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multitask.data.faults import Unusable
from multitask.data.formats import yolo_images
from multitask.data.formats.yolo_labels import LabelReader
from multitask.data.table import Table
from multitask.errors import DataError
from multitask.task import Category

from .yolo_folder import draw, found, read, write_set, write_text

GOOD = "1 0.25 0.5 0.5 1.0"
OUTLINE = "0 0.25 0.25 0.75 0.25 0.75 0.75"
CUT = "clipped"

# a row before a good one, the field and the reason of its one fault, what became of it
ROWS: dict[str, tuple[str | bytes, str, str, str]] = {
    "words": ("kite 0.5 0.5 0.2 0.4", "row", "is not numbers with blanks between", "skipped"),
    "commas": ("0,0.5,0.5,0.2,0.4", "row", "is not numbers with blanks between", "skipped"),
    "quotes": ('0 "0.5" 0.5 0.2 0.4', "row", "is not numbers with blanks between", "skipped"),
    "comment": ("# class x y w h", "row", "is not numbers with blanks between", "skipped"),
    "Python's own numbers": ("0 0.5 0.5 0.2 0_4", "row", "is not numbers with blanks between", "skipped"),
    "Latin-1": (b"0 0.5 0.5 0.2 \xe9", "row", "is not numbers with blanks between", "skipped"),
    "digits of another script": ("0 0.5 0.5 0.2 ٤", "row", "is not numbers with blanks between", "skipped"),
    "JSON": ("[0, 0.5, 0.5, 0.2, 0.4]", "row", "is not numbers with blanks between", "skipped"),
    "class alone": ("0", "row", "has neither 5 numbers nor", "skipped"),
    "four numbers": ("0 0.5 0.5 0.2", "row", "has neither 5 numbers nor", "skipped"),
    "confidence": ("0 0.5 0.5 0.2 0.4 0.9", "row", "has 6 numbers, a box and one more", "skipped"),
    "odd outline": (OUTLINE + " 0.5", "row", "has neither 5 numbers nor", "skipped"),
    "class beyond the names": ("2 0.5 0.5 0.2 0.4", "class", "is none of the names", "skipped"),
    "class negative": ("-1 0.5 0.5 0.2 0.4", "class", "is none of the names", "skipped"),
    "class broken": ("0.5 0.5 0.5 0.2 0.4", "class", "is none of the names", "skipped"),
    "class huge": ("1e300 0.5 0.5 0.2 0.4", "class", "is none of the names", "skipped"),
    "class not a number": ("nan 0.5 0.5 0.2 0.4", "row", "is not finite", "skipped"),
    "NaN": ("0 nan 0.5 0.2 0.4", "row", "is not finite", "skipped"),
    "infinity": ("0 0.5 0.5 -Infinity 0.4", "row", "is not finite", "skipped"),
    "beyond floats": ("0 0.5 0.5 1e400 0.4", "row", "is not finite", "skipped"),
    "endless digits": ("0 0.5 0.5 0.2 " + "9" * 5000, "row", "is not finite", "skipped"),
    "pixels": ("0 320 240 64 48", "coordinates", "are pixels, not fractions of the image", "skipped"),
    "one in pixels": ("0 0.5 0.5 0.2 -3", "coordinates", "are pixels, not fractions of the image", "skipped"),
    "no width": ("0 0.5 0.5 0 0.4", "box", "has no positive width and height", "skipped"),
    "negative height": ("0 0.5 0.5 0.2 -0.4", "box", "has no positive width and height", "skipped"),
    "too small for floats": ("0 0.5 0.5 1e-30 0.4", "box", "is empty, or lies outside the image", "skipped"),
    "left of the image": ("0 -0.5 0.5 0.2 0.4", "box", "is empty, or lies outside the image", "skipped"),
    "below the image": ("0 0.5 1.2 0.2 0.4", "box", "is empty, or lies outside the image", "skipped"),
    "partly outside": ("0 0.95 0.5 0.2 0.4", "box", "reaches out of the image", CUT),
    "twice": (GOOD.replace(" ", "  "), "row", "occurs twice", "skipped"),
    "outline in pixels": ("0 10 10 30 10 30 30", "coordinates", "are pixels, not fractions", "skipped"),
    "outline with NaN": (OUTLINE[:-4] + "nan", "row", "is not finite", "skipped"),
    "outline outside": ("0 -0.2 -0.2 -0.1 -0.2 -0.1 -0.1", "outline", "lies outside the image", "skipped"),
    "outline partly outside": ("0 0.5 0.5 1.2 0.5 1.2 0.7", "outline", "reaches out of the image", CUT),
    "outline on a line": ("0 0.5 0.5 0.6 0.5 0.7 0.5", "box", "is empty, or lies outside", "skipped"),
    "outline of no area": ("0 0.5 0.5 0.6 0.6 0.7 0.7", "outline", "encloses nothing", "outline left out"),
    "outline on a point": ("0 0.5 0.5 0.5 0.5 0.5 0.5", "box", "is empty, or lies outside", "skipped"),
}


@pytest.mark.parametrize("case", ROWS)
def test_one_bad_row_is_noted_and_the_rest_is_used(tmp_path: Path, case: str) -> None:
    row, field, reason, action = ROWS[case]
    content = (row if isinstance(row, bytes) else row.encode()) + b"\n\n" + GOOD.encode()
    first_is_kept = reason == "occurs twice"
    table = read(write_set(tmp_path, {"train/1": content}))
    (fault,) = table.faults
    assert (fault.file, fault.where, fault.field) == (
        "labels/train/1.txt", "line 3" if first_is_kept else "line 1", field,
    )  # fmt: skip
    assert fault.reason.startswith(reason)
    assert fault.action == action
    assert len(fault.value) <= 60 and "\n" not in str(fault) and str(fault).isprintable()
    assert len(table.images[0].objects["boxes"]) == (1 if action == "skipped" else 2)
    assert table.images[0].objects["boxes"][-1].xyxy.tolist() == [0, 0, 20, 20]
    assert table.entries == 5


def test_an_outline_that_reaches_out_is_cut_at_the_border(tmp_path: Path) -> None:
    table = read(write_set(tmp_path, {"train/1": "0 0.5 0.5 1.5 0.5 0.5 1.0"}))
    (one,) = table.images[0].objects["polygons"]
    assert sorted(one.parts[0].tolist()) == [[20, 10], [20, 20], [40, 10], [40, 15]]
    assert (one.xyxy.tolist(), one.area) == ([20, 10, 40, 20], 150)


POSE = {"kpt_shape": [2, 3]}
BOX = "0 0.5 0.5 0.2 0.4"
POSES: dict[str, tuple[str, str, str, str, int]] = {  # ... and how many keep their points
    "no points": (BOX, "keypoints", "are missing", "keypoints left out", 0),
    "a point too few": (BOX + " 0.5 0.5 2", "row", "has not 11 numbers", "skipped", 0),
    "two numbers each": (BOX + " 0.5 0.5 0.5 0.5", "row", "has not 11 numbers", "skipped", 0),
    "a number too many": (BOX + " 0.5 0.5 2 0.5 0.5 2 1", "row", "has not 11 numbers", "skipped", 0),
    "visibility three": (BOX + " 0.5 0.5 3 0 0 0", "keypoints", "has a visibility", "keypoints left out", 0),
    "visibility half": (BOX + " 0.5 0.5 0.5 0 0 0", "keypoints", "has a visibility", "keypoints left out", 0),
    "pixels": (BOX + " 20 10 2 0 0 0", "coordinates", "are pixels", "keypoints left out", 0),
    "outside": (BOX + " 0.5 0.5 2 1.5 0.5 2", "keypoints", "reach out of the image", "those points left out", 1),
    "NaN": (BOX + " 0.5 nan 2 0 0 0", "row", "is not finite", "skipped", 0),
    "box reaches out": ("0 0 0.5 0.2 0.4" + " 0.5 0.5 2 0 0 0", "box", "reaches out of the image", CUT, 1),
}


@pytest.mark.parametrize("case", POSES)
def test_a_row_with_bad_points_keeps_its_box_where_that_is_sound(tmp_path: Path, case: str) -> None:
    row, field, reason, action, posed = POSES[case]
    table = read(write_set(tmp_path, {"train/1": row, "train/2": BOX + " 0 0 0 0.5 0.5 1"}, **POSE))
    (fault,) = table.faults
    assert (fault.file, fault.where, fault.field, fault.action) == ("labels/train/1.txt", "line 1", field, action)
    assert fault.reason.startswith(reason)
    objects = table.images[0].objects
    assert (len(objects["boxes"]), len(objects["keypoints"])) == (0 if action == "skipped" else 1, posed)
    assert len(table.images[1].objects["keypoints"]) == 1


def test_a_point_outside_is_not_labelled(tmp_path: Path) -> None:
    table = read(write_set(tmp_path, {"train/1": BOX + " 0.5 0.5 2 1.5 0.5 2"}, **POSE))
    points = table.images[0].objects["keypoints"][0].points
    assert points is not None
    assert (points[0].tolist(), points[1].tolist()) == ([[20, 10], [0, 0]], [2, 0])


# -------------------------------------------------------------------------------------------------------------- files


def link_out(path: Path) -> None:
    outside = path.parents[3] / "outside"
    outside.write_bytes(path.read_bytes() if path.exists() else b"")
    path.unlink(missing_ok=True)
    path.symlink_to(outside)


def pipe(path: Path) -> None:
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def folder(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.mkdir()


def dead_link(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to(path.with_name("gone"))


def filled(content: bytes) -> Callable[[Path], None]:
    return lambda path: bool(path.write_bytes(content)) and None


LABEL_FILES: dict[str, tuple[Callable[[Path], None], str]] = {
    "link out of the set": (link_out, "lies outside the data folder"),
    "pipe": (pipe, "is not a regular file"),
    "folder": (folder, "is a folder"),
    "dead link": (dead_link, "does not exist"),
    "UTF-16": (filled(GOOD.encode("utf-16")), "is not text"),
    "NUL": (filled(GOOD.encode() + b"\n\0"), "is not text"),
    "endless": (filled(b"0 " * 10_000_000), "is larger than 10 MB"),
    "rows": (filled(b"0\n" * 10_001), "has more than 10000 lines"),
}


@pytest.mark.parametrize("case", LABEL_FILES)
def test_a_label_file_that_cannot_be_read_costs_its_image(tmp_path: Path, case: str) -> None:
    spoil, reason = LABEL_FILES[case]
    root = write_set(tmp_path / "set")
    spoil(root / "labels/train/1.txt")
    table = read(root)
    (fault,) = table.faults
    assert (fault.file, fault.where, fault.field) == ("images/train/1.png", "image '1'", "label file")
    assert (fault.value, fault.reason, fault.action) == (
        "'labels/train/1.txt'", reason, "skipped with its annotations",
    )  # fmt: skip
    assert [image.id for image in table.images] == ["2", "3"]


IMAGE_FILES: dict[str, tuple[Callable[[Path], None], str]] = {
    "link out of the set": (link_out, "lies outside the data folder"),
    "pipe": (pipe, "is not a regular file"),
    "dead link": (dead_link, "does not exist"),
    "text": (filled(b"a picture of a kite"), "is not an image"),
}


@pytest.mark.parametrize("case", IMAGE_FILES)
def test_an_image_that_cannot_be_read_is_noted(tmp_path: Path, case: str) -> None:
    spoil, reason = IMAGE_FILES[case]
    root = write_set(tmp_path / "set")
    spoil(root / "images/train/1.png")
    table = read(root)
    (fault,) = table.faults
    assert (fault.file, fault.where, fault.field) == ("images/train/1.png", "image '1'", "image")
    assert fault.reason.startswith(reason)
    assert fault.action == "skipped with its annotations"
    assert [image.id for image in table.images] == ["2", "3"]


def one_fault(table: Table) -> tuple[str, str, str, str, str]:
    (fault,) = table.faults
    return fault.file, fault.where, fault.field, fault.reason, fault.action


def test_a_label_file_without_image_is_noted(tmp_path: Path) -> None:
    write_set(tmp_path)
    write_text(tmp_path, **{"labels/train/deep/9.TXT": GOOD, "labels/train/classes.txt": "kite"})
    found_fault = one_fault(read(tmp_path))
    assert found_fault == ("labels/train/deep/9.TXT", "file", "label file", "belongs to no image", "skipped")


def test_images_that_share_a_label_file_are_not_both_used(tmp_path: Path) -> None:
    write_set(tmp_path)
    draw(tmp_path, "images/train/1.jpg")
    table = read(tmp_path)
    assert one_fault(table)[0] == "images/train/1.png"
    assert one_fault(table)[3:] == ("occurs twice", "skipped with its annotations")
    assert [image.name for image in table.images] == ["1.jpg", "2.png", "3.png"]


LINES = {
    "gone": ("images/train/9.png", "does not exist"),
    "outside": ("../../outside.png", "lies outside the data folder"),
    "absolute": ("/etc/passwd", "lies outside the data folder"),
    "folder": ("images", "is a folder"),
    "NUL": ("a\0b.png", "cannot be read: embedded null byte"),
    "endless": ("a" * 5000, "cannot be read: File name too long"),
    "address": ("https://example.com/1.png", "does not exist"),
    "twice": ("./images/train/2.png", "occurs twice"),
}


@pytest.mark.parametrize("case", LINES)
def test_a_bad_line_in_a_list_of_images_is_noted(tmp_path: Path, case: str) -> None:
    line, reason = LINES[case]
    root = write_set(tmp_path / "set", train="train.txt")
    draw(tmp_path, "outside.png")
    write_text(root, **{"train.txt": f"images/train/1.png\nimages/train/2.png\n{line}\n"})
    table = read(root)
    assert one_fault(table) == ("train.txt", "line 3", "image", reason, "skipped")
    assert ([image.id for image in table.images], table.entries) == (["1", "2"], 5)


def test_overlapping_folders_list_an_image_once(tmp_path: Path) -> None:
    write_set(tmp_path, train=["images/train", "images/val", "images/val/."])
    assert one_fault(read(tmp_path)) == ("images/val/4.png", "image", "image", "occurs twice", "skipped")


def test_a_name_that_is_no_text_is_noted(tmp_path: Path) -> None:
    write_set(tmp_path)
    try:
        os.rename(tmp_path / "images/train/3.png", os.fsencode(tmp_path) + b"/images/train/\xe9.png")
    except OSError:
        pytest.skip("this file system has no such names")
    (fault,) = read(tmp_path).faults
    assert (fault.file, fault.reason) == (r"images/train/\udce9.png", "is not valid Unicode")


# ------------------------------------------------------------------------------------------------------- refused sets

REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no names": ({"names": None}, "names None are neither a list nor a mapping"),
    "names empty": ({"names": []}, "names [] are neither a list nor a mapping"),
    "names a word": ({"names": "kite"}, "names 'kite' are neither a list nor a mapping"),
    "a name twice": ({"names": ["kite", "kite"]}, "names 'kite' occurs twice"),
    "a name empty": ({"names": ["kite", ""]}, "names '' is empty"),
    "a name true": ({"names": ["kite", True]}, "names True is not a string"),
    "a name a list": ({"names": [["kite"]]}, "names ['kite'] is not a string"),
    "a class by word": ({"names": {"a": "kite"}}, "names 'a' is not a 64-bit integer"),
    "a class negative": ({"names": {-1: "kite"}}, "names -1 is not a whole number from 0"),
    "another count": ({"nc": 3}, "nc 3 is not 2, the number of names"),
    "count a word": ({"nc": "2"}, "nc '2' is not 2"),
    "count true": ({"names": ["kite"], "nc": True}, "nc True is not 1"),
    "train a number": ({"train": 5}, "train 5 is neither a path nor a list of paths"),
    "train a list of none": ({"train": ["images", None]}, "train ['images', None] is neither"),
    "train gone": ({"train": "images/gone"}, "train: 'images/gone' is not there, or outside"),
    "train with a NUL": ({"train": "a\0b"}, "train: 'a\\x00b' is not there, or outside"),
    "train absolute": ({"train": "/etc"}, "train: '/etc' is not there, or outside"),
    "train an address": ({"train": "https://example.com/x.zip"}, "train: 'https://example.com/x.zip' is not"),
    "train an image": ({"train": "images/train/1.png"}, "is neither a folder nor a .txt list"),
    "train without images": ({"train": "labels"}, "split 'train' lists no usable image"),
    "no label files": ({"train": "images/bare"}, "has a label file; looked for labels/bare/5.txt"),
    "points a number": ({"kpt_shape": 17}, "kpt_shape 17 is not [number of points, 2 or 3]"),
    "points of four": ({"kpt_shape": [17, 4]}, "kpt_shape [17, 4] is not [number of points, 2 or 3]"),
    "no points": ({"kpt_shape": [0, 3]}, "kpt_shape [0, 3] is not [number of points, 2 or 3]"),
    "points without end": ({"kpt_shape": [10**9, 3]}, "kpt_shape [1000000000, 3] is not [number"),
    "points true": ({"kpt_shape": [True, 3]}, "kpt_shape [True, 3] is not [number of points"),
    "partners short": ({"kpt_shape": [3, 3], "flip_idx": [1, 0]}, "flip_idx [1, 0] does not swap"),
    "partners in a ring": ({"kpt_shape": [3, 3], "flip_idx": [1, 2, 0]}, "flip_idx [1, 2, 0] does not swap"),
    "partners beyond": ({"kpt_shape": [3, 3], "flip_idx": [0, 1, 3]}, "flip_idx [0, 1, 3] does not swap"),
    "partners negative": ({"kpt_shape": [2, 3], "flip_idx": [-1, -2]}, "flip_idx [-1, -2] does not swap"),
    "partners a word": ({"kpt_shape": [3, 3], "flip_idx": "021"}, "flip_idx '021' does not swap"),
    "point names short": ({"kpt_shape": [3, 3], "kpt_names": ["a"]}, "kpt_names ['a'] are not 3 names"),
    "point names differ": ({"kpt_shape": [1, 3], "kpt_names": {0: ["a"], 1: ["b"]}}, "differ between classes"),
    "point names twice": ({"kpt_shape": [2, 3], "kpt_names": ["a", "a"]}, "kpt_names ['a', 'a'] has a name twice"),
    "point names a word": ({"kpt_shape": [1, 3], "kpt_names": "a"}, "kpt_names 'a' is not a list of names"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_settings_that_break_a_rule_are_refused_in_one_line(tmp_path: Path, case: str) -> None:
    changed, reason = REFUSED[case]
    draw(tmp_path, "images/bare/5.png")
    root = write_set(tmp_path, **changed)
    with pytest.raises(DataError) as caught:
        read(root)
    line = str(caught.value)
    assert reason in line
    assert str(root if case == "no label files" else root / "data.yaml") in line
    assert line.isprintable()


YAML: dict[str, tuple[str | bytes, str]] = {
    "damaged": ("names: [kite\ntrain: x", "not valid YAML"),
    "empty names": ("train: images/train\nnames:\n", "names None"),
    "a key twice": ("train: a\ntrain: b\nnames: [x]", "key 'train' stands twice"),
    "Latin-1": ("train: x\nnames: [é]".encode("latin-1"), "is not UTF-8 text"),
    "code": ("names: !!python/object/apply:os.system ['touch canary']\ntrain: x", "is not allowed"),
    "alias bomb": (
        "a: &a [x,x,x,x,x,x,x,x,x]\n"
        + "".join(f"{b}: &{b} [{','.join(['*' + a] * 9)}]\n" for a, b in zip("abcdef", "bcdefg", strict=True))
        + "names: *g\ntrain: x",
        "aliases expand",
    ),
    "endless": (b"#" * 1_000_001, "larger than 1000000 bytes"),
    "nothing of splits": ("names: [kite]", "says nothing of train"),
}


@pytest.mark.parametrize("case", YAML)
def test_a_damaged_data_yaml_is_refused_in_one_line(tmp_path: Path, case: str) -> None:
    content, reason = YAML[case]
    write_text(tmp_path, **{"data.yaml": content})
    with pytest.raises(DataError, match=reason) as caught:
        found(tmp_path)
    assert str(tmp_path / "data.yaml") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_script_in_the_settings_is_never_run(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    root = write_set(tmp_path / "set", download=f"import pathlib; pathlib.Path({str(canary)!r}).touch()")
    assert len(read(root).images) == 3
    assert not canary.exists()


CLASSES: dict[str, tuple[str | bytes, str]] = {
    "twice": ("kite\nkite", "names 'kite' occurs twice"),
    "empty": ("\n", "names {} are neither"),
    "Latin-1": (b"\xe9", "is not UTF-8 text"),
    "endless": (b"a" * 1_000_001, "larger than 1 MB, not a list"),
}


@pytest.mark.parametrize("case", CLASSES)
def test_a_damaged_classes_txt_is_refused_in_one_line(tmp_path: Path, case: str) -> None:
    content, reason = CLASSES[case]
    write_text(tmp_path, **{"classes.txt": content, "labels/1.txt": GOOD})
    draw(tmp_path, "images/1.png")
    with pytest.raises(DataError, match=reason) as caught:
        found(tmp_path)
    assert str(tmp_path / "classes.txt") in str(caught.value)


LISTS: dict[str, tuple[bytes, str]] = {
    "Latin-1": (b"\xe9.png", "is not UTF-8 text"),
    "empty": (b"", "lists no usable image"),
    "all gone": (b"gone.png", "first fault: train.txt: line 1: image 'gone.png' does not exist"),
}


@pytest.mark.parametrize("case", LISTS)
def test_a_damaged_list_of_images_is_refused_in_one_line(tmp_path: Path, case: str) -> None:
    content, reason = LISTS[case]
    root = write_set(tmp_path, train="train.txt")
    write_text(root, **{"train.txt": content})
    with pytest.raises(DataError, match=reason):
        read(root)


def test_a_list_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = write_set(tmp_path, train="train.txt")
    write_text(root, **{"train.txt": "images/train/1.png\n"})
    monkeypatch.setattr(yolo_images, "MAX_BYTES", 5)
    with pytest.raises(DataError, match="larger than 5e-06 MB, not a list"):
        read(root)


# ---------------------------------------------------------------------------------------------------------- any bytes

WORDS = [
    "0",
    "1",
    "0.5",
    "0.3",
    "0.6",
    "1.0",
    "-0.2",
    "1.3",
    "2",
    "640",
    "1e999",
    "nan",
    "1_0",
    "x",
    "\t",
    "\n",
    "\r\n",
    "\0",
]
ROW = st.lists(st.floats(-0.5, 1.5), min_size=3, max_size=12).map(lambda row: " ".join(map(str, [0, *row])))
CONTENT = st.binary(max_size=60) | st.lists(st.sampled_from(WORDS) | ROW.map("\n{}\n".format)).map(" ".join)


@settings(derandomize=True, deadline=None, max_examples=400)
@given(content=CONTENT, points=st.sampled_from([(0, 3), (1, 2), (2, 3)]))
def test_every_row_becomes_an_object_inside_the_image_or_a_fault(
    tmp_path_factory: pytest.TempPathFactory, content: bytes | str, points: tuple[int, int]
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.txt"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    reader = LabelReader(path.parent, {0: Category(0, "kite"), 1: Category(1, "dog")}, *points)
    try:
        objects = reader.read(path, "any.txt", (40, 20))
    except Unusable:
        objects = []
        assert b"\0" in path.read_bytes()
    assert len(objects) + sum(fault.action == "skipped" for fault in reader.faults) == reader.rows
    for one in objects:
        corners = np.concatenate([one.xyxy.reshape(2, 2), *one.parts])
        assert (corners >= 0).all() and (corners <= (40, 20)).all()
        assert (one.xyxy[2:] > one.xyxy[:2]).all()
        assert one.area >= 0 and np.isfinite(one.area)
        assert one.points is None or ((one.points[0] >= 0).all() and (one.points[0] <= (40, 20)).all())


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 4)
    | st.floats()
    | st.sampled_from(["images/train", "..", "kite", "", "0"]),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.integers(-1, 3) | st.text(max_size=2), inner, max_size=3)
    ),
    max_leaves=6,
)
KEYS = ["train", "val", "path", "names", "nc", "kpt_shape", "flip_idx", "kpt_names", "download"]


@settings(derandomize=True, deadline=None, max_examples=400)
@given(changed=st.dictionaries(st.sampled_from(KEYS), JSON, max_size=3))
def test_whatever_the_settings_say_they_are_used_or_refused_in_one_line(
    tmp_path_factory: pytest.TempPathFactory, changed: dict[str, Any]
) -> None:
    root = write_set(tmp_path_factory.getbasetemp() / "settings", **changed)
    try:
        assert read(root).images
    except (DataError, KeyError) as error:
        line = str(error)
        assert line.isprintable()
        assert line == "'train'" or str(root) in line  # the split may be gone
