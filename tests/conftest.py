"""Toy data, tasks and models, so that the engine is tested without the built-in tasks. In tests: the fixture `toys`."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from multitask.annotations import Boxes, Captions
from multitask.errors import DataError
from multitask.example import Example
from multitask.model.decoder import Decoder
from multitask.model.encoder_decoder import Bridge, EncoderDecoder
from multitask.model.vit import VisionTransformer
from multitask.sequence.coordinates import bins_to_boxes, boxes_to_bins
from multitask.sequence.text import TextCodec
from multitask.task import (
    END,
    Category,
    DatasetInfo,
    Grammar,
    Ids,
    State,
    Target,
    Task,
    Vocabulary,
)

torch.set_num_threads(1)  # for networks this small, threads mostly wait for each other
BINS = 32
WORDS = ("disc", "star", "cat")
CAPTIONS = ("a red disc", "two blue stars on the left", "a cat")


def vocabulary(*tasks: Task, bins: int = BINS) -> Vocabulary:
    text = TextCodec.train(CAPTIONS, 320)
    return Vocabulary.build(bins, WORDS, text, {task.name: task.tokens() for task in tasks})


def network(vocab_size: int, max_length: int = 32, dropout: float = 0.0, spread: float = 0.2) -> EncoderDecoder:
    """Images of 32 pixels as 4 x 4 cells. Biases and norms are moved off their initial values by `spread`."""
    torch.manual_seed(0)
    encoder = VisionTransformer(24, 1, 3, 48, 8, dropout, 0.0)
    bridge = Bridge(24, 32, encoder.mlp_ratio, dropout, 0.0)
    model = EncoderDecoder(encoder, bridge, Decoder(vocab_size, 32, 2, 4, 64, max_length, dropout, 0.0))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += spread * torch.randn_like(parameter)
    return model.eval()


def noisy_image(number: int, width: int, height: int, reduce: int = 1) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, (height, width, 3), dtype=np.uint8)


def unreadable(file: str, reduce: int = 1) -> np.ndarray:
    raise DataError(f"{file}: is damaged")


class ToyDataset:
    """`count` images of different sizes with a box and a caption each; those in `damaged` cannot be read."""

    split = "toy"
    faults = ()

    def __init__(self, count: int, damaged=(), kinds=None) -> None:
        self.info = DatasetInfo("toys", tuple(Category(i, name) for i, name in enumerate(WORDS, 1)))
        self.count, self.damaged = count, damaged
        self.kinds_of = kinds or (lambda i: frozenset({"boxes", "captions"}))

    def __len__(self) -> int:
        return self.count

    @property
    def entries(self) -> int:
        return self.count

    def kinds(self, i: int) -> frozenset[str]:
        return self.kinds_of(i)

    def __getitem__(self, i: int) -> Example:
        width, height = 40 + 3 * (i % 5), 30 + 5 * (i % 3)
        box = Boxes(np.array([[2.0 + i % 7, 3, 25 + i % 7, 21]]), (WORDS[i % 3],))
        everything = {"boxes": box, "captions": Captions((CAPTIONS[i % 3],))}
        annotations = {kind: a for kind, a in everything.items() if kind in self.kinds(i)}
        file = f"toys/{i}.png"
        load = partial(unreadable, file) if i in self.damaged else partial(noisy_image, i, width, height)
        return Example(i, file, (width, height), annotations, load)


class Find(Task):
    """Four coordinates and a class for each box; exactly one box in an answer."""

    name = "find"
    kinds = ("boxes",)

    def serialize(self, example, vocab, rng):
        boxes = example.annotations["boxes"]
        corners = vocab.coord.start + boxes_to_bins(boxes.xyxy, vocab.bins)
        classes = np.array([vocab.class_id(name) for name in boxes.labels], dtype=np.int64)
        tokens = np.column_stack([corners, classes]).reshape(-1)
        return [Target(self.prompt.encode(vocab), tokens, np.ones(len(tokens), np.float32))]

    def grammar(self, query, vocab):
        coord = Ids(((vocab.coord.start, vocab.coord.stop),))
        states = [State(((coord, n + 1),), not_below=2 * (n > 1)) for n in range(4)]
        return Grammar((*states, State(((vocab.ids("class"), END),))), 5)

    def deserialize(self, query, samples, vocab):
        tokens = samples[0].tokens
        if len(tokens) < 5 or vocab.class_name(tokens[4]) is None:
            return {"boxes": Boxes(np.zeros((0, 4)), ())}
        xyxy = bins_to_boxes(np.clip(tokens[None, :4] - vocab.coord.start, 0, vocab.bins - 1), vocab.bins)
        return {"boxes": Boxes(xyxy, (vocab.class_name(tokens[4]),))}


class Say(Task):
    """One caption."""

    name = "say"
    kinds = ("captions",)

    def serialize(self, example, vocab, rng):
        captions = [np.array(vocab.encode_text(t)) for t in example.annotations["captions"].texts]
        return [Target(self.prompt.encode(vocab), ids, np.ones(len(ids), np.float32)) for ids in captions]

    def grammar(self, query, vocab):
        return Grammar((State(((vocab.ids("text"), 0), (Ids.of(vocab.eos), END))),), 12)

    def deserialize(self, query, samples, vocab):
        return {"captions": Captions(tuple(vocab.decode_text(s.tokens) for s in samples))}


@pytest.fixture(scope="session")
def toys() -> SimpleNamespace:
    return SimpleNamespace(
        vocabulary=vocabulary, network=network, Dataset=ToyDataset, Find=Find, Say=Say, image=noisy_image, words=WORDS
    )
