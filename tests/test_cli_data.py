"""`mtp data` as a user meets it: what its commands print, what they write, and how they end."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from . import command_line as tools

Done, Shell = tools.Done, tools.Shell
HOSTILE = ("[bold red]cat[/]", ":smile: dog", "esc\x1b[31mape", "\u202eevil\u2066")


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    with Shell(tmp_path_factory.mktemp("shell")) as shell:
        yield shell


@pytest.fixture
def mtp(shell: Shell, tmp_path: Path) -> Any:
    """`mtp data WORDS` in the folder of the test; its exit code must be `code`."""

    def run(*words: str, code: int = 0) -> Done:
        done = shell.mtp("data", *words, folder=tmp_path)
        assert done.code == code, done.out + done.err
        assert "Traceback" not in done.out + done.err
        return done

    return run


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Four pictures in each of two splits, all of them different, with a box and a caption each."""
    root = tools.coco_folder(tmp_path / "data", ("cat", "dog"))
    for number in range(4):
        tools.noise_picture(root / f"images/val/{number}.jpg", 10 + number)
    return root


def change(root: Path, file: str, part: str, position: int, **values: Any) -> None:
    path = root / "annotations" / file
    content = json.loads(path.read_text())
    content[part][position] |= values
    path.write_text(json.dumps(content))


def break_one(root: Path) -> None:
    """One image cannot be read, one box is nothing, one reaches out."""
    (root / "images/train/0.jpg").write_bytes(b"junk")
    change(root, "instances_train.json", "annotations", 1, bbox=["a"])
    change(root, "instances_train.json", "annotations", 2, bbox=[40, 6, 20, 10])


def cells(done: Done) -> list[list[str]]:
    """The rows of the tables printed."""
    return [re.split(r"\s*│\s*", line.strip("│ \n")) for line in done.out.splitlines() if line.startswith("│")]


# ------------------------------------------------------------------------------------------------------------- light


@pytest.mark.parametrize("words", [["--help"], ["check", "--help"], ["stats", "--help"], ["show", "--help"]])
def test_help_imports_nothing_heavy(shell: Shell, words: list[str]) -> None:
    modules = imported(shell, *words)
    assert not {"torch", "torchvision", "numpy", "PIL", "pycocotools", "matplotlib"} & modules


def test_checking_needs_no_torch(shell: Shell, data: Path) -> None:
    assert not {"torch", "timm", "matplotlib"} & imported(shell, "check", str(data))


def imported(shell: Shell, *words: str) -> set[str]:
    code = (
        "import sys\nfrom multitask.cli import main\n"
        f"sys.argv = {['mtp', 'data', *words]!r}\n"
        "try: main()\n"
        "finally: print('\\nMODULES', *sys.modules)"
    )
    done = shell.python("-c", code)
    assert done.code == 0, done.err
    return set(done.out.rpartition("MODULES")[2].split())


def test_the_group_lists_its_commands(mtp: Any) -> None:
    out = mtp("--help").out
    assert re.findall(r"^  (\w+) ", out.partition("Commands:")[2], re.M) == ["check", "stats", "show", "convert"]


