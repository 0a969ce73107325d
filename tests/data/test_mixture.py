from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import chain

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from multitask.annotations import Boxes, Keypoints
from multitask.data import groups as engine
from multitask.data.groups import Turns, group_tasks
from multitask.data.mixture import TRIES, Batch, Mixture, collate
from multitask.data.shapes import INFO, ShapesDataset
from multitask.data.table import Table, TableDataset, TableImage, TableObject
from multitask.errors import DataError, MtpError
from multitask.example import Example
from multitask.skeleton import Skeleton
from multitask.task import Augment, Category, Target, Task, TaskOptions, View
from multitask.tasks.detection import Detection, DetectionOptions
from multitask.tasks.keypoints import KeypointDetection, KeypointOptions
from multitask.testing import tiny_vocabulary

VARIED = Augment(scale=(0.5, 1.5), flip=0.5, colour=0.5)
SIDE = 32


@pytest.fixture(scope="module")
def world(toys):
    """Toy tasks with their vocabulary."""

    class Halves(toys.Find):
        """Looks at the left and at the right half of the image, each with what lies there."""

        name = "halves"

        def views(self, annotations, rng=None):
            return [View((0.0, 0.0, 20.0, 40.0)), View((20.0, 0.0, 40.0, 40.0))]

    class Named(toys.Find):
        """Looks at boxes of cats; images without one have no view."""

        name = "named"

        def views(self, annotations, rng=None):
            boxes = annotations["boxes"]
            return [
                View(tuple(boxes.xyxy[i]), {"boxes": boxes.take([i])})
                for i, label in enumerate(boxes.labels)
                if label == "cat"
            ]

    class Strips(toys.Find):
        """Looks at one to three upright strips of the image, wherever chance puts them."""

        name = "strips"

        def views(self, annotations, rng=None):
            lefts = np.linspace(0, 20, 3) if rng is None else rng.uniform(0, 20, rng.integers(1, 4))
            return [View((left, 0.0, left + 20.0, 40.0)) for left in lefts]

    world = type("World", (), {})()
    world.find, world.say = toys.Find(TaskOptions(augment=VARIED)), toys.Say(TaskOptions(augment=VARIED))
    world.plain, world.halves, world.named = toys.Say(), Halves(), Named()
    world.strips = Strips(TaskOptions(augment=VARIED))
    world.vocab = toys.vocabulary(world.find, world.say, world.halves, world.named, world.strips)
    world.Dataset, world.Find = toys.Dataset, toys.Find

    def mixture(tasks, dataset, batch_size=4, seed=0, **more) -> Mixture:
        return Mixture(dataset, group_tasks(tasks, dataset), world.vocab, SIDE, batch_size, seed, **more)

    world.mixture = mixture
    return world


def equal(one: list[Batch], other: list[Batch]) -> bool:
    def same(a: Batch, b: Batch) -> bool:
        tensors = chain([(a.images, b.images), (a.extent, b.extent)], *(
            [(getattr(a.sequences[n], f), getattr(b.sequences[n], f)) for f in ("inputs", "targets", "weights", "rows")]
            for n in a.sequences
        ))  # fmt: skip
        return (
            a.files == b.files
            and a.sequences.keys() == b.sequences.keys()
            and all(map(torch.equal, *zip(*tensors, strict=True)))
        )

    return len(one) == len(other) and all(map(same, one, other))


def test_a_step_is_the_same_whatever_the_workers_and_the_history(world):
    def steps(workers: int) -> list[list[Batch]]:
        mixture = world.mixture([world.find, world.say, world.halves], world.Dataset(9))
        return list(DataLoader(mixture, batch_size=None, sampler=range(3, 9), num_workers=workers))

    none, two = steps(0), steps(2)
    assert all(map(equal, none, two))
    alone = world.mixture([world.find, world.say, world.halves], world.Dataset(9))[5]
    assert equal(alone, none[2])
    assert not equal(none[0], none[1])


