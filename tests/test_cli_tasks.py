"""All four tasks as a user meets them on the command line: one model, boxes found or given, answers in one file."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from PIL import Image

from multitask.config import load_config
from multitask.data.shapes import POINTS, ShapesDataset

from . import command_line as tools

Done, Shell = tools.Done, tools.Shell
ALL = "det,caption,keypoints,segment"
SHORT = ("train.steps=2", "data.val_size=2")


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A folder with a model of all tasks in `runs/all`, one of outlines alone in `runs/outlines`, and a picture."""
    folder = tmp_path_factory.mktemp("shell")
    Image.fromarray(ShapesDataset("val", 1)[0].load()).save(folder / "img.png")
    with Shell(folder) as shell:
        shell.trained = {}
        for run, tasks in (("all", ALL), ("outlines", "segment")):
            done = shell.mtp("train", "--config", "smoke", "--tasks", tasks, "--out", f"runs/{run}", *SHORT)
            assert done.code == 0, done.err
            shell.trained[run] = done
        yield shell


@pytest.fixture
def predict(shell: Shell, tmp_path: Path) -> Any:
    """Ask the model of all tasks, or another `run`: what came of it, and what was written of each task."""

    def asked(*words: str, run: str = "all", code: int = 0) -> tuple[Done, dict[str, Any]]:
        done = shell.mtp("predict", "--model", f"runs/{run}", *words, "img.png", "--out", str(tmp_path))
        files = [json.loads(file.read_text(), parse_constant=pytest.fail) for file in tmp_path.glob("*.json")]
        assert len(files) == (done.code == 0)
        assert not code or done.code == code
        assert len(list(tmp_path.glob("*.png"))) == len(files)
        return done, files[0]["tasks"] if files else {}

    return asked


def one_line(done: Done, *words: str) -> None:
    assert (done.code, done.out) == (2, "")
    assert all(word in done.line for word in words), done.line


def assert_points(answer: dict[str, Any]) -> None:
    assert set(answer) == {"label", "score", "box_xyxy", "points"} and answer["label"] == "figure"
    assert [point["name"] for point in answer["points"]] == list(POINTS)
    for point in answer["points"]:
        assert set(point) == {"name", "xy", "visibility", "score"} and point["visibility"] in (0, 2)
        assert all(0 <= value <= 128 for value in point["xy"]) and 0 <= point["score"] <= 1


def assert_outline(answer: dict[str, Any]) -> None:
    assert set(answer) == {"label", "score", "box_xyxy", "polygons_xy"}
    for part in answer["polygons_xy"]:
        assert 3 <= len(part) <= 24 and all(0 <= value <= 128 for point in part for value in point)


# -------------------------------------------------------------------------------------------------------------- train


def test_the_four_tasks_are_listed_with_their_aliases(shell: Shell) -> None:
    out = shell.mtp("tasks").out
    rows = {
        "det": "detect, detection",
        "caption": "cap, captioning, describe",
        "segment": "polygons, seg, segmentation",
        "keypoints": "keypoint, kpt, pose",
    }
    for name, aliases in rows.items():
        assert re.search(rf"│ {name} +│ {aliases} +│ multitask-prompts", out), out
    checked = shell.mtp("tasks", "--check").out
    assert (
        "outlines objects (polygons, category names, scores)" in checked and "finds the points of a skelet" in checked
    )


def test_all_four_are_trained_and_scored(shell: Shell) -> None:
    done = shell.trained["all"]
    for row in (r"det\W+AP50", r"caption\W+CIDEr-D", r"segment\W+AP50", r"keypoints\W+AP50"):
        assert re.search(rf"{row}\W+\d\.\d{{3}}", done.out), done.out
    step = r"step 2/2  det \d+\.\d+  caption \d+\.\d+  keypoints \d+\.\d+  segment \d+\.\d+  \d+ images/s"
    assert re.search(step, done.err), done.err
    assert set(json.loads((shell.folder / "runs/all/scores.json").read_text())) == set(ALL.split(","))


def test_the_model_keeps_the_skeleton_of_its_data(shell: Shell) -> None:
    run = shell.folder / "runs/all"
    (checkpoint,) = run.glob("checkpoints/step-*/config.json")
    for tasks in (
        yaml.safe_load((run / "config.yaml").read_text())["tasks"],
        json.loads(checkpoint.read_text())["tasks"],
    ):
        others = dict(tasks["keypoints"])
        skeleton = others.pop("skeleton")
        assert skeleton["names"] == list(POINTS) and skeleton["categories"] == ["figure"]
        assert len(skeleton["sigmas"]) == 9 and skeleton["flip_pairs"] == [[3, 4], [5, 6], [7, 8]]
        assert {**tasks, "keypoints": others} == load_config("smoke").tasks  # what nobody changed is not written


