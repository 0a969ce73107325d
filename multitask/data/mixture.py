"""Training batches: every task in every step, or one by lot; each batch a pure function of (seed, tasks, epoch, step).

Tasks that are annotated on the same images read them together. Those that look at whole images and vary them alike
share one batch of views, and so one pass of the encoder.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import DataError, MtpError, UsageError
from ..example import Example
from ..geometry import Size
from ..sequence.vocabulary import Vocabulary
from ..task import Target, Task
from .dataset import Dataset
from .groups import Group, Look, Turns
from .sights import Sight, sights

TRIES = 10  # unreadable images in a row before a run gives up


@dataclass
class Sequences:
    """Padded training sequences of one task; position t of `inputs` predicts position t of `targets`."""

    inputs: Tensor  # (R, L) int64
    targets: Tensor  # (R, L) int64
    weights: Tensor  # (R, L) float32, 0 on prompts and padding
    rows: Tensor  # (R,) int64, the image of each sequence


@dataclass
class Batch:
    """Views of one look, and what each of its tasks should write about them."""

    images: Tensor  # (B, 3, S, S) uint8
    extent: Tensor  # (B, 2) float32, (height, width) of the picture in the input
    sequences: dict[str, Sequences]
    files: list[str]
    skipped: tuple[str, ...] = ()  # images that could not be read, and why

    def to(self, device: torch.device) -> Batch:
        """The same on another device."""
        sequences = {
            name: Sequences(*(t.to(device) for t in (s.inputs, s.targets, s.weights, s.rows)))
            for name, s in self.sequences.items()
        }
        return Batch(self.images.to(device), self.extent.to(device), sequences, self.files, self.skipped)


@dataclass(frozen=True)
class PlannedView:
    """One view of an image that is not read yet."""

    size: Size  # (width, height) of the picture in the unit square
    reduce: int  # the image may be decoded at this fraction of its size
    render: Callable[[NDArray[np.uint8]], Tensor]
    targets: dict[str, list[Target]]  # by task


Plan = tuple[Example, list[list[PlannedView]]]  # an image, and its views of each look


class Draft:
    """A batch being filled, view by view."""

    def __init__(self, look: Look) -> None:
        self.images: list[Tensor] = []
        self.extents: list[tuple[float, float]] = []
        self.files: list[str] = []
        self.skipped: list[str] = []
        self.targets: dict[str, list[tuple[int, Target]]] = {task.name: [] for task in look}

    def add(self, file: str, views: Sequence[PlannedView], pixels: NDArray[np.uint8]) -> None:
        for view in views:
            for name, found in view.targets.items():
                self.targets[name] += [(len(self.images), target) for target in found]
            self.images.append(view.render(pixels))
            self.extents.append((view.size[1], view.size[0]))
            self.files.append(file)

    def finished(self, vocab: Vocabulary, side: int) -> Batch:
        """The batch; without images where none of them had anything to look at."""
        sequences = {name: collate(found, vocab) for name, found in self.targets.items()}
        images = torch.stack(self.images) if self.images else torch.zeros(0, 3, side, side, dtype=torch.uint8)
        extents = torch.tensor(self.extents).reshape(-1, 2)
        return Batch(images, extents, sequences, self.files, tuple(self.skipped))


def collate(targets: Sequence[tuple[int, Target]], vocab: Vocabulary) -> Sequences:
    """Append `<eos>`, shift by one, pad; `targets` are (image, target) pairs."""
    length = max((len(t.prompt) + len(t.tokens) for _, t in targets), default=1)
    shape = (len(targets), length)
    inputs, expected = np.full(shape, vocab.pad), np.full(shape, vocab.pad)
    weights = np.zeros(shape, dtype=np.float32)
    for row, (_, t) in enumerate(targets):
        begin, end = len(t.prompt) - 1, len(t.prompt) + len(t.tokens)
        inputs[row, :end] = np.concatenate([t.prompt, t.tokens if t.inputs is None else t.inputs])
        expected[row, :end] = np.concatenate([t.prompt[1:], t.tokens, [vocab.eos]])
        weights[row, begin:end] = np.append(t.weights, t.eos_weight)
    rows = torch.tensor([row for row, _ in targets], dtype=torch.int64)
    return Sequences(torch.from_numpy(inputs), torch.from_numpy(expected), torch.from_numpy(weights), rows)


class Mixture(torch.utils.data.Dataset[list[Batch]]):
    """Item `(step, part)` is the batches of that part of the step, one a look; `step` alone is its first part.

    A step shows `batch_size` pictures of each group whose turn it is: `batch_size / repeats` images, each varied anew
    for every time it is shown (repeated augmentation, arXiv:1901.09335). They lie in `parts` of one size, one after
    the other. longest: the decoder's longest sequence. drawn: turns of one group a step; None: of every group.
    """

    def __init__(
        self,
        dataset: Dataset,
        groups: Sequence[Group],
        vocab: Vocabulary,
        side: int,
        batch_size: int,
        seed: int,
        longest: int | None = None,
        *,
        parts: int = 1,
        repeats: int = 1,
        drawn: Turns | None = None,
    ) -> None:
        self.dataset, self.groups, self.vocab = dataset, groups, vocab
        self.side, self.seed, self.longest = side, seed, longest
        self.parts, self.repeats, self.drawn = parts, repeats, drawn
        self.images = batch_size // (parts * repeats)  # read for a part
        self.measured: set[str] = set()  # tasks whose answers are known to fit
        self.orders: dict[str, tuple[int, NDArray[np.int64]]] = {}  # the running epoch of each group

    def __getitem__(self, item: int | tuple[int, int]) -> list[Batch]:
        step, part = item if isinstance(item, tuple) else (item, 0)
        turns = [self.drawn[step]] if self.drawn else [(number, step) for number in range(len(self.groups))]
        return [
            batch
            for number, turn in turns
            for batch in self._batches(self.groups[number], (turn * self.parts + part) * self.images)
        ]

    def _batches(self, group: Group, first: int) -> list[Batch]:
        drafts = [Draft(look) for look in group.looks]
        positions = range(first, first + self.images)
        plans = [self._plan(group, position) for position in positions]  # before reading: by turns both are slower
        for position, plan in zip(positions, plans, strict=True):
            self._add_image(group, position, plan, drafts)
        return [draft.finished(self.vocab, self.side) for draft in drafts]

    def _plan(self, group: Group, position: int, later: int = 0) -> Plan:
        """What each look shows of the image at a position, or of the one that comes `later` in its epoch."""
        epoch, place_in_epoch = divmod(position, len(group))
        order = self._order(group, epoch)
        example = self.dataset[int(order[(place_in_epoch + later) % len(order)])]
        looks: list[list[PlannedView]] = [[] for _ in group.looks]
        for time in range(self.repeats):
            seed = [self.seed, zlib.crc32(group.name.encode()), epoch, place_in_epoch, *([time] if time else [])]
            rng = np.random.default_rng(seed)
            for look, views in zip(group.looks, looks, strict=True):
                views += [self._view(look, sight) for sight in sights(look, example, self.side, rng)]
        return example, looks

    def _view(self, look: Look, sight: Sight) -> PlannedView:
        targets = {task.name: _checked(task, sight.example, self.vocab, sight.rng) for task in look}
        for task in look:
            self._measure(task, targets[task.name])
        return PlannedView(sight.placement.size, sight.placement.reduce, sight.renderer(), targets)

    def _add_image(self, group: Group, position: int, plan: Plan, drafts: Sequence[Draft]) -> None:
        """Read one image for all looks; the next takes the place of one that cannot be read."""
        skipped = drafts[0].skipped
        for later in range(min(TRIES, len(group))):
            example, looks = self._plan(group, position, later) if later else plan
            try:
                pixels = example.load(min((view.reduce for views in looks for view in views), default=1))
            except DataError as error:
                skipped.append(str(error))
                continue
            for draft, views in zip(drafts, looks, strict=True):
                draft.add(example.file, views, pixels)
            return
        raise DataError(f"{TRIES} images in a row cannot be read, the last one: {skipped[-1]}")

    def _measure(self, task: Task, targets: Sequence[Target]) -> None:
        """At the first target of a task, not at the first long one. Raises UsageError where answers may not fit."""
        if self.longest is None or task.name in self.measured or not targets:
            return
        needed = len(targets[0].prompt) + task.grammar(targets[0].query(), self.vocab).max_tokens
        if needed > self.longest:
            raise UsageError(
                f"tasks.{task.name}: prompt and answer may have {needed} tokens, and model.decoder.max_length is "
                f"{self.longest}: raise that, or let answers be shorter"
            )
        self.measured.add(task.name)

    def _order(self, group: Group, epoch: int) -> NDArray[np.int64]:
        """Kept for the epoch, since it takes time for large data sets."""
        if self.orders.get(group.name, (-1, None))[0] != epoch:
            self.orders[group.name] = epoch, group.epoch(self.seed, epoch)
        return self.orders[group.name][1]


def _checked(task: Task, example: Example, vocab: Vocabulary, rng: np.random.Generator) -> list[Target]:
    """The task's targets; a fault in a plugin is told with its name and the image, at the first example."""
    targets = task.serialize(example, vocab, rng)
    for target in targets:
        for name in ("prompt", "tokens", "inputs"):
            ids = getattr(target, name)
            if ids is not None and len(ids) and not (ids.min() >= 0 and ids.max() < len(vocab)):
                raise MtpError(f"task '{task.name}', {example.file}: {name} has ids outside the vocabulary: {ids}")
    return targets
