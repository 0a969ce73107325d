"""Weights of the published Pix2Seq ViT model under their TensorFlow names, as a state of ours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch import Tensor

Arrays = Mapping[str, np.ndarray]


def published_state(arrays: Arrays, encoder_depth: int, decoder_depth: int) -> dict[str, Tensor]:
    """`EncoderDecoder.state_dict()` from arrays named `vit/stem_conv/kernel:0` and so on.

    Dense kernels are (in, out), query/key/value kernels (in, heads, channels), output kernels (heads, channels, out),
    convolutions HWIO.
    """
    state = dict(_entries(arrays, encoder_depth, decoder_depth))
    return {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in state.items()}


def _entries(arrays: Arrays, encoder_depth: int, decoder_depth: int) -> Iterator[tuple[str, np.ndarray]]:
    yield "encoder.stem.weight", arrays["vit/stem_conv/kernel:0"].transpose(3, 2, 0, 1)
    yield "encoder.stem.bias", arrays["vit/stem_conv/bias:0"]
    yield from _norm(arrays, "vit/stem_ln", "encoder.transformer.stem_norm")
    for index in range(encoder_depth):
        theirs = f"vit/transformer_encoder/transformer_encoder{_suffix(index)}"
        ours = f"encoder.transformer.layers.{index}"
        yield from _self_attention(arrays, f"{theirs}/mha", f"{ours}.attention")
        yield from _feed_forward(arrays, f"{theirs}/mlp/ffn", f"{ours}.feed_forward")
    yield from _norm(arrays, "vit/ouput_ln", "encoder.transformer.norm")
    yield from _dense(arrays, "proj/linear", "bridge.projection")
    yield from _norm(arrays, "proj/ln", "bridge.norm")
    yield from _feed_forward(arrays, "proj/mlp/ffn", "bridge.feed_forward")
    yield from _decoder(arrays, decoder_depth)


def _decoder(arrays: Arrays, depth: int) -> Iterator[tuple[str, np.ndarray]]:
    yield "decoder.positions", arrays["ar_decoder/seq_pos_embedding:0"]
    yield "decoder.embedding", arrays["ar_decoder/token_embedding:0"]
    yield "decoder.output_bias", arrays["ar_decoder/outp_bias:0"]
    for index in range(depth):
        theirs = f"ar_decoder/transformer_decoder/transformer_decoder_layer{_suffix(index)}"
        ours = f"decoder.layers.{index}"
        yield from _self_attention(arrays, f"{theirs}/self_mha", f"{ours}.self_attention")
        yield from _cross_attention(arrays, f"{theirs}/cross_mha", f"{ours}.cross_attention")
        yield from _feed_forward(arrays, f"{theirs}/mlp/ffn", f"{ours}.feed_forward")
    yield from _norm(arrays, "ar_decoder/ouput_ln", "decoder.norm")


def _suffix(index: int) -> str:
    return f"_{index}" if index else ""


def _norm(arrays: Arrays, theirs: str, ours: str) -> Iterator[tuple[str, np.ndarray]]:
    yield f"{ours}.weight", arrays[f"{theirs}/gamma:0"]
    yield f"{ours}.bias", arrays[f"{theirs}/beta:0"]


def _dense(arrays: Arrays, theirs: str, ours: str) -> Iterator[tuple[str, np.ndarray]]:
    yield f"{ours}.weight", arrays[f"{theirs}/kernel:0"].T
    yield f"{ours}.bias", arrays[f"{theirs}/bias:0"]


def _feed_forward(arrays: Arrays, theirs: str, ours: str) -> Iterator[tuple[str, np.ndarray]]:
    yield from _norm(arrays, f"{theirs}/ln", f"{ours}.norm")
    yield from _dense(arrays, f"{theirs}/dense1", f"{ours}.up")
    yield from _dense(arrays, f"{theirs}/dense2", f"{ours}.down")


def _fused(arrays: Arrays, theirs: str, parts: tuple[str, ...], ours: str) -> Iterator[tuple[str, np.ndarray]]:
    """One of our linear layers from several of their projections into heads."""
    kernels = [arrays[f"{theirs}/{part}/kernel:0"] for part in parts]
    yield f"{ours}.weight", np.concatenate([kernel.reshape(len(kernel), -1).T for kernel in kernels])
    yield f"{ours}.bias", np.concatenate([arrays[f"{theirs}/{part}/bias:0"].ravel() for part in parts])


def _output(arrays: Arrays, theirs: str, ours: str) -> Iterator[tuple[str, np.ndarray]]:
    kernel = arrays[f"{theirs}/attention_output/kernel:0"]
    yield f"{ours}.out.weight", kernel.reshape(-1, kernel.shape[2]).T
    yield f"{ours}.out.bias", arrays[f"{theirs}/attention_output/bias:0"]


def _self_attention(arrays: Arrays, theirs: str, ours: str) -> Iterator[tuple[str, np.ndarray]]:
    yield from _norm(arrays, f"{theirs}/ln", f"{ours}.norm")
    yield from _fused(arrays, theirs, ("query", "key", "value"), f"{ours}.qkv")
    yield from _output(arrays, theirs, ours)


def _cross_attention(arrays: Arrays, theirs: str, ours: str) -> Iterator[tuple[str, np.ndarray]]:
    yield from _norm(arrays, f"{theirs}/ln", f"{ours}.norm")
    yield from _fused(arrays, theirs, ("query",), f"{ours}.query")
    yield from _fused(arrays, theirs, ("key", "value"), f"{ours}.key_value")
    yield from _output(arrays, theirs, ours)
