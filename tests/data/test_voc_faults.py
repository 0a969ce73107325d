"""VOC files that are broken in one place each: that is left out and noted, and the rest is used."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multitask.data.faults import tally
from multitask.data.formats.layout import Place
from multitask.data.formats.voc import find
from multitask.data.source import open_dataset
from multitask.data.table import TableDataset
from multitask.errors import DataError

from .voc_folder import SIZE, good, thing, write, xml

SPLITS = {"train": ["a", "b", "c"]}


def opened(root: Path, split: str = "train") -> TableDataset:
    dataset = open_dataset(str(root), split, role="train", format="voc")
    assert isinstance(dataset, TableDataset)
    return dataset


def edges(*values: object) -> str:
    return thing("kite", *values)


KITE = edges(3, 4, 12, 11)

# what stands as the second object of image a; the field and the reason of the one fault, what became of it
OBJECTS = {
    "edge NaN": (edges("nan", 4, 12, 11), "xmin", "is not finite", "skipped"),
    "edge a signalling NaN": (edges("sNaN", 4, 12, 11), "xmin", "is not finite", "skipped"),
    "edge infinite": (edges(3, 4, "inf", 11), "xmax", "is not finite", "skipped"),
    "edge beyond floats": (edges(3, 4, "1e400", 11), "bndbox", "is not finite", "skipped"),
    "edge far beyond floats": (edges(3, 4, 12, "-1e999999999"), "bndbox", "is not finite", "skipped"),
    "edge of many digits": (edges(3, 4, "9" * 100_000, 11), "bndbox", "is not finite", "skipped"),
    "edge too far": (edges(3, 4, 641, 11), "bndbox", "reaches further than 16 image sides", "skipped"),
    "edge a word": (edges("left", 4, 12, 11), "xmin", "is not a number", "skipped"),
    "edge empty": (edges(3, 4, 12, ""), "ymax", "is not a number", "skipped"),
    "edge with an underscore": (edges(3, 4, "1_2", 11), "xmax", "is not a number", "skipped"),
    "edge with a comma": (edges("3,5", 4, 12, 11), "xmin", "is not a number", "skipped"),
    "edge true": (edges(3, 4, "True", 11), "xmax", "is not a number", "skipped"),
    "edge in hexadecimal": (edges("0x3", 4, 12, 11), "xmin", "is not a number", "skipped"),
    "edge missing": (KITE.replace("<ymin>4</ymin>", ""), "ymin", "is not a number", "skipped"),
    "edge twice": (KITE.replace("<xmin>", "<xmin>9</xmin><xmin>"), "xmin", "occurs twice", "skipped"),
    "box missing": ("<object><name>kite</name></object>", "bndbox", "is missing", "skipped"),
    "box empty": ("<object><name>kite</name><bndbox/></object>", "xmin", "is not a number", "skipped"),
    "box twice": (KITE.replace("<bndbox>", "<bndbox/><bndbox>"), "bndbox", "occurs twice", "skipped"),
    "box turned": (edges(12, 4, 3, 11), "bndbox", "has no positive width and height", "skipped"),
    "box of no height": (edges(3, 12, 12, 11), "bndbox", "has no positive width and height", "skipped"),
    "box beside the image": (edges(42, 4, 52, 11), "bndbox", "lies outside the image", "skipped"),
    "box above the image": (edges(3, -20, 12, -10), "bndbox", "lies outside the image", "skipped"),
    "box reaching out": (edges(3, 4, 52, 11), "bndbox", "reaches out of the image", "clipped"),
    "box reaching out on the left": (edges(-3, 4, 12, 11), "bndbox", "reaches out of the image", "clipped"),
    "name missing": (KITE.replace("<name>kite</name>", ""), "name", "is not a string", "skipped"),
    "name empty": (KITE.replace("kite", " "), "name", "is empty", "skipped"),
    "name endless": (KITE.replace("kite", "k" * 10_001), "name", "is longer than 10000 characters", "skipped"),
    "name twice": (KITE.replace("<name>", "<name>cat</name><name>"), "name", "occurs twice", "skipped"),
    "difficult two": (KITE.replace("</name>", "</name><difficult>2</difficult>"), "difficult", "is not 0 o", "skipped"),
    "difficult a word": (
        KITE.replace("</name>", "</name><difficult>no</difficult>"), "difficult", "is not 0 or 1", "skipped",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", OBJECTS)
def test_one_bad_object_is_noted_and_the_rest_is_used(tmp_path: Path, case: str) -> None:
    bad, field, reason, action = OBJECTS[case]
    files = good() | {"a": xml(thing("kite", 1, 1, 5, 5), bad, thing("kite", 2, 2, 6, 6))}
    dataset = opened(write(tmp_path, files, SPLITS))
    (fault,) = dataset.faults
    assert (fault.file, fault.where, fault.field, fault.action) == ("Annotations/a.xml", "object 2", field, action)
    assert reason in fault.reason
    assert len(fault.value) <= 60
    assert "\n" not in str(fault)
    found = dataset[0].annotations["boxes"]
    assert len(found) == 2 + (action == "clipped")
    assert [int(number) for number in found.ids] == ([1, 2, 3] if action == "clipped" else [1, 3])  # type: ignore[attr-defined]
    assert dataset.entries == 3 + 4


def size(width: object, height: object = 30) -> str:
    return f"<size><width>{width}</width><height>{height}</height></size>"


DOCTYPE = '<!DOCTYPE annotation [<!ENTITY e "entity">]>'
BOMB = '<!DOCTYPE b [<!ENTITY a0 "ha">' + "".join(f'<!ENTITY a{i} "{f"&a{i - 1};" * 10}">' for i in range(1, 12)) + "]>"

# what stands in b.xml; the field and the reason of the one fault
IMAGES = {
    "nothing": ("", "XML", "is not well-formed"),
    "cut": (good()["a"][:80], "XML", "is not well-formed"),
    "a tag that is not closed": (xml().replace("</size>", ""), "XML", "is not well-formed"),
    "bytes": (bytes(range(256)), "XML", "is not well-formed"),
    "NULs": (bytes(100), "XML", "is not well-formed"),
    "Latin-1 that is not declared": (xml(thing("Käfer", 1, 1, 2, 2)).encode("latin-1"), "XML", "is not well-formed"),
    "an encoding that is none": ("<?xml version='1.0' encoding='klingon'?>" + xml(), "XML", "is not well-formed"),
    "two roots": (xml() * 2, "XML", "is not well-formed"),
    "a named character that is none": (xml(filename="&nosuch;"), "XML", "is not well-formed"),
    "JSON": ('{"images": []}', "XML", "is not well-formed"),
    "another format": ("<annotations><image/></annotations>", "XML", "is not VOC's <annotation>"),
    "another name space": ('<annotation xmlns="x"/>', "XML", "is not VOC's <annotation>"),
    "a document type": ("<!DOCTYPE annotation>" + xml(), "file", "declares a document type"),
    "an entity": (DOCTYPE + xml(filename="&e;"), "file", "declares a document type"),
    "an entity of entities": (BOMB + xml(filename="&a11;"), "file", "declares a document type"),
    "an entity outside": (
        '<!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/passwd">]>' + xml(filename="&e;"), "file", "declares a document",
    ),
    "too deep": (xml("<x>" * 100 + "</x>" * 100), "XML", "is nested deeper than 100 tags"),
    "far too deep": ("<annotation>" + "<x>" * 200_000, "XML", "is nested deeper than 100 tags"),
    "too large": (b"<annotation>" + b" " * 2**24 + b"</annotation>", "file", "is larger than 16 MiB"),
    "a negative width": (xml(size=size(-40)), "width", "is not a positive whole number"),
    "a width with a fraction": (xml(size=size(40.5)), "width", "is not a positive whole number"),
    "a width in words": (xml(size=size("forty")), "width", "is not a number"),
    "a width that is not finite": (xml(size=size("NaN")), "width", "is not finite"),
    "a width beyond floats": (xml(size=size("1e400")), "width", "is not a positive whole number"),
    "no height": (xml(size=size(40, 0)), "height", "is not a positive whole number"),
    "two widths": (xml(size=SIZE + size(40)), "width", "occurs twice"),
    "too many pixels": (xml(size=size(10**5, 10**5)), "width", "is more than 100 megapixels"),
}  # fmt: skip


@pytest.mark.parametrize("case", IMAGES)
def test_one_bad_file_costs_its_image(tmp_path: Path, case: str) -> None:
    content, field, reason = IMAGES[case]
    dataset = opened(write(tmp_path, good() | {"b": content}, SPLITS))
    (fault,) = dataset.faults
    assert (fault.file, fault.where, fault.field) == ("Annotations/b.xml", "image b", field)
    assert fault.action == "skipped with its annotations"
    assert reason in fault.reason
    assert len(fault.value) <= 60
    assert "\n" not in str(fault)
    assert [dataset[i].id for i in range(len(dataset))] == ["a", "c"]
    assert dataset.entries == 3 + 3


def test_the_largest_file_and_the_deepest_are_read(tmp_path: Path) -> None:
    content = xml("<x>" * 99 + "</x>" * 99).encode()
    assert opened(write(tmp_path, good() | {"b": content + b" " * (2**24 - len(content))}, SPLITS)).faults == []


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def link_out(path: Path) -> None:
    shutil.move(path, path.parents[2] / "secret")
    path.symlink_to(path.parents[2] / "secret")


def link_round(path: Path) -> None:
    path.unlink()
    path.symlink_to(path)


ODD: dict[Callable[[Path], None], str] = {
    pipe: "is not a regular file",
    folder: "is a folder",
    link_out: "lies outside the data folder",
    link_round: "cannot be read",
}


@pytest.mark.parametrize("name", ["Annotations/b.xml", "JPEGImages/b.png"])
@pytest.mark.parametrize("make", ODD)
def test_what_is_not_a_regular_file_inside_is_not_opened(
    tmp_path: Path, make: Callable[[Path], None], name: str
) -> None:
    root = write(tmp_path / "set", good(), SPLITS)
    make(root / name)
    dataset = opened(root)
    (fault,) = dataset.faults
    assert (fault.file, fault.where) == ("Annotations/b.xml", "image b")
    assert ODD[make] in fault.reason
    assert len(dataset) == 2


@pytest.mark.parametrize("make", ODD)
def test_a_size_is_measured_of_regular_files_inside_only(tmp_path: Path, make: Callable[[Path], None]) -> None:
    root = write(tmp_path / "set", good() | {"b": xml(size="")}, SPLITS)
    make(root / "JPEGImages/b.png")
    (fault,) = opened(root).faults
    assert (fault.field, fault.reason) == ("size", "is missing, and the image cannot be read")
    assert ODD[make] in fault.fix


def test_images_that_are_missing_or_damaged(tmp_path: Path) -> None:
    root = write(tmp_path, good() | {"c": xml(size="")}, SPLITS)
    (root / "JPEGImages/b.png").unlink()
    (root / "JPEGImages/c.png").write_bytes(b"no image")
    assert [str(fault).partition(str(root))[0] for fault in opened(root).faults] == [
        "Annotations/b.xml: image b: filename 'b.png' is no image in JPEGImages/ (skipped with its annotations); "
        "put the image there, or choose its folder with data.images",
        "Annotations/c.xml: image c: size None is missing, and the image cannot be read (skipped with its "
        "annotations); ",
    ]


def test_two_files_about_one_image(tmp_path: Path) -> None:
    dataset = opened(write(tmp_path, {name: xml(filename="x.png") for name in "abc"} | {"x": xml()}), "all")
    assert dataset.faults[0].reason == "is no image in JPEGImages/"  # of x; the others are their own
    shutil.copy(tmp_path / "JPEGImages/a.png", tmp_path / "JPEGImages/y.png")
    for name in "ab":
        (tmp_path / f"Annotations/{name}.xml").write_text(xml(filename="y.png"))
    dataset = opened(tmp_path, "all")
    assert [dataset[i].file for i in range(len(dataset))] == ["y.png", "c.png"]
    assert [(fault.where, fault.field, fault.reason) for fault in dataset.faults][:1] == [
        ("image b", "filename", "occurs twice")
    ]


LINES = {
    "a name without XML": ("d", "has no XML file"),
    "a name twice": ("b", "occurs twice"),
    "a name twice in another spelling": ("b.png", "occurs twice"),
    "a way out": ("../../etc/passwd", "has no XML file"),
    "an absolute path": ("/etc/passwd", "has no XML file"),
    "two names": ("a b", "has no XML file"),
    "a NUL": ("b\0", "has no XML file"),
    "a long line": ("b" * 1_000_000, "has no XML file"),
    "bytes": ("\udcff\udcfe", "has no XML file"),
}


@pytest.mark.parametrize("case", LINES)
def test_one_bad_line_of_a_list(tmp_path: Path, case: str) -> None:
    line, reason = LINES[case]
    write(tmp_path, good(), SPLITS)
    text = f"a\nb\n\n{line}\nc\n"
    (tmp_path / "ImageSets/Main/train.txt").write_bytes(text.encode("utf-8", "surrogateescape"))
    dataset = opened(tmp_path)
    (fault,) = dataset.faults
    assert (fault.file, fault.where, fault.field, fault.reason, fault.action) == (
        "ImageSets/Main/train.txt", "line 4", "name", reason, "skipped",
    )  # fmt: skip
    assert len(str(fault)) < 300
    assert [dataset[i].id for i in range(len(dataset))] == ["a", "b", "c"]
    assert dataset.entries == 4 + 3


def test_names_that_are_not_unicode(tmp_path: Path) -> None:
    write(tmp_path, good())
    name = b"\xe4".decode("utf-8", "surrogateescape")
    shutil.copy(tmp_path / "Annotations/a.xml", tmp_path / f"Annotations/{name}.xml")
    shutil.copy(tmp_path / "JPEGImages/a.png", tmp_path / f"JPEGImages/{name}.png")
    (fault,) = opened(tmp_path, "all").faults
    assert (fault.field, fault.reason) == ("name", "is not valid Unicode")
    str(fault).encode()


def test_tally_counts_faults_of_a_sort(tmp_path: Path) -> None:
    files = good() | {"a": xml(edges(1, 1, "x", 5), edges(2, 2, "y", 5)), "b": "<x", "c": "<y"}
    assert tally(opened(write(tmp_path, files, SPLITS)).faults) == {
        "xmax is not a number (skipped)": 2,
        "XML is not well-formed (skipped with its annotations)": 2,
    }


def empty(root: Path) -> None:
    (root / "ImageSets/Main/train.txt").write_text("")


def no_annotation(root: Path) -> None:
    (root / "ImageSets/Main/train.txt").write_text("x\ny\n")


def no_images(root: Path) -> None:
    shutil.rmtree(root / "JPEGImages")


def no_xml(root: Path) -> None:
    for name in "abc":
        (root / f"Annotations/{name}.xml").write_text("<")


def all_lead_out(root: Path) -> None:
    (root / "Annotations").rename(root.parent / "elsewhere")
    (root / "Annotations").symlink_to(root.parent / "elsewhere")


def list_a_pipe(root: Path) -> None:
    pipe(root / "ImageSets/Main/train.txt")


def list_outside(root: Path) -> None:
    link_out_of = root / "ImageSets/Main/train.txt"
    link_out_of.rename(root.parent / "train.txt")
    link_out_of.symlink_to(root.parent / "train.txt")


def list_too_large(root: Path) -> None:
    (root / "ImageSets/Main/train.txt").write_bytes(b"a\n" + b" " * 2**24)


REFUSED: dict[Callable[[Path], None], str] = {
    empty: "split 'train' has no usable image",
    no_annotation: "no usable image; first fault: ImageSets/Main/train.txt: line 1: name 'x' has no XML file",
    no_images: "no usable image; first fault: Annotations/a.xml: image a: filename None is no image in ./ (skipped "
    "with its annotations); put the image there, or choose its folder with data.images",
    no_xml: "no usable image; first fault: Annotations/a.xml: image a: XML 'unclosed token: line 1, column 0' is not",
    all_lead_out: "no usable image; first fault: Annotations/a.xml: image a: file 'a.xml' lies outside the data",
    list_a_pipe: "train.txt: is not a regular file",
    list_outside: "train.txt: lies outside the data folder",
    list_too_large: "train.txt: is larger than 16 MiB",
}


@pytest.mark.parametrize("spoil", REFUSED)
def test_a_set_that_cannot_be_used_at_all_is_refused_in_one_line(tmp_path: Path, spoil: Callable[[Path], None]) -> None:
    root = write(tmp_path / "set", good(), SPLITS)
    spoil(root)
    with pytest.raises(DataError) as caught:
        opened(root)
    assert REFUSED[spoil] in str(caught.value)
    assert str(root) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_places_that_are_none(tmp_path: Path) -> None:
    assert find(Place(str(tmp_path))) is None
    (tmp_path / "Annotations").mkdir()
    assert find(Place(str(tmp_path))) is None
    (tmp_path / "Annotations/._a.xml").write_text(xml())  # of another system's copying
    assert find(Place(str(tmp_path))) is None
    assert find(Place(str(tmp_path / "Annotations/._a.xml"))) is None


@settings(derandomize=True, deadline=None, max_examples=150)
@given(st.integers(0, 200), st.binary(max_size=6), st.integers(0, 6))
def test_any_damage_is_a_fault_or_none(tmp_path_factory: pytest.TempPathFactory, at: int, put: bytes, cut: int) -> None:
    """No traceback; the other images are as they were."""
    whole = good()["a"].encode()
    damaged = whole[:at] + put + whole[at + cut :]
    root = write(tmp_path_factory.mktemp("voc"), good() | {"a": damaged}, SPLITS)
    dataset = opened(root)
    assert [dataset[i].id for i in range(len(dataset))][-2:] == ["b", "c"]
    assert all(fault.file == "Annotations/a.xml" for fault in dataset.faults)
    assert len(dataset) == 3 or dataset.faults
    for i in range(len(dataset)):
        xyxy = dataset[i].annotations["boxes"].xyxy  # type: ignore[attr-defined]
        assert ((xyxy >= 0) & (xyxy <= (40, 30, 40, 30))).all() or dataset[i].size != (40, 30)