ERRORS = [
    # words, exit code, what the line must have
    ("check nowhere", 4, "nowhere: no such folder"),
    ("check data --format cocoo", 2, "did you mean 'coco'?"),
    ("check data --split vall", 2, "did you mean 'val'?"),
    ("check data --images none", 4, "data.images=none is not a folder"),
    ("check shapes", 2, "nothing to check"),
    ("check data data --fix copy", 2, "give one path"),
    ("check data --fix data/copy", 2, "lies inside data"),
    ("check data --fix images", 2, "exists and is not an empty folder"),
    ("stats nowhere", 4, "nowhere: no such folder"),
    ("stats data --tasks dett", 2, "did you mean 'det'?"),
    ("stats data data.path=other", 2, "the data set is told by PATH"),
    ("stats data tasks.det.max_instance=3", 2, "did you mean 'tasks.det.max_instances'?"),
    ("show data --tasks keypoints", 4, "no image is annotated with keypoints"),
    ("show data --n 0", 2, "--n"),
    ("convert data copy", 2, "--to"),
    ("convert data copy --to cocoo", 2, "did you mean 'coco'?"),
    ("convert data data/copy --to coco", 2, "lies inside data"),
    ("convert data images --to coco", 2, "exists and is not an empty folder"),
    ("convert data copy --to coco --n 3", 2, "--n goes with shapes"),
    ("convert shapes copy --to coco", 2, "--n goes with shapes"),
    ("convert shapes copy --to coco --n 2 --split vall", 2, "did you mean 'val'?"),
]


@pytest.mark.parametrize(("words", "code", "expected"), ERRORS, ids=[words for words, _, _ in ERRORS])
def test_a_mistake_gets_one_line_and_its_exit_code(
    mtp: Any, data: Path, tmp_path: Path, words: str, code: int, expected: str
) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "images/mine.txt").write_text("mine")
    done = mtp(*words.split(), code=code)
    assert expected in done.line and not done.out
    assert {path.name for path in tmp_path.iterdir()} == {"data", "images"}
    assert not (data / "copy").exists()


# ------------------------------------------------------------------------------------------------------------- check


def test_a_sound_data_set(mtp: Any, data: Path) -> None:
    done = mtp("check", "data")
    assert ["train", "4", "8", "0", "0"] in cells(done) and ["val", "4", "8", "0", "0"] in cells(done)
    assert done.out.splitlines()[-1] == "data: nothing is wrong"


def test_every_fault_is_a_line_with_file_id_field_value_and_fix(mtp: Any, data: Path) -> None:
    break_one(data)
    done = mtp("check", "data", code=4)
    assert [line for line in done.out.splitlines() if line.startswith("annotations/")] == [
        "annotations/instances_train.json: annotation 2: bbox ['a'] is not a list of numbers (skipped); "
        "write plain numbers without quotes",
        "annotations/instances_train.json: annotation 3: bbox [40, 6, 20, 10] reaches out of the image (clipped); "
        "check the size of the image",
        "annotations/instances_train.json: image 0: file_name '0.jpg' is not an image that can be read "
        "(JPEG, PNG, WEBP, BMP, GIF, TIFF, PPM, JPEG2000, AVIF) (skipped with its annotations); "
        "mend the file or its entry, or remove both",
    ]
    assert ["1", "bbox is not a list of numbers (skipped)"] in cells(done)
    assert ["train", "3", "5", "3", "2"] in cells(done)
    assert "leaves something out for 2 of 3 faults, of 32 images and annotations listed" in done.out.splitlines()[-1]


def test_what_is_only_mended_is_listed_and_fails_nothing_unless_strict(mtp: Any, data: Path) -> None:
    change(data, "instances_val.json", "annotations", 0, bbox=[40, 6, 20, 10], area=-1)
    done = mtp("check", "data")
    assert "reaches out of the image (clipped)" in done.out and "(area of the box taken)" in done.out
    assert done.out.splitlines()[-1] == "data: nothing would be left out; what is wrong is mended"
    mtp("check", "data", "--strict", code=4)
    mtp("check", "data", "--strict", "--split", "train")


def test_json_is_one_object_and_nothing_else(mtp: Any, data: Path) -> None:
    break_one(data)
    done = mtp("check", "data", "--json", code=4)
    report = json.loads(done.out)
    assert done.err == ""
    assert (report["path"], report["format"], list(report["splits"])) == ("data", "coco", ["train", "val"])
    train = report["splits"]["train"]
    assert (train["images"], train["annotations"]) == (3, 5)
    assert set(train["faults"][0]) == {"file", "where", "field", "value", "reason", "action", "fix", "lost"}
    assert [fault["lost"] for fault in train["faults"]] == [True, False, True]
    assert sum(train["counts"].values()) == 3 and report["splits"]["val"]["faults"] == []
    copied = mtp("check", "data", "--json", "--fix", "copy")
    assert json.loads(copied.out) == report and "wrote copy" in copied.err


