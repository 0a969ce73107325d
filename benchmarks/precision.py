"""What do bf16 and int8 weights change in the answers of a trained model? Against its fp32 answers.

    python benchmarks/precision.py runs/demo
    python benchmarks/precision.py runs/demo data.path=photos --tasks det caption

Scores the run on its validation images in each precision and prints, for each task, the share of answers with the same
tokens, the share of tokens before the first that differs, and every score with its change. Decoding runs freely: one
other token changes all that follow it.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from unittest.mock import patch

import numpy as np
from host import machine
from rich.console import Console
from rich.table import Column, Table

from multitask.assembly import Run, open_run, open_split, with_data
from multitask.decoding.linears import PRECISIONS
from multitask.decoding.speed import Speed
from multitask.evaluate import Scores, as_scores, evaluate
from multitask.machine import pick_device
from multitask.task import Annotations, Decoded, Query, Task, Vocabulary

Answers = dict[str, list[list[int]]]  # tokens of each answer, by task


@contextmanager
def recorded(tasks: dict[str, Task]) -> Iterator[Answers]:
    """Gives the tokens of all that the tasks are told while it lasts."""
    found: Answers = {name: [] for name in tasks}

    def recording(name: str, task: Task) -> object:
        plain = task.deserialize

        def told(query: Query, samples: Sequence[Decoded], vocab: Vocabulary) -> Annotations:
            found[name] += [sample.tokens.tolist() for sample in samples]
            return plain(query, samples, vocab)

        return told

    with ExitStack() as stack:
        for name, task in tasks.items():
            stack.enter_context(patch.object(task, "deserialize", recording(name, task)))
        yield found


def answered(run: Run, precision: str, arguments: argparse.Namespace) -> tuple[Answers, Scores, float]:
    """Tokens, scores, and the seconds that both took."""
    dataset = open_split(with_data(run.config, arguments.data), "val")
    predictor = run.predictor(pick_device(arguments.device), Speed(precision))
    names = arguments.tasks or list(run.tasks)
    begun = time.perf_counter()
    with recorded(run.tasks) as answers:
        scores = as_scores(evaluate(predictor, dataset, names, oracle=True))  # the same questions in all precisions
    return answers, scores, time.perf_counter() - begun


def same_until(one: Sequence[int], other: Sequence[int]) -> int:
    """The number of tokens before the first that differs."""
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def agreement(first: list[list[int]], other: list[list[int]]) -> tuple[float, float]:
    """Shares of answers that are equal, and of tokens before the first difference."""
    pairs = list(zip(first, other, strict=True))
    until = sum(same_until(a, b) for a, b in pairs)
    return float(np.mean([a == b for a, b in pairs])), until / max(1, sum(len(a) for a, _ in pairs))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("data", nargs="*", help="settings of other data, as data.path=FOLDER")
    parser.add_argument("--tasks", nargs="+", help="all of the run if left out")
    parser.add_argument("--precision", nargs="+", choices=PRECISIONS[1:], default=PRECISIONS[1:])
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    run = open_run(arguments.run)
    first, scores, taken = answered(run, "fp32", arguments)
    print(f"{machine()}; fp32 {taken:.1f} s")
    for precision in arguments.precision:
        answers, others, taken = answered(run, precision, arguments)
        numbers = [Column(head, justify="right") for head in ("same answers", "same tokens", "score", "change")]
        table = Table("task", *numbers[:2], "metric", *numbers[2:], title=f"{precision} {taken:.1f} s")
        for task, found in others.items():
            table.add_row(task, *(f"{share:.1%}" for share in agreement(first[task], answers[task])))
            for metric, value in found.items():
                table.add_row("", "", "", metric, f"{value:.4f}", f"{value - scores[task][metric]:+.4f}")
            table.add_section()
        Console(width=110).print(table)


if __name__ == "__main__":
    main()
