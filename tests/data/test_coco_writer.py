"""What is written as COCO is read back as it was, whatever the table holds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.coco import COCO

from multitask.data.formats.coco_writer import _length
from multitask.data.formats.coco_writer import write as write_coco
from multitask.data.formats.layout import Place
from multitask.data.formats.writing import copy_image, counted, plain
from multitask.data.images import Slice
from multitask.data.source import FORMATS, open_dataset, open_layout
from multitask.data.table import Table, TableImage, TableObject
from multitask.errors import DataError
from multitask.skeleton import COCO_PERSON, Skeleton
from multitask.task import Category

from . import coco_folder

WIDTH, HEIGHT = 40, 30

# ---------------------------------------------------------------------------------------------------- random tables

words = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=8)
words = words.map(lambda text: " ".join(text.split())).filter(bool)
eighths = st.integers(8, 8 * 10).map(lambda number: number / 8)


@st.composite
def things(draw: st.DrawFn, number: int, category: Category) -> TableObject:
    x, y, width, height = draw(eighths), draw(eighths), draw(eighths), draw(eighths)
    area = draw(st.floats(0, 10**6))
    return TableObject(number, category, np.array([x, y, x + width, y + height]), area, draw(st.booleans()))


@st.composite
def outlined(draw: st.DrawFn, thing: TableObject) -> TableObject:
    if draw(st.booleans()):
        ends = draw(st.lists(st.integers(0, WIDTH * HEIGHT), min_size=2, max_size=4, unique=True))
        thing.mask = {"size": [HEIGHT, WIDTH], "counts": np.diff([0, *sorted(ends), WIDTH * HEIGHT]).tolist()}
    else:
        x, y = draw(st.floats(0, 30)), draw(st.floats(0, 20))
        triangle = np.array([[x, y], [x + draw(st.floats(1, 20)), y], [x, y + draw(st.floats(1, 20))]])
        points = st.lists(st.tuples(st.floats(-9, 49), st.floats(-9, 39)), min_size=3, max_size=5)
        thing.parts = (triangle, *(np.array(part) for part in draw(st.lists(points, max_size=1))))
    return thing


@st.composite
def posed(draw: st.DrawFn, thing: TableObject, count: int) -> TableObject:
    seen = np.array(draw(st.lists(st.integers(0, 2), min_size=count, max_size=count)))
    xy = draw(st.lists(st.tuples(st.floats(0, WIDTH), st.floats(0, HEIGHT)), min_size=count, max_size=count))
    thing.points = np.array(xy) * (seen > 0)[:, None], seen
    return thing


@st.composite
def skeletons(draw: st.DrawFn, categories: list[Category]) -> Skeleton:
    names = draw(st.lists(words | st.sampled_from(["left", "right", "left left"]), min_size=1, unique=True, max_size=5))
    point = st.integers(0, len(names) - 1)
    order = draw(st.permutations(range(len(names))))
    pairs = draw(st.integers(0, len(names) // 2))
    return Skeleton(
        names=tuple(names),
        edges=tuple(draw(st.lists(st.tuples(point, point), max_size=4))),
        flip_pairs=tuple((order[2 * i], order[2 * i + 1]) for i in range(pairs)),
        sigmas=tuple(draw(st.floats(0.001, 9)) for _ in names),
        categories=tuple(c.name for c in categories if c == categories[0] or draw(st.booleans())),
    )


@st.composite
def tables(draw: st.DrawFn) -> Table:
    """Tables as a reader makes them: a split has outlines or none, points go with boxes."""
    names = draw(st.lists(words, min_size=1, max_size=4, unique=True))
    numbers = draw(st.lists(st.integers(-5, 10**12), min_size=len(names), max_size=len(names), unique=True))
    categories = [Category(number, name) for number, name in zip(sorted(numbers), names, strict=True)]
    any_points, any_outlines = draw(st.booleans()), draw(st.booleans())
    skeleton = draw(skeletons(categories)) if any_points else Skeleton()
    kinds = {"boxes"} | ({"polygons"} if any_outlines else set())
    keys = draw(st.lists(st.integers(-3, 99) | words, min_size=1, max_size=4, unique=True))
    images = [TableImage(key, f"folder/{i}.jpg", (WIDTH, HEIGHT), "") for i, key in enumerate(keys)]
    number = 0
    for image in images:
        image.captions = draw(st.none() | st.lists(words, max_size=3))
        if image.captions is None or draw(st.booleans()):
            chosen = [
                draw(things(number + i, draw(st.sampled_from(categories)))) for i in range(draw(st.integers(0, 3)))
            ]
            number += len(chosen)
            image.objects = {kind: list(chosen) for kind in kinds}
            if any_outlines:
                image.objects["polygons"] = [draw(outlined(one)) for one in chosen if draw(st.booleans())]
            if any_points and draw(st.booleans()):
                apt = [one for one in chosen if one.category.name in skeleton.categories]
                image.objects["keypoints"] = [draw(posed(one, len(skeleton))) for one in apt]
    return Table(Path(), Path(), images, categories, skeleton)


def stored(table: Table, root: Path) -> Table:
    """The table with a file for each image."""
    table.root = table.folder = root
    for image in table.images:
        (root / image.name).parent.mkdir(parents=True, exist_ok=True)
        (root / image.name).write_bytes(f"pixels of {image.name}".encode())
    return table


def told(table: Table) -> dict[Any, Any]:
    """All that a table says, to be compared."""
    return {image.id: (image.name, image.size, image.captions, objects(image)) for image in table.images}


def objects(image: TableImage) -> dict[str, list[Any]]:
    return {kind: [said(one, kind) for one in found] for kind, found in image.objects.items()}


def said(one: TableObject, kind: str) -> tuple[Any, ...]:
    common = one.id, one.category, one.xyxy.tolist(), one.area, one.crowd
    if kind == "polygons":
        return *common, [part.tolist() for part in one.parts], one.mask
    if kind == "keypoints" and one.points is not None:
        return *common, one.points[0].tolist(), one.points[1].tolist()
    return common


def read(root: Path, split: str = "train") -> Table:
    return open_layout(Place(str(root)), "coco").read(split)


@settings(derandomize=True, deadline=None, max_examples=40)
@given(table=tables())
def test_any_table_is_read_back(tmp_path_factory: pytest.TempPathFactory, table: Table) -> None:
    root = tmp_path_factory.mktemp("coco")
    lost = write_coco(stored(table, root / "from"), "train", root / "to")
    found = read(root / "to")
    assert {fault.action for fault in found.faults} <= {"outline left out"}  # of objects that have none
    unsaid = {kind for line in lost for kind in ["polygons"] if "outlines" in line}
    for image in table.images + found.images:
        for kind in unsaid:
            image.objects.pop(kind, None)
    assert told(found) == told(table)
    if any(image.objects for image in table.images):
        assert sorted(found.categories, key=lambda c: c.id) == table.categories
    if any("keypoints" in image.objects for image in table.images):
        assert found.skeleton == table.skeleton
    for image in found.images:
        assert (found.folder / image.name).read_bytes() == f"pixels of {image.name}".encode()


@settings(derandomize=True, deadline=None, max_examples=100)
@given(st.floats(0, 4000), st.floats(0, 4000))
def test_lengths_are_short_and_add_up(a: float, b: float) -> None:
    start, end = sorted((a, b))
    assert abs(start + _length(start, end) - end) <= np.spacing(end)
    assert _length(100.3, 120.85) == 20.55
    assert _length(0.1, 0.3) == pytest.approx(0.2, abs=1e-15)


# ------------------------------------------------------------------------------------------------------ by example


def copied(root: Path) -> tuple[Path, Path]:
    coco_folder.write(root / "from", coco_folder.good())
    assert FORMATS["coco"].write(read(root / "from"), "train", root / "to") == []
    return root / "from", root / "to"


def test_a_data_set_keeps_everything(tmp_path: Path) -> None:
    before, after = map(read, copied(tmp_path))
    assert told(before) == told(after)
    assert (before.categories, before.skeleton, after.faults) == (after.categories, after.skeleton, [])
    assert sorted(path.relative_to(tmp_path / "to").as_posix() for path in (tmp_path / "to").rglob("*.*")) == [
        "annotations/captions_train.json", "annotations/instances_train.json", "annotations/keypoints_train.json",
        "images/train/1.png", "images/train/2.png", "images/train/3.png",
    ]  # fmt: skip
    for number in (1, 2, 3):
        name = f"images/train/{number}.png"
        assert (tmp_path / "to" / name).read_bytes() == (tmp_path / "from" / name).read_bytes()


def test_splits_lie_side_by_side(tmp_path: Path) -> None:
    _, target = copied(tmp_path)
    write_coco(read(tmp_path / "from"), "val", target)
    assert told(read(target, "train")) == told(read(target, "val"))
    assert open_dataset(str(target), None, role="val")[0].load()[0, 0].tolist() == [80, 0, 0]


def test_pycocotools_reads_it(tmp_path: Path) -> None:
    _, target = copied(tmp_path)
    coco = COCO(str(target / "annotations/instances_train.json"))
    assert coco.getImgIds() == [1, 2]
    kite, person, crowd = coco.loadAnns([11, 12, 13])
    assert kite["bbox"] == [2, 3, 10, 8]
    assert coco.annToMask(crowd).sum() == 60
    assert coco.annToMask(person).shape == (30, 40)
    people = COCO(str(target / "annotations/keypoints_train.json"))
    assert people.loadAnns([12])[0]["num_keypoints"] == 2
    assert [category["name"] for category in people.dataset["categories"]] == ["person"]
    assert COCO(str(target / "annotations/captions_train.json")).getAnnIds(imgIds=3) == [2]


def test_numbers_are_written_plainly(tmp_path: Path) -> None:
    _, target = copied(tmp_path)
    text = (target / "annotations/instances_train.json").read_text()
    assert '"bbox":[2,3,10,8],"area":70.5' in text
    assert json.loads((target / "annotations/keypoints_train.json").read_text())["categories"] == [
        {"id": 3, "name": "person", "keypoints": coco_folder.POINTS, "skeleton": [[1, 2], [1, 3]],
         "flip_pairs": [[2, 3]], "sigmas": [0.05, 0.05, 0.05]}
    ]  # fmt: skip


def test_only_what_is_annotated_is_written(tmp_path: Path) -> None:
    images = [TableImage(1, "1.jpg", (40, 30), "", {}, ["A kite."]), TableImage(2, "2.jpg", (40, 30), "")]
    table = stored(Table(Path(), Path(), images), tmp_path / "from")
    assert write_coco(table, "train", tmp_path / "to") == []
    assert sorted(path.name for path in (tmp_path / "to").rglob("*.*")) == ["1.jpg", "captions_train.json"]
    table.images = images[1:]
    with pytest.raises(DataError, match="split 'train' has no annotated image to write"):
        write_coco(table, "train", tmp_path / "to")


def test_points_alone_list_all_categories(tmp_path: Path) -> None:
    """Boxes then come from the same file."""
    person, dog = Category(1, "person"), Category(2, "dog")
    count = len(COCO_PERSON)
    one = TableObject(4, person, np.array([1.0, 2.0, 9.0, 8.0]), 48.0)
    one.points = np.zeros((count, 2)), np.zeros(count, dtype=np.int64)
    image = TableImage(1, "1.jpg", (40, 30), "", {"keypoints": [one]})
    write_coco(stored(Table(Path(), Path(), [image], [person, dog], COCO_PERSON), tmp_path), "train", tmp_path / "to")
    found = read(tmp_path / "to")
    assert objects(found.images[0]) == {"boxes": [said(one, "boxes")], "keypoints": [said(one, "keypoints")]}
    assert (found.categories, found.skeleton) == ([person, dog], COCO_PERSON)


def test_what_coco_cannot_carry_is_told(tmp_path: Path) -> None:
    """Outlines are annotated on all images of a file or on none."""
    kite = Category(1, "kite")
    plain_one, outlined_one = (TableObject(i, kite, np.array([1.0, 2.0, 9.0, 8.0]), 48.0) for i in (1, 2))
    outlined_one.parts = (np.array([[1.0, 2.0], [9.0, 2.0], [9.0, 8.0]]),)
    images = [
        TableImage(1, "1.jpg", (40, 30), "", {"boxes": [plain_one]}),
        TableImage(2, "2.jpg", (40, 30), "", {"boxes": [outlined_one], "polygons": [outlined_one]}),
    ]
    table = stored(Table(Path(), Path(), images, [kite]), tmp_path)
    assert write_coco(table, "train", tmp_path / "to") == ["that outlines were not looked for on 1 image"]
    images[1].objects = {"boxes": [], "polygons": []}
    assert write_coco(table, "val", tmp_path / "to") == ["that there are no outlines on 1 image"]


def test_other_files_are_never_replaced(tmp_path: Path) -> None:
    source, target = copied(tmp_path)
    write_coco(read(source), "train", target)  # the same again is no other file
    with pytest.raises(DataError, match=r"instances_train\.json: exists and is another file; give an empty folder"):
        write_coco(read(source), "train", source)
    (target / "images/train/2.png").write_bytes(b"other")
    with pytest.raises(DataError, match=r"2\.png: exists and is another file"):
        write_coco(read(source), "train", target)
    assert (target / "images/train/2.png").read_bytes() == b"other"
    (target / "images/train/2.png").unlink()
    (target / "images/train/2.png").mkdir()
    with pytest.raises(DataError, match=r"2\.png: exists and is another file"):
        write_coco(read(source), "train", target)


# ------------------------------------------------------------------------------------------------- copies of images


def test_an_image_inside_an_archive_is_copied(tmp_path: Path) -> None:
    (tmp_path / "shard.tar").write_bytes(b"headPIXELStail")
    image = TableImage(1, "1.jpg", (40, 30), "", slice=Slice(tmp_path / "shard.tar", 4, 6, "1.jpg"))
    copy_image(Table(tmp_path, tmp_path, [image]), image, tmp_path / "a/b/c.jpg")
    assert (tmp_path / "a/b/c.jpg").read_bytes() == b"PIXELS"


def test_images_that_cannot_be_read_or_lie_outside_are_not_copied(tmp_path: Path) -> None:
    root = tmp_path / "set"
    root.mkdir()
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    (root / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    for name, reason in {"none.jpg": "does not exist", "link.jpg": "lies outside", ".": "is a folder"}.items():
        image = TableImage(1, name, (40, 30), "")
        with pytest.raises(DataError, match=reason):
            copy_image(Table(root, root, [image]), image, tmp_path / "copy.jpg")
    within = TableImage(1, "1.jpg", (40, 30), "", slice=Slice(tmp_path / "secret.jpg", 0, 6, "1.jpg"))
    with pytest.raises(DataError, match=r"secret\.jpg: 1\.jpg: lies outside the data folder"):
        copy_image(Table(root, root, [within]), within, tmp_path / "copy.jpg")
    assert not (tmp_path / "copy.jpg").exists()


def test_small_words_and_numbers() -> None:
    assert [counted(n, unit) for n, unit in ((1, "image"), (2, "image"), (1, "category"), (0, "category"))] == [
        "1 image", "2 images", "1 category", "0 categories",
    ]  # fmt: skip
    assert [str(plain(value)) for value in (2.0, 2.5, np.float64(-0.0), 1e300)] == ["2", "2.5", "0", str(int(1e300))]
