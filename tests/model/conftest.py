"""Models shared by the tests of multitask.model."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from multitask.model.decoder import Decoder
from multitask.model.encoder_decoder import Bridge, EncoderDecoder
from multitask.model.vit import VisionTransformer

GOLDEN = Path(__file__).parents[1] / "golden"


def _published_state() -> Callable[..., dict[str, torch.Tensor]]:
    spec = importlib.util.spec_from_file_location("golden_weights", Path(__file__).with_name("golden_weights.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.published_state


def small_model(sizes: dict, vocab_size: int, max_length: int) -> EncoderDecoder:
    """A ViT and a decoder without dropout, in evaluation mode."""
    encoder = VisionTransformer(
        sizes["dim_att"],
        sizes["num_encoder_layers"],
        sizes["num_heads"],
        sizes["dim_mlp"],
        sizes["patch_size"],
        dropout=0.0,
        drop_path=0.0,
    )
    dim = sizes["dim_att_dec"]
    bridge = Bridge(encoder.dim, dim, encoder.mlp_ratio, dropout=0.0, drop_path=0.0)
    decoder = Decoder(
        vocab_size,
        dim,
        sizes["num_decoder_layers"],
        sizes["num_heads_dec"],
        sizes["dim_mlp_dec"],
        max_length,
        dropout=0.0,
        drop_path=0.0,
    )
    return EncoderDecoder(encoder, bridge, decoder).eval()


@pytest.fixture(scope="session")
def golden() -> SimpleNamespace:
    """The published model: `.model` with its weights, `.images` channels first, and the arrays by name."""
    config = json.loads((GOLDEN / "decoder_parity.json").read_text())["config"]
    arrays = np.load(GOLDEN / "decoder_parity.npz")
    weights = {name[2:]: arrays[name] for name in arrays.files if name.startswith("w/")}
    model = small_model(config, config["vocab_size"], config["max_seq_len"])
    model.load_state_dict(_published_state()(weights, config["num_encoder_layers"], config["num_decoder_layers"]))
    tensors = {name: torch.from_numpy(arrays[name]) for name in arrays.files if not name.startswith("w/")}
    return SimpleNamespace(model=model, images=tensors["image"].permute(0, 3, 1, 2), **tensors)


def _tiny() -> EncoderDecoder:
    """Random weights: 32-pixel images as 4 x 4 cells, 50 tokens, 32 positions; evaluation mode.

    Biases and norms are moved off their initial values, so that leaving one out shows.
    """
    torch.manual_seed(0)
    sizes = {"dim_att": 24, "num_encoder_layers": 1, "num_heads": 3, "dim_mlp": 48, "patch_size": 8}
    sizes |= {"dim_att_dec": 32, "num_decoder_layers": 2, "num_heads_dec": 4, "dim_mlp_dec": 64}
    model = small_model(sizes, vocab_size=50, max_length=32)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
    return model


@pytest.fixture
def tiny() -> EncoderDecoder:
    return _tiny()


@pytest.fixture(scope="session")
def make_tiny() -> Callable[[], EncoderDecoder]:
    return _tiny
