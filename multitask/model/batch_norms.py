"""When the batch norms of a net take in what they see."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


class BatchNorms:
    """The batch norms of `net`, of any number of dimensions."""

    def __init__(self, net: nn.Module) -> None:
        self.norms = [module for module in net.modules() if isinstance(module, _BatchNorm)]
        self.momenta = [norm.momentum for norm in self.norms]

    def freeze(self) -> None:
        """Until the net is put in training mode again they use the statistics that they have; their weights learn."""
        for norm in self.norms:
            norm.eval()

    @contextmanager
    def once(self) -> Iterator[None]:
        """They take in what the block shows them, and nothing that the backward pass computes again after it."""
        for norm, momentum in zip(self.norms, self.momenta, strict=True):
            norm.momentum = momentum
        try:
            yield
        finally:
            for norm in self.norms:
                norm.momentum = 0.0
