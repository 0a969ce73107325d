from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools.cocoeval import Params

from multitask.errors import UsageError
from multitask.skeleton import COCO_PERSON, DEFAULT_SIGMA, Skeleton
from multitask.yamlio import check

NAMES = ["nose", "left_ear", "right_ear"]


@st.composite
def skeletons(draw: st.DrawFn) -> Skeleton:
    """Up to 8 points, some of them paired, each in one pair at most."""
    count = draw(st.integers(1, 8))
    order = draw(st.permutations(range(count)))
    pairs = draw(st.integers(0, count // 2))
    return Skeleton(
        names=tuple(f"point {i}" for i in range(count)),
        flip_pairs=tuple((order[2 * i], order[2 * i + 1]) for i in range(pairs)),
    )


def test_nothing_is_a_skeleton_without_points():
    empty = Skeleton()
    assert len(empty) == 0 and empty.sigmas == () and empty.mirrored() == []
    assert check(Skeleton, None, "x.yaml") == empty


def test_sigmas_left_out_are_filled():
    assert DEFAULT_SIGMA == 0.05
    assert Skeleton(names=tuple(NAMES)).sigmas == (0.05, 0.05, 0.05)
    assert Skeleton(names=tuple(NAMES), sigmas=()).sigmas == (0.05, 0.05, 0.05)
    assert Skeleton(names=tuple(NAMES), sigmas=(0.1, 0.2, 0.3)).sigmas == (0.1, 0.2, 0.3)


def test_lists_as_in_yaml_and_json_are_taken():
    raw = {"names": NAMES, "edges": [[0, 1], [0, 2]], "flip_pairs": [[1, 2]], "sigmas": [0.1, 0.2, 0.2]}
    read = check(Skeleton, raw | {"categories": ["cat"]}, "x.yaml")
    assert read.edges == ((0, 1), (0, 2)) and read.flip_pairs == ((1, 2),) and read.categories == ("cat",)
    assert check(Skeleton, json.loads(read.model_dump_json()), "x.yaml") == read


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"edges": [[0, 1], [0, 3]]}, r"edges: \(0, 3\) is not a pair of the points 0 to 2"),
        ({"edges": [[-1, 1]]}, r"edges: \(-1, 1\) is not a pair of the points 0 to 2"),
        ({"flip_pairs": [[1, 3]]}, r"flip_pairs: \(1, 3\) is not a pair of the points 0 to 2"),
        ({"flip_pairs": [[-1, 2]]}, r"flip_pairs: \(-1, 2\) is not a pair"),
        ({"edges": [[0]]}, "edges.0"),
        ({"edges": [["nose", "left_ear"]]}, "edges.0.0"),
        ({"sigmas": [0.1]}, r"sigmas: expected 3 numbers above 0, one for each point, got \(0\.1,\)"),
        ({"sigmas": [0.1] * 4}, "sigmas: expected 3 numbers"),
        ({"sigmas": [0.1, 0, 0.1]}, "sigmas: expected 3 numbers above 0"),
        ({"sigmas": [0.1, -0.1, 0.1]}, "sigmas: expected 3 numbers above 0"),
        ({"sigmas": [0.1, float("nan"), 0.1]}, "sigmas"),
        ({"sigmas": [0.1, float("inf"), 0.1]}, "sigmas"),
        ({"names": []}, "sigmas|flip_pairs"),
        ({"joints": [[0, 1]]}, "joints: unknown key"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(change, problem):
    whole = {"names": NAMES, "flip_pairs": [[1, 2]], "sigmas": [0.1] * 3}
    check(Skeleton, whole, "x.yaml")
    with pytest.raises(UsageError, match=problem) as error:
        check(Skeleton, whole | change, "x.yaml")
    assert str(error.value).startswith("x.yaml: ") and "\n" not in str(error.value)


def test_a_mirror_image_swaps_partners_alone():
    assert Skeleton(names=tuple(NAMES), flip_pairs=((1, 2),)).mirrored() == [0, 2, 1]
    assert Skeleton(names=tuple(NAMES)).mirrored() == [0, 1, 2]


@settings(derandomize=True, deadline=None)
@given(skeleton=skeletons())
def test_a_mirror_image_of_a_mirror_image_is_the_first(skeleton):
    order = skeleton.mirrored()
    assert [order[i] for i in order] == list(range(len(skeleton)))
    paired = {point for pair in skeleton.flip_pairs for point in pair}
    assert {i for i, other in enumerate(order) if i != other} == paired


def test_the_person_is_cocos():
    assert len(COCO_PERSON) == 17 and len(set(COCO_PERSON.names)) == 17
    assert COCO_PERSON.names[:3] == ("nose", "left_eye", "right_eye") and COCO_PERSON.names[16] == "right_ankle"
    assert COCO_PERSON.categories == ("person",)
    assert list(COCO_PERSON.sigmas) == pytest.approx(Params("keypoints").kpt_oks_sigmas.tolist(), rel=1e-12)
    assert len(COCO_PERSON.edges) == 19 == len({frozenset(edge) for edge in COCO_PERSON.edges})


def test_partners_of_the_person_differ_in_their_side_alone():
    assert len(COCO_PERSON.flip_pairs) == 8
    for left, right in COCO_PERSON.flip_pairs:
        assert COCO_PERSON.names[left].startswith("left_")
        assert COCO_PERSON.names[left].replace("left", "right") == COCO_PERSON.names[right]
    mirrored = COCO_PERSON.mirrored()
    edges = {frozenset(edge) for edge in COCO_PERSON.edges}
    assert {frozenset(mirrored[point] for point in edge) for edge in edges} == edges  # a person is symmetric
