"""Shards that are broken in one place, cut, or made to do harm."""

from __future__ import annotations

import os
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multitask.data.formats import tar_index
from multitask.data.source import open_dataset
from multitask.data.table import Table, TableDataset
from multitask.errors import DataError

from .shard_folder import BOX, CATEGORIES, HEIGHT, WIDTH, Members, archive, folder, good, layout, png, read, shown


def put(**values: Any) -> Callable[[Members], None]:
    return lambda members: members["a.json"]["annotations"][0].update(values)


def entry(**values: Any) -> Callable[[Members], None]:
    return lambda members: members["a.json"].update(values)


def add(name: str, content: Any) -> Callable[[Members], None]:
    return lambda members: members.update({name: content})


def special(name: str, type: bytes, target: str = "") -> Callable[[Members], None]:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = type, target
    return add(name, info)


IN_A, ALL = "sample 'a', annotation 1", "skipped with its annotations"
FAULTS = {
    "box with NaN": (put(bbox=[float("nan"), 3, 10, 8]), IN_A, "bbox", "is not finite", "skipped"),
    "box missing": (put(bbox=None), IN_A, "bbox", "is not a list of numbers", "skipped"),
    "box outside": (put(bbox=[50, 3, 10, 8]), IN_A, "bbox", "lies outside the image", "skipped"),
    "box partly outside": (put(bbox=[35, 3, 10, 8]), IN_A, "bbox", "reaches out of the image", "clipped"),
    "category unknown": (put(category_id=9), IN_A, "category_id", "names nothing in this file", "skipped"),
    "outline odd": (put(segmentation=[[1, 2, 3]]), IN_A, "segmentation", "has an odd number", "outline left out"),
    "id as word": (put(id="x"), IN_A, "id", "is not a 64-bit integer", "skipped"),
    "id twice": (put(id=12), "sample 'a', annotation 2", "id", "occurs twice", "skipped"),
    "kinds unknown": (put(kinds=["masks"]), IN_A, "kinds", "is not a list of boxes, pol", "skipped"),
    "annotation a number": (entry(annotations=[5]), IN_A, "entry", "is not an object", "skipped"),
    "annotations an object": (entry(annotations={}), "sample 'a'", "annotations", "is not a list", ALL),
    "kinds of the image": (entry(kinds="boxes"), "sample 'a'", "kinds", "is not a list of", ALL),
    "kinds not of the image": (entry(kinds=["boxes"], annotations=[BOX | {"kinds": ["polygons"]}]), IN_A, "kinds",
                               "is not a list of boxes", "skipped"),
    "caption empty": (entry(captions=["", "Wind"]), "sample 'a', caption", "captions", "is empty", "skipped"),
    "caption a number": (entry(caption=3), "sample 'a', caption", "caption", "is not a string", "skipped"),
    "width alone": (entry(width=40), "sample 'a'", "height", "is not a positive", ALL),
    "width zero": (entry(width=0, height=30), "sample 'a'", "width", "is not a positive", ALL),
    "id twice in the split": (entry(image_id=5), "sample 'b'", "image_id", "occurs twice", ALL),
    "id of an image a list": (entry(image_id=[]), "sample 'a'", "image_id", "is not a 64-bit integer", ALL),
    "file name that climbs": (entry(file_name="../a.png"), "sample 'a'", "file_name", "leads out of", ALL),
    "no JSON": (add("a.json", b"{"), "sample 'a'", "json", "is not valid JSON", ALL),
    "JSON with a key twice": (add("a.json", b'{"a": 1, "a": 2}'), "sample 'a'", "json", "is not valid JSON (key", ALL),
    "JSON too deep": (add("a.json", b"[" * 100_000), "sample 'a'", "json", "is not valid JSON (nested", ALL),
    "JSON a list": (add("a.json", []), "sample 'a'", "json", "is not an object", ALL),
    "JSON that is bytes": (add("a.json", b"\xff\xfe\xfd"), "sample 'a'", "json", "is not valid JSON", ALL),
    "text not UTF-8": (add("c.txt", b"caf\xe9"), "sample 'c', caption", "txt", "is not UTF-8", "skipped"),
    "text empty": (add("c.txt", b""), "sample 'c', caption", "caption", "is empty", "skipped"),
    "text endless": (add("c.txt", b"a" * 50_000), "sample 'c', caption", "txt", "is longer than 10000", "skipped"),
    "no image": (add("d.json", {}), "sample 'd'", "image", "has no image", ALL),
    "image empty": (add("d.png", b""), "sample 'd'", "image", "has an empty image", ALL),
    "image damaged": (add("d.png", b"x"), "sample 'd'", "image", "is not an image that can be read", ALL),
    "two images": (add("a.jpg", png()), "member 'a.jpg'", "member", "is a second image of its sample", "skipped"),
    "absolute name": (add("/d.png", png()), "member '/d.png'", "file_name", "is not a relative path", "skipped"),
    "name that climbs": (add("../d.png", png()), "member '../d.png'", "file_name", "leads out of the", "skipped"),
    "link": (special("d.png", tarfile.SYMTYPE, "/etc/passwd"), "member 'd.png'", "member", "is a link", "skipped"),
    "hard link": (special("d.png", tarfile.LNKTYPE, "a.png"), "member 'd.png'", "member", "is a link", "skipped"),
    "device": (special("d.png", tarfile.CHRTYPE), "member 'd.png'", "member", "is a link, a device", "skipped"),
    "pipe": (special("d.png", tarfile.FIFOTYPE), "member 'd.png'", "member", "is a link, a device", "skipped"),
    "other suffix": (add("a.depth.png", b"x"), "1 members such as 'a.depth.png'", "suffix", "is not read", "left out"),
    "no suffix": (add("README", b"x"), "1 members such as 'README'", "suffix", "is not read", "left out"),
}  # fmt: skip


