"""How decoding is to run, in the words of the user."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import UsageError
from ..model.decoder import Decoder
from .graphs import GraphStepper
from .linears import pick_precision
from .stepping import Stepper


@dataclass(frozen=True)
class Speed:
    """Raises UsageError for a precision that there is not."""

    precision: str = "fp32"  # fp32, bf16, int8
    graphs: bool = False  # replay steps as CUDA graphs

    def __post_init__(self) -> None:
        pick_precision(self.precision)

    def stepper(self, decoder: Decoder) -> Stepper:
        """Raises UsageError for what the device of the decoder has not."""
        device, precision = decoder.embedding.device, pick_precision(self.precision)
        if self.graphs and device.type != "cuda":
            raise UsageError(f"--cuda-graphs needs a GPU of NVIDIA, and the model runs on {device}: leave it out")
        return GraphStepper(decoder, precision) if self.graphs else Stepper(decoder, precision)
