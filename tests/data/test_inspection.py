"""What `mtp data check` finds: every fault of the annotations, and every image that training could not read."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from multitask.data.formats.layout import Place
from multitask.data.images import read_image, try_image
from multitask.data.shapes import ShapesDataset
from multitask.data.source import FORMATS, open_dataset
from multitask.data.survey import image_check
from multitask.data.survey.conversion import refuse_format, refuse_target, write_copy
from multitask.data.survey.drawn import drawn_table
from multitask.data.survey.image_check import Budget, Picture, check_images
from multitask.data.survey.inspection import inspect, merges
from multitask.data.survey.splits import read_splits
from multitask.errors import DataError, UsageError

from .coco_folder import good, write


def coloured(root: Path, split: str, shade: int) -> None:
    """Other pictures in this split than in the others."""
    for i in (1, 2, 3):
        Image.new("RGB", (40, 30), (80 * i, shade, 0)).save(root / "images" / split / f"{i}.png")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two splits in which nothing is wrong."""
    for number, split in enumerate(("train", "val")):
        write(tmp_path / "data", good(), split, f"images/{split}")
        coloured(tmp_path / "data", split, number)
    return tmp_path / "data"


def lines(root: Path) -> list[str]:
    return [str(fault) for fault in inspect(Place(str(root))).faults]


def test_a_sound_data_set_has_no_faults(root: Path) -> None:
    seen: list[tuple[int, int]] = []
    report = inspect(Place(str(root)), progress=lambda done, total: seen.append((done, total)))
    assert list(report.counts()) == [("train", 3, 5, []), ("val", 3, 5, [])]  # 3 objects and 2 captions each
    assert report.entries == 2 * (6 + 6)
    assert seen == [(n, 6) for n in range(1, 7)]


# what is done to train/2.png, and what is said about it
IMAGES = {
    "not an image": (lambda path: path.write_bytes(b"GIF8 is no more than a beginning"), "is not an image that can be"),
    "cut off": (lambda path: path.write_bytes(path.read_bytes()[:60]), ""),
    "another size": (
        lambda path: Image.new("RGB", (30, 40)).save(path),
        "is 30 x 40 pixels, but annotated as 40 x 30",
    ),
    "a bit flipped": (lambda path: path.write_bytes(path.read_bytes()[:50] + b"\0" + path.read_bytes()[51:]), ""),
}


@pytest.mark.parametrize("case", IMAGES)
def test_an_image_that_cannot_be_read_is_named_with_its_reason(root: Path, case: str) -> None:
    spoil, reason = IMAGES[case]
    spoil(root / "images/train/2.png")
    report = inspect(Place(str(root)))
    (fault,) = report.faults
    assert (fault.file, fault.where, fault.field) == ("annotations/instances_train.json", "image 2", "file_name")
    assert (fault.value, fault.action, fault.lost) == ("'2.png'", "skipped with its annotations", True)
    assert reason in fault.reason and "2.png" not in fault.reason
    assert [counts[:2] for counts in report.counts()] == [("train", 2), ("val", 3)]
    with pytest.raises(DataError) as refused:  # as in training
        open_dataset(str(root), "train", role="train")[1].load()
    assert str(refused.value).endswith(fault.reason)


def verdict(judge: Callable[..., object], path: Path) -> str:
    try:
        judge(path, path.parent, (24, 18))
    except DataError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("format", ["jpg", "png", "webp", "bmp", "gif", "tif", "ppm"])