def test_a_step_is_the_same_whatever_was_asked_before_it(world):
    tasks = [world.find, world.plain, world.strips, world.named]
    fresh = {step: world.mixture(tasks, world.Dataset(9))[step] for step in (5, 0, 3)}
    used = world.mixture(tasks, world.Dataset(9))
    assert all(equal(used[step], fresh[step]) for step in (0, 3, 5, 3, 0))
    assert not equal(fresh[3], fresh[5])


def test_views_by_chance_are_the_same_whatever_the_workers(world):
    def steps(workers: int) -> list[list[Batch]]:
        mixture = world.mixture([world.strips, world.plain, world.named], world.Dataset(9))
        return list(DataLoader(mixture, batch_size=None, sampler=range(4), num_workers=workers))

    none, two = steps(0), steps(2)
    assert all(map(equal, none, two))
    assert len({len(batches[0].images) for batches in none}) > 1


def test_another_seed_gives_other_batches(world):
    first, second = (world.mixture([world.find], world.Dataset(9), 4, seed)[0] for seed in (0, 1))
    assert not equal(first, second)


def test_each_image_comes_once_an_epoch_in_another_order(world):
    mixture = world.mixture([world.find], world.Dataset(10), 4)
    files = list(chain.from_iterable(mixture[step][0].files for step in range(5)))
    epochs = [files[:10], files[10:]]
    assert sorted(epochs[0]) == sorted(epochs[1]) == sorted(f"toys/{i}.png" for i in range(10))
    assert epochs[0] != epochs[1]


def test_the_same_image_is_varied_from_epoch_to_epoch(world):
    mixture = world.mixture([world.find], world.Dataset(1), 1)
    assert len({mixture[step][0].images.numpy().tobytes() for step in range(8)}) == 8


def test_tasks_with_the_same_augmentation_share_a_batch(world):
    batches = world.mixture([world.find, world.say], world.Dataset(6))[0]
    assert [list(b.sequences) for b in batches] == [["find", "say"]]
    assert len(batches[0].images) == 4


def test_other_augmentation_other_images_or_own_views_mean_a_batch_of_their_own(world):
    batches = world.mixture([world.find, world.plain, world.halves], world.Dataset(6))[0]
    assert [list(b.sequences) for b in batches] == [["find"], ["say"], ["halves"]]
    assert [len(b.images) for b in batches] == [4, 4, 8]
    kinds = lambda i: frozenset({"boxes"} | ({"captions"} if i % 2 else set()))  # noqa: E731
    batches = world.mixture([world.find, world.say], world.Dataset(6, kinds=kinds), 6)[0]
    assert [list(b.sequences) for b in batches] == [["find"], ["say"]]
    assert Counter(batches[1].files) == {f"toys/{i}.png": 2 for i in (1, 3, 5)}


class Counted:
    """A data set that tells which images were read, and which examples were made."""

    def __init__(self, dataset) -> None:
        self.dataset, self.info, self.kinds = dataset, dataset.info, dataset.kinds
        self.read: list[int] = []
        self.made: list[int] = []

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, i: int):
        self.made.append(i)
        example = self.dataset[i]
        return replace(example, load=lambda reduce=1: (self.read.append(i), example.load(reduce))[1])


@pytest.mark.parametrize("names", [["find"], ["find", "say"], ["find", "plain", "halves", "strips", "named"]])
def test_an_image_is_read_once_for_all_that_look_at_it(world, names):
    dataset = Counted(world.Dataset(9))
    mixture = world.mixture([getattr(world, name) for name in names], dataset)
    assert dataset.read == []
    for step in range(3):
        batches = mixture[step]
        seen = {file for batch in batches for file in batch.files}
        assert len(dataset.read) == 4 and {f"toys/{i}.png" for i in dataset.read} == seen
        dataset.read.clear()


