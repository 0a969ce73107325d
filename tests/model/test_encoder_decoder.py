from __future__ import annotations

import pytest
import torch

from multitask.errors import UsageError
from multitask.model.encoder_decoder import build_model
from multitask.model.loss import sequence_loss
from multitask.model.transformer import drop_path
from multitask.sections import DecoderConfig, ModelConfig, TransformerConfig

DECODER = DecoderConfig(dim=32, depth=2, heads=4, mlp_dim=64, max_length=16, dropout=0.0)
TRANSFORMER = TransformerConfig(dim=24, depth=1, heads=3, mlp_dim=48, patch=8, dropout=0.0, drop_path=0.0)


def config(encoder="vit", **changes):
    return ModelConfig(image_size=32, encoder=encoder, decoder=DECODER, transformer=TRANSFORMER, **changes)


def close(actual, expected, tolerance=1e-5):
    torch.testing.assert_close(actual, expected, atol=tolerance, rtol=0)


@pytest.mark.parametrize(
    ("encoder", "cells"),
    [("vit", 16), ("resnet_transformer", 4), ("mobilenetv4_conv_small", 4), ("deit_tiny_patch16_224", 4)],
)
def test_builds_and_learns_with_every_kind_of_encoder(encoder, cells):
    torch.manual_seed(0)
    model = build_model(config(encoder, backbone="resnet10t"), 50)
    images, inputs = torch.rand(2, 3, 32, 32), torch.randint(50, (3, 5))
    rows, extent = torch.tensor([0, 1, 1]), torch.tensor([[1.0, 1.0], [0.6, 1.0]])
    memory = model.encode(images, extent)
    assert memory.tokens.shape == (2, cells, 32)
    assert memory.valid.shape == (2, cells)
    logits = model(images, inputs, rows, extent)
    assert logits.shape == (3, 5, 50)
    logits.square().sum().backward()
    unused = [name for name, p in model.named_parameters() if p.grad is None]
    assert not [name for name in unused if not name.startswith("encoder.net")]


@torch.no_grad()
def test_forward_is_encode_decode_logits(tiny):
    images, inputs, rows = torch.rand(2, 3, 32, 32), torch.randint(50, (3, 5)), torch.tensor([1, 1, 0])
    memory = tiny.encode(images)
    assert memory.valid is None
    close(tiny(images, inputs, rows), tiny.logits(tiny.decode(inputs, memory, rows)))


@torch.no_grad()
def test_pixels_of_padding_have_no_effect_on_the_scores(tiny):
    images, inputs, extent = (
        torch.rand(2, 3, 32, 32),
        torch.randint(50, (2, 5)),
        torch.tensor([[0.5, 1.0], [1.0, 0.25]]),
    )
    other = images.clone()
    other[0, :, 16:] = 0
    other[1, :, :, 8:] = 0
    close(tiny(images, inputs, None, extent), tiny(other, inputs, None, extent))
    assert (tiny(images, inputs) - tiny(other, inputs)).abs().max() > 1e-2


def test_same_seed_same_weights():
    states = []
    for _ in range(2):
        torch.manual_seed(7)
        states.append(build_model(config("mobilenetv4_conv_small"), 50).state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_embedding_and_output_are_one_table():
    model = build_model(config(), 50)
    assert [tuple(p.shape) for p in model.decoder.parameters() if 50 in p.shape] == [(50, 32), (50,)]
    assert model.decoder.embedding.std().item() == pytest.approx(0.02, rel=0.1)


def test_a_vit_of_ours_has_no_published_timm_weights():
    with pytest.raises(UsageError, match=r"model\.pretrained"):
        build_model(config(pretrained=True), 50)


def test_learns_a_batch_by_heart():
    torch.manual_seed(0)
    model = build_model(config(), 50).train()
    images, tokens = torch.rand(4, 3, 32, 32), torch.randint(50, (4, 7))
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(150):
        hidden = model.decode(tokens[:, :-1], model.encode(images))
        loss = sequence_loss(hidden, model.logits, tokens[:, 1:], torch.ones(4, 6))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss < 0.05


@pytest.mark.parametrize("encoder", ["vit", "mobilenetv4_conv_small"])
def test_bfloat16_autocast_stays_near_float32(encoder):
    torch.manual_seed(0)
    model = build_model(config(encoder), 50).train()
    images, inputs = torch.rand(2, 3, 32, 32), torch.randint(50, (2, 5))
    expected = model(images, inputs)
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(images, inputs)
        logits.float().square().mean().backward()
    assert logits.dtype == torch.bfloat16
    close(logits.float(), expected, 0.03)
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


def test_drop_path_drops_whole_samples_and_keeps_the_mean():
    torch.manual_seed(0)
    x = torch.ones(4000, 2, 3)
    dropped = drop_path(x, 0.25, training=True)
    assert dropped.unique().tolist() == pytest.approx([0.0, 1 / 0.75])
    assert (dropped.amax((1, 2)) == dropped.amin((1, 2))).all()
    assert dropped.mean().item() == pytest.approx(1.0, abs=0.05)
    assert drop_path(x, 0.25, training=False) is x
    assert drop_path(x, 0.0, training=True) is x
