from __future__ import annotations

import json
import logging
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from multitask.annotations import Boxes
from multitask.assembly import fitted, make_tasks, make_vocabulary
from multitask.config import Config
from multitask.data.scored import Scored
from multitask.data.shapes import INFO, ShapesDataset
from multitask.errors import DataError, UsageError
from multitask.evaluate import as_json, as_scores, evaluate, flat, write_results
from multitask.inference import Predictor
from multitask.self_test import self_test
from multitask.tasks.captioning import Captioning, CaptioningOptions
from multitask.tasks.detection import Detection, DetectionOptions
from multitask.tasks.keypoints import KeypointDetection, KeypointOptions
from multitask.tasks.segmentation import Segmentation, SegmentationOptions
from multitask.testing import SIDE, tiny_model, tiny_vocabulary

FOUND = np.array([[0.1, 0.1, 0.3, 0.3]])


class Collected:
    """A metric that keeps what it is given; its number is how much that is."""

    def __init__(self) -> None:
        self.seen = []

    def update(self, prediction, example) -> None:
        self.seen.append((prediction, example))

    def compute(self):
        return {"images": float(len(self.seen))}


@pytest.fixture(scope="module")
def world(toys):
    """A task that finds, one that asks about what was found and records what it was asked, and one that asks nobody."""

    class Mark(toys.Find):
        name = "mark"

        def __init__(self, options=None) -> None:
            super().__init__(options)
            self.asked = 0

        def deserialize(self, query, samples, vocab):
            self.asked += 1
            return {"boxes": Boxes(FOUND, ("cat",))}

    class Ask(toys.Find):
        name = "ask"
        requires = ("mark",)

        def __init__(self, options=None) -> None:
            super().__init__(options)
            self.known, self.metrics = [], []

        def views(self, annotations, rng=None):
            self.known.append(annotations)  # in pixels
            return super().views(annotations, rng)

        def metric(self, dataset):
            self.metrics.append(Collected())
            return self.metrics[-1]

    world = type("World", (), {})()
    world.Mark, world.Ask, world.say = Mark, Ask, toys.Say()
    world.vocab = toys.vocabulary(Mark(), Ask(), world.say)
    model = toys.network(len(world.vocab))

    def predictor(*tasks) -> Predictor:
        return Predictor(model, world.vocab, {task.name: task for task in tasks}, 32, torch.device("cpu"))

    world.predictor, world.Dataset = predictor, toys.Dataset
    return world


# ------------------------------------------------------------------------------------------------- what is asked about


def test_with_oracle_a_task_is_asked_about_the_true_boxes(world):
    mark, ask, dataset = world.Mark(), world.Ask(), world.Dataset(5)
    scores = as_scores(evaluate(world.predictor(mark, ask), dataset, ["ask"], 2, oracle=True))
    assert scores == {"ask": {"images": 5.0}} and mark.asked == 0
    for known, i in zip(ask.known, range(5), strict=True):
        truth = dataset[i].annotations["boxes"]
        assert known["boxes"].xyxy.tolist() == truth.xyxy.tolist() and known["boxes"].labels == truth.labels
        assert known["labels"].names == ("disc", "star", "cat")  # the categories of the data set
        assert "captions" not in known  # only objects are told


def test_without_it_about_what_was_found(world):
    mark, ask, dataset = world.Mark(), world.Ask(), world.Dataset(5)
    evaluate(world.predictor(mark, ask), dataset, ["ask"], 2)
    assert mark.asked == 5
    assert [known["boxes"].labels for known in ask.known] == [("cat",)] * 5


def test_a_model_without_the_required_task_is_asked_about_the_true_boxes(world):
    ask, dataset = world.Ask(), world.Dataset(3)
    evaluate(world.predictor(ask, world.say), dataset, ["ask", "say"])
    assert [known["boxes"].labels for known in ask.known] == [("disc",), ("star",), ("cat",)]
    with pytest.raises(UsageError, match="'mark'"):  # nobody gives them where a user asks
        world.predictor(ask).predict([dataset[0]], ["ask"])


def test_the_oracle_answers_for_nobody(world):
    """A task that finds is scored on what it finds, true boxes or not."""
    mark, ask = world.Mark(), world.Ask()
    mark.metric = lambda info: Collected()
    found = evaluate(world.predictor(mark, ask), world.Dataset(2), ["mark", "ask"], oracle=True)
    assert as_scores(found) == {
        "mark": {"images": 2.0},
        "ask": {"images": 2.0},
    }
    assert mark.asked == 2 and [known["boxes"].labels for known in ask.known] == [("disc",), ("star",)]