def test_an_image_is_decoded_as_large_as_its_most_demanding_look_needs_it(world):
    """At a side of 4, whole images of 40 pixels and more need an eighth, the boxes of cats, 23 wide, a quarter."""
    asked: dict[int, int] = {}

    class Noted(world.Dataset):
        def __getitem__(self, i):
            example = super().__getitem__(i)
            return replace(example, load=lambda reduce=1: (asked.update({i: reduce}), example.load())[1])

    def reductions(*tasks, side) -> dict[int, int]:
        asked.clear()
        dataset = Noted(6)
        Mixture(dataset, group_tasks(tasks, dataset), world.vocab, side, 6, 0)[0]
        return dict(sorted(asked.items()))

    assert reductions(world.plain, side=4) == dict.fromkeys(range(6), 8)
    assert reductions(world.named, side=4) == {2: 4, 5: 4}
    assert reductions(world.plain, world.named, side=4) == {0: 8, 1: 8, 2: 4, 3: 8, 4: 8, 5: 4}
    assert reductions(world.plain, side=32) == dict.fromkeys(range(6), 1)


def test_boxes_lie_on_the_pixels_of_photographs_that_are_decoded_smaller(world, tmp_path):
    """A bright block in a large dark JPEG, found again in the batch from the target's coordinates."""
    rng = np.random.default_rng(0)
    images = []
    for i in range(8):
        width, height = (int(v) for v in rng.integers(500, 900, 2))
        x, y, side = (int(v) for v in (*rng.integers(40, 250, 2), rng.integers(120, 200)))
        pixels = np.zeros((height, width, 3), dtype=np.uint8)
        pixels[y : y + side, x : x + side] = 255
        Image.fromarray(pixels).save(tmp_path / f"{i}.jpg", quality=95)
        box = TableObject(i, Category(1, "cat"), np.array([x, y, x + side, y + side], dtype=float), side * side)
        images.append(TableImage(i, f"{i}.jpg", (width, height), "a.json", {"boxes": [box]}))
    dataset = TableDataset(Table(tmp_path, tmp_path, images, [Category(1, "cat")]), "train")
    task = world.Find(TaskOptions(augment=Augment(scale=(0.5, 2.0), flip=0.5)))
    mixture, bins, checked = world.mixture([task], dataset, 8), world.vocab.bins - 1, 0
    for step in range(6):
        (batch,) = mixture[step]
        s = batch.sequences["find"]
        for row, image in enumerate(s.rows.tolist()):
            top, left, bottom, right = ((s.targets[row, :4] - world.vocab.coord.start) / bins * SIDE).tolist()
            rows, columns = np.nonzero(batch.images[image, 0].numpy() > 127)
            if len(rows) > 8:
                found = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
                np.testing.assert_allclose(found, [left, top, right, bottom], atol=1.6)  # half a bin and a pixel
                checked += 1
    assert checked > 30


def test_what_is_annotated_on_other_images_reads_its_own(world):
    kinds = lambda i: frozenset({"boxes"} | ({"captions"} if i % 2 else set()))  # noqa: E731
    dataset = Counted(world.Dataset(6, kinds=kinds))
    world.mixture([world.find, world.halves, world.say], dataset, 3)[0]
    assert len(dataset.read) == 3 + 3 and set(dataset.read[3:]) <= {1, 3, 5}


def test_who_shares_images_and_who_shares_views(world):
    kinds = lambda i: frozenset({"boxes"} | ({"captions"} if i % 2 else set()))  # noqa: E731
    tasks = [world.find, world.halves, world.Find(), world.say, world.strips]
    same, other = group_tasks(tasks, world.Dataset(6, kinds=kinds))
    assert [[task.name for task in look] for look in same.looks] == [["find"], ["halves"], ["find"], ["strips"]]
    assert [[task.name for task in look] for look in other.looks] == [["say"]]
    assert same.positions.tolist() == [0, 1, 2, 3, 4, 5] and other.positions.tolist() == [1, 3, 5]
    (together,) = group_tasks([world.find, world.say, world.halves], world.Dataset(6))
    assert together.looks == ((world.find, world.say), (world.halves,)) and together.name == "find+say+halves"


