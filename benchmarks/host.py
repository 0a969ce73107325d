"""What times are taken on."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import torch

from multitask.machine import cores


def machine() -> str:
    """Processor, cores, load and versions in one line."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    model = next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.processor())
    versions = f"Python {platform.python_version()}, torch {torch.__version__}"
    return f"{model}, {cores()} cores, load {os.getloadavg()[0]:.1f}; {versions}"
