"""Small data and models for tests: the first drawn scenes, a small table of tokens, an untrained model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch

from .data.shapes import NAMES, ShapesDataset
from .example import Example
from .model.encoder_decoder import EncoderDecoder, build_model
from .sections import DecoderConfig, ModelConfig, TransformerConfig
from .sequence.text import TextCodec
from .sequence.vocabulary import Vocabulary
from .task import Task

SIDE = 64  # pixels of the tiny model's input


def tiny_examples(count: int) -> list[Example]:
    """Drawn scenes with boxes, polygons, keypoints and captions: the first of the embedded data set."""
    dataset = ShapesDataset("val", count)
    return [dataset[i] for i in range(count)]


def tiny_vocabulary(tasks: Iterable[Task], classes: Sequence[str] = NAMES, bins: int = 100) -> Vocabulary:
    """A small table with the tokens of these tasks."""
    return Vocabulary.build(bins, classes, TextCodec.builtin(), {task.name: task.tokens() for task in tasks})


def tiny_model(vocab_size: int) -> EncoderDecoder:
    """An untrained model in evaluation mode, the same every time, for inputs of `SIDE` pixels."""
    encoder = TransformerConfig(dim=32, depth=1, heads=2, mlp_dim=64, patch=16)
    config = ModelConfig(
        image_size=SIDE, encoder="vit", transformer=encoder, decoder=DecoderConfig(dim=32, depth=1, heads=2, mlp_dim=64)
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build_model(config, vocab_size).eval()
