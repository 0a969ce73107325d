"""Training batches: every task in every step, each batch a pure function of (seed, tasks, epoch, step).

Tasks that are annotated on the same images read them together. Those that look at whole images and vary them alike
share one batch of views, and so one pass of the encoder.
"""

from __future__ import annotations

import logging
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import DataError, MtpError, UsageError
from ..example import Example
from ..sequence.vocabulary import Vocabulary
from ..task import Target, Task
from .dataset import Dataset
from .transforms import colour_jitter, place

log = logging.getLogger(__name__)
TRIES = 10  # unreadable images in a row before a run gives up
SAMPLE, ENOUGH = 500, 0.25  # images tried, and the share of them that must have something to look at


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

    def to(self, device: torch.device) -> Batch:
        """The same on another device."""
        sequences = {
            name: Sequences(*(t.to(device) for t in (s.inputs, s.targets, s.weights, s.rows)))
            for name, s in self.sequences.items()
        }
        return Batch(self.images.to(device), self.extent.to(device), sequences, self.files)


Look = tuple[Task, ...]  # tasks that share a batch of views: all of whole images varied alike, or one with own views


@dataclass(frozen=True)
class Group:
    """Looks at the same images, whose positions in the data set are `positions`; each image is read once for all."""

    looks: tuple[Look, ...]
    positions: NDArray[np.int64]

    @property
    def name(self) -> str:
        return "+".join(task.name for look in self.looks for task in look)


class Draft:
    """A batch being filled, view by view."""

    def __init__(self, look: Look) -> None:
        self.kinds = {kind for task in look for kind in task.kinds}  # other annotations need not be moved
        self.images: list[Tensor] = []
        self.extents: list[tuple[float, float]] = []
        self.files: list[str] = []
        self.targets: dict[str, list[tuple[int, Target]]] = {task.name: [] for task in look}

    def finished(self, vocab: Vocabulary, side: int) -> Batch:
        """The batch; without images where none of them had anything to look at."""
        sequences = {name: collate(found, vocab) for name, found in self.targets.items()}
        images = torch.stack(self.images) if self.images else torch.zeros(0, 3, side, side, dtype=torch.uint8)
        return Batch(images, torch.tensor(self.extents).reshape(-1, 2), sequences, self.files)


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


def group_tasks(tasks: Iterable[Task], dataset: Dataset) -> list[Group]:
    """Which tasks share images, and which of these share views. Raises DataError when no image fits a task."""
    shared: dict[bytes, dict[object, list[Task]]] = {}
    for task in tasks:
        key = task.augment if task.whole_image else task.name
        shared.setdefault(_annotated(task, dataset).tobytes(), {}).setdefault(key, []).append(task)
    groups = [
        Group(tuple(map(tuple, looks.values())), np.frombuffer(positions, dtype=np.int64))
        for positions, looks in shared.items()
    ]
    return [_worth_reading(group, dataset) for group in groups]


def _annotated(task: Task, dataset: Dataset) -> NDArray[np.int64]:
    found = [i for i in range(len(dataset)) if set(task.kinds) <= dataset.kinds(i)]
    if not found:
        raise _nothing_for([task], dataset)
    return np.array(found, dtype=np.int64)


def _worth_reading(group: Group, dataset: Dataset) -> Group:
    """Where tasks look at parts of images alone, and few images have any, the others are left out."""
    tasks = [task for look in group.looks for task in look]
    if any(task.whole_image for task in tasks):
        return group

    def seen(positions: NDArray[np.int64]) -> list[bool]:
        return [any(task.views(dataset[int(i)].annotations) for task in tasks) for i in positions]

    every = len(group.positions) // SAMPLE
    if every > 1 and np.mean(seen(group.positions[::every])) >= ENOUGH:
        return group  # to look through all would take minutes where scenes are drawn on the fly
    fitting = group.positions[seen(group.positions)]
    if not len(fitting):
        raise _nothing_for(tasks, dataset)
    return Group(group.looks, fitting)


