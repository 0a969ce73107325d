"""Differences of two models, with intervals over images."""

from __future__ import annotations

import math

import numpy as np
import pytest

from multitask.comparison import Difference, compare, differences
from multitask.data.scored import Scored
from multitask.data.shapes import ShapesDataset
from multitask.errors import UsageError
from multitask.metric import ExactMatch

DATA = ShapesDataset("val", 1)


def exact(hits, ids=None):
    """A metric that was right about those images."""
    metric = ExactMatch("captions")
    metric.hits = [bool(hit) for hit in hits]
    metric.ids = list(range(len(hits)) if ids is None else ids)
    return metric


def pair(rng, images, share_a, share_b):
    """Two models that are right about mostly the same images."""
    hard = rng.random(images)
    shares = (share_a, share_b)
    return [exact(np.where(rng.random(images) < 0.7, hard, rng.random(images)) < share) for share in shares]


def test_the_interval_holds_the_true_difference():
    rng, held = np.random.default_rng(0), []
    for number in range(500):
        (found,) = differences("say", *pair(rng, 100, 0.6, 0.66), 200, number)
        held.append(found.low <= 0.06 <= found.high)
    assert 0.93 <= np.mean(held) <= 0.98


def test_the_interval_is_that_of_the_normal_distribution_where_images_are_many():
    rng = np.random.default_rng(1)
    a, b = pair(rng, 2000, 0.5, 0.6)
    (found,) = differences("say", a, b, 2000, 0)
    steps = np.array(b.hits, dtype=float) - np.array(a.hits, dtype=float)
    half = 1.96 * steps.std() / math.sqrt(2000)
    assert (found.a, found.b) == (np.mean(a.hits), np.mean(b.hits))
    assert found.low == pytest.approx(steps.mean() - half, abs=0.15 * half)
    assert found.high == pytest.approx(steps.mean() + half, abs=0.15 * half)
    assert found.difference == pytest.approx(steps.mean()) and found.verdict == "B is higher"


def test_few_images_give_a_wider_interval_than_the_percentiles():
    a, b = exact([0, 0, 0, 0, 1, 1, 0, 1]), exact([1, 0, 1, 0, 1, 0, 1, 1])
    (found,) = differences("say", a, b, 4000, 0)
    rng, steps = np.random.default_rng(0), np.array(b.hits, dtype=float) - np.array(a.hits, dtype=float)
    draws = [steps[rng.integers(8, size=8)].mean() for _ in range(4000)]
    low, high = np.quantile(draws, [0.025, 0.975])
    assert found.high - found.low > high - low > 0.5


def test_images_are_paired_by_their_ids_whatever_their_order():
    a, b = exact([1, 0, 0, 1], ids=[4, "x", 2, 9]), exact([1, 1, 0, 1], ids=[2, 9, "x", 4])
    (found,) = differences("say", a, b, 100, 0)
    (same,) = differences("say", exact([1, 0, 0, 1]), exact([1, 0, 1, 1]), 100, 0)
    assert found == same and (found.a, found.b) == (0.5, 0.75)


def test_images_that_one_has_not_answered_about_are_left_out(caplog):
    a, b = exact([1, 0, 1], ids=[1, 2, 3]), exact([1, 0, 0], ids=[2, 3, 4])
    (found,) = differences("say", a, b, 100, 0)
    assert (found.a, found.b) == (0.5, 0.5) and "say: 2 images that only one" in caplog.text


def test_one_image_or_none_gives_no_interval():
    for hits in ([1], []):
        (found,) = differences("say", exact(hits), exact(hits), 100, 0)
        assert math.isnan(found.low) and found.verdict == "no interval"


def test_equal_models_differ_by_nothing():
    (found,) = differences("say", exact([1, 0, 1]), exact([1, 0, 1]), 100, 0)
    assert (found.difference, found.low, found.high, found.verdict) == (0, 0, 0, "equal")


class Plain:
    """A metric of a plugin that knows nothing of this."""

    def update(self, prediction, example): ...

    def compute(self):
        return {"score": 0.5, "own": 1.0}


def test_only_what_both_have_is_compared():
    a = [Scored("say", DATA, exact([1, 0, 1])), Scored("plain", DATA, Plain()), Scored("lone", DATA, Plain())]
    b = [Scored("plain", DATA, Plain()), Scored("say", DATA, exact([1, 1, 1])), Scored("other", DATA, Plain())]
    found = list(compare(a, b, 50))
    assert [(one.task, one.metric) for one in found] == [("say", "exact"), ("plain", "score"), ("plain", "own")]
    assert not math.isnan(found[0].low) and math.isnan(found[1].low)


def test_two_that_share_no_task_are_refused_by_name(caplog):
    a, b, c = (Scored(name, DATA, exact([1, 0])) for name in ("say", "find", "tell"))
    with pytest.raises(UsageError, match="A on say, B on find, tell"):
        list(compare([a], [b, c]))
    assert [one.task for one in compare([a, b], [b, c], 5)] == ["find"]
    assert "only one of the two was scored on say, tell" in caplog.text


@pytest.mark.parametrize(
    ("low", "high", "verdict"), [(0.1, 0.2, "B is higher"), (-0.2, -0.1, "A is higher"), (-0.1, 0.1, "may be chance")]
)
def test_the_verdict(low, high, verdict):
    assert Difference("say", "exact", 0.0, 0.0, low, high).verdict == verdict
