"""The contract of a task: what the engine asks of it, and what passes between them.

A task owns both directions: annotations to tokens (`serialize`) and tokens to annotations (`deserialize`). The engine
knows sequences, never a task by name. It warps the image and its annotations into each view, where coordinates lie in
the unit square, appends `<eos>`, shifts, pads, batches, decodes under the task's grammar and maps answers back.

To write a task: derive from `Task`, declare it as an entry point of the group `multitask.tasks`, and run
`multitask.testing.check_task` on it. Everything but `name`, `kinds`, `serialize`, `grammar` and `deserialize` has a
default.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from .annotations import Annotation
from .config import Section
from .example import Example
from .metric import ExactMatch, Exchangeable, Metric
from .sequence.grammar import END, Grammar, State, Stop
from .sequence.ids import Ids
from .sequence.prompting import Decoding, Prompt, load_prompt
from .sequence.vocabulary import Vocabulary
from .skeleton import Skeleton

__all__ = [
    "END", "Annotations", "Augment", "Category", "DatasetInfo", "Decoded", "Decoding", "ExactMatch", "Exchangeable",
    "Grammar", "Ids", "Metric", "Passage", "Prompt", "Query", "Skeleton", "State", "Stop", "Target", "Task",
    "TaskOptions", "View", "Vocabulary",
]  # fmt: skip

Annotations = Mapping[str, Annotation]  # by kind; absent = not annotated, empty = none there


Scale = Annotated[float, Field(gt=0, le=100)]


class Augment(Section):
    """How training images are varied, as data that the engine executes. Annotations move along."""

    scale: Annotated[tuple[Scale, Scale], Field(strict=False)] = Field(
        (1.0, 1.0), description="range of the size relative to the network input; above 1 a random crop is taken"
    )
    flip: float = Field(0.0, ge=0, le=1, description="probability of a left-right mirror image")
    colour: float = Field(0.0, ge=0, le=1, description="strength of the colour jitter of SimCLR v2; 0: off")


class TaskOptions(Section):
    """Settings of a task, read from `tasks.<name>`; each task derives its own from it."""

    augment: Augment = Field(Augment(), description="variation of the training images")
    decoding: Decoding | None = Field(None, description="how answers are drawn; null: as the prompt file says")


@dataclass(frozen=True)
class Category:
    """A category of a data set with the id that the data set itself gives it."""

    id: int
    name: str
    frequency: str = ""  # in LVIS: r, c or f, as few, some or many images have it


@dataclass(frozen=True)
class DatasetInfo:
    """What a data set says of itself once, for metrics and drawing."""

    name: str
    categories: tuple[Category, ...] = ()
    skeleton: Skeleton = field(default=Skeleton())  # the points of those categories that have some


@dataclass(frozen=True)
class View:
    """A region of the image that a task looks at, and the annotations it looks at it for."""

    region_xyxy: tuple[float, float, float, float] | None = None  # pixels of the image; None: all of it
    annotations: Annotations | None = None  # in pixels of the image; None: all that the image has


@dataclass(frozen=True, eq=False)
class Query:
    """One question about one view. `about` is the task's own note for `deserialize`, in the view's unit square."""

    prompt: NDArray[np.int64]  # (P,) what the decoder is given
    about: Annotations = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Target:
    """One training sequence: after `prompt`, the decoder must produce `tokens`, then `<eos>`.

    Raises ValueError when an array has the wrong shape or length, or a weight is negative or not finite.
    """

    prompt: NDArray[np.int64]  # (P,)
    tokens: NDArray[np.int64]  # (L,) without `<eos>`
    weights: NDArray[np.float32]  # (L,) of each token in the loss
    inputs: NDArray[np.int64] | None = None  # (L,) what the decoder is fed instead of `tokens`, where they differ
    eos_weight: float = 1.0  # of the `<eos>` that the engine appends
    about: Annotations = field(default_factory=dict)  # as of the query that this sequence answers
    cut: tuple[str, ...] = ()  # options that left something of the truth out of this sequence

    def __post_init__(self) -> None:
        for name in ("prompt", "tokens", "weights", "inputs"):
            array = getattr(self, name)
            if array is not None and np.ndim(array) != 1:
                raise ValueError(f"Target.{name} must be one-dimensional, got shape {np.shape(array)}")
        lengths = {n: len(a) for n in ("tokens", "weights", "inputs") if (a := getattr(self, n)) is not None}
        if len(set(lengths.values())) > 1 or not len(self.prompt):
            raise ValueError(f"Target needs a prompt and arrays of one length, got {lengths}")
        weights = np.append(self.weights, self.eos_weight)
        if not (np.isfinite(weights).all() and (weights >= 0).all()):
            raise ValueError("Target.weights must be finite and not negative")

    def query(self) -> Query:
        return Query(self.prompt, self.about)


@dataclass(frozen=True, eq=False)
class Decoded:
    """One answer, `<eos>` not included. `best`, `best_prob` and `expected` are recorded where the state has a `read`
    set, the latter two over the ids within its `window` of `best`; elsewhere they hold the token itself, its
    probability and its id."""

    tokens: NDArray[np.int64]  # (L,) as drawn
    logprobs: NDArray[np.float64]  # (L,) of the tokens, among those that the grammar allowed
    best: NDArray[np.int64]  # (L,) the most probable id of the read set
    best_prob: NDArray[np.float64]  # (L,) probability of the window about it
    expected: NDArray[np.float64]  # (L,) mean id of that window

    @classmethod
    def certain(cls, tokens: NDArray[np.int64]) -> Decoded:
        """These tokens as if drawn with probability 1: for round trips without a model."""
        one = np.ones(len(tokens))
        return cls(tokens, np.zeros(len(tokens)), tokens, one, tokens.astype(np.float64))


@dataclass(frozen=True)
class Passage:
    """Some tokens of an answer that say one thing."""

    label: str  # what they say, for people
    tokens: tuple[int, ...]  # their positions in the answer, at least one
    item: int | None = None  # the row they speak of in the boxes that `deserialize` gives; None: of the whole answer


class Task:
    """Base class of all tasks. An instance holds its `options` and its `prompt`, and no other state."""

    name: ClassVar[str]  # the word on the command line, equal to the entry point's name
    kinds: ClassVar[tuple[str, ...]]  # annotation kinds it learns from; an image must have all of them
    requires: ClassVar[tuple[str, ...]] = ()  # tasks whose predictions it asks about
    prompt_file: ClassVar[str] = ""  # "package/file.yaml"; empty: the token <name> alone
    Options: ClassVar[type[TaskOptions]] = TaskOptions

    def __init__(self, options: TaskOptions | None = None) -> None:
        self.options: TaskOptions = options or self.Options()
        self.prompt = load_prompt(self.prompt_file) if self.prompt_file else Prompt(token=f"<{self.name}>")

    @property
    def augment(self) -> Augment:
        return self.options.augment

    @property
    def decoding(self) -> Decoding:
        return self.options.decoding or self.prompt.decoding

    @property
    def whole_image(self) -> bool:
        """Whether it always looks at the whole image, once: such tasks share that view in training."""
        return type(self).views is Task.views

    def fitted(self, dataset: DatasetInfo) -> TaskOptions:
        """The options for a new model of this data set; what they take from it is saved with the model."""
        return self.options

    def tokens(self) -> Sequence[str]:
        """Token strings that the task adds to the vocabulary, in a fixed order; the prompt's token among them."""
        return (self.prompt.token,)

    def views(self, annotations: Annotations, rng: np.random.Generator | None = None) -> list[View]:
        """Regions to look at, given annotations in pixels of the image; by default the whole image once.

        With `rng` (training) it may choose some of them. Each distinct region is encoded once.
        """
        return [View()]

    def queries(self, annotations: Annotations, vocab: Vocabulary) -> list[Query]:
        """What to ask about a view that has these annotations (unit square): what `requires` predicted, what the user
        gave, and `labels`, the categories in question. By default the bare prompt."""
        return [Query(self.prompt.encode(vocab))]

    def serialize(self, example: Example, vocab: Vocabulary, rng: np.random.Generator | None) -> list[Target]:
        """Training sequences of one view, annotations in its unit square; without `rng` nothing is left to chance."""
        raise NotImplementedError(f"{type(self).__name__}.serialize")

    def grammar(self, query: Query, vocab: Vocabulary) -> Grammar:
        """Which tokens may follow the prompt, so that every answer parses."""
        raise NotImplementedError(f"{type(self).__name__}.grammar")

    def deserialize(self, query: Query, samples: Sequence[Decoded], vocab: Vocabulary) -> Annotations:
        """The annotations that the answers spell, in the unit square of the view. Total: never raises, whatever the
        tokens; ids may be any."""
        raise NotImplementedError(f"{type(self).__name__}.deserialize")

    def passages(self, query: Query, answer: Decoded, vocab: Vocabulary) -> list[Passage]:
        """What the tokens of an answer (of several samples, the first) say, where it is shown what they came from.

        By default each token by itself. As total as `deserialize`.
        """
        return [Passage(vocab.render([token]), (place,)) for place, token in enumerate(answer.tokens.tolist())]

    def metric(self, dataset: DatasetInfo) -> Metric:
        """A fresh metric for a data set; by default the share of exact answers of the first kind."""
        return ExactMatch(self.kinds[0])
