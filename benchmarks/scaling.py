"""What does one more object, box, sample or pixel cost in decoding?

    python benchmarks/scaling.py
    python benchmarks/scaling.py --sweeps boxes samples --precision int8 --rounds 9

A decoder of one shape (6 layers of width 256, 8 heads) with random weights answers about given image tokens; nothing is
encoded. All points of a sweep run by turns; prints medians over rounds, with the least and the most. The sweeps:

- `objects`: sequences of five tokens an object and the end, with the fit of a line to the medians;
- `boxes`: outlines asked about in one image, all in one call, and ten of them in calls of their own;
- `samples`: of one outline, drawn at temperature 1;
- `sides`: of the image, in pixels, with twenty objects.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from decoding_setup import (
    Work,
    answering,
    begin,
    by_turns,
    make_parser,
    object_grammar,
    outline_grammar,
    random_decoder,
    random_memory,
    ratio,
    requests,
    write_json,
)
from rich.console import Console
from rich.table import Column, Table

from multitask.decoding.linears import PRECISIONS
from multitask.decoding.stepping import Stepper

OBJECTS = (1, 2, 5, 10, 20, 50, 100)
BOXES = (1, 2, 4, 10, 32, 64)
SAMPLES = (1, 2, 4, 8, 16)
SIDES = (256, 384, 512, 640)
PROMPT = 6  # tokens that ask about a box
APART = "10 calls"

Works = dict[int | str, Work]
Times = Mapping[int | str, Sequence[float]]


class Sweeps:
    """What is timed; a method a sweep, from the value on its axis to the work."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.device, self.vocabulary, self.answer = arguments.device, arguments.vocabulary, arguments.answer
        self.stepper = Stepper(random_decoder(self.vocabulary, self.device), precision=arguments.precision)
        self.memory = random_memory(1, self.device)

    def objects(self) -> Works:
        asked = {n: requests(object_grammar(self.vocabulary, 5 * n + 1), [0]) for n in OBJECTS}
        return {n: answering(self.stepper, self.memory, each) for n, each in asked.items()}

    def boxes(self) -> Works:
        asked = {n: requests(outline_grammar(self.answer), [0] * n, PROMPT) for n in BOXES}
        works: Works = {n: answering(self.stepper, self.memory, each) for n, each in asked.items()}
        return works | {APART: lambda: [works[1]() for _ in range(10)]}

    def samples(self) -> Works:
        asked = {n: requests(outline_grammar(self.answer), [0] * n, PROMPT, temperature=1.0) for n in SAMPLES}
        return {n: answering(self.stepper, self.memory, each) for n, each in asked.items()}

    def sides(self) -> Works:
        asked = requests(object_grammar(self.vocabulary, 5 * 20 + 1), [0])
        return {n: answering(self.stepper, random_memory(1, self.device, n), asked) for n in SIDES}


def fit(times: Times) -> str:
    """Of a line to the medians."""
    medians = [1000 * statistics.median(times[n]) for n in OBJECTS]
    slope, start = np.polyfit(OBJECTS, medians, 1)
    explained = np.corrcoef(OBJECTS, medians)[0, 1] ** 2
    return f"{start:.1f} ms and {slope:.2f} ms an object: R^2 {explained:.4f}"


def together(times: Times) -> str:
    more = [ten - one for ten, one in zip(times[10], times[1], strict=True)]
    whole, rest = ratio(times[10], times[APART]), ratio(more, times[APART])
    return f"10 boxes in one call cost {whole:.2f} of 10 calls, the second to the tenth {rest:.2f}"


def eight(times: Times) -> str:
    return f"8 samples cost {ratio(times[8], times[1]):.2f} times one"


def largest(times: Times) -> str:
    return f"{SIDES[-1]} pixels cost {ratio(times[SIDES[-1]], times[SIDES[0]]):.2f} times {SIDES[0]}"


SUMMARIES: dict[str, Callable[[Times], str]] = {"objects": fit, "boxes": together, "samples": eight, "sides": largest}


def show(name: str, times: Times, console: Console) -> None:
    """One table a sweep, and what it comes to."""
    table = Table(name, *(Column(head, justify="right") for head in ("ms", "least-most", "ms each")))
    for value, taken in times.items():
        each = [1000 * t for t in taken]
        middle = statistics.median(each)
        share = f"{middle / value:.1f}" if isinstance(value, int) and name != "sides" else ""
        table.add_row(str(value), f"{middle:.1f}", f"{min(each):.1f}-{max(each):.1f}", share)
    console.print(table, SUMMARIES[name](times), "", sep="\n")


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--sweeps", nargs="+", choices=SUMMARIES, default=list(SUMMARIES))
    parser.add_argument("--precision", choices=PRECISIONS, default="fp32")
    parser.add_argument("--vocabulary", type=int, default=1_400, help="tokens of the table")
    parser.add_argument("--answer", type=int, default=32, help="tokens of an outline")
    arguments = parser.parse_args()
    begin(arguments)
    console, sweeps, found = Console(), Sweeps(arguments), []
    for name in arguments.sweeps:
        times = by_turns(getattr(sweeps, name)(), arguments.rounds, arguments.device)
        show(name, times, console)
        found.append({"sweep": name, "precision": arguments.precision, "seconds": times})
    write_json(arguments, found)


if __name__ == "__main__":
    main()
