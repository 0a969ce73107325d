"""How fast are answers decoded? Against `generate` of transformers, and against the bare matrix products.

    python benchmarks/decode.py
    python benchmarks/decode.py --vocabulary 1400 --tokens 101 --batch 1 8 --precision fp32 --rounds 7
    python benchmarks/decode.py --vocabulary 1400 --tokens 101 --profile

A decoder of one shape (6 layers of width 256, 8 heads) with random weights writes objects about given image tokens of
a ViT-S/16 at 384 pixels: each row of a batch has an image of its own, and nothing is encoded. By turns with it run

- `transformers`: the `generate` of a `VisionEncoderDecoderModel` with a decoder of that shape and its cache, greedy.
  From features of a ViT-S, 384 wide, it projects all of them to the decoder's width again at each step; `projected`
  is the same library given features that are as wide as the decoder, which need not be;
- `bare`: the matrix products that such a decode must make, and nothing else.

Prints medians over rounds: tokens per second, with the least and the most, milliseconds a step and an image, and the
speed relative to each peer's in the same round: to transformers in fp32, to the bare products in the same precision.
Needs the extra `bench`, and all of it a quarter of an hour or more. With `--profile` prints what our time goes to. On a
machine that does other things, too, use `--threads 1`: threads that wait for each other measure those.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
from collections import defaultdict
from collections.abc import Sequence
from itertools import product
from typing import Any, NamedTuple

os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # read when torch is loaded: the profiler keeps quiet

import torch
from decoding_peers import VIT_S, bare, library
from decoding_setup import (
    DIM,
    Work,
    answering,
    begin,
    by_turns,
    make_parser,
    object_grammar,
    random_decoder,
    random_memory,
    ratio,
    requests,
    seconds,
    write_json,
)
from rich.console import Console
from rich.table import Column, Table
from torch.profiler import ProfilerActivity, profile

from multitask.decoding.linears import PRECISIONS
from multitask.decoding.stepping import Stepper

WIDTHS = {"transformers": VIT_S, "projected": DIM}  # of the features that the library is given
PEERS = (*WIDTHS, "bare")
KINDS = {  # of operations, by the first pattern that their name fits
    "linears": r"addmm|::mm$|::linear|int8pack|mkldnn",
    "attention": r"bmm|matmul|::_softmax|attention",
    "norms, GELU, sums": r"layer_norm|gelu|::add_?$",
    "views": r"view|reshape|::t$|transpose|permute|expand|slice|select$|narrow|unsqueeze|squeeze|strided|split|unbind",
    "drawing, tables, copies": "",
}


class Contestant(NamedTuple):
    """Who decodes, and in which precision."""

    name: str
    precision: str


class Case(NamedTuple):
    """What is decoded: so many tokens for each of so many images."""

    vocabulary: int
    tokens: int
    batch: int


def contestants(case: Case, arguments: argparse.Namespace) -> dict[Contestant, Work]:
    """Works of ours and of the peers in each of the precisions that they have."""
    device, works = arguments.device, {}
    decoder, memory = random_decoder(case.vocabulary, device), random_memory(case.batch, device)
    asked = requests(object_grammar(case.vocabulary, case.tokens), range(case.batch))
    for precision in arguments.precision:
        stepper = Stepper(decoder, precision=precision)
        works[Contestant("ours", precision)] = answering(stepper, memory, asked)
        if "bare" in arguments.peers:
            works[Contestant("bare", precision)] = bare(stepper, memory, case.tokens)
    dtypes = {"fp32": torch.float32, "bf16": torch.bfloat16}
    for name, precision in product(WIDTHS, dtypes):
        if name in arguments.peers and precision in arguments.precision:
            works[Contestant(name, precision)] = library(*case, WIDTHS[name], dtypes[precision], device)
    return works


def results(case: Case, times: dict[Contestant, list[float]]) -> list[dict[str, Any]]:
    """Medians, and speeds relative to the peers'."""
    found = []
    for who, taken in times.items():
        rates = [case.batch * case.tokens / t for t in taken]
        row = {**case._asdict(), **who._asdict(), "seconds": taken}
        row |= {"tokens_per_second": statistics.median(rates), "least": min(rates), "most": max(rates)}
        row |= {"ms_per_step": 1000 * statistics.median(taken) / case.tokens}
        row |= {"ms_per_image": 1000 * statistics.median(taken) / case.batch}
        against = {**{name: Contestant(name, "fp32") for name in WIDTHS}, "bare": Contestant("bare", who.precision)}
        row |= {f"over_{name}": ratio(times[peer], taken) for name, peer in against.items() if peer in times}
        found.append(row)
    return found


