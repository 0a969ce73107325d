"""Compiled layers (`train.compile`): the same numbers sooner, after minutes of compiling."""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from pathlib import Path
from typing import Any, cast

import torch

from ..errors import UsageError
from .encoder import TimmConvolutional, TimmTransformer
from .encoder_decoder import EncoderDecoder
from .transformer import Layer


def compile_layers(model: EncoderDecoder, backend: str = "inductor") -> None:
    """Compiles the layers of `model` in place, at their first use: each kind once, for batches of any size.

    Our own layers run compiled in training alone, since decoding changes its shapes at every step.
    Raises UsageError where a tool is missing that the `backend` of torch.compile needs.
    """
    if backend == "inductor":
        _check_tools()
    compiled: dict[type[Layer], Any] = {}
    for module in model.modules():
        if isinstance(module, Layer):
            kind = type(module)
            compiled.setdefault(kind, torch.compile(kind.compute, dynamic=True, backend=backend))
            module.compiled = compiled[kind]
        elif isinstance(module, TimmTransformer):
            for block in cast(Any, module.net).blocks:
                block.compile(backend=backend)
        elif isinstance(module, TimmConvolutional):
            module.net.compile(backend=backend)


def _check_tools() -> None:
    compiler = os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")
    if not shutil.which(compiler):
        raise UsageError(f"train.compile needs a C++ compiler, and '{compiler}' is not here; install it, or set CXX")
    header = Path(sysconfig.get_path("include"), "Python.h")
    if not header.is_file():
        raise UsageError(f"train.compile needs {header}: install the headers of Python (python3-dev, python3-devel)")
