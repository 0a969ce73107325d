"""Commands on several data sets, on chosen annotations of one, and on data that is partly unusable."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from multitask.cli.options import data_words
from multitask.config import load_config
from multitask.errors import UsageError

from . import command_line as tools

SMOKE = ("--config", "smoke", "train.steps=2", "train.warmup=0", "data.train_size=null", "data.val_size=null")


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tools.Shell]:
    """A folder with two data sets, and a process that answers commands."""
    folder = tmp_path_factory.mktemp("sets")
    tools.coco_folder(folder / "pets", ("cat", "dog"))
    tools.coco_folder(folder / "farm", ("dog", "hen"))
    with tools.Shell(folder) as shell:
        yield shell


def break_boxes(root: Path, count: int) -> None:
    path = root / "annotations" / "instances_train.json"
    content = json.loads(path.read_text())
    for annotation in content["annotations"][:count]:
        annotation["bbox"][2] = -1
    path.write_text(json.dumps(content))


def scores(done: tools.Done) -> set[str]:
    (found,) = json.loads(done.out).values()
    return set(found)


def test_two_data_sets_train_and_each_is_scored_by_itself(shell: tools.Shell) -> None:
    done = shell.mtp("train", *SMOKE, "--tasks", "det,caption", "--data", "pets", "--data", "farm", "--out", "runs/two")
    assert done.code == 0, done.err
    assert "one category 'dog' of pets (2), farm (1)" in done.err
    assert "3 categories in 2 data sets: pets, farm" in (shell.folder / "runs/two/data.txt").read_text()
    both = {"det@pets", "det@farm", "caption@pets", "caption@farm"}
    assert set(json.loads((shell.folder / "runs/two/scores.json").read_text())) == both
    assert scores(shell.mtp("eval", "--model", "runs/two", "--json")) == both
    assert scores(shell.mtp("eval", "--model", "runs/two", "--data", "farm", "--json")) == {"det", "caption"}


def test_each_data_set_has_its_own_tasks_and_weight(shell: tools.Shell) -> None:
    sets = ("--data", "{path: pets, tasks: [det], weight: 2}", "--data", "{path: farm, tasks: [caption]}")
    done = shell.mtp("train", *SMOKE, "--tasks", "det,caption", *sets, "--out", "runs/own", "train.best=det/AP50")
    assert done.code == 0, done.err
    assert set(json.loads((shell.folder / "runs/own/scores.json").read_text())) == {"det", "caption"}
    done = shell.mtp("eval", "--self-test", *sets, "--tasks", "det,caption", "--json")
    assert [set(found) for found in json.loads(done.out).values()] == [{"det", "caption"}] * 2


def test_annotations_are_chosen_where_a_folder_holds_several_sets(shell: tools.Shell, tmp_path: Path) -> None:
    root = tools.coco_folder(tmp_path / "many", ("cat",))
    other = json.loads((root / "annotations" / "instances_val.json").read_text())
    other["categories"][0]["name"] = "lynx"
    (root / "annotations" / "instances2_val.json").write_text(json.dumps(other))
    done = shell.mtp("eval", "--self-test", "--tasks", "det", "--data", str(root))
    assert done.code == 4 and "several files with instances of split 'val'" in done.line
    chosen = "data.annotations=annotations/instances2_*.json"
    assert shell.mtp("eval", "--self-test", "--tasks", "det", "--data", str(root), chosen).code == 0
    done = shell.mtp("eval", "--self-test", "--tasks", "det", "--data", str(root), "data.annotations=none/*.json")
    assert done.code == 4 and "data.annotations=none/*.json names no .json file" in done.line
    done = shell.mtp("eval", "--self-test", "--tasks", "det", "--data", str(root), chosen, "data.images=pictures")
    assert done.code == 4 and "data.images=pictures is not a folder in it" in done.line


def test_data_settings_go_with_a_model_and_no_others_do(shell: tools.Shell) -> None:
    assert shell.mtp("train", *SMOKE, "--tasks", "det", "--data", "pets", "--out", "runs/one").code == 0
    done = shell.mtp("eval", "--model", "runs/one", "--data", "farm", "data.val_split=train", "--json")
    assert "runs/one on farm train" in done.out
    done = shell.mtp("eval", "--model", "runs/one", "--data", "farm", "train.lr=1")
    assert done.code == 2 and "a model has its own, but for data.KEY=VALUE" in done.line


def test_more_faults_than_allowed_stop_a_run_before_it_starts(shell: tools.Shell, tmp_path: Path) -> None:
    root = tools.coco_folder(tmp_path / "bad", ("cat",), count=8)
    break_boxes(root, 2)
    words = ("train", *SMOKE, "--tasks", "det", "--data", str(root), "--out", str(tmp_path / "run"))
    done = shell.mtp(*words)
    assert done.code == 4
    assert "bad train: 2 of 32 images and annotations cannot be used, more than data.max_skipped=0.01" in done.line
    assert "2 x bbox has no positive width and height (skipped)" in done.line
    assert not (tmp_path / "run").exists()
    done = shell.mtp(*words, "data.max_skipped=0.2")
    assert done.code == 0, done.err
    assert "annotations/instances_train.json: annotation 1: bbox [5, 6, -1, 10] has no positive" in done.err
    assert "data: 2 entries left out as unusable, 0 images that cannot be read" in done.err


def test_too_many_unreadable_images_stop_a_run_that_can_go_on(shell: tools.Shell, tmp_path: Path) -> None:
    root = tools.coco_folder(tmp_path / "cut", ("cat",), count=8)
    whole = (root / "images/train/3.jpg").read_bytes()
    (root / "images/train/3.jpg").write_bytes(whole[:300])
    run = str(tmp_path / "run")
    words = ("train", *SMOKE, "train.steps=4", "--tasks", "det", "--data", str(root), "--out", run)
    done = shell.mtp(*words)
    assert done.code == 4
    assert "3.jpg" in done.err and done.err.count("skipped: ") == 1
    assert "1 of 8 images cannot be read, more than data.max_skipped=0.01 allows" in done.err
    (root / "images/train/3.jpg").write_bytes(whole)
    done = shell.mtp("train", "--resume", "--out", run)
    assert done.code == 0, done.err


def test_an_unreadable_image_is_named_once_and_counted(shell: tools.Shell, tmp_path: Path) -> None:
    root = tools.coco_folder(tmp_path / "cut", ("cat",), count=4)
    (root / "images/train/3.jpg").write_bytes(b"\xff\xd8\xff\xe0 no picture")
    words = ("--tasks", "det", "--data", str(root), "--out", str(tmp_path / "run"), "data.max_skipped=0.5")
    done = shell.mtp("train", *SMOKE, "train.steps=5", *words)
    assert done.code == 0, done.err
    assert done.err.count("3.jpg") == 1
    assert "data: 0 entries left out as unusable, 1 images that cannot be read" in done.err


def test_words_of_data_become_settings() -> None:
    assert data_words(None) == []
    assert data_words(["a b"]) == ['data.path="a b"']
    words = data_words(["{path: a, tasks: [det]}", "shapes"])
    config = load_config("smoke", words)
    assert [(source.path, source.tasks) for source in config.data.sources] == [("a", ("det",)), ("shapes", None)]


@pytest.mark.parametrize("word", ["{tasks: [det]}", "{path"])
def test_words_that_are_no_data_set_are_refused(word: str) -> None:
    with pytest.raises(UsageError, match="--data"):
        data_words([word])


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["{path: a, taks: [det]}"], r"data\.taks: unknown key; did you mean 'data\.tasks'"),
        (["{path: a, tasks: [dett]}"], r"data\.tasks names 'dett', not a task of this run; did you mean 'det'"),
        (["a", "{path: b, weight: 0}"], r"data\.more\.0\.weight: expected greater than 0|data\.more"),
        (["a", "{path: b, more: []}"], r"data\.more\.0\.more|unknown key"),
    ],
)
def test_wrong_settings_of_a_data_set_are_named(words: list[str], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        load_config("smoke", data_words(words))


def test_results_have_the_ids_of_the_data_set_and_score_the_same_elsewhere(shell: tools.Shell, tmp_path: Path) -> None:
    root = tools.coco_folder(tmp_path / "sparse", ("cat", "dog"), count=6)
    for path in (root / "annotations").glob("*.json"):
        content = json.loads(path.read_text())
        for item in content["images"]:
            item["id"] = item["id"] * 1000 + 17
        for item in content["annotations"]:
            item["image_id"] = item["image_id"] * 1000 + 17
            item |= {"category_id": {1: 90, 2: 7}[item["category_id"]]} if "category_id" in item else {}
        for item in content.get("categories", ()):
            item["id"] = {1: 90, 2: 7}[item["id"]]
        path.write_text(json.dumps(content))
    words = ("--tasks", "det,caption", "--data", str(root), "--out", str(tmp_path / "run"))
    assert shell.mtp("train", *SMOKE, *words).code == 0
    out = tmp_path / "answers"
    done = shell.mtp("eval", "--model", str(tmp_path / "run"), "--json", "--save-results", str(out))
    assert done.code == 0, done.err
    boxes, captions = (json.loads((out / f"{name}.json").read_text()) for name in ("det", "caption"))
    images = {17, 1017, 2017, 3017, 4017, 5017}
    assert {row["image_id"] for row in captions} == images
    assert {row["category_id"] for row in boxes} <= {7, 90} and boxes
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(root / "annotations/instances_val.json"))
        for annotation in truth.anns.values():
            annotation |= {"area": annotation["bbox"][2] * annotation["bbox"][3], "iscrowd": 0}
        evaluation = COCOeval(truth, truth.loadRes(str(out / "det.json")), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    (found,) = json.loads(done.out).values()
    assert found["det"]["AP"] == pytest.approx(evaluation.stats[0], abs=1e-9)
    assert found["det"]["AR100"] == pytest.approx(evaluation.stats[8], abs=1e-9)
    for task, extra in (("det", ()), ("det", ("tasks.det.scorer=hotcoco",)), ("caption", ())):
        words = ("--task", task, "--results", str(out / f"{task}.json"), "--data", str(root), "--json", *extra)
        done = shell.mtp("eval", *words)
        assert done.code == 0, done.err
        ((title, scores),) = json.loads(done.out).items()
        assert title.endswith("sparse val") and scores[task] == pytest.approx(found[task], abs=1e-9)
    done = shell.mtp("eval", "--task", "det", "--results", str(out / "caption.json"), "--data", str(root))
    assert done.code == 4 and "have no boxes, which this task scores" in done.line
    done = shell.mtp("eval", "--results", str(out / "det.json"), "--data", str(root), "--task", "det,caption")
    assert done.code == 2 and "name it with --task" in done.line
    done = shell.mtp("eval", "--results", str(out / "det.json"), "--model", str(tmp_path / "run"))
    assert done.code == 2 and "without a model" in done.line
    done = shell.mtp("eval", "--results", str(out / "det.json"), "--task", "det", "--precision", "int8")
    assert done.code == 2 and "go with a model" in done.line