def show(case: Case, found: Sequence[dict[str, Any]], console: Console) -> None:
    """One table a case."""
    title = f"vocabulary {case.vocabulary}, {case.tokens} tokens, batch {case.batch}"
    heads = ("tokens/s", "least-most", "ms/step", "ms/image", *(f"/{name}" for name in PEERS))
    table = Table("", *(Column(head, justify="right") for head in heads), title=title)
    for row in found:
        ratios = [f"{row[key]:.2f}" if (key := f"over_{name}") in row else "" for name in PEERS]
        spread = f"{row['least']:.0f}-{row['most']:.0f}"
        rates = f"{row['tokens_per_second']:.0f}", spread, f"{row['ms_per_step']:.2f}", f"{row['ms_per_image']:.0f}"
        table.add_row(f"{row['name']} {row['precision']}", *rates, *ratios)
    console.print(table)


def kind(operation: str) -> str:
    """Which of KINDS it is."""
    return next(name for name, pattern in KINDS.items() if re.search(pattern, operation))


def show_profile(case: Case, who: Contestant, work: Work, console: Console) -> None:
    """Time of the processor by kind of operation, and the operations that take most of it."""
    work()
    with profile(activities=[ProfilerActivity.CPU]) as record:
        total = 1e6 * seconds(work, torch.device("cpu"))
    spent: dict[str, float] = defaultdict(float)
    parts: dict[str, list[str]] = defaultdict(list)
    for event in sorted(record.key_averages(), key=lambda event: -event.self_cpu_time_total):
        spent[kind(event.key)] += event.self_cpu_time_total
        parts[kind(event.key)].append(f"{event.key.removeprefix('aten::')} x {event.count / case.tokens:.1f}")
    spent["host: Python, between operations"] = total - sum(spent.values())
    title = f"{who.name} {who.precision}: a step under the profiler, which slows small operations"
    table = Table("", "ms", "share", "most of it, and how often a step", title=title)
    for name, time in sorted(spent.items(), key=lambda item: -item[1]):
        table.add_row(name, f"{time / 1000 / case.tokens:.3f}", f"{time / total:.0%}", ", ".join(parts[name][:4]))
    console.print(table)


def main() -> None:
    parser = make_parser(__doc__)
    parser.add_argument("--tokens", type=int, nargs="+", default=[101, 500], help="of an answer")
    parser.add_argument("--batch", type=int, nargs="+", default=[1, 8], help="images")
    parser.add_argument("--vocabulary", type=int, nargs="+", default=[1_400, 35_000], help="tokens of the table")
    parser.add_argument("--precision", nargs="+", choices=PRECISIONS, help="all that the device has if left out")
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=list(PEERS))
    parser.add_argument("--profile", action="store_true", help="also print where our time goes")
    arguments = parser.parse_args()
    there = PRECISIONS if arguments.device.type == "cpu" else ("fp32", "bf16")
    arguments.precision = arguments.precision or there
    begin(arguments)
    console, found = Console(width=110), []
    for case in map(Case._make, product(arguments.vocabulary, arguments.tokens, arguments.batch)):
        works = contestants(case, arguments)
        found += results(case, by_turns(works, arguments.rounds, arguments.device))
        show(case, found[-len(works) :], console)
        for who, work in works.items():
            if arguments.profile and who.name == "ours":
                show_profile(case, who, work, console)
    write_json(arguments, found)


if __name__ == "__main__":
    main()