def test_looks_of_one_image_lie_in_one_step(world):
    whole, plain, halves = world.mixture([world.find, world.plain, world.halves], world.Dataset(9))[1]
    assert whole.files == plain.files
    assert halves.files == [file for file in whole.files for _ in range(2)]
    assert halves.sequences["halves"].rows.tolist() == list(range(8))


def test_people_are_images_of_their_own_and_sequences_point_at_them():
    det = Detection(DetectionOptions(augment=Augment()))
    poses = KeypointDetection(KeypointOptions(skeleton=INFO.skeleton))
    vocab, dataset = tiny_vocabulary([det, poses]), ShapesDataset("val", 24)
    (group,) = group_tasks([det, poses], dataset)
    for step in range(2):
        scenes, people = Mixture(dataset, [group], vocab, SIDE, 8, 0)[step]
        assert list(scenes.sequences) == ["det"] and list(people.sequences) == ["keypoints"]
        assert len(scenes.images) == 8 and scenes.sequences["det"].rows.tolist() == list(range(8))
        there = Counter({file: len(dataset[int(file[-6:])].annotations["keypoints"]) for file in scenes.files})
        assert Counter(people.files) == +there and 0 in there.values()
        sequences = people.sequences["keypoints"]
        assert len(people.images) == len(people.extent) == there.total()
        rows = sequences.rows.tolist()  # a figure of which the crop shows no point has an image and no sequence
        assert rows == sorted(set(rows)) and set(rows) <= set(range(there.total())) and len(rows) > there.total() / 2
        assert (sequences.inputs[:, 0] == vocab.id("<keypoints>")).all()


def test_the_points_of_a_person_lie_on_the_pixels_of_their_view():
    """Two people in the dark, each with a red left and a green right hand, found again from the targets."""
    pair = Skeleton(names=("left", "right"), flip_pairs=((0, 1),), categories=("person",))
    boxes = np.array([[10.0, 10, 50, 50], [50.0, 46, 90, 86]])
    hands = np.array([[[18.0, 20], [42, 36]], [[58.0, 76], [80, 54]]])
    pixels = np.zeros((96, 96, 3), dtype=np.uint8)
    for person in hands.astype(int):
        for colour, (x, y) in enumerate(person):
            pixels[y - 3 : y + 3, x - 3 : x + 3, colour] = 255
    people = Keypoints(boxes, ("person",) * 2, points=hands, visibility=np.full((2, 2), 2), skeleton=pair)

    class Dark:
        info = INFO
        kinds = staticmethod(lambda i: frozenset({"keypoints"}))
        __len__ = staticmethod(lambda: 1)
        example = Example(0, "dark.png", (96, 96), {"keypoints": people}, lambda reduce=1: pixels)
        __getitem__ = staticmethod(lambda i: Dark.example)

    task = KeypointDetection(KeypointOptions(augment=Augment(scale=(0.6, 1.2), flip=0.5), skeleton=pair))
    vocab = tiny_vocabulary([task], ["person"])
    mixture = Mixture(Dark(), group_tasks([task], Dark()), vocab, 64, 1, 0)
    orders: Counter[tuple[int, int]] = Counter()
    for step in range(20):
        (batch,) = mixture[step]
        s = batch.sequences["keypoints"]
        assert len(batch.images) == 2
        for row, tokens in zip(s.rows.tolist(), s.targets[:, 5:9], strict=True):
            if (tokens != vocab.id("<invisible>")).all():
                places = ((tokens - vocab.coord.start) / (vocab.bins - 1) * 63).round().long().reshape(2, 2)
                found = [batch.images[row, :, y, x] for y, x in places.tolist()]
                assert all(colour.max() > 100 for colour in found)
                orders[tuple(int(colour.argmax()) for colour in found)] += 1
    assert orders.keys() == {(0, 1), (1, 0)} and min(orders.values()) > 5  # in a mirror image left hands are green


