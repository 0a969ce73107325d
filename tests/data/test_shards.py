"""Tar shards: found, indexed without loading anything, read where the images lie."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from multitask.data.formats.layout import Place
from multitask.data.formats.shards import find
from multitask.data.source import open_dataset, open_layout
from multitask.errors import DataError
from multitask.task import Category

from .shard_folder import HEIGHT, PERSON, SIZE, WIDTH, archive, folder, good, layout, png, read, shown


def test_samples_become_images(tmp_path: Path) -> None:
    table = read(folder(tmp_path))
    a, b, c = table.images
    assert [(image.id, image.name, image.size, image.file) for image in table.images] == [
        (key, name, SIZE, "train/train-000.tar") for key, name in (("a", "a.png"), (5, "b.png"), ("c", "c.png"))
    ]
    assert [image.captions for image in (a, b, c)] == [["A kite", "Wind"], ["The sea"], ["Only words"]]
    kite, person = Category(7, "kite"), Category(3, "person")
    assert [(o.id, o.category, o.xyxy.tolist(), o.area) for o in a.objects["boxes"]] == [
        (11, kite, [2, 3, 12, 11], 70.5), (12, person, [20, 5, 24, 25], 80.0),
    ]  # fmt: skip
    assert [len(o.parts) for o in a.objects["polygons"]] == [1, 0]
    assert [o.mask for o in a.objects["polygons"]] == [None, PERSON["segmentation"]]
    (posed,) = a.objects["keypoints"]
    assert posed.points is not None and posed.points[0].tolist() == [[22, 6], [20, 12], [0, 0]]
    assert (b.objects, c.objects) == ({"boxes": [], "keypoints": []}, {})
    assert table.skeleton.names == ("nose", "left_hand", "right_hand")
    assert table.skeleton.categories == ("person",)
    assert (table.faults, table.entries) == ([], 3 + 2 + 4)


def test_images_are_read_where_they_lie(tmp_path: Path) -> None:
    dataset = open_dataset(str(folder(tmp_path)), None, role="train")
    assert [dataset[i].load()[0, 0].tolist() for i in (2, 0, 1)] == [[3, 0, 0], [1, 0, 0], [2, 0, 0]]
    assert dataset.info.categories == (Category(3, "person"), Category(7, "kite"))
    assert dataset.kinds(0) == {"boxes", "polygons", "keypoints", "captions"}


def test_categories_by_name_need_no_other_file(tmp_path: Path) -> None:
    named = [{"bbox": [1, 1, 2, 2], "category": name} for name in ("sea", "kite", "sea")]
    table = read(folder(tmp_path, {"a.png": png(), "a.json": {"annotations": named}}, categories=None))
    assert table.categories == [Category(1, "kite"), Category(2, "sea")]
    assert [(o.id, o.category.id) for o in table.images[0].objects["boxes"]] == [(1, 2), (2, 1), (3, 2)]
    by_name = {"a.png": png(), "a.json": {"annotations": [named[1]]}}
    assert read(folder(tmp_path, by_name)).images[0].objects["boxes"][0].category == Category(7, "kite")


def test_a_caption_told_twice_is_one(tmp_path: Path) -> None:
    """As img2dataset writes it: in the JSON and as a text."""
    entry = {"caption": "A kite", "key": "a", "url": "x", "width": WIDTH, "height": HEIGHT, "exif": "{}"}
    table = read(folder(tmp_path, {"a.jpg": png(), "a.json": entry, "a.txt": b"\xef\xbb\xbfA kite\n"}, categories=None))
    assert [image.captions for image in table.images] == [["A kite"]]
    assert table.faults == []


def test_keys_that_begin_anew_in_each_shard_stay_apart(tmp_path: Path) -> None:
    for number in (0, 1):
        archive(tmp_path / f"train-{number}.tar", {"./x/0.png": png(number), "./x/0.txt": b"A"})
    dataset = open_dataset(str(tmp_path), None, role="train")
    assert [(dataset[i].id, dataset[i].file) for i in (0, 1)] == [
        ("x/0", "x/0.png"),
        ("train-1/x/0", "train-1/x/0.png"),
    ]
    assert [int(dataset[i].load()[0, 0, 0]) for i in (0, 1)] == [0, 1]


def test_splits_are_folders_or_words(tmp_path: Path) -> None:
    pair = {"a.png": png(), "a.txt": b"A"}
    for name in ("train/0.tar", "val/0.TAR", "other/x.tar"):
        archive(tmp_path / "folders" / name, pair)
    for name in ("coco-train2017-00.tar", "coco-train2017-01.tar", "val_000.tar", "train000001.tar", "0.tar", "x.tar"):
        archive(tmp_path / "names" / name, pair)
    assert sorted(layout(tmp_path / "folders").splits) == ["other", "train", "val"]
    assert sorted(layout(tmp_path / "names").splits) == ["all", "train", "train2017", "val"]
    one = tmp_path / "names/coco-train2017-01.tar"
    assert (layout(one).splits, len(layout(one).read("train2017").images)) == (["train2017"], 1)
    assert layout(tmp_path / "folders/train/0.tar").splits == ["train"]
    chosen = layout(tmp_path / "names", annotations="coco-*.tar")
    assert [path.name for path in chosen.files] == ["coco-train2017-00.tar", "coco-train2017-01.tar"]
    with pytest.raises(DataError, match=r"data\.images=x says nothing: shards hold their images"):
        find(Place(str(tmp_path / "names"), images="x"))


def test_a_shard_alone_finds_the_categories_above_it(tmp_path: Path) -> None:
    root = folder(tmp_path)
    found = layout(root / "train/train-000.tar")
    assert (found.root, found.splits) == (root, ["train"])
    assert shown(found.read("train")) == shown(read(root))


def test_archives_of_something_else_are_left_to_other_formats(tmp_path: Path) -> None:
    archive(tmp_path / "images.tar", {"a.png": png(), "b.png": png()})
    archive(tmp_path / "annotations.tar", {"a.json": {}, "b.json": {}})
    (tmp_path / "damaged.tar").write_bytes(b"no archive")
    assert find(Place(str(tmp_path))) is None
    (tmp_path / "instances_train.json").write_text("{}")
    assert open_layout(Place(str(tmp_path))).splits == ["train"]


@pytest.mark.parametrize("suffix", [".tar.gz", ".tgz", ".tar.zst"])
def test_compressed_shards_are_refused(tmp_path: Path, suffix: str) -> None:
    packed = tmp_path / f"train-0{suffix}"
    packed.write_bytes(gzip.compress(archive(tmp_path / "x/0.tar", good()).read_bytes()))
    for path in (packed, tmp_path):
        (tmp_path / "x/0.tar").unlink(missing_ok=True)
        with pytest.raises(DataError, match=f"{packed.name} is compressed.* unpack it to a plain .tar") as caught:
            open_dataset(str(path), None, role="train")
        assert "\n" not in str(caught.value)


def test_a_compressed_shard_with_a_plain_name_is_told(tmp_path: Path) -> None:
    shard = archive(tmp_path / "train.tar", good())
    shard.write_bytes(gzip.compress(shard.read_bytes()))
    with pytest.raises(DataError, match=r"no usable image; first fault: train.tar: archive: .* is compressed \(gzip\)"):
        open_dataset(str(shard), None, role="train")
