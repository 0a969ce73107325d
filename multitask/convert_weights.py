"""Weights of a pickle file (.pth, .pt, .bin) that a user trusts as safetensors, read by a process of its own.

`torch.load(weights_only=True)` refuses pickles that need code; that process also has none of the user's environment,
limited memory and limited time, so that a file which gets past it has little to take. Nothing else reads pickles.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from argparse import Namespace
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import CheckpointError, UsageError

if TYPE_CHECKING:
    from torch import Tensor

KEYS = ("state_dict", "model", "ema", "model_ema", "teacher", "params")  # where training scripts put the weights
PASSED_ON = ("PATH", "SYSTEMROOT", "TMPDIR", "TEMP", "TMP", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")  # what torch needs
SECONDS = 600  # for any file
MEMORY = 8 << 30  # bytes beside four times the file
SAFE_TORCH = (2, 10)  # earlier ones have let code through `weights_only`
WRAPPERS = re.compile(r"((module|_orig_mod)\.)+")  # what DataParallel and torch.compile put before every name


@dataclass(frozen=True)
class Conversion:
    """What was written: `count` tensors from `key` (empty: the file itself), and what was not."""

    key: str
    count: int
    parameters: int
    dtypes: tuple[str, ...]
    left_out: tuple[str, ...]  # names of values that are no tensors
    others: tuple[str, ...]  # keys that hold further tensors


def convert_weights(
    source: Path, target: Path, key: str = "", force: bool = False, seconds: float = SECONDS
) -> Conversion:
    """Writes the tensors of `source`, or of its entry `key`, to `target`: whole or not at all.

    Raises UsageError for names that do not fit and a torch below 2.10, CheckpointError for a file that is damaged,
    holds no weights, needs code to be read, or takes longer than `seconds`.
    """
    refuse(source, target, force)
    with tempfile.TemporaryDirectory(prefix=".mtp-", suffix=".tmp", dir=target.parent) as folder:
        new = Path(folder) / "weights.safetensors"
        found = _read_apart(source, new, key, seconds)
        os.replace(new, target)
    return found


def refuse(source: Path, target: Path, force: bool) -> None:
    """Raises what `convert_weights` would, as far as it can be known before the file is read."""
    if tuple(int(number) for number in version("torch").split(".")[:2]) < SAFE_TORCH:
        raise UsageError(f"torch {version('torch')} does not read pickles safely: install torch 2.10 or later")
    if not source.is_file():
        raise CheckpointError(f"{source}: no such file")
    if source.suffix == ".safetensors" or target.suffix != ".safetensors":
        raise UsageError(f"{source} to {target}: give a pickle file (.pth, .pt, .bin), then a name in .safetensors")
    if not target.parent.is_dir():
        raise UsageError(f"{target}: there is no folder {target.parent}")
    if target.exists() and not force:
        raise UsageError(f"{target} exists: give another name, or --force")


def _read_apart(source: Path, new: Path, key: str, seconds: float) -> Conversion:
    """Lets another process write `new`, and returns what it says of it."""
    command = [sys.executable, "-P", "-m", __name__, str(source.absolute()), str(new.absolute()), key]
    kept = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    environment = {**kept, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path)), "OMP_NUM_THREADS": "1"}
    try:
        done = subprocess.run(  # noqa: S603  # our own interpreter and module
            command,
            env=environment,
            cwd=new.parent,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=seconds,
            check=False,
        )
        answer: dict[str, Any] = json.loads(done.stdout)
    except subprocess.TimeoutExpired as error:
        raise CheckpointError(f"{source}: not read within {seconds:g} seconds: damaged, or no weights") from error
    except ValueError as error:
        raise CheckpointError(f"{source}: damaged: reading it ended the process, code {done.returncode}") from error
    if "error" in answer:
        raise CheckpointError(f"{source}: {answer['error']}")
    return Conversion(**{**answer, **{name: tuple(answer[name]) for name in ("dtypes", "left_out", "others")}})


# ----------------------------------------------------------------------------------- in the process that reads


def _main(source: str, target: str, key: str) -> None:
    """Prints what was done, or the error, as one JSON object."""
    try:
        answer = _convert(source, target, key)
    except CheckpointError as error:
        answer = {"error": str(error)}
    except Exception as error:  # torch raises many kinds for damaged files
        answer = {"error": _reason(error)}
    print(json.dumps(answer))


def _convert(source: str, target: str, key: str) -> dict[str, Any]:
    import torch
    from safetensors.torch import save_file

    _limit_memory(MEMORY + 4 * os.path.getsize(source))
    with torch.serialization.safe_globals(
        [Namespace]
    ):  # the script's arguments, beside the weights of many: mere values
        content = torch.load(source, map_location="cpu", weights_only=True)  # the one place, guarded above
    key, found = _state_dict(content, key)
    tensors = _unwrapped({name: value for name, value in found.items() if _is_weight(name, value)})
    save_file({name: t.detach().clone(memory_format=torch.contiguous_format) for name, t in tensors.items()}, target)
    with open(target, "rb+") as file:
        os.fsync(file.fileno())
    return {
        "key": key,
        "count": len(tensors),
        "parameters": sum(t.numel() for t in tensors.values()),
        "dtypes": sorted({str(t.dtype).removeprefix("torch.") for t in tensors.values()}),
        "left_out": [str(name) for name, value in found.items() if not _is_weight(name, value)],
        "others": [str(name) for name in _holders(content) if name != key],
    }


def _state_dict(content: object, key: str) -> tuple[str, Mapping[Any, Any]]:
    """The mapping with tensors: that under `key`, or else the file's own, or that under the first of `KEYS`."""
    holders = _holders(content)
    if key in holders:
        return key, holders[key]
    if key:
        raise CheckpointError(f"has no weights under '{key}'; found: {_listed(content)}")
    if isinstance(content, Mapping) and any(_is_weight(*item) for item in content.items()):
        return "", content
    for name in KEYS:
        if name in holders:
            return name, holders[name]
    raise CheckpointError(f"has no weights where they are looked for: name one with --key; found: {_listed(content)}")


