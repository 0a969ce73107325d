from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from multitask.decoding.sampling import Sampler, likely, row_noise
from multitask.sequence.prompting import Decoding

CPU = torch.device("cpu")


def draws(logits: list[float], decoding: Decoding, count: int, position: int = 0) -> np.ndarray:
    """One draw for each of `count` keys."""
    logprobs = torch.tensor(logits).log_softmax(0).expand(count, -1)
    sampler = Sampler([decoding] * count, [("draw", n) for n in range(count)], position + 1, CPU)
    return sampler.draw(logprobs, position).numpy()


def chi_square(found: np.ndarray, probs: np.ndarray) -> float:
    counts, expected = np.bincount(found, minlength=len(probs)), len(found) * probs
    assert not counts[probs == 0].any()
    return float((((counts - expected) ** 2)[probs > 0] / expected[probs > 0]).sum())


LOGITS = [0.3, 2.0, -1.0, 1.2, 0.0, -float("inf")]
CASES = {  # with what is left of the logits, computed by hand
    "as it is": (Decoding(temperature=1.0), [1, 1, 1, 1, 1, 0]),
    "cooler": (Decoding(temperature=0.5), [1, 1, 1, 1, 1, 0]),
    "hotter": (Decoding(temperature=3.0), [1, 1, 1, 1, 1, 0]),
    "best two": (Decoding(temperature=1.0, top_k=2), [0, 1, 0, 1, 0, 0]),
    "nucleus": (Decoding(temperature=1.0, top_p=0.8), [1, 1, 0, 1, 0, 0]),
    "both": (Decoding(temperature=2.0, top_k=4, top_p=0.5), [0, 1, 0, 1, 0, 0]),
}


@pytest.mark.parametrize(("decoding", "kept"), CASES.values(), ids=CASES)
def test_draws_follow_the_tempered_and_cut_distribution(decoding, kept):
    weights = np.exp(np.array(LOGITS) / decoding.temperature) * np.array(kept)
    found = draws(LOGITS, decoding, 20_000)
    assert chi_square(found, weights / weights.sum()) < 20.5  # 99.9 % of the time, with 5 degrees of freedom


def test_temperature_zero_takes_the_best_also_beside_others():
    logprobs = torch.tensor(LOGITS).log_softmax(0).expand(40, -1)
    decodings = [Decoding(temperature=3.0 * (n % 2)) for n in range(40)]
    drawn = Sampler(decodings, list(range(40)), 1, CPU).draw(logprobs, 0).tolist()
    assert drawn[0::2] == [1] * 20
    assert len(set(drawn[1::2])) > 2
    assert draws(LOGITS, Decoding(), 3).tolist() == [1, 1, 1]


def test_an_answer_depends_on_its_key_and_position_alone():
    logprobs = torch.randn(5, 30, generator=torch.Generator().manual_seed(0)).log_softmax(1)
    decoding, keys = Decoding(temperature=1.0), [("image", n) for n in range(5)]
    together = Sampler([decoding] * 5, keys, 8, CPU)
    expected = [together.draw(logprobs, position).tolist() for position in range(8)]
    for row in range(5):
        alone = Sampler([decoding], [keys[row]], 20, CPU)
        found = [int(alone.draw(logprobs[row : row + 1], p)[0]) for p in range(8)]
        assert found == [drawn[row] for drawn in expected]
    assert len({tuple(drawn) for drawn in expected}) > 4
    together.keep(torch.tensor([3, 1]))
    assert together.draw(logprobs[[3, 1]], 6).tolist() == [expected[6][3], expected[6][1]]
    together.keep(torch.tensor([1]))
    assert together.draw(logprobs[[1]], 2).tolist() == [expected[2][1]]


def test_noise_is_uniform_and_independent_of_length_and_of_other_keys():
    noise = row_noise([("a", n) for n in range(200)], 50)
    assert noise.dtype == torch.float64 and noise.shape == (200, 50)
    assert noise.min() >= 0 and noise.max() < 1
    assert abs(noise.mean() - 0.5) < 0.01 and abs(noise.var() - 1 / 12) < 0.005
    assert len(noise.flatten().unique()) == 200 * 50
    assert torch.equal(row_noise([("a", 3)], 9)[0], noise[3, :9])


def test_noise_is_the_same_on_every_machine():
    assert row_noise([(0, "image", "task", (5, 6), 0)], 2)[0].tolist() == pytest.approx(
        [0.5510451597753006, 0.7530529296437294], abs=1e-12
    )


def naive(probs: list[float], top_k: int, top_p: float) -> set[int]:
    kept: list[int] = []
    for token in sorted(range(len(probs)), key=lambda t: -probs[t]):
        if (top_k and len(kept) >= top_k) or sum(probs[t] for t in kept) >= top_p:
            break
        kept.append(token)
    return set(kept)


@settings(derandomize=True, deadline=None, max_examples=100)
@given(
    weights=st.lists(st.integers(0, 64), min_size=1, max_size=8).filter(any),
    settings_=st.lists(st.tuples(st.integers(0, 9), st.integers(1, 16)), min_size=1, max_size=4),
)
def test_the_likely_ones_equal_a_plain_loop(weights, settings_):
    """Probabilities are sixteenths of a power of two apart from rounding, and sums that hit `top_p` exactly are met."""
    total = 2 ** int(np.ceil(np.log2(sum(weights))))
    probs = [w / total for w in weights] + [(total - sum(weights)) / total]
    top_k = torch.tensor([k for k, _ in settings_])
    top_p = torch.tensor([p / 16 for _, p in settings_], dtype=torch.float64)
    found = likely(torch.tensor([probs] * len(settings_), dtype=torch.float64), top_k, top_p)
    for row, (k, p) in zip(found, settings_, strict=True):
        kept = set(row.nonzero()[:, 0].tolist())
        zero = {t for t, q in enumerate(probs) if q == 0}
        assert kept - zero == naive(probs, k, p / 16) - zero


def test_what_is_not_allowed_is_never_drawn():
    logits = [-float("inf"), 0.0, -float("inf"), -30.0, -float("inf")]
    found = draws(logits, Decoding(temperature=100.0), 5000)
    assert set(found.tolist()) == {1, 3}
    assert set(draws(logits, Decoding(temperature=1.0, top_k=5), 5000).tolist()) == {1}


def test_the_smallest_noise_does_not_draw_what_is_not_allowed():
    logprobs = torch.tensor([[-float("inf"), 0.0, 1.0]]).log_softmax(1)
    sampler = Sampler([Decoding(temperature=1.0)], ["key"], 1, CPU)
    sampler.noise.zero_()
    assert sampler.draw(logprobs, 0).tolist() == [1]