# --------------------------------------------------------------------------------------------------------------- eval


def test_the_title_says_that_true_boxes_were_given(shell: Shell) -> None:
    words = ["eval", "--model", "runs/all", "--tasks", "segment,pose", "--json"]
    (title, found), (plain, _) = (
        *json.loads(shell.mtp(*words, "--oracle-boxes").out).items(),
        *json.loads(shell.mtp(*words).out).items(),
    )
    assert (title, plain) == ("runs/all on shapes val, true boxes given", "runs/all on shapes val")
    assert list(found) == ["segment", "keypoints"]


def test_it_says_nothing_of_boxes_where_nobody_asks_about_any(shell: Shell) -> None:
    done = shell.mtp("eval", "--model", "runs/all", "--tasks", "caption", "--oracle-boxes", "--json")
    assert done.code == 0, done.err
    assert list(json.loads(done.out)) == ["runs/all on shapes val"]


def test_the_table_says_so_too(shell: Shell) -> None:
    done = shell.mtp("eval", "--model", "runs/all", "--tasks", "seg", "--oracle-boxes")
    assert done.code == 0 and "runs/all on shapes val, true boxes given" in done.out
    assert re.search(r"segment\W+AP50", done.out) and "free-running decoding" in done.out


def test_training_says_so_too(shell: Shell) -> None:
    told = {run: " ".join((done.out + done.err).split()) for run, done in shell.trained.items()}
    said = "scores are for the true boxes"
    assert said in told["outlines"] and said not in told["all"]


def test_a_model_of_outlines_alone_is_scored_with_true_boxes(shell: Shell) -> None:
    done = shell.mtp("eval", "--model", "runs/outlines", "--json")
    assert done.code == 0, done.err
    scores = json.loads((shell.folder / "runs/outlines/scores.json").read_text())  # those at the end of training
    assert json.loads(done.out) == {"runs/outlines on shapes val, true boxes given": scores}


def test_the_self_test_needs_no_oracle(shell: Shell) -> None:
    one_line(shell.mtp("eval", "--self-test", "--oracle-boxes"), "--self-test", "leave --oracle-boxes out")


def test_the_truth_of_outlines_and_points_scores_one(shell: Shell) -> None:
    done = shell.mtp("eval", "--self-test", "--tasks", "segment,keypoints", "--json", "data.val_size=20")
    assert done.code == 0, done.err
    direct, through = json.loads(done.out).values()
    assert direct["segment"]["AP"] == direct["keypoints"]["AP"] == 1.0
    assert through["segment"]["AP50"] == 1.0 and through["keypoints"]["AP"] > 0.97


def test_numbers_that_are_not_to_be_had_are_not_zero(shell: Shell) -> None:
    done = shell.mtp("eval", "runs/all", "--tasks", "caption")
    assert done.code == 0 and re.search(r"METEOR\W+not available", done.out) and "SPICE" in done.out
    (scores,) = json.loads(shell.mtp("eval", "runs/all", "--tasks", "caption", "--json").out).values()
    assert scores["caption"]["METEOR"] is None and scores["caption"]["SPICE"] is None


def test_each_category_is_scored_where_that_is_asked_for(shell: Shell) -> None:
    words = ("eval", "runs/all", "--tasks", "det", "--per-category")
    done = shell.mtp(*words)
    assert done.code == 0 and "det by category" in done.out and re.search(r"category\W+AP\W+AP50", done.out)
    (scores,) = json.loads(shell.mtp(*words, "--json").out).values()
    assert set(scores["det"]["per category"]) == {"disc", "rectangle", "triangle", "star", "figure"}
    assert set(scores["det"]["per category"]["star"]) == set(scores["det"]) - {"per category"}


def test_two_models_are_told_apart_on_the_data_of_the_first(shell: Shell) -> None:
    words = ("eval", "runs/all", "runs/outlines", "--compare", "--oracle-boxes", "data.val_size=8")
    done = shell.mtp(*words)
    assert done.code == 0, done.err
    assert "A: runs/all on shapes val" in done.out and "B: runs/outlines on shapes val" in done.out
    assert re.search(r"segment\W+AP50", done.out) and not re.search(r"\bdet\b", done.out)
    found = json.loads(shell.mtp(*words, "--json").out)
    (differences,) = found["differences"].values()
    for one in differences.values():
        if one["difference"] is not None:
            assert one["difference"] == pytest.approx(one["b"] - one["a"])
            assert one["low"] <= one["high"]