@pytest.mark.parametrize("case", FAULTS)
def test_one_bad_entry_is_noted_and_the_rest_is_used(tmp_path: Path, case: str) -> None:
    spoil, where, field, reason, action = FAULTS[case]
    members = good()
    spoil(members)
    table = read(folder(tmp_path, members))
    (fault,) = table.faults
    assert (fault.file, fault.where, fault.field, fault.action) == ("train/train-000.tar", where, field, action)
    assert fault.reason.startswith(reason)
    assert "\n" not in str(fault)
    assert len(table.images) == (2 if action == ALL and "'d'" not in where else 3)


def test_what_needs_no_word_is_passed_over(tmp_path: Path) -> None:
    directory = tarfile.TarInfo("x")
    directory.type = tarfile.DIRTYPE
    members = {"x": directory, **good(), "a.cls": b"3", "b.cls": b"1"}
    assert read(folder(tmp_path, members)).faults == []


def test_members_twice(tmp_path: Path) -> None:
    table = read(folder(tmp_path, [*good().items(), ("./a.png", png(9)), ("a.json", {})]))
    assert [(f.where, f.reason) for f in table.faults] == [
        ("member './a.png'", "occurs twice"), ("member 'a.json'", "occurs twice"),
    ]  # fmt: skip
    assert TableDataset(table, "train")[0].load()[0, 0, 0] == 1
    assert len(table.images[0].objects["boxes"]) == 2


def test_ids_of_categories_need_a_list_of_them(tmp_path: Path) -> None:
    table = read(folder(tmp_path, categories=None))
    assert [(f.where, f.field, f.value) for f in table.faults] == [
        ("sample 'a', annotation 1", "category_id", "7"), ("sample 'a', annotation 2", "category_id", "3"),
    ]  # fmt: skip
    assert table.images[0].objects == {"boxes": [], "polygons": []}


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b'{"categories": {}}', b"\xff"])
def test_a_list_of_categories_that_is_none_is_refused(tmp_path: Path, content: bytes) -> None:
    root = folder(tmp_path)
    (root / "dataset.json").write_bytes(content)
    with pytest.raises(DataError, match=r"dataset\.json") as caught:
        read(root)
    assert "\n" not in str(caught.value)


def test_a_bad_category_is_noted(tmp_path: Path) -> None:
    table = read(folder(tmp_path, categories=[*CATEGORIES, {"id": 7, "name": "sea"}]))
    assert [(f.file, f.field, f.reason) for f in table.faults] == [("dataset.json", "id", "occurs twice")]


# -------------------------------------------------------------------------------------------------------- attacks


