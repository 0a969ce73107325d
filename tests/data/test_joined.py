"""Several data sets in one run: tasks, weights, categories and skeletons of each."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from multitask.data.groups import Group, group_tasks
from multitask.data.joined import JoinedDataset, Part, annotated, merge_report, parts_of
from multitask.data.scored import scored
from multitask.errors import DataError
from multitask.skeleton import Skeleton
from multitask.task import Category, DatasetInfo


@pytest.fixture
def sets(toys):
    """Five images named one way, three named another; categories overlap under other ids."""
    first, second = toys.Dataset(5), toys.Dataset(3)
    first.info = DatasetInfo("first", (Category(1, "disc"), Category(2, "star")))
    second.info = DatasetInfo("second", (Category(7, "star"), Category(9, "cat")))
    return first, second


def test_images_follow_each_other_and_keep_their_kinds(sets) -> None:
    first, second = sets
    joined = JoinedDataset([Part(first), Part(second)])
    assert len(joined) == 8
    assert [joined[i].size for i in range(8)] == [one[i].size for one in sets for i in range(len(one))]
    assert [joined.kinds(i) for i in (4, 5)] == [first.kinds(4), second.kinds(0)]
    assert joined[-1].size == second[2].size
    with pytest.raises(IndexError):
        joined[8]


def test_categories_of_one_name_are_one_and_a_report_says_so(sets) -> None:
    joined = JoinedDataset(list(map(Part, sets)))
    assert joined.info == DatasetInfo("first+second", (Category(1, "disc"), Category(2, "star"), Category(3, "cat")))
    assert list(merge_report(joined)) == [
        "one category 'star' of first (2), second (7)", "3 categories in 2 data sets: first, second",
    ]  # fmt: skip


def test_one_data_set_keeps_its_ids_and_has_nothing_to_report(sets) -> None:
    joined = JoinedDataset([Part(sets[1], frozenset({"find"}))])
    assert joined.info is sets[1].info
    assert list(merge_report(joined)) == []
    assert parts_of(sets[0]) == (Part(sets[0]),)


def test_a_task_learns_from_its_own_data_sets_alone(sets, toys) -> None:
    joined = JoinedDataset([Part(sets[0], frozenset({"find"})), Part(sets[1])])
    assert annotated(joined, toys.Find()).tolist() == list(range(8))
    assert annotated(joined, toys.Say()).tolist() == [5, 6, 7]
    groups = group_tasks([toys.Find(), toys.Say()], joined)
    assert {group.name: group.positions.tolist() for group in groups} == {"find": list(range(8)), "say": [5, 6, 7]}


def test_no_data_set_for_a_task_is_refused(sets, toys) -> None:
    joined = JoinedDataset([Part(one, frozenset({"find"})) for one in sets])
    with pytest.raises(DataError, match=r"first\+second: no image is annotated with captions, which task 'say' learns"):
        group_tasks([toys.Say()], joined)


@pytest.mark.parametrize(("weights", "shown"), [((1.0, 1.0), (5, 3)), ((3.0, 3.0), (5, 3)), ((1.0, 2.0), (5, 6))])
def test_a_weight_is_how_often_images_are_shown(sets, toys, weights, shown) -> None:
    joined = JoinedDataset([Part(one, weight=w) for one, w in zip(sets, weights, strict=True)])
    (group,) = group_tasks([toys.Find()], joined)
    order = group.epoch(seed=0, number=0)
    assert len(group) == len(order) == sum(shown)
    assert ((order < 5).sum(), (order >= 5).sum()) == shown


def test_a_fraction_of_the_images_changes_with_the_epoch(sets, toys) -> None:
    joined = JoinedDataset([Part(sets[0], weight=0.4), Part(sets[1], weight=1.5)])
    (group,) = group_tasks([toys.Find()], joined)
    counts: Counter[int] = Counter()
    for number in range(300):
        order = group.epoch(0, number)
        assert len(order) == len(group) == 6  # 5 x 0.4 + 3 x 1.5 = 6.5
        assert {5, 6, 7} <= set(order.tolist())
        counts.update(order.tolist())
    assert all(counts[i] / 300 == pytest.approx(0.34, abs=0.12) for i in range(5))
    np.testing.assert_array_equal(group.epoch(0, 3), group.epoch(0, 3))
    assert group.epoch(0, 3).tolist() != group.epoch(1, 3).tolist()


def test_without_weights_every_image_is_shown_once(toys) -> None:
    group = Group(((toys.Find(),),), np.array([2, 5, 7]), np.ones(3))
    assert sorted(group.epoch(0, 1).tolist()) == [2, 5, 7]


def test_scores_are_named_after_the_data_set_where_two_have_them(sets, toys) -> None:
    tasks = {"find": toys.Find(), "say": toys.Say()}
    joined = JoinedDataset([Part(sets[0], frozenset({"find"})), Part(sets[1])])
    assert [(share.dataset, share.labels, share.positions) for share in scored(joined, tasks)] == [
        (sets[0], {"find": "find@first"}, [0, 1, 2, 3, 4]),
        (sets[1], {"find": "find@second", "say": "say"}, [0, 1, 2]),
    ]


def test_folders_of_one_name_are_told_apart(sets, toys) -> None:
    joined = JoinedDataset([Part(sets[0]), Part(sets[0])])
    assert [share.labels for share in scored(joined, {"find": toys.Find()})] == [
        {"find": "find@first"}, {"find": "find@first-2"},
    ]  # fmt: skip


def test_a_data_set_that_scores_nothing_is_left_out(sets, toys) -> None:
    joined = JoinedDataset([Part(sets[0], frozenset({"find"})), Part(sets[1])])
    (share,) = scored(joined, {"say": toys.Say()})
    assert share.dataset is sets[1]
    with pytest.raises(DataError, match="no image is annotated for say"):
        scored(JoinedDataset([Part(sets[0], frozenset({"find"}))]), {"say": toys.Say()})


def test_skeletons_must_agree_unless_only_one_is_learnt(sets) -> None:
    first, second = sets
    first.info = DatasetInfo("first", skeleton=Skeleton(names=("a", "b"), categories=("disc",)))
    second.info = DatasetInfo("second", skeleton=Skeleton(names=("a", "c"), categories=("cat",)))
    with pytest.raises(DataError, match=r"first and second have different keypoints.*data\.tasks"):
        JoinedDataset(list(map(Part, sets)))
    joined = JoinedDataset([Part(first), Part(second, frozenset({"find"}), posed=False)])
    assert joined.info.skeleton == first.info.skeleton
    second.info = DatasetInfo("second", skeleton=Skeleton(names=("a", "b"), categories=("cat",)))
    assert JoinedDataset(list(map(Part, sets))).info.skeleton.categories == ("disc", "cat")
