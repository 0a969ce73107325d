from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from multitask.annotations import Boxes, Captions, Keypoints, Labels
from multitask.data.transforms import place
from multitask.errors import UsageError
from multitask.inference import Predictor, merged
from multitask.skeleton import Skeleton
from multitask.task import END, Decoding, Grammar, Ids, Prompt, Query, State, TaskOptions, View

SIDE = 32
UNIT = np.array([[0.25, 0.125, 0.5, 0.4], [0.0, 0.0, 0.125, 0.25]])


@pytest.fixture(scope="module")
def world(toys):
    """Toy tasks whose answers are known whatever the network says, and a network."""

    class Mark(toys.Find):
        """The same two boxes in every view."""

        name = "mark"

        def deserialize(self, query, samples, vocab):
            return {"boxes": Boxes(UNIT, ("cat", "disc"), np.array([0.5, 0.75]))}

    class Halves(Mark):
        name = "halves"

        def views(self, annotations, rng=None):
            return [View((0.0, 0.0, 20.0, 30.0)), View((20.0, 0.0, 40.0, 30.0))]

    class Echo(toys.Find):
        """Asks about each box that `mark` found, and answers with that box."""

        name = "echo"
        requires = ("mark",)

        def __init__(self, options=None):
            super().__init__(options)
            self.prompt = Prompt(token=f"<{self.name}>", layout=f"<{self.name}> {{box}}")

        def queries(self, annotations, vocab):
            boxes = annotations.get("boxes", Boxes([], ()))
            return [Query(self.prompt.encode(vocab, b), {"boxes": boxes.take([i])}) for i, b in enumerate(boxes.xyxy)]

        def deserialize(self, query, samples, vocab):
            return dict(query.about)

    class Closer(Echo):
        """As `echo`, but looks at each box on its own, enlarged."""

        name = "closer"

        def views(self, annotations, rng=None):
            boxes = annotations["boxes"]
            return [View(tuple(boxes.xyxy[i]), {"boxes": boxes.take([i])}) for i in range(len(boxes))]

    class Told(toys.Say):
        """Tells which kinds of annotations it was given."""

        name = "told"

        def queries(self, annotations, vocab):
            return [Query(self.prompt.encode(vocab), {"labels": Labels(tuple(sorted(annotations)))})]

        def deserialize(self, query, samples, vocab):
            return dict(query.about)

    class Blind(Mark):
        """Finds nothing."""

        name = "mark"

        def deserialize(self, query, samples, vocab):
            return {"boxes": Boxes([], ())}

    class Chicken(toys.Say):
        name, requires = "chicken", ("egg",)

    class Egg(toys.Say):
        name, requires = "egg", ("chicken",)

    world = type("World", (), {})()
    made = [Mark(), Halves(), Echo(), Closer(), Told(), toys.Find(), toys.Say(), Chicken(), Egg()]
    world.tasks = {task.name: task for task in made}
    world.vocab = toys.vocabulary(*made)
    world.model = toys.network(len(world.vocab))
    world.examples = [toys.Dataset(3)[i] for i in range(3)]
    world.blind, world.Say = Blind(), toys.Say

    def predictor(*names, **others) -> Predictor:
        tasks = {name: world.tasks[name] for name in names} | others
        return Predictor(world.model, world.vocab, tasks, SIDE, torch.device("cpu"))

    world.predictor = predictor
    return world


@pytest.fixture
def encoded(world, monkeypatch):
    """How many views each pass of the encoder had, seen from the model."""
    sizes, encode = [], world.model.encode
    monkeypatch.setattr(
        world.model, "encode", lambda images, *rest: (sizes.append(len(images)), encode(images, *rest))[1]
    )
    return sizes


def expected_pixels(size, unit_xyxy) -> np.ndarray:
    """By hand: the longest side fills the input, the other is rounded to whole pixels of it."""
    scaled = np.array([round(s * SIDE / max(size)) for s in size] * 2)
    return unit_xyxy * SIDE * np.array([*size, *size]) / scaled


