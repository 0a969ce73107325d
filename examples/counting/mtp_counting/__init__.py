"""Counting: one question a category, `<count> disc`, one token in answer, `<count=3>`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from pydantic import Field

from multitask.annotations import Annotation, Boxes, Canvas, Example, Labels, Prediction
from multitask.task import END, Annotations, Augment, DatasetInfo, Decoded, Grammar, Ids, Metric
from multitask.task import Query, State, Target, Task, TaskOptions, Vocabulary

MOST = 9  # stands for more as well
NUMBERS = tuple(f"<count={n}>" for n in range(MOST + 1))


@dataclass(frozen=True, eq=False)
class Counts(Annotation):
    """An annotation kind of our own: how many objects of each category there are."""

    kind: ClassVar[str] = "counts"
    numbers: Mapping[str, int]

    def __len__(self) -> int:
        return len(self.numbers)

    def to_json(self) -> dict[str, int]:
        return dict(self.numbers)

    @classmethod
    def concat(cls, items: Sequence[Counts]) -> Counts:
        return cls({name: number for item in items for name, number in item.numbers.items()})

    def draw(self, canvas: Canvas) -> None:
        canvas.text(", ".join(f"{name}: {n}{'+' * (n == MOST)}" for name, n in self.numbers.items()))


def true_numbers(example: Example) -> dict[str, int | None]:
    """Numbers of the categories that are there; None where a crowd stands for an unknown number."""
    boxes = example.annotations["boxes"]
    assert isinstance(boxes, Boxes)  # noqa: S101  # by its kind
    crowds = {label for label, crowd in zip(boxes.labels, boxes.crowd, strict=True) if crowd}
    return {name: None if name in crowds else min(n, MOST) for name, n in Counter(boxes.labels).items()}


class CountingOptions(TaskOptions):
    """Settings under `tasks.count`."""

    augment: Augment = Field(Augment(flip=0.5), description="variation of the training images; a crop would cut objects")
    absent: int = Field(2, ge=0, description="categories without any object that are asked about in training")


class Counting(Task):
    """Counts the objects of a category."""

    name = "count"
    kinds = ("boxes",)
    prompt_file = "mtp_counting/prompt.yaml"
    Options = CountingOptions
    options: CountingOptions

    def tokens(self) -> Sequence[str]:
        return (self.prompt.token, *NUMBERS)

    def queries(self, annotations: Annotations, vocab: Vocabulary) -> list[Query]:
        """One question for each of the `labels`, or for every category; `about` reminds `deserialize` of it."""
        labels = annotations.get("labels")
        names = labels.names if isinstance(labels, Labels) else vocab.classes
        return [
            Query(self.prompt.encode(vocab, label=name), {"labels": Labels((name,))})
            for name in names
            if name in vocab.classes
        ]

    def serialize(self, example: Example, vocab: Vocabulary, rng: np.random.Generator | None) -> list[Target]:
        """One sequence for every category that is there, and for some that are not."""
        numbers = true_numbers(example)
        absent = [name for name in vocab.classes if name not in numbers]
        order = np.arange(len(absent)) if rng is None else rng.permutation(len(absent))
        asked = [*numbers.items(), *((absent[i], 0) for i in order[: self.options.absent])]
        return [self._target(name, number, vocab) for name, number in asked if number is not None]

    def _target(self, name: str, number: int, vocab: Vocabulary) -> Target:
        (query,) = self.queries({"labels": Labels((name,))}, vocab)
        tokens = np.array([vocab.id(NUMBERS[number])])
        return Target(query.prompt, tokens, np.ones(1, dtype=np.float32), eos_weight=0.0, about=query.about)

    def grammar(self, query: Query, vocab: Vocabulary) -> Grammar:
        """One number, and the answer is over: no `<eos>` is drawn, so none is learnt (eos_weight above)."""
        return Grammar((State(((Ids.of(*map(vocab.id, NUMBERS)), END),)),), max_tokens=1)

    def deserialize(self, query: Query, samples: Sequence[Decoded], vocab: Vocabulary) -> Annotations:
        """The number of the category asked about, or nothing where the answer is none."""
        values = {vocab.id(token): number for number, token in enumerate(NUMBERS)}
        said = [values[token] for token in samples[0].tokens[:1].tolist() if token in values]
        labels = query.about["labels"]
        assert isinstance(labels, Labels)  # noqa: S101  # we put it there
        return {"counts": Counts({name: number for name in labels.names for number in said})}

    def metric(self, dataset: DatasetInfo) -> Metric:
        return CountAccuracy()


class CountAccuracy:
    """Share of right numbers, and the share among categories that are there: to say 0 is often right."""

    def __init__(self) -> None:
        self.right: list[bool] = []
        self.present: list[bool] = []

    def update(self, prediction: Prediction, example: Example) -> None:
        truth, answer = true_numbers(example), prediction.annotations.get("counts")
        said = answer.numbers if isinstance(answer, Counts) else {}
        for name in truth | said:
            number = truth.get(name, 0)
            if number is not None:
                self.right.append(said.get(name) == number)
                if number:
                    self.present.append(self.right[-1])

    def compute(self) -> dict[str, float]:
        shares = {"accuracy": self.right, "accuracy_present": self.present}
        return {name: float(np.mean(hits)) if hits else float("nan") for name, hits in shares.items()}