def test_no_more_people_than_wanted_and_others_the_next_time():
    poses = KeypointDetection(KeypointOptions(skeleton=INFO.skeleton, max_instances=1))
    dataset = ShapesDataset("val", 24)
    crowded = next(i for i in range(24) if len(dataset[i].annotations["keypoints"]) == 3)

    class Alone(ShapesDataset):
        def __getitem__(self, i):
            return dataset[crowded]

    mixture = Mixture(Alone("val", 1), group_tasks([poses], Alone("val", 1)), tiny_vocabulary([poses]), SIDE, 1, 0)
    batches = [mixture[step][0] for step in range(12)]
    assert {len(batch.images) for batch in batches} == {1}
    regions = [poses.views(dataset[crowded].annotations, np.random.default_rng(seed))[0] for seed in range(12)]
    assert len({int(view.annotations["keypoints"].ids[0]) for view in regions}) == 3


def test_an_image_in_which_a_task_sees_nothing_is_in_the_batches_of_the_others(world):
    whole, named = world.mixture([world.find, world.named], world.Dataset(9), 9)[0]
    assert len(whole.images) == 9 and len(named.images) == len(named.files) == len(named.extent) == 3
    assert Counter(named.files) == Counter(file for file in whole.files if int(file[5]) % 3 == 2)
    assert named.sequences["named"].rows.tolist() == [0, 1, 2]


def test_a_step_in_which_a_task_sees_nothing_has_an_empty_batch_of_it(world):
    mixture = world.mixture([world.find, world.named], world.Dataset(9), 1)
    steps = [mixture[step] for step in range(9)]
    empty = [named for whole, named in steps if int(whole.files[0][5]) % 3 != 2]
    assert len(empty) == 6
    for batch in empty:
        assert batch.images.shape == (0, 3, SIDE, SIDE) and batch.images.dtype == torch.uint8
        assert batch.extent.shape == (0, 2) and batch.files == []
        assert len(batch.sequences["named"].rows) == len(batch.sequences["named"].inputs) == 0
        assert batch.to(torch.device("cpu")).images.shape == batch.images.shape


def test_a_task_without_images_is_refused_by_name(world):
    boxes_only = world.Dataset(3, kinds=lambda i: frozenset({"boxes"}))
    with pytest.raises(DataError, match="toys: no image is annotated with captions, which task 'say' learns from"):
        group_tasks([world.find, world.say], boxes_only)


def test_images_in_which_a_task_sees_nothing_are_left_out(world):
    (group,) = group_tasks([world.named], world.Dataset(9))
    assert group.positions.tolist() == [2, 5, 8]  # every third box is a cat
    (batch,) = world.mixture([world.named], world.Dataset(9))[0]
    assert set(batch.files) == {"toys/2.png", "toys/5.png", "toys/8.png"}
    classes = batch.sequences["named"].targets[:, 4]
    assert set(classes.tolist()) == {world.vocab.class_id("cat")}
    corners = batch.sequences["named"].targets[:, :4] - world.vocab.coord.start
    assert (corners[:, :2] == 0).all()  # the view is the box itself
    assert (corners[:, 2:].amax(1) == world.vocab.bins - 1).all()


def test_where_many_images_show_something_not_all_are_looked_through(world, monkeypatch):
    monkeypatch.setattr(engine, "SAMPLE", 10)  # of 40, every fourth, a third of which shows a cat
    dataset = Counted(world.Dataset(40))
    (group,) = group_tasks([world.named], dataset)
    assert len(group.positions) == 40 and dataset.made == list(range(0, 40, 4))
    (batch,) = world.mixture([world.named], world.Dataset(40), 20)[0]
    assert 0 < len(batch.images) < 20  # those without a cat have no view


def test_where_few_images_show_something_the_others_are_left_out(world, monkeypatch):
    monkeypatch.setattr(engine, "SAMPLE", 10)
    monkeypatch.setattr(engine, "ENOUGH", 0.5)
    (group,) = group_tasks([world.named], world.Dataset(40))
    assert group.positions.tolist() == list(range(2, 40, 3))
    (batch,) = world.mixture([world.named], world.Dataset(40), 20)[0]
    assert len(batch.images) == 20


