"""PASCAL VOC: every layout, boxes as COCO counts them, and what is written is read back."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from multitask.annotations import Boxes
from multitask.data.formats.layout import Place
from multitask.data.formats.voc import VocLayout, find
from multitask.data.formats.voc_writer import write as write_voc
from multitask.data.source import open_dataset
from multitask.data.table import Table, TableDataset, TableImage, TableObject
from multitask.errors import DataError
from multitask.task import Category

from . import coco_folder
from .voc_folder import good, thing, write, xml

SPLITS = {"train": ["a", "b"], "val": ["c"]}


def opened(root: Path, split: str = "all", **where: str) -> TableDataset:
    dataset = open_dataset(str(root), split, role="train", format="voc", **where)
    assert isinstance(dataset, TableDataset)
    return dataset


def boxes(dataset: TableDataset, position: int) -> Boxes:
    found = dataset[position].annotations["boxes"]
    assert isinstance(found, Boxes)
    return found


def layout(root: Path) -> VocLayout:
    found = find(Place(str(root)))
    assert found is not None
    return found


def test_a_whole_data_set(tmp_path: Path) -> None:
    dataset = opened(write(tmp_path, good(), SPLITS), "train")
    assert dataset.faults == []
    assert dataset.entries == 2 + 2
    assert [(c.id, c.name) for c in dataset.info.categories] == [(1, "apple"), (2, "kite"), (3, "person")]
    assert [dataset[i].id for i in range(len(dataset))] == ["a", "b"]
    assert [dataset.kinds(i) for i in range(len(dataset))] == [{"boxes"}, {"boxes"}]
    assert dataset[1].load()[0, 0].tolist() == [160, 0, 0]
    np.testing.assert_array_equal(boxes(dataset, 0).xyxy, [[2, 3, 12, 11], [20, 5, 24, 25]])
    assert boxes(dataset, 0).labels == ("kite", "person")
    assert boxes(dataset, 0).crowd.tolist() == [False, True]
    assert boxes(dataset, 0).areas.tolist() == [80, 80]
    assert boxes(dataset, 0).ids.tolist() == [1, 2]
    assert len(boxes(dataset, 1)) == 0


def test_categories_and_ids_agree_between_splits(tmp_path: Path) -> None:
    write(tmp_path, good(), SPLITS)
    train, val = opened(tmp_path, "train"), opened(tmp_path, "val")
    assert train.info.categories == val.info.categories
    assert boxes(val, 0).ids.tolist() == [3]
    assert boxes(val, 0).xyxy.tolist() == [[0, 0, 40, 30]]
    assert open_dataset(str(tmp_path), None, role="val").split == "val"


def test_what_no_split_lists_is_not_read(tmp_path: Path) -> None:
    files = good() | {"d": "no XML", "e": xml(thing("secret", 1, 1, 2, 2))}
    dataset = opened(write(tmp_path, files, SPLITS), "train")
    assert dataset.faults == []
    assert "secret" not in {category.name for category in dataset.info.categories}


@pytest.mark.parametrize("images", ["JPEGImages", "images", ".", "Annotations"])
@pytest.mark.parametrize("annotations", ["Annotations", "annotations", "."])
def test_layouts(tmp_path: Path, annotations: str, images: str) -> None:
    if images == "Annotations":
        images = annotations
    dataset = opened(write(tmp_path, good(), annotations=annotations, images=images), images=images)
    assert [dataset[i].id for i in range(len(dataset))] == ["a", "b", "c"]
    assert dataset[2].load()[0, 0].tolist() == [240, 0, 0]


def test_beside_other_images_the_folder_with_those_of_the_set_is_taken(tmp_path: Path) -> None:
    write(tmp_path, good(), images=".")
    (tmp_path / "JPEGImages").mkdir()
    Image.new("RGB", (9, 9)).save(tmp_path / "JPEGImages" / "other.png")
    assert opened(tmp_path)[0].file == "a.png"


def test_a_folder_of_xml_beside_images_for_each_split(tmp_path: Path) -> None:
    for folder in ("train", "valid"):
        write(tmp_path / folder, good(), annotations=".", images=".")
    assert layout(tmp_path).splits == ["train", "valid"]
    assert open_dataset(str(tmp_path), None, role="val").split == "valid"
    assert opened(tmp_path, "valid")[2].load().shape == (30, 40, 3)


def test_files_may_be_chosen(tmp_path: Path) -> None:
    write(tmp_path, good(), annotations="mine", images="pictures/upright")
    dataset = opened(tmp_path, annotations="mine", images="pictures/upright")
    assert len(dataset) == 3
    assert len(opened(tmp_path, annotations="mine/a*.xml", images="pictures/upright")) == 1
    assert len(open_dataset(str(tmp_path), "all", role="train", annotations="mine", images="pictures/upright")) == 3
    with pytest.raises(DataError, match=r"no annotations found; looked for voc: Annotations/\*\.xml"):
        opened(tmp_path, annotations="pictures")


def test_the_year_of_a_devkit(tmp_path: Path) -> None:
    write(tmp_path / "VOCdevkit/VOC2007", good(), {"trainval": ["a"], "test": ["c"]})
    for path in (tmp_path, tmp_path / "VOCdevkit", tmp_path / "VOCdevkit/VOC2007"):
        assert opened(path, "test")[0].load()[0, 0].tolist() == [240, 0, 0]
    shutil.copytree(tmp_path / "VOCdevkit/VOC2007", tmp_path / "VOCdevkit/VOC2012")
    with pytest.raises(DataError, match=r"several data sets \(VOC2007, VOC2012\); give one of them as the path"):
        opened(tmp_path / "VOCdevkit", "test")
    assert len(opened(tmp_path / "VOCdevkit/VOC2012", "test")) == 1


def test_lists_of_a_class_are_no_splits(tmp_path: Path) -> None:
    write(tmp_path, good(), {**SPLITS, "kite_train": ["a  1", "b -1"], "kite_val": ["c  0"], "empty": []})
    assert layout(tmp_path).splits == ["empty", "train", "val"]
    (tmp_path / "ImageSets/Main/long_train.txt").write_text("a -1\n" * 5000)
    assert layout(tmp_path).splits == ["empty", "train", "val"]
    for split in SPLITS:
        (tmp_path / f"ImageSets/Main/{split}.txt").unlink()
    (tmp_path / "ImageSets/Main/empty.txt").unlink()
    assert layout(tmp_path).splits == ["all"]


@pytest.mark.parametrize(
    "text", ["a\nb\n", "a\r\nb\r\n", "\ufeffa\nb", "a.png\nb.xml", "JPEGImages/a.png\n\n b \n"], ids=repr
)
def test_lists_of_names_in_any_spelling(tmp_path: Path, text: str) -> None:
    write(tmp_path, good(), SPLITS)
    (tmp_path / "ImageSets/Main/train.txt").write_bytes(text.encode())
    dataset = opened(tmp_path, "train")
    assert dataset.faults == []
    assert [dataset[i].id for i in range(len(dataset))] == ["a", "b"]


def test_names_with_blanks_and_points(tmp_path: Path) -> None:
    name = "a photo.v1 0"
    write(tmp_path, {name: xml()}, {"train": [name]})
    (tmp_path / "JPEGImages/a.png").rename(tmp_path / f"JPEGImages/{name}.PNG")
    assert opened(tmp_path, "train")[0].file == f"{name}.PNG"


@pytest.mark.parametrize(
    ("said", "taken"),
    [
        ("other.png", "other.png"),
        ("OTHER.png", "a.png"),
        ("none.jpg", "a.png"),
        ("b.png", "a.png"),  # which is the image of b.xml
        ("folder/other.png", "other.png"),
        ("C:\\photos\\other.png", "other.png"),
        ("../../etc/passwd", "a.png"),
        ("", "a.png"),
    ],
)
def test_the_image_is_the_one_that_the_file_names_or_of_its_own_name(tmp_path: Path, said: str, taken: str) -> None:
    write(tmp_path, {"a": xml(filename=said), "b": xml()})
    shutil.copy(tmp_path / "JPEGImages/c.png", tmp_path / "JPEGImages/other.png")
    assert opened(tmp_path)[0].file == taken


@pytest.mark.parametrize("size", ["", "<size/>", "<size><width>0</width><height>0</height></size>"])
def test_a_size_that_is_left_out_is_the_images(tmp_path: Path, size: str) -> None:
    write(tmp_path, {"a": xml(thing("kite", 3, 4, 90, 11), size=size)})
    Image.new("RGB", (80, 70)).save(tmp_path / "JPEGImages/a.png")
    dataset = opened(tmp_path)
    assert dataset[0].size == (80, 70)
    assert boxes(dataset, 0).xyxy.tolist() == [[2, 3, 80, 11]]


def test_a_wrong_size_is_kept_to_and_told_when_the_image_is_read(tmp_path: Path) -> None:
    write(tmp_path, good())
    Image.new("RGB", (41, 30)).save(tmp_path / "JPEGImages/a.png")
    with pytest.raises(DataError, match=r"a\.png: is 41 x 30 pixels, but annotated as 40 x 30"):
        opened(tmp_path)[0].load()


def test_edges_that_count_from_0_and_decimals(tmp_path: Path) -> None:
    inside = [(0, 0, 40, 30), (1, 1, 41, 31), ("1.1", " 2.25\n", "3e0", "4.75"), ("7", "7", "7", "7")]
    dataset = opened(write(tmp_path, {"a": xml(*(thing("kite", *edges) for edges in inside))}))
    assert dataset.faults == []
    expected = [[0, 0, 40, 30], [0, 0, 40, 30], [0.1, 1.25, 3, 4.75], [6, 6, 7, 7]]
    assert boxes(dataset, 0).xyxy.tolist() == expected


def test_parts_and_other_tags_are_passed_over(tmp_path: Path) -> None:
    part = "<part><name>head</name><bndbox><xmin>9</xmin></bndbox></part><point><x>1</x></point>"
    files = {
        "a": "<?xml version='1.0'?><!-- x -->"
        + xml("<owner><name>me</name></owner>", thing("kite", 3, 4, 12, 11, more=part))
    }
    dataset = opened(write(tmp_path, files))
    assert dataset.faults == []
    assert boxes(dataset, 0).labels == ("kite",)
    assert boxes(dataset, 0).xyxy.tolist() == [[2, 3, 12, 11]]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "iso-8859-1"])
def test_encodings(tmp_path: Path, encoding: str) -> None:
    declared = f"<?xml version='1.0' encoding='{encoding.removesuffix('-sig')}'?>" + xml(thing("Käfer", 3, 4, 12, 11))
    dataset = opened(write(tmp_path, {"a": declared.encode(encoding)}))
    assert boxes(dataset, 0).labels == ("Käfer",)


@pytest.mark.parametrize("root", ["annotations", "opencv_storage", "svg"])
def test_xml_of_other_formats_is_not_taken(tmp_path: Path, root: str) -> None:
    for folder in (".", "Annotations"):
        write(tmp_path / folder, {}, annotations=".")
        (tmp_path / folder / "annotations.xml").write_text(f"<?xml version='1.0'?>\n<{root}><image/></{root}>")
        assert find(Place(str(tmp_path))) is None


def test_coco_goes_first_where_both_lie(tmp_path: Path) -> None:
    write(tmp_path, good(), SPLITS)
    coco_folder.write(tmp_path, {"captions": coco_folder.good()["captions"]})
    assert open_dataset(str(tmp_path), "train", role="train").kinds(0) == {"captions"}
    assert opened(tmp_path, "train").kinds(0) == {"boxes"}


# ------------------------------------------------------------------------------------------------- the same as COCO's


def test_voc_and_its_coco_twin_have_the_same_boxes(tmp_path: Path) -> None:
    """Both are written here by the rules of each format, from random pixels that objects cover."""
    rng = np.random.default_rng(4)
    names = ("ant", "bee", "wasp")
    files, images, annotations = {}, [], []
    for number, stem in enumerate("abc", 1):
        things = []
        for _ in range(5):
            x, y = rng.integers(0, 40), rng.integers(0, 30)
            right, bottom = rng.integers(x, 40), rng.integers(y, 30)  # last pixels, from 0
            category, difficult = int(rng.integers(3)), int(rng.integers(2))
            more = f"<difficult>{difficult}</difficult>"
            things.append(thing(names[category], x + 1, y + 1, right + 1, bottom + 1, more=more))
            bbox = [int(x), int(y), int(right - x + 1), int(bottom - y + 1)]
            annotations.append(
                {"id": len(annotations) + 1, "image_id": number, "category_id": category + 1, "bbox": bbox,
                 "area": bbox[2] * bbox[3], "iscrowd": difficult}
            )  # fmt: skip
        files[stem] = xml(*things)
        images.append({"id": number, "file_name": f"{stem}.png", "width": 40, "height": 30})
    categories = [{"id": number, "name": name} for number, name in enumerate(names, 1)]
    write(tmp_path, files, {"train": ["a", "b", "c"]})
    twin = {"images": images, "annotations": annotations, "categories": categories}
    (tmp_path / "coco").mkdir()
    (tmp_path / "coco/instances_train.json").write_text(json.dumps(twin))
    voc, coco = opened(tmp_path, "train"), open_dataset(str(tmp_path), "train", role="train", format="coco")
    assert voc.info == coco.info
    assert len(voc) == len(coco) == 3
    for i in range(3):
        ours, theirs = boxes(voc, i), coco[i].annotations["boxes"]
        assert isinstance(theirs, Boxes)
        assert ours.labels == theirs.labels
        for values in ("xyxy", "areas", "crowd", "ids"):
            np.testing.assert_array_equal(getattr(ours, values), getattr(theirs, values))


# ----------------------------------------------------------------------------------------------------------- writing


def table(root: Path, *images: TableImage, names: tuple[str, ...] = ("kite",)) -> Table:
    categories = [Category(number, name) for number, name in enumerate(names, 1)]
    for image in images:
        (root / image.name).parent.mkdir(parents=True, exist_ok=True)
        seed = sum(map(ord, image.name))
        Image.new("RGB", image.size, (seed % 251, seed % 241, 0)).save(root / image.name)
    return Table(root, root, list(images), categories)


def one(number: int, *xyxy: float, name: str = "kite", area: float | None = None, crowd: bool = False) -> TableObject:
    box = np.array(xyxy, dtype=np.float64)
    size = float((box[2] - box[0]) * (box[3] - box[1]))
    return TableObject(number, Category(1, name), box, size if area is None else area, crowd)


def test_a_data_set_is_written_and_read_back(tmp_path: Path) -> None:
    root = write(tmp_path / "from", good(), SPLITS)
    for split in SPLITS:
        assert write_voc(layout(root).read(split), split, tmp_path / "to") == (
            ["2 categories without boxes"]
            if split == "val"
            else ["1 crowd, which become difficult objects", "1 category without boxes"]
        )
    for split in SPLITS:
        before, after = opened(root, split), opened(tmp_path / "to", split)
        assert after.faults == []
        assert before.info.categories == after.info.categories
        for i in range(len(before)):
            assert (before[i].id, before[i].size, before[i].file) == (after[i].id, after[i].size, after[i].file)
            assert (root / "JPEGImages" / before[i].file).read_bytes() == (
                tmp_path / "to" / "JPEGImages" / after[i].file
            ).read_bytes()
            assert boxes(before, i).labels == boxes(after, i).labels
            for values in ("xyxy", "areas", "crowd", "ids"):
                np.testing.assert_array_equal(getattr(boxes(before, i), values), getattr(boxes(after, i), values))


def test_whole_edges_are_written_as_whole_numbers_from_1(tmp_path: Path) -> None:
    image = TableImage("a", "a.png", (40, 30), "", {"boxes": [one(1, 2, 3, 12.5, 30)]})
    write_voc(table(tmp_path, image), "train", tmp_path / "to")
    text = (tmp_path / "to/Annotations/a.xml").read_text()
    assert "<xmin>3</xmin>" in text
    assert "<ymin>4</ymin>" in text
    assert "<xmax>12.5</xmax>" in text
    assert "<ymax>30</ymax>" in text
    assert (tmp_path / "to/ImageSets/Main/train.txt").read_text() == "a\n"


edges = st.floats(1e-9, 40) | st.integers(0, 40).map(float)
spans = st.tuples(edges, edges).map(sorted).filter(lambda pair: pair[1] > max(1, pair[0] + 1e-6))
texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), min_size=1, max_size=9)
words = texts.map(lambda text: " ".join(text.split())).filter(bool).filter(lambda text: "\ufffe" not in text)


@settings(derandomize=True, deadline=None, max_examples=40)
@given(st.lists(st.tuples(spans, spans, words, st.booleans()), max_size=5))
def test_any_box_is_read_back_to_the_last_digit(tmp_path_factory: pytest.TempPathFactory, drawn: list) -> None:
    root = tmp_path_factory.mktemp("voc")
    objects = [
        one(number, x[0], y[0], x[1], y[1], name=name, crowd=crowd)
        for number, (x, y, name, crowd) in enumerate(drawn, 1)
    ]
    image = TableImage("a", "a.png", (40, 40), "", {"boxes": objects})
    write_voc(table(root, image, names=tuple({o.category.name for o in objects})), "train", root / "to")
    read = layout(root / "to").read("train")
    assert read.faults == []
    found = read.images[0].objects["boxes"]
    assert [o.category.name for o in found] == [o.category.name for o in objects]
    assert [o.crowd for o in found] == [o.crowd for o in objects]
    assert [o.xyxy.tolist() for o in found] == [o.xyxy.tolist() for o in objects]


def test_what_voc_cannot_carry_is_told(tmp_path: Path) -> None:
    outline = np.array([[1.0, 1.0], [5.0, 1.0], [5.0, 5.0]])
    points = np.zeros((1, 2)), np.array([2])
    rich = one(1, 1, 1, 5, 5, area=8)
    rich.parts, rich.points = (outline,), points
    objects = {"boxes": [rich, one(2, 0, 0, 9, 9, crowd=True)], "polygons": [rich], "keypoints": [rich]}
    images = [
        TableImage(7, "a.png", (40, 30), "", objects, ["A kite."]),
        TableImage(8, "x/b.png", (40, 30), "", {}, ["Sea."]),
    ]
    assert write_voc(table(tmp_path, *images, names=("kite", "cat", "dog")), "train", tmp_path / "to") == [
        "1 image without boxes", "outlines of 1 object", "keypoints of 1 object", "captions of 2 images",
        "1 crowd, which become difficult objects", "areas of 1 object, whose boxes' are taken",
        "2 categories without boxes", "ids of 1 image, whose names are taken",
    ]  # fmt: skip
    assert [path.name for path in (tmp_path / "to/JPEGImages").iterdir()] == ["a.png"]


def test_images_of_one_name_are_kept_apart(tmp_path: Path) -> None:
    names = ["1.png", "x/1.png", "y/1.png"]
    images = [TableImage(name, name, (40, 30), "", {"boxes": [one(1, 0, 0, 5, 5 + i)]}) for i, name in enumerate(names)]
    images[0].id = "1"
    for split, own in {"train": images, "val": images[1:]}.items():
        for _ in range(2):  # to write it again changes nothing
            write_voc(table(tmp_path / "from", *own), split, tmp_path / "to")
    assert (tmp_path / "to/ImageSets/Main/train.txt").read_text().split() == ["1", "train_1", "train_1-2"]
    assert (tmp_path / "to/ImageSets/Main/val.txt").read_text().split() == ["val_1", "val_1-2"]
    dataset = opened(tmp_path / "to", "val")
    assert dataset[1].load()[0, 0, 0] == sum(map(ord, "y/1.png")) % 251
    assert boxes(dataset, 1).xyxy.tolist() == [[0, 0, 5, 7]]


def test_an_image_that_is_there_twice_stays_so(tmp_path: Path) -> None:
    images = [TableImage(name, name, (40, 30), "", {"boxes": []}) for name in ("x/1.png", "y/1.png")]
    written = table(tmp_path / "from", *images)
    (tmp_path / "from/y/1.png").write_bytes((tmp_path / "from/x/1.png").read_bytes())
    write_voc(written, "train", tmp_path / "to")
    assert [opened(tmp_path / "to", "train")[i].id for i in (0, 1)] == ["1", "train_1"]


def test_what_cannot_be_written_is_refused(tmp_path: Path) -> None:
    captioned = TableImage("a", "a.png", (40, 30), "", {}, ["Sea."])
    with pytest.raises(DataError, match="split 'train' has no image with boxes to write"):
        write_voc(table(tmp_path, captioned), "train", tmp_path / "to")
    strange = TableImage("a", "a.png", (40, 30), "", {"boxes": [one(1, 0, 0, 5, 5, name="a\x01b")]})
    with pytest.raises(DataError, match=r"name 'a\\x01b' has control characters"):
        write_voc(table(tmp_path, strange), "train", tmp_path / "to")
    assert not (tmp_path / "to").exists()
    boxed = TableImage("a", "a.png", (40, 30), "", {"boxes": []})
    (tmp_path / "to/ImageSets/Main").mkdir(parents=True)
    (tmp_path / "to/ImageSets/Main/train.txt").write_text("b\n")
    with pytest.raises(DataError, match=r"train\.txt: exists and is another file; give an empty folder"):
        write_voc(table(tmp_path, boxed), "train", tmp_path / "to")
    (tmp_path / "a.png").unlink()
    with pytest.raises(DataError, match=r"a\.png: does not exist"):
        write_voc(Table(tmp_path, tmp_path, [boxed]), "train", tmp_path / "to2")
