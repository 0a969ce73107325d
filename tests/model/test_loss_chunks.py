from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from multitask.model import loss as loss_module
from multitask.model.loss import leaves, sequence_loss, token_loss

ROOT = Path(__file__).parents[2]
VOCAB, COORDINATES = 30, range(5, 21)


class Case:
    """Hidden states of 3 x 9 positions, four of them without weight, and the table that scores them."""

    def __init__(self):
        generator = torch.Generator().manual_seed(0)
        self.hidden = torch.randn(3, 9, 8, generator=generator).requires_grad_()
        self.table = torch.randn(VOCAB, 8, generator=generator).requires_grad_()
        self.bias = torch.randn(VOCAB, generator=generator).requires_grad_()
        self.targets = torch.randint(VOCAB, (3, 9), generator=generator)
        self.weights = torch.rand(3, 9, generator=generator) + 0.1
        self.weights[:2, :2] = 0
        self.asked = []

    def logits(self, states):
        self.asked.append(len(states))
        return F.linear(states, self.table, self.bias)

    def gradients(self, loss):
        return torch.autograd.grad(2 * loss, (self.hidden, self.table, self.bias))

    def loss(self, sigma, total=None):
        return sequence_loss(self.hidden, self.logits, self.targets, self.weights, COORDINATES, sigma, total)

    def reference(self, sigma, total=None):
        return token_loss(self.logits(self.hidden), self.targets, self.weights, COORDINATES, sigma, total)


@pytest.fixture
def case():
    return Case()


@pytest.mark.parametrize("sigma", [0.0, 2.0])
@pytest.mark.parametrize("total", [None, 100.0])
@pytest.mark.parametrize("chunk", [1, 4 * VOCAB, 22 * VOCAB])
def test_chunks_give_the_loss_and_the_gradients_of_the_whole(case, monkeypatch, sigma, total, chunk):
    monkeypatch.setattr(loss_module, "CHUNK", chunk)
    loss, expected = case.loss(sigma, total), case.reference(sigma, total)
    assert max(case.asked[:-1]) == max(1, chunk // VOCAB)
    torch.testing.assert_close(loss, expected, atol=1e-6, rtol=0)
    for actual, wanted in zip(case.gradients(loss), case.gradients(expected), strict=True):
        torch.testing.assert_close(actual, wanted, atol=1e-6, rtol=1e-5)


def test_what_fits_in_one_chunk_is_computed_at_once(case):
    assert torch.equal(case.loss(2.0), case.reference(2.0))
    assert case.asked[:2] == [0, 23]


def test_without_gradients_the_chunks_are_the_same(case, monkeypatch):
    expected = case.reference(2.0)
    monkeypatch.setattr(loss_module, "CHUNK", 4 * VOCAB)
    with torch.inference_mode():
        torch.testing.assert_close(case.loss(2.0), expected.detach())
    assert not case.loss(2.0).isnan()


def test_chunks_under_autocast_are_those_of_the_whole_under_autocast(case, monkeypatch):
    with torch.autocast("cpu", torch.bfloat16):
        expected = case.reference(2.0)
        monkeypatch.setattr(loss_module, "CHUNK", 4 * VOCAB)
        loss = case.loss(2.0)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, expected, atol=1e-5, rtol=0)
    for actual, wanted in zip(case.gradients(loss), case.gradients(expected), strict=True):
        assert actual.dtype == wanted.dtype
        torch.testing.assert_close(actual, wanted, atol=2e-3, rtol=0.02)


@pytest.mark.parametrize("chunk", [4 * VOCAB, 2**22])
def test_losses_of_parts_over_the_total_add_up(case, monkeypatch, chunk):
    monkeypatch.setattr(loss_module, "CHUNK", chunk)
    total = case.weights.sum()
    rows = zip(case.hidden.split(1), case.targets.split(1), case.weights.split(1), strict=True)
    parts = [sequence_loss(h, case.logits, t, w, total=total) for h, t, w in rows]
    torch.testing.assert_close(torch.stack(parts).sum(), case.reference(0.0))


def test_the_parameters_behind_a_tensor_are_found_once_each(case):
    made = (case.table.square() @ case.table.T).sum() + case.bias.sum()
    assert {id(each) for each in leaves(made)} == {id(case.table), id(case.bias)}
    assert len(leaves(made)) == 2
    assert leaves(torch.zeros(2)) == []


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
def test_a_large_vocabulary_needs_a_quarter_of_the_memory():
    command = [sys.executable, "benchmarks/loss_memory.py", "--json", "--rows", "2", "--dim", "32", "--rounds", "1"]
    exact = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}  # what is freed counts no more
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, env={**os.environ, **exact})
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout)
    assert found["chunked"]["megabytes"] < found["naive"]["megabytes"] / 4
    assert found["difference"] < 1e-6
    assert found["gradient difference"] < 1e-5
