from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from multitask.model.loss import gaussian_kernel, sequence_loss, token_loss

VOCAB, COORDINATES = 30, range(5, 21)


def naive(logits, targets, weights, coordinates=None, sigma=0.0):
    """Position by position and class by class, in float64."""
    total = weight_sum = 0.0
    for scores, target, weight in zip(logits.flatten(0, -2), targets.flatten(), weights.flatten(), strict=True):
        target, weight = int(target), float(weight)
        share = {target: 1.0}
        if sigma > 0 and coordinates and target in coordinates:
            share = {each: math.exp(-((each - target) ** 2) / (2 * sigma**2)) for each in coordinates}
        log_probs = scores.double().log_softmax(-1)
        loss = -sum(part * float(log_probs[each]) for each, part in share.items()) / sum(share.values())
        total, weight_sum = total + weight * loss, weight_sum + weight
    return total / (weight_sum + 1e-9)


def batch(seed, rows=3, length=7):
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(rows, length, VOCAB, generator=generator)
    targets = torch.randint(VOCAB, (rows, length), generator=generator)
    weights = torch.rand(rows, length, generator=generator) * (torch.rand(rows, length, generator=generator) > 0.4)
    return logits, targets, weights


@settings(derandomize=True, deadline=None, max_examples=30)
@given(seed=st.integers(0, 10**6), sigma=st.sampled_from([0.0, 0.3, 1.0, 4.0, 100.0]))
def test_equals_the_naive_loss(seed, sigma):
    logits, targets, weights = batch(seed)
    loss = token_loss(logits, targets, weights, COORDINATES, sigma)
    assert loss.dtype == torch.float32
    assert float(loss) == pytest.approx(naive(logits, targets, weights, COORDINATES, sigma), abs=1e-4)


def test_without_coordinates_sigma_has_no_effect():
    logits, targets, weights = batch(0)
    assert torch.equal(token_loss(logits, targets, weights, None, 2.0), token_loss(logits, targets, weights))


def test_sigma_leaves_other_targets_alone():
    logits, targets, weights = batch(1)
    targets = targets.clamp(max=4)
    assert torch.equal(token_loss(logits, targets, weights, COORDINATES, 2.0), token_loss(logits, targets, weights))


@pytest.mark.parametrize("sigma", [0.0, 1.5])
def test_gradients_equal_those_of_soft_targets(sigma):
    logits, targets, weights = batch(2)
    logits.requires_grad_()
    token_loss(logits, targets, weights, COORDINATES, sigma).backward()
    soft = torch.nn.functional.one_hot(targets, VOCAB).float()
    if sigma:
        inside = (targets >= COORDINATES.start) & (targets < COORDINATES.stop)
        soft[inside] = 0
        distance = torch.arange(COORDINATES.start, COORDINATES.stop) - targets[inside][:, None]
        soft[inside, COORDINATES.start : COORDINATES.stop] = (-distance.square() / (2 * sigma**2)).softmax(1)
    expected = (logits.detach().softmax(-1) - soft) * weights[..., None] / weights.sum()
    torch.testing.assert_close(logits.grad, expected, atol=1e-6, rtol=0)


def test_positions_without_weight_cost_nothing_and_cannot_spoil_the_loss():
    logits, targets, weights = batch(3)
    expected = token_loss(logits, targets, weights)
    logits[weights == 0] = float("nan")
    assert torch.equal(token_loss(logits, targets, weights), expected)


@pytest.mark.parametrize("sigma", [0.0, 2.0])
def test_a_batch_without_weight_has_loss_and_gradient_zero(sigma):
    logits, targets, _ = batch(4)
    logits.requires_grad_()
    loss = token_loss(logits, targets, torch.zeros(3, 7), COORDINATES, sigma)
    loss.backward()
    assert loss.item() == 0
    assert logits.grad.abs().max() == 0


@pytest.mark.parametrize("sigma", [0.0, 2.0])
def test_bfloat16_logits_are_summed_in_float32(sigma):
    logits, targets, weights = batch(5)
    logits = logits.bfloat16()
    loss = token_loss(logits, targets, weights, COORDINATES, sigma)
    torch.testing.assert_close(loss, token_loss(logits.float(), targets, weights, COORDINATES, sigma))


def test_sequence_loss_asks_only_for_logits_that_count():
    _, targets, weights = batch(6)
    hidden, table = torch.randn(3, 7, 8), torch.randn(VOCAB, 8)
    asked = []

    def logits(states):
        asked.append(tuple(states.shape))
        return states @ table.T

    loss = sequence_loss(hidden, logits, targets, weights, COORDINATES, 1.0)
    torch.testing.assert_close(loss, token_loss(hidden @ table.T, targets, weights, COORDINATES, 1.0))
    assert asked == [(0, 8), (int((weights > 0).sum()), 8)]  # first, how many scores there are


def test_kernel_rows_are_distributions_about_their_bin_even_at_the_ends():
    kernel = gaussian_kernel(50, 3.0)
    torch.testing.assert_close(kernel.sum(1), torch.ones(50))
    assert kernel.argmax(1).tolist() == list(range(50))
    assert kernel[0, 3] / kernel[0, 0] == pytest.approx(math.exp(-0.5), rel=1e-5)
    torch.testing.assert_close(kernel, kernel.flip(0, 1))


def test_a_kernel_made_while_evaluating_serves_training():
    logits, targets, weights = batch(7)
    with torch.inference_mode():
        token_loss(logits, targets, weights, COORDINATES, 1.234)
    logits.requires_grad_()
    token_loss(logits, targets, weights, COORDINATES, 1.234).backward()
    assert logits.grad.isfinite().all()
