"""How much of the time of reading images goes into reading them? What augmenting and serializing cost on top.

    python benchmarks/loader.py
    python benchmarks/loader.py --size 4000 3000 --images 8
    python benchmarks/loader.py --leak 20000

Draws photograph-like JPEGs with eight boxes each. By turns, on one core, times the training batches of task `det`
(read, scale jitter, crop, flip, serialize, collate) and the bare library calls on the same files (open, convert to
RGB, one resize to the same side). Prints images per second, medians over rounds, and their ratio: 0.7 is the bar.
With `--leak N` loads N images and prints how much memory the process holds at a tenth of the way and at the end.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torchvision.transforms.v2 import functional as F

from multitask.assembly import make_vocabulary
from multitask.config import load_config
from multitask.data.groups import group_tasks
from multitask.data.mixture import Mixture
from multitask.data.table import Table, TableDataset, TableImage, TableObject
from multitask.plugins import load
from multitask.task import Category

BOXES, CATEGORIES, BATCH = 8, 80, 8
LAYERS = ((4, 90), (12, 50), (40, 26), (150, 14), (480, 8))  # cells across, and how much they differ


def photograph(rng: np.random.Generator, width: int, height: int) -> Image.Image:
    """Blurred noise of several sizes, as detail in a photograph is; channels mostly vary together."""
    found: NDArray[np.float32] = np.full((height, width, 3), 128, dtype=np.float32)
    for cells, spread in LAYERS:
        noise = rng.normal(0, spread, (cells * height // width + 1, cells, 3)).astype(np.float32)
        noise = 0.4 * noise + 0.9 * noise.mean(axis=2, keepdims=True)
        for channel in range(3):
            layer = Image.fromarray(noise[..., channel]).resize((width, height), Image.Resampling.BICUBIC)
            found[..., channel] += np.asarray(layer)
    return Image.fromarray(found.clip(0, 255).astype(np.uint8))


def draw_dataset(folder: Path, count: int, width: int, height: int) -> TableDataset:
    """`count` JPEGs below `folder`, and their boxes."""
    rng = np.random.default_rng(0)
    categories = [Category(i, f"class {i}") for i in range(1, CATEGORIES + 1)]
    images = []
    for i in range(count):
        photograph(rng, width, height).save(folder / f"{i}.jpg", quality=90)
        corners = np.sort(rng.uniform(0, 1, (BOXES, 2, 2)), axis=1) * [width, height]
        chosen = rng.choice(categories, BOXES)  # type: ignore[arg-type]
        objects = [
            TableObject(BOXES * i + n, category, xyxy.reshape(4), float(np.prod(xyxy[1] - xyxy[0])))
            for n, (category, xyxy) in enumerate(zip(chosen, corners, strict=True))
        ]
        images.append(TableImage(i, f"{i}.jpg", (width, height), "none", {"boxes": objects}))
    return TableDataset(Table(folder, folder, images, categories), "train")


def mixture_of(dataset: TableDataset, side: int) -> Mixture:
    """Batches of task `det` as it is without settings."""
    task = load("det")()
    vocab = make_vocabulary(load_config("quickstart", [], ["det"]), {"det": task}, dataset)
    return Mixture(dataset, group_tasks([task], dataset), vocab, side, BATCH, 0)


def bare(files: list[Path], side: int) -> None:
    """Library calls alone, the longest side as long as the input's."""
    for file in files:
        with Image.open(file) as image:
            pixels = F.pil_to_tensor(image.convert("RGB"))
        scale = side / max(pixels.shape[1:])
        F.resize(pixels, [round(pixels.shape[1] * scale), round(pixels.shape[2] * scale)], antialias=True)


def seconds(work: Callable[[], object]) -> float:
    """Of the processor, so that other programs count less."""
    begun = time.process_time()
    work()
    return time.process_time() - begun


def compare(folder: Path, arguments: argparse.Namespace) -> None:
    dataset = draw_dataset(folder, arguments.images, *arguments.size)
    files = [folder / image.name for image in dataset.images]
    mixture, steps = mixture_of(dataset, arguments.side), len(files) // BATCH
    rounds = []
    for number in range(arguments.rounds + 1):
        times = {"bare": 0.0, "batches": 0.0}
        for step in range(steps):  # by turns, so that whatever else the machine does meets both
            times["bare"] += seconds(lambda: bare(files[step * BATCH : (step + 1) * BATCH], arguments.side))  # noqa: B023
            times["batches"] += seconds(lambda: mixture[number * steps + step])  # noqa: B023
        rounds += [times] if number else []  # the first warms up
    size = sum(file.stat().st_size for file in files) / len(files) / 1000
    print(f"{len(files)} JPEGs of {arguments.size[0]} x {arguments.size[1]}, {size:.0f} kB, to {arguments.side}")
    for name in times:
        print(f"{name:8}{len(files) / statistics.median(found[name] for found in rounds):8.1f} images/s")
    print(f"ratio   {statistics.median(found['bare'] / found['batches'] for found in rounds):8.2f}")


def held() -> float:
    """Memory of this process in MB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6


def leak(folder: Path, arguments: argparse.Namespace) -> None:
    mixture = mixture_of(draw_dataset(folder, arguments.images, *arguments.size), arguments.side)
    steps = arguments.leak // BATCH
    early = 0.0
    for step in range(steps):
        mixture[step]
        if step == steps // 10:
            early = held()
    growth = held() / early - 1
    print(f"{steps * BATCH} images: {early:.1f} MB at a tenth, {held():.1f} MB at the end, {growth:+.1%}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, nargs=2, default=(640, 480), metavar=("WIDTH", "HEIGHT"))
    parser.add_argument("--side", type=int, default=384, help="of the network's input")
    parser.add_argument("--images", type=int, default=64, help="different ones, a multiple of 8")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--leak", type=int, nargs="?", const=20_000, metavar="N")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        (leak if arguments.leak else compare)(Path(folder), arguments)


if __name__ == "__main__":
    main()
