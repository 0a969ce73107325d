"""The commands as a user meets them: what they print, what they write, and how they end."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import multitask
from multitask.data.shapes import ShapesDataset

from . import command_line as tools

Done, Shell = tools.Done, tools.Shell
HOSTILE = ("[bold red]cat[/]", ":smile: dog", "esc\x1b[31mape", "\u202eevil\u2066")


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A folder with a trained smoke model in `runs/smoke`, pictures in `one/`, and a process that answers commands."""
    folder = tmp_path_factory.mktemp("shell")
    for number, place in enumerate(("one", "two")):
        (folder / place).mkdir()
        Image.fromarray(ShapesDataset("val", 2)[number].load()).save(folder / place / "img.png")
    (folder / "damaged.jpg").write_bytes(b"\xff\xd8\xff\xe0 no picture")
    with Shell(folder) as shell:
        done = shell.mtp(
            "train", "--config", "smoke", "--out", "runs/smoke", "train.keep=3", "model.decoder.dropout=0.1"
        )
        assert done.code == 0, done.err
        shell.trained = done
        yield shell


@pytest.fixture
def out(shell: Shell, tmp_path: Path) -> str:
    return str(tmp_path / "out")


def answers(done: Done, task: str) -> list[tuple[str, float]]:
    """(answer, score) of each line of the tables printed."""
    rows = [re.split(r"\s*│\s*", line.strip("│ \n")) for line in done.out.splitlines() if "│" in line]
    return [(row[1], float(row[2])) for row in rows if row[0] == task]


# --------------------------------------------------------------------------------------------------- light commands


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["tasks"], ["train", "--help"], ["predict", "--help"]])
def test_light_commands_import_no_torch_and_are_quick(shell: Shell, words: list[str]) -> None:
    code = (
        "import sys, time; begin = time.process_time()\n"
        "from multitask.cli import main\n"
        f"sys.argv = {['mtp', *words]!r}\n"
        "try: main()\n"
        "finally: print('\\nUSED', time.process_time() - begin, *sys.modules)"
    )
    done = shell.python("-c", code)
    assert done.code == 0, done.err
    _, seconds, *modules = done.out.rpartition("USED")[2].join(["USED ", ""]).split()
    assert not {"torch", "timm", "torchvision", "numpy", "pycocotools"} & set(modules)
    assert float(seconds) < 2  # of processor time, so that a busy machine fails nobody


