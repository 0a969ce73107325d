"""The published recipes: models of the published size, and one real step of training each."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from multitask.config import load_config
from multitask.model.encoder_decoder import build_model

PUBLISHED = {"pix2seq_vit_b_640": 115.2e6, "pix2seq_r50_640": 36.6e6}  # parameters at a vocabulary of 3000


@pytest.mark.parametrize(("recipe", "parameters"), PUBLISHED.items())
def test_the_model_has_the_published_size(recipe: str, parameters: float) -> None:
    with torch.device("meta"):
        model = build_model(load_config(recipe).model, 3000)
    assert sum(p.numel() for p in model.parameters()) == pytest.approx(parameters, rel=0.01)


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


@pytest.mark.parametrize("recipe", PUBLISHED)
def test_one_step_at_full_size(recipe: str, tmp_path: Path) -> None:
    two_images(tmp_path)
    words = ["--tasks", "det", "--config", recipe, "--data", str(tmp_path), "--out", str(tmp_path / "run")]
    words += ["train.steps=1", "train.batch_size=1", "train.warmup=0", "data.workers=0", "tasks.det.max_instances=10"]
    done = subprocess.run(
        [sys.executable, "-m", "multitask", "train", *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "AP50" in done.stdout