def test_a_small_data_set_is_looked_through_in_any_case(world, monkeypatch):
    monkeypatch.setattr(engine, "SAMPLE", 10)
    (group,) = group_tasks([world.named], world.Dataset(18))
    assert group.positions.tolist() == [2, 5, 8, 11, 14, 17]


def test_where_somebody_sees_whole_images_none_is_looked_at_before(world):
    dataset = Counted(world.Dataset(9))
    (group,) = group_tasks([world.named, world.find], dataset)
    assert group.positions.tolist() == list(range(9)) and dataset.made == []


def test_a_task_that_sees_nothing_anywhere_is_refused_by_name(world):
    class Blind(world.Find):
        name = "blind"

        def views(self, annotations, rng=None):
            return []

    with pytest.raises(DataError, match="toys: no image is annotated with boxes, which task 'blind' learns from"):
        group_tasks([Blind()], world.Dataset(9))


def test_targets_follow_the_pixels_of_their_view(world):
    """A white block in a black image, found again in the rendered picture from the target's coordinates."""
    dataset = world.Dataset(5)
    example = dataset[0]

    def painted(i):
        found = type(dataset).__getitem__(dataset, i)
        left, top, right, bottom = found.annotations["boxes"].xyxy[0].astype(int)
        image = np.zeros((int(found.size[1]), int(found.size[0]), 3), dtype=np.uint8)
        image[top:bottom, left:right] = 255
        return type(example)(found.id, found.file, found.size, found.annotations, lambda reduce=1: image)

    class Painted(type(dataset)):
        __getitem__ = staticmethod(painted)

    task = world.Find(TaskOptions(augment=Augment(scale=(0.6, 1.6), flip=0.5)))
    mixture = world.mixture([task], Painted(5), 4)
    checked = 0
    for step in range(6):
        (batch,) = mixture[step]
        s = batch.sequences["find"]
        for row, image in enumerate(s.rows.tolist()):
            bins = s.targets[row, :4] - world.vocab.coord.start
            top, left, bottom, right = (bins / (world.vocab.bins - 1) * SIDE).tolist()
            rows, columns = np.nonzero(batch.images[image, 0].numpy() > 127)
            np.testing.assert_allclose(
                [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1], [left, top, right, bottom], atol=1.6
            )
            checked += 1
    assert checked > 15


def test_extent_is_the_share_of_the_picture_height_first(world):
    (batch,) = world.mixture([world.plain], world.Dataset(5), 5)[0]
    assert batch.extent.dtype == torch.float32
    for file, extent, image in zip(batch.files, batch.extent, batch.images, strict=True):
        width, height = world.Dataset(5)[int(file[5])].size
        expected = [round(SIDE * height / max(width, height)) / SIDE, round(SIDE * width / max(width, height)) / SIDE]
        assert extent.tolist() == pytest.approx(expected)
        assert (image[:, round(SIDE * float(extent[0])) :] == 76).all()
    assert batch.images.dtype == torch.uint8


@pytest.mark.parametrize("colour", [0.0, 1.0])
def test_padding_keeps_its_grey_whatever_the_colours(world, colour):
    task = type(world.say)(TaskOptions(augment=Augment(colour=colour)))
    for step in range(3):
        (batch,) = world.mixture([task], world.Dataset(5), 4)[step]
        for image, extent in zip(batch.images, batch.extent, strict=True):
            padding = image[:, round(SIDE * float(extent[0])) :]
            assert padding.numel() and (padding == 76).all()


def test_moving_to_a_device_moves_everything(world):
    (batch,) = world.mixture([world.find], world.Dataset(3))[0]
    moved = batch.to(torch.device("meta"))
    s = moved.sequences["find"]
    assert {t.device.type for t in (moved.images, moved.extent, s.inputs, s.targets, s.weights, s.rows)} == {"meta"}
    assert moved.files == batch.files


def target(prompt, tokens, **more) -> Target:
    weights = np.full(len(tokens), 0.5, dtype=np.float32)
    return Target(np.array(prompt), np.array(tokens, dtype=np.int64), weights, **more)


