from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from multitask.decoding.stepping import Stepper
from multitask.errors import UsageError
from multitask.model.decoder import Memory
from multitask.model.row_groups import RowGroups

VOCAB = 50


def close(actual, expected, tolerance=1e-4):
    torch.testing.assert_close(actual, expected, atol=tolerance, rtol=0)


def memory_of(images, valid=None):
    return Memory(torch.randn(images, 16, 32, generator=torch.Generator().manual_seed(1)), valid)


def tokens_of(rows, length, seed=2):
    return torch.randint(VOCAB, (rows, length), generator=torch.Generator().manual_seed(seed))


def full_greedy(decoder, prompts, memory, rows, steps):
    """The slow reference: every step decodes the whole sequence again, each row with its own copy of the image."""
    memory = Memory(memory.tokens[rows], None if memory.valid is None else memory.valid[rows])
    sequence, logits = prompts, []
    for _ in range(steps):
        logits.append(decoder.logits(decoder(sequence, memory))[:, -1])
        sequence = torch.cat([sequence, logits[-1].argmax(-1, keepdim=True)], 1)
    return sequence[:, prompts.shape[1] :], torch.stack(logits, 1)


def cached_greedy(decoder, prompts, memory, rows, steps):
    stepper = Stepper(decoder)
    rows = range(len(prompts)) if rows is None else rows.tolist()
    cache = stepper.start(memory, rows, prompts.shape[1] + steps)
    tokens, chosen, logits = prompts, [], []
    for _ in range(steps):
        logits.append(decoder.logits(stepper.step(tokens, cache)[:, -1]))
        tokens = logits[-1].argmax(-1, keepdim=True)
        chosen.append(tokens)
    return torch.cat(chosen, 1), torch.stack(logits, 1)


ROWS = {
    "one each": [0, 1, 2],
    "three each": [0, 0, 0, 1, 1, 1, 2, 2, 2],
    "shuffled": [2, 0, 2, 1, 2],
    "one image unused": [0, 2, 2],
    "as many rows as images": [1, 1, 0],
}


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("prompt", [1, 6])
@pytest.mark.parametrize("rows", ROWS.values(), ids=ROWS)
@torch.no_grad()
def test_cached_decoding_equals_full_decoding(tiny, rows, prompt, padded):
    valid = torch.arange(16) < torch.tensor([[16], [7], [1]]) if padded else None
    memory, rows = memory_of(3, valid), torch.tensor(rows)
    prompts = tokens_of(len(rows), prompt)
    expected_tokens, expected_logits = full_greedy(tiny.decoder, prompts, memory, rows, 20)
    tokens, logits = cached_greedy(tiny.decoder, prompts, memory, rows, 20)
    assert tokens.tolist() == expected_tokens.tolist()
    close(logits, expected_logits)


@torch.no_grad()
def test_a_batch_equals_its_members_alone(tiny):
    memory, prompts = memory_of(8), tokens_of(8, 3)
    together, _ = cached_greedy(tiny.decoder, prompts, memory, None, 25)
    for row in range(8):
        alone = Memory(memory.tokens[row : row + 1])
        tokens, _ = cached_greedy(tiny.decoder, prompts[row : row + 1], alone, None, 25)
        assert tokens[0].tolist() == together[row].tolist()


@torch.no_grad()
@settings(derandomize=True, deadline=None, max_examples=25)
@given(cuts=st.lists(st.integers(1, 5), min_size=1, max_size=6))
def test_steps_of_any_size_equal_one_pass(tiny_for_hypothesis, cuts):
    decoder, memory = tiny_for_hypothesis.decoder, memory_of(2)
    rows, tokens = torch.tensor([1, 0, 1]), tokens_of(3, sum(cuts))
    stepper = Stepper(decoder)
    cache = stepper.start(memory, rows.tolist())
    hidden = [stepper.step(part, cache) for part in tokens.split(cuts, dim=1)]
    close(torch.cat(hidden, 1), decoder(tokens, memory, rows))


@pytest.fixture(scope="module")
def tiny_for_hypothesis(make_tiny):
    return make_tiny()


@pytest.mark.parametrize("kept", [[0, 3], [4], [2, 1], [0, 1, 2, 3, 4], [3, 0, 3, 3, 4]])
@torch.no_grad()
def test_kept_rows_go_on_as_before(tiny, kept):
    memory, rows, tokens = memory_of(3), torch.tensor([0, 0, 2, 2, 1]), tokens_of(5, 9)
    expected = tiny.decoder(tokens, memory, rows)[:, 5:]
    stepper = Stepper(tiny.decoder)
    cache = stepper.start(memory, rows.tolist(), 9)
    stepper.step(tokens[:, :5], cache)
    cache = cache.take(kept)
    close(stepper.step(tokens[kept, 5:], cache), expected[kept])
    assert cache.images[0].shape[1] == len(rows[kept].unique())


