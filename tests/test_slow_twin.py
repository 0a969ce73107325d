"""Every task decodes the tokens that decoding its questions one by one, without a cache, gives."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from multitask.annotations import Boxes
from multitask.decoding import generation
from multitask.decoding.generation import Request, generate
from multitask.decoding.stepping import Stepper
from multitask.model.encoder_decoder import EncoderDecoder
from multitask.task import Decoding, Task
from multitask.testing import SIDE

from .decoding.test_generation import check, reference, stay
from .test_passes import ALL, VOCAB, four_tasks, model, places

__all__ = ["model"]  # a fixture
IMAGES = 3
BOXES = {"boxes": Boxes(places(4), ("figure", "disc", "disc", "figure"))}
DECODINGS = {"greedy": Decoding(), "drawn": Decoding(temperature=0.7, top_p=0.9, samples=2)}


def questions(tasks: list[Task], decoding: Decoding) -> list[Request]:
    """All that the tasks ask about each image: once, and a second time where two samples are asked for."""
    return [
        Request(query.prompt, task.grammar(query, VOCAB), decoding, image, (task.name, image, number, sample))
        for task in tasks
        for image in range(IMAGES)
        for number, query in enumerate(task.queries(BOXES, VOCAB))
        for sample in range(decoding.samples)
    ]


@pytest.mark.parametrize("compacted", [True, False])
@pytest.mark.parametrize("decoding", DECODINGS.values(), ids=DECODINGS)
@pytest.mark.parametrize("names", [*((name,) for name in ALL), ALL], ids="+".join)
@torch.inference_mode()
def test_tokens_are_those_of_the_slow_twin(model: EncoderDecoder, names, decoding, compacted, monkeypatch) -> None:
    if not compacted:
        monkeypatch.setattr(generation._Rows, "_leave", stay)
    tasks = four_tasks()
    requests = questions([tasks[name] for name in names], decoding)
    generator = torch.Generator().manual_seed(2)
    memory = model.encode(torch.rand(IMAGES, 3, SIDE, SIDE, generator=generator))
    expected = [reference(model, memory, request) for request in requests]
    stepper = Stepper(model.decoder)
    for size in (1, 8, len(requests)):
        batches = np.array_split(np.arange(len(requests)), -(-len(requests) // size))
        found = [d for batch in batches for d in generate(stepper, memory, [requests[n] for n in batch], VOCAB.eos)]
        for one, steps in zip(found, expected, strict=True):
            check(one, steps)
