"""Image captioning: one sentence about the whole image (Pix2Seq v2, arXiv 2206.07669, section 3.2)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import Field

from ..annotations import Captions
from ..example import Example
from ..task import (
    END,
    Annotations,
    Augment,
    DatasetInfo,
    Decoded,
    Grammar,
    Ids,
    Metric,
    Passage,
    Query,
    State,
    Target,
    Task,
    TaskOptions,
    Vocabulary,
)
from .caption_metrics import CaptionScores

WORD = "\u2581"  # a piece of text that begins a word begins with it


class CaptioningOptions(TaskOptions):
    """Settings under `tasks.caption`; the defaults are the published ones."""

    augment: Augment = Field(
        Augment(scale=(0.3, 2.0), flip=0.5, colour=0.5), description="variation of the training images"
    )
    input_dropout: float = Field(0.5, ge=0, lt=1, description="share of caption tokens hidden from the decoder")
    eos_weight: float = Field(0.1, ge=0, description="loss weight of the end of the caption")
    max_tokens: int = Field(128, ge=1, le=4096, description="longest caption, in pieces; longer ones are cut")
    captions_per_image: int = Field(0, ge=0, description="captions trained on each time an image is seen; 0: all")


class Captioning(Task):
    """Describes the image in a sentence."""

    name = "caption"
    kinds = ("captions",)
    prompt_file = "multitask.prompts/caption.yaml"
    Options = CaptioningOptions
    options: CaptioningOptions

    def serialize(self, example: Example, vocab: Vocabulary, rng: np.random.Generator | None) -> list[Target]:
        """One sequence a caption; with `rng`, a share of the decoder's input is hidden behind `<mask>`."""
        captions = example.annotations["captions"]
        assert isinstance(captions, Captions)  # noqa: S101  # by its kind
        texts, wanted = captions.texts, self.options.captions_per_image
        if rng is not None and 0 < wanted < len(texts):
            texts = tuple(texts[i] for i in rng.choice(len(texts), wanted, replace=False))
        return [self._target(text, vocab, rng) for text in texts]

    def _target(self, text: str, vocab: Vocabulary, rng: np.random.Generator | None) -> Target:
        pieces, most = vocab.encode_text(text), self.options.max_tokens
        tokens = np.array(pieces[:most], dtype=np.int64)
        weights = np.ones(len(tokens), dtype=np.float32)
        inputs = None
        if rng is not None:
            inputs = np.where(rng.random(len(tokens)) < self.options.input_dropout, vocab.mask, tokens)
        cut = ("max_tokens",) if len(pieces) > most else ()
        return Target(self.prompt.encode(vocab), tokens, weights, inputs, self.options.eos_weight, cut=cut)

    def grammar(self, query: Query, vocab: Vocabulary) -> Grammar:
        """Pieces of text until the end."""
        return Grammar((State(((vocab.ids("text"), 0), (Ids.of(vocab.eos), END))),), self.options.max_tokens)

    def deserialize(self, query: Query, samples: Sequence[Decoded], vocab: Vocabulary) -> Annotations:
        """One caption a sample, scored by the geometric mean of its token probabilities."""
        scores = tuple(float(np.exp(np.mean(s.logprobs))) if len(s.logprobs) else 0.0 for s in samples)
        return {"captions": Captions(tuple(vocab.decode_text(s.tokens) for s in samples), scores)}

    def passages(self, query: Query, answer: Decoded, vocab: Vocabulary) -> list[Passage]:
        """Each word."""
        words: list[list[int]] = []
        for place, token in enumerate(answer.tokens.tolist()):
            if vocab.render([token]).startswith(WORD) or not words:
                words.append([])
            words[-1].append(place)
        labels = [vocab.decode_text(answer.tokens[places]).strip() for places in words]
        return [Passage(label, tuple(places)) for label, places in zip(labels, words, strict=True) if label]

    def metric(self, dataset: DatasetInfo) -> Metric:
        return CaptionScores()