class Canary:
    """What makes a file when it is loaded."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.mkdir, (str(self.path),)


def test_code_in_a_shard_is_never_run(tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    code = pickle.dumps(Canary(canary))
    suffixes = ["pyd", "pkl", "pickle", "pth", "npy"]
    members = good() | {f"{key}.{suffix}": code for suffix in suffixes for key in "abc"}
    dataset = open_dataset(str(folder(tmp_path / "set", members)), None, role="train")
    assert [dataset[i].load().shape for i in range(len(dataset))] == [(HEIGHT, WIDTH, 3)] * 3
    assert [(f.value, f.where) for f in dataset.faults] == [(f"'{s}'", f"3 members such as 'a.{s}'") for s in suffixes]
    assert {f.reason for f in dataset.faults} == {"is not read: it may hold code"}
    assert not canary.exists()
    pickle.loads(code)
    assert canary.exists()  # so it would have been seen


def test_what_is_whole_of_a_cut_archive_is_used(tmp_path: Path) -> None:
    root = folder(tmp_path)
    shard = root / "train/train-000.tar"
    whole, full = shard.read_bytes(), shown(read(root))
    with tarfile.open(shard) as tar:
        ends = [info.offset_data + info.size for info in tar.getmembers()]
    counts = set()
    for length in range(0, len(whole), 256):
        shard.write_bytes(whole[:length])
        if length < ends[0]:
            with pytest.raises(DataError, match="no usable image"):
                layout(shard).read("train")
            continue
        table = layout(shard).read("train")
        end_mark = length >= -(-ends[-1] // 512) * 512 + 512
        assert [f.reason[:21] for f in table.faults if f.where == "archive"] == ["is cut off or damaged"] * (
            not end_mark
        )
        counts.add(len(table.images))
        if length >= ends[-1]:
            assert shown(table) == full
    assert counts == {1, 2, 3}


def test_a_damaged_header_is_told(tmp_path: Path) -> None:
    root = folder(tmp_path)
    shard = root / "train/train-000.tar"
    with tarfile.open(shard) as tar:
        third = tar.getmembers()[2].offset
    content = bytearray(shard.read_bytes())
    content[third + 150] ^= 1  # in its checksum
    shard.write_bytes(content)
    table = read(root)
    assert [(f.where, f.action) for f in table.faults] == [("archive", "what is whole is used")]
    assert "a header is damaged" in table.faults[0].reason
    assert [image.id for image in table.images] == ["a"]


def header(name: str, size: bytes, type: bytes = b"0") -> bytes:
    """With a size of any 12 bytes."""
    info = tarfile.TarInfo(name)
    block = bytearray(info.tobuf(tarfile.USTAR_FORMAT))
    block[124:136], block[156:157], block[148:156] = size, type, b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


BINARY = (1 << 95).to_bytes(12, "big")  # a size in base 256
HOSTILE = {
    "huge member": header("d.png", b"77777777777\0"),
    "beyond all files": header("d.png", (int.from_bytes(BINARY, "big") + 2**80).to_bytes(12, "big")),
    "negative": header("d.png", b"\xff" * 11 + b"\x00"),
    "endless names": header("././@LongLink", b"77777777777\0", b"L") + b"x" * 512,
    "negative name": header("././@LongLink", b"\xff" * 12, b"L") + b"x" * 512,
    "endless pax": header("p", b"77777777777\0", b"x") + b"x" * 512,
    "headers of headers": (header("p", b"00000000014\0", b"x") + b"12 path=abc\n".ljust(512, b"\0")) * 3000,
    "pax that steps back": header("p", b"00000000017\0", b"x")
    + b"15 size=-10000\n".ljust(512, b"\0")
    + header("d.png", b"00000000000\0"),
    "sparse": header("d.png", b"00000000000\0", b"S")[:482] + b"\1" * 30,
    "words for a size": header("d.png", b"no number!!!"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_headers_end_the_archive(tmp_path: Path, case: str) -> None:
    root = folder(tmp_path)
    shard = root / "train/train-000.tar"
    content = shard.read_bytes().rstrip(b"\0")
    shard.write_bytes(content.ljust(-(-len(content) // 512) * 512, b"\0") + HOSTILE[case] + bytes(1024))
    table = read(root)
    assert [(f.where, f.field, f.action) for f in table.faults] == [("archive", "tar", "what is whole is used")]
    assert len(table.images) == 3


def test_too_many_members_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tar_index, "MAX_MEMBERS", 5)
    with pytest.raises(DataError, match=r"train-000.tar: more than 5 members in the shards of a split; divide it"):
        read(folder(tmp_path))


def test_shards_that_lead_out_or_are_no_files_are_noted(tmp_path: Path) -> None:
    outside = archive(tmp_path / "outside.tar", good())
    root = folder(tmp_path / "set")
    (root / "train/x.tar").symlink_to(outside)
    (root / "train/y.tar").mkdir()
    os.mkfifo(root / "train/z.tar")
    table = read(root)
    assert [(Path(f.file).name, f.reason) for f in table.faults] == [
        ("x.tar", "lies outside the data folder"), ("y.tar", "is a folder"), ("z.tar", "is not a regular file"),
    ]  # fmt: skip
    assert len(table.images) == 3


def outcome(shard: Path) -> Table | str:
    try:
        return layout(shard).read("train")
    except DataError as error:
        return str(error)


@settings(derandomize=True, deadline=None, max_examples=80)
@given(st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=8))
def test_random_damage_gives_a_table_or_one_line(
    tmp_path_factory: pytest.TempPathFactory, damage: list[tuple[float, int]]
) -> None:
    root = folder(tmp_path_factory.mktemp("set"))
    shard = root / "train/train-000.tar"
    content = bytearray(shard.read_bytes())
    for place, value in damage:
        content[int(place * len(content))] = value
    shard.write_bytes(content)
    found = outcome(shard)
    assert "\n" not in found if isinstance(found, str) else len(found.images) <= 3