def test_damage_is_judged_as_in_training(tmp_path: Path, format: str) -> None:
    rng = np.random.default_rng(0)
    path = tmp_path / f"a.{format}"
    Image.fromarray(rng.integers(0, 255, (18, 24, 3), dtype=np.uint8)).save(path)
    sound, refused = path.read_bytes(), 0
    for _ in range(300):
        content = bytearray(sound[: rng.integers(1, 2 * len(sound))])
        content[rng.integers(len(content))] = rng.integers(256)
        path.write_bytes(content)
        found = verdict(try_image, path)
        assert found == verdict(read_image, path)
        refused += bool(found)
    assert 10 < refused < 300


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "I;16", "I", "F", "YCbCr", "LAB"])
def test_colours_are_judged_as_in_training(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "a.tif"
    Image.new(mode, (24, 18)).save(path)
    assert verdict(try_image, path) == verdict(read_image, path)


def test_images_are_judged_with_their_exif_as_in_training(root: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    for name, size in (("1", (40, 30)), ("2", (30, 40)), ("3", (31, 40))):  # as stored, as shown, neither
        Image.new("RGB", size, (1, 2, 3)).save(root / f"images/train/{name}.png", exif=exif)
    (fault,) = inspect(Place(str(root)), split="train").faults
    assert fault.where == "image 3" and "but annotated as 40 x 30" in fault.reason


def test_the_same_picture_in_two_splits_is_told_but_loses_nothing(root: Path) -> None:
    shutil.copy(root / "images/train/1.png", root / "images/val/3.png")
    report = inspect(Place(str(root)))
    (fault,) = report.faults
    assert str(fault) == (
        "annotations/captions_val.json: image 3: file_name '3.png' is also in split train (kept); "
        "keep it in one of them"
    )
    assert not fault.lost and not report.splits.lost
    assert inspect(Place(str(root)), split="val").faults == []


def test_a_split_of_all_images_repeats_none(root: Path) -> None:
    for path in (root / "annotations").glob("*_train.json"):
        shutil.copy(path, path.with_name(path.name.replace("train", "trainval")))
    shutil.copytree(root / "images/train", root / "images/trainval")
    assert lines(root) == []


def test_faults_of_annotations_and_images_stand_together(root: Path) -> None:
    files = good()
    files["instances"]["annotations"][0]["bbox"] = [35, 3, 10, 8]
    files["instances"]["annotations"][1]["bbox"] = []
    write(root, files, "train", "images/train")
    coloured(root, "train", 0)
    (root / "images/val/1.png").unlink()
    (root / "images/val/2.png").write_bytes(b"")
    found = inspect(Place(str(root)))
    assert [(f.where, f.action) for f in found.splits.faults["train"]] == [
        ("annotation 11", "clipped"), ("annotation 12", "skipped"),
    ]  # fmt: skip
    assert {f.where for f in found.splits.faults["val"]} == {"image 1", "image 2"}
    assert found.splits.lost == 3
    record = found.to_json()
    assert record["splits"]["train"]["counts"] == {
        "bbox reaches out of the image (clipped)": 1,
        "bbox has not 4 numbers (skipped)": 1,
    }
    assert [fault["lost"] for fault in record["splits"]["train"]["faults"]] == [False, True]
    assert json.loads(json.dumps(record)) == record


def test_kinds_of_faults_do_not_depend_on_the_numbers_in_them(root: Path) -> None:
    for i in (1, 2, 3):
        Image.new("RGB", (40, 30 + i)).save(root / f"images/train/{i}.png")
    counts = inspect(Place(str(root))).to_json()["splits"]["train"]["counts"]
    assert counts == {"file_name is N x N pixels, but annotated as N x N (skipped with its annotations)": 3}


def test_a_split_that_cannot_be_used_does_not_hide_the_others(root: Path) -> None:
    (root / "annotations/captions_val.json").write_text("[1")
    report = inspect(Place(str(root)))
    (fault,) = report.faults
    assert fault.where == "split val" and "captions_val.json" in fault.reason and fault.lost
    assert [counts[:3] for counts in report.counts()] == [("train", 3, 5), ("val", 0, 0)]
    with pytest.raises(DataError, match=r"captions_val\.json"):
        inspect(Place(str(root)), split="val")
    for path in (root / "annotations").iterdir():
        path.write_text("{")
    with pytest.raises(DataError, match=r"_train\.json"):
        inspect(Place(str(root)))


def test_categories_of_several_data_sets_merge_by_name(root: Path, tmp_path: Path) -> None:
    files = good()
    files["instances"]["categories"][0]["id"] = files["instances"]["annotations"][0]["category_id"] = 70
    other = write(tmp_path / "other", files)
    reports = [inspect(Place(str(path))) for path in (root, other)]
    assert "one category 'kite' of data (7), other (70)" in merges(reports)
    # Other points are nothing that checking must refuse.
    files["person_keypoints"]["categories"][0]["keypoints"] = ["a", "b", "c"]
    assert merges([reports[0], inspect(Place(str(write(tmp_path / "third", files))))])


# ------------------------------------------------------------------------------------------------- pixels at a time


def test_images_in_memory_stay_within_the_budget(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[int] = []

    class Watched(Budget):
        @contextmanager
        def taken(self, amount: int) -> Iterator[None]:
            with super().taken(amount):
                used.append(self.used)
                yield

    monkeypatch.setattr(image_check, "Budget", Watched)
    monkeypatch.setattr(image_check, "PIXELS", 2500)  # two of these images
    pictures = []
    for i in range(12):
        Image.new("RGB", (40, 30), (i, 0, 0)).save(root / f"{i}.png")
        pictures.append(Picture(root / f"{i}.png", root, (40, 30)))
    Image.new("RGB", (90, 90)).save(root / "large.png")  # on its own
    pictures.insert(6, Picture(root / "large.png", root, (90, 90)))
    verdicts = check_images(pictures)
    assert not [verdict for verdict in verdicts.values() if verdict.problem]
    assert max(use for use in used if use != 8100) <= 2500 and used.count(8100) == 1


def test_a_budget_goes_on_after_an_error() -> None:
    budget = Budget(10)
    with pytest.raises(KeyError), budget.taken(99):
        raise KeyError
    with budget.taken(4), budget.taken(6):
        assert budget.used == 10
    assert budget.used == 0


def test_a_picture_that_several_splits_share_is_decoded_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    judged = image_check._judged
    monkeypatch.setattr(image_check, "_judged", lambda p, budget: calls.append(str(p.where)) or judged(p, budget))
    picture = Picture(root / "images/train/1.png", root, (40, 30))
    assert len(check_images([picture, picture, replace(picture, size=(1, 1))])) == 2
    assert len(calls) == 2


# ---------------------------------------------------------------------------------------------------------- copies


def test_a_copy_holds_what_is_usable_and_checks_clean(root: Path, tmp_path: Path) -> None:
    (root / "images/train/2.png").write_bytes(b"no image")
    files = good()
    files["instances"]["annotations"][1]["bbox"] = [None]
    (root / "annotations/instances_train.json").write_text(json.dumps(files["instances"]))
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    report = inspect(Place(str(root)))
    write_copy(report.splits.tables, "coco", tmp_path / "copy")
    copy = inspect(Place(str(tmp_path / "copy")))
    assert not copy.splits.lost
    assert [counts[:3] for counts in copy.counts()] == [counts[:3] for counts in report.counts()]
    assert before == {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_a_target_in_use_is_refused_and_left_as_it_is(root: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full/mine.txt").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    tables = read_splits(Place(str(root))).tables
    for name in ("full", "full/mine.txt", "link"):
        with pytest.raises(UsageError, match="exists and is not an empty folder"):
            write_copy(tables, "coco", tmp_path / name)
    with pytest.raises(UsageError, match="lies inside"):
        refuse_target(root / "copy", Place(str(root)))
    with pytest.raises(UsageError, match="lies inside"):
        refuse_target(root / "annotations/a", Place(str(root / "annotations/instances_train.json")))
    with pytest.raises(UsageError, match="did you mean 'coco'"):
        refuse_format("cocoo")
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["mine.txt"]
    (tmp_path / "empty").mkdir()
    write_copy(tables, "coco", tmp_path / "empty")
    assert inspect(Place(str(tmp_path / "empty"))).faults == []


def test_a_copy_that_fails_leaves_nothing(root: Path, tmp_path: Path) -> None:
    tables = read_splits(Place(str(root))).tables
    (root / "images/val/3.png").unlink()
    with pytest.raises(DataError, match=r"3\.png"):
        write_copy(tables, "coco", tmp_path / "new/copy")
    assert list((tmp_path / "new").iterdir()) == []
    with pytest.raises(DataError, match="no image is left"):
        write_copy({split: replace(table, images=[]) for split, table in tables.items()}, "coco", tmp_path / "new/copy")


@pytest.mark.parametrize("format", FORMATS)
def test_scenes_of_shapes_are_written_in_every_format(tmp_path: Path, format: str) -> None:
    table = drawn_table("val", 3, 0, tmp_path / "scratch")
    write_copy({"val": table}, format, tmp_path / "copy")
    dataset = open_dataset(str(tmp_path / "copy"), "val", role="val", format=format)
    truth = ShapesDataset("val", 3)
    by_pixels = {dataset[i].load().tobytes(): dataset[i] for i in range(len(dataset))}
    for i in range(3):
        found = by_pixels[truth[i].load().tobytes()]
        for kind, annotation in found.annotations.items():
            kept = truth[i].annotations["keypoints" if format == "yolo" else kind]  # YOLO has one kind of objects
            assert len(annotation) == len(kept)
            if kind == "boxes":
                assert sorted(annotation.labels) == sorted(kept.labels)


def test_a_drawn_table_says_what_the_scenes_say(tmp_path: Path) -> None:
    table = drawn_table("train", 5, 0, tmp_path)
    truth = ShapesDataset("train", 5)
    for i, image in enumerate(table.images):
        annotations = truth[i].annotations
        assert image.captions == list(annotations["captions"].texts)
        for kind in ("boxes", "polygons", "keypoints"):
            objects = image.objects[kind]
            assert [one.category.name for one in objects] == list(annotations[kind].labels)
            assert np.array_equal(np.array([one.xyxy for one in objects]).reshape(-1, 4), annotations[kind].xyxy)
        assert [len(one.parts) for one in image.objects["polygons"]] == [len(p) for p in annotations["polygons"].parts]
        assert all(one.points is not None for one in image.objects["keypoints"])
