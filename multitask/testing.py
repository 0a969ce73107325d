"""For authors of tasks: tiny data and models, and `check_task`, which holds a task to its contract.

def test_the_contract() -> None:
    check_task(Counting(), tiny_examples(8))
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from .annotations import Annotation, Boxes, Keypoints, Labels
from .data.transforms import place
from .draw import draw
from .example import Example, Prediction
from .inference import merged
from .self_test import round_trip
from .task import Annotations, Category, DatasetInfo, Decoded, Grammar, Passage, Query, Target, Task, View, Vocabulary
from .tiny import SIDE, tiny_examples, tiny_model, tiny_vocabulary
from .walks import fault, random_walk, refusal

__all__ = ["SIDE", "ContractError", "check_task", "random_walk", "tiny_examples", "tiny_model", "tiny_vocabulary"]

LONGEST = 10_000  # tokens: an answer that may be longer is a mistake


class ContractError(AssertionError):
    """A task breaks its contract; the message names the task, the `method` at fault, and what it did."""

    def __init__(self, task: Task, method: str, problem: str) -> None:
        super().__init__(f"task '{task.name}': {method}: {problem}")
        self.method = method


def check_task(
    task: Task,
    examples: Sequence[Example],
    vocab: Vocabulary | None = None,
    samples: int = 100,
    seed: int = 0,
    exact: bool = True,
) -> None:
    """Use a task as the engine would, on `examples` and on `samples` answers of each sort that a model might give.

    By default the vocabulary has the categories of the examples. `exact`: what was read back from tokens must survive a
    second round trip unchanged; False for a task that, say, spaces the points of an outline anew each time.
    Raises ContractError at the first breach.
    """
    check = _Check(task, _info(examples), np.random.default_rng(seed), exact)
    known = [e for e in examples if set(task.kinds) <= set(e.annotations)]
    check.demand(bool(known), "kinds", f"no example is annotated with {' and '.join(task.kinds)}")
    with check.during("fitted"):
        check.task = type(task)(task.fitted(check.info))
    check.tokens(vocab)
    queries = [query for example in known for query in check.example(example)]
    check.demand(bool(queries), "queries", "nothing is asked about any example")
    for number in range(samples):
        check.any_answer(queries[number % len(queries)])
    check.metric(known)


def _info(examples: Sequence[Example]) -> DatasetInfo:
    """What these examples would say of themselves as a data set."""
    boxes = [a for example in examples for a in example.annotations.values() if isinstance(a, Boxes)]
    labels = sorted({label for some in boxes for label in some.labels})
    categories = tuple(Category(number, name) for number, name in enumerate(labels, 1))
    return DatasetInfo("examples", categories, *[a.skeleton for a in boxes if isinstance(a, Keypoints)][:1])


@dataclass
class _Check:
    task: Task
    info: DatasetInfo
    rng: np.random.Generator
    exact: bool
    vocab: Vocabulary = field(init=False)

    def demand(self, holds: bool, method: str, problem: str) -> None:
        if not holds:
            raise ContractError(self.task, method, problem)

    @contextmanager
    def during(self, method: str) -> Iterator[None]:
        """What is raised inside is the fault of `method`."""
        try:
            yield
        except ContractError:
            raise
        except Exception as error:
            raise ContractError(self.task, method, f"raised {type(error).__name__}: {error}") from error

    def tokens(self, vocab: Vocabulary | None) -> None:
        with self.during("tokens"):
            tokens: list[Any] = list(self.task.tokens())
            words = all(isinstance(t, str) and t.split() == [t] for t in tokens) and len(set(tokens)) == len(tokens)
            self.demand(words, "tokens", f"must be different words, got {tokens}")
            own = self.task.prompt.token
            self.demand(own in tokens, "tokens", f"lacks {own}, the token of its prompt: {tokens}")
            classes = [category.name for category in self.info.categories]
            self.vocab = tiny_vocabulary([self.task], classes) if vocab is None else vocab
            for token in tokens:
                self.vocab.id(token)

    def ids(self, ids: NDArray[np.int64], method: str, name: str) -> None:
        ids = np.asarray(ids)
        sound = np.issubdtype(ids.dtype, np.integer) and np.all((ids >= 0) & (ids < len(self.vocab)))
        self.demand(bool(sound) or not ids.size, method, f"{name} has ids outside the vocabulary: {ids.tolist()}")

    def example(self, example: Example) -> Iterator[Query]:
        """One example as it is, augmented, and with nothing in it; gives what was asked about it."""
        nothing = {kind: a.take([]) if isinstance(a, Boxes) else a for kind, a in example.annotations.items()}
        for rng, seen in ((None, example), (self.rng, example), (None, replace(example, annotations=nothing))):
            for moved in self.views(seen, rng):
                yield from (target.query() for target in self.targets(moved, rng))
                yield from self.queries({**moved.annotations, "labels": Labels(self.vocab.classes[:2])})
                self.round_trips(moved)
        yield from self.queries({}) if not self.task.requires else ()

    def views(self, example: Example, rng: np.random.Generator | None) -> Iterator[Example]:
        """The example in the unit square of each view."""
        with self.during("views"):
            views = self.task.views(example.annotations, rng)
            self.demand(all(isinstance(view, View) for view in views), "views", f"must give Views, got {views}")
            plans = [place(example.size, SIDE, v.region_xyxy, self.task.augment if rng else None, rng) for v in views]
        for view, plan in zip(views, plans, strict=True):
            seen = example.annotations if view.annotations is None else view.annotations
            yield replace(example, annotations=seen).warp(plan.matrix, plan.size)

    def targets(self, example: Example, rng: np.random.Generator | None) -> list[Target]:
        before, seed = deepcopy(_plain(example.annotations)), self.rng.integers(2**32)
        rngs = [rng and np.random.default_rng(seed) for _ in range(2)]
        with self.during("serialize"):
            targets, again = (self.task.serialize(example, self.vocab, each) for each in rngs)
        self.demand(all(isinstance(t, Target) for t in targets), "serialize", f"must give Targets, got {targets}")
        self.demand(_same(targets, again), "serialize", "gives different targets for the same example and rng")
        self.demand(_same(before, example.annotations), "serialize", "changes the annotations of its example")
        for target in targets:
            for name in ("prompt", "tokens", "inputs"):
                if (ids := getattr(target, name)) is not None:
                    self.ids(ids, "serialize", f"Target.{name}")
            problem = refusal(self.grammar(target.query()), target.tokens.tolist(), self.vocab)
            self.demand(not problem, "grammar", f"refuses a target: {problem}")
        return targets

    def grammar(self, query: Query) -> Grammar:
        with self.during("grammar"):
            grammar = self.task.grammar(query, self.vocab)
            hash(grammar)  # the engine keeps equal ones once
            length, problem = grammar.max_tokens, fault(grammar, self.vocab)
        self.demand(length <= LONGEST, "grammar", f"max_tokens is {length}: set a limit below {LONGEST}")
        self.demand(not problem, "grammar", problem)
        return grammar

    def queries(self, known: Annotations) -> Iterator[Query]:
        with self.during("queries"):
            queries: list[Any] = list(self.task.queries(known, self.vocab))
        for query in queries:
            sound = isinstance(query, Query) and len(query.prompt) > 0
            self.demand(sound, "queries", f"must give Queries with a prompt, got {query}")
            self.ids(query.prompt, "queries", "Query.prompt")
            yield query

    def answer(self, query: Query, samples: Sequence[Decoded]) -> Annotations:
        with self.during("deserialize"):
            answer: Any = self.task.deserialize(query, samples, self.vocab)
        kinds = isinstance(answer, Mapping) and all(
            isinstance(a, Annotation) and a.kind == k for k, a in answer.items()
        )
        self.demand(kinds, "deserialize", f"must give Annotations by their kind, got {answer}")
        for boxes in (a.xyxy for a in answer.values() if isinstance(a, Boxes)):
            inside = (boxes >= 0).all() and (boxes <= 1).all() and (boxes[:, :2] <= boxes[:, 2:]).all()
            self.demand(bool(inside), "deserialize", f"gives boxes outside the unit square, or turned ones: {boxes}")
        self.passages(query, samples[0], answer)
        return cast("Annotations", answer)

    def passages(self, query: Query, said: Decoded, answer: Annotations) -> None:
        with self.during("passages"):
            passages: list[Any] = list(self.task.passages(query, said, self.vocab))
        rows = next((len(a) for a in answer.values() if isinstance(a, Boxes)), 0)
        for passage in passages:
            sound = isinstance(passage, Passage) and len(passage.tokens) > 0
            self.demand(sound, "passages", f"must give Passages with tokens, got {passage}")
            inside = all(0 <= place < len(said.tokens) for place in passage.tokens)
            inside &= passage.item is None or 0 <= passage.item < rows
            self.demand(inside, "passages", f"of {len(said.tokens)} tokens and {rows} boxes, tells of {passage}")

    def any_answer(self, query: Query) -> None:
        """What the grammar allows, the same with a tenth of the tokens replaced, and any tokens whatever."""
        grammar, count = self.grammar(query), self.task.decoding.samples
        with self.during("grammar"):
            walks = [random_walk(grammar, self.vocab, self.rng) for _ in range(count)]
        nothing = np.zeros(self.rng.integers(0, 64), dtype=np.int64)
        self.answer(query, walks)
        self.answer(query, [self.noisy(walk.tokens, 0.1) for walk in walks])
        self.answer(query, [self.noisy(nothing, 1.0) for _ in walks])

    def noisy(self, tokens: NDArray[np.int64], share: float) -> Decoded:
        """A part of `tokens`, a `share` of them replaced by any ids, recorded with any numbers."""
        tokens = tokens[: self.rng.integers(0, len(tokens) + 1)]
        other = self.rng.integers(-3, 2 * len(self.vocab), (2, len(tokens)))
        mixed, best = np.where(self.rng.random((2, len(tokens))) < share, other, tokens)
        probs = self.rng.random(len(tokens))
        return Decoded(mixed, np.log1p(-probs), best, probs, best + self.rng.normal(0.0, 3.0, len(tokens)))

    def round_trips(self, example: Example) -> None:
        """What was read back from tokens is written and read back without a further change; and can be shown."""
        once = self.round_trip(example)
        twice = self.round_trip(replace(example, annotations={**example.annotations, **once}))
        same = _same(once, twice) or not self.exact
        self.demand(same, "deserialize", "a second round trip through tokens differs from the first")
        for annotation in once.values():
            with self.during(f"deserialize, {type(annotation).__name__}"):
                json.dumps(annotation.to_json(), allow_nan=False)
                draw(np.zeros((2, 2, 3), dtype=np.uint8), [annotation.concat([annotation, annotation])])

    def round_trip(self, example: Example) -> Annotations:
        targets = self.targets(example, None)
        return merged([self.answer(target.query(), [Decoded.certain(target.tokens)]) for target in targets])

    def metric(self, examples: Sequence[Example]) -> None:
        """Scores the truth that went through tokens, and answers that say nothing."""
        for speaks in (True, False):
            with self.during("metric"):
                metric = self.task.metric(self.info)
                for e in examples:
                    said = round_trip(self.task, e, self.vocab, SIDE) if speaks else {}
                    metric.update(Prediction(e.id, e.file, e.size, said), e)
                scores: dict[Any, Any] = metric.compute()
            floats = bool(scores) and all(isinstance(k, str) and isinstance(v, float) for k, v in scores.items())
            self.demand(floats, "metric", f"compute must give floats by name, got {scores}")


def _same(one: object, other: object) -> bool:
    try:
        np.testing.assert_equal(_plain(one), _plain(other))
    except AssertionError:
        return False
    return True


def _plain(value: Any) -> Any:
    """Annotations and targets as dictionaries, all the way down."""
    if isinstance(value, Annotation | Target | Mapping):
        return {key: _plain(v) for key, v in (value if isinstance(value, Mapping) else vars(value)).items()}
    return [_plain(v) for v in value] if isinstance(value, list | tuple) else value