def test_two_files_of_answers_are_told_apart(shell: Shell, tmp_path: Path) -> None:
    saved = shell.mtp("eval", "runs/all", "--task", "caption", "--save-results", str(tmp_path))
    assert saved.code == 0 and f"wrote {tmp_path / 'caption.json'}" in saved.err
    file = str(tmp_path / "caption.json")
    done = shell.mtp("eval", file, file, "--compare", "--task", "caption", "data.val_size=2")
    assert done.code == 0 and re.search(r"CIDEr-D\W.*equal", done.out) and "no model was used" in done.out


def test_images_that_a_file_says_nothing_about_are_counted(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "few.json").write_text(json.dumps([{"image_id": 0, "caption": "a disc"}]))
    done = shell.mtp("eval", str(tmp_path / "few.json"), "--task", "caption", "data.val_size=3")
    assert done.code == 0 and "is about 1 of 3 images: the others count as not answered" in done.err


def test_categories_that_a_model_does_not_know_are_counted(shell: Shell, tmp_path: Path) -> None:
    tools.coco_folder(tmp_path / "other", ["dog", "disc"])
    words = ("eval", "runs/all", "--data", str(tmp_path / "other"), "--tasks")
    done = shell.mtp(*words, "det")
    assert done.code == 0 and "does not know 1 of the 2 categories of the data: dog" in done.err
    assert "does not know" not in shell.mtp(*words, "caption").err


def test_a_report_is_made_in_one_command(shell: Shell, tmp_path: Path) -> None:
    done = shell.mtp("eval", "runs/all", "--oracle-boxes", "--report", str(tmp_path / "page"))
    assert done.code == 0, done.err
    assert f"wrote {tmp_path / 'page/index.html'}" in done.err
    page = (tmp_path / "page/index.html").read_text(encoding="utf-8")
    assert re.findall(r'<section id="(\w+)">', page) == ["det", "caption", "keypoints", "segment"]
    for words in ("runs/all on shapes val", "Missed", "Confusion", "Worst captions", "Scores by category"):
        assert words in page
    assert (tmp_path / "page/det-01-missed.jpg").is_file()


def test_a_report_without_matplotlib_is_refused_before_anything_is_scored(shell: Shell, tmp_path: Path) -> None:
    (tmp_path / "matplotlib.py").write_text("raise ImportError")
    done = shell.fresh("eval", "runs/all", "--report", "page", PYTHONPATH=str(tmp_path))
    one_line(done, "pip install 'multitask-prompts[plot]'")
    assert not (shell.folder / "page").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("runs/all", "runs/outlines"), "two with --compare"),
        (("runs/all", "--compare"), "--compare takes two runs"),
        (("a.json", "runs/all", "--compare"), "not one of each"),
        (("runs/all", "--self-test"), "needs no model"),
        (("runs/all", "runs/all", "--compare", "--report", "page"), "leave the others out"),
        (("a.json", "--save-results", "x"), "without a model"),
        (("--self-test", "--save-results", "x"), "leave --self-test out"),
    ],
)
def test_words_that_do_not_go_together_are_refused(shell: Shell, words: tuple[str, ...], said: str) -> None:
    one_line(shell.mtp("eval", *words), said)


# ------------------------------------------------------------------------------------------------------------ predict


def test_attention_is_drawn_beside_the_usual_files(shell: Shell, tmp_path: Path) -> None:
    given = ("--box", "12,8,40,30", "--box", "50,40,100,90", "--class", "disc")
    words = ("--task", "segment,caption", *given, "--attention", "--out", str(tmp_path))
    done = shell.mtp("predict", "--model", "runs/all", "img.png", *words)
    assert done.code == 0, done.err
    drawn = {"img.segment.attention-1.png", "img.segment.attention-2.png", "img.caption.attention.png"}
    usual = {"img.segment-caption.png", "img.segment-caption.json"}
    assert {path.name for path in tmp_path.iterdir()} == drawn | usual
    assert all(name in done.out for name in drawn)


def test_one_file_holds_the_answers_of_all_four(predict: Any) -> None:
    done, found = predict("--task", "det,segment,keypoints,caption", "--min-score", "0")
    assert done.code == 0, done.err
    assert list(found) == ["det", "segment", "keypoints", "caption"]
    boxes, outlines = found["det"]["boxes"], found["segment"]["polygons"]
    assert boxes and [answer["label"] for answer in outlines] == [box["label"] for box in boxes]
    assert [answer["box_xyxy"] for answer in outlines] == [box["box_xyxy"] for box in boxes]
    for answer in outlines:
        assert_outline(answer)
    figures = [box for box in boxes if box["label"] == "figure"]
    points = found["keypoints"].get("keypoints", [])
    assert [answer["box_xyxy"] for answer in points] == [box["box_xyxy"] for box in figures]
    assert len(found["caption"]["captions"]) == 1
    rows = re.findall(r"^│ (\w+)", done.out, flags=re.MULTILINE)
    assert rows == [name for name, kinds in found.items() for answers in kinds.values() for _ in answers]


