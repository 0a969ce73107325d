"""Can the model learn eight real images by heart? A fault anywhere between annotation and answer prevents it.

    python benchmarks/overfit.py PATH/TO/coco --split train2017

Trains all four tasks on the first images that have captions and somebody with keypoints, without augmentation, and
prints free-running scores on the same images: AP50 of boxes, AP50 of masks and keypoints about the true boxes, and how
many captions equal one of the image's own.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from itertools import islice
from pathlib import Path
from typing import Any

from multitask.assembly import open_run
from multitask.cli.progress import TrainingDisplay
from multitask.config import load_config
from multitask.data.source import open_dataset
from multitask.evaluate import as_scores, evaluate
from multitask.example import Example
from multitask.machine import pick_device
from multitask.train import start

STILL = "{scale: [1.0, 1.0], flip: 0.0, colour: 0.0}"


def fits(example: Example) -> bool:
    """Whether every task has something to learn from it."""
    found = example.annotations
    return {"boxes", "polygons", "keypoints", "captions"} <= set(found) and len(found["keypoints"].answerable()) > 0


def subset(source: Path, split: str, count: int, target: Path) -> None:
    """A COCO folder with those images alone, as its `train` and as its `val`."""
    dataset = open_dataset(str(source), split, role="train")
    chosen = list(islice((e for e in map(dataset.__getitem__, range(len(dataset))) if fits(e)), count))
    (target / "annotations").mkdir()
    for name in ("instances", "person_keypoints", "captions"):
        document = json.loads((source / "annotations" / f"{name}_{split}.json").read_text())
        document["images"] = [image for image in document["images"] if image["id"] in {e.id for e in chosen}]
        document["annotations"] = [a for a in document["annotations"] if a["image_id"] in {e.id for e in chosen}]
        for role in ("train", "val"):
            (target / "annotations" / f"{name}_{role}.json").write_text(json.dumps(document))
    for role in ("train", "val"):
        (target / "images" / role).mkdir(parents=True)
        for example in chosen:
            found = next(source.rglob(example.file))
            (target / "images" / role / example.file).write_bytes(found.read_bytes())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder with COCO annotations")
    parser.add_argument("--split", default="train2017")
    parser.add_argument("--images", type=int, default=8)
    parser.add_argument("settings", nargs="*", help="key=value settings on top of the finetune recipe")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data, out = Path(folder) / "data", Path(folder) / "run"
        data.mkdir()
        subset(arguments.data, arguments.split, arguments.images, data)
        fixed = [
            f"data.path={data}",
            f"tasks.det.augment={STILL}",
            f"tasks.caption.augment={STILL}",
            f"tasks.segment.augment={STILL}",
            f"tasks.keypoints.augment={STILL}",
            "tasks.det.max_instances=28",
            "tasks.caption.captions_per_image=1",
            "tasks.segment.max_points=32",
            "tasks.segment.start=top",
            "tasks.segment.max_instances=4",
            "tasks.segment.box_jitter=0.0",
            "tasks.keypoints.box_jitter=0.0",
            "tasks.keypoints.max_instances=1",
            "model.decoder.depth=3",
            "train.coordinate_sigma=1.0",
            "model.decoder.mlp_dim=768",
            "model.decoder.max_length=192",
            "model.decoder.dropout=0.0",
            "train.steps=1400",
            "train.ema=0.99",
            "train.task_weights={caption: 0.5, segment: 0.5, keypoints: 0.25}",
            "train.eval_every=0",
            "train.lr=1e-3",
            f"train.batch_size={arguments.images}",
        ]
        config = load_config("finetune", [*fixed, *arguments.settings], ["det", "caption", "keypoints", "segment"])
        begun = time.monotonic()
        with TrainingDisplay() as display:
            run, _ = start(config, out, "auto", False, display)
        report(run, data, time.monotonic() - begun)


def report(run: Path, data: Path, seconds: float) -> None:
    """Print what was reached."""
    predictor = open_run(run).predictor(pick_device("auto"))
    dataset = open_dataset(str(data), None, role="val")
    scores = as_scores(evaluate(predictor, dataset, ["det", "segment", "keypoints"], oracle=True))
    examples: list[Any] = [dataset[i] for i in range(len(dataset))]
    answers = predictor.predict(examples, ["caption"])
    right = 0
    for example, answer in zip(examples, answers, strict=True):
        said = answer["caption"].annotations["captions"].texts[0]  # type: ignore[attr-defined]
        own = [predictor.vocab.text.normalise(text) for text in example.annotations["captions"].texts]
        right += said in own
        print("=" if said in own else " ", example.file, "|", said)
    print(f"{len(examples)} images, {seconds / 60:.1f} minutes of training")
    for name, found in scores.items():
        print(f"{name} AP50 {found['AP50']:.3f}, AP {found['AP']:.3f}")
    print(f"captions equal to one of the image's own: {right} of {len(examples)}")


if __name__ == "__main__":
    main()
