"""Free-running decoding: many queries at once, each under its own grammar, with cached keys and values.

Some steps are drawn without waiting for the device; then the host reads what they say, once, and lets rows that have
ended go.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..model.decoder import Memory
from ..sequence.grammar import Grammar
from ..sequence.prompting import Decoding
from ..task import Decoded
from .grammar_table import GrammarTable, Slice
from .reading import Reading, Step, read_steps
from .sampling import Sampler
from .stepping import Output, Stepper

STEPS = 8  # drawn before the host looks
KEPT_SCORES = 2**24  # scores kept until the host looks, at most
TOLD = len(Reading._fields)
COUNTED, MET, ENDED = (Reading._fields.index(name) for name in ("counted", "met", "ended"))


@dataclass(frozen=True, eq=False)
class Request:
    """One sequence to decode: `image` is its row of the memory, `key` names its noise (seed, image, query, sample)."""

    prompt: NDArray[np.int64]  # (P,)
    grammar: Grammar
    decoding: Decoding
    image: int
    key: Hashable


@torch.inference_mode()
def generate(stepper: Stepper, memory: Memory, requests: Sequence[Request], eos: int) -> list[Decoded]:
    """Decode every request until its grammar ends; the answers in the order of the requests.

    Rows that have ended leave the batch; `eos` is the id that is not part of an answer.
    """
    if not requests:
        return []
    shares = np.bincount([r.image for r in requests])  # images that about as many rows look at go side by side
    order = sorted(range(len(requests)), key=lambda n: (-shares[requests[n].image], requests[n].image))
    images = list(dict.fromkeys(requests[n].image for n in order))
    rows = _Rows(stepper, memory.take(images), [requests[n] for n in order], images)
    while rows.active:
        rows.settle(rows.draw())
    decoded = {n: record.decoded(eos) for n, record in zip(order, rows.records, strict=True)}
    return [decoded[n] for n in range(len(requests))]


class _Record:
    """What one row has drawn."""

    def __init__(self) -> None:
        self.parts: list[NDArray[np.float64]] = []  # (steps, TOLD)

    def decoded(self, eos: int) -> Decoded:
        steps = np.concatenate(self.parts) if self.parts else np.zeros((0, TOLD))
        if len(steps) and steps[-1, ENDED] and steps[-1, 0] == eos:
            steps = steps[:-1]
        tokens, logprobs, best, best_prob, expected = steps.T[:COUNTED].copy()
        return Decoded(tokens.astype(np.int64), logprobs, best.astype(np.int64), best_prob, expected)


class _Rows:
    """The rows still being decoded. All stand at the same position; a longer prompt is fed while others answer."""

    def __init__(self, stepper: Stepper, memory: Memory, requests: Sequence[Request], images: Sequence[int]) -> None:
        self.stepper, self.device = stepper, memory.tokens.device
        grammars = [r.grammar for r in requests]
        self.table = GrammarTable(grammars, len(stepper.decoder.embedding), self.device)
        self.records = [_Record() for _ in requests]
        self.active = list(range(len(requests)))
        self.prompt_length = np.array([len(r.prompt) for r in requests])
        self.limit = np.minimum(self.prompt_length + [g.max_tokens for g in grammars], stepper.longest)
        self.run = np.array([g.stop.run if g.stop else 0 for g in grammars])
        self.quiet = np.zeros(len(requests), dtype=np.int64)  # consecutive states that met the stop rule
        self.position = int(self.prompt_length.min())
        length = int(max(self.prompt_length.max(), self.limit.max()))
        stepper.decoder.check_length(length)
        self.sampler = Sampler([r.decoding for r in requests], [r.key for r in requests], length, self.device)
        self.history = torch.from_numpy(_padded(requests, length)).to(self.device)
        self.state = torch.tensor(self.table.start(grammars), device=self.device)
        self.states = self.table.start(grammars)  # as the host last saw them
        self.outputs: dict[Slice, Output] = {}
        self._read_prompts(memory, [images.index(r.image) for r in requests], length)
        self._leave(self.limit <= self.prompt_length)

    def _read_prompts(self, memory: Memory, images: Sequence[int], length: int) -> None:
        """Rows with the same question, such as the samples of one, share the reading of its prompt."""
        prompts = self.history[:, : self.position]
        questions = [(image, tuple(prompt)) for image, prompt in zip(images, prompts.tolist(), strict=True)]
        asked = {question: place for place, question in enumerate(dict.fromkeys(questions))}
        rows = [asked[question] for question in questions]
        first = [rows.index(place) for place in range(len(asked))]
        alone = len(asked) == len(rows)
        cache = self.stepper.start(memory, [images[n] for n in first], length if alone else self.position)
        hidden = self.stepper.step(prompts[first], cache)[:, -1]
        self.cache = cache if alone else cache.take(rows, length)
        self.hidden: Tensor | None = hidden[rows]

    def draw(self) -> list[Step]:
        """Draw some tokens for every row without asking what they are; rows whose prompt is not over draw in vain."""
        steps: list[Step] = []
        possible = self._possible(range(len(self.active)), {})
        most = self._most_steps(possible)
        while possible and len(steps) < most:
            steps.append(self._draw(self.table.slice(possible)))
            waiting = self.position < self.prompt_length
            self._follow(steps[-1], waiting)
            self.position += 1
            possible = self._possible(np.flatnonzero(waiting), self.table.after(possible, self.position))
        return steps

    def _possible(self, rows: Iterable[int], known: Mapping[int, int]) -> dict[int, int]:
        """States that rows may be in, and the last position that such a row can have: `known`, and those of `rows`."""
        possible = dict(known)
        for row in rows:
            state = self.states[row]
            possible[state] = max(possible.get(state, 0), int(self.limit[row]))
        return possible

    def _most_steps(self, possible: Mapping[int, int]) -> int:
        scores = len(self.active) * len(self.table.slice(possible).ids)
        return max(1, min(STEPS, KEPT_SCORES // scores))

    def _draw(self, view: Slice) -> Step:
        if self.hidden is None:
            fed = self.history[:, self.position - 1 : self.position]
            self.hidden = self.stepper.step(fed, self.cache)[:, -1]
        if view not in self.outputs:
            self.outputs[view] = self.stepper.output(view.ids)
        logits = self.stepper.scores(self.hidden, self.outputs[view])
        self.hidden = None
        row = None if view.single else view.row[self.state]
        if row is not None:
            logits = logits.masked_fill(view.forbidden[row], -torch.inf)
        if view.bounded:
            logits = logits.masked_fill(view.ids < self._floor(view, row), -torch.inf)
        return Step(view, row, logits, self.sampler.draw(logits, self.position))

    def _floor(self, view: Slice, row: Tensor | None) -> Tensor:
        """(R, 1) int64: the token below which none may be drawn, as the state says; 0 where that would leave none."""
        if row is None:
            before = self.history.narrow(1, max(0, self.position - view.behind), 1)
            return before * (before <= view.highest)
        behind = view.not_below[row]
        before = self.history.gather(1, (self.position - behind).clamp(min=0)[:, None])
        return before * ((behind > 0) & (before[:, 0] <= view.highest[row]))[:, None]

    def _follow(self, step: Step, waiting: NDArray[np.bool_]) -> None:
        """Take the drawn tokens; a row that waits keeps its state and the next token of its prompt."""
        view, row, _, column = step
        token = view.ids.index_select(0, column)
        following = view.onward[0].index_select(0, column) if row is None else view.onward[row, column]
        if waiting.any():
            waits = torch.from_numpy(waiting).to(self.device)
            token = torch.where(waits, self.history[:, self.position], token)
            following = torch.where(waits, self.state, following)
        self.history[:, self.position] = token
        self.state = following

    def settle(self, steps: Sequence[Step]) -> None:
        """Read what was drawn, once: keep what counts of it, and let rows go that have ended."""
        told = torch.cat([read_steps(steps), self.state.double().expand(TOLD, -1).T[None]]).cpu().numpy()
        self.stepper.counts.syncs += 1
        self.states = told[-1, :, 0].astype(np.int64).tolist()
        first = self.position - len(steps)
        over, drawn = self._ends(told[:-1], first)
        for row, record in enumerate(self.active):
            begin = max(0, int(self.prompt_length[row]) - first)
            self.records[record].parts.append(told[begin : drawn[row], row])
        self._leave(over)

    def _ends(self, told: NDArray[np.float64], first: int) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        """Which rows have ended (R,), and how many of the steps each drew before (R,)."""
        over = self.limit <= first  # before
        drawn = np.zeros(len(self.active), dtype=np.int64)
        for place, values in enumerate(told):
            asking = (first + place >= self.prompt_length) & ~over
            counts = asking & (values[:, COUNTED] > 0)
            self.quiet = np.where(counts, np.where(values[:, MET] > 0, self.quiet + 1, 0), self.quiet)
            stopped = (self.run > 0) & (self.quiet >= self.run)
            drawn[asking] = place + 1
            over |= asking & ((values[:, ENDED] > 0) | stopped | (first + place + 1 >= self.limit))
        return over, drawn

    def _leave(self, over: NDArray[np.bool_]) -> None:
        """The rows that are over leave the batch, once they are a quarter of it: copies cost less than they save."""
        self.limit[over] = 0  # it has nothing more to say
        gone = self.limit <= self.position
        if not gone.any() or gone.sum() * 4 < len(gone):
            return
        keep = np.flatnonzero(~gone)
        self.active, self.states = [self.active[row] for row in keep], [self.states[row] for row in keep]
        self.prompt_length, self.limit = self.prompt_length[keep], self.limit[keep]
        self.run, self.quiet = self.run[keep], self.quiet[keep]
        if len(keep):
            index = torch.from_numpy(keep).to(self.device)
            self.history, self.state = self.history[index], self.state[index]
            self.hidden = None if self.hidden is None else self.hidden[index]
            self.sampler.keep(index)
            self.cache = self.cache.take(keep.tolist())


def _padded(requests: Sequence[Request], length: int) -> NDArray[np.int64]:
    """Prompts (R, length) with room for the answers."""
    history = np.zeros((len(requests), length), dtype=np.int64)
    for row, request in enumerate(requests):
        history[row, : len(request.prompt)] = request.prompt
    return history
