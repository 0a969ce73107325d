"""What the benchmarks of decoding share: a decoder of one fixed shape with random weights, questions, and rounds.

The decoder has 6 layers of width 256 with 8 heads and looks at the tokens of a ViT-S/16. Nothing but the number of
tokens that is asked for ends an answer.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from host import machine

from multitask.decoding.generation import Request, generate
from multitask.decoding.stepping import Stepper
from multitask.model.decoder import Decoder, Memory
from multitask.sequence.grammar import Grammar, State
from multitask.sequence.ids import Ids
from multitask.sequence.prompting import Decoding

DIM, DEPTH, HEADS, MLP_DIM, LENGTH = 256, 6, 8, 1024, 512
PATCH, SIDE = 16, 384
EOS, COORDINATES, CLASSES = 1, Ids(((3, 1003),)), Ids(((1003, 1083),))  # and in the last row of the table noise
WINDOW = 3  # bins on each side that the mean is taken over, as tasks do

Key = TypeVar("Key", bound=Hashable)
Work = Callable[[], object]


def random_decoder(vocabulary: int, device: torch.device) -> Decoder:
    """In evaluation mode, the same every time."""
    torch.manual_seed(0)
    return Decoder(vocabulary, DIM, DEPTH, HEADS, MLP_DIM, LENGTH).eval().to(device)


def random_memory(images: int, device: torch.device, side: int = SIDE) -> Memory:
    """Of square images, `side` pixels long."""
    return Memory(torch.randn(images, (side // PATCH) ** 2, DIM, device=device))


def named(vocabulary: int) -> Ids:
    """Classes and noise: what may stand in the fifth place of an object."""
    return CLASSES | Ids.of(vocabulary - 1)


def object_grammar(vocabulary: int, tokens: int) -> Grammar:
    """Four coordinates and a class or noise, again and again, until there are `tokens`."""

    def corner(following: int, not_below: int = 0) -> State:
        return State(((COORDINATES, following),), read=COORDINATES, window=WINDOW, not_below=not_below)

    name = State(((named(vocabulary), 0),), read=CLASSES)
    return Grammar((corner(1), corner(2), corner(3, not_below=2), corner(4, not_below=2), name), tokens)


def outline_grammar(tokens: int) -> Grammar:
    """Coordinates alone, `tokens` of them."""
    return Grammar((State(((COORDINATES, 0),), read=COORDINATES, window=WINDOW),), tokens)


def requests(grammar: Grammar, images: Sequence[int], prompt: int = 1, temperature: float = 0.0) -> list[Request]:
    """A question about each of `images`, with a prompt of `prompt` tokens and noise of its own."""
    tokens, how = np.arange(3, 3 + prompt), Decoding(temperature=temperature)
    return [Request(tokens, grammar, how, image, row) for row, image in enumerate(images)]


def answering(stepper: Stepper, memory: Memory, asked: Sequence[Request]) -> Work:
    """Decode all that is asked in one call."""

    def work() -> None:
        answers = generate(stepper, memory, asked, EOS)
        assert [len(a.tokens) for a in answers] == [r.grammar.max_tokens for r in asked]

    return work


def seconds(work: Work, device: torch.device) -> float:
    """By the clock: waiting counts."""
    begun = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - begun


def by_turns(works: Mapping[Key, Work], rounds: int, device: torch.device) -> dict[Key, list[float]]:
    """Seconds of each work in each round, one after the other: whatever else the machine does meets all."""
    found = [{key: seconds(work, device) for key, work in works.items()} for _ in range(rounds + 1)]
    return {key: [times[key] for times in found[1:]] for key in works}  # the first warms up


def ratio(above: Sequence[float], below: Sequence[float]) -> float:
    """Of times from the same rounds: the median."""
    return statistics.median(a / b for a, b in zip(above, below, strict=True))


def make_parser(description: str | None) -> argparse.ArgumentParser:
    """With the options that both benchmarks have."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", type=torch.device, default=torch.device("cpu"))
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all times there, in seconds")
    return parser


def begin(arguments: argparse.Namespace) -> None:
    """Set the number of threads, and print what the times are taken on."""
    torch.set_num_threads(arguments.threads)
    device = torch.cuda.get_device_name(arguments.device) if arguments.device.type == "cuda" else "cpu"
    print(f"{machine()}; {device}, {arguments.threads} threads, medians of {arguments.rounds} rounds by turns")


def write_json(arguments: argparse.Namespace, found: Sequence[Mapping[str, Any]]) -> None:
    """What was found, where a file is asked for."""
    if arguments.json:
        head = {"machine": machine(), "threads": arguments.threads, "device": str(arguments.device)}
        arguments.json.write_text(json.dumps({**head, "found": found}, indent=1))
