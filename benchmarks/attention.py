"""Does the decoder look at the object that it names? Over the first objects that a model of drawn shapes answers with.

    python benchmarks/attention.py runs/demo
    python benchmarks/attention.py runs/demo --layers

For the category of each object and for its four coordinates: the share of the attention that falls inside the box that
was answered, the share of the picture that this box covers, the mean of their ratio over the objects with its standard
error, and the ratio of their means. An even spread has the ratio 1. `most` is the mean of ratios of one that looks
at nothing but the box, `other box` that of the same maps about the box of the object before, which is what is owed to
all objects' lying towards the middle. What was answered is not compared with the truth.
"""

from __future__ import annotations

import argparse
from itertools import islice
from pathlib import Path

import numpy as np
import torch

from multitask import AttentionMap, attention_maps, open_run
from multitask.data.shapes import ShapesDataset
from multitask.inference import Predictor

IMAGES = 200  # of the split, where all runs of shapes are scored
HEAD = "token     inside  of area  mean of ratios  of means    most  other box"


def told(predictor: Predictor, task: str, objects: int, layer: int | None) -> dict[str, list[AttentionMap]]:
    """The maps of the first `objects` answers, by what their token says: `category`, or the coordinate's name."""
    found: dict[str, list[AttentionMap]] = {}
    images = (attention_maps(predictor, e, task, layer=layer) for e in ShapesDataset("val", IMAGES))
    for seen in islice((seen for maps in images for seen in maps), 5 * objects):
        assert seen.about is not None  # of this task
        found.setdefault("category" if seen.label == seen.about.labels[0] else seen.label, []).append(seen)
    return found


def line(name: str, maps: list[AttentionMap]) -> str:
    boxes = np.stack([seen.about.xyxy[0] for seen in maps if seen.about])
    sizes = np.array([seen.placement.image for seen in maps])
    inside, other = (
        np.array([m.inside(box) for m, box in zip(maps, b, strict=True)]) for b in (boxes, np.roll(boxes, 1, 0))
    )
    covered = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) / sizes.prod(axis=1)
    ratio, by_chance = inside / covered, other / np.roll(covered, 1)
    error = ratio.std(ddof=1) / np.sqrt(len(ratio))
    return (
        f"{name:9} {inside.mean():6.3f} {covered.mean():8.3f} {ratio.mean():8.2f} ± {error:.2f} "
        f"{inside.mean() / covered.mean():9.2f} {np.mean(1 / covered):7.1f} {by_chance.mean():10.2f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--task", default="det")
    parser.add_argument("--objects", type=int, default=100)
    parser.add_argument("--min-score", type=float, default=0.3)
    parser.add_argument("--layers", action="store_true")
    arguments = parser.parse_args()
    run = open_run(arguments.run)
    predictor = run.predictor(torch.device("cpu"))
    predictor.floor = arguments.min_score
    depth = len(run.model.decoder.layers)
    for layer in (*range(depth), None) if arguments.layers else (depth - 1,):
        found = told(predictor, arguments.task, arguments.objects, layer)
        which = "the mean of all layers" if layer is None else f"layer {layer + 1} of {depth}"
        print(f"{run.folder}, {which}, {len(next(iter(found.values())))} objects")
        print(HEAD, *(line(name, maps) for name, maps in found.items()), sep="\n")


if __name__ == "__main__":
    main()
