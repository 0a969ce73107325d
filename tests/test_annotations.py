from __future__ import annotations

import json
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multitask.annotations import Annotation, Boxes, Captions, Keypoints, Labels, Polygons
from multitask.example import Example

SIZE = (200.0, 100.0)
MIRROR = np.array([[-1.0, 0.0, 200.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
AWAY = np.array([[1.0, 0.0, 500.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
XYXY = np.array([[10.0, 20.0, 50.0, 60.0], [100.0, 5.0, 180.0, 90.0]])
COMMON = {"xyxy": XYXY, "labels": ("cat", "dog"), "scores": [0.5, 1.0], "crowd": [False, True], "ids": [7, 9]}
CORNERS = [np.array([[l, t], [r, t], [r, b], [l, b]]) for l, t, r, b in XYXY]  # noqa: E741


def boxes() -> Boxes:
    return Boxes(**COMMON, areas=[800.0, 3000.0])


def polygons() -> Polygons:
    hole = np.array([[15.0, 25.0], [20.0, 25.0], [20.0, 30.0]])
    return Polygons(**COMMON, areas=[800.0, 3000.0], parts=((CORNERS[0], hole), (CORNERS[1],)))


def keypoints() -> Keypoints:
    points = np.array([[[30.0, 25], [15, 40], [45, 40]], [[140, 10], [110, 50], [0, 0]]])
    visibility = np.array([[2, 1, 2], [2, 2, 0]])
    return Keypoints(**COMMON, areas=[800.0, 3000.0], points=points, visibility=visibility, flip_pairs=((1, 2),))


SPATIAL = [boxes, polygons, keypoints]
EVERY = [*SPATIAL, lambda: Captions(("a cat", "two dogs"), (0.5, 0.25)), lambda: Labels(("cat", "dog"))]
KINDS = ["boxes", "polygons", "keypoints", "captions", "labels"]


def content(annotation: Annotation) -> dict:
    """Every field in plain values, down to the last bit."""

    def plain(value):
        if isinstance(value, np.ndarray):
            return value.tolist()
        return [plain(v) for v in value] if isinstance(value, tuple) else value

    return {field.name: plain(getattr(annotation, field.name)) for field in fields(annotation)}


@pytest.mark.parametrize(("make", "kind"), list(zip(EVERY, KINDS, strict=True)), ids=KINDS)
def test_every_kind_has_a_name_a_length_and_finite_json(make, kind):
    annotation = make()
    assert annotation.kind == kind
    assert len(annotation) == 2 == len(annotation.to_json())
    assert json.loads(json.dumps(annotation.to_json(), allow_nan=False)) == annotation.to_json()


def test_json_of_each_kind():
    assert boxes().to_json()[0] == {"label": "cat", "score": 0.5, "box_xyxy": [10.0, 20.0, 50.0, 60.0]}
    assert polygons().to_json()[1]["polygons_xy"] == [[[100, 5], [180, 5], [180, 90], [100, 90]]]
    assert keypoints().to_json()[1]["points_xy"] == [[140.0, 10.0], [110.0, 50.0], [0.0, 0.0]]
    assert keypoints().to_json()[1]["visibility"] == [2, 2, 0]
    assert Captions(("a", "b"), (0.12345, 1)).to_json() == [{"text": "a", "score": 0.1235}, {"text": "b", "score": 1.0}]
    assert Captions(("a",)).to_json() == [{"text": "a", "score": 1.0}]
    assert Labels(("cat",)).to_json() == ["cat"]
    assert Boxes(np.array([[1 / 3, 0, 2 / 3, 1]]), ("x",)).to_json()[0]["box_xyxy"] == [0.33, 0.0, 0.67, 1.0]


def test_what_is_left_out_is_filled():
    filled = Boxes(XYXY, ("a", "b"))
    assert filled.scores.tolist() == [1, 1]
    assert filled.crowd.tolist() == [False, False] and filled.crowd.dtype == bool
    assert filled.areas.tolist() == [1600, 6800]
    assert filled.ids.tolist() == [0, 1]
    assert Polygons(XYXY, ("a", "b"), parts=((), ())).masks == (None, None)
    assert len(Boxes(np.zeros((0, 4)), ())) == 0 == len(Boxes([], ()))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"labels": ("cat",)}, r"Polygons\.labels has 1 entries for 2 boxes"),
        ({"scores": [1.0]}, r"Polygons\.scores has 1"),
        ({"parts": ((),)}, r"Polygons\.parts has 1"),
        ({"masks": (None,)}, r"Polygons\.masks has 1"),
        ({"xyxy": XYXY * np.nan}, "must be finite"),
        ({"scores": [1.0, np.inf]}, "must be finite"),
    ],
)
def test_fields_that_do_not_fit_are_refused(change, problem):
    with pytest.raises(ValueError, match=problem):
        Polygons(**{**COMMON, "parts": ((), ()), **change})


@pytest.mark.parametrize("make", SPATIAL)
def test_take_picks_rows_of_every_field(make):
    annotation = make()
    whole = content(annotation)
    assert content(annotation.take([0, 1])) == whole
    swapped = content(annotation.take([1, 0]))
    by_mask = content(annotation.take(np.array([False, True])))
    for name, values in whole.items():
        if name == "flip_pairs":
            assert swapped[name] == values == by_mask[name]
            continue
        assert swapped[name] == values[::-1]
        assert by_mask[name] == values[1:]
    assert len(annotation.take([])) == 0 == len(annotation.take(np.zeros(2, dtype=bool)))


@pytest.mark.parametrize("make", SPATIAL)
def test_concat_undoes_take(make):
    annotation = make()
    parts = [annotation.take([0]), annotation.take([]), annotation.take([1])]
    assert content(type(annotation).concat(parts)) == content(annotation)


def test_concat_of_words():
    assert content(Captions.concat([Captions(("a",), (0.5,)), Captions(("b", "c"), (0.1, 0.2))])) == {
        "texts": ["a", "b", "c"],
        "scores": [0.5, 0.1, 0.2],
    }
    assert Labels.concat([Labels(("a", "b")), Labels(("c", "a"))]).names == ("a", "b", "c")


def close(one: Annotation, other: Annotation) -> None:
    """Equal in everything but the rounding of coordinates and areas."""
    a, b = content(one), content(other)
    for name in a:
        if name in ("xyxy", "areas", "points"):
            np.testing.assert_allclose(getattr(one, name), getattr(other, name), atol=1e-6)
        elif name == "parts":
            for left, right in zip(one.parts, other.parts, strict=True):
                for p, q in zip(left, right, strict=True):
                    np.testing.assert_allclose(p, q, atol=1e-6)
        else:
            assert a[name] == b[name]


scales = st.floats(0.05, 20)
offsets = st.floats(0, 300)


@pytest.mark.parametrize("make", EVERY, ids=KINDS)
@settings(derandomize=True, deadline=None, max_examples=30)
@given(x=scales, y=scales, dx=offsets, dy=offsets, mirror=st.booleans())
def test_moving_and_moving_back_changes_nothing(make, x, y, dx, dy, mirror):
    """Where the frame has room for all of it, so that nothing is clipped."""
    there = np.array([[x, 0.0, dx], [0.0, y, dy], [0.0, 0.0, 1.0]]) @ (MIRROR if mirror else np.eye(3))
    annotation = make()
    moved = annotation.warp(there, (200 * x + dx, 100 * y + dy))
    close(moved.warp(np.linalg.inv(there), SIZE), annotation)
    if isinstance(annotation, Boxes):
        np.testing.assert_allclose(moved.areas, annotation.areas * x * y)
        np.testing.assert_allclose(moved.xyxy[:, 3] - moved.xyxy[:, 1], (XYXY[:, 3] - XYXY[:, 1]) * y)


@pytest.mark.parametrize("make", SPATIAL)
def test_what_leaves_the_frame_is_dropped(make):
    assert len(make().warp(AWAY, SIZE)) == 0
    left_half = make().warp(np.eye(3), (90.0, 100.0))
    assert left_half.labels == ("cat",) and left_half.ids.tolist() == [7]
    assert len(make().take([]).warp(MIRROR, SIZE)) == 0


def test_boxes_are_clipped():
    moved = boxes().warp(np.eye(3), (120.0, 50.0))
    assert moved.xyxy.tolist() == [[10, 20, 50, 50], [100, 5, 120, 50]]
    assert moved.areas.tolist() == [800.0, 3000.0]  # as annotated: of the whole object


def test_outlines_are_clipped_and_empty_parts_go():
    moved = polygons().warp(np.eye(3), (120.0, 22.0))
    assert [len(one) for one in moved.parts] == [1, 1]  # the hole lies below
    np.testing.assert_allclose(moved.parts[1][0], [[100, 5], [120, 5], [120, 22], [100, 22]])


def test_an_instance_whose_outline_leaves_is_dropped_though_its_box_stays():
    corner = np.array([[90.0, 0.0], [100.0, 0.0], [100.0, 10.0]])
    one = Polygons(np.array([[0.0, 0.0, 100.0, 100.0]]), ("cat",), parts=((corner,),))
    assert len(one.warp(np.eye(3), (50.0, 50.0))) == 0


def test_a_run_length_mask_does_not_move():
    mask = {"size": [100, 200], "counts": [0, 20000]}
    one = Polygons(XYXY[:1], ("cat",), parts=((),), masks=(mask,))
    moved = one.warp(MIRROR, SIZE)
    assert moved.masks == (None,) and moved.parts == ((),)
    assert moved.xyxy.tolist() == [[150, 20, 190, 60]]


def test_a_mirror_image_swaps_left_and_right_keypoints():
    moved = keypoints().warp(MIRROR, SIZE)
    assert moved.points[0].tolist() == [[170, 25], [155, 40], [185, 40]]
    assert moved.visibility.tolist() == [[2, 2, 1], [2, 0, 2]]
    assert moved.points[1, 2].tolist() == [90, 50]
    turned = keypoints().warp(np.array([[-1.0, 0, 200], [0, -1, 100], [0, 0, 1]]), SIZE)
    assert turned.visibility.tolist() == [[2, 1, 2], [2, 2, 0]]  # half a turn is no mirror image


def test_keypoints_outside_are_not_labelled():
    moved = keypoints().warp(np.eye(3), (200.0, 30.0))
    assert moved.visibility.tolist() == [[2, 0, 0], [2, 0, 0]]
    assert moved.points[0].tolist() == [[30, 25], [0, 0], [0, 0]]


def test_words_have_no_place():
    captions, labels = EVERY[3](), EVERY[4]()
    assert captions.warp(AWAY, SIZE) is captions
    assert labels.warp(AWAY, SIZE) is labels


def test_an_example_moves_all_its_annotations():
    example = Example(3, "x.png", SIZE, {"boxes": boxes(), "captions": EVERY[3]()}, lambda: np.zeros((100, 200, 3)))
    moved = example.warp(MIRROR, (150.0, 100.0))
    assert moved.size == (150.0, 100.0) and moved.id == 3 and moved.file == "x.png"
    assert moved.annotations["boxes"].xyxy.tolist() == [[20, 5, 100, 90]]
    assert moved.annotations["captions"].texts == ("a cat", "two dogs")
    assert example.annotations["boxes"].xyxy.tolist() == XYXY.tolist()


def test_a_kind_of_ones_own_needs_little():
    class Count(Annotation):
        kind = "count"

        def __init__(self, n):
            self.n = n

        def __len__(self):
            return 1

        def to_json(self):
            return self.n

        @classmethod
        def concat(cls, items):
            return cls(sum(i.n for i in items))

    class Canvas:
        lines: list = []  # noqa: RUF012

        def text(self, line):
            self.lines.append(line)

    count = Count(4)
    assert count.warp(AWAY, SIZE) is count
    count.draw(Canvas())
    assert Canvas.lines == ["count: 4"]
