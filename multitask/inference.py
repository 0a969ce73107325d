"""Answers about images: each view encoded once, all queries of all tasks decoded together, mapped back to pixels."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray

from .annotations import Annotation, Boxes
from .data.transforms import Placement, Region, place
from .decoding.generation import Request, generate
from .decoding.speed import Speed
from .decoding.stepping import Stepper
from .errors import UsageError
from .example import Example, Prediction
from .model.decoder import Memory
from .model.encoder_decoder import EncoderDecoder
from .sequence.vocabulary import Vocabulary
from .task import Annotations, Decoded, Query, Task

Answers = dict[str, Prediction]  # by task
MOST_VIEWS = 64  # encoded in one pass
MOST_ROWS = 256  # sequences decoded together: each keeps its keys and values in memory


@dataclass
class Pass:
    """Encoded views of a batch of images; asked again for the same view, it encodes nothing."""

    rows: dict[tuple[int, Region | None], int] = field(default_factory=dict)  # (image, region) -> row of the memory
    placements: list[Placement] = field(default_factory=list)
    memory: Memory | None = None


@dataclass(frozen=True)
class Question:
    """One query of one task about one encoded view."""

    task: Task
    image: int
    view: int
    query: Query


Watch = Callable[[Question, Sequence[Decoded], Annotations, Pass], None]  # the answer lies in the view's unit square


class Predictor:
    """Runs tasks on images. `encoder_passes` and `encoded_views` count what was encoded, `stepper.counts` what was
    decoded, for tests and benchmarks.

    `floor`: answers with a lower score are not asked about by other tasks. `speed`: how decoding runs.
    """

    def __init__(
        self,
        model: EncoderDecoder,
        vocab: Vocabulary,
        tasks: Mapping[str, Task],
        side: int,
        device: torch.device,
        seed: int = 0,
        speed: Speed | None = None,
    ) -> None:
        self.model, self.vocab, self.tasks = model, vocab, dict(tasks)
        self.side, self.device, self.seed = side, device, seed
        self.floor = 0.0
        self.speed = speed or Speed()
        self._prepared: tuple[list[tuple[int, int]], Stepper] | None = None
        self.encoder_passes = self.encoded_views = 0

    @property
    def stepper(self) -> Stepper:
        """The decoder, prepared for decoding: anew where its weights have changed since.

        Raises UsageError where what `speed` says is not to be had on this device.
        """
        now = [(p.data_ptr(), p._version) for p in self.model.decoder.parameters()]
        if self._prepared is None or self._prepared[0] != now:
            self._prepared = now, self.speed.stepper(self.model.decoder)
        return self._prepared[1]

    @torch.inference_mode()
    def predict(
        self,
        examples: Sequence[Example],
        names: Sequence[str],
        given: Sequence[Annotations] | None = None,
        watch: Watch | None = None,
    ) -> list[Answers]:
        """What the tasks `names` answer about each image, in pixels of the image.

        `given` are annotations (in pixels) that the user hands to the tasks: boxes to ask about, `labels` to look for.
        They come before the answers of a required task. `watch` is called once a question, also one of a required task,
        is answered. Raises UsageError when a required task is not in the model.
        """
        given = given or [{} for _ in examples]
        pixels: dict[int, NDArray[np.uint8]] = {}
        answers: list[Answers] = [{} for _ in examples]
        state = Pass()
        was_training = self.model.training
        self.model.eval()
        for level in self._levels(names, given):
            questions = self._questions(level, examples, given, answers, pixels, state)
            self._answer(questions, level, examples, state, answers, watch)
        self.model.train(was_training)
        return [{name: a[name] for name in names} for a in answers]

    def _levels(self, names: Sequence[str], given: Sequence[Annotations]) -> list[list[Task]]:
        """The tasks and those they require, in steps that can be decoded together."""
        levels: list[list[Task]] = []
        waiting = [self.task(name) for name in names]
        while waiting:
            level = list(dict.fromkeys(waiting))
            if len(levels) > len(self.tasks):
                circle = ", ".join(task.name for task in level)
                raise UsageError(f"tasks ask about each other's answers in a circle: {circle}")
            levels = [[t for t in earlier if t not in level] for earlier in levels]
            levels.append(level)
            waiting = [self.task(r, t) for t in level for r in t.requires if not self._is_given(r, given)]
        return [level for level in reversed(levels) if level]

    def _is_given(self, name: str, given: Sequence[Annotations]) -> bool:
        """Whether the user gave, for every image, what the task of this name would answer."""
        kinds = set(self.tasks[name].kinds) if name in self.tasks else None
        return bool(given) and all(set(g) - {"labels"} if kinds is None else kinds <= set(g) for g in given)

    def task(self, name: str, asked_by: Task | None = None) -> Task:
        """The task of this name. Raises UsageError when the model was not trained on it."""
        if name not in self.tasks:
            there = ", ".join(self.tasks)
            if asked_by:
                why = f"task '{asked_by.name}' asks about the answers of '{name}'"
                raise UsageError(f"{why}, which this model was not trained on: give it boxes; it knows: {there}")
            raise UsageError(f"task '{name}' was asked, which this model was not trained on; it knows: {there}")
        return self.tasks[name]

    def _questions(
        self,
        level: Sequence[Task],
        examples: Sequence[Example],
        given: Sequence[Annotations],
        answers: Sequence[Answers],
        pixels: dict[int, NDArray[np.uint8]],
        state: Pass,
    ) -> list[Question]:
        found = []
        wanted: dict[tuple[int, Region | None], Placement] = {}
        for image, example in enumerate(examples):
            for task in level:
                known = {**_required(answers[image], task, self.floor), **given[image]}
                for view in task.views(known):
                    key = (image, view.region_xyxy)
                    placement = place(example.size, self.side, view.region_xyxy)
                    if key not in state.rows:
                        state.rows[key] = len(state.rows)
                        wanted[key] = placement
                    seen = known if view.annotations is None else view.annotations
                    moved = {kind: a.warp(placement.matrix, placement.size) for kind, a in seen.items()}
                    for query in task.queries(moved, self.vocab):
                        found.append(Question(task, image, state.rows[key], query))
        self._encode(wanted, examples, pixels, state)
        return found

    def _encode(
        self,
        wanted: Mapping[tuple[int, Region | None], Placement],
        examples: Sequence[Example],
        pixels: dict[int, NDArray[np.uint8]],
        state: Pass,
    ) -> None:
        """Encode the new views, up to MOST_VIEWS in one pass, and append them to the memory."""
        for image in {image for image, _ in wanted} - pixels.keys():
            pixels[image] = examples[image].load()
        waiting = iter(wanted.items())
        while some := dict(islice(waiting, MOST_VIEWS)):
            views = torch.stack([placement.render(pixels[image]) for (image, _), placement in some.items()])
            sizes = [placement.size for placement in some.values()]
            extent = torch.tensor([(height, width) for width, height in sizes], dtype=torch.float32, device=self.device)
            new = self.model.encode(views.to(self.device).float() / 255, extent)
            state.placements += some.values()
            state.memory = new if state.memory is None else _joined(state.memory, new)
            self.encoder_passes += 1
            self.encoded_views += len(views)

    def _answer(
        self,
        questions: Sequence[Question],
        level: Sequence[Task],
        examples: Sequence[Example],
        state: Pass,
        answers: Sequence[Answers],
        watch: Watch | None,
    ) -> None:
        """Decode all questions together, and write what they say into `answers`."""
        decoded = self._decoded((r for q in questions for r in self._requests(q, examples, state)), state)
        parts: dict[tuple[int, str], list[Annotations]] = {(i, t.name): [] for i in range(len(examples)) for t in level}
        for question in questions:
            samples = [next(decoded) for _ in range(question.task.decoding.samples)]
            answer = question.task.deserialize(question.query, samples, self.vocab)
            inverse = state.placements[question.view].inverse
            size = examples[question.image].size
            parts[question.image, question.task.name].append({k: a.warp(inverse, size) for k, a in answer.items()})
            if watch:
                watch(question, samples, answer, state)
        for (image, name), found in parts.items():
            example = examples[image]
            answers[image][name] = Prediction(example.id, example.file, example.size, merged(found))

    def _decoded(self, requests: Iterator[Request], state: Pass) -> Iterator[Decoded]:
        """The answers in the order of the requests, up to MOST_ROWS of them decoded together."""
        while state.memory and (some := list(islice(requests, MOST_ROWS))):
            views, rows = np.unique([request.image for request in some], return_inverse=True)
            seen = [replace(request, image=int(row)) for request, row in zip(some, rows, strict=True)]
            yield from generate(self.stepper, state.memory.take(views.tolist()), seen, self.vocab.eos)

    def _requests(self, question: Question, examples: Sequence[Example], state: Pass) -> list[Request]:
        task, query, view = question.task, question.query, question.view
        grammar, image = task.grammar(query, self.vocab), examples[question.image].id
        key: tuple[Hashable, ...] = (self.seed, image, state.placements[view].window, tuple(query.prompt.tolist()))
        samples = range(task.decoding.samples)
        return [Request(query.prompt, grammar, task.decoding, view, (*key, sample)) for sample in samples]


def merged(parts: Sequence[Annotations]) -> Annotations:
    """The answers of several queries about one image as one."""
    kinds: dict[str, list[Annotation]] = {}
    for part in parts:
        for kind, annotation in part.items():
            kinds.setdefault(kind, []).append(annotation)
    return {kind: found[0] if len(found) == 1 else type(found[0]).concat(found) for kind, found in kinds.items()}


def _required(answers: Answers, task: Task, floor: float) -> Annotations:
    return above(merged([answers[name].annotations for name in task.requires if name in answers]), floor)


def above(answers: Annotations, floor: float) -> Annotations:
    """Those answers whose score is at least `floor`."""
    return {k: a.take(a.scores >= floor) if isinstance(a, Boxes) else a for k, a in answers.items()}


def _joined(old: Memory, new: Memory) -> Memory:
    tokens = torch.cat([old.tokens, new.tokens])
    if old.valid is None and new.valid is None:
        return Memory(tokens)
    masks = [
        m.tokens.new_ones(m.tokens.shape[:2], dtype=torch.bool) if m.valid is None else m.valid for m in (old, new)
    ]
    return Memory(tokens, torch.cat(masks))
