"""Our modules with published weights against the published implementation's numbers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from multitask.decoding.stepping import Stepper
from multitask.model.transformer import position_codes

GOLDEN = Path(__file__).parents[1] / "golden"
CODES = json.loads((GOLDEN / "pos_encoding.json").read_text())


def close(actual, expected, tolerance=1e-4):
    torch.testing.assert_close(actual, expected, atol=tolerance, rtol=0)


def greedy(model, images, prompts, rows, steps):
    """Tokens (R, steps) and the logits (R, steps, V) they were chosen from, by the incremental decoder."""
    stepper = Stepper(model.decoder)
    cache = stepper.start(
        model.encode(images), range(len(prompts)) if rows is None else rows.tolist(), prompts.shape[1] + steps
    )
    tokens, chosen, logits = prompts, [], []
    for _ in range(steps):
        logits.append(model.logits(stepper.step(tokens, cache)[:, -1]))
        tokens = logits[-1].argmax(-1, keepdim=True)
        chosen.append(tokens)
    return torch.cat(chosen, 1), torch.stack(logits, 1)


@torch.no_grad()
def test_encoder_and_bridge(golden):
    close(golden.model.encoder(golden.images).tokens, golden.vit_out)
    close(golden.model.encode(golden.images).tokens, golden.encoded)


@torch.no_grad()
def test_teacher_forced_logits_of_several_sequences_an_image(golden):
    rows = torch.arange(2).repeat_interleave(3)
    close(golden.model(golden.images, golden.seq.flatten(0, 1).long(), rows), golden.logits)


@torch.no_grad()
def test_greedy_decoding(golden):
    tokens, logits = greedy(golden.model, golden.images, golden.greedy_prompt.long(), None, 15)
    assert tokens.tolist() == golden.greedy_seq.tolist()
    close(logits, golden.greedy_logits)


@torch.no_grad()
def test_greedy_decoding_of_two_prompts_an_image(golden):
    prompts, rows = golden.instance_prompt.flatten(0, 1).long(), torch.arange(2).repeat_interleave(2)
    tokens, logits = greedy(golden.model, golden.images, prompts, rows, 8)
    assert tokens.tolist() == golden.instance_greedy_seq.tolist()
    close(logits, golden.instance_greedy_logits)


@pytest.mark.parametrize("case", CODES["cases"], ids=lambda case: f"{case['h']}x{case['w']}x{case['dim']}")
def test_position_codes_of_a_grid(case):
    expected = torch.tensor(case["out"]).reshape(-1, case["dim"])
    close(position_codes((case["h"], case["w"]), case["dim"]), expected, 1e-5)


@pytest.mark.parametrize("case", CODES["one_d"], ids=lambda case: f"{case['len']}x{case['dim']}")
def test_position_codes_of_one_axis(case):
    expected = torch.tensor(case["out"])[0]
    close(position_codes((1, case["len"]), case["dim"]), expected, 1e-5)
    close(position_codes((case["len"], 1), case["dim"]), expected, 1e-5)