def _nothing_for(tasks: Sequence[Task], dataset: Dataset) -> DataError:
    wanted = " and ".join(dict.fromkeys(kind for task in tasks for kind in task.kinds))
    names = " and ".join(f"'{task.name}'" for task in tasks)
    return DataError(f"{dataset.info.name}: no image is annotated with {wanted}, which task {names} learns from")


class Mixture(torch.utils.data.Dataset[list[Batch]]):
    """Item `step` is the batches of that step, one a look; `longest` is the decoder's longest sequence."""

    def __init__(
        self,
        dataset: Dataset,
        groups: Sequence[Group],
        vocab: Vocabulary,
        side: int,
        batch_size: int,
        seed: int,
        longest: int | None = None,
    ) -> None:
        self.dataset, self.groups, self.vocab = dataset, groups, vocab
        self.side, self.batch_size, self.seed = side, batch_size, seed
        self.longest = longest
        self.measured: set[str] = set()  # tasks whose answers are known to fit

    def __getitem__(self, step: int) -> list[Batch]:
        return [batch for group in self.groups for batch in self._batches(group, step)]

    def _batches(self, group: Group, step: int) -> list[Batch]:
        drafts = [Draft(look) for look in group.looks]
        for position in range(step * self.batch_size, (step + 1) * self.batch_size):
            epoch, place_in_epoch = divmod(position, len(group.positions))
            rng = np.random.default_rng([self.seed, zlib.crc32(group.name.encode()), epoch, place_in_epoch])
            example, pixels = self._readable(group, epoch, place_in_epoch)
            for look, draft in zip(group.looks, drafts, strict=True):
                self._look(look, example, pixels, rng, draft)
        return [draft.finished(self.vocab, self.side) for draft in drafts]

    def _look(
        self, look: Look, example: Example, pixels: NDArray[np.uint8], rng: np.random.Generator, draft: Draft
    ) -> None:
        """Add the views of one image, and what each task should write about them."""
        augment = look[0].augment
        for view in look[0].views(example.annotations, rng):
            placement = place(example.size, self.side, view.region_xyxy, augment, rng)
            moved = example.only(draft.kinds, view.annotations).warp(placement.matrix, placement.size)
            for task in look:
                targets = _checked(task, moved, self.vocab, rng)
                self._measure(task, targets)
                draft.targets[task.name] += [(len(draft.images), target) for target in targets]
            draft.images.append(placement.render(pixels, partial(colour_jitter, strength=augment.colour, rng=rng)))
            draft.extents.append((placement.size[1], placement.size[0]))
            draft.files.append(example.file)

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

    def _readable(self, group: Group, epoch: int, place_in_epoch: int) -> tuple[Example, NDArray[np.uint8]]:
        """The example at this place of the epoch; one that cannot be read is named, and the next takes its place."""
        order = _order(self.seed, group.name, epoch, len(group.positions))
        for attempt in range(min(TRIES, len(order))):
            index = group.positions[order[(place_in_epoch + attempt) % len(order)]]
            example = self.dataset[int(index)]
            try:
                return example, example.load()
            except DataError as error:
                log.warning("skipped: %s", error)
        raise DataError(f"{self.dataset.info.name}: {TRIES} images in a row cannot be read; see the lines above")


@lru_cache(maxsize=8)
def _order(seed: int, name: str, epoch: int, count: int) -> NDArray[np.int64]:
    return np.random.default_rng([seed, zlib.crc32(name.encode()), epoch]).permutation(count)


def _checked(task: Task, example: Example, vocab: Vocabulary, rng: np.random.Generator) -> list[Target]:
    """The task's targets; a fault in a plugin is told with its name and the image, at the first example."""
    targets = task.serialize(example, vocab, rng)
    for target in targets:
        for name in ("prompt", "tokens", "inputs"):
            ids = getattr(target, name)
            if ids is not None and len(ids) and not (ids.min() >= 0 and ids.max() < len(vocab)):
                raise MtpError(f"task '{task.name}', {example.file}: {name} has ids outside the vocabulary: {ids}")
    return targets
