from __future__ import annotations

import math

import pytest
import torch

from multitask.model.encoder_decoder import build_model
from multitask.model.state import optimizer_tensors, restore_optimizer
from multitask.sections import DecoderConfig, ModelConfig, TrainConfig, TransformerConfig
from multitask.training.optimisation import encoder_learns, learning_rate, learning_scales, make_optimizer

TINY = ModelConfig(
    image_size=32,
    encoder="vit",
    backbone="test_resnet",
    transformer=TransformerConfig(dim=24, depth=2, heads=3, mlp_dim=48, patch=8),
    decoder=DecoderConfig(dim=32, depth=1, heads=4, mlp_dim=64, max_length=32),
)


def model_of(encoder):
    return build_model(TINY.model_copy(update={"encoder": encoder}), 50)


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_the_learning_rate_at_its_ends(schedule):
    config = TrainConfig(steps=110, warmup=10, lr=0.2, end_lr_factor=0.1, schedule=schedule)
    rates = [learning_rate(step, config) for step in range(111)]
    assert rates[0] == pytest.approx(0.02)
    assert rates[9] == rates[10] == pytest.approx(0.2)
    assert rates[60] == pytest.approx(0.02 + 0.18 / 2)
    assert rates[110] == pytest.approx(0.02)
    assert rates[:10] == sorted(rates[:10]) and rates[10:] == sorted(rates[10:], reverse=True)
    quarter = 0.75 if schedule == "linear" else (1 + math.cos(math.pi / 4)) / 2
    assert rates[35] == pytest.approx(0.02 + 0.18 * quarter)


def test_the_learning_rate_without_warmup_and_with_nothing_else():
    assert learning_rate(0, TrainConfig(steps=10, warmup=0, lr=0.5)) == 0.5
    assert learning_rate(4, TrainConfig(steps=5, warmup=10, lr=0.5)) == pytest.approx(0.25)
    assert math.isfinite(learning_rate(5, TrainConfig(steps=5, warmup=5)))


@pytest.mark.parametrize("encoder", ["vit", "test_vit", "test_efficientnet"])
def test_only_matrices_and_kernels_decay(encoder):
    model = model_of(encoder)
    names = {id(p): name for name, p in model.named_parameters()}
    optimizer = make_optimizer(model, TrainConfig(weight_decay=0.25))
    decayed, kept = ([names[id(p)] for p in group["params"]] for group in optimizer.param_groups)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.25, 0.0]
    assert [group["lr_scale"] for group in optimizer.param_groups] == [1.0, 1.0]
    assert sorted(decayed + kept) == sorted(names.values())
    assert {"decoder.embedding", "decoder.positions", "decoder.output_bias"} <= set(kept)
    assert all(name.endswith("weight") for name in decayed)
    shapes = {name: p.ndim for name, p in model.named_parameters()}
    assert {shapes[name] for name in decayed} <= {2, 4}
    tables = ("pos_embed", "cls_token", "reg_token", "embedding", "positions")
    assert all(shapes[name] == 1 or name.endswith(tables) for name in kept)
    if encoder == "test_vit":
        assert any(name.endswith("pos_embed") for name in kept)


LADDERS = {  # the first parameter of each layer of the encoder, from the image on
    "vit": ["stem.weight", "transformer.layers.0.attention.norm.weight", "transformer.layers.1.attention.norm.weight"],
    "test_vit": ["net.patch_embed.proj.weight", *(f"net.blocks.{i}.norm1.weight" for i in range(6))],
    "test_efficientnet": ["net.conv_stem.weight", *(f"net.blocks.{i}.0." for i in range(4))],
    "test_convnext": ["net.stem_0.weight", "net.stages_0.", *(f"net.stages_{i}.downsample" for i in (1, 2))],
    "resnet_transformer": [
        "backbone.net.conv1.0.weight",
        *(f"backbone.net.layer{i}.0.conv1.weight" for i in (1, 2, 3)),
        "projection.weight",
        "transformer.layers.0.feed_forward.up.weight",
        "transformer.layers.1.feed_forward.up.weight",
    ],
}


@pytest.mark.parametrize("encoder", LADDERS)
def test_rates_fall_from_layer_to_layer_towards_the_image(encoder):
    model = model_of(encoder)
    scales = learning_scales(model, 0.5)
    assert scales.keys() == dict(model.named_parameters()).keys()
    ladder = [
        next(s for name, s in scales.items() if name.startswith(f"encoder.{begin}")) for begin in LADDERS[encoder]
    ]
    assert ladder == sorted(set(ladder))
    assert ladder[0] == min(scales.values())
    assert {s for name, s in scales.items() if not name.startswith("encoder.")} == {1.0}
    own = {s for name, s in scales.items() if name.startswith("encoder.")}
    assert own == {0.5**power for power in range(1, len(own) + 1)}


def test_what_belongs_to_the_ends_of_an_encoder_learns_as_they_do():
    ours, timms = learning_scales(model_of("vit"), 0.5), learning_scales(model_of("test_vit"), 0.5)
    assert ours["encoder.transformer.stem_norm.weight"] == ours["encoder.stem.weight"] == 0.125
    assert ours["encoder.transformer.norm.weight"] == ours["encoder.transformer.layers.1.feed_forward.up.bias"] == 0.5
    assert timms["encoder.net.pos_embed"] == timms["encoder.net.cls_token"] == 0.5**7
    assert timms["encoder.net.norm.weight"] == timms["encoder.net.blocks.5.mlp.fc1.weight"] == 0.5


@pytest.mark.parametrize("encoder", ["vit", "test_efficientnet"])
def test_every_group_has_the_scale_of_its_parameters(encoder):
    model = model_of(encoder)
    optimizer = make_optimizer(model, TrainConfig(layer_decay=0.75, weight_decay=0.25))
    names = {id(p): name for name, p in model.named_parameters()}
    scales = learning_scales(model, 0.75)
    found = {names[id(p)]: (g["lr_scale"], g["weight_decay"]) for g in optimizer.param_groups for p in g["params"]}
    assert {name: scale for name, (scale, _) in found.items()} == scales
    plain = make_optimizer(model, TrainConfig(weight_decay=0.25))
    assert {name for name, (_, decay) in found.items() if decay} == {
        names[id(p)] for p in plain.param_groups[0]["params"]
    }


def test_groups_with_scales_are_saved_and_read_back(tmp_path):
    model, config = model_of("vit"), TrainConfig(layer_decay=0.5)
    optimizer = make_optimizer(model, config)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    again = make_optimizer(model, config)
    restore_optimizer(again, model, optimizer_tensors(optimizer, model), tmp_path)
    assert [g["lr_scale"] for g in again.param_groups] == [g["lr_scale"] for g in optimizer.param_groups]
    assert len(again.state) == len(list(model.parameters()))


@pytest.mark.parametrize(
    ("first", "last", "learns"),
    [(0, None, [0, 1, 2, 3, 4]), (2, None, [2, 3, 4]), (0, 3, [0, 1, 2]), (1, 2, [1]), (0, 0, [])],
)
def test_when_the_encoder_learns(first, last, learns):
    config = TrainConfig(unfreeze_encoder=first, freeze_encoder=last)
    assert [step for step in range(5) if encoder_learns(step, config)] == learns
