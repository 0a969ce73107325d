"""Does `mtp predict` over a folder wait for anything but the model? The whole command against the model alone.

    python benchmarks/predict.py
    python benchmarks/predict.py --models vit_s_384 --shapes --threads 1
    python benchmarks/predict.py --model runs/demo --shapes --tasks det caption

Draws a folder of photograph-like JPEGs (or of the embedded scenes) and asks untrained models for ten boxes in each,
which are 50 tokens; the better half of them is shown. A trained model says what it has to say. By turns, times all that
the command does for the images (read, answer, draw, write, print) and the model alone (scale, encode, decode) on the
same images in memory, in the same batches. Prints images per second, medians over rounds, and their ratio: 0.9 is the
bar. Then what the rest costs, each part by itself and waited for; in the command most of it goes on beside the model.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from unittest.mock import patch

os.environ.setdefault("GOMP_SPINCOUNT", "2000")  # as `mtp predict` does, before torch is loaded

import numpy as np
import torch
from host import machine
from loader import photograph
from PIL import Image

from multitask.annotations import Boxes
from multitask.assembly import Run, fitted, make_tasks, open_run, open_split
from multitask.checkpoint import save
from multitask.cli.predict import show
from multitask.config import load_config
from multitask.data.images import read_image
from multitask.data.shapes import ShapesDataset
from multitask.draw import draw, save_picture
from multitask.example import Example, Prediction
from multitask.inference import Answers, above
from multitask.machine import pick_device
from multitask.predict import Order, Result, predict_images
from multitask.task import Annotations, Decoded, Query, Task, Vocabulary
from multitask.training.initial import begin

Work = Callable[[], object]
BOXES = 10
VIT_S = ["model.encoder=vit", "model.transformer={dim: 384, depth: 12, heads: 6, mlp_dim: 1536}"]
MODELS = {  # recipes and settings
    "quickstart": ("quickstart", []),  # 128 pixels
    "finetune": ("finetune", ["data.path=shapes"]),  # 256 pixels
    "vit_s_384": ("finetune", ["data.path=shapes", *VIT_S, "model.image_size=384", "model.decoder.depth=6"]),
}


def write_pictures(folder: Path, arguments: argparse.Namespace) -> list[Path]:
    """The folder to ask about."""
    rng, scenes = np.random.default_rng(0), ShapesDataset("val", arguments.images)
    files = [folder / f"{i:04}.{'png' if arguments.shapes else 'jpg'}" for i in range(arguments.images)]
    for i, file in enumerate(files):
        drawn = Image.fromarray(scenes[i].load()) if arguments.shapes else photograph(rng, *arguments.size)
        drawn.save(file, quality=90)
    return files


def write_run(folder: Path, name: str) -> None:
    """A run whose model has learnt nothing, and finds BOXES boxes in every image."""
    recipe, settings = MODELS[name]
    config = load_config(recipe, [*settings, f"tasks.det.max_instances={BOXES}", "data.val_size=1"], ["det"])
    dataset = open_split(config, "val")
    config = fitted(config, dataset)
    torch.manual_seed(0)
    new = begin(config, make_tasks(config), dataset)
    new.model.decoder.output_bias.data[new.vocab.eos] = -100  # no answer ends early
    words = {"vocabulary": new.vocab.manifest(), "text_model": new.vocab.text.model}
    save(folder, 0, config=config, **words, model=new.model.state_dict(), tensors={}, state={})


class Bench:
    """A model and a folder, and what is timed of them. `tokens`: how many an image costs."""

    def __init__(self, run: Run, files: Sequence[Path], out: Path, arguments: argparse.Namespace) -> None:
        self.predictor, self.batch = run.predictor(pick_device(arguments.device)), arguments.batch_size
        self.files, self.names, self.out = files, arguments.tasks or list(run.tasks), out
        self.examples = [_example(file) for file in files]
        with _counted(run.tasks.values()) as lengths:
            self.answers = self.model()
        self.tokens = sum(lengths) / len(files)
        boxes = [a for p in self._predictions() for a in p.annotations.values() if isinstance(a, Boxes)]
        self.floor = 0.3 if arguments.model else float(np.median(np.concatenate([a.scores for a in boxes])))
        self.predictor.floor = self.floor
        self.results: list[Result] = []

    def _predictions(self) -> list[Prediction]:
        return [prediction for answer in self.answers for prediction in answer.values()]

    def model(self) -> list[Answers]:
        """Answers about the images in memory."""
        batches = [self.examples[i : i + self.batch] for i in range(0, len(self.examples), self.batch)]
        return [answer for some in batches for answer in self.predictor.predict(some, self.names, [{} for _ in some])]

    def command(self) -> None:
        """What `mtp predict` does when the model is open."""
        order = Order("benchmark", self.predictor, self.names, {}, self.floor, self.out)
        self.results = []
        with redirect_stdout(StringIO()):
            for result in predict_images(self.files, self.batch, order):
                show(result)
                self.results.append(result)

    def rest(self) -> None:
        """The command where the answers are known already."""
        known = {example.id: answer for example, answer in zip(self.examples, self.answers, strict=True)}
        with patch.object(self.predictor, "predict", lambda some, *_: [known[example.id] for example in some]):
            self.command()

    def parts(self) -> dict[str, Work]:
        """What the rest consists of, but for the JSON file."""
        images = [example.load() for example in self.examples]
        shown = [
            [a for p in answer.values() for a in above(p.annotations, self.floor).values()] for answer in self.answers
        ]
        pictures = [draw(image, some) for image, some in zip(images, shown, strict=True)]
        return {
            "reading": lambda: [read_image(file) for file in self.files],
            "drawing": lambda: [draw(image, some) for image, some in zip(images, shown, strict=True)],
            "picture": lambda: [save_picture(p, Path(r.picture)) for p, r in zip(pictures, self.results, strict=True)],
            "printing": lambda: [show(result) for result in self.results],
        }


def _example(file: Path) -> Example:
    pixels = read_image(file)
    return Example(str(file), str(file), (pixels.shape[1], pixels.shape[0]), {}, lambda reduce=1: pixels)


@contextmanager
def _counted(tasks: Iterable[Task]) -> Iterator[list[int]]:
    """Gives a list that the number of tokens of each answer is added to."""
    lengths: list[int] = []

    def counting(task: Task) -> Callable[[Query, Sequence[Decoded], Vocabulary], Annotations]:
        plain = task.deserialize

        def counted(query: Query, samples: Sequence[Decoded], vocab: Vocabulary) -> Annotations:
            lengths.extend(len(sample.tokens) for sample in samples)
            return plain(query, samples, vocab)

        return counted

    with ExitStack() as stack:
        for task in tasks:
            stack.enter_context(patch.object(task, "deserialize", counting(task)))
        yield lengths


def milliseconds(work: Work, images: int) -> float:
    """An image, by the clock."""
    begun = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - begun) / images


def compare(name: str, bench: Bench, rounds: int) -> None:
    """Print rates and their ratio, then what the rest costs."""
    works, images = {"model": bench.model, "command": bench.command, "rest": bench.rest}, len(bench.files)
    found = [{kind: milliseconds(work, images) for kind, work in works.items()} for _ in range(rounds + 1)][1:]
    ratios = sorted(times["model"] / times["command"] for times in found)
    rows = sum(len(result.rows) for result in bench.results) / images
    print(f"\n{name}: {bench.tokens:.0f} tokens and {rows:.1f} answers shown an image, {bench.batch} images a batch")
    for kind in ("model", "command"):
        print(f"{kind:8}{1000 / statistics.median(times[kind] for times in found):8.1f} images/s")
    print(f"ratio   {statistics.median(ratios):8.2f}   ({ratios[0]:.2f} ... {ratios[-1]:.2f})")
    with redirect_stdout(StringIO()):
        parts = {part: milliseconds(work, images) for part, work in bench.parts().items()}
    told = ", ".join(f"{part} {took:.1f}" for part, took in parts.items())
    rest = statistics.median(times["rest"] for times in found)
    print(f"ms an image without the model {rest:.1f}; one after the other: {told}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS), help="untrained ones")
    parser.add_argument("--model", metavar="RUN", help="a run folder instead")
    parser.add_argument("--tasks", nargs="+", help="with --model: those to ask; all if left out")
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--size", type=int, nargs=2, default=(640, 480), metavar=("WIDTH", "HEIGHT"))
    parser.add_argument("--shapes", action="store_true", help="the embedded scenes, 128 pixels, instead of JPEGs")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, help="of torch; as many as it takes if left out")
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads or torch.get_num_threads())
    print(f"{machine()}; {torch.get_num_threads()} threads, medians of {arguments.rounds} rounds by turns")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for place in ("pictures", "out"):
            (folder / place).mkdir()
        files = write_pictures(folder / "pictures", arguments)
        kinds = "scenes" if arguments.shapes else "JPEGs"
        print(f"{len(files)} {kinds} of {' x '.join(map(str, Image.open(files[0]).size))} pixels")
        for model in [arguments.model] if arguments.model else arguments.models:
            if not arguments.model:
                write_run(folder / model, model)
            run = open_run(arguments.model or folder / model)
            compare(model, Bench(run, files, folder / "out", arguments), arguments.rounds)


if __name__ == "__main__":
    main()
