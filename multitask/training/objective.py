"""The losses of a batch as one module, which several processes can share the work of."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

from ..data.mixture import Batch, Sequences
from ..machine import bf16_is_fast
from ..model.decoder import Memory
from ..model.encoder_decoder import EncoderDecoder
from ..model.loss import sequence_loss
from ..sections import TrainConfig


class Objective(nn.Module):
    """Encodes the images of a batch once, decodes each task, weighs its tokens."""

    def __init__(self, model: EncoderDecoder, config: TrainConfig, coordinates: range) -> None:
        super().__init__()
        self.model, self.config, self.coordinates = model, config, coordinates

    def forward(self, batch: Batch, totals: Mapping[str, float], frozen: bool = False) -> dict[str, Tensor]:
        """The share of this batch in the loss of each task, of those in `totals` that it has sequences of.

        totals: by task, the sum of the weights of all tokens that the step learns from, in this batch or elsewhere.
        frozen: the encoder does not learn.
        """
        with self._precision(batch.images.device):
            memory = self.model.encode(batch.images.float() / 255, batch.extent, frozen)
            return {
                name: self._loss(memory, sequences, totals[name])
                for name, sequences in batch.sequences.items()
                if len(sequences.rows) and name in totals
            }

    def _loss(self, memory: Memory, s: Sequences, total: float) -> Tensor:
        hidden = self.model.decode(s.inputs, memory, s.rows)
        sigma = self.config.coordinate_sigma
        return sequence_loss(hidden, self.model.logits, s.targets, s.weights, self.coordinates, sigma, total)

    def _precision(self, device: torch.device) -> AbstractContextManager[object]:
        wanted = self.config.precision
        if wanted == "bf16" or (wanted == "auto" and bf16_is_fast(device.type)):
            return torch.autocast(device.type, torch.bfloat16)
        return nullcontext()
