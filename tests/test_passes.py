"""What an answer costs: all tasks about an image take two passes of the encoder, however many people are in it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

from multitask import inference
from multitask.annotations import Boxes, Captions, Labels
from multitask.data.shapes import INFO
from multitask.decoding.generation import STEPS
from multitask.decoding.stepping import Stepper
from multitask.errors import UsageError
from multitask.example import Example
from multitask.inference import Answers, Predictor
from multitask.model.encoder_decoder import EncoderDecoder
from multitask.task import Annotations, Decoded, Decoding, Query, Task, Vocabulary
from multitask.tasks.captioning import Captioning, CaptioningOptions
from multitask.tasks.detection import Detection, DetectionOptions
from multitask.tasks.keypoints import KeypointDetection, KeypointOptions
from multitask.tasks.segmentation import Segmentation, SegmentationOptions
from multitask.testing import SIDE, tiny_model, tiny_vocabulary

ALL = ("det", "caption", "segment", "keypoints")
MOST = 10  # people
TOKENS = {"det": 20, "caption": 6, "segment": 16, "keypoints": 18}  # at most, in an answer
PROMPTS = {"det": 1, "caption": 1, "segment": 6, "keypoints": 6}
DRAWN = Decoding(temperature=1.0)  # so that answers differ from one query to the next


def places(count: int) -> np.ndarray:
    """Boxes (count, 4) beside and below each other in the upper part of the unit square, none like another."""
    left, top = 0.02 + 0.19 * (np.arange(count) % 5), 0.05 + 0.3 * (np.arange(count) // 5)
    grown = 0.1 + 0.005 * np.arange(count)
    return np.stack([left, top, left + grown, top + 0.2], axis=1)


class FakeDetection(Detection):
    """Finds as many figures as it is asked for categories; without such a question, as it is told."""

    def __init__(self, count: int = MOST, scores: Sequence[float] | None = None) -> None:
        super().__init__(DetectionOptions(max_instances=4))
        self.count, self.scores, self.asked = count, scores, 0

    def deserialize(self, query: Query, samples: Sequence[Decoded], vocab: Vocabulary) -> Annotations:
        self.asked += 1
        labels = query.about.get("labels")
        count = len(labels.names) if isinstance(labels, Labels) else self.count
        return {"boxes": Boxes(places(count), ("figure",) * count, self.scores)}


def four_tasks(det: Detection | None = None) -> dict[str, Task]:
    tasks: list[Task] = [
        det or FakeDetection(),
        Captioning(CaptioningOptions(max_tokens=TOKENS["caption"], decoding=DRAWN)),
        Segmentation(SegmentationOptions(max_points=TOKENS["segment"] // 2, decoding=DRAWN)),
        KeypointDetection(KeypointOptions(skeleton=INFO.skeleton, decoding=DRAWN)),
    ]
    return {task.name: task for task in tasks}


VOCAB = tiny_vocabulary(four_tasks().values())


def picture(number: int, size: tuple[int, int]) -> np.ndarray:
    return np.random.default_rng(number).integers(0, 256, (*size[::-1], 3), dtype=np.uint8)


def image(number: int = 0, size: tuple[int, int] = (128, 128)) -> Example:
    return Example(number, f"{number}.png", size, {}, partial(picture, number, size))


def tell(answers: Sequence[Answers]) -> list[Any]:
    return [{name: {k: a.to_json() for k, a in p.annotations.items()} for name, p in one.items()} for one in answers]


def assert_same(one: Any, other: Any) -> None:
    """Equal but for the rounding of numbers, which may depend on how many rows are computed together."""
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        one, other = list(one.values()), list(other.values())
    if isinstance(one, list):
        assert len(one) == len(other)
        for a, b in zip(one, other, strict=True):
            assert_same(a, b)
    else:
        assert other == (pytest.approx(one, abs=0.011) if isinstance(one, float) else one)


@dataclass
class Cost:
    """What was asked of the model, seen from the model."""

    encoded: list[int] = field(default_factory=list)  # views of each pass
    rows: list[int] = field(default_factory=list)  # sequences of each generation
    steps: list[int] = field(default_factory=list)  # of the decoder in each generation


@pytest.fixture(scope="module")
def model() -> EncoderDecoder:
    """Untrained, and moved away from its even start, so that what it sees matters to what it says."""
    model = tiny_model(len(VOCAB))
    noise = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.2 * torch.randn(parameter.shape, generator=noise)
    return model


@pytest.fixture
def cost(model: EncoderDecoder, monkeypatch: pytest.MonkeyPatch) -> Cost:
    cost, encode, step, generate = Cost(), model.encode, Stepper.step, inference.generate

    def counted_encode(images: torch.Tensor, *rest: Any) -> Any:
        cost.encoded.append(len(images))
        return encode(images, *rest)

    def counted_step(*rest: Any) -> Any:
        cost.steps[-1] += 1
        return step(*rest)

    def counted_generate(stepper: Any, memory: Any, requests: Sequence[Any], eos: int) -> Any:
        cost.rows.append(len(requests))
        cost.steps.append(0)
        return generate(stepper, memory, requests, eos)

    monkeypatch.setattr(model, "encode", counted_encode)
    monkeypatch.setattr(Stepper, "step", counted_step)
    monkeypatch.setattr(inference, "generate", counted_generate)
    return cost


@pytest.fixture
def predictor(model: EncoderDecoder) -> Callable[..., Predictor]:
    def make(tasks: dict[str, Task] | None = None) -> Predictor:
        return Predictor(model, VOCAB, tasks or four_tasks(), SIDE, torch.device("cpu"))

    return make


def longest(*names: str) -> int:
    return max(PROMPTS[name] + TOKENS[name] for name in names)


def test_the_lengths_above_are_those_of_the_tasks() -> None:
    about = {"boxes": Boxes(places(1), ("figure",))}
    for name, task in four_tasks().items():
        (query,) = task.queries(about, VOCAB)
        assert (len(query.prompt), task.grammar(query, VOCAB).max_tokens) == (PROMPTS[name], TOKENS[name])


# ------------------------------------------------------------------------------------------------ its own detections


def test_four_tasks_about_ten_people_take_two_passes(predictor: Callable[..., Predictor], cost: Cost) -> None:
    four = predictor()
    (answer,) = four.predict([image()], ALL)
    assert cost.encoded == [1, MOST]  # the image once, whoever looks at it; then everybody alone
    assert (four.encoder_passes, four.encoded_views) == (2, 1 + MOST)
    assert list(answer) == list(ALL)
    found = {name: len(next(iter(answer[name].annotations.values()))) for name in ALL}
    assert found == {"det": MOST, "caption": 1, "segment": MOST, "keypoints": MOST}


def test_what_ten_people_cost_in_rows_and_waiting(predictor: Callable[..., Predictor], cost: Cost) -> None:
    four = predictor()
    four.predict([image()], ALL)
    counts = four.stepper.counts
    assert counts.steps == sum(cost.steps)
    everybody_to_the_end = sum(steps * rows for steps, rows in zip(cost.steps, cost.rows, strict=True))
    assert counts.steps < counts.positions < everybody_to_the_end  # who has ended leaves
    assert counts.syncs == sum(-(-steps // STEPS) for steps in cost.steps)
    assert counts.scores < counts.positions * len(VOCAB) / 3  # the words are scored while somebody writes a sentence


def test_weights_are_prepared_once_and_again_when_they_change(predictor: Callable[..., Predictor]) -> None:
    four = predictor()
    first = four.stepper
    assert four.stepper is first
    with torch.no_grad():
        four.model.decoder.layers[0].feed_forward.up.weight.mul_(1.0)
    assert four.stepper is not first


def test_the_number_of_steps_does_not_depend_on_the_number_of_people(
    predictor: Callable[..., Predictor], cost: Cost
) -> None:
    for count in (1, MOST):
        predictor(four_tasks(FakeDetection(count))).predict([image()], ALL)
    assert cost.rows == [1, 1 + 1 + 1, 1, 1 + MOST + MOST]  # what asks about people waits for them; nothing else does
    found, asked, found_many, asked_many = cost.steps
    assert 0 < found == found_many <= longest("det")
    assert 0 < asked == asked_many <= longest("caption", "segment", "keypoints")


def test_nobody_found_costs_one_pass(predictor: Callable[..., Predictor], cost: Cost) -> None:
    (answer,) = predictor(four_tasks(FakeDetection(0))).predict([image()], ALL)
    assert cost.encoded == [1]
    assert answer["segment"].annotations == answer["keypoints"].annotations == {}
    assert len(answer["caption"].annotations["captions"]) == 1


def test_what_looks_at_whole_images_needs_no_second_pass(predictor: Callable[..., Predictor], cost: Cost) -> None:
    predictor().predict([image()], ["det", "segment", "caption"])
    assert cost.encoded == [1]


# -------------------------------------------------------------------------------------------------------- given boxes


def boxes(count: int = MOST, label: str = "figure") -> Annotations:
    return {"boxes": Boxes(places(count) * 128, (label,) * count)}


def test_given_boxes_take_one_pass_and_no_detection(predictor: Callable[..., Predictor], cost: Cost) -> None:
    det = FakeDetection()
    (answer,) = predictor(four_tasks(det)).predict([image()], ["caption", "segment", "keypoints"], [boxes()])
    assert (cost.encoded, cost.rows, det.asked) == ([1 + MOST], [1 + MOST + MOST], 0)
    assert cost.steps[0] <= longest("caption", "segment", "keypoints")
    for name, kind in (("segment", "polygons"), ("keypoints", "keypoints")):
        np.testing.assert_allclose(answer[name].annotations[kind].xyxy, places(MOST) * 128, atol=1e-6)


def test_detection_is_run_beside_given_boxes_where_it_is_asked(predictor: Callable[..., Predictor], cost: Cost) -> None:
    det = FakeDetection(3)
    (answer,) = predictor(four_tasks(det)).predict([image()], ALL, [boxes(2)])
    assert (cost.encoded, cost.rows, det.asked) == ([1 + 2], [1 + 1 + 2 + 2], 1)
    assert len(answer["det"].annotations["boxes"]) == 3 and len(answer["segment"].annotations["polygons"]) == 2


def test_keypoints_alone_never_encode_the_whole_image(predictor: Callable[..., Predictor], cost: Cost) -> None:
    predictor().predict([image()], ["keypoints"], [boxes(4)])
    assert cost.encoded == [4]


def test_objects_that_have_no_such_points_are_not_looked_at(predictor: Callable[..., Predictor], cost: Cost) -> None:
    (answer,) = predictor().predict([image()], ["segment", "keypoints"], [boxes(4, "disc")])
    assert cost.encoded == [1]
    assert len(answer["segment"].annotations["polygons"]) == 4 and answer["keypoints"].annotations == {}


# ---------------------------------------------------------------------------------------------------------- the floor


def test_answers_below_the_floor_are_not_asked_about(predictor: Callable[..., Predictor], cost: Cost) -> None:
    picky = predictor(four_tasks(FakeDetection(3, (0.25, 0.5, 0.75))))
    picky.floor = 0.5
    (answer,) = picky.predict([image()], ALL)
    assert cost.encoded == [1, 2] and cost.rows == [1, 1 + 2 + 2]
    assert answer["det"].annotations["boxes"].scores.tolist() == [0.25, 0.5, 0.75]  # it is told all the same
    assert answer["segment"].annotations["polygons"].scores.tolist() == [0.5, 0.75]
    np.testing.assert_allclose(answer["keypoints"].annotations["keypoints"].xyxy, places(3)[1:] * 128, atol=1e-6)


def test_given_boxes_know_no_floor(predictor: Callable[..., Predictor], cost: Cost) -> None:
    picky = predictor()
    picky.floor = 0.5
    unsure = {"boxes": Boxes(places(2) * 128, ("figure",) * 2, (0.1, 0.9))}
    (answer,) = picky.predict([image()], ["segment"], [unsure])
    assert len(answer["segment"].annotations["polygons"]) == 2


# ---------------------------------------------------------------------------------------------------- large and small


def test_many_views_and_rows_are_worked_off_in_parts(
    predictor: Callable[..., Predictor], cost: Cost, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = [image(0), image(1)]
    at_once = tell(predictor().predict(images, ALL))
    assert (cost.encoded, cost.rows) == ([2, 2 * MOST], [2, 2 * (1 + MOST + MOST)])
    cost.encoded, cost.rows, cost.steps = [], [], []
    monkeypatch.setattr(inference, "MOST_VIEWS", 8)
    monkeypatch.setattr(inference, "MOST_ROWS", 16)
    parted = predictor()
    assert_same(at_once, tell(parted.predict(images, ALL)))
    assert cost.encoded == [2, 8, 8, 4] and parted.encoder_passes == 4
    assert cost.rows == [2, 16, 16, 10]
    assert max(cost.steps) <= longest(*ALL)


def test_one_view_and_one_row_at_a_time(
    predictor: Callable[..., Predictor], cost: Cost, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once = tell(predictor().predict([image()], ALL, [boxes(3)]))
    monkeypatch.setattr(inference, "MOST_VIEWS", 1)
    monkeypatch.setattr(inference, "MOST_ROWS", 1)
    assert_same(at_once, tell(predictor().predict([image()], ALL, [boxes(3)])))
    assert cost.encoded == [4, 1, 1, 1, 1] and cost.rows == [8] + [1] * 8


def test_a_batch_gives_what_its_images_give_alone(predictor: Callable[..., Predictor], cost: Cost) -> None:
    images = [image(0), image(1, (100, 80)), image(2, (80, 100))]
    asked = [{"labels": Labels(VOCAB.classes[:count])} for count in (5, 2, 0)]  # as many people are found
    together = predictor().predict(images, ALL, asked)
    assert cost.encoded == [3, 5 + 2]
    alone = [predictor().predict([one], ALL, [given])[0] for one, given in zip(images, asked, strict=True)]
    assert_same(tell(alone), tell(together))
    assert [len(answer["keypoints"].annotations.get("keypoints", ())) for answer in together] == [5, 2, 0]


def test_each_person_gets_an_answer_of_their_own(predictor: Callable[..., Predictor]) -> None:
    """Else the comparisons above would compare nothing."""
    (answer,) = predictor().predict([image()], ALL)
    shapes = {str(parts) for parts in answer["segment"].annotations["polygons"].parts}
    poses = {str(points - points[0]) for points in answer["keypoints"].annotations["keypoints"].points}
    assert len(shapes) == len(poses) == MOST


# -------------------------------------------------------------------------------------------- a model without detection


@pytest.mark.parametrize("name", ["segment", "keypoints"])
def test_without_the_required_task_boxes_must_be_given(
    predictor: Callable[..., Predictor], cost: Cost, name: str
) -> None:
    alone = predictor({name: four_tasks()[name]})
    with pytest.raises(UsageError, match=rf"^task '{name}' asks about the answers of 'det', .*boxes.* knows: {name}$"):
        alone.predict([image()], [name])
    assert cost.encoded == []
    (answer,) = alone.predict([image()], [name], [boxes(2)])
    (found,) = answer[name].annotations.values()
    assert len(found) == 2 and cost.encoded == [1 if name == "segment" else 2]


def test_boxes_for_some_images_alone_do_not_replace_the_required_task(predictor: Callable[..., Predictor]) -> None:
    alone = predictor({"segment": four_tasks()["segment"]})
    with pytest.raises(UsageError, match="'det'"):
        alone.predict([image(0), image(1)], ["segment"], [boxes(2), {}])


def test_only_what_the_required_task_would_answer_replaces_it(predictor: Callable[..., Predictor], cost: Cost) -> None:
    class Telling(Detection):
        """Asks about sentences, and is given them as `labels` never are."""

        name = "telling"
        requires = ("caption",)

    asking = predictor({"caption": four_tasks()["caption"], "telling": Telling()})
    asking.predict([image()], ["telling"], [boxes(2)])  # boxes are no sentences: caption is asked all the same
    assert len(cost.rows) == 2
    asking.predict([image()], ["telling"], [{"captions": Captions(("a disc",))}])
    assert len(cost.rows) == 3
