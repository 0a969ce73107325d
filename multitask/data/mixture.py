"""Training batches: every task in every step, each batch a pure function of (seed, tasks, epoch, step).

Tasks that look at the whole image with the same augmentation, and are annotated on the same images, share one batch
of images and so one pass of the encoder.
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

from ..errors import DataError, MtpError
from ..example import Example
from ..sequence.vocabulary import Vocabulary
from ..task import Target, Task
from .dataset import Dataset
from .transforms import colour_jitter, place

log = logging.getLogger(__name__)
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
    """Images of one group of tasks and what each task should write about them."""

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


@dataclass(frozen=True)
class Group:
    """Tasks that share their images, and the positions in the data set of the images that all are annotated on."""

    tasks: tuple[Task, ...]
    positions: NDArray[np.int64]

    @property
    def name(self) -> str:
        return "+".join(task.name for task in self.tasks)

    @property
    def kinds(self) -> set[str]:
        """What the tasks read: other annotations need not be moved."""
        return {kind for task in self.tasks for kind in task.kinds}


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
    """Which tasks share images. Raises DataError when no image is annotated for a task."""
    shared: dict[object, list[Task]] = {}
    positions: dict[object, NDArray[np.int64]] = {}
    for task in tasks:
        own = _annotated(task, dataset)
        whole_image = type(task).views is Task.views
        key = (task.augment, own.tobytes()) if whole_image else task.name
        shared.setdefault(key, []).append(task)
        positions[key] = own
    return [Group(tuple(members), positions[key]) for key, members in shared.items()]


def _annotated(task: Task, dataset: Dataset) -> NDArray[np.int64]:
    found = [i for i in range(len(dataset)) if set(task.kinds) <= dataset.kinds(i)]
    if type(task).views is not Task.views:
        found = [i for i in found if task.views(dataset[i].annotations)]
    if not found:
        wanted = " and ".join(task.kinds)
        raise DataError(
            f"{dataset.info.name}: no image is annotated with {wanted}, which task '{task.name}' learns from"
        )
    return np.array(found, dtype=np.int64)


class Mixture(torch.utils.data.Dataset[list[Batch]]):
    """Item `step` is the batches of that step, one a group of tasks."""

    def __init__(
        self, dataset: Dataset, groups: Sequence[Group], vocab: Vocabulary, side: int, batch_size: int, seed: int
    ) -> None:
        self.dataset, self.groups, self.vocab = dataset, groups, vocab
        self.side, self.batch_size, self.seed = side, batch_size, seed

    def __getitem__(self, step: int) -> list[Batch]:
        return [self._batch(group, step) for group in self.groups]

    def _batch(self, group: Group, step: int) -> Batch:
        images: list[Tensor] = []
        extents: list[tuple[float, float]] = []
        files: list[str] = []
        targets: dict[str, list[tuple[int, Target]]] = {task.name: [] for task in group.tasks}
        for position in range(step * self.batch_size, (step + 1) * self.batch_size):
            epoch, place_in_epoch = divmod(position, len(group.positions))
            rng = np.random.default_rng([self.seed, zlib.crc32(group.name.encode()), epoch, place_in_epoch])
            example, pixels = self._readable(group, epoch, place_in_epoch)
            for view in group.tasks[0].views(example.annotations, rng):
                seen = example.only(group.kinds, view.annotations)
                placement = place(example.size, self.side, view.region_xyxy, group.tasks[0].augment, rng)
                moved = seen.warp(placement.matrix, placement.size)
                for task in group.tasks:
                    targets[task.name] += [(len(images), t) for t in _checked(task, moved, self.vocab, rng)]
                jitter = partial(colour_jitter, strength=group.tasks[0].augment.colour, rng=rng)
                images.append(placement.render(pixels, jitter))
                extents.append((placement.size[1], placement.size[0]))
                files.append(example.file)
        sequences = {name: collate(found, self.vocab) for name, found in targets.items()}
        nothing = torch.zeros(0, 3, self.side, self.side, dtype=torch.uint8)  # no task found anything to look at
        stacked = torch.stack(images) if images else nothing
        return Batch(stacked, torch.tensor(extents).reshape(-1, 2), sequences, files)

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
