"""The whole model: image to memory to token scores."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from ..errors import UsageError
from .decoder import Decoder, Memory
from .encoder import Encoder, Features, TimmEncoder, timm_encoder, valid_cells
from .transformer import FeedForward, Layer, fourier_grid, layer_norm, linear, position_codes
from .vit import ResNetTransformer, VisionTransformer

if TYPE_CHECKING:
    from ..sections import ModelConfig


class Bridge(nn.Module):
    """From the encoder's features to the decoder's memory: linear, norm, 2-D position codes, one feed-forward block.

    As published ("dec_proj_mode = mlp"), the block has the hidden ratio of the encoder.
    """

    def __init__(
        self,
        encoder_dim: int,
        dim: int,
        mlp_ratio: float,
        dropout: float = 0.1,
        drop_path: float = 0.1,
        codes: Callable[[tuple[int, int], int, torch.device], Tensor] = position_codes,
    ) -> None:
        super().__init__()
        self.codes = codes
        self.projection = linear(encoder_dim, dim)
        self.norm = layer_norm(dim)
        self.feed_forward = FeedForward(dim, round(dim * mlp_ratio), dropout, drop_path)

    def forward(self, features: Features) -> Tensor:
        """Tokens (B, N, encoder_dim) of a grid to (B, N, dim)."""
        tokens = self.norm(self.projection(features.tokens))
        memory: Tensor = self.feed_forward(tokens + self.codes(features.grid, tokens.shape[2], tokens.device))
        return memory


class EncoderDecoder(nn.Module):
    """`encode` images once, then `decode` any number of sequences about them. Knows tokens, no tasks."""

    def __init__(self, encoder: Encoder, bridge: Bridge, decoder: Decoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.bridge = bridge
        self.decoder = decoder

    def encode(self, images: Tensor, extent: Tensor | None = None, frozen: bool = False) -> Memory:
        """Encode images (B, 3, H, W), float32 in [0, 1], of which `extent` (B, 2) is picture, as for `Encoder`.

        frozen: for this call the encoder, not the bridge, runs as in evaluation and gets no gradient.
        """
        if frozen:
            with torch.no_grad(), evaluating(self.encoder):
                features: Features = self.encoder(images, extent)
        else:
            features = self.encoder(images, extent)
        return Memory(self.bridge(features), valid_cells(extent, features.grid))

    def recompute(self) -> None:
        """From now on a layer's activations are computed again in the backward pass: less memory, more time."""
        for module in self.modules():
            if isinstance(module, Layer | TimmEncoder):
                module.recompute()

    def decode(self, inputs: Tensor, memory: Memory, rows: Tensor | None = None) -> Tensor:
        """Hidden states (R, L, D) of `inputs` (R, L) int64; row r looks at image rows[r] (None: at image r)."""
        hidden: Tensor = self.decoder(inputs, memory, rows)
        return hidden

    def logits(self, hidden: Tensor, ids: Tensor | None = None) -> Tensor:
        """Scores (..., V) of hidden states (..., D), or (..., K) of the tokens `ids` (K,) int64 alone."""
        return self.decoder.logits(hidden, ids)

    def forward(
        self, images: Tensor, inputs: Tensor, rows: Tensor | None = None, extent: Tensor | None = None
    ) -> Tensor:
        """Scores (R, L, V): `encode`, `decode`, `logits`."""
        return self.logits(self.decode(inputs, self.encode(images, extent), rows))


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Evaluation mode for a while: no dropout, no stochastic depth, batch norms with the statistics that they have."""
    training = module.training
    module.eval()
    try:
        yield
    finally:
        module.train(training)


def build_model(config: ModelConfig, vocab_size: int, coordinates: range | None = None) -> EncoderDecoder:
    """The model that `config` describes, with random weights but for a pretrained encoder.

    With `positions: fourier` the tokens in `coordinates` begin as neighbours: embedded as places on an axis.
    Raises UsageError for settings that do not fit together, CheckpointError for pretrained weights that cannot be had.
    """
    settings = config.decoder
    encoder = _build_encoder(config)
    fourier = config.positions == "fourier"
    codes = fourier_grid if fourier else position_codes
    bridge = Bridge(encoder.dim, settings.dim, encoder.mlp_ratio, settings.dropout, settings.drop_path, codes)
    decoder = Decoder(
        vocab_size,
        settings.dim,
        settings.depth,
        settings.heads,
        settings.mlp_dim,
        settings.max_length,
        settings.dropout,
        settings.drop_path,
    )
    if fourier and coordinates:
        decoder.place_in_order(coordinates)
    return EncoderDecoder(encoder, bridge, decoder)


def _build_encoder(config: ModelConfig) -> Encoder:
    """Raises UsageError for what timm's models have and the encoder 'vit' has not."""
    published = config.transformer
    sizes = (published.dim, published.depth, published.heads, published.mlp_dim)
    if config.encoder == "vit":
        if config.pretrained:
            raise UsageError("model.pretrained: there are no timm weights for the encoder 'vit'; set it to false")
        if config.drop_path:
            raise UsageError("model.drop_path: the encoder 'vit' has transformer.drop_path instead; set it to 0")
        if config.freeze_norm:
            raise UsageError("model.freeze_norm: the encoder 'vit' has no batch norms; set it to false")
        return VisionTransformer(*sizes, published.patch, published.dropout, published.drop_path)
    timm = (config.image_size, config.stride, config.pretrained, config.drop_path, config.freeze_norm)
    if config.encoder == "resnet_transformer":
        backbone = timm_encoder(config.backbone, *timm)
        return ResNetTransformer(backbone, *sizes, published.dropout, published.drop_path)
    return timm_encoder(config.encoder, *timm)