def test_two_hundred_lines_unless_all_are_asked_for(mtp: Any, data: Path) -> None:
    path = data / "annotations/instances_train.json"
    content = json.loads(path.read_text())
    content["annotations"] += [{"id": 100 + n, "image_id": 1, "category_id": 1, "bbox": []} for n in range(250)]
    path.write_text(json.dumps(content))
    named = lambda done: sum(line.startswith("annotations/") for line in done.out.splitlines())  # noqa: E731
    short = mtp("check", "data", code=4)
    assert named(short) == 200 and "50 more faults: --all names each" in short.out
    assert ["250", "bbox has not 4 numbers (skipped)"] in cells(short)
    for word in ("--all", "-v"):
        assert named(mtp("check", "data", word, code=4)) == 250


def test_a_cleaned_copy_checks_clean_and_the_original_stays(mtp: Any, data: Path, tmp_path: Path) -> None:
    break_one(data)
    before = {path: path.read_bytes() for path in data.rglob("*") if path.is_file()}
    done = mtp("check", "data", "--fix", "copy")
    assert done.err == "wrote copy: 7 images, 13 annotations; nothing is wrong\n"
    again = mtp("check", "copy")
    assert again.out.splitlines()[-1] == "copy: nothing is wrong"
    assert before == {path: path.read_bytes() for path in data.rglob("*") if path.is_file()}
    assert {path.name for path in tmp_path.iterdir()} == {"data", "copy"}


def test_a_picture_in_two_splits_is_told(mtp: Any, data: Path) -> None:
    (data / "images/val/2.jpg").write_bytes((data / "images/train/1.jpg").read_bytes())
    done = mtp("check", "data")
    assert "image 2: file_name '2.jpg' is also in split train (kept)" in done.out


def test_several_data_sets_and_what_they_have_in_common(mtp: Any, data: Path, tmp_path: Path) -> None:
    tools.coco_folder(tmp_path / "more", ("dog", "cow"))
    done = mtp("check", "data", "more")
    assert "one category 'dog' of data (2), more (1)" in done.out
    assert "3 categories in 2 data sets: data, more" in done.out
    assert "image 0: file_name '0.jpg' is also in split train (kept)" in done.out  # both splits of `more` are equal
    report = json.loads(mtp("check", "data", "more", "--json").out)
    assert [one["path"] for one in report["data"]] == ["data", "more"] and len(report["merged"]) == 2
    (tmp_path / "more/images/val/3.jpg").unlink()
    mtp("check", "data", "more", code=4)


def test_names_from_outside_do_not_steer_the_terminal(mtp: Any, tmp_path: Path) -> None:
    root = tools.coco_folder(tmp_path / "evil", HOSTILE, name="[blink]{}\x1b[31m.png")
    (root / "images/val/[blink]0\x1b[31m.png").write_bytes(b"junk")
    change(root, "instances_train.json", "annotations", 0, category_id="\x1b[31m[red]")
    done = [
        mtp("check", "evil", "evil", code=4),
        mtp("check", "evil", "--json", code=4),
        mtp("stats", "evil", "--plot", "page.png"),
        mtp("show", "evil", "--n", "4"),
        mtp("convert", "evil", "copy", "--to", "coco", code=3),
    ]
    everything = "".join(one.out + one.err for one in done)
    assert not [c for c in everything if not c.isprintable() and c != "\n"]
    assert "[blink]0\ufffd[31m.png" in done[0].out or "[blink]0\\x1b[31m.png" in done[0].out
    assert "[bold red]cat[/]" in done[2].out and ":smile: dog" in done[2].out


