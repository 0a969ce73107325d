"""Fourier codes tell places apart, and neighbours are alike."""

from __future__ import annotations

import torch

from multitask.model.encoder_decoder import build_model
from multitask.model.transformer import fourier_codes, fourier_grid, position_codes
from multitask.sections import ModelConfig

SMALL = ModelConfig.model_validate(
    {
        "image_size": 64,
        "encoder": "test_efficientnet",
        "decoder": {"dim": 32, "depth": 1, "heads": 2, "mlp_dim": 32, "max_length": 16},
    }
)


def nearest_distance(codes: torch.Tensor) -> float:
    return float((torch.cdist(codes, codes) + 1e9 * torch.eye(len(codes))).min())


def test_places_of_a_grid_are_farther_apart_than_by_the_published_codes() -> None:
    assert nearest_distance(fourier_grid((8, 8), 192)) > 5 * nearest_distance(position_codes((8, 8), 192))


def test_a_grid_codes_y_in_its_first_half_and_x_in_its_second() -> None:
    codes = fourier_grid((3, 4), 16).reshape(3, 4, 16)
    assert torch.equal(codes[:, :1, :8].expand(-1, 4, -1), codes[:, :, :8])
    assert torch.equal(codes[:1, :, 8:].expand(3, -1, -1), codes[:, :, 8:])


def test_nearer_places_have_nearer_codes() -> None:
    codes = fourier_codes(torch.linspace(0, 1, 100), 64, finest=12)
    distances = (codes - codes[40]).norm(dim=1)
    assert distances[40] == 0
    assert bool((distances[41:44].diff() > 0).all())
    assert distances[60] > 2 * distances[41]


def test_coordinate_tokens_begin_in_order_and_no_other_token_is_touched() -> None:
    torch.manual_seed(0)
    plain = build_model(SMALL, 80, range(10, 60)).decoder.embedding.detach()
    torch.manual_seed(0)
    ordered = build_model(
        SMALL.model_copy(update={"positions": "fourier"}), 80, range(10, 60)
    ).decoder.embedding.detach()
    assert torch.equal(plain[:10], ordered[:10])
    assert torch.equal(plain[60:], ordered[60:])
    places = ordered[10:60]
    steps = (places[1:] - places[:-1]).norm(dim=1)
    assert float(steps.max()) < 0.8 * float((places[0] - places[-1]).norm())
    assert 0.05 < float(places.std()) < 0.2
