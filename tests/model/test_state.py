from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from multitask.errors import CheckpointError
from multitask.model.state import load_into, optimizer_tensors, restore_optimizer


def make(seed: int = 0, *, fused: bool = False, width: int = 6) -> tuple[nn.Module, torch.optim.AdamW]:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(4, width), nn.BatchNorm1d(width), nn.Dropout(0.3), nn.Linear(width, 2))
    kept = [p for p in model.parameters() if p.ndim == 1]
    decayed = [p for p in model.parameters() if p.ndim > 1]  # in another order than named_parameters()
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": kept, "weight_decay": 0.0}]
    return model, torch.optim.AdamW(groups, lr=1e-2, betas=(0.9, 0.95), fused=fused)


def train(model: nn.Module, optimizer: torch.optim.AdamW, start: int, stop: int) -> None:
    for step in range(start, stop):
        torch.manual_seed(step)  # as a run does
        for group in optimizer.param_groups:
            group["lr"] = 1e-2 * (1 - step / 20)
        x = torch.randn(8, 4)
        loss = (model(x) - x[:, :2]).square().mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()


def whole(model: nn.Module, optimizer: torch.optim.AdamW) -> dict[str, Tensor]:
    return {**model.state_dict(), **optimizer_tensors(optimizer, model)}


@pytest.mark.parametrize("fused", [False, True])
def test_training_goes_on_bit_for_bit(fused: bool, tmp_path: Path) -> None:
    model, optimizer = make(fused=fused)
    train(model, optimizer, 0, 10)
    unbroken = whole(model, optimizer)

    model, optimizer = make(fused=fused)
    train(model, optimizer, 0, 5)
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    safetensors.torch.save_file(optimizer_tensors(optimizer, model), tmp_path / "x.safetensors")
    train(model, optimizer, 5, 7)  # what comes after the save must not matter

    model, optimizer = make(seed=99, fused=fused)
    saved = safetensors.torch.load_file(tmp_path / "x.safetensors")
    load_into(model, weights, "x")
    restore_optimizer(optimizer, model, saved, "x")
    assert optimizer.param_groups[0]["betas"] == (0.9, 0.95) and optimizer.param_groups[0]["lr"] == 1e-2 * 0.8
    train(model, optimizer, 5, 10)

    resumed = whole(model, optimizer)
    assert resumed.keys() == unbroken.keys()
    assert all(torch.equal(resumed[name], unbroken[name]) for name in unbroken)


def test_an_optimiser_that_never_stepped_is_restored_too() -> None:
    model, optimizer = make()
    restore_optimizer(optimizer, model, optimizer_tensors(optimizer, model), "x")
    train(model, optimizer, 0, 1)


def test_moments_carry_the_names_of_parameters() -> None:
    model, optimizer = make()
    train(model, optimizer, 0, 1)
    tensors = optimizer_tensors(optimizer, model)
    assert tensors["optimizer/exp_avg/0.weight"].shape == (6, 4)
    assert tensors["optimizer/step/3.bias"].item() == 1
    assert len(tensors) == 3 * len(list(model.parameters())) + 1


def damaged(tensors: dict[str, Tensor]) -> Iterator[tuple[str, dict[str, Tensor]]]:
    rest = {name: tensor for name, tensor in tensors.items() if name != "optimizer/exp_avg/0.weight"}
    yield "other parameters", {name: tensor for name, tensor in tensors.items() if name != "optimizer/groups"}
    yield "fits no parameter", {**rest, "optimizer/exp_avg/0.weight": torch.zeros(4, 6)}
    yield "fits no parameter", {**rest, "optimizer/exp_avg/9.weight": torch.zeros(6, 4)}
    yield "other parameters", {**tensors, "optimizer/groups": torch.zeros(3, dtype=torch.uint8)}
    yield "other parameters", {**tensors, "optimizer/groups": torch.tensor(list(b"[{}]"), dtype=torch.uint8)}


@pytest.mark.parametrize("case", range(5))
def test_an_optimiser_of_another_model_is_refused(case: int) -> None:
    model, optimizer = make()
    train(model, optimizer, 0, 1)
    message, tensors = list(damaged(optimizer_tensors(optimizer, model)))[case]
    with pytest.raises(CheckpointError, match=message) as error:
        restore_optimizer(optimizer, model, tensors, "x.safetensors")
    assert str(error.value).startswith("x.safetensors: ") and "\n" not in str(error.value)


def test_weights_that_do_not_fit_are_listed_and_not_loaded() -> None:
    model, _ = make()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    tensors = {name: torch.ones_like(tensor) for name, tensor in before.items()}
    for name in ("0.bias", "1.bias", "1.weight", "3.bias"):
        del tensors[name]
    tensors |= {"head.weight": torch.zeros(1), "3.weight": torch.zeros(6, 2)}
    with pytest.raises(CheckpointError) as error:
        load_into(model, tensors, "x.safetensors")
    assert str(error.value) == (
        "x.safetensors: does not fit the model: 4 missing (0.bias, 1.bias, 1.weight, ...); "
        "1 unexpected (head.weight); 1 of another shape (3.weight (6, 2) instead of (2, 6))"
    )
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