# ------------------------------------------------------------------------------------------------------------- stats


def test_what_a_data_set_holds_is_counted(mtp: Any, data: Path) -> None:
    done = mtp("stats", "data")
    rows = cells(done)
    assert ["images", "4", "4"] in rows and ["annotated with captions", "4", "4"] in rows
    assert ["small objects (COCO's sizes)", "4 (100%)", "4 (100%)"] in rows
    assert ["cat", "2", "2"] in rows and ["dog", "2", "2"] in rows
    assert ["train", "image width in pixels", "50", "50", "50", "50"] in rows
    assert ["train", "words of a caption", "2", "2", "2", "2"] in rows
    assert {(row[0], row[1]) for row in rows if row[1] in ("det", "caption")} == {
        (split, task) for split in ("train", "val") for task in ("det", "caption")
    }
    assert "model.decoder.max_length is 320" in done.out


def test_sequences_are_measured_with_the_options_that_are_given(mtp: Any, data: Path) -> None:
    words = ["tasks.det.max_instances=3", "tasks.det.noise=false", "model.decoder.max_length=10"]
    done = mtp("stats", "data", "--tasks", "detect", "--split", "train", *words)
    assert ["train", "det", "4", "6", "6", "6", "6", "16"] in cells(done)
    assert "train, det: up to 16 tokens are allowed: raise model.decoder.max_length" in done.out
    assert not [row for row in cells(done) if "caption" in row]
    found = json.loads(mtp("stats", "data", "--tasks", "cap", "tasks.caption.max_tokens=1", "--json").out)
    assert found["max_length"] == 320
    assert found["splits"]["train"]["sequences"] == {
        "caption": {
            "images": 4,
            "sequences": 4,
            "tokens": {"min": 2, "median": 2, "p95": 2, "max": 2},
            "longest_allowed": 2,
            "cut": {"max_tokens": {"sequences": 4, "images": 4}},
            "later": 0,
        }
    }
    done = mtp("stats", "data", "--tasks", "cap", "tasks.caption.max_tokens=1")
    assert "train, caption: max_tokens cuts 4 of 4 sequences, on 4 of 4 images" in done.out


def test_a_recipe_brings_its_tasks(mtp: Any, data: Path) -> None:
    tasks = {row[1] for row in cells(mtp("stats", "data", "--config", "finetune")) if row[0] == "train"}
    assert "det" in tasks and "caption" not in tasks


def test_shapes_have_statistics(mtp: Any) -> None:
    found = json.loads(mtp("stats", "shapes", "--tasks", "det", "--json").out)
    assert found["format"] == "shapes" and found["splits"]["train"]["images"] == 1000
    assert set(found["splits"]["train"]["keypoint_visibility"]) >= {"head", "left_hand"}


def test_a_page_of_diagrams(mtp: Any, data: Path, tmp_path: Path) -> None:
    done = mtp("stats", "data", "--plot", "page.png", "--json")
    assert json.loads(done.out)["splits"] and done.err == "wrote page.png\n"
    with Image.open(tmp_path / "page.png") as page:
        assert page.size == (1600, 1500)
    assert {path.name for path in tmp_path.iterdir()} == {"data", "page.png"}


def test_faults_are_mentioned_and_the_rest_counted(mtp: Any, data: Path) -> None:
    change(data, "instances_train.json", "annotations", 1, bbox=["a"])
    done = mtp("stats", "data")
    assert done.err == "faults: 1; `mtp data check` names each\n"
    assert ["objects", "3", "4"] in cells(done)


# -------------------------------------------------------------------------------------------------------------- show