@pytest.mark.parametrize("oracle", [False, True])
@pytest.mark.parametrize("lacking", [False, True])
def test_images_that_are_not_annotated_for_a_task_do_not_count_for_it(world, oracle, lacking):
    kinds = lambda i: frozenset({"captions"} if i % 2 else {"boxes", "captions"})  # noqa: E731
    ask, dataset = world.Ask(), world.Dataset(5, kinds=kinds)
    predictor = world.predictor(ask, world.say) if lacking else world.predictor(world.Mark(), ask, world.say)
    scores = as_scores(evaluate(predictor, dataset, ["ask", "say"], 3, oracle=oracle))
    assert [example.id for _, example in ask.metrics[0].seen] == [0, 2, 4] and "exact" in scores["say"]
    if oracle or lacking:
        assert [len(known["boxes"]) for known in ask.known] == [1, 0, 1, 0, 1]


def test_images_that_no_task_is_scored_on_are_not_looked_at(world):
    kinds = lambda i: frozenset({"captions"} if i % 2 else {"boxes"})  # noqa: E731
    ask, done = world.Ask(), []
    progress = lambda n, total: done.append((n, total))  # noqa: E731
    evaluate(world.predictor(ask), world.Dataset(7, kinds=kinds), ["ask"], 3, progress)
    assert len(ask.known) == 4 and done == [(3, 4), (4, 4)]
    with pytest.raises(DataError, match="toys: no image is annotated for ask"):
        evaluate(world.predictor(ask), world.Dataset(3, kinds=lambda i: frozenset({"captions"})), ["ask"])


@pytest.mark.parametrize("oracle", [False, True])
def test_an_image_that_cannot_be_read_is_named_and_left_out(world, caplog, oracle):
    ask, dataset = world.Ask(), world.Dataset(5, damaged={0, 3})
    with caplog.at_level(logging.WARNING):
        evaluate(world.predictor(world.Mark(), ask), dataset, ["ask"], 3, oracle=oracle)
    assert [r.getMessage() for r in caplog.records] == [
        "skipped: toys/0.png: is damaged",
        "skipped: toys/3.png: is damaged",
    ]
    assert [example.id for _, example in ask.metrics[0].seen] == [1, 2, 4]
    if oracle:  # boxes and images have not slipped against each other
        assert [known["boxes"].labels for known in ask.known] == [("star",), ("cat",), ("star",)]


# ------------------------------------------------------------------------------------------- crowds, with our own tasks


def own_tasks():
    short = {
        "det": Detection(DetectionOptions(max_instances=2)),
        "caption": Captioning(CaptioningOptions(max_tokens=4)),
        "segment": Segmentation(SegmentationOptions(max_points=4)),
        "keypoints": KeypointDetection(KeypointOptions(skeleton=INFO.skeleton)),
    }
    for name in ("segment", "keypoints"):
        short[name].metric = lambda info: Collected()
    return short


class Crowded:
    """The first scene with three figures, of which the first is a crowd and the second has no labelled point; then one
    with captions only, and one with boxes only."""

    info, split = INFO, "val"
    faults = ()

    def __init__(self) -> None:
        scene = ShapesDataset("val", 24)[6]
        figures = np.flatnonzero([label == "figure" for label in scene.annotations["boxes"].labels])
        crowd = np.isin(np.arange(len(scene.annotations["boxes"])), figures[:1])
        visibility = scene.annotations["keypoints"].visibility.copy()
        visibility[1] = 0
        changed = {
            "boxes": replace(scene.annotations["boxes"], crowd=crowd),
            "polygons": replace(scene.annotations["polygons"], crowd=crowd),
            "keypoints": replace(scene.annotations["keypoints"], crowd=crowd[figures], visibility=visibility),
            "captions": scene.annotations["captions"],
        }
        self.figures = figures
        self.examples = [
            replace(scene, id=0, annotations=changed),
            replace(scene, id=1, annotations={"captions": changed["captions"]}),
            replace(scene, id=2, annotations={"boxes": changed["boxes"]}),
        ]

    def __len__(self) -> int:
        return len(self.examples)

    def kinds(self, i):
        return frozenset(self.examples[i].annotations)

    def __getitem__(self, i):
        return self.examples[i]


@pytest.mark.parametrize("known", [("det", "caption", "segment", "keypoints"), ("caption", "segment", "keypoints")])
def test_crowds_are_not_asked_about(known):
    tasks, dataset = {name: task for name, task in own_tasks().items() if name in known}, Crowded()
    metrics = {}
    for name in ("segment", "keypoints"):
        tasks[name].metric = lambda info, name=name: metrics.setdefault(name, Collected())
    vocab = tiny_vocabulary(tasks.values())
    predictor = Predictor(tiny_model(len(vocab)), vocab, tasks, SIDE, torch.device("cpu"))
    scores = as_scores(evaluate(predictor, dataset, list(known), oracle=True))
    assert list(scores) == list(known)
    ((outlined, _),), ((posed, _),) = metrics["segment"].seen, metrics["keypoints"].seen
    truth = dataset[0].annotations["polygons"]
    assert len(dataset.figures) == 3
    assert outlined.annotations["polygons"].ids.tolist() == [i for n, i in enumerate(truth.ids) if not truth.crowd[n]]
    assert posed.annotations["keypoints"].ids.tolist() == [truth.ids[dataset.figures[2]]]
    np.testing.assert_allclose(posed.annotations["keypoints"].xyxy, truth.xyxy[dataset.figures[2:]], atol=1e-6)


