"""Lists of images and captions, as CSV, TSV and lines of JSON: read, refused, written."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from multitask.data.formats.caption_lists import find, write
from multitask.data.formats.layout import Place
from multitask.data.source import open_dataset, open_layout
from multitask.data.table import Table, TableImage, TableObject
from multitask.errors import DataError, UsageError
from multitask.task import Category

GOOD = "image,caption\na.png,A kite\nb.png,The sea\na.png,Wind\n"


def draw(root: Path, *names: str, size: tuple[int, int] = (8, 6)) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size, (len(name), 0, 0)).save(root / name, "png")
    return root


def written(root: Path, content: str | bytes, name: str = "train.csv") -> Path:
    """The good images and one list."""
    draw(root, "a.png", "b.png")
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return root


def read(root: Path, split: str | None = None, **more: Any) -> Table:
    layout = find(Place(str(root), **more))
    assert layout is not None
    return layout.read(split or layout.splits[0])


def captions(table: Table) -> dict[int | str, list[str] | None]:
    return {image.id: image.captions for image in table.images}


BOTH = {"a.png": ["A kite", "Wind"], "b.png": ["The sea"]}
SAME = {
    "as spreadsheets write it": ("train.csv", b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode()),
    "semicolons": ("train.csv", "image;caption\na.png;A kite\nb.png;The sea\na.png;Wind\n"),
    "tabs in CSV": ("train.csv", GOOD.replace(",", "\t")),
    "TSV": ("train.tsv", GOOD.replace(",", "\t")),
    "capitals": ("Train.CSV", GOOD.replace("image,caption", "Image, Caption ")),
    "quoted": ("train.csv", '"image","caption"\n"a.png","A\nkite"\n"b.png","The sea"\n"a.png",Wind\n'),
    "other columns": ("train.csv", "n,Sentence,filename\n,A kite,a.png\n,The sea,b.png\n1,Wind,a.png\n"),
    "blank lines": ("train.csv", GOOD.replace("\n", "\n\n")),
    "old line ends": ("train.csv", GOOD.replace("\n", "\r")),
    "JSON lines": (
        "train.jsonl", '{"image": "a.png", "caption": ["A kite", "Wind"]}\n\n{"path": "b.png", "text": "The sea"}\n',
    ),
    "NDJSON": (
        "annotations/train.ndjson",
        "".join(json.dumps({"image_path": i, "captions": c}) + "\n" for i, c in BOTH.items()),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", SAME)
def test_the_same_list_in_many_forms(tmp_path: Path, case: str) -> None:
    name, content = SAME[case]
    table = read(written(tmp_path, content, name))
    assert captions(table) == BOTH
    assert [image.size for image in table.images] == [(8, 6)] * 2
    assert table.faults == []
    assert table.entries == 2 + 3


def test_it_is_told_by_its_header_and_opened_without_being_named(tmp_path: Path) -> None:
    root = written(tmp_path, GOOD)
    (root / "other.csv").write_text("name,price\nbread,3\n")
    (root / "boxes.jsonl").write_text('{"image": "a.png", "boxes": []}\n')
    dataset = open_dataset(str(root), None, role="train")
    assert [(dataset[i].id, dataset.kinds(i)) for i in range(2)] == [("a.png", {"captions"}), ("b.png", {"captions"})]
    assert dataset[0].load().shape == (6, 8, 3)
    assert open_layout(Place(str(root / "train.csv"))).splits == ["train"]


def test_splits_by_name_and_by_column(tmp_path: Path) -> None:
    names = {"captions_train2017.csv": "train2017", "val.jsonl": "val", "my-test-list.tsv": "test", "sea.csv": "sea"}
    for name, split in names.items():
        root = tmp_path / name
        written(root, '{"image": "a.png", "caption": "A"}' if "json" in name else GOOD, name)
        if name.endswith(".tsv"):
            (root / name).write_text(GOOD.replace(",", "\t"))
        assert open_layout(Place(str(root))).splits == [split]
    root = written(tmp_path / "column", "split,image,caption\ntrain,a.png,A\nval,b.png,B\n,a.png,C\n", "all.csv")
    layout = open_layout(Place(str(root)))
    assert layout.splits == ["train", "val", "all"]
    found = {split: captions(layout.read(split)) for split in layout.splits}
    assert found == {"train": {"a.png": ["A"]}, "val": {"b.png": ["B"]}, "all": {"a.png": ["C"]}}


def test_two_lists_of_a_split_must_be_told_apart(tmp_path: Path) -> None:
    root = written(tmp_path, GOOD)
    (root / "train.jsonl").write_text('{"image": "b.png", "caption": "B"}')
    with pytest.raises(DataError, match=r"several lists of split 'train': train.csv, train.jsonl; choose one with"):
        read(root)
    assert captions(read(root, annotations="train.jsonl")) == {"b.png": ["B"]}


@pytest.mark.parametrize("folder", [".", "images", "images/train", "train", "lists"])
def test_images_are_found_in_the_usual_folders(tmp_path: Path, folder: str) -> None:
    draw(tmp_path / folder, "a.png", "b.png")
    place = "annotations" if folder == "images/train" else "lists" if folder == "lists" else "."
    (tmp_path / place).mkdir(exist_ok=True)
    (tmp_path / place / "train.csv").write_text(GOOD)
    here = tmp_path / "lists/train.csv" if folder == "lists" else tmp_path
    assert captions(read(here)) == BOTH


def test_images_in_a_folder_that_is_named(tmp_path: Path) -> None:
    root = written(tmp_path, GOOD)
    draw(root / "photos", "a.png", "b.png", size=(3, 4))
    assert {image.size for image in read(root, images="photos").images} == {(3, 4)}
    assert {image.size for image in read(root / "train.csv", images="photos").images} == {(3, 4)}
    with pytest.raises(DataError, match=r"data\.images=\.\. is not a folder in it"):
        read(root, images="..")


def test_whole_numbers_are_ids_if_each_image_has_its_own(tmp_path: Path) -> None:
    rows = "image_id,image,caption\n7,a.png,A\n-9,b.png,B\n7,a.png,C\n"
    assert captions(read(written(tmp_path / "1", rows))) == {7: ["A", "C"], -9: ["B"]}
    of_rows = "id,image,caption\n1,a.png,A\n2,b.png,B\n3,a.png,C\n"
    table = read(written(tmp_path / "2", of_rows))
    assert (captions(table), table.faults) == ({"a.png": ["A", "C"], "b.png": ["B"]}, [])
    for bad in ("x", "7.0", "", "99999999999999999999", "7"):
        table = read(written(tmp_path / "3", rows.replace("-9", bad)))
        assert captions(table) == {"a.png": ["A", "C"], "b.png": ["B"]}
        assert [(f.where, f.field, f.lost) for f in table.faults] == [("line 3", "image_id", False)]


# what replaces the row of b.png, then the field, the reason and the action of the one fault in line 3
ROWS = {
    "too few cells": ("b.png", "row", "has 1 cells, and the header 2", "skipped"),
    "too many cells": ("b.png,The sea, blue", "row", "has 3 cells, and the header 2", "skipped"),
    "quote within": ('b.png,"The "sea"', "row", "is not a row of CSV", "skipped"),
    "a NUL byte": ("b.png,The\0sea", "row", "has a NUL byte", "skipped"),
    "a caption of blanks": ("b.png,  ", "caption", "is empty", "skipped"),
    "an endless caption": (f"b.png,{'a' * 10_001}", "caption", "is longer than 10000", "skipped"),
    "an endless cell": (f"b.png,{'a' * 2**20}b", "row", "is not a row of CSV (field larger", "skipped"),
    "no image": (",The sea", "image", "is empty", "skipped"),
    "an absolute path": ("/etc/passwd,The sea", "image", "is not a relative path", "skipped"),
    "a path that climbs": ("../b.png,The sea", "image", "leads out of the data folder", "skipped"),
    "a path on a drive": ("C:\\b.png,The sea", "image", "is not a relative path", "skipped"),
    "a file that is missing": ("c.png,The sea", "image", "does not exist", "skipped with its annotations"),
    "a name too long": (f"{'c' * 5000},The sea", "image", "cannot be read", "skipped with its annotations"),
    "a folder": (".,The sea", "image", "is a folder", "skipped with its annotations"),
    "the list itself": ("train.csv,The sea", "image", "is not an image", "skipped with its annotations"),
    "a link out": ("link.png,The sea", "image", "lies outside the data folder", "skipped with its annotations"),
}


@pytest.mark.parametrize("case", ROWS)
def test_one_bad_row_is_noted_and_the_rest_is_used(tmp_path: Path, case: str) -> None:
    row, field, reason, action = ROWS[case]
    draw(tmp_path / "elsewhere", "link.png")
    root = written(tmp_path / "set", GOOD.replace("b.png,The sea", row))
    (root / "link.png").symlink_to(tmp_path / "elsewhere/link.png")
    table = read(root)
    (fault,) = table.faults
    assert (fault.file, fault.where, fault.field, fault.action) == ("train.csv", "line 3", field, action)
    assert reason in fault.reason
    assert "\n" not in str(fault)
    assert captions(table).pop("a.png") == ["A kite", "Wind"]
    assert table.entries == (4 if field == "row" or (action == "skipped" and field == "image") else 5)


def test_an_unclosed_quote_costs_its_own_line_alone(tmp_path: Path) -> None:
    rows = 'image,caption\na.png,"A kite\nb.png,The sea\na.png,Wind\n'
    table = read(written(tmp_path / "1", rows))
    assert captions(table) == {"b.png": ["The sea"], "a.png": ["Wind"]}
    assert [(f.where, f.reason) for f in table.faults] == [("line 2", "opens a quote that is never closed")]
    later = rows.replace("The sea", '"The sea"')  # which closes it
    assert captions(read(written(tmp_path / "2", later))) == captions(table)
    long = rows + "b.png,The sea\n" * 100_000  # more than a cell may hold
    table = read(written(tmp_path / "3", long))
    assert [fault.where for fault in table.faults] == ["line 2"]
    assert len(captions(table)["b.png"] or ()) == 100_001


# likewise in lines of JSON
LINES = {
    "no JSON": ('{"image": "b.png", ', "line", "is not valid JSON"),
    "a list": ('["b.png", "The sea"]', "line", "is not an object"),
    "too deep": ("[" * 100_000, "line", "is not valid JSON (nested too deeply)"),
    "a key twice": ('{"image": "b.png", "image": "a.png", "caption": "x"}', "line", "is not valid JSON (key 'im"),
    "a NUL byte": ('{"image": "b.png", "caption": "a\0"}', "line", "is not valid JSON"),
    "an endless line": ('{"image": "b.png", "caption": "x", "more": "%s"}' % ("a" * 2**20), "line", "is longer than"),
    "no caption": ('{"image": "b.png"}', "caption", "is not a string"),
    "a caption null": ('{"image": "b.png", "caption": null}', "caption", "is not a string"),
    "a caption that is a number": ('{"image": "b.png", "text": [3]}', "text", "is not a string"),
    "half a character": ('{"image": "b.png", "captions": ["\\ud800"]}', "captions", "is not valid Unicode"),
    "no image": ('{"caption": "The sea"}', "image", "is not a string"),
    "an image that is a list": ('{"file": ["b.png"], "caption": "The sea"}', "file", "is not a string"),
    "a split that climbs": ('{"image": "b.png", "caption": "x", "split": "../x"}', "split", "is not said in the first"),
}


@pytest.mark.parametrize("case", LINES)
def test_one_bad_line_is_noted_and_the_rest_is_used(tmp_path: Path, case: str) -> None:
    line, field, reason = LINES[case]
    good = '{"image": "a.png", "caption": "A kite"}\n'
    table = read(written(tmp_path, f"{good}{line}\n{good}", "train.jsonl"))
    (fault,) = table.faults
    assert (fault.file, fault.where, fault.field, fault.action) == ("train.jsonl", "line 2", field, "skipped")
    assert fault.reason.startswith(reason)
    assert captions(table)["a.png"] == ["A kite", "A kite"]


def test_a_split_that_is_no_name_is_noted(tmp_path: Path) -> None:
    table = read(written(tmp_path, "image,caption,split\na.png,A,train\nb.png,B,../x\n"))
    assert [(f.where, f.field, f.value) for f in table.faults] == [("line 3", "split", "'../x'")]
    assert captions(table) == {"a.png": ["A"]}


REFUSED = {
    "UTF-16": (GOOD.encode("utf-16"), "is UTF-16; save it as UTF-8"),
    "UTF-16 without a mark": (GOOD.encode("utf-16-le"), "its first line has NUL bytes; save it as UTF-8"),
    "Latin-1": (GOOD.replace("kite", "caf\xe9").encode("latin-1"), "line 2 is not UTF-8; save the file as UTF-8"),
    "nothing": (b"", "its first line names no columns 'image' and 'caption'"),
    "no header": (b"a.png,A kite\n", "its first line names no columns 'image' and 'caption'"),
    "a header that is not sound": (b'"image,caption\na.png,A\n', "its first line names no columns"),
    "a column twice": (b"image,caption,caption\na.png,A,B\n", "two columns are called 'caption'"),
    "a header alone": (b"image,caption\n", "split 'train' lists no usable image"),
    "no sound row": (b"image,caption\na.png\n", "lists no usable image; first fault: train.csv: line 2: row ['a.png']"),
    "images elsewhere": (b"image,caption\nz/c.png,A\n", "images not found, such as 'z/c.png'; looked in ., images;"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_list_that_cannot_be_used_is_refused_in_one_line(tmp_path: Path, case: str) -> None:
    content, message = REFUSED[case]
    draw(tmp_path / "images", "other.png")
    root = written(tmp_path, content)
    with pytest.raises(DataError) as caught:
        open_dataset(str(root / "train.csv"), None, role="train")
    assert message in str(caught.value)
    assert str(root) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_without_lists_is_no_such_data_set(tmp_path: Path) -> None:
    draw(tmp_path, "a.png")
    (tmp_path / "notes.csv").write_text("a,b\n1,2\n")
    (tmp_path / "pipe.csv").mkdir()
    assert find(Place(str(tmp_path))) is None
    with pytest.raises(DataError, match="no annotations found"):
        open_dataset(str(tmp_path), None, role="train", format="captions")
    with pytest.raises(UsageError, match="no split for train"):
        open_dataset(str(written(tmp_path, GOOD, "sea.csv")), None, role="train")


def test_what_looks_like_a_formula_is_text(tmp_path: Path) -> None:
    rows = "image,caption\na.png,=1+2\na.png,@x\na.png,-3\na.png,+4\n"
    assert captions(read(written(tmp_path, rows))) == {"a.png": ["=1+2", "@x", "-3", "+4"]}


# ------------------------------------------------------------------------------------------------------- written

TEXT = st.text(max_size=20).map(lambda text: " ".join(text.split())).filter(bool)
NAME = st.from_regex(r"[a-z ]{0,3}[a-z](/[A-Z\u00e0-\u00ff]{1,5})?\.png", fullmatch=True)


@settings(derandomize=True, deadline=None, max_examples=60)
@given(st.dictionaries(NAME, st.lists(TEXT, max_size=3), min_size=1, max_size=4), st.booleans())
def test_what_is_written_is_read_again(
    tmp_path_factory: pytest.TempPathFactory, told: dict[str, list[str]], numbered: bool
) -> None:
    root = tmp_path_factory.mktemp("set")
    told = {name.strip(): texts for name, texts in told.items()}
    draw(root / "in", *told)
    images = [
        TableImage(number if numbered else name, name, (8, 6), "", captions=texts)
        for number, (name, texts) in enumerate(told.items())
    ]
    assert write(Table(root / "in", root / "in", images), "some-split", root / "out") == []
    again = read(root / "out")
    assert again.faults == []
    assert [(i.id, i.name, i.size, i.captions) for i in again.images] == [
        (i.id, i.name, i.size, i.captions) for i in images
    ]
    for name in told:
        assert (again.folder / name).read_bytes() == (root / "in" / name).read_bytes()


def test_what_a_list_does_not_hold_is_said(tmp_path: Path) -> None:
    draw(tmp_path / "in", "a.png", "b.png")
    box = TableObject(1, Category(1, "kite"), (0, 0, 1, 1), 1.0)  # type: ignore[arg-type]
    images = [
        TableImage("first", "a.png", (8, 6), "", {"boxes": [box], "polygons": []}, ["A"]),
        TableImage("second", "b.png", (8, 6), "", {"boxes": []}),
    ]
    lines = write(Table(tmp_path / "in", tmp_path / "in", images), "train", tmp_path / "out")
    assert lines == ["boxes, polygons of 2 images", "1 images without captions", "ids of 1 images"]
    assert captions(read(tmp_path / "out")) == {"a.png": ["A"]}
    assert not (tmp_path / "out/images/train/b.png").exists()
    nothing = Table(tmp_path / "in", tmp_path / "in", images[1:])
    assert write(nothing, "val", tmp_path / "out") == ["boxes of 1 images", "1 images without captions"]
    assert open_layout(Place(str(tmp_path / "out"))).splits == ["train"]
