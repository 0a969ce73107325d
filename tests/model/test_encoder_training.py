"""How encoders learn: with stochastic depth, batch norms or all of it frozen, activations computed again, compiled."""

from __future__ import annotations

import copy

import pytest
import torch

from multitask.errors import UsageError
from multitask.model import compilation
from multitask.model.compilation import compile_layers
from multitask.model.encoder import timm_encoder
from multitask.model.encoder_decoder import build_model
from multitask.model.loss import sequence_loss
from multitask.sections import DecoderConfig, ModelConfig, TransformerConfig

CNN = "test_efficientnet"


def model_of(encoder, dropout=0.2, **changes):
    torch.manual_seed(0)
    config = ModelConfig(
        image_size=32,
        encoder=encoder,
        backbone="resnet10t",
        transformer=TransformerConfig(
            dim=24, depth=2, heads=3, mlp_dim=48, patch=8, dropout=dropout, drop_path=dropout
        ),
        decoder=DecoderConfig(dim=32, depth=2, heads=4, mlp_dim=64, max_length=16, dropout=dropout, drop_path=dropout),
        **changes,
    )
    return build_model(config, 50).train()


def images_of(count, seed=1, side=32):
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(seed))


def learn(model, rows=(0, 1, 1), frozen=False):
    """The loss, and its gradients by name, of random targets with seeded dropout."""
    torch.manual_seed(1)
    tokens = torch.randint(50, (len(rows), 7))
    hidden = model.decode(tokens, model.encode(images_of(3), None, frozen), torch.tensor(rows))
    loss = sequence_loss(hidden, model.logits, tokens, torch.ones(tokens.shape))
    loss.backward()
    gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return loss.detach(), gradients


def statistics(model):
    return {name: value.clone() for name, value in model.state_dict().items() if "running" in name}


# ---------------------------------------------------------------------------------------------------------- drop path


def test_stochastic_depth_reaches_a_timm_model_and_nothing_else_changes():
    torch.manual_seed(0)
    plain = timm_encoder("test_vit", 32, 16)
    torch.manual_seed(0)
    dropping = timm_encoder("test_vit", 32, 16, drop_path=0.5)
    assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), dropping.parameters(), strict=True))
    images = images_of(4)
    assert torch.equal(plain.eval()(images).tokens, dropping.eval()(images).tokens)
    assert torch.equal(plain.train()(images).tokens, plain.eval()(images).tokens)
    assert not torch.equal(dropping.train()(images).tokens, dropping.eval()(images).tokens)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"encoder": "vgg11", "drop_path": 0.1}, "model.drop_path: 'vgg11' has no stochastic depth"),
        ({"encoder": "vit", "drop_path": 0.1}, "model.drop_path: the encoder 'vit' has transformer.drop_path instead"),
        ({"encoder": "vit", "freeze_norm": True}, "model.freeze_norm: the encoder 'vit' has no batch norms"),
        ({"encoder": "test_vit", "freeze_norm": True}, "model.freeze_norm: 'test_vit' has no batch norms"),
    ],
)
def test_what_an_encoder_does_not_have_is_refused_by_name(changes, message):
    with pytest.raises(UsageError) as error:
        model_of(**changes)
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


# ----------------------------------------------------------------------------------------------------------- freezing


@pytest.mark.parametrize("encoder", [CNN, "resnet_transformer"])
def test_frozen_batch_norms_keep_their_statistics_and_learn_their_weights(encoder):
    frozen, plain = model_of(encoder, 0.0, freeze_norm=True), model_of(encoder, 0.0)
    before = statistics(frozen)
    _, gradients = learn(frozen)
    learn(plain)
    assert before and all(torch.equal(value, before[name]) for name, value in statistics(frozen).items())
    assert any(not torch.equal(value, before[name]) for name, value in statistics(plain).items())
    norm = "encoder.net.bn1" if encoder == CNN else "encoder.backbone.net.bn1"
    assert gradients[f"{norm}.weight"].abs().sum() > 0 and gradients[f"{norm}.bias"].abs().sum() > 0


def test_with_frozen_batch_norms_images_do_not_see_each_other():
    encoder, images = model_of(CNN, freeze_norm=True).encoder, images_of(4, side=64)
    alone = torch.cat([encoder(image[None]).tokens for image in images])
    torch.testing.assert_close(encoder(images).tokens, alone, atol=1e-5, rtol=0)
    plain = model_of(CNN).encoder
    alone = torch.cat([plain(image[None]).tokens for image in images])
    assert (plain(images).tokens - alone).abs().max() > 1e-2


