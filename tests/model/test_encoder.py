from __future__ import annotations

import copy
from pathlib import Path

import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

from multitask.errors import CheckpointError, UsageError
from multitask.model.encoder import TimmConvolutional, TimmTransformer, timm_encoder, valid_cells
from multitask.model.vit import ResNetTransformer, VisionTransformer

CNN, VIT = "mobilenetv4_conv_small", "deit_tiny_distilled_patch16_224"


def close(actual, expected, tolerance=1e-5):
    torch.testing.assert_close(actual, expected, atol=tolerance, rtol=0)


# ------------------------------------------------------------------------------------------------------------- masks


def naive_valid(extent, grid):
    height, width = grid
    return [
        [(row == 0 or row / height < float(bottom)) and (col == 0 or col / width < float(right))
         for row in range(height) for col in range(width)]
        for bottom, right in extent
    ]  # fmt: skip


@settings(derandomize=True, deadline=None)
@given(
    grid=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    pixels=st.lists(st.tuples(st.integers(1, 192), st.integers(1, 192)), min_size=1, max_size=4),
)
def test_a_cell_counts_when_it_begins_before_the_picture_ends(grid, pixels):
    extent = torch.tensor(pixels, dtype=torch.float64) / 192
    assert valid_cells(extent.float(), grid).tolist() == naive_valid(extent, grid)


def test_without_extent_there_is_no_mask():
    assert valid_cells(None, (2, 2)) is None


# -------------------------------------------------------------------------------------------------------------- timm


@pytest.mark.parametrize(
    ("name", "size", "stride", "grid", "dim"),
    [
        (CNN, 64, 16, (4, 4), 96),
        (CNN, 64, 8, (8, 8), 64),
        (CNN, 70, 16, (5, 5), 96),
        ("resnet10t", 64, 32, (2, 2), 512),
        ("lambda_resnet26t", 64, 32, (2, 2), 2048),
        (VIT, 64, 16, (4, 4), 192),
        ("vit_tiny_patch16_224.augreg_in21k", 48, 32, (3, 3), 192),
    ],
)
@torch.no_grad()
def test_tokens_of_a_timm_model(name, size, stride, grid, dim):
    encoder = timm_encoder(name, size, stride).eval()
    tokens, cells = encoder(torch.rand(2, 3, size, size))
    assert (encoder.dim, cells, tokens.shape) == (dim, grid, (2, grid[0] * grid[1], dim))
    assert tokens.isfinite().all()


@torch.no_grad()
def test_tokens_are_the_map_row_by_row_whatever_the_layout():
    encoder = timm_encoder(CNN, 64, 16).eval()
    assert isinstance(encoder, TimmConvolutional)
    images = torch.rand(2, 3, 64, 96)
    net = copy.deepcopy(encoder.net).to(memory_format=torch.contiguous_format)
    (expected,) = net((images - 0.5) / 0.25)
    tokens, grid = encoder(images)
    assert grid == (4, 6)
    close(tokens, expected.flatten(2).transpose(1, 2), 1e-4)


@torch.no_grad()
def test_maps_with_channels_at_the_end():
    encoder = timm_encoder("swin_tiny_patch4_window7_224", 224, 32).eval()
    images = torch.rand(1, 3, 224, 224)
    (expected,) = encoder.net((images - 0.5) / 0.25)
    tokens, grid = encoder(images)
    assert grid == (7, 7)
    close(tokens, expected.reshape(1, 49, 768), 1e-4)


@torch.no_grad()
def test_prefix_tokens_are_dropped():
    encoder = timm_encoder(VIT, 64, 16).eval()
    assert isinstance(encoder, TimmTransformer)
    images = torch.rand(1, 3, 64, 64)
    everything = encoder.net.forward_features((images - 0.5) / 0.25)
    assert everything.shape[1] == 18
    close(encoder(images).tokens, everything[:, 2:])


def test_layers_beyond_the_wanted_stride_are_not_built():
    whole = sum(p.numel() for p in timm.create_model(CNN, num_classes=0).parameters())
    assert sum(p.numel() for p in timm_encoder(CNN, 64, 16).parameters()) < whole / 1.5