def _holders(content: object) -> dict[Any, Mapping[Any, Any]]:
    """The entries of the file that are mappings with tensors."""
    entries = content.items() if isinstance(content, Mapping) else ()
    held = {name: value for name, value in entries if isinstance(value, Mapping)}
    return {name: value for name, value in held.items() if any(_is_weight(*item) for item in value.items())}


def _is_weight(name: object, value: object) -> bool:
    import torch

    return isinstance(name, str) and isinstance(value, torch.Tensor)


def _listed(content: object) -> str:
    if not isinstance(content, Mapping):
        return f"a {type(content).__name__}"
    return ", ".join(str(name)[:40] for name in list(content)[:10]) or "nothing"


def _unwrapped(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Without what wrappers put before names, unless two names would become one."""
    bare = {WRAPPERS.sub("", name, count=1) if WRAPPERS.match(name) else name: t for name, t in tensors.items()}
    return bare if len(bare) == len(tensors) else tensors


def _reason(error: Exception) -> str:
    """In one line. Of torch's long advice only what the file asked for; never how to let it."""
    needs = re.search(r"GLOBAL ([\w.]+)", str(error))
    if needs:
        return f"needs {needs[1]} to be read, which is code: not converted; ask its author for the state dict alone"
    if "weights_only" in str(error) or "Weights only" in str(error):
        return "holds more than tensors and plain values, or is damaged: not converted"
    return f"damaged, or no weights: {type(error).__name__}: {str(error).split('. ')[0].strip()[:200]}"


def _limit_memory(size: int) -> None:
    """Where the system can, so that a small file cannot ask for more than the machine has."""
    with suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (size, size))


if __name__ == "__main__":
    _main(*sys.argv[1:])
