"""Decoding on a GPU with one launch a step: the step of a batch is captured once as a CUDA graph, and replayed."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from .cache import Cache
from .layer import Span
from .stepping import Stepper

log = logging.getLogger(__name__)
WARM_UP = 2  # steps before the capture, in which libraries allocate what they need


class GraphStepper(Stepper):
    """A stepper whose shapes do not change from one token to the next: it looks at all positions, at those to come with
    a score of -inf. Where a step cannot be captured it goes on as a plain stepper, and the log says so once."""

    broken = False

    def step(self, tokens: Tensor, cache: Cache) -> Tensor:
        """As `Stepper.step`; the hidden states of one token a row are valid until the next step."""
        if tokens.shape[1] > 1 or self.broken:
            return super().step(tokens, cache)
        cache.replay = cache.replay or self._captured(tokens, cache)
        if cache.replay is None:
            return super().step(tokens, cache)
        hidden = cache.replay(tokens, cache.filled)
        cache.filled += 1
        self.counts.steps += 1
        self.counts.positions += len(tokens)
        return hidden

    def step_at(self, tokens: Tensor, place: Tensor, cache: Cache) -> Tensor:
        """Hidden states (R, 1, dim) of `tokens` (R, 1) at position `place` (1,) int64; `cache.filled` stays."""
        decoder, length = self.decoder, cache.past.shape[4]
        x = F.embedding(tokens, decoder.embedding) + decoder.positions.index_select(0, place)
        later = torch.arange(length, device=place.device) > place
        mask = torch.zeros(1, 1, length, dtype=self.attention_dtype, device=place.device).masked_fill(later, -torch.inf)
        return self.through(x, Span(len(tokens), 1, mask, place), cache, cache.whole())

    def _captured(self, tokens: Tensor, cache: Cache) -> Callable[[Tensor, int], Tensor] | None:
        cache.past[..., cache.filled :, :] = 0  # what is not written yet may be no number, which no mask hides
        try:
            return self.capture(tokens, cache)
        except (RuntimeError, ValueError) as error:
            reason = str(error).splitlines()[0]
            log.warning("decoding goes on without CUDA graphs: %s", reason)
            self.broken = True
            return None

    def capture(self, tokens: Tensor, cache: Cache) -> Callable[[Tensor, int], Tensor]:
        """A step of these rows as a function of tokens (R, 1) and their position. Raises RuntimeError or ValueError."""
        fed, place = tokens.clone(), torch.tensor([cache.filled], device=tokens.device)
        warm: Any = torch.cuda.Stream(tokens.device)  # type: ignore[no-untyped-call]
        warm.wait_stream(torch.cuda.current_stream(tokens.device))
        with torch.cuda.stream(warm):
            for _ in range(WARM_UP):
                self.step_at(fed, place, cache)
        torch.cuda.current_stream(tokens.device).wait_stream(warm)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            hidden = self.step_at(fed, place, cache)

        def replay(tokens: Tensor, position: int) -> Tensor:
            fed.copy_(tokens)
            place.fill_(position)
            graph.replay()
            return hidden

        return replay
