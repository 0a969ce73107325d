from __future__ import annotations

import math

import pytest
import torch

from multitask.config import Config
from multitask.data.groups import group_tasks
from multitask.data.mixture import Batch, Mixture
from multitask.model.encoder_decoder import build_model
from multitask.sections import DecoderConfig, ModelConfig, TrainConfig, TransformerConfig
from multitask.task import View
from multitask.training.optimisation import learning_rate
from multitask.training.trainer import Trainer

CPU = torch.device("cpu")
TINY = ModelConfig(
    image_size=32,
    encoder="vit",
    transformer=TransformerConfig(dim=24, depth=1, heads=3, mlp_dim=48, patch=8),
    decoder=DecoderConfig(dim=32, depth=1, heads=4, mlp_dim=64, max_length=32),
)
FAST = {"steps": 40, "batch_size": 2, "lr": 5e-3, "warmup": 5, "precision": "fp32"}


@pytest.fixture(scope="module")
def world(toys):
    """Two toy tasks on two images."""
    world = type("World", (), {})()
    world.tasks = {"find": toys.Find(), "say": toys.Say()}
    world.vocab = toys.vocabulary(*world.tasks.values())

    def mixture(names=("find", "say"), **others) -> Mixture:
        groups = group_tasks([world.tasks[name] for name in names], toys.Dataset(2))
        return Mixture(toys.Dataset(2), groups, world.vocab, 32, 2, 0)

    def trainer(seed: int = 0, **settings) -> Trainer:
        config = Config(tasks={"find": {}, "say": {}}, model=TINY, train=TrainConfig(**{**FAST, **settings}), seed=seed)
        torch.manual_seed(seed)
        return Trainer(config, world.tasks, world.vocab, build_model(TINY, len(world.vocab)), CPU)

    world.mixture, world.trainer = mixture, trainer
    return world


