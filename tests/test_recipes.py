"""The published recipes: models of the published size, and one real step of training each."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from multitask.annotations import Boxes, Labels
from multitask.assembly import make_tasks
from multitask.config import load_config, recipes
from multitask.model.encoder_decoder import build_model
from multitask.skeleton import COCO_PERSON
from multitask.testing import tiny_vocabulary

OF_DETECTION = ("pix2seq_vit_b_640", "pix2seq_r50_640")
OF_FOUR_TASKS = "pix2seq_v2_vit_b_640"
PUBLISHED = dict(zip((*OF_DETECTION, OF_FOUR_TASKS), (115.2e6, 36.6e6, 115.2e6), strict=True))  # parameters at 3000 ids


@pytest.mark.parametrize(("recipe", "parameters"), PUBLISHED.items())
def test_the_model_has_the_published_size(recipe: str, parameters: float) -> None:
    with torch.device("meta"):
        model = build_model(load_config(recipe).model, 3000)
    assert sum(p.numel() for p in model.parameters()) == pytest.approx(parameters, rel=0.01)


@pytest.mark.parametrize("recipe", recipes())
def test_the_tasks_of_a_recipe_can_be_made_and_their_answers_fit_its_decoder(recipe: str) -> None:
    config = load_config(recipe)
    tasks = make_tasks(config)
    assert list(tasks) == list(config.tasks)
    vocab = tiny_vocabulary(tasks.values(), ["person"], config.bins)
    about = {"boxes": Boxes(np.array([[0.1, 0.1, 0.5, 0.5]]), ("person",)), "labels": Labels(vocab.classes)}
    if "keypoints" in tasks:
        assert len(tasks["keypoints"].views(about)) == 1
    for task in tasks.values():
        (query,) = task.queries(about, vocab)
        assert len(query.prompt) + task.grammar(query, vocab).max_tokens <= config.model.decoder.max_length, task.name


def test_the_four_tasks_are_those_of_the_second_paper() -> None:
    config = load_config(OF_FOUR_TASKS)
    tasks = make_tasks(config)
    assert set(tasks) == {"det", "segment", "keypoints", "caption"} == set(config.train.task_weights)
    assert tasks["segment"].decoding.samples == 8  # of which an outline is what most hold
    assert sum(config.train.task_weights.values()) == pytest.approx(1.0)


def two_images(folder: Path) -> None:
    """A COCO folder with one image in each split."""
    (folder / "annotations").mkdir()
    for split in ("train", "val"):
        (folder / "images" / split).mkdir(parents=True)
        Image.fromarray(np.full((480, 640, 3), 120, dtype=np.uint8)).save(folder / "images" / split / "a.png")
        document = {
            "images": [{"id": 1, "file_name": "a.png", "width": 640, "height": 480}],
            "categories": [{"id": 1, "name": "dog"}],
            "annotations": [
                {"id": 1, "image_id": 1, "category_id": 1, "bbox": [9, 9, 200, 300], "area": 6e4, "iscrowd": 0}
            ],
        }
        (folder / "annotations" / f"instances_{split}.json").write_text(json.dumps(document))


def described(folder: Path) -> None:
    """The same images with an outline, a person whose points are known, and a caption."""
    two_images(folder)
    outline = [[20, 30, 180, 20, 200, 300, 110, 200, 10, 290]]
    person = {"id": 2, "image_id": 1, "category_id": 2, "bbox": [300, 50, 150, 380], "area": 4e4, "iscrowd": 0}
    points = [value for number in range(17) for value in (310 + 7 * number, 60 + 21 * number, 2)]
    for split in ("train", "val"):
        instances = folder / "annotations" / f"instances_{split}.json"
        document = json.loads(instances.read_text())
        document["categories"].append({"id": 2, "name": "person"})
        document["annotations"][0]["segmentation"] = outline
        document["annotations"].append({**person, "segmentation": [[300, 50, 450, 50, 450, 430, 300, 430]]})
        instances.write_text(json.dumps(document))
        skeleton = {"keypoints": list(COCO_PERSON.names), "skeleton": [[a + 1, b + 1] for a, b in COCO_PERSON.edges]}
        posed = {
            "images": document["images"],
            "categories": [{"id": 2, "name": "person", **skeleton}],
            "annotations": [{**person, "keypoints": points, "num_keypoints": 17}],
        }
        captioned = {"images": document["images"], "annotations": [{"id": 1, "image_id": 1, "caption": "A dog."}]}
        for name, content in (("person_keypoints", posed), ("captions", captioned)):
            (folder / "annotations" / f"{name}_{split}.json").write_text(json.dumps(content))


def one_step(recipe: str, folder: Path, *words: str) -> str:
    """What a run of one step on one image prints."""
    settings = ["train.steps=1", "train.batch_size=1", "train.warmup=0", "data.workers=0", "tasks.det.max_instances=10"]
    command = ["--config", recipe, "--data", str(folder), "--out", str(folder / "run"), *settings, *words]
    done = subprocess.run(
        [sys.executable, "-m", "multitask", "train", *command], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("recipe", OF_DETECTION)
def test_one_step_at_full_size(recipe: str, tmp_path: Path) -> None:
    two_images(tmp_path)
    assert "AP50" in one_step(recipe, tmp_path, "--tasks", "det")


def test_one_step_of_four_tasks_at_full_resolution(tmp_path: Path) -> None:
    """Encoder and decoder, met in full size above, have one layer here: each task encodes its own views."""
    described(tmp_path)
    fewer = ("model.transformer.depth=1", "model.decoder.depth=1", "tasks.segment.max_points=16")
    out = one_step(OF_FOUR_TASKS, tmp_path, *fewer, "tasks.caption.max_tokens=16", "tasks.det.max_instances=4")
    for row in (r"det\W+AP50", r"segment\W+AP50", r"keypoints\W+AP50", r"caption\W+CIDEr-D"):
        assert re.search(rf"{row}\W+\d\.\d{{3}}", out), out
    tasks = json.loads(next((tmp_path / "run").rglob("config.json")).read_text())["tasks"]
    assert tasks["keypoints"]["skeleton"]["names"] == list(COCO_PERSON.names)
    assert len(tasks["keypoints"]["skeleton"]["sigmas"]) == 17 and tasks["segment"]["points"] == "given"
