"""How much memory does the loss of a large vocabulary take, and how long: all logits at once, or chunk by chunk?

    python benchmarks/loss_memory.py
    python benchmarks/loss_memory.py --vocabulary 64000 --rows 16

Takes the loss of random sequences and its gradients in both ways. Prints for each the peak of the resident memory over
what was held before, milliseconds (the best of the rounds), and how far the two losses, and the gradients of the table,
lie apart, relatively. What is given back to the C library goes back to the system at once, so that it counts no more.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from multitask.model.loss import sequence_loss, token_loss

EXACT = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}  # of glibc, read when a process starts


def peak() -> float:
    """Highest resident memory so far, in megabytes; of Linux. (`ru_maxrss` would begin at that of the parent.)"""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 2**10


def measure(loss: Callable[[], Tensor], table: Tensor, rounds: int) -> tuple[float, float, float, Tensor]:
    """Megabytes, milliseconds, the loss and the gradient of `table`."""
    before, seconds = peak(), []
    for _ in range(rounds):
        table.grad = None
        begin = time.perf_counter()
        value = loss()
        value.backward()  # type: ignore[no-untyped-call]
        seconds.append(time.perf_counter() - begin)
    assert table.grad is not None
    return peak() - before, 1000 * min(seconds), value.item(), table.grad


def compare(vocabulary: int, length: int, rows: int, dim: int, rounds: int) -> dict[str, object]:
    """Both ways; chunks go first, since a peak is never forgotten."""
    torch.manual_seed(0)
    table = (0.02 * torch.randn(vocabulary, dim)).requires_grad_()
    hidden = torch.randn(rows, length, dim).requires_grad_()
    targets, weights = torch.randint(vocabulary, (rows, length)), torch.ones(rows, length)

    def logits(states: Tensor) -> Tensor:
        return F.linear(states, table)

    ways = {
        "chunked": lambda: sequence_loss(hidden, logits, targets, weights),
        "naive": lambda: token_loss(logits(hidden), targets, weights),
    }
    found = {name: measure(way, table, rounds) for name, way in ways.items()}
    (_, _, value, gradient), (_, _, expected, wanted) = found["chunked"], found["naive"]
    return {
        **{name: {"megabytes": round(each[0]), "milliseconds": round(each[1])} for name, each in found.items()},
        "difference": abs(value - expected) / expected,
        "gradient difference": ((gradient - wanted).norm() / wanted.norm()).item(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--vocabulary", type=int, default=35_000, help="tokens")
    parser.add_argument("--length", type=int, default=512, help="positions of a sequence")
    parser.add_argument("--rows", type=int, default=4, help="sequences")
    parser.add_argument("--dim", type=int, default=256, help="width of the decoder")
    parser.add_argument("--rounds", type=int, default=2, help="times that each way is taken")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    if not EXACT.items() <= os.environ.items():
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **EXACT})  # noqa: S606  # itself, anew
    found = compare(options.vocabulary, options.length, options.rows, options.dim, options.rounds)
    if options.json:
        print(json.dumps(found))
        return
    for name, value in found.items():
        print(f"{name:20} {value}")


if __name__ == "__main__":
    main()