def test_collate_appends_eos_shifts_by_one_and_pads(world):
    pad, eos = world.vocab.pad, world.vocab.eos
    hidden = target([9, 8], [20, 21], inputs=np.array([2, 22]), eos_weight=0.1)
    s = collate([(3, hidden), (0, target([7], [30, 31, 32, 33])), (3, target([6], []))], world.vocab)
    assert s.inputs.tolist() == [[9, 8, 2, 22, pad], [7, 30, 31, 32, 33], [6, pad, pad, pad, pad]]
    assert s.targets.tolist() == [[8, 20, 21, eos, pad], [30, 31, 32, 33, eos], [eos, pad, pad, pad, pad]]
    np.testing.assert_allclose(s.weights, [[0, 0.5, 0.5, 0.1, 0], [0.5, 0.5, 0.5, 0.5, 1], [1, 0, 0, 0, 0]])
    assert s.rows.tolist() == [3, 0, 3]
    assert s.inputs.dtype == s.targets.dtype == s.rows.dtype == torch.int64 and s.weights.dtype == torch.float32


def test_collate_of_nothing(world):
    s = collate([], world.vocab)
    assert len(s.inputs) == len(s.targets) == len(s.weights) == len(s.rows) == 0
    assert s.inputs.dtype == s.rows.dtype == torch.int64


def test_a_prompt_is_never_a_target_and_padding_never_weighs(world):
    (batch,) = world.mixture([world.find, world.say], world.Dataset(6))[0]
    for s in batch.sequences.values():
        assert (s.weights[s.targets == world.vocab.pad] == 0).all()
        weighed = s.targets[s.weights > 0]
        assert not {world.vocab.id("<find>"), world.vocab.id("<say>")} & set(weighed.tolist())
        assert ((s.targets == world.vocab.eos).sum(dim=1) == 1).all()
        assert (s.weights[s.targets == world.vocab.eos] == 1).all()
        shifted = s.inputs[:, 1:]
        followed = s.targets[:, :-1]
        inside = shifted != world.vocab.pad
        assert torch.equal(shifted[inside], followed[inside])


def test_an_unreadable_image_is_named_and_replaced(world):
    mixture = world.mixture([world.find], world.Dataset(10, damaged={4}), 5)
    (first,), (second,) = mixture[0], mixture[1]
    files = first.files + second.files
    assert first.skipped + second.skipped == ("toys/4.png: is damaged",)
    assert len(files) == 10 and set(files) == {f"toys/{i}.png" for i in range(10) if i != 4}


def test_nothing_but_unreadable_images_ends_the_run(world):
    mixture = world.mixture([world.find], world.Dataset(30, damaged=range(30)))
    with pytest.raises(DataError, match=rf"{TRIES} images in a row cannot be read, the last one: toys/\d+\.png"):
        mixture[0]


@pytest.mark.parametrize("field", ["prompt", "tokens", "inputs"])
@pytest.mark.parametrize("wrong", [-1, 10_000])
def test_ids_outside_the_vocabulary_are_refused_with_the_name_of_the_task(world, field, wrong):
    class Faulty(Task):
        name = "faulty"
        kinds = ("boxes",)

        def serialize(self, example, vocab, rng):
            ids = {name: np.array([5, wrong if name == field else 5]) for name in ("prompt", "tokens", "inputs")}
            return [Target(**ids, weights=np.ones(2, np.float32))]

    with pytest.raises(MtpError, match=rf"task 'faulty', toys/\d\.png: {field} has ids outside the vocabulary"):
        world.mixture([Faulty()], world.Dataset(3))[0]


def test_an_image_with_nothing_to_say_is_still_in_the_batch(world):
    class Shy(world.Find):
        name = "find"

        def serialize(self, example, vocab, rng):
            boxes = example.annotations["boxes"]
            return super().serialize(example, vocab, rng) if isinstance(boxes, Boxes) and example.id == 1 else []

    (batch,) = world.mixture([Shy()], world.Dataset(4), 4)[0]
    assert len(batch.images) == 4
    assert batch.sequences["find"].rows.tolist() == [batch.files.index("toys/1.png")]