def test_two_tasks_about_three_images_encode_three_views_in_one_pass(world, encoded):
    predictor = world.predictor("find", "say")
    answers = predictor.predict(world.examples, ["find", "say"])
    assert encoded == [3]
    assert (predictor.encoder_passes, predictor.encoded_views) == (1, 3)
    assert [list(a) for a in answers] == [["find", "say"]] * 3
    predictor.predict(world.examples[:1], ["say"])
    assert (predictor.encoder_passes, predictor.encoded_views) == (2, 4)


def test_regions_are_encoded_once_each_and_with_the_whole_images(world, encoded):
    predictor = world.predictor("halves", "mark", "say")
    predictor.predict(world.examples, ["halves", "mark", "say"])
    assert encoded == [9] and predictor.encoded_views == 9


def test_answers_are_in_pixels_of_the_original(world):
    for example, answer in zip(world.examples, world.predictor("mark").predict(world.examples, ["mark"]), strict=True):
        found = answer["mark"]
        assert (found.id, found.file, found.size) == (example.id, example.file, example.size)
        boxes = found.annotations["boxes"]
        np.testing.assert_allclose(boxes.xyxy, expected_pixels(example.size, UNIT), atol=1e-9)
        assert boxes.labels == ("cat", "disc") and boxes.scores.tolist() == [0.5, 0.75]


def test_answers_about_regions_are_mapped_back_and_put_together(world):
    answers = world.predictor("halves").predict(world.examples, ["halves"])
    for example, answer in zip(world.examples, answers, strict=True):
        boxes = answer["halves"].annotations["boxes"]
        view = (20.0, min(30.0, example.size[1]))
        left = expected_pixels(view, UNIT)
        np.testing.assert_allclose(boxes.xyxy, [*left, *(left + np.array([20, 0, 20, 0]))], atol=1e-9)
        assert boxes.labels == ("cat", "disc") * 2


def test_an_answer_outside_the_picture_is_clipped_or_dropped(world):
    class Wide(type(world.tasks["mark"])):
        def deserialize(self, query, samples, vocab):
            return {"boxes": Boxes(np.array([[0.0, 0.0, 1.0, 1.0], [0.0, 0.99, 1.0, 1.0]]), ("cat", "disc"))}

    example = world.examples[0]  # wider than high: the last rows are padding
    (answer,) = world.predictor(mark=Wide()).predict([example], ["mark"])
    boxes = answer["mark"].annotations["boxes"]
    np.testing.assert_allclose(boxes.xyxy, [[0, 0, *example.size]])
    assert boxes.labels == ("cat",)


def test_a_task_asks_about_the_answers_of_the_one_it_requires(world, encoded):
    predictor = world.predictor("echo", "mark")
    for answer, example in zip(predictor.predict(world.examples, ["echo"]), world.examples, strict=True):
        assert list(answer) == ["echo"]  # what was not asked for is not answered
        np.testing.assert_allclose(
            answer["echo"].annotations["boxes"].xyxy, expected_pixels(example.size, UNIT), atol=1e-6
        )
    assert encoded == [3]  # both look at the whole image


def test_views_of_what_was_found_are_encoded_in_a_second_pass(world, encoded):
    predictor = world.predictor("closer", "mark", "say")
    answers = predictor.predict(world.examples, ["closer", "say", "mark"])
    assert encoded == [3, 6]
    for answer in answers:
        assert list(answer) == ["closer", "say", "mark"]
        found = answer["mark"].annotations["boxes"].xyxy
        np.testing.assert_allclose(answer["closer"].annotations["boxes"].xyxy, found, atol=1e-6)


def test_given_boxes_take_the_place_of_required_answers(world, encoded):
    given = [{"boxes": Boxes(np.array([[3.0, 4, 11, 12 + n]]), ("star",))} for n in range(3)]
    predictor = world.predictor("closer", "mark")
    answers = predictor.predict(world.examples, ["closer"], given)
    for answer, boxes in zip(answers, given, strict=True):
        np.testing.assert_allclose(answer["closer"].annotations["boxes"].xyxy, boxes["boxes"].xyxy, atol=1e-6)
    assert encoded == [3]  # `mark` did not run
    both = predictor.predict(world.examples, ["closer", "mark"], given)
    assert all(a["mark"].annotations["boxes"].labels == ("cat", "disc") for a in both)
    np.testing.assert_allclose(both[1]["closer"].annotations["boxes"].xyxy, given[1]["boxes"].xyxy, atol=1e-6)


