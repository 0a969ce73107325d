"""How far the losses of several processes, and of accumulated parts, are from those of one process with whole batches.

    torchrun --standalone --nproc-per-node 2 tests/training/sharing.py [STEPS]

Prints the greatest difference of any loss of any step, by way of sharing, as JSON.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator

import torch

from multitask.assembly import fitted, make_tasks, make_vocabulary, open_split
from multitask.config import Config
from multitask.data.loader import step_loader
from multitask.evaluate import as_scores, evaluate, flat
from multitask.model.encoder_decoder import build_model
from multitask.processes import ALONE, Processes
from multitask.sections import DataConfig, DecoderConfig, ModelConfig, TrainConfig, TransformerConfig
from multitask.training.trainer import Trainer, seed

VIT = {
    "encoder": "vit",
    "transformer": TransformerConfig(dim=24, depth=1, heads=3, mlp_dim=48, patch=8, dropout=0.0, drop_path=0.0),
}
FROZEN = {"encoder": "test_efficientnet", "freeze_norm": True}
WAYS = {  # of sharing: the model, settings of the training
    "ddp, vit": (VIT, {}),
    "ddp, accumulate 2": (VIT, {"accumulate": 2}),
    "ddp, frozen batch norm": (FROZEN, {}),
    "ddp, the encoder learns from step 3 on": (VIT, {"unfreeze_encoder": 3}),
    "fsdp, accumulate 2": (VIT, {"parallel": "fsdp", "accumulate": 2}),
    "fsdp, frozen batch norm, recompute": (FROZEN, {"parallel": "fsdp", "recompute": True}),
}


def recipe(model: dict, train: dict, steps: int) -> Config:
    """Parts of 2 pictures: of many, not one has a figure, so that a process often has nothing to say of keypoints."""
    decoder = DecoderConfig(dim=32, depth=2, heads=4, mlp_dim=64, max_length=48, dropout=0.0, drop_path=0.0)
    return Config(
        tasks={"det": {"max_instances": 4}, "caption": {"max_tokens": 8}, "keypoints": {"max_instances": 1}},
        bins=32,
        data=DataConfig(train_size=16, val_size=6, workers=0),
        model=ModelConfig(image_size=32, decoder=decoder, **model),
        train=TrainConfig(steps=steps, batch_size=8, warmup=5, precision="fp32", ema=0.9, **train),
    )


def trained(config: Config, processes: Processes) -> tuple[Trainer, list[list[float]], dict[str, float]]:
    """The losses of every step by task, and the scores at the end."""
    dataset = open_split(config, "train")
    config = fitted(config, dataset)
    tasks = make_tasks(config)
    vocab = make_vocabulary(config, tasks, dataset)
    seed(0)
    model = build_model(config.model, len(vocab))
    trainer = Trainer(config, tasks, vocab, model, torch.device("cpu"), processes)
    places = (processes.rank, processes.world, processes.local_world)
    losses = [
        steps
        for parts in step_loader(config, tasks.values(), vocab, dataset, 0, *places)
        for steps in read(trainer, trainer.update(*parts), processes)
    ]
    found = evaluate(trainer.predictor(), open_split(config, "val"), list(tasks), 2, processes=processes)
    scores = as_scores(found)
    return trainer, losses, flat(scores)


def read(trainer: Trainer, losses: dict[str, torch.Tensor], processes: Processes) -> Iterator[list[float]]:
    yield processes.table([float(losses.get(name, 0.0)) for name in trainer.tasks]).sum(0).tolist()


def difference(one: list[list[float]], other: list[list[float]]) -> float:
    return float((torch.tensor(one) - torch.tensor(other)).abs().max())


def main(steps: int) -> None:
    torch.set_num_threads(1)
    processes = Processes.started()
    found = {}
    with processes.connected(torch.device("cpu")):
        for way, (model, train) in WAYS.items():
            _, shared, scores = trained(recipe(model, train, steps), processes)
            alone = {name: value for name, value in train.items() if name not in ("accumulate", "parallel")}
            _, single, expected = trained(recipe(model, alone, steps), ALONE)
            same = json.dumps(scores) == json.dumps(expected)
            found[way] = {"loss": difference(shared, single), "of": max(map(max, single)), "same scores": same}
    if processes.first:
        print(json.dumps(found))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 50)
