"""check_task against tasks that keep the contract, and against a fault in every method."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch

from multitask import plugins
from multitask.annotations import Annotation, Boxes, Captions, Labels
from multitask.data.shapes import INFO, NAMES
from multitask.inference import Predictor
from multitask.task import END, DatasetInfo, Decoded, Grammar, Ids, Passage, Query, State, Target, Task, View
from multitask.testing import SIDE, ContractError, check_task, random_walk, tiny_examples, tiny_model, tiny_vocabulary

COUNTING = Path(__file__).parents[1] / "examples" / "counting"
EXAMPLES = tiny_examples(2)


class Largest(Task):
    """The box of the largest object: a sound task, of which every case below breaks one method."""

    name = "largest"
    kinds = ("boxes",)

    def serialize(self, example, vocab, rng):
        boxes = example.annotations["boxes"]
        corners = boxes.xyxy[np.argsort(-boxes.areas, kind="stable")[:1]].reshape(-1)
        bins = vocab.coord.start + np.round(corners * (vocab.bins - 1)).astype(np.int64)
        return [Target(self.prompt.encode(vocab), bins, np.ones(len(bins), dtype=np.float32))]

    def grammar(self, query, vocab):
        coord = Ids(((vocab.coord.start, vocab.coord.stop),))
        first = State(((coord, 1), (Ids.of(vocab.eos), END)))
        return Grammar((first, State(((coord, 2),)), State(((coord, 3),)), State(((coord, END),))), 4)

    def deserialize(self, query, samples, vocab):
        bins = samples[0].tokens[:4] - vocab.coord.start
        if len(bins) < 4 or (bins < 0).any() or (bins >= vocab.bins).any():
            return {"boxes": Boxes(np.zeros((0, 4)), ())}
        corners = (bins / (vocab.bins - 1)).reshape(2, 2)
        return {"boxes": Boxes(np.concatenate([corners.min(axis=0), corners.max(axis=0)]), ("thing",))}


@dataclass(frozen=True, eq=False)
class Opaque(Annotation):
    """A kind that JSON cannot hold."""

    kind: ClassVar[str] = "opaque"

    def __len__(self) -> int:
        return 1

    def to_json(self):
        return self

    @classmethod
    def concat(cls, items):
        return items[0]


def answer(boxes) -> dict[str, Boxes]:
    return {"boxes": Boxes(np.asarray(boxes, dtype=float), ("thing",))}


def target(task: Task, vocab, tokens, **fields) -> list[Target]:
    return [Target(task.prompt.encode(vocab), np.asarray(tokens), np.ones(len(tokens)), **fields)]


def one_state(ids, max_tokens=4, following=END, **fields) -> Grammar:
    return Grammar((State(((ids, following),), **fields),), max_tokens)


def overwrites(self, example, vocab, rng):
    example.annotations["boxes"].areas[:] = 0
    return target(self, vocab, [])


def chance(self, example, vocab, rng):
    return target(self, vocab, [vocab.coord[np.random.default_rng().integers(90)]] * 4)


def forgets(self, example, vocab, rng):
    found = Largest.serialize(self, example, vocab, rng)
    if example.annotations["boxes"].labels == ("thing",):  # what was read back is written with a shift
        found = [replace(t, tokens=np.maximum(t.tokens - 7, vocab.coord.start)) for t in found]
    return found


def needs_boxes(self, annotations, vocab):
    return [Query(self.prompt.encode(vocab)) for _ in annotations["boxes"].labels]


def dead_end(self, query, vocab):
    grammar = Largest.grammar(self, query, vocab)
    first = State((*grammar.states[0].arcs, (vocab.ids("text"), 4)))
    nothing = State(((Ids.of(vocab.pad), END),), not_below=1)
    return Grammar((first, *grammar.states[1:], nothing), 4)


def fails_on_long_answers(self, query, samples, vocab):
    if len(samples[0].tokens) > 20:
        raise IndexError("too long")
    return Largest.deserialize(self, query, samples, vocab)


class Silent:
    def update(self, prediction, example) -> None: ...
    def compute(self):
        return {}


class Picky(Silent):
    def update(self, prediction, example) -> None:
        prediction.annotations["boxes"]

    def compute(self):
        return {"share": 0.5}


FAULTS: dict[str, tuple[str, Callable, str]] = {
    "tokens that cannot be had": ("tokens", lambda self: 1 / 0, "raised ZeroDivisionError: division by zero"),
    "no tokens": ("tokens", lambda self: (), "lacks <largest>, the token of its prompt"),
    "a token twice": ("tokens", lambda self: ("<largest>", "<x>", "<x>"), "must be different words"),
    "a token of two words": ("tokens", lambda self: ("<largest>", "<a b>"), "must be different words"),
    "an empty token": ("tokens", lambda self: ("<largest>", ""), "must be different words"),
    "a number for a token": ("tokens", lambda self: ("<largest>", 7), "must be different words"),
    "a token of the engine": ("tokens", lambda self: ("<largest>", "<eos>"), "already belongs to 'special'"),
    "views of another type": ("views", lambda self, a, rng=None: [None], "must give Views"),
    "a region of three numbers": ("views", lambda self, a, rng=None: [View((0, 0, 9))], "raised IndexError"),
    "queries without a prompt": ("queries", lambda self, a, v: [Query(np.zeros(0, dtype=int))], "with a prompt"),
    "queries that need boxes": ("queries", needs_boxes, "raised KeyError: 'boxes'"),
    "queries outside the vocabulary": ("queries", lambda self, a, v: [Query(np.array([len(v)]))], "Query.prompt has"),
    "no targets": ("serialize", lambda self, e, v, rng: [np.zeros(4)], "must give Targets"),
    "targets outside the vocabulary": ("serialize", lambda self, e, v, rng: target(self, v, [-1]), "Target.tokens has"),
    "targets of fractions": ("serialize", lambda self, e, v, rng: target(self, v, [1.5]), "Target.tokens has"),
    "inputs outside the vocabulary": (
        "serialize",
        lambda self, e, v, rng: target(self, v, [v.eos], inputs=np.array([10**6])),
        "Target.inputs has",
    ),
    "weights of another length": (
        "serialize",
        lambda self, e, v, rng: [Target(np.array([0]), np.array([3, 3]), np.ones(3))],
        "raised ValueError: Target needs a prompt and arrays of one length",
    ),
    "targets by chance": ("serialize", chance, "different targets for the same example and rng"),
    "a changed example": ("serialize", overwrites, "changes the annotations of its example"),
    "a drift": ("serialize", forgets, "a second round trip through tokens differs"),
    "a grammar that refuses targets": (
        "grammar",
        lambda self, q, v: one_state(v.ids("class") | Ids.of(v.eos)),
        "refuses a target: state 0 does not allow token 0, '<",
    ),
    "a grammar shorter than targets": (
        "grammar",
        lambda self, q, v: replace(Largest.grammar(self, q, v), max_tokens=3),
        "refuses a target: has at most 3 tokens",
    ),
    "a grammar without end": (
        "grammar",
        lambda self, q, v: replace(Largest.grammar(self, q, v), max_tokens=10**9),
        "max_tokens is 1000000000: set a limit below",
    ),
    "a grammar of lists": (
        "grammar",
        lambda self, q, v: Grammar([State(((Ids.of(v.eos), END),))], 4),
        "raised TypeError",
    ),
    "a grammar outside the vocabulary": (
        "grammar",
        lambda self, q, v: one_state(Ids(((0, len(v) + 1),)), following=0),
        "ids outside the vocabulary",
    ),
    "a grammar with a dead end": ("grammar", dead_end, "raised ValueError: grammar state 4 allows nothing after '"),
    "no total reading": ("deserialize", fails_on_long_answers, "raised IndexError: too long"),
    "no mapping": ("deserialize", lambda self, q, s, v: [], "must give Annotations by their kind"),
    "another kind": (
        "deserialize",
        lambda self, q, s, v: {"boxes": Captions(())},
        "must give Annotations by their kind",
    ),
    "no annotations": ("deserialize", lambda self, q, s, v: {"boxes": np.zeros(4)}, "must give Annotations"),
    "boxes in pixels": ("deserialize", lambda self, q, s, v: answer([0, 0, 64, 64]), "outside the unit square"),
    "boxes turned": ("deserialize", lambda self, q, s, v: answer([0.5, 0, 0.1, 1]), "outside the unit square"),
    "answers that JSON cannot hold": (
        "deserialize",
        lambda self, q, s, v: {"opaque": Opaque()},
        "raised TypeError: Object of type Opaque is not JSON serializable",
    ),
    "no reading of passages": ("passages", lambda self, q, a, v: Passage(a.tokens[0]), "raised "),
    "passages of another type": ("passages", lambda self, q, a, v: [a.tokens], "must give Passages with tokens"),
    "a passage without tokens": ("passages", lambda self, q, a, v: [Passage("end", ())], "must give Passages with"),
    "a passage beyond the answer": (
        "passages",
        lambda self, q, a, v: [Passage("end", (len(a.tokens),))],
        "tells of Passage(label='end'",
    ),
    "a passage of no box": (
        "passages",
        lambda self, q, a, v: [Passage("left", (0,), 1)] if len(a.tokens) else [],
        "of 4 tokens and 1 boxes, tells of Passage(label='left', tokens=(0,), item=1)",
    ),
    "no metric": ("metric", lambda self, dataset: None, "raised AttributeError"),
    "a metric without numbers": ("metric", lambda self, dataset: Silent(), "must give floats by name, got {}"),
    "a metric that wants an answer": ("metric", lambda self, dataset: Picky(), "raised KeyError: 'boxes'"),
}


def test_a_sound_task_passes():
    check_task(Largest(), EXAMPLES, samples=20)
    check_task(Largest(), EXAMPLES, tiny_vocabulary([Largest()], classes=(), bins=10), samples=5, seed=7)


@pytest.mark.parametrize("case", FAULTS)
def test_a_fault_is_told_with_task_and_method(case: str):
    method, broken, problem = FAULTS[case]
    task = type("Broken", (Largest,), {method: broken})()
    with pytest.raises(ContractError) as caught:
        check_task(task, EXAMPLES, samples=20)
    blamed = "deserialize" if case == "a drift" else method
    assert caught.value.method.partition(",")[0] == blamed
    assert str(caught.value).startswith(f"task 'largest': {caught.value.method}: ")
    assert problem in str(caught.value)


def test_a_drift_is_let_pass_where_the_task_says_so_and_nothing_else_is():
    drifting = type("Drifting", (Largest,), {"serialize": forgets})
    check_task(drifting(), EXAMPLES, samples=20, exact=False)
    with pytest.raises(ContractError, match="deserialize: a second round trip"):
        check_task(drifting(), EXAMPLES, samples=20, exact=True)
    for method, broken, problem in (
        FAULTS[case] for case in ("a changed example", "boxes in pixels", "a grammar with a dead end")
    ):
        with pytest.raises(ContractError) as caught:
            check_task(type("Broken", (drifting,), {method: broken})(), EXAMPLES, samples=20, exact=False)
        assert problem in str(caught.value)


def test_a_task_is_fitted_to_the_examples():
    seen: list[DatasetInfo] = []

    class Fitted(Largest):
        def fitted(self, dataset):
            seen.append(dataset)
            return super().fitted(dataset)

    check_task(Fitted(), tiny_examples(8), samples=2)
    (dataset,) = seen
    assert [c.name for c in dataset.categories] == sorted(NAMES) and dataset.skeleton == INFO.skeleton
    with pytest.raises(ContractError, match="fitted: raised ZeroDivisionError"):
        check_task(type("Broken", (Largest,), {"fitted": lambda self, dataset: 1 / 0})(), EXAMPLES)


def test_examples_must_be_annotated():
    with pytest.raises(ContractError, match="task 'largest': kinds: no example is annotated with boxes"):
        check_task(Largest(), [replace(EXAMPLES[0], annotations={})])


def test_a_task_must_ask_something():
    nothing = {"queries": lambda self, a, v: [], "serialize": lambda self, e, v, rng: []}
    with pytest.raises(ContractError, match="queries: nothing is asked about any example"):
        check_task(type("Mute", (Largest,), nothing)(), EXAMPLES)


def test_the_vocabulary_must_know_the_tokens():
    with pytest.raises(ContractError, match="tokens: raised UsageError: the vocabulary has no token '<largest>'"):
        check_task(Largest(), EXAMPLES, tiny_vocabulary([]))


def test_every_answer_is_tried():
    seen: list[Decoded] = []

    class Watched(Largest):
        def deserialize(self, query, samples, vocab):
            seen.extend(samples)
            return super().deserialize(query, samples, vocab)

    vocab = tiny_vocabulary([Watched()])
    check_task(Watched(), EXAMPLES, vocab, samples=100)
    assert len(seen) >= 300
    assert {0, 1, 4} <= {len(s.tokens) for s in seen} and max(len(s.tokens) for s in seen) > 40
    tokens = np.concatenate([s.tokens for s in seen])
    assert tokens.min() < 0 and tokens.max() >= len(vocab)
    assert any((s.tokens != s.best).any() for s in seen)


@pytest.mark.parametrize("plugin", plugins.installed(), ids=lambda plugin: plugin.name)
def test_the_installed_tasks_keep_the_contract(plugin: plugins.Plugin):
    """As they are in a new model of the data that the examples are from."""
    task = plugins.load(plugin.name)
    check_task(task(task().fitted(INFO)), tiny_examples(3), samples=20)


def test_what_is_certain_has_no_window():
    tokens = np.array([7, 3, 3])
    certain = Decoded.certain(tokens)
    assert certain.tokens.tolist() == certain.best.tolist() == certain.expected.tolist() == [7, 3, 3]
    assert certain.best_prob.tolist() == [1.0] * 3 and certain.logprobs.tolist() == [0.0] * 3
    assert len(Decoded.certain(tokens[:0]).expected) == 0


def test_the_tiny_kit():
    examples = tiny_examples(3)
    assert [example.id for example in examples] == [0, 1, 2]
    assert examples[0].load().shape == (128, 128, 3)
    vocab = tiny_vocabulary([Largest()], classes=("cat",), bins=7)
    assert (vocab.classes, vocab.bins, vocab.render([vocab.id("<largest>")])) == (("cat",), 7, "<largest>")
    before = torch.random.get_rng_state()
    one, two = tiny_model(len(vocab)), tiny_model(len(vocab))
    assert torch.equal(before, torch.random.get_rng_state())
    assert sum(p.numel() for p in one.parameters()) < 300_000 and not one.training
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))


@pytest.fixture
def counting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> type[Task]:
    """The example plugin as an installer would lay it out, found through its entry point."""
    monkeypatch.delenv("MTP_TASKS", raising=False)
    project = tomllib.loads((COUNTING / "pyproject.toml").read_text())["project"]
    info = tmp_path / "mtp_counting-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    entries = "".join(f"{k} = {v}\n" for k, v in project["entry-points"][plugins.GROUP].items())
    (info / "entry_points.txt").write_text(f"[{plugins.GROUP}]\n{entries}")
    for path in (COUNTING, tmp_path):
        monkeypatch.syspath_prepend(str(path))
    return plugins.load("howmany")


def test_the_example_plugin_keeps_the_contract(counting: type[Task]):
    assert plugins.find("howmany").names == ("count", "howmany")
    check_task(counting(), tiny_examples(3), samples=20)


def test_the_example_plugin_answers_through_the_engine(counting: type[Task]):
    task = counting()
    vocab = tiny_vocabulary([task])
    predictor = Predictor(tiny_model(len(vocab)), vocab, {"count": task}, SIDE, torch.device("cpu"))
    labels = Labels(("disc", "star"))
    answers = predictor.predict(tiny_examples(2), ["count"], [{"labels": labels}, {}])
    numbers = [found["count"].annotations["counts"].to_json() for found in answers]
    assert list(numbers[0]) == ["disc", "star"] and list(numbers[1]) == list(vocab.classes)
    assert all(0 <= n <= 9 for found in numbers for n in found.values())
    assert (predictor.encoder_passes, predictor.encoded_views) == (1, 2)


def test_a_walk_is_an_answer_to_the_sound_task():
    vocab = tiny_vocabulary([Largest()])
    query = Query(Largest().prompt.encode(vocab))
    walk = random_walk(Largest().grammar(query, vocab), vocab, np.random.default_rng(0))
    assert len(walk.tokens) in (0, 4)
