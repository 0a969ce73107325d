"""Decoding in low precision: near the exact numbers, and refused where it cannot be."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from multitask.decoding import linears
from multitask.decoding.generation import Request, generate
from multitask.decoding.linears import INT8_ROWS, PACKED_ROWS, PRECISIONS, pick_precision, prepared
from multitask.decoding.stepping import Stepper
from multitask.errors import UsageError

from .test_generation import EOS, GREEDY, cycle, memory_of, prompt

ERROR = {"fp32": 1e-5, "bf16": 0.02, "int8": 0.03}  # of the largest output
ROWS = (1, 3, PACKED_ROWS, INT8_ROWS, INT8_ROWS + 1, 100)


@pytest.fixture
def layer() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(64, 96)


@pytest.mark.parametrize("gelu", [False, True])
@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("precision", PRECISIONS)
@torch.inference_mode()
def test_near_the_layer_for_few_and_many_rows(layer, precision, rows, gelu):
    x = torch.randn(rows, 64)
    expected = F.gelu(layer(x)) if gelu else layer(x)
    found = prepared(layer, precision, gelu)(x).float()
    error = float((found - expected).abs().max() / expected.abs().max())
    assert error < ERROR[precision]
    assert precision == "fp32" or error > 1e-5  # it did round


@pytest.mark.parametrize("inputs", [7, 20, 40, 250])
@pytest.mark.parametrize("precision", PRECISIONS)
@torch.inference_mode()
def test_sizes_that_no_kernel_is_made_for(precision, inputs):
    torch.manual_seed(0)
    layer, x = nn.Linear(inputs, 11), torch.randn(3, inputs)
    torch.testing.assert_close(prepared(layer, precision)(x).float(), layer(x), atol=0.05, rtol=0)


@torch.inference_mode()
def test_without_the_private_functions_the_public_ones_do(layer, monkeypatch):
    monkeypatch.setattr(linears, "_packs", lambda dtype: False)
    x = torch.randn(8, 64)
    for precision in ("fp32", "bf16"):
        found = prepared(layer, precision)
        assert isinstance(found, linears.Plain)
        torch.testing.assert_close(found(x).float(), layer(x), atol=ERROR[precision] * 3, rtol=0)


@torch.inference_mode()
def test_a_channel_of_zeros_stays_one(layer):
    layer.weight[3] = 0
    torch.testing.assert_close(prepared(layer, "int8")(torch.randn(2, 64))[:, 3], layer.bias[3].expand(2))


def test_int8_is_refused_where_there_is_no_kernel(layer, monkeypatch):
    monkeypatch.delattr(torch, "_weight_int8pack_mm")
    with pytest.raises(UsageError, match="no int8 kernel for this CPU: use fp32 or bf16"):
        prepared(layer, "int8")
    with pytest.raises(UsageError, match="int8 is for the CPU, and the model runs on meta"):
        prepared(layer.to("meta"), "int8")


def test_precisions_by_name():
    assert [pick_precision(name) for name in PRECISIONS] == list(PRECISIONS)
    with pytest.raises(UsageError, match=r"--precision int4: there is fp32, bf16 and int8"):
        pick_precision("int4")


@pytest.mark.parametrize("precision", ["bf16", "int8"])
def test_decoding_in_low_precision_stays_near(make_tiny, precision):
    model, memory = make_tiny(), memory_of(4)
    requests = [Request(prompt(1 + 5 * (n % 2), n), cycle(), GREEDY, n % 4, n) for n in range(24)]
    exact = generate(Stepper(model.decoder), memory, requests, EOS)
    found = generate(Stepper(model.decoder, precision), memory, requests, EOS)
    first = [(a.logprobs[0], b.logprobs[0]) for a, b in zip(exact, found, strict=True)]
    assert max(abs(a - b) for a, b in first) < 0.05
    assert any(a != b for a, b in first)
    same = [a.tokens[0] == b.tokens[0] for a, b in zip(exact, found, strict=True)]
    assert sum(same) >= 20
