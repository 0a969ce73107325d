"""Can the model learn eight real images by heart? A fault anywhere between annotation and answer prevents it.

    python benchmarks/overfit.py PATH/TO/coco --split train2017

Trains `det` and `caption` on the first images that have both boxes and captions, without augmentation, and prints
free-running scores on the same images: box AP50, and how many captions equal one of the image's own.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

from multitask.assembly import open_run
from multitask.cli.progress import TrainingDisplay
from multitask.config import load_config
from multitask.data.dataset import Dataset, open_dataset
from multitask.machine import pick_device
from multitask.train import start

STILL = "{scale: [1.0, 1.0], flip: 0.0, colour: 0.0}"


class First:
    """The first `count` images of a data set that are annotated with all of `kinds`, some box among them."""

    def __init__(self, dataset: Dataset, count: int, kinds: frozenset[str]) -> None:
        self.dataset, self.info, self.split, self.faults = dataset, dataset.info, dataset.split, ()
        fitting = (i for i in range(len(dataset)) if kinds <= dataset.kinds(i) and len(dataset[i].annotations["boxes"]))
        self.positions = [i for i, _ in zip(fitting, range(count), strict=False)]

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, i: int) -> Any:
        return self.dataset[self.positions[i]]

    def kinds(self, i: int) -> frozenset[str]:
        return self.dataset.kinds(self.positions[i])


def subset(source: Path, split: str, count: int, target: Path) -> None:
    """A COCO folder with those images alone, as its `train` and as its `val`."""
    chosen = First(open_dataset(str(source), split, role="train"), count, frozenset({"boxes", "captions"}))
    ids = {chosen[i].id for i in range(len(chosen))}
    (target / "annotations").mkdir()
    for name in ("instances", "captions"):
        document = json.loads((source / "annotations" / f"{name}_{split}.json").read_text())
        document["images"] = [image for image in document["images"] if image["id"] in ids]
        document["annotations"] = [a for a in document["annotations"] if a["image_id"] in ids]
        for role in ("train", "val"):
            (target / "annotations" / f"{name}_{role}.json").write_text(json.dumps(document))
    for role in ("train", "val"):
        (target / "images" / role).mkdir(parents=True)
        for image in document["images"]:
            found = next(source.rglob(image["file_name"]))
            (target / "images" / role / image["file_name"]).write_bytes(found.read_bytes())


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
            "tasks.det.max_instances=24",
            "tasks.caption.captions_per_image=1",
            "model.decoder.depth=3",
            "train.coordinate_sigma=1.0",
            "model.decoder.mlp_dim=768",
            "model.decoder.max_length=192",
            "model.decoder.dropout=0.0",
            "train.steps=1300",
            "train.eval_every=0",
            "train.lr=1e-3",
            f"train.batch_size={arguments.images}",
        ]
        config = load_config("finetune", [*fixed, *arguments.settings], ["det", "caption"])
        begun = time.monotonic()
        with TrainingDisplay() as display:
            run, scores = start(config, out, "auto", False, display)
        report(run, data, scores, time.monotonic() - begun)


def report(run: Path, data: Path, scores: dict[str, dict[str, float]], seconds: float) -> None:
    """Print what was reached."""
    predictor = open_run(run).predictor(pick_device("auto"))
    dataset = open_dataset(str(data), None, role="val")
    examples: list[Any] = [dataset[i] for i in range(len(dataset))]
    answers = predictor.predict(examples, ["caption"])
    right = 0
    for example, answer in zip(examples, answers, strict=True):
        said = answer["caption"].annotations["captions"].texts[0]  # type: ignore[attr-defined]
        own = [predictor.vocab.text.normalise(text) for text in example.annotations["captions"].texts]
        right += said in own
        print("=" if said in own else " ", example.file, "|", said)
    print(f"{len(examples)} images, {seconds / 60:.1f} minutes of training")
    print(f"box AP50 {scores['det']['AP50']:.3f}, AP {scores['det']['AP']:.3f}")
    print(f"captions equal to one of the image's own: {right} of {len(examples)}")


if __name__ == "__main__":
    main()
