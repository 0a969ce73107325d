"""What decoding is measured against: `generate` of transformers, and the bare matrix products of a decode."""

from __future__ import annotations

from functools import partial
from itertools import chain
from typing import Any

import torch
from decoding_setup import COORDINATES, DEPTH, DIM, HEADS, LENGTH, MLP_DIM, PATCH, SIDE, Work, named
from torch import Tensor, nn

from multitask.decoding.linears import Precision, prepared
from multitask.decoding.stepping import Stepper
from multitask.model.decoder import DecoderLayer, Memory

VIT_S = 384  # width of its features
SPECIAL = {"decoder_start_token_id": 0, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2}
FIELDS = 5  # tokens an object, of which the last is a name


def vision_encoder_decoder(vocabulary: int, width: int) -> Any:
    """GPT-2's decoder of our shape behind an encoder of that width, which is never run, with random weights.

    Raises SystemExit where transformers is missing.
    """
    try:
        import transformers
    except ImportError as error:
        raise SystemExit("transformers is missing: pip install 'multitask-prompts[bench]'") from error
    transformers.logging.set_verbosity_error()
    encoder = transformers.ViTConfig(
        hidden_size=width, num_hidden_layers=1, num_attention_heads=8, image_size=SIDE, patch_size=PATCH
    )
    decoder = transformers.GPT2Config(
        vocab_size=vocabulary,
        n_positions=LENGTH,
        n_embd=DIM,
        n_layer=DEPTH,
        n_head=HEADS,
        n_inner=MLP_DIM,
        add_cross_attention=True,
    )
    both = transformers.VisionEncoderDecoderConfig.from_encoder_decoder_configs(encoder, decoder)
    torch.manual_seed(0)
    return transformers.VisionEncoderDecoderModel(both).eval()


def library(vocabulary: int, batch: int, tokens: int, width: int, dtype: torch.dtype, device: torch.device) -> Work:
    """Greedy decoding by transformers from given features (batch, N, width), with its cache.

    Where `width` is not that of the decoder, the library projects the features anew at each step.
    """
    model = vision_encoder_decoder(vocabulary, width).to(device, dtype)
    features = torch.randn(batch, (SIDE // PATCH) ** 2, width, device=device, dtype=dtype)
    from transformers import GenerationConfig
    from transformers.modeling_outputs import BaseModelOutput

    settings = GenerationConfig(
        max_new_tokens=tokens, min_new_tokens=tokens, do_sample=False, use_cache=True, **SPECIAL
    )

    def work() -> None:
        with torch.inference_mode():
            encoded = BaseModelOutput(last_hidden_state=features)
            answers = model.generate(encoder_outputs=encoded, generation_config=settings)
        assert answers.shape == (batch, tokens + 1)

    return work


@torch.inference_mode()
def bare(stepper: Stepper, memory: Memory, tokens: int) -> Work:
    """The matrix products of `tokens` steps with one row an image, and nothing else: a bound of what can be reached.

    The first are those of the keys and values of the images.
    Inputs lie ready. Nothing is normed, summed, chosen or copied, and of the table only rows that may be drawn are
    multiplied.
    """
    count, decoder = len(memory.tokens), stepper.decoder
    tokens_ = memory.tokens.flatten(0, 1)
    tokens_ = tokens_ if stepper.precision == "fp32" else tokens_.bfloat16()
    images = [partial(layer.key_value, tokens_) for layer in stepper.layers]
    cache = stepper.start(memory, range(count), tokens)
    hidden = torch.randn(count, DIM, device=memory.tokens.device)
    parts = zip(decoder.layers, cache.past, cache.images, strict=True)
    layers = [
        layer_products(layer, past.normal_().flatten(1, 2), image, stepper.precision) for layer, past, image in parts
    ]
    names = [COORDINATES] * (FIELDS - 1) + [named(len(decoder.embedding))]
    outputs = [partial(stepper.output(torch.from_numpy(n.array()).to(hidden.device)).product, hidden) for n in names]

    steps: list[list[Work]] = [
        images,
        *([*chain(*(layer[step] for layer in layers)), outputs[step % FIELDS]] for step in range(tokens)),
    ]

    @torch.inference_mode()
    def work() -> None:
        for step in steps:
            for product in step:
                product()

    return work


def layer_products(layer: DecoderLayer, past: Tensor, image: Tensor, precision: Precision) -> list[list[Work]]:
    """Those of one layer by step: keys and values of positions (2, R * heads, S, C), of images (2, R, heads, N, C)."""
    own, cross, feed = layer.self_attention, layer.cross_attention, layer.feed_forward

    def linear(which: nn.Linear) -> Work:
        x = past.new_empty(image.shape[1], which.in_features).normal_()
        return partial(prepared(which, precision), x if precision == "fp32" else x.bfloat16())

    before, between = [linear(own.qkv)], [linear(own.out), linear(cross.query)]
    after = [*attention(image.flatten(1, 2)), linear(cross.out), linear(feed.up), linear(feed.down)]
    ends = range(1, past.shape[2] + 1)
    return [[*before, *attention(past[:, :, :end]), *between, *after] for end in ends]


def attention(keys_values: Tensor) -> list[Work]:
    """One query a head against keys and values (2, G, S, C)."""
    keys, values = keys_values
    query, weights = keys[:, :1].contiguous(), keys.new_empty(len(keys), 1, keys.shape[1]).normal_()
    return [partial(torch.bmm, query, keys.transpose(1, 2)), partial(torch.bmm, weights, values)]