def test_a_sheet_is_drawn_here(mtp: Any, data: Path, tmp_path: Path) -> None:
    done = mtp("show", "data", "--n", "5")
    assert done.out == "wrote data-show.png: data, train\n"
    with Image.open(tmp_path / "data-show.png") as sheet:
        assert sheet.width > 4 * 512 and sheet.height > 2 * 512
    first = (tmp_path / "data-show.png").read_bytes()
    mtp("show", "data", "--n", "5", "--out", "again.png")
    assert (tmp_path / "again.png").read_bytes() == first
    mtp("show", "data", "--n", "5", "--seed", "1")
    assert (tmp_path / "data-show.png").read_bytes() != first


def test_a_sheet_of_one_task_on_another_split(mtp: Any, data: Path, tmp_path: Path) -> None:
    done = mtp("show", "data", "--tasks", "cap", "--split", "val", "--n", "1", "--out", "one.png")
    assert done.out == "wrote one.png: data, val\n"
    with Image.open(tmp_path / "one.png") as sheet:
        assert 512 < sheet.width < 600
    assert mtp("show", "shapes", "--n", "4", "--tasks", "seg,kpt", "--config", "quickstart").code == 0


# ----------------------------------------------------------------------------------------------------------- convert


@pytest.mark.parametrize("format", ["coco", "voc", "yolo", "captions", "webdataset"])
def test_every_format_is_written_and_read_again(mtp: Any, data: Path, tmp_path: Path, format: str) -> None:
    done = mtp("convert", "data", "copy", "--to", format)
    assert ["train", "4", "8"] in cells(done) and ["val", "4", "8"] in cells(done)
    lacks = {"voc": "captions", "yolo": "captions", "captions": "boxes"}.get(format, "")
    told = [line for line in done.out.splitlines() if f"{format} cannot carry" in line and lacks in line]
    assert bool(told) == bool(lacks)
    found = json.loads(mtp("check", "copy", "--format", format, "--json").out)["splits"]
    assert {name: (split["images"], split["annotations"]) for name, split in found.items()} == dict.fromkeys(
        ("train", "val"), (4, 4 if lacks else 8)
    )
    pictures = {path.read_bytes() for path in data.rglob("*.jpg")}
    if format != "webdataset":
        assert {path.read_bytes() for path in (tmp_path / "copy").rglob("*.jpg")} == pictures


def test_what_was_unusable_is_named_and_the_rest_converted(mtp: Any, data: Path) -> None:
    change(data, "instances_train.json", "annotations", 1, bbox=["a"])
    done = mtp("convert", "data", "copy", "--to", "coco", code=3)
    assert "annotation 2: bbox ['a'] is not a list of numbers (skipped)" in done.out
    assert ["1", "bbox is not a list of numbers (skipped)"] in cells(done)
    assert ["train", "4", "7"] in cells(done)
    mtp("check", "copy")


def test_one_split_of_shapes_as_files(mtp: Any) -> None:
    mtp("convert", "shapes", "drawn", "--to", "coco", "--n", "3", "--split", "val")
    found = json.loads(mtp("check", "drawn", "--json").out)
    assert list(found["splits"]) == ["val"] and found["splits"]["val"]["images"] == 3
    mtp("convert", "shapes", "all", "--to", "coco", "--n", "1")
    assert list(json.loads(mtp("check", "all", "--json").out)["splits"]) == ["test", "train", "val"]


def test_each_of_several_sets_of_annotations_is_checked(shell: tools.Shell, tmp_path: Path) -> None:
    root = tools.coco_folder(tmp_path / "many", ("cat",))
    for split in ("train", "val"):
        copy = (root / "annotations" / f"instances_{split}.json").read_text()
        (root / "annotations" / f"instances2_{split}.json").write_text(copy)
    done = shell.mtp("data", "check", str(root))
    assert done.code == 0, done.err
    for stem in ("instances", "instances2", "captions"):
        assert f"annotations/{stem}_*.json: nothing would be left out" in done.out
    done = shell.mtp("data", "check", str(root), "--fix", str(tmp_path / "copy"))
    assert done.code == 2 and "holds several sets of annotations" in done.line