def test_outlines_and_points_are_not_told_with_the_boxes(monkeypatch):
    """What the network is asked holds box and category, whatever is known besides."""
    tasks, dataset = own_tasks(), Crowded()
    vocab = tiny_vocabulary(tasks.values())
    predictor = Predictor(tiny_model(len(vocab)), vocab, tasks, SIDE, torch.device("cpu"))
    asked = []
    for name in ("segment", "keypoints"):
        grammar = tasks[name].grammar
        monkeypatch.setattr(tasks[name], "grammar", lambda q, v, g=grammar: (asked.append(q), g(q, v))[1])
    evaluate(predictor, dataset, ["segment", "keypoints"], oracle=True)
    assert len(asked) > 3
    for query in asked:
        assert len(query.prompt) == 6 and query.about.keys() == {"boxes"} and type(query.about["boxes"]) is Boxes


# ------------------------------------------------------------------------------------------------------- the ceiling


@pytest.fixture(scope="module")
def ceiling():
    """Scores of the first twenty scenes, fed back directly and through tokens."""
    dataset = ShapesDataset("val", 20)
    config = fitted(Config(tasks={"det": {}, "segment": {}, "keypoints": {}, "caption": {}}), dataset)
    tasks = make_tasks(config)
    vocab = make_vocabulary(config, tasks, dataset)
    return [as_scores(self_test(dataset, tasks, vocab, 128, through_tokens=through)) for through in (False, True)]


def test_the_truth_fed_back_scores_one(ceiling):
    direct, _ = ceiling
    assert direct["det"]["AP"] == direct["segment"]["AP"] == direct["keypoints"]["AP"] == 1.0
    assert direct["caption"]["BLEU-4"] == pytest.approx(1.0)


@pytest.mark.parametrize("through_tokens", [False, True])
def test_crowds_and_images_without_a_kind_do_not_lower_the_ceiling(through_tokens):
    tasks = {
        "segment": Segmentation(),
        "keypoints": KeypointDetection(KeypointOptions(skeleton=INFO.skeleton)),
        "caption": Captioning(),
    }
    scores = as_scores(self_test(Crowded(), tasks, tiny_vocabulary(tasks.values(), bins=1000), 128, through_tokens))
    assert scores["segment"]["AP50"] == scores["keypoints"]["AP"] == 1.0
    assert through_tokens or scores["segment"]["AP"] == 1.0


def test_the_truth_through_tokens_scores_nearly_one(ceiling):
    _, through = ceiling
    assert through["segment"]["AP50"] == 1.0 and through["segment"]["AP"] > 0.9
    assert through["keypoints"]["AP"] > 0.97
    assert through["det"]["AP50"] == 1.0


def test_few_bins_lower_the_ceiling_and_few_points_the_one_of_outlines():
    dataset = ShapesDataset("val", 12)

    def score(bins: int, name: str, **options) -> float:
        config = fitted(Config(tasks={name: options}, bins=bins), dataset)
        tasks = make_tasks(config)
        return as_scores(self_test(dataset, tasks, make_vocabulary(config, tasks, dataset), 128, True))[name]["AP"]

    assert score(1000, "keypoints") > score(12, "keypoints")
    assert score(1000, "segment") > score(12, "segment")
    assert score(1000, "segment", max_points=64) > score(1000, "segment", max_points=5)


def test_scores_as_they_are_logged():
    scores = {"a": {"x": 0.5, "y": math.nan}, "b": {"x": math.inf}}
    assert list(flat(scores)) == ["a/x", "a/y", "b/x"]
    assert as_json(scores) == {"a": {"x": 0.5, "y": None}, "b": {"x": None}}


class Answers:
    def __init__(self, rows):
        self.rows = rows

    def results(self):
        return self.rows


def test_answers_of_two_data_sets_of_like_names_go_to_two_files(tmp_path, caplog):
    dataset = ShapesDataset("val", 1)
    found = [Scored(f"det@{name}", dataset, Answers([name])) for name in ("my data", "my_data", "other")]
    paths = write_results([*found, Scored("plain", dataset, object())], tmp_path)
    assert "plain: its metric has no results() to save" in caplog.text
    assert sorted(paths) == sorted(tmp_path.iterdir())
    written = {path.name: json.loads(path.read_text()) for path in tmp_path.iterdir()}
    assert written == {
        "det_my_data.json": ["my data"], "det_my_data-2.json": ["my_data"], "det_other.json": ["other"],
    }  # fmt: skip