def test_boxes_given_for_some_images_come_before_the_answers_about_them(world):
    given = [{"boxes": Boxes(np.array([[3.0, 4, 11, 12]]), ("star",))}, {}, {}]
    answers = world.predictor("echo", "mark").predict(world.examples, ["echo"], given)
    assert [a["echo"].annotations["boxes"].labels for a in answers] == [("star",), ("cat", "disc"), ("cat", "disc")]


def test_given_boxes_do_not_need_the_required_task_in_the_model(world):
    given = [{"boxes": Boxes(np.array([[3.0, 4, 11, 12]]), ("star",))}]
    (answer,) = world.predictor("echo").predict(world.examples[:1], ["echo"], given)
    np.testing.assert_allclose(answer["echo"].annotations["boxes"].xyxy, given[0]["boxes"].xyxy, atol=1e-6)


def test_given_labels_alone_do_not_replace_required_answers(world):
    given = [{"labels": Labels(("cat",))}] * 3
    answers = world.predictor("echo", "mark").predict(world.examples, ["echo"], given)
    assert all(len(a["echo"].annotations["boxes"]) == 2 for a in answers)


def test_a_task_sees_what_it_requires_and_nothing_else(world):
    predictor = world.predictor("echo", "mark", "told")
    given = [{"labels": Labels(("cat",))}]
    for names in (["told"], ["told", "mark"], ["told", "echo"], ["echo", "told", "mark"]):
        (answer,) = predictor.predict(world.examples[:1], names, given)
        assert answer["told"].annotations["labels"].names == ("labels",), names


@pytest.mark.parametrize(
    ("known", "asked", "message"),
    [
        (["echo"], "echo", r"^task 'echo' asks about the answers of 'mark', .* it knows: echo$"),
        (["find", "say"], "sya", "task 'sya' was asked, which this model was not trained on; it knows: find, say"),
        (["chicken", "egg"], "egg", "tasks ask about each other's answers in a circle"),
    ],
)  # fmt: skip
def test_what_cannot_be_asked_is_refused_in_one_line(world, known, asked, message):
    with pytest.raises(UsageError, match=message) as refused:
        world.predictor(*known).predict(world.examples, [asked])
    assert "\n" not in str(refused.value)


def test_nothing_found_means_empty_answers(world, encoded):
    predictor = world.predictor("echo", "closer", "say", mark=world.blind)
    for answer in predictor.predict(world.examples, ["mark", "echo", "closer"]):
        assert answer["mark"].annotations["boxes"].to_json() == []
        assert answer["echo"].annotations == {} == answer["closer"].annotations
    assert encoded == [3]
    assert predictor.predict([], ["say"]) == []


def test_a_task_without_a_view_encodes_nothing(world, encoded):
    given = [{"boxes": Boxes([], ())}] * 3
    answers = world.predictor("closer").predict(world.examples, ["closer"], given)
    assert [a["closer"].annotations for a in answers] == [{}] * 3
    assert encoded == []


def tell(answers) -> list:
    return [{name: {k: a.to_json() for k, a in p.annotations.items()} for name, p in one.items()} for one in answers]