def test_outlines_of_what_was_found(predict: Any) -> None:
    done, found = predict("--task", "segmentation", "--min-score", "0")
    assert done.code == 0, done.err
    assert list(found) == ["segment"] and found["segment"]["polygons"]
    for answer in found["segment"]["polygons"]:
        assert_outline(answer)


def test_nothing_found_leaves_nothing_to_outline(predict: Any) -> None:
    done, found = predict("--task", "segment,keypoints", "--min-score", "1")
    assert done.code == 0 and found == {"segment": {}, "keypoints": {}}


def test_points_in_a_box_that_was_given(predict: Any) -> None:
    done, found = predict("--task", "keypoints", "--box", "10,10,90,90")
    assert done.code == 0, done.err
    (answer,) = found["keypoints"]["keypoints"]
    assert answer["box_xyxy"] == [10, 10, 90, 90]
    assert_points(answer)


def test_several_boxes_in_their_order(predict: Any) -> None:
    done, found = predict("--task", "pose", "--box", "60,60,90,90", "--box", "10,10,40,90")
    assert done.code == 0, done.err
    answers = found["keypoints"]["keypoints"]
    assert [answer["box_xyxy"] for answer in answers] == [[60, 60, 90, 90], [10, 10, 40, 90]]
    for answer in answers:
        assert_points(answer)


def test_an_outline_needs_to_know_of_what(predict: Any) -> None:
    done, _ = predict("--task", "segment", "--box", "10,10,90,90")
    one_line(done, "--class", "{class}")


def test_a_box_outside_the_image_is_a_fault_of_that_image(predict: Any) -> None:
    done, _ = predict("--task", "keypoints", "--box", "10,10,90,90", "--box", "200,10,290,90", code=3)
    assert "img.png: --box [200.0, 10.0, 290.0, 90.0] lies outside its 128 x 128 pixels" in " ".join(done.err.split())


def test_answers_that_would_not_fit_are_refused_at_the_first_step(shell: Shell) -> None:
    words = ("--config", "smoke", "--tasks", "segment", "--out", "runs/long", "tasks.segment.max_points=64", *SHORT)
    done = shell.mtp("train", *words)
    assert done.code == 2 and "Traceback" not in done.err
    assert "tasks.segment: prompt and answer may have 134 tokens, and model.decoder.max_length is 64" in done.err


@pytest.mark.parametrize("words", [["--task", "segment", "--class", "disc"], ["--ask", "outline the disc"]])
def test_an_outline_in_a_box_that_was_given(predict: Any, words: list[str]) -> None:
    done, found = predict(*words, "--box", "10,10,90,90")
    assert done.code == 0, done.err
    (answer,) = found["segment"]["polygons"]
    assert answer["label"] == "disc" and answer["box_xyxy"] == [10, 10, 90, 90] and answer["score"] == 1
    assert_outline(answer)


def test_asking_for_outlines_of_a_category_in_words(predict: Any) -> None:
    done, found = predict("--ask", "outline discs", "--min-score", "0")
    assert done.code == 0, done.err
    assert list(found) == ["segment"]
    assert {answer["label"] for answer in found["segment"]["polygons"]} == {"disc"}


@pytest.mark.parametrize(
    ("words", "task"),
    [
        ("segment everything", "segment"),
        ("Outline everything!", "segment"),
        ("find the pose of figures", "keypoints"),
        ("find poses", "keypoints"),
        ("find discs", "det"),
    ],
)
def test_words_find_their_task(predict: Any, words: str, task: str) -> None:
    done, found = predict("--ask", words)
    assert done.code == 0, done.err
    assert list(found) == [task]


def test_a_model_of_outlines_alone_asks_for_boxes(predict: Any) -> None:
    done, _ = predict("--task", "segment", run="outlines")
    one_line(done, "'segment'", "'det'", "box")
    done, _ = predict(run="outlines")
    one_line(done, "'segment'", "'det'", "box")
    done, found = predict("--class", "star", "--box", "10,10,90,90", run="outlines")
    assert done.code == 0, done.err
    assert [answer["label"] for answer in found["segment"]["polygons"]] == ["star"]
