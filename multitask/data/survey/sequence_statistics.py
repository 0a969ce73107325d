"""How long the training sequences of a task are on a data set, and what its options leave out of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...example import Example
from ...sequence.vocabulary import Vocabulary
from ...task import Target, Task
from ..dataset import Dataset
from ..joined import annotated
from ..transforms import place
from .statistics import spread

MOST = 2000  # images looked at, evenly spread over the data set


@dataclass
class SequenceStatistics:
    """Sequences of one task; lengths are those of prompt and answer together, in tokens."""

    images: int = 0  # looked at
    lengths: list[int] = field(default_factory=list)
    longest: int = 0  # that the options of the task allow
    cut: Counter[str] = field(default_factory=Counter)  # sequences that lack something, by option
    cut_images: Counter[str] = field(default_factory=Counter)  # images with such sequences, by option
    later: int = 0  # sequences whose turn comes when the image is seen again

    def to_json(self) -> dict[str, Any]:
        cut = {name: {"sequences": count, "images": self.cut_images[name]} for name, count in self.cut.items()}
        lengths = spread(self.lengths)
        return {
            "images": self.images,
            "sequences": len(self.lengths),
            "tokens": lengths,
            "longest_allowed": self.longest,
            "cut": cut,
            "later": self.later,
        }


def measure_sequences(task: Task, dataset: Dataset, vocab: Vocabulary, side: int, seed: int) -> SequenceStatistics:
    """What the task is trained to write about the images as they are: views and order vary, the pictures do not."""
    positions = annotated(dataset, task)
    chosen = positions[:: max(1, -(-len(positions) // MOST))]
    found = SequenceStatistics(len(chosen))
    for number, i in enumerate(chosen.tolist()):
        example = dataset[i]
        targets = list(_targets(task, example, vocab, side, np.random.default_rng([seed, number])))
        found.later += max(0, sum(1 for _ in _targets(task, example, vocab, side, None)) - len(targets))
        found.lengths += [len(target.prompt) + len(target.tokens) for target in targets]
        options = [name for target in targets for name in target.cut]
        found.cut.update(options)
        found.cut_images.update(set(options))
        if targets and not found.longest:
            found.longest = len(targets[0].prompt) + task.grammar(targets[0].query(), vocab).max_tokens
    return found


def _targets(
    task: Task, example: Example, vocab: Vocabulary, side: int, rng: np.random.Generator | None
) -> Iterator[Target]:
    for view in task.views(example.annotations, rng):
        placement = place(example.size, side, view.region_xyxy)
        moved = example.only(set(task.kinds), view.annotations).warp(placement.matrix, placement.size)
        yield from task.serialize(moved, vocab, rng)