def test_the_installed_command_is_this_package() -> None:
    command = shutil.which("mtp", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    assert command, "mtp is not installed: pip install -e ."
    run = subprocess.run([command, "--version"], capture_output=True, text=True, timeout=60)
    assert (run.returncode, run.stdout) == (0, f"mtp {multitask.__version__}\n")


def test_python_runs_it_as_a_module(shell: Shell) -> None:
    assert shell.python("-m", "multitask", "--version").out == f"mtp {multitask.__version__}\n"


@pytest.mark.parametrize("words", [[], ["predict"]])
def test_a_command_without_words_shows_its_help(shell: Shell, words: list[str]) -> None:
    done = shell.mtp(*words)
    assert done.code == 2
    assert done.err.startswith("Usage: mtp") and "Options:\n" in done.err


def test_tasks_are_listed_with_aliases_and_origin(shell: Shell) -> None:
    out = shell.mtp("tasks").out
    for words in ("det detect, detection multitask-prompts", "caption cap, captioning, describe multitask-prompts"):
        assert re.search(words.replace(" ", r"\W+"), out), out


def test_tasks_check_describes_them(shell: Shell) -> None:
    done = shell.mtp("tasks", "--check", MTP_TASKS="det,caption")
    assert done.code == 0
    assert "finds objects (boxes, category names, scores)" in done.out
    assert "describes the image in a sentence" in done.out


def test_mtp_tasks_limits_what_is_seen(shell: Shell) -> None:
    out = shell.mtp("tasks", MTP_TASKS="caption").out
    assert "caption" in out and "det" not in out
    done = shell.mtp("train", "--tasks", "det", MTP_TASKS="caption")
    assert done.code == 2 and "installed: caption (limited by MTP_TASKS)" in done.line
    done = shell.mtp("tasks", MTP_TASKS="captoin")
    assert done.code == 2 and "did you mean 'caption'?" in done.line


def test_the_public_names_are_lazy_and_real(shell: Shell) -> None:
    code = (
        "import sys, multitask\n"
        "assert multitask.__version__ and not {'torch', 'numpy', 'pydantic'} & set(sys.modules), sorted(sys.modules)\n"
        "from multitask import load_config, MtpError\n"
        "assert not {'torch', 'numpy'} & set(sys.modules)\n"
        "names = [n for n in dir(multitask) if n in multitask._HOME]\n"
        "assert all(getattr(multitask, n).__name__ == n for n in names)\n"
        "from multitask import Task, open_run\n"
        "from multitask.task import Task as same\n"
        "assert Task is same and not hasattr(multitask, 'Tsak')\n"
        "print(*names)"
    )
    done = shell.python("-c", code)
    assert done.code == 0, done.err
    assert set(done.out.split()) == {
        "Annotation", "AttentionMap", "Boxes", "Captions", "Decoded", "Example", "Grammar", "Keypoints", "Labels",
        "MtpError", "Passage", "Polygons", "Prediction", "Query", "State", "Target", "Task", "TaskOptions", "View",
        "attention_maps", "draw_attention", "load_config", "open_run", "read_image",
    }  # fmt: skip


# ------------------------------------------------------------------------------------------------------------ errors

ERRORS = [
    # words, exit code, what the line must have
    ("trian", 2, "Did you mean 'train'?"),
    ("train --taks det", 2, "--tasks"),
    ("train --tasks dett", 2, "no task 'dett' is installed; did you mean 'det'?"),
    ("predict --task captoin one/img.png", 2, "did you mean 'caption'?"),
    ("train --tasks ,", 2, "names no task: give some of "),
    ("train --config smok", 2, "did you mean 'smoke'?"),
    ("train --config smok.yaml", 2, "smok.yaml"),
    ("train train.lrr=3", 2, "did you mean 'train.lr'?"),
    ("train lr=3", 2, "did you mean 'train.lr'?"),
    ("train train.lr", 2, "expected key=value"),
    ("train train.steps=many", 2, "train.steps: expected a valid integer, got 'many'"),
    ("train train.schedule=linaer", 2, "'linear' or 'cosine'"),
    ("train --config smoke tasks.det.max_instance=3", 2, "did you mean 'tasks.det.max_instances'?"),
    ("train --tasks det tasks.caption.max_tokens=3", 2, "'caption' is not among the chosen tasks: det"),
    ("train --tasks det train.best=caption/CIDEr-D", 2, "not a task of this run"),
    ("train --config smoke model.encoder=resnet5", 2, "did you mean 'resnet50'?"),
    ("train --config smoke model.pretrained=true", 5, "MTP_OFFLINE=1 forbids"),
    ("train --config smoke model.pretrained=weights.pth", 5, "weights.pth"),
    ("train --config smoke --out runs/smoke", 2, "already holds a run"),
    ("train --config smoke --device cuda:99", 2, "--device cuda:99"),
    ("train --config smoke --device tpu", 2, "there is: "),
    ("train --resume --out nowhere", 5, "nowhere: no checkpoint there"),
    ("train --resume --out runs/smoke train.lr=1", 2, "only these may change: data.workers, train.accumulate"),
    ("train --resume --out runs/smoke --data shapes", 2, "give only --out and key=value with it"),
    ("train --data nowhere", 4, "nowhere: no such folder"),
    ("train --data one", 4, "one: no annotations found"),
    ("eval --split vall", 2, "did you mean 'val'?"),
    ("eval --model nowhere", 5, "nowhere: no checkpoint there"),
    ("eval --model weights.pth", 5, "not opened, since such files can run code"),
    ("eval --tasks det train.lr=1", 2, "--self-test"),
    ("eval --batch-size 0", 2, "--batch-size"),
    ("eval --report weights.pth", 2, "--report weights.pth: no folder can be made there: File exists"),
    ("eval --save-results weights.pth/a", 2, "--save-results weights.pth/a: no folder can be made there"),
    ("predict --model nowhere one/img.png", 5, "nowhere"),
    ("predict one/imgs.png", 4, "did you mean 'img.png'?"),
    ("predict damaged/*.png", 4, "no image matches this pattern"),
    ("predict --class disk one/img.png", 2, "did you mean 'disc'?"),
    ("predict --ask 'find dics' one/img.png", 2, "did you mean 'disc'?"),
    ("predict --ask 'paint it black' one/img.png", 2, "detect {class}"),
    ("predict --task det --box 1,2,3 one/img.png", 2, "four numbers"),
    ("predict --task det --box 5,2,3,9 one/img.png", 2, "left must be less than right"),
    ("predict --min-score 3 one/img.png", 2, "--min-score"),
    ("predict --out one/img.png one/img.png", 1, "one/img.png"),
    ("tasks extra", 2, "extra"),
]


@pytest.mark.parametrize(("words", "code", "expected"), ERRORS, ids=[words for words, _, _ in ERRORS])
def test_a_mistake_gets_one_line_and_its_exit_code(shell: Shell, words: str, code: int, expected: str) -> None:
    (shell.folder / "weights.pth").write_bytes(b"not looked into")
    done = shell.mtp(*_split(words))
    assert (done.code, done.out) == (code, "")
    assert expected in done.line


def _split(words: str) -> list[str]:
    return [a or b for a, b in re.findall(r"'([^']*)'|(\S+)", words)]


def test_a_model_without_the_task_says_what_it_knows(shell: Shell, tmp_path: Path) -> None:
    train = shell.mtp("train", "--config", "smoke", "--tasks", "caption", "--out", str(tmp_path), "train.steps=1")
    assert train.code == 0, train.err
    done = shell.mtp("predict", "--task", "det", "--model", str(tmp_path), "one/img.png")
    assert done.code == 2 and "it knows: caption" in done.line


def test_no_run_at_all(shell: Shell, tmp_path: Path) -> None:
    picture = str(shell.folder / "one/img.png")
    done = shell.mtp("predict", "--task", "det", picture, folder=tmp_path)
    assert done.code == 5 and "runs: no run with det; found: none" in done.line
    assert not list(tmp_path.iterdir())


def test_debug_shows_the_traceback(shell: Shell) -> None:
    done = shell.mtp("--debug", "train", "--config", "smok")
    assert done.code != 0 and "Traceback" in done.err and "UsageError" in done.err


def test_an_error_in_a_loader_process_is_one_line_too(shell: Shell, tmp_path: Path) -> None:
    data = tools.coco_folder(tmp_path / "data", ["cat"], count=12)
    for picture in (data / "images" / "train").iterdir():
        picture.write_bytes(b"junk")
    words = ["train", "--config", "smoke", "--tasks", "det", "--data", str(data), "--out", str(tmp_path / "run")]
    done = shell.mtp(*words, "data.workers=1")
    assert done.code == 4 and "Traceback" not in done.err
    errors = [line for line in done.err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and errors[0].startswith("error: 10 images in a row cannot be read, the last one: ")


# ------------------------------------------------------------------------------------- train, evaluate, go on, predict


def test_training_ends_with_a_table_and_names_its_folder(shell: Shell) -> None:
    for row in (r"det\W+AP50", r"caption\W+CIDEr-D", r"segment\W+AP50", r"keypoints\W+AP50"):
        assert re.search(rf"{row}\W+\d\.\d{{3}}", shell.trained.out), shell.trained.out
    assert shell.trained.out.endswith("run: runs/smoke\n")
    losses = "".join(rf"{name} \d+\.\d+  " for name in ("det", "caption", "segment", "keypoints"))
    assert re.search(rf"step 20/20  {losses}\d+ images/s  0:00 left", shell.trained.err)


def test_a_run_folder_has_what_the_readme_says(shell: Shell) -> None:
    run = shell.folder / "runs/smoke"
    assert {p.name for p in run.iterdir()} == {
        "config.yaml", "data.txt", "metrics.jsonl", "scores.json", "checkpoints",
    }  # fmt: skip
    assert {p.name for p in (run / "checkpoints").iterdir()} == {"latest", "best", "step-00000010", "step-00000020"}
    records = [json.loads(line, parse_constant=pytest.fail) for line in (run / "metrics.jsonl").open()]
    assert [r["step"] for r in records if "loss" in r] == [10, 20]
    scores = json.loads((run / "scores.json").read_text(), parse_constant=pytest.fail)
    assert list(scores) == ["det", "caption", "segment", "keypoints"]


def test_evaluation_gives_the_scores_of_training_again(shell: Shell) -> None:
    done = shell.mtp("eval", "--model", "runs/smoke", "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out, parse_constant=pytest.fail)
    known = json.loads((shell.folder / "runs/smoke/scores.json").read_text())
    known["caption"] |= {"METEOR": None, "SPICE": None}
    assert found == {"runs/smoke on shapes val": known}


def test_evaluation_of_one_task_prints_a_table(shell: Shell) -> None:
    done = shell.mtp("eval", "--tasks", "detection", "--split", "test")
    assert done.code == 0, done.err
    assert "runs/smoke on shapes test" in done.out and re.search(r"det\W+AP50", done.out)
    assert "caption" not in done.out


def test_the_ground_truth_scores_one(shell: Shell) -> None:
    done = shell.mtp("eval", "--self-test", "--config", "quickstart", "--json", "data.val_size=20")
    assert done.code == 0, done.err
    direct, through = json.loads(done.out).values()
    assert direct["det"]["AP"] == 1.0
    assert direct["det"]["APl"] is None  # nothing is large there, and JSON has no nan
    assert direct["caption"]["CIDEr-D"] == through["caption"]["CIDEr-D"] > 5
    assert 0.9 < through["det"]["AP"] < 1.0 and through["det"]["AP50"] == 1.0


def test_a_resumed_run_ends_with_the_same_bits(shell: Shell, tmp_path: Path) -> None:
    """The run is cut back to its checkpoint of step 10, as if it had been killed after that."""
    old, run = shell.folder / "runs/smoke", tmp_path / "cut"
    shutil.copytree(old, run)
    shutil.rmtree(run / "checkpoints/step-00000020")
    (run / "checkpoints/best").unlink()
    (run / "checkpoints/latest").write_text("step-00000010")
    done = shell.mtp("train", "--resume", "--out", str(run))
    assert done.code == 0, done.err
    files = [p.name for p in (old / "checkpoints/step-00000020").glob("*.safetensors")]
    assert "model.safetensors" in files and "optimizer.safetensors" in files
    for name in [f"checkpoints/step-00000020/{file}" for file in files] + ["scores.json"]:
        assert (run / name).read_bytes() == (old / name).read_bytes(), name


def test_two_runs_that_begin_in_one_second(shell: Shell, tmp_path: Path) -> None:
    for _ in range(3):
        done = shell.mtp("train", "--config", "smoke", "--tasks", "det", "train.steps=1", folder=tmp_path)
        assert done.code == 0, done.err
    assert len(list((tmp_path / "runs").iterdir())) == 3


def test_a_seed_and_its_run_are_repeated(shell: Shell, tmp_path: Path) -> None:
    words = ["train", "--config", "smoke", "--tasks", "det", "train.steps=3", "--deterministic"]
    for name, seed in (("a", "7"), ("b", "7"), ("c", "8")):
        done = shell.mtp(*words, "--seed", seed, "--out", str(tmp_path / name))
        assert done.code == 0, done.err
    a, b, c = (next((tmp_path / n).rglob("model.safetensors")).read_bytes() for n in "abc")
    assert a == b != c


# ----------------------------------------------------------------------------------------------------------- predict


@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_prediction_in_low_precision_is_near(shell: Shell, out: str, precision: str) -> None:
    boxes = {}
    for name in ("fp32", precision):
        words = ("--task", "det", "one/img.png", "--min-score", "0", "--precision", name, "--out", f"{out}/{name}")
        done = shell.mtp("predict", *words)
        assert done.code == 0, done.err
        boxes[name] = json.loads(Path(out, name, "img.det.json").read_text())["tasks"]["det"]["boxes"]
    exact, found = ([box["score"] for box in boxes[name]] for name in ("fp32", precision))
    assert max(found) == pytest.approx(max(exact), abs=0.05)


@pytest.mark.parametrize("command", [("predict", "one/img.png"), ("eval",)])
def test_speeds_that_there_are_not_are_refused(shell: Shell, command: tuple[str, ...]) -> None:
    done = shell.mtp(*command, "--model", "runs/smoke", "--precision", "fp15")
    assert done.code == 2 and "--precision fp15: there is fp32, bf16 and int8; did you mean" in done.err
    done = shell.mtp(*command, "--model", "runs/smoke", "--cuda-graphs", "--device", "cpu")
    assert done.code == 2 and "--cuda-graphs needs a GPU" in done.err


def test_options_of_a_task_can_be_set_where_it_answers(shell: Shell, out: str) -> None:
    words = ("predict", "--task", "det", "one/img.png", "--min-score", "0", "--out", out, "--set")
    counts = []
    for objects in (1, 2):
        assert (done := shell.mtp(*words, f"tasks.det.max_instances={objects}")).code == 0, done.err
        counts.append(len(json.loads(Path(out, "img.det.json").read_text())["tasks"]["det"]["boxes"]))
    assert counts == [1, 2]
    done = shell.mtp("eval", "--tasks", "det", "tasks.det.max_instances=1", "--save-results", out)
    assert done.code == 0, done.err
    images = [found["image_id"] for found in json.loads(Path(out, "det.json").read_text())]
    assert images and len(images) == len(set(images))


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("train.lr=1", "--set train.lr=1: only options of tasks"),
        ("tasks.det.stop_runs=2", "did you mean 'tasks.det.stop_run'"),
        ("tasks.fishing.stop=2", "'fishing' is not among the chosen tasks"),
    ],
)
def test_options_that_there_are_not_are_refused(shell: Shell, word: str, said: str) -> None:
    done = shell.mtp("predict", "one/img.png", "--set", word)
    assert done.code == 2 and said in done.err


def test_prediction_writes_a_picture_and_a_file(shell: Shell, out: str) -> None:
    done = shell.mtp("predict", "--task", "det", "one/img.png", "--min-score", "0", "--out", out)
    assert done.code == 0, done.err
    record = json.loads(Path(out, "img.det.json").read_text())
    assert {k: record[k] for k in ("schema", "mtp", "model", "image")} == {
        "schema": 1,
        "mtp": multitask.__version__,
        "model": "runs/smoke",
        "image": {"file": "one/img.png", "width": 128, "height": 128},
    }
    boxes = record["tasks"]["det"]["boxes"]
    assert boxes and all(set(box) == {"label", "score", "box_xyxy"} for box in boxes)
    corners = np.array([box["box_xyxy"] for box in boxes])
    assert corners.min() >= 0 and corners.max() <= 128 and (corners[:, :2] <= corners[:, 2:]).all()
    shown = answers(done, "det")
    assert [box["label"] for box in boxes] == [label for label, _ in shown]
    assert [box["score"] for box in boxes] == pytest.approx([score for _, score in shown], abs=6e-4)
    with Image.open(Path(out, "img.det.png")) as picture:
        assert picture.size == (512, 512)


def test_by_default_files_land_here(shell: Shell, tmp_path: Path) -> None:
    words = ["predict", "--model", str(shell.folder / "runs/smoke"), str(shell.folder / "one/img.png")]
    assert shell.mtp(*words, folder=tmp_path).code == 0
    assert {p.name for p in tmp_path.iterdir()} == {
        f"img.det-caption-segment-keypoints.{suffix}" for suffix in ("json", "png")
    }


def test_bad_files_are_named_and_the_rest_goes_on(shell: Shell, out: str) -> None:
    done = shell.mtp("predict", "--task", "cap", "one/img.png", "damaged.jpg", "missing.png", "--out", out)
    assert done.code == 3
    lines = done.err.splitlines()
    assert len(lines) == 2 and all(line.startswith("skipped: ") for line in lines)
    assert {name for name in ("damaged.jpg", "missing.png") for line in lines if name in line} == {
        "damaged.jpg",
        "missing.png",
    }
    assert {p.name for p in Path(out).iterdir()} == {"img.caption.json", "img.caption.png"}


def test_only_bad_files(shell: Shell, out: str) -> None:
    done = shell.mtp("predict", "damaged.jpg", "--out", out)
    assert done.code == 3 and done.err.startswith("skipped: damaged.jpg: ")


def test_names_that_are_equal_do_not_overwrite_each_other(shell: Shell, out: str) -> None:
    done = shell.mtp("predict", "--task", "det", "one", "two", "--out", out)
    assert done.code == 0, done.err
    names = ["img.det.json", "img.det-2.json"]
    files = [json.loads(Path(out, name).read_text())["image"]["file"] for name in names]
    assert files == ["one/img.png", "two/img.png"]
    assert len(list(Path(out).iterdir())) == 4
    assert shell.mtp("predict", "--task", "det", "one", "two", "--out", out).code == 0
    assert len(list(Path(out).iterdir())) == 4  # a second run writes over the first


def test_a_batch_gives_what_single_images_give(shell: Shell, tmp_path: Path) -> None:
    for size, place in (("1", "single"), ("8", "batch")):
        words = ["predict", "one", "two", "--min-score", "0", "--batch-size", size, "--out", str(tmp_path / place)]
        assert shell.mtp(*words).code == 0
    for file in (tmp_path / "single").glob("*.json"):
        assert json.loads(file.read_text()) == json.loads((tmp_path / "batch" / file.name).read_text())


@pytest.mark.parametrize(
    ("words", "tasks", "labels"),
    [
        ("find discs and stars", {"det"}, {"disc", "star"}),
        ("where are the triangles", {"det"}, {"triangle"}),
        ("Detect", {"det"}, None),
        ("describe the image", {"caption"}, None),
    ],
)
def test_asking_in_words(shell: Shell, out: str, words: str, tasks: set[str], labels: set[str] | None) -> None:
    done = shell.mtp("predict", "--ask", words, "one/img.png", "--min-score", "0", "--out", out)
    assert done.code == 0, done.err
    (file,) = Path(out).glob("*.json")
    found = json.loads(file.read_text())["tasks"]
    assert set(found) == tasks
    if labels:
        assert {box["label"] for box in found["det"]["boxes"]} <= labels


def test_classes_restrict_the_answers(shell: Shell, out: str) -> None:
    words = ["predict", "--task", "det", "one/img.png", "--min-score", "0", "--out", out]
    free = {label for label, _ in answers(shell.mtp(*words), "det")}
    other = next(name for name in ("disc", "star", "figure") if name not in free)
    done = shell.mtp(*words, "--class", other)
    assert done.code == 0, done.err
    assert {label for label, _ in answers(done, "det")} == {other}


def test_the_smallest_score(shell: Shell, out: str) -> None:
    words = ["predict", "--task", "det", "one/img.png", "--out", out, "--min-score"]
    scores = sorted(score for _, score in answers(shell.mtp(*words, "0"), "det"))
    assert scores
    assert answers(shell.mtp(*words, "1"), "det") == []
    middle = scores[len(scores) // 2]
    assert len(answers(shell.mtp(*words, f"{middle - 0.0006:.4f}"), "det")) >= len(scores) - len(scores) // 2
    assert json.loads(Path(out, "img.det.json").read_text())["tasks"]["det"]["boxes"]


def test_the_newest_run_that_has_the_task_is_taken(shell: Shell, tmp_path: Path) -> None:
    picture = str(shell.folder / "one/img.png")
    for age, (name, task) in enumerate([("b", "det"), ("c", "det"), ("a", "caption")]):
        done = shell.mtp(
            "train", "--config", "smoke", "--tasks", task, "--out", f"runs/{name}", "train.steps=1", folder=tmp_path
        )
        assert done.code == 0, done.err
        os.utime(tmp_path / "runs" / name / "checkpoints/latest", (10**9 + age, 10**9 + age))
    for words, run in ((["--task", "det"], "runs/c"), (["--task", "caption"], "runs/a"), ([], "runs/a")):
        assert shell.mtp("predict", picture, *words, "--out", "out", folder=tmp_path).code == 0
        (file,) = (tmp_path / "out").glob("*.json")
        assert json.loads(file.read_text())["model"] == run
        shutil.rmtree(tmp_path / "out")
    done = shell.mtp("predict", picture, "--task", "det,caption", folder=tmp_path)
    assert done.code == 5 and "no run with det, caption; found: " in done.line


def test_names_from_outside_do_not_steer_the_terminal(shell: Shell, tmp_path: Path) -> None:
    data = tools.coco_folder(tmp_path / "data", HOSTILE, name="[blink]{}\x1b[31m.png")
    broken = data / "images/train/[blink]9\x1b[31m.png"
    broken.write_bytes(b"junk")
    instances = json.loads((data / "annotations/instances_train.json").read_text())
    instances["images"].append({"id": 9, "file_name": broken.name, "width": 50, "height": 40})
    instances["annotations"].append({"id": 99, "image_id": 0, "category_id": "\x1b[31m[red]", "bbox": []})
    (data / "annotations/instances_train.json").write_text(json.dumps(instances))
    run, out = str(tmp_path / "run"), str(tmp_path / "out")
    train = shell.mtp(
        *("train", "--config", "smoke", "--tasks", "det", "--data", str(data), "--out", run),
        *("train.steps=3", "data.max_skipped=0.5"),
    )
    assert train.code == 0, train.err
    assert "category_id '\\x1b[31m[red]' names nothing in this file" in train.err
    assert "[blink]9\ufffd[31m.png" in train.err
    pictures = str(data / "images/val")
    done = shell.mtp("predict", "--model", run, pictures, "--min-score", "0", "--out", out)
    assert done.code == 0, done.err
    only = shell.mtp("predict", "--model", run, pictures, "--class", HOSTILE[0], "--min-score", "0", "--out", out)
    assert {label for label, _ in answers(only, "det")} == {HOSTILE[0]}
    unknown = shell.mtp("predict", "--model", run, pictures, "--class", "\x1b[31m[bold red]ct[/]", "--out", out)
    assert unknown.code == 2 and f"did you mean '{HOSTILE[0]}'?" in unknown.line
    everything = "".join(d.out + d.err for d in (train, done, only, unknown))
    assert not [c for c in everything if not c.isprintable() and c != "\n"]
    assert "[blink]0\ufffd[31m.png" in done.out
    assert {label for label, _ in answers(done, "det")} <= {
        "[bold red]cat[/]", ":smile: dog", "esc\ufffd[31mape", "\ufffdevil\ufffd"
    }  # fmt: skip
    assert all(re.fullmatch(r"[\w.-]+", p.name) for p in Path(out).iterdir())


def test_the_guard_against_networks_works(shell: Shell) -> None:
    code = f"{tools.GUARD}\nimport urllib.request\nurllib.request.urlopen('http://127.0.0.1:9/')"
    assert shell.python("-c", code).code == 99  # so every test above has shown that its commands use none
