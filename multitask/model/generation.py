"""Free-running decoding: many queries at once, each under its own grammar, with cached keys and values."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..sequence.grammar import END, Grammar
from ..sequence.prompting import Decoding
from ..task import Decoded
from .decoder import Memory
from .encoder_decoder import EncoderDecoder
from .grammar_table import GrammarTable, Slice
from .sampling import Sampler


@dataclass(frozen=True, eq=False)
class Request:
    """One sequence to decode: `image` is its row of the memory, `key` names its noise (seed, image, query, sample)."""

    prompt: NDArray[np.int64]  # (P,)
    grammar: Grammar
    decoding: Decoding
    image: int
    key: Hashable


class Drawn(NamedTuple):
    """One step of all rows (R,), as recorded."""

    token: Tensor
    logprob: Tensor
    best: Tensor
    best_prob: Tensor
    expected: Tensor


@torch.inference_mode()
def generate(model: EncoderDecoder, memory: Memory, requests: Sequence[Request], eos: int) -> list[Decoded]:
    """Decode every request until its grammar ends; the answers in the order of the requests.

    Rows that have ended leave the batch; `eos` is the id that is not part of an answer.
    """
    if not requests:
        return []
    rows = _Rows(model, memory, requests)
    while rows.active.numel():
        rows.advance()
    return [record.decoded(eos) for record in rows.records]


class _Record:
    """What one row has drawn."""

    def __init__(self) -> None:
        self.steps: list[tuple[float, ...]] = []
        self.finished_by_grammar = False

    def decoded(self, eos: int) -> Decoded:
        steps = self.steps
        if self.finished_by_grammar and steps and steps[-1][0] == eos:
            steps = steps[:-1]
        columns = np.array(steps, dtype=np.float64).reshape(-1, len(Drawn._fields)).T
        tokens, logprobs, best, best_prob, expected = columns
        return Decoded(tokens.astype(np.int64), logprobs, best.astype(np.int64), best_prob, expected)


class _Rows:
    """The rows still being decoded. All stand at the same position; a longer prompt is fed while others answer."""

    def __init__(self, model: EncoderDecoder, memory: Memory, requests: Sequence[Request]) -> None:
        device = memory.tokens.device
        self.model = model
        grammars = [r.grammar for r in requests]
        self.table = GrammarTable(grammars, len(model.decoder.embedding), device)
        self.records = [_Record() for _ in requests]
        lengths = [len(r.prompt) for r in requests]
        limits = [len(r.prompt) + r.grammar.max_tokens for r in requests]
        self.active = torch.arange(len(requests), device=device)
        self.prompt_length = torch.tensor(lengths, device=device)
        self.limit = torch.tensor(limits, device=device).clamp(max=len(model.decoder.positions))
        length = max(*lengths, int(self.limit.max()))
        self.history = torch.zeros(len(requests), length, dtype=torch.int64, device=device)
        for row, request in enumerate(requests):
            self.history[row, : lengths[row]] = torch.from_numpy(request.prompt)
        self.state = self.table.start(grammars)
        self.quiet = torch.zeros_like(self.state)  # consecutive states that met the stop rule
        self.sampler = Sampler([r.decoding for r in requests], [r.key for r in requests], length, device)
        images = torch.tensor([r.image for r in requests], device=device)
        self.cache = model.decoder.start(memory, images, length)
        self.ended = self.limit <= self.prompt_length
        self.position = min(lengths)
        self.hidden = model.decoder.step(self.history[:, : self.position], self.cache)[:, -1]
        self._leave()

    def advance(self) -> None:
        """Draw one token for every row whose prompt is over, then move all rows by one position."""
        asking = (self.position >= self.prompt_length) & ~self.ended
        if bool(asking.any()):
            self._draw(asking)
        self.position += 1
        self._leave()
        if self.active.numel():
            self.hidden = self.model.decoder.step(self.history[:, self.position - 1 : self.position], self.cache)[:, -1]

    def _draw(self, asking: Tensor) -> None:
        rows = asking.nonzero()[:, 0]
        state = self.state[rows]
        view = self.table.slice(state)
        logprobs = self._logprobs(rows, state, view)
        probs = logprobs.exp()
        column = self.sampler.draw(logprobs, rows, self.position)
        drawn = self._read(state, view, logprobs, column)
        self.history[rows, self.position] = drawn.token
        self._record(rows, drawn)
        self._finish(rows, state, view, probs, column)

    def _logprobs(self, rows: Tensor, state: Tensor, view: Slice) -> Tensor:
        allowed = view.allowed[state]
        behind = self.table.not_below[state]
        if bool((behind > 0).any()):
            before = self.history[rows, (self.position - behind).clamp(min=0)]
            bounded = allowed & ((view.ids >= before[:, None]) | (behind == 0)[:, None])
            allowed = torch.where(bounded.any(dim=1, keepdim=True), bounded, allowed)  # a bound never ends a row
        logits = self.model.logits(self.hidden[rows], view.ids).float()
        return logits.masked_fill(~allowed, -torch.inf).log_softmax(dim=1)

    def _read(self, state: Tensor, view: Slice, logprobs: Tensor, column: Tensor) -> Drawn:
        token = view.ids[column]
        logprob = logprobs.gather(1, column[:, None])[:, 0]
        readable = logprobs.masked_fill(~view.read[state], -torch.inf)
        best_logprob, best_column = readable.max(dim=1)
        best = view.ids[best_column]
        distance = view.ids - best[:, None]
        near = distance.abs() <= self.table.window[state][:, None]
        mass = (readable - best_logprob[:, None]).double().exp() * near  # relative: the sum may be as small as it likes
        expected = best + (mass * distance).sum(dim=1) / mass.sum(dim=1)
        reads = self.table.has_read[state]
        return Drawn(
            token,
            logprob,
            torch.where(reads, best, token),
            torch.where(reads, best_logprob.exp() * mass.sum(dim=1), logprob.exp()).clamp(max=1.0),
            torch.where(reads, expected, token.double()),
        )

    def _record(self, rows: Tensor, drawn: Drawn) -> None:
        values = torch.stack([column.double() for column in drawn], dim=1).tolist()
        for row, step in zip(self.active[rows].tolist(), values, strict=True):
            self.records[row].steps.append(tuple(step))

    def _finish(self, rows: Tensor, state: Tensor, view: Slice, probs: Tensor, column: Tensor) -> None:
        following = view.following[state, column]
        stoppable = view.stop[state]
        met = (probs * stoppable).sum(dim=1) > self.table.threshold[state]
        counted = stoppable.any(dim=1)
        quiet = torch.where(counted, torch.where(met, self.quiet[rows] + 1, 0), self.quiet[rows])
        self.quiet[rows] = quiet
        run = self.table.run[state]
        grammar_ended = following == END
        over = grammar_ended | ((run > 0) & (quiet >= run)) | (self.position + 1 >= self.limit[rows])
        self.ended[rows] = over
        self.state[rows] = following.clamp(min=0)
        for row in self.active[rows[grammar_ended]].tolist():
            self.records[row].finished_by_grammar = True

    def _leave(self) -> None:
        """Compact the batch once a quarter of its rows has ended, so that copies stay cheaper than what they save."""
        ended = int(self.ended.sum())
        if ended == len(self.ended) or ended * 4 >= len(self.ended) > 0 < ended:
            keep = (~self.ended).nonzero()[:, 0]
            self.active, self.state, self.quiet = self.active[keep], self.state[keep], self.quiet[keep]
            self.history, self.hidden = self.history[keep], self.hidden[keep]
            self.limit, self.prompt_length, self.ended = self.limit[keep], self.prompt_length[keep], self.ended[keep]
            self.sampler.keep(keep)
            if len(keep):
                self.cache.keep(keep)
