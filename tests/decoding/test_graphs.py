"""Steps of unchanging shape; there is no GPU here, so that a plain call stands in for the captured graph."""

from __future__ import annotations

import pytest
import torch

from multitask.decoding.generation import generate
from multitask.decoding.graphs import GraphStepper
from multitask.decoding.stepping import Stepper

from .test_generation import DECODINGS, EOS, GREEDY, memory_of, mixed, same


def plainly(self, tokens, cache):
    """In place of a capture: the step itself, with the position in a tensor."""
    place = torch.tensor([0])
    return lambda fed, position: self.step_at(fed, place.fill_(position), cache)


@pytest.mark.parametrize("decoding", [GREEDY, DECODINGS[0]], ids=["greedy", "drawn"])
@pytest.mark.parametrize("padded", [False, True])
def test_the_answers_are_the_same(tiny, monkeypatch, padded, decoding):
    monkeypatch.setattr(GraphStepper, "capture", plainly)
    valid = torch.arange(16) < torch.tensor([[16], [7], [2]]) if padded else None
    memory, requests = memory_of(3, valid), mixed(3, decoding)
    plain, captured = Stepper(tiny.decoder), GraphStepper(tiny.decoder)
    expected = generate(plain, memory, requests, EOS)
    for one, other in zip(generate(captured, memory, requests, EOS), expected, strict=True):
        same(one, other)
    assert captured.counts == plain.counts


def test_what_is_not_written_yet_is_not_looked_at(tiny, monkeypatch):
    monkeypatch.setattr(GraphStepper, "capture", plainly)
    stepper, tokens = GraphStepper(tiny.decoder), torch.tensor([[3], [4]])
    cache = stepper.start(memory_of(2), [0, 1], 9)
    cache.past.fill_(torch.nan)
    with torch.no_grad():
        hidden = [stepper.step(tokens, cache) for _ in range(9)]
        expected = tiny.decoder(tokens.expand(2, 9), memory_of(2))
    torch.testing.assert_close(torch.cat(hidden, 1), expected, atol=1e-4, rtol=0)


def test_without_a_gpu_it_goes_on_plainly_and_says_so_once(tiny, caplog):
    memory, requests = memory_of(3), mixed()
    stepper = GraphStepper(tiny.decoder)
    for one, other in zip(
        generate(stepper, memory, requests, EOS), generate(Stepper(tiny.decoder), memory, requests, EOS), strict=True
    ):
        same(one, other)
    assert [record.message.split(":")[0] for record in caplog.records] == ["decoding goes on without CUDA graphs"]