def weights(module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


def same(one: dict, other: dict) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_the_loss_falls_on_two_images(world):
    trainer, mixture = world.trainer(), world.mixture()
    found = [trainer.update(mixture[step]) for step in range(30)]
    for name in ("find", "say"):
        first, last = float(found[0][name]), float(found[-1][name])
        assert last < first / 2, (name, first, last)
    assert trainer.progress.step == 30


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_the_same_seed_gives_the_same_weights(world, ema):
    def five(seed: int) -> Trainer:
        trainer, mixture = world.trainer(seed, ema=ema), world.mixture()
        for step in range(5):
            trainer.update(mixture[step])
        return trainer

    one, again, other = five(0), five(0), five(1)
    assert same(weights(one.model), weights(again.model))
    assert same(weights(one.best_model), weights(again.best_model))
    assert not same(weights(one.model), weights(other.model))
    assert (one.best_model is one.model) == (ema == 0.0)
    assert same(weights(one.best_model), weights(one.model)) == (ema == 0.0)


def test_the_average_forgets_the_weights_it_began_with(world):
    trainer, mixture = world.trainer(ema=0.999), world.mixture()
    gaps = []
    for step in range(6):
        trainer.update(mixture[step])
        averaged = weights(trainer.ema.module)
        gaps.append(max(float((averaged[n] - w).abs().max()) for n, w in weights(trainer.model).items()))
    assert gaps[0] < 1e-6 < 1e-3 < gaps[5]


def test_each_batch_of_images_is_encoded_once(world, monkeypatch):
    trainer, sizes = world.trainer(), []
    encode = trainer.model.encode
    monkeypatch.setattr(trainer.model, "encode", lambda x, *more: (sizes.append(len(x)), encode(x, *more))[1])
    trainer.update(world.mixture()[0])
    assert sizes == [2]


def test_the_rate_follows_the_schedule(world):
    trainer, mixture = world.trainer(), world.mixture()
    rates = []
    trainer.optimizer.register_step_pre_hook(lambda o, *_: rates.append([group["lr"] for group in o.param_groups]))
    for step in range(8):
        trainer.update(mixture[step])
    assert rates == [[learning_rate(step, trainer.config.train)] * 2 for step in range(8)]


def gradients(trainer: Trainer, batches) -> dict[str, torch.Tensor]:
    """Those that the optimiser is given; dropout is switched off by the same seed."""
    found: dict[str, torch.Tensor] = {}
    trainer.optimizer.register_step_pre_hook(
        lambda *_: found.update({n: p.grad.clone() for n, p in trainer.model.named_parameters() if p.grad is not None})
    )
    torch.manual_seed(7)
    trainer.update(batches)
    return found


def test_gradients_are_clipped_to_the_limit_and_only_there(world):
    def norm(clip: float) -> float:
        found = gradients(world.trainer(clip=clip), world.mixture()[0])
        return float(torch.stack([g.norm() for g in found.values()]).norm())

    free = norm(0.0)
    assert free > 0.02
    assert norm(0.01) == pytest.approx(0.01, rel=1e-3)
    assert norm(1000.0) == pytest.approx(free)


def test_losses_are_weighed_by_task(world):
    batches = world.mixture()[0]
    both, double = (
        gradients(world.trainer(clip=0.0, task_weights={"find": w, "say": 0.0}), batches) for w in (1.0, 2.0)
    )
    assert all(torch.allclose(2 * both[n], double[n], atol=1e-6) for n in both)
    alone = gradients(world.trainer(clip=0.0), world.mixture(["find"])[0])
    batch_order = world.mixture(["find"])[0][0].files == batches[0].files
    if batch_order:  # the order of images is the group's own
        assert all(torch.allclose(both[n], alone[n], atol=1e-5) for n in alone)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_step_with_a_bad_gradient_is_skipped(world, monkeypatch, bad):
    trainer, mixture = world.trainer(ema=0.5), world.mixture()
    trainer.update(mixture[0])
    before = weights(trainer.model), weights(trainer.ema.module)
    moments = {n: v.clone() for s in trainer.optimizer.state.values() for n, v in s.items()}
    forward = trainer.shared.forward
    monkeypatch.setattr(trainer.shared, "forward", lambda *given: {n: bad * x for n, x in forward(*given).items()})
    trainer.update(mixture[1])
    assert trainer.bad
    assert same(before[0], weights(trainer.model)) and same(before[1], weights(trainer.ema.module))
    assert same(moments, {n: v for s in trainer.optimizer.state.values() for n, v in s.items()})
    assert (trainer.progress.step, trainer.progress.bad_steps, trainer.progress.skipped) == (2, 1, 1)
    monkeypatch.undo()
    trainer.update(mixture[2])
    assert trainer.progress.bad_steps == 0
    assert not same(before[0], weights(trainer.model))
    assert all(t.isfinite().all() for t in weights(trainer.model).values() if t.is_floating_point())


def test_one_bad_value_in_one_parameter_is_enough(world):
    trainer, mixture = world.trainer(), world.mixture()
    before = weights(trainer.model)
    parameter = trainer.model.decoder.norm.bias
    parameter.register_hook(lambda grad: grad.index_fill(0, torch.tensor([3]), math.inf))
    trainer.update(mixture[0])
    assert same(before, weights(trainer.model))


def test_a_batch_with_nothing_to_say_does_no_harm(world, toys, monkeypatch):
    monkeypatch.setattr(toys.Find, "serialize", lambda *_: [])
    trainer = world.trainer()
    assert list(trainer.update(world.mixture()[0])) == ["say"]
    before = weights(trainer.model)
    assert trainer.update(world.mixture(["find"])[0]) == {}
    assert (trainer.progress.step, trainer.progress.bad_steps) == (2, 0)
    assert same(before, weights(trainer.model))


def seeing_cats(toys, count: int, seed: int = 0) -> Mixture:
    """A task that looks at cats alone, which every third image shows, beside one that looks at whole images."""

    class Cats(toys.Find):
        name = "find"

        def views(self, annotations, rng=None):
            boxes = annotations["boxes"]
            cats = boxes.take([label == "cat" for label in boxes.labels])
            return [View(tuple(cats.xyxy[i]), {"boxes": cats.take([i])}) for i in range(len(cats))]

    tasks, dataset = [Cats(), toys.Say()], toys.Dataset(count)
    return Mixture(dataset, group_tasks(tasks, dataset), toys.vocabulary(*tasks), 32, 1, seed)


def test_a_step_in_which_a_task_sees_nothing_is_one_of_the_others(world, toys, monkeypatch):
    trainer, mixture, sizes = world.trainer(), seeing_cats(toys, 6), []
    encode = trainer.model.encode
    monkeypatch.setattr(trainer.model, "encode", lambda x, *more: (sizes.append(len(x)), encode(x, *more))[1])
    for step in range(6):
        cats, whole = mixture[step]
        found = trainer.update([cats, whole])
        seen = whole.files[0] in ("toys/2.png", "toys/5.png")
        assert list(found) == (["find", "say"] if seen else ["say"]) and len(cats.images) == seen
        assert sizes == ([1, 1] if seen else [1])
        sizes.clear()
    assert (trainer.progress.step, trainer.progress.bad_steps) == (6, 0)


def test_a_step_in_which_nothing_is_to_be_seen_changes_nothing(world, toys, monkeypatch):
    trainer, mixture = world.trainer(ema=0.5), seeing_cats(toys, 6)
    trainer.update(mixture[0])
    empty = next(batches[0] for batches in map(mixture.__getitem__, range(6)) if not len(batches[0].images))
    before = weights(trainer.model)
    monkeypatch.setattr(trainer.model, "encode", lambda *_: pytest.fail("encodes nothing"))
    assert isinstance(empty, Batch) and trainer.update([empty]) == {}
    assert same(before, weights(trainer.model))
    assert (trainer.progress.step, trainer.progress.bad_steps) == (2, 0)


def test_bfloat16_gives_nearly_the_same_loss(world):
    batches = world.mixture()[0]
    exact, rough = (float(world.trainer(precision=p).update(batches)["find"]) for p in ("fp32", "bf16"))
    assert rough == pytest.approx(exact, rel=0.05) and rough != exact


def test_the_predictor_has_the_averaged_weights(world, toys):
    trainer = world.trainer(ema=0.9)
    predictor = trainer.predictor()
    assert predictor.model is trainer.ema.module and predictor.side == 32
    (answer,) = predictor.predict([toys.Dataset(1)[0]], ["find"])
    assert "boxes" in answer["find"].annotations
