"""Does training wait for anything but arithmetic? Whole steps against bare ones, and two processes against one.

    python benchmarks/training.py                               # quickstart with two tasks and four, finetune on JPEGs
    python benchmarks/training.py --recipes finetune --rounds 7
    python benchmarks/training.py --processes

Times the steps that `mtp train` makes (its loader, update and readings of losses) and, by turns with them, updates on
batches that lie in memory and the making of batches alone. With all cores at work a step cannot be quicker than a bare
update, with as many threads as suit it, plus the processor time of its data, shared by all: that bound over the time of
a whole step is the ratio; 0.9 is the bar. Prints it for each number of loader processes and threads, with where the
time of a step goes. With `--processes` times `mtp train` in one process with a thread for each core, and under
`torchrun` in a process for each core with one thread: the ratio of their pictures per second should be 0.85.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from itertools import islice, product
from pathlib import Path

os.environ.setdefault("GOMP_SPINCOUNT", "2000")  # as `mtp train` does, before torch is loaded

import numpy as np
import torch
from host import machine
from loader import photograph

from multitask.assembly import fitted, make_tasks, open_split
from multitask.config import Config, changed, load_config
from multitask.data.dataset import Dataset
from multitask.data.loader import StepLoader, step_loader
from multitask.machine import cores
from multitask.processes import Processes
from multitask.training.initial import begin
from multitask.training.meter import Meter
from multitask.training.run import REPORT_EVERY
from multitask.training.trainer import Trainer

BOXES, CATEGORIES = 8, 80
RECIPES = {
    "quickstart2": ("quickstart", ["det", "caption"], []),
    "quickstart4": ("quickstart", None, ["train.task_weights.caption=1"]),
    "finetune": ("finetune", None, []),
}
Times = dict[str, float]  # seconds a step, by what they are of


def write_coco(folder: Path, count: int) -> None:
    """`count` JPEGs like photographs with eight boxes each; eight of them are to validate."""
    rng = np.random.default_rng(0)
    for split, number in (("train", count), ("val", 8)):
        (folder / "images" / split).mkdir(parents=True)
        images, boxes = [], []
        for i in range(number):
            photograph(rng, 640, 480).save(folder / "images" / split / f"{i}.jpg", quality=90)
            images.append({"id": i, "file_name": f"{i}.jpg", "width": 640, "height": 480})
            for x, y, w, h in rng.uniform((0, 0, 20, 20), (400, 300, 240, 180), (BOXES, 4)).round(1).tolist():
                category = int(rng.integers(1, CATEGORIES + 1))
                boxes.append({"id": len(boxes) + 1, "image_id": i, "category_id": category, "bbox": [x, y, w, h]})
        categories = [{"id": n, "name": f"class {n}"} for n in range(1, CATEGORIES + 1)]
        document = {"images": images, "annotations": boxes, "categories": categories}
        (folder / "annotations").mkdir(exist_ok=True)
        (folder / "annotations" / f"instances_{split}.json").write_text(json.dumps(document))


class Bench:
    """A recipe's trainer and data, and the times of its steps."""

    def __init__(self, config: Config, steps: int) -> None:
        self.steps = steps
        self.dataset: Dataset = open_split(config, "train")
        self.config = fitted(config, self.dataset)
        tasks = make_tasks(self.config)
        beginning = begin(self.config, tasks, self.dataset)
        self.trainer = Trainer(self.config, tasks, beginning.vocab, beginning.model, torch.device("cpu"))
        self.ready = list(islice(self.loader(0), steps))

    def loader(self, workers: int) -> StepLoader:
        config = changed(self.config, [f"data.workers={workers}"])
        return step_loader(config, self.trainer.tasks.values(), self.trainer.vocab, self.dataset, 0)

    def bare(self, threads: int) -> Times:
        """Updates on batches that lie in memory."""
        torch.set_num_threads(threads)
        begun = time.perf_counter()
        for parts in self.ready:
            self.trainer.update(*parts)
        return {"bare": (time.perf_counter() - begun) / self.steps}

    def data(self) -> Times:
        """Batches made by one process with one thread, as a loader process does; `data_cpu`: of its processor."""
        torch.set_num_threads(1)
        begun, used = time.perf_counter(), time.process_time()
        for _ in islice(self.loader(0), self.steps):
            pass
        wall, processor = time.perf_counter() - begun, time.process_time() - used
        return {"data": wall / self.steps, "data_cpu": processor / self.steps}

    def whole(self, workers: int, threads: int) -> Times:
        """Steps as `mtp train` makes them, when what the loader had ready beforehand is used up."""
        torch.set_num_threads(threads)
        found, waited, updated, processes = iter(self.loader(workers)), 0.0, 0.0, Processes()
        for parts in islice(found, 4 * workers + 2):
            self.trainer.update(*parts)
        meter, begun = Meter(), time.perf_counter()
        for number in range(1, self.steps + 1):
            before = time.perf_counter()
            parts = next(found)
            ready = time.perf_counter()
            meter.add(self.trainer.update(*parts), parts)
            waited, updated = waited + ready - before, updated + time.perf_counter() - ready
            if number % REPORT_EVERY == 0:
                list(meter.read(processes)[0])
                meter = Meter()
        total = time.perf_counter() - begun
        return {name: t / self.steps for name, t in (("whole", total), ("waiting", waited), ("updating", updated))}

    def round(self, settings: Sequence[tuple[int, int]]) -> dict[tuple[int, int], Times]:
        """Everything once, by turns, by loader processes and threads; what else the machine does meets all."""
        data = self.data()
        bare = {threads: self.bare(threads) for threads in dict.fromkeys(threads for _, threads in settings)}
        bound = {"bound": min(times["bare"] for times in bare.values()) + data["data_cpu"] / cores()}
        return {
            (workers, threads): {**data, **bare[threads], **bound, **self.whole(workers, threads)}
            for workers, threads in settings
        }


