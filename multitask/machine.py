"""What this machine can do."""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from functools import cache
from pathlib import Path

import torch

from .errors import UsageError


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def give_back_memory() -> None:
    """Freed memory goes back to the system: glibc keeps what lies between blocks in use. Elsewhere nothing happens."""
    if sys.platform == "linux" and platform.libc_ver()[0] == "glibc":
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def pick_device(name: str) -> torch.device:
    """`auto` takes CUDA, then MPS, then the CPU. Raises UsageError for a device that is not there."""
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device(next(device for device, present in there.items() if present))
    if not there.get(name.split(":")[0]):
        present = ", ".join(device for device, is_there in there.items() if is_there)
        raise UsageError(f"--device {name}: not available here; there is: {present}")
    try:
        return torch.device(name)
    except RuntimeError as error:
        raise UsageError(f"--device {name}: no such device; write cuda or cuda:0") from error


@cache
def bf16_is_fast(device: str) -> bool:
    """Whether bfloat16 arithmetic has its own instructions: CUDA devices, and x86 CPUs that Linux says so of."""
    if device == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    flags = Path("/proc/cpuinfo")
    return device == "cpu" and flags.is_file() and bool({"avx512_bf16", "amx_bf16"} & set(flags.read_text().split()))