@torch.no_grad()
def test_rows_kept_twice_and_padded_images(tiny):
    memory, tokens = memory_of(4, torch.arange(16) < torch.tensor([[16], [3], [9], [12]])), tokens_of(4, 6)
    expected = tiny.decoder(tokens, memory)
    stepper = Stepper(tiny.decoder)
    cache = stepper.start(memory, range(4))
    stepper.step(tokens[:, :2], cache)
    cache = cache.take([0, 2, 3])
    stepper.step(tokens[[0, 2, 3], 2:4], cache)
    cache = cache.take([2])
    close(stepper.step(tokens[3:, 4:], cache), expected[3:, 4:])


@torch.no_grad()
def test_positions_do_not_see_the_future(tiny):
    memory, tokens = memory_of(1), tokens_of(1, 12)
    changed = tokens.clone()
    changed[0, 7] = (changed[0, 7] + 1) % VOCAB
    before, after = tiny.decoder(tokens, memory), tiny.decoder(changed, memory)
    close(before[:, :7], after[:, :7], 1e-6)
    assert (before[:, 7:] - after[:, 7:]).abs().amax(2).min() > 1e-3


@torch.no_grad()
def test_padding_is_not_looked_at(tiny):
    valid = torch.arange(16)[None] < 5
    memory, tokens = memory_of(1, valid), tokens_of(1, 4)
    other = Memory(memory.tokens.masked_fill(~valid[..., None], 7.0), valid)
    short = Memory(memory.tokens[:, :5])
    close(tiny.decoder(tokens, memory), tiny.decoder(tokens, other), 1e-6)
    close(tiny.decoder(tokens, memory), tiny.decoder(tokens, short), 1e-5)


@torch.no_grad()
def test_logits_of_some_tokens_are_columns_of_all(tiny):
    hidden, ids = torch.randn(3, 2, 32), torch.tensor([4, 49, 0])
    close(tiny.decoder.logits(hidden, ids), tiny.decoder.logits(hidden)[..., ids], 1e-6)
    expected = hidden @ tiny.decoder.embedding.T + tiny.decoder.output_bias
    close(tiny.decoder.logits(hidden), expected, 1e-5)


def test_gradients_of_shared_images_equal_those_of_copies(tiny):
    rows, tokens = torch.tensor([1, 0, 1, 1]), tokens_of(4, 5)
    shared = memory_of(2).tokens.requires_grad_()
    tiny.decoder(tokens, Memory(shared), rows).square().sum().backward()
    copied = memory_of(2).tokens.requires_grad_()
    tiny.decoder(tokens, Memory(copied[rows])).square().sum().backward()
    close(shared.grad, copied.grad, 1e-3)


def test_too_long_a_sequence_is_refused_by_name(tiny):
    with pytest.raises(UsageError, match=r"33 positions needs model\.decoder\.max_length 33, not 32"):
        tiny.decoder(tokens_of(1, 33), memory_of(1))
    with pytest.raises(UsageError, match="max_length"):
        Stepper(tiny.decoder).start(memory_of(1), [0], 33)


@settings(derandomize=True, deadline=None)
@given(rows=st.lists(st.integers(0, 4), min_size=1, max_size=30), bunched=st.booleans())
def test_rows_meet_their_images_and_come_back(rows, bunched):
    groups = RowGroups.of(rows, 5, torch.device("cpu"), bunched)
    if groups is None:
        assert rows == [0, 1, 2, 3, 4]
        return
    x, met = torch.randn(len(rows), 3, 2), []

    def attend(found: torch.Tensor, images: slice) -> torch.Tensor:
        places = found.view(images.stop - images.start, -1, 3, 2)
        met.append((images, places))
        return (found.view_as(places) * torch.arange(images.start, images.stop)[:, None, None, None]).view_as(found)

    close(groups.map(attend, x), x * torch.tensor(rows)[:, None, None])
    counts = [rows.count(image) for image in range(5)]
    assert sum(len(places) for _, places in met) >= sum(count > 0 for count in counts)
    for images, places in met:
        most = max(counts[images])
        assert places.shape[1] == most
        assert not bunched or most <= 2 * min(counts[images])


@pytest.mark.parametrize("padded", [False, True])
@torch.no_grad()
def test_weights_are_those_that_the_decoder_looks_with(tiny, padded):
    valid = torch.arange(16) < torch.tensor([[16], [7]]) if padded else None
    memory, tokens, passes = memory_of(2, valid), tokens_of(2, 9), []
    for layer in tiny.decoder.layers:
        layer.cross_attention.register_forward_hook(lambda module, given, out: passes.append((module, *given[:2], out)))
    tiny.decoder(tokens, memory)
    expected = list(passes)
    weights = tiny.decoder.weights(tokens, memory)
    assert weights.shape == (2, 2, 4, 9, 16)
    for (module, x, keys_values, output), own in zip(expected, weights, strict=True):
        seen = (own @ keys_values[1]).transpose(1, 2).reshape(2, 9, 32)
        close(x + module.out(seen), output, 1e-5)
    close(weights.sum(-1), torch.ones(2, 2, 4, 9), 1e-5)
    if padded:
        assert weights[:, 1, ..., 7:].abs().max() == 0 < weights[:, 1, ..., :7].min()