def test_a_picture_shown_several_times_is_read_once_and_varied_each_time(world):
    dataset, tasks = Counted(world.Dataset(9)), [world.find, world.halves]
    once = world.mixture(tasks, world.Dataset(9), 4)
    mixture = world.mixture(tasks, dataset, 12, repeats=3)
    for step in range(3):
        (whole, halves), (first_whole, first_halves) = mixture[step], once[step]
        assert len(dataset.read) == 4 and whole.files == [file for file in first_whole.files for _ in range(3)]
        assert whole.sequences["find"].rows.tolist() == list(range(12))
        assert torch.equal(whole.images[::3], first_whole.images)
        assert torch.equal(whole.sequences["find"].targets[::3], first_whole.sequences["find"].targets)
        assert torch.equal(halves.images.unflatten(0, (4, 3, 2))[:, 0].flatten(0, 1), first_halves.images)
        for shown in whole.images.unflatten(0, (4, 3)):
            assert len({image.numpy().tobytes() for image in shown}) == 3
        dataset.read.clear()
    (whole, _) = mixture[0]
    assert len({tuple(row) for row in whole.sequences["find"].targets[:, :4].tolist()}) == 12  # boxes move along


def test_parts_of_a_step_divide_its_pictures(world):
    whole = world.mixture([world.find], world.Dataset(9), 12, repeats=2)
    parts = world.mixture([world.find], world.Dataset(9), 12, repeats=2, parts=3)
    for step in range(3):
        (expected,), found = whole[step], [batch for part in range(3) for batch in parts[step, part]]
        assert [len(batch.files) for batch in found] == [4, 4, 4]
        assert [file for batch in found for file in batch.files] == expected.files
        assert torch.equal(torch.cat([batch.images for batch in found]), expected.images)


def annotated_unequally(world, tasks, sizes):
    """Groups of tasks each of which is annotated on other images, and their data set."""
    kinds = lambda i: frozenset({"boxes"} if i < sizes[0] else {"captions"})  # noqa: E731
    dataset = world.Dataset(sum(sizes), kinds=kinds)
    return [group for task in tasks for group in group_tasks([task], dataset)], dataset


def test_turns_are_by_the_number_of_images_and_do_not_depend_on_the_length_of_the_run(world):
    groups, _ = annotated_unequally(world, [world.find, world.say], (90, 30))
    short, long = Turns(groups, 0, 1000), Turns(groups, 0, 4000)
    assert [short[step] for step in range(1000)] == [long[step] for step in range(1000)]
    drawn = Counter(long[step][0] for step in range(4000))
    assert drawn[0] / 4000 == pytest.approx(0.75, abs=0.02)  # three standard deviations
    for number in (0, 1):
        assert [turn for group, turn in map(long.__getitem__, range(4000)) if group == number] == [
            *range(drawn[number])
        ]
    assert [short[step] for step in range(1000)] != [Turns(groups, 1, 1000)[step] for step in range(1000)]


def test_a_step_of_one_task_by_lot_goes_on_where_its_last_turn_ended(world):
    groups, dataset = annotated_unequally(world, [world.find, world.say], (12, 4))
    turns = Turns(groups, 0, 40)
    mixture = Mixture(dataset, groups, world.vocab, SIDE, 4, 0, drawn=turns)
    seen: dict[str, list[str]] = {"find": [], "say": []}
    for step in range(40):
        (batch,) = mixture[step]
        (name,) = batch.sequences
        assert name == ["find", "say"][turns[step][0]]
        seen[name] += batch.files
    assert len(seen["find"]) > 24 and len(seen["say"]) > 12
    for files, size in ((seen["find"], 12), (seen["say"], 4)):
        epochs = [files[begin : begin + size] for begin in range(0, len(files) // size * size, size)]
        assert all(len(set(epoch)) == size for epoch in epochs) and len(set(files)) == size
    assert equal(Mixture(dataset, groups, world.vocab, SIDE, 4, 0, drawn=turns)[23], mixture[23])
