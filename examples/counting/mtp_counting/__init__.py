"""Counting: one question a category, `<count> disc`, and one token in answer, `<count=3>`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from pydantic import Field

from multitask import task as mtp
from multitask.annotations import Annotation, Boxes, Canvas, Labels
from multitask.example import Example, Prediction

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
        canvas.text(", ".join(f"{name}: {n}{'+' if n == MOST else ''}" for name, n in self.numbers.items()))


class CountingOptions(mtp.TaskOptions):
    """Settings under `tasks.count`."""

    augment: mtp.Augment = Field(mtp.Augment(flip=0.5), description="no scale: a crop would cut objects")
    absent: int = Field(2, ge=0, description="categories asked about in training although nothing of them is there")


class Counting(mtp.Task):
    """Counts the objects of a category."""

    name = "count"
    kinds = ("boxes",)
    prompt_file = "mtp_counting/prompt.yaml"
    Options = CountingOptions
    options: CountingOptions

    def tokens(self) -> Sequence[str]:
        return (self.prompt.token, *NUMBERS)

    def queries(self, annotations: mtp.Annotations, vocab: mtp.Vocabulary) -> list[mtp.Query]:
        """One question for each of the `labels`, or else for every category; `about` keeps what was asked."""
        labels = annotations.get("labels")
        names = [n for n in labels.names if n in vocab.classes] if isinstance(labels, Labels) else vocab.classes
        return [mtp.Query(self.prompt.encode(vocab, label=n), about={"labels": Labels((n,))}) for n in names]

    def serialize(self, example: Example, vocab: mtp.Vocabulary, rng: np.random.Generator | None) -> list[mtp.Target]:
        """One sequence for every category that is there, and for some that are not."""
        numbers = true_numbers(example)
        absent = [name for name in vocab.classes if name not in numbers]
        if rng is not None:
            absent = rng.permutation(absent).tolist()
        names = [*(n for n in vocab.classes if n in numbers), *absent[: self.options.absent]]
        questions = zip(names, self.queries({"labels": Labels(tuple(names))}, vocab), strict=True)
        return [self._target(query, NUMBERS[numbers[name]], vocab) for name, query in questions]

    def _target(self, query: mtp.Query, answer: str, vocab: mtp.Vocabulary) -> mtp.Target:
        tokens, weights = np.array([vocab.id(answer)]), np.ones(1, dtype=np.float32)
        return mtp.Target(query.prompt, tokens, weights, eos_weight=0.0, about=query.about)  # no <eos>: see grammar

    def grammar(self, query: mtp.Query, vocab: mtp.Vocabulary) -> mtp.Grammar:
        """A number, and the answer is over: `<eos>` is never drawn, so it need not be learnt."""
        return mtp.Grammar((mtp.State(((mtp.Ids.of(*map(vocab.id, NUMBERS)), mtp.END),)),), max_tokens=1)

    def deserialize(self, query: mtp.Query, samples: Sequence[mtp.Decoded], vocab: mtp.Vocabulary) -> mtp.Annotations:
        """The number of the category asked about; nothing where the answer is no number."""
        values = {vocab.id(token): number for number, token in enumerate(NUMBERS)}
        said = [values[token] for token in samples[0].tokens[:1].tolist() if token in values]
        return {"counts": Counts({name: n for name in query.about["labels"].to_json() for n in said})}

    def metric(self, dataset: mtp.DatasetInfo) -> mtp.Metric:
        return CountAccuracy()


class CountAccuracy:
    """Share of right numbers, of all and of the categories that are there: 0 is a cheap answer."""

    def __init__(self) -> None:
        self.hits: list[tuple[bool, bool]] = []  # right, and there

    def update(self, prediction: Prediction, example: Example) -> None:
        truth, answer = true_numbers(example), prediction.annotations.get("counts")
        said = answer.numbers if isinstance(answer, Counts) else {}
        self.hits += [(said.get(name) == truth[name], truth[name] > 0) for name in truth.keys() | said.keys()]

    def compute(self) -> dict[str, float]:
        right, there = np.array(self.hits, dtype=bool).reshape(-1, 2).T
        shares = {"accuracy": right, "accuracy_present": right[there]}
        return {name: float(hits.mean()) if len(hits) else float("nan") for name, hits in shares.items()}


def true_numbers(example: Example) -> Counter[str]:
    """How many there are of each category, 0 for any other; a crowd counts for nothing."""
    boxes = example.annotations["boxes"]
    assert isinstance(boxes, Boxes)  # noqa: S101  # by its kind
    return Counter({name: min(n, MOST) for name, n in Counter(boxes.take(~boxes.crowd).labels).items()})
