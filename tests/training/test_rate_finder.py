from __future__ import annotations

import math
import sys
from itertools import repeat
from pathlib import Path
from typing import Any

import pytest
import torch

from multitask.cli.find_rate import show_rates
from multitask.processes import ALONE
from multitask.training.rate_finder import RateCurve, find_rate, suggestion


class Slope:
    """Gradient descent on the curvature * x² / 2 of two tasks, which diverges at rates above 2 / curvature."""

    processes = ALONE

    def __init__(self, curvature: float, bad_from: float = math.inf) -> None:
        self.curvature, self.bad_from, self.x, self.rates = curvature, bad_from, 1.0, []
        self.bad = False

    def weight(self, task: str) -> float:
        return {"a": 1.0, "b": 0.5}[task]

    def update(self, *parts: Any, rate: float) -> dict[str, torch.Tensor]:
        assert parts == ("part", "another")
        self.rates.append(rate)
        self.bad = rate >= self.bad_from
        loss = torch.tensor(self.curvature * self.x**2 / 2)
        self.x -= rate * self.curvature * self.x
        return {"a": loss / 2, "b": loss}


def curve(trainer: Slope, **limits: Any) -> Any:
    return find_rate(trainer, repeat(("part", "another")), **limits)  # type: ignore[arg-type]


def test_rates_grow_by_the_same_factor_and_losses_are_weighed() -> None:
    trainer = Slope(1e-9)
    found = curve(trainer, lowest=1e-4, highest=1e-1, steps=4)
    assert found.rates == pytest.approx([1e-4, 1e-3, 1e-2, 1e-1]) and list(found.rates) == trainer.rates
    assert found.losses == pytest.approx([5e-10] * 4)  # half of one task, and half the weight of the other
    assert found.table().splitlines()[0] == "rate,loss" and len(found.table().splitlines()) == 5


@pytest.mark.parametrize("curvature", [1.0, 100.0])
def test_the_rate_suggested_learns_and_is_below_that_which_diverges(curvature: float) -> None:
    trainer = Slope(curvature)
    found = curve(trainer, highest=1e3)
    assert found.suggested is not None
    assert 0.02 < found.suggested * curvature < 1
    assert len(found.rates) < 100 and found.losses[-1] > 4 * min(found.losses)


def test_a_loss_that_is_not_finite_or_an_update_that_was_skipped_ends_the_test() -> None:
    assert max(curve(Slope(1.0, bad_from=0.01)).rates) < 0.01
    assert len(curve(Slope(math.nan)).rates) == 0


def test_where_nothing_falls_nothing_is_suggested() -> None:
    assert curve(Slope(1e-9)).suggested is None
    assert curve(Slope(math.nan)).suggested is None
    assert suggestion([1e-3, 1e-2, 1e-1], [2.0, 3.0, 9.0]) is None


def test_it_ends_with_the_data() -> None:
    found = find_rate(Slope(1.0), [("part", "another")] * 3)  # type: ignore[arg-type, list-item]
    assert len(found.rates) == 3


@pytest.mark.parametrize(("suggested", "said"), [(3.27e-3, "train.lr=0.0033"), (None, "no rate is suggested")])
def test_the_curve_is_written_and_the_rate_said(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    suggested: float | None,
    said: str,
) -> None:
    if suggested is None:
        monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    show_rates(RateCurve((1e-3, 1e-2), (2.0, 1.0), suggested), tmp_path / "new")
    files = {file.name for file in (tmp_path / "new").iterdir()}
    assert files == {"find_lr.csv", "find_lr.png"} - ({"find_lr.png"} if suggested is None else set())
    assert (tmp_path / "new" / "find_lr.csv").read_text() == "rate,loss\n0.001,2.0\n0.01,1.0\n"
    assert said in capsys.readouterr().out