@pytest.mark.parametrize(
    ("name", "size", "stride", "message"),
    [
        ("mobilenetv4_conv_smal", 64, 16, "did you mean 'mobilenetv4_conv_small'"),
        ("hf-hub:someone/model", 64, 16, "'hf-hub:someone/model' is not a timm model"),
        ("resnet18.nonsense", 64, 16, "'resnet18.nonsense' is not a timm model"),
        (CNN, 64, 7, "model.stride 7 is not one of mobilenetv4_conv_small: 2, 4, 8, 16, 32"),
        (VIT, 100, 16, "model.image_size 100 is not a multiple of 16"),
        ("mixer_s32_224", 64, 32, "'mixer_s32_224' gives no feature maps of 64 pixel images"),
        ("swin_tiny_patch4_window7_224", 64, 16, "gives no feature maps of 64 pixel images"),
    ],
)
def test_what_cannot_be_built_is_refused_in_one_line(name, size, stride, message):
    with pytest.raises(UsageError) as error:
        timm_encoder(name, size, stride)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


# ------------------------------------------------------------------------------------------------ pretrained weights


def saved(tmp_path, name, **changes):
    """A file with timm's model `name`, classifier included; `changes` maps a key to a tensor, or None to delete it."""
    torch.manual_seed(3)
    state = timm.create_model(name).state_dict()
    for key, value in changes.items():
        state.pop(key, None)
        if value is not None:
            state[key] = value
    path = tmp_path / "weights.safetensors"
    save_file(state, path)
    return str(path), state


@torch.no_grad()
def test_weights_from_a_file_reach_a_cnn_and_its_normalisation(tmp_path):
    path, state = saved(tmp_path, CNN)
    encoder = timm_encoder(CNN, 64, 16, path).eval()
    reference = timm.create_model(CNN, features_only=True, out_indices=(3,)).eval()
    reference.load_state_dict(state, strict=False)
    images = torch.rand(1, 3, 64, 64)
    mean, std = (torch.tensor(value)[:, None, None] for value in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    (expected,) = reference((images - mean) / std)
    close(encoder(images).tokens, expected.flatten(2).transpose(1, 2), 1e-4)


@torch.no_grad()
def test_weights_from_a_file_reach_a_vit_of_another_size(tmp_path):
    path, state = saved(tmp_path, VIT)
    encoder = timm_encoder(VIT, 64, 16, path)
    assert torch.equal(encoder.net.blocks[0].attn.qkv.weight, state["blocks.0.attn.qkv.weight"])
    assert encoder.net.pos_embed.shape == (1, 18, 192)
    assert torch.equal(encoder.net.pos_embed[:, :2], state["pos_embed"][:, :2])
    assert encoder.net.pos_embed[:, 2:].abs().max() > 0


def test_a_file_without_classifier_will_do(tmp_path):
    path, _ = saved(tmp_path, CNN, **{"classifier.weight": None, "classifier.bias": None})
    timm_encoder(CNN, 64, 16, path)


def test_normalisation_travels_with_the_state(tmp_path):
    begun = timm_encoder(CNN, 64, 16, saved(tmp_path, CNN)[0]).eval()
    resumed = timm_encoder(CNN, 64, 16).eval()
    resumed.load_state_dict(begun.state_dict())
    images = torch.rand(1, 3, 64, 64)
    assert torch.equal(begun(images).tokens, resumed(images).tokens)


@pytest.mark.parametrize("name", [CNN, VIT])
def test_a_checked_file_is_not_kept_in_memory(tmp_path, name):
    encoder = timm_encoder(name, 64, 16, saved(tmp_path, name)[0])
    for module in encoder.modules():
        for config in ("pretrained_cfg", "default_cfg"):
            assert not (getattr(module, config, None) or {}).get("state_dict")


def test_a_file_that_does_not_fit_is_refused_with_what_differs(tmp_path):
    changes = {"conv_stem.weight": torch.zeros(4, 3, 3, 3), "bn1.bias": None, "stranger": torch.zeros(1)}
    path, _ = saved(tmp_path, CNN, **changes)
    with pytest.raises(CheckpointError) as error:
        timm_encoder(CNN, 64, 16, path)
    shape = "1 of another shape (conv_stem.weight (4, 3, 3, 3) instead of (32, 3, 3, 3))"
    expected = f"{path}: not the weights of {CNN}: 1 missing (bn1.bias); 1 unexpected (stranger); {shape}"
    assert str(error.value) == expected


def test_weights_of_another_model_are_refused_in_one_short_line(tmp_path):
    path, _ = saved(tmp_path, "resnet10t")
    with pytest.raises(
        CheckpointError, match=r"not the weights of mobilenetv4_conv_small: \d+ missing \(.*, \.\.\.\)"
    ) as error:
        timm_encoder(CNN, 64, 16, path)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 500


@pytest.mark.parametrize("name", ["weights.pt", "weights.pth", "weights.bin", "weights.pkl", "weights"])
def test_files_that_can_run_code_are_not_even_opened(tmp_path, name):
    path = tmp_path / name  # absent: opening it would fail otherwise
    with pytest.raises(CheckpointError, match=r"only safetensors .* convert"):
        timm_encoder(CNN, 64, 16, str(path))


@pytest.mark.parametrize("content", [None, b"", b"\xff" * 64, b"\x10\0\0\0\0\0\0\0{}", b"\0" * 7])
def test_missing_or_damaged_files_are_refused_in_one_line(tmp_path, content):
    path = tmp_path / "weights.safetensors"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"no such file|damaged") as error:
        timm_encoder(CNN, 64, 16, str(path))
    assert "\n" not in str(error.value)