def test_an_answer_does_not_depend_on_its_company(world):
    drawn = world.Say(TaskOptions(decoding=Decoding(samples=3, temperature=1.0)))
    predictor = world.predictor("find", "halves", say=drawn)
    together = tell(predictor.predict(world.examples, ["find", "say", "halves"]))
    alone = [tell(predictor.predict([e], ["say", "find"]))[0] for e in world.examples]
    for one, other in zip(together, alone, strict=True):
        assert one["find"] == other["find"] and one["say"] == other["say"]
        texts = [row["text"] for row in one["say"]["captions"]]
        assert len(set(texts)) == 3
    assert len({str(one["say"]) for one in together}) == 3
    again = [replace(e, load=e.load) for e in reversed(world.examples)]
    assert tell(predictor.predict(again, ["find", "say", "halves"]))[::-1] == together


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_task_reads_the_window_that_its_grammar_asks_for(world, toys, temperature):
    """The probability about the best bin, and their mean, of the same steps under windows from one bin to all."""

    def told(window: int, read: bool = True):
        """What the first coordinate of each image was recorded as."""
        found = []

        class Watched(toys.Find):
            name = "find"

            def grammar(self, query, vocab):
                coord, unsure = Ids(((vocab.coord.start, vocab.coord.stop),)), vocab.ids("class")
                return Grammar((State(((coord | unsure, END),), read=coord if read else None, window=window),), 1)

            def deserialize(self, query, samples, vocab):
                found.append(samples[0])
                return {}

        watched = Watched(TaskOptions(decoding=Decoding(temperature=temperature)))
        world.predictor(find=watched).predict(world.examples, ["find"])
        return found

    bins = world.vocab.bins
    none, three, most, alone = told(0), told(3), told(bins), told(3, read=False)
    for at_best, near, all_bins, unread in zip(none, three, most, alone, strict=True):
        assert at_best.tokens == near.tokens == all_bins.tokens == unread.tokens
        assert at_best.best == near.best == all_bins.best and at_best.best - world.vocab.coord.start in range(bins)
        assert at_best.expected == at_best.best and abs(near.expected - near.best) <= 3
        assert at_best.best_prob < near.best_prob < all_bins.best_prob < 1  # the rest is that of the classes
        if at_best.best == at_best.tokens:
            np.testing.assert_allclose(at_best.best_prob, np.exp(at_best.logprobs), rtol=1e-5)
        assert unread.best == unread.expected == unread.tokens
        np.testing.assert_allclose(unread.best_prob, np.exp(unread.logprobs), rtol=1e-5)
    assert len({one.expected.item() for one in three}) == 3  # each image has its own


def test_another_seed_draws_other_answers(world):
    drawn = {"say": world.Say(TaskOptions(decoding=Decoding(temperature=1.0)))}
    arguments = (world.model, world.vocab, drawn, SIDE, torch.device("cpu"))
    one, other = (tell(Predictor(*arguments, seed=seed).predict(world.examples, ["say"])) for seed in (0, 1))
    assert one != other


def test_the_network_sees_the_rendered_picture(world, monkeypatch):
    seen, encode = [], world.model.encode
    monkeypatch.setattr(world.model, "encode", lambda x, extent: (seen.append((x, extent)), encode(x, extent))[1])
    world.predictor("say").predict(world.examples, ["say"])
    ((images, extent),) = seen
    for example, image, part in zip(world.examples, images, extent, strict=True):
        placement = place(example.size, SIDE)
        assert torch.equal(image, placement.render(example.load()).float() / 255)
        assert part.tolist() == pytest.approx([placement.size[1], placement.size[0]])


@pytest.mark.parametrize("training", [False, True])
def test_the_model_is_left_as_it_was(world, training):
    predictor = world.predictor("say")
    world.model.train(training)
    predictor.predict(world.examples[:1], ["say"])
    assert world.model.training is training
    world.model.eval()


def test_merging_keeps_the_order_and_every_kind():
    one = {"boxes": Boxes(UNIT[:1], ("cat",)), "captions": Captions(("a",), (0.5,))}
    other = {"boxes": Boxes(UNIT[1:], ("disc",))}
    both = merged([one, other])
    assert list(both) == ["boxes", "captions"]
    assert both["boxes"].labels == ("cat", "disc") and both["boxes"].xyxy.tolist() == UNIT.tolist()
    assert both["captions"] is one["captions"]
    assert merged([]) == {}
    pair = Skeleton(names=("left", "right"), flip_pairs=((0, 1),))
    points = Keypoints(UNIT[:1], ("cat",), points=np.zeros((1, 2, 2)), visibility=np.ones((1, 2), int), skeleton=pair)
    joined = merged([{"keypoints": points}] * 2)["keypoints"]
    assert joined.points.shape == (2, 2, 2) and joined.skeleton == pair