@pytest.mark.parametrize("encoder", [CNN, "vit"])
def test_a_frozen_encoder_runs_as_in_evaluation_and_the_rest_learns(encoder):
    model = model_of(encoder)
    before = statistics(model)
    _, gradients = learn(model, frozen=True)
    names = {name for name, _ in model.named_parameters()}
    assert gradients.keys() == {name for name in names if not name.startswith("encoder.")}
    assert all(torch.equal(value, before[name]) for name, value in statistics(model).items())
    assert all(module.training for module in model.modules())
    seen = []
    model.bridge.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].tokens))
    model.encode(images_of(3), frozen=True)
    assert torch.equal(seen[0], model.encoder.eval()(images_of(3)).tokens)


def test_norms_stay_frozen_after_the_encoder_was():
    model = model_of(CNN, freeze_norm=True)
    model.encode(images_of(2), frozen=True)
    assert model.encoder.training and not model.encoder.net.bn1.training
    assert model.encoder.net.blocks.training


def test_an_evaluating_encoder_stays_so():
    model = model_of(CNN).eval()
    model.encode(images_of(2), frozen=True)
    assert not any(module.training for module in model.modules())


# ---------------------------------------------------------------------------------------------------------- recompute


@pytest.mark.parametrize("encoder", ["vit", "test_vit", CNN, "resnet_transformer", "mobilenetv4_conv_small"])
def test_activations_computed_again_change_nothing(encoder):
    plain = model_of(encoder, drop_path=0.0 if encoder == "vit" else 0.2)
    saving = copy.deepcopy(plain)
    saving.recompute()
    runs = [learn(plain), learn(saving)]
    (expected, gradients), (loss, again) = runs
    assert torch.equal(loss, expected)
    assert again.keys() == gradients.keys()
    for name, gradient in gradients.items():
        torch.testing.assert_close(again[name], gradient, atol=1e-6, rtol=1e-5)
    for name, value in statistics(plain).items():
        assert torch.equal(statistics(saving)[name], value), name


def test_layers_keep_nothing_but_their_inputs_in_training_alone():
    def kept(model):
        sizes = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t: sizes.append(t.numel()) or t, lambda t: t):
            model.decode(torch.zeros(3, 7, dtype=torch.int64), model.encode(images_of(3)))
        return sum(sizes)

    model = model_of("vit")
    before = kept(model)
    evaluating = kept(model.eval())
    model.train().recompute()
    assert kept(model) < before / 2
    assert kept(model.eval()) == evaluating


# ------------------------------------------------------------------------------------------------------------ compile


def test_compiled_layers_give_the_same_loss_and_know_few_shapes():
    plain = model_of("vit", 0.0)
    compiled = copy.deepcopy(plain)
    torch._dynamo.utils.counters.clear()
    compile_layers(compiled, backend="eager")
    for rows in ((0, 1, 2), (0, 1, 1, 2), (0, 0, 1, 1, 2), (2, 0, 1, 2, 2, 0)):
        (expected, gradients), (loss, again) = learn(plain, rows), learn(compiled, rows)
        torch.testing.assert_close(loss, expected, atol=1e-5, rtol=0)
        assert again.keys() == gradients.keys()
    assert 0 < torch._dynamo.utils.counters["stats"]["unique_graphs"] <= 4
    copied = copy.deepcopy(compiled)
    with torch.no_grad():
        copied.decoder.layers[0].feed_forward.up.weight.zero_()
    assert not torch.equal(learn(copied)[0], learn(compiled)[0])


def test_a_missing_compiler_is_named(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(UsageError, match=r"train\.compile needs a C\+\+ compiler, and 'no-such-compiler' is not here"):
        compile_layers(model_of("vit"))


def test_missing_headers_of_python_are_named(monkeypatch, tmp_path):
    monkeypatch.setenv("CXX", "sh")
    monkeypatch.setattr(compilation.sysconfig, "get_path", lambda _: str(tmp_path))
    with pytest.raises(UsageError, match=r"train\.compile needs .*Python\.h: install"):
        compile_layers(model_of("vit"))
