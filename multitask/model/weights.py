"""Read a safetensors file that must hold the weights of a known model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ..errors import CheckpointError

Weights = dict[str, Tensor]


def read_weights(path: Path, what: str, expected: Mapping[str, Tensor], ignored: tuple[str, ...] = ()) -> Weights:
    """The tensors of `path`, checked by key and shape against `expected`, the state of `what`.

    Keys that begin with one of `ignored` are left out on both sides. Raises CheckpointError.
    """
    weights = _without(_load(path), ignored)
    wrong = _differences(weights, _without(expected, ignored))
    if wrong:
        raise CheckpointError(f"{path}: not the weights of {what}: {wrong}")
    return weights


def _load(path: Path) -> Weights:
    if path.suffix != ".safetensors":
        raise CheckpointError(
            f"{path}: only safetensors files are read, since others can run code; "
            f"convert weights that you trust: mtp convert-weights {path} {path.stem}.safetensors"
        )
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file")
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path}: damaged or not a safetensors file: {error}") from error


def _without(weights: Mapping[str, Tensor], prefixes: tuple[str, ...]) -> Weights:
    return {key: value for key, value in weights.items() if not key.startswith(prefixes)}


def _differences(found: Weights, expected: Weights) -> str:
    """In words, the keys that are missing, unexpected or of another shape; empty when there are none."""
    counted = {key for key in expected if not key.endswith("num_batches_tracked")}  # a counter that files may lack
    shapes = [
        f"{key} {tuple(found[key].shape)} instead of {tuple(expected[key].shape)}"
        for key in sorted(found.keys() & expected.keys())
        if not _fits(key, found[key], expected[key])
    ]
    lists = {"missing": sorted(counted - found.keys()), "unexpected": sorted(found.keys() - expected.keys())}
    return "; ".join(_summary(kind, keys) for kind, keys in {**lists, "of another shape": shapes}.items() if keys)


def _fits(key: str, found: Tensor, expected: Tensor) -> bool:
    """Same shape, or a table of positions, which timm resamples to the image size."""
    if key.endswith("pos_embed"):
        return found.ndim == expected.ndim and found.shape[-1] == expected.shape[-1]
    return found.shape == expected.shape


def _summary(kind: str, keys: list[str], shown: int = 3) -> str:
    more = ", ..." if len(keys) > shown else ""
    return f"{len(keys)} {kind} ({', '.join(keys[:shown])}{more})"
