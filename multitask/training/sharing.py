"""The model in several processes: whole in each (DDP), or a share of every tensor in each (FSDP2)."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from ..model.encoder_decoder import EncoderDecoder
from .objective import Objective


def copied(objective: Objective, device: torch.device, partly: bool) -> nn.Module:
    """DDP: gradients are averaged over the processes. `partly`: a step may leave parameters out, as when frozen."""
    where = [device] if device.type == "cuda" else None
    return DistributedDataParallel(objective, device_ids=where, find_unused_parameters=partly)


def sharded(root: nn.Module, model: EncoderDecoder, device: torch.device, world: int) -> nn.Module:
    """FSDP2: the parameters of `model`, which `root` is or holds, become shares (DTensors), put together when used."""
    warnings.filterwarnings("ignore", "FSDP2-wrapped module")  # of writing into a view, which we do nowhere
    model.encoder.to(memory_format=torch.contiguous_format)  # shares of channels-last kernels are not supported
    mesh = init_device_mesh(device.type, (world,))
    for layer in model.decoder.layers:
        fully_shard(layer, mesh=mesh)
        register_fsdp_forward_method(layer, "keys_values")
    fully_shard(model.encoder, mesh=mesh)
    fully_shard(root, mesh=mesh)
    return root


@contextmanager
def summed(shared: nn.Module, last: bool) -> Iterator[None]:
    """Gradients of the block stay in the process until the `last` block of a step, which sends them all."""
    if isinstance(shared, DistributedDataParallel) and not last:
        with shared.no_sync():
            yield
        return
    if isinstance(shared, FSDPModule):
        shared.set_requires_gradient_sync(last)
    yield


def whole(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors, put together where they are shares; then all processes must call this."""
    return {name: t.full_tensor().cpu() if isinstance(t, DTensor) else t for name, t in tensors.items()}
