"""The state of a module and an optimiser as flat named tensors, and back, bit for bit."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

from ..errors import CheckpointError

Tensors = Mapping[str, Tensor]


def load_into(module: nn.Module, tensors: Tensors, file: Path | str) -> None:
    """Loads a whole state dict. Raises CheckpointError that lists the missing, unexpected and misshapen tensors."""
    expected = module.state_dict()
    shapes = [
        f"{name} {tuple(tensors[name].shape)} instead of {tuple(expected[name].shape)}"
        for name in sorted(expected.keys() & tensors.keys())
        if tensors[name].shape != expected[name].shape
    ]
    faults = {"missing": expected.keys() - tensors.keys(), "unexpected": tensors.keys() - expected.keys()}
    words = [_summary(kind, names) for kind, names in {**faults, "of another shape": shapes}.items() if names]
    if words:
        raise CheckpointError(f"{file}: does not fit the model: {'; '.join(words)}")
    module.load_state_dict(dict(tensors))


def optimizer_tensors(optimizer: torch.optim.Optimizer, module: nn.Module) -> dict[str, Tensor]:
    """`optimizer/<moment>/<parameter>` for every moment, and the settings of the groups as JSON in `optimizer/groups`.

    Every parameter of the optimiser must be one of `module`, and every moment a tensor (as AdamW's are).
    """
    names = {id(parameter): name for name, parameter in module.named_parameters()}
    tensors = {
        f"optimizer/{moment}/{names[id(parameter)]}": value
        for parameter, state in optimizer.state.items()
        for moment, value in state.items()
    }
    groups = [{**group, "params": [names[id(p)] for p in group["params"]]} for group in optimizer.param_groups]
    return {**tensors, "optimizer/groups": _to_tensor(groups)}


def restore_optimizer(optimizer: torch.optim.Optimizer, module: nn.Module, tensors: Tensors, file: Path | str) -> None:
    """The inverse, for an optimiser made in the same way. Raises CheckpointError when its parameters are others."""
    parameters = dict(module.named_parameters())
    names = {id(parameter): name for name, parameter in parameters.items()}
    groups = _groups(tensors)
    if [g["params"] for g in groups] != [[names[id(p)] for p in g["params"]] for g in optimizer.param_groups]:
        raise CheckpointError(
            f"{file}: its optimiser has other parameters than this model: train from its weights anew"
        )
    index = {name: i for i, name in enumerate(name for group in groups for name in group["params"])}
    state: dict[int, dict[str, Tensor]] = {}
    for key in sorted(tensors.keys() - {"optimizer/groups"}):
        origin, _, rest = key.partition("/")
        moment, _, name = rest.partition("/")
        if origin != "optimizer":
            continue
        if name not in index or tensors[key].shape not in (parameters[name].shape, torch.Size()):
            raise CheckpointError(f"{file}: '{key}' {tuple(tensors[key].shape)} fits no parameter of this model")
        state.setdefault(index[name], {})[moment] = _laid_out(tensors[key], parameters[name])
    settings = [{**g, "betas": tuple(g["betas"])} if "betas" in g else g for g in groups]
    numbered = [{**group, "params": [index[name] for name in group["params"]]} for group in settings]
    optimizer.load_state_dict({"state": state, "param_groups": numbered})


def _laid_out(moment: Tensor, parameter: Tensor) -> Tensor:
    """In the memory order of the parameter (channels last, say), which a fused optimiser takes for granted.

    Where the parameter is this process' share of a tensor, so is the moment.
    """
    if moment.shape != parameter.shape:
        return moment
    if isinstance(parameter, DTensor):
        device, mesh = parameter.device, parameter.device_mesh
        return distribute_tensor(moment.to(device), mesh, parameter.placements, src_data_rank=None)
    return torch.empty_like(parameter, dtype=moment.dtype, requires_grad=False).copy_(moment)


def _to_tensor(value: Any) -> Tensor:
    return torch.tensor(list(json.dumps(value).encode()), dtype=torch.uint8)


def _groups(tensors: Tensors) -> list[dict[str, Any]]:
    """Settings of the groups and the names of their parameters; empty when they are not there, or something else."""
    try:
        groups = json.loads(bytes(tensors["optimizer/groups"].tolist()))
        return groups if all(isinstance(group["params"], list) for group in groups) else []
    except (LookupError, ValueError, TypeError):
        return []


def _summary(kind: str, names: Iterable[str], shown: int = 3) -> str:
    ordered = sorted(names)
    return f"{len(ordered)} {kind} ({', '.join(ordered[:shown])}{', ...' if len(ordered) > shown else ''})"