def compare_steps(name: str, config: Config, arguments: argparse.Namespace) -> None:
    """Print the table of one recipe."""
    bench = Bench(config, arguments.steps)
    settings = list(product(arguments.workers, arguments.threads))
    rounds = [bench.round(settings) for _ in range(arguments.rounds + 1)][1:]  # the first warms up
    print(f"\n{name}: milliseconds a step of {config.train.batch_size} pictures, medians of {len(rounds)} rounds")
    columns = ("data", "data_cpu", "bare", "bound", "waiting", "updating", "whole")
    print("workers threads" + "".join(f"{column:>10}" for column in columns) + f"{'ratio':>10}")
    best = (0.0, settings[0])
    for setting in settings:
        found = [r[setting] for r in rounds]
        ratio = statistics.median(times["bound"] / times["whole"] for times in found)
        medians = [statistics.median(times[column] for times in found) for column in columns]
        best = max(best, (ratio, setting))
        print(f"{setting[0]:7}{setting[1]:8}" + "".join(f"{1000 * m:10.1f}" for m in medians) + f"{ratio:10.3f}")
    automatic = max(1, min(8, cores() // 2))
    print(f"best ratio {best[0]:.3f} with {best[1][0]} workers and {best[1][1]} threads; data.workers=-1: {automatic}")
    print("bare: an update in memory with these threads; updating less bare is what loader processes take from it")


def train_rate(words: Sequence[str], folder: Path, processes: int, threads: int, steps: int) -> float:
    """Steps a second of `mtp train`, from its first report to its last one."""
    agent = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"] if processes > 1 else []
    command = [sys.executable, *agent, "-m", "multitask", "train", *words, "--out", str(folder)]
    settings = [f"train.steps={steps}", "train.save_every=1e9", "data.val_size=1"]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "MTP_OFFLINE": "1"}
    with (folder.with_suffix(".log")).open("w") as log:
        run = subprocess.Popen([*command, *settings], env=environment, stdout=log, stderr=log)
        seen = dict(_reports(run, folder / "metrics.jsonl", steps))
    if run.wait():
        raise SystemExit(folder.with_suffix(".log").read_text())
    first = min(seen)
    return (steps - first) / (seen[steps] - seen[first])


def _reports(run: subprocess.Popen[bytes], log: Path, last: int) -> Iterator[tuple[int, float]]:
    """Steps that are told, and when, until the last one or the end of the run."""
    told = 0
    while told < last and run.poll() is None:
        lines = log.read_text().splitlines(keepends=True) if log.exists() else []
        for step in (json.loads(line)["step"] for line in lines if line.endswith("\n")):
            if step > told:
                told = step
                yield step, time.perf_counter()
        time.sleep(0.002)


def compare_processes(name: str, words: Sequence[str], config: Config, rounds: int, steps: int) -> None:
    """Print images per second of one process and of several, by turns."""
    rates: dict[int, list[float]] = {1: [], cores(): []}
    with tempfile.TemporaryDirectory() as folder:
        for number, processes in product(range(rounds), rates):
            place = Path(folder) / f"{number}-{processes}"
            rate = train_rate(words, place, processes, cores() // processes, steps)
            rates[processes].append(rate * config.train.batch_size)
    ratio = statistics.median(many / one for one, many in zip(*rates.values(), strict=True))
    print(f"\n{name}: pictures a second for each task, medians of {rounds} rounds by turns")
    for processes, found in rates.items():
        print(f"{processes} x {cores() // processes} threads {statistics.median(found):10.1f}")
    print(f"ratio {ratio:18.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, default=list(RECIPES))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, help="in a row; 10 of whole and bare steps, 60 with --processes")
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1, 2], help="loader processes")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--images", type=int, default=64, help="JPEGs for finetune")
    parser.add_argument("--settings", nargs="+", default=[], help="key=value settings on top of the recipes")
    parser.add_argument("--processes", action="store_true", help="compare processes instead")
    arguments = parser.parse_args()
    arguments.steps = arguments.steps or (60 if arguments.processes else 10)
    print(machine())
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.recipes:
            recipe, tasks, words = RECIPES[name]
            if recipe == "finetune":
                write_coco(Path(folder), arguments.images)
                words = [f"data.path={folder}"]
            words = [*words, *arguments.settings]
            config = load_config(recipe, words, tasks)
            if arguments.processes:
                chosen = ["--config", recipe, *(["--tasks", ",".join(tasks)] if tasks else []), *words]
                compare_processes(name, chosen, config, arguments.rounds, arguments.steps)
            else:
                compare_steps(name, config, arguments)


if __name__ == "__main__":
    main()
