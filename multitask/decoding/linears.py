"""How a decode step multiplies by its weights: as they are, or prepared once for few rows and low precision."""

from __future__ import annotations

from typing import Any, Literal, Protocol, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..errors import UsageError, nearest

Precision = Literal["fp32", "bf16", "int8"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
PACKED_ROWS = 8  # rows that packed weights are laid out for; any number can be multiplied
INT8_ROWS = 16  # rows up to which the integer kernel, made for few, is the faster one
INT8_INPUTS = 32  # a kernel that reads past the end of a row unless its length is a multiple
LARGEST_INT8 = 127


def pick_precision(word: str) -> Precision:
    """The precision of this name. Raises UsageError where there is none."""
    for precision in PRECISIONS:
        if word == precision:
            return precision
    raise UsageError(f"--precision {word}: there is fp32, bf16 and int8{nearest(word, PRECISIONS)}")


class Linear(Protocol):
    """Maps (R, I) to (R, O); where there is `added` (R, O) float32, the sum of both."""

    def __call__(self, x: Tensor, added: Tensor | None = None) -> Tensor: ...


def prepared(layer: nn.Linear, precision: Precision, gelu: bool = False, scale: Tensor | None = None) -> Linear:
    """What `layer` does, times `scale` (O,), with an exact GELU after it where `gelu` says so.

    Raises UsageError for int8 where PyTorch has no integer kernel: on a GPU, and on some processors.
    """
    weight, bias = layer.weight.detach(), layer.bias.detach()
    if scale is not None:
        weight, bias = weight * scale[:, None], bias * scale
    return product_with(weight, bias, precision, gelu)


def product_with(weight: Tensor, bias: Tensor, precision: Precision, gelu: bool = False) -> Linear:
    """The same for a weight (O, I) and a bias (O,) float32."""
    if precision == "int8":
        return Int8(weight, bias, gelu)
    dtype = torch.float32 if precision == "fp32" else torch.bfloat16
    if weight.device.type != "cpu" or not _packs(dtype):
        return Plain(weight.to(dtype), bias.to(dtype), gelu)
    return Packed(weight.to(dtype), bias.to(dtype), gelu)


class Plain:
    """The matrix product of PyTorch."""

    def __init__(self, weight: Tensor, bias: Tensor, gelu: bool = False) -> None:
        self.weight, self.bias, self.gelu = weight, bias, gelu

    def __call__(self, x: Tensor, added: Tensor | None = None) -> Tensor:
        y = F.linear(x.to(self.weight.dtype), self.weight, self.bias)
        y = F.gelu(y) if self.gelu else y
        return y if added is None else added + y


class Packed:
    """oneDNN's, with the weights laid out for it once."""

    def __init__(self, weight: Tensor, bias: Tensor, gelu: bool) -> None:
        self.packed = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), PACKED_ROWS)
        self.bias, self.dtype, self.after = bias, weight.dtype, "gelu" if gelu else "none"
        self.plain: Any = torch.ops.mkldnn._linear_pointwise.default
        self.summed: Any = torch.ops.mkldnn._linear_pointwise.binary
        self.joins = weight.dtype == torch.float32 and not gelu  # a sum is as wide as the product it joins

    def __call__(self, x: Tensor, added: Tensor | None = None) -> Tensor:
        if added is not None and self.joins:
            joined: Tensor = self.summed(x, added, self.packed, self.bias, "add")
            return joined
        x = x if x.dtype == self.dtype else x.to(self.dtype)
        y: Tensor = self.plain(x, self.packed, self.bias, self.after, [], "none")
        return y if added is None else added + y


class Int8:
    """Weights as int8 with a scale an output channel, the largest weight at 127; sums and outputs stay wide."""

    def __init__(self, weight: Tensor, bias: Tensor, gelu: bool) -> None:
        _check_int8(weight.device)
        weight = weight.float()
        scale = (weight.abs().amax(dim=1) / LARGEST_INT8).clamp(min=torch.finfo(torch.float32).tiny)
        self.weight = (weight / scale[:, None]).round().to(torch.int8)
        self.scale, self.bias, self.gelu = scale.bfloat16(), bias.float(), gelu
        self.rows = 0 if weight.shape[1] % INT8_INPUTS else INT8_ROWS
        self.many = Plain(self.weight.bfloat16() * self.scale[:, None], bias.bfloat16(), gelu)

    def __call__(self, x: Tensor, added: Tensor | None = None) -> Tensor:
        if len(x) > self.rows:
            return self.many(x, added)
        y = torch._weight_int8pack_mm(x.bfloat16(), self.weight, self.scale) + self.bias
        y = F.gelu(y) if self.gelu else y
        return y if added is None else added + y


def _check_int8(device: torch.device) -> None:
    if device.type != "cpu":
        raise UsageError(f"precision int8 is for the CPU, and the model runs on {device}: use fp32 or bf16")
    try:
        one = torch.ones(1, 32, dtype=torch.bfloat16)
        torch._weight_int8pack_mm(one, torch.ones(32, 32, dtype=torch.int8), torch.ones(32, dtype=torch.bfloat16))
    except (AttributeError, RuntimeError) as error:
        raise UsageError("precision int8: this PyTorch has no int8 kernel for this CPU: use fp32 or bf16") from error


def _packs(dtype: torch.dtype) -> bool:
    """Whether oneDNN is here and can multiply `dtype`. PyTorch's way to it is private: it is looked for."""
    ops = torch.ops.mkldnn
    there = torch.backends.mkldnn.is_available() and hasattr(ops, "_reorder_linear_weight")  # type: ignore[no-untyped-call]
    return bool(there and (dtype == torch.float32 or ops._is_mkldnn_bf16_supported()))