def test_a_cut_file_is_refused(tmp_path):
    path, _ = saved(tmp_path, CNN)
    content = Path(path).read_bytes()
    for length in (9, 1000, len(content) // 2, len(content) - 1):
        Path(path).write_bytes(content[:length])
        with pytest.raises(CheckpointError, match="damaged"):
            timm_encoder(CNN, 64, 16, path)


def test_offline_forbids_fetching(monkeypatch):
    monkeypatch.setenv("MTP_OFFLINE", "1")
    with pytest.raises(CheckpointError, match="MTP_OFFLINE=1 forbids fetching"):
        timm_encoder(CNN, 64, 16, True)


def test_a_failed_fetch_is_one_line(monkeypatch):
    create = timm.create_model

    def without_network(name, pretrained=False, **options):
        if pretrained:
            raise ConnectionError("cannot reach the hub\nMax retries exceeded")
        return create(name, **options)

    monkeypatch.delenv("MTP_OFFLINE", raising=False)
    monkeypatch.setattr(timm, "create_model", without_network)
    with pytest.raises(CheckpointError) as error:
        timm_encoder(CNN, 64, 16, True)
    assert str(error.value) == f"model.pretrained: cannot get the weights of {CNN}: cannot reach the hub"


# -------------------------------------------------------------------------------------------------- published encoders


def published(kind):
    torch.manual_seed(0)
    if kind == "vit":
        return VisionTransformer(24, 2, 3, 48, 8).eval()
    return ResNetTransformer(timm_encoder("resnet10t", 64, 16), 24, 2, 3, 48).eval()


@pytest.mark.parametrize(("kind", "grid"), [("vit", (8, 8)), ("resnet", (4, 4))])
@torch.no_grad()
def test_published_encoders_do_not_look_at_padding(kind, grid):
    encoder, images = published(kind), torch.rand(1, 3, 64, 64)
    extent = torch.tensor([[0.5, 0.75]])
    tokens, cells = encoder(images, extent)
    valid = valid_cells(extent, cells)
    assert (encoder.dim, encoder.mlp_ratio, cells) == (24, 2.0, grid)
    if kind == "vit":  # patches do not overlap, so pixels of padding cannot reach the picture in any other way
        images[:, :, 32:] = 0.9
        images[:, :, :, 48:] = 0.9
    else:
        handle = encoder.projection.register_forward_hook(lambda _m, _i, out: out.masked_fill(~valid[..., None], 9.0))
    close(encoder(images, extent).tokens[valid], tokens[valid])
    assert (encoder(images).tokens[valid] - tokens[valid]).abs().max() > 1e-3
    if kind != "vit":
        handle.remove()


@torch.no_grad()
def test_full_extent_equals_none():
    encoder, images = published("vit"), torch.rand(2, 3, 64, 64)
    close(encoder(images, torch.ones(2, 2)).tokens, encoder(images).tokens)


def test_dropout_and_drop_path_act_in_training_alone():
    encoder, images = VisionTransformer(24, 2, 3, 48, 8, dropout=0.5, drop_path=0.5), torch.rand(2, 3, 32, 32)
    assert not torch.equal(encoder(images).tokens, encoder(images).tokens)
    encoder.eval()
    assert torch.equal(encoder(images).tokens, encoder(images).tokens)


def test_every_parameter_of_the_published_encoders_learns():
    for encoder in (published("vit"), published("resnet")):
        encoder.train()
        sum_of_tokens = (encoder(torch.rand(2, 3, 64, 64)).tokens * torch.randn(24)).square().sum()
        sum_of_tokens.backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in encoder.parameters())


def test_stem_of_the_vit_is_a_convolution_over_pixels_as_they_are():
    encoder = published("vit")
    assert isinstance(encoder.stem, nn.Conv2d)
    assert not list(encoder.buffers())
