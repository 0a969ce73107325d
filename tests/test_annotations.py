from __future__ import annotations

import json
from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from multitask.annotations import Annotation, Boxes, Captions, Keypoints, Labels, Polygons
from multitask.example import Example
from multitask.skeleton import Skeleton

SIZE = (200.0, 100.0)
MIRROR = np.array([[-1.0, 0.0, 200.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
AWAY = np.array([[1.0, 0.0, 500.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
XYXY = np.array([[10.0, 20.0, 50.0, 60.0], [100.0, 5.0, 180.0, 90.0]])
COMMON = {"xyxy": XYXY, "labels": ("cat", "dog"), "scores": [0.5, 1.0], "crowd": [False, True], "ids": [7, 9]}
HEAD = Skeleton(names=("nose", "left_ear", "right_ear"), edges=((0, 1), (0, 2)), flip_pairs=((1, 2),))
CORNERS = [np.array([[l, t], [r, t], [r, b], [l, b]]) for l, t, r, b in XYXY]  # noqa: E741


def boxes() -> Boxes:
    return Boxes(**COMMON, areas=[800.0, 3000.0])


def polygons() -> Polygons:
    hole = np.array([[15.0, 25.0], [20.0, 25.0], [20.0, 30.0]])
    return Polygons(**COMMON, areas=[800.0, 3000.0], parts=((CORNERS[0], hole), (CORNERS[1],)))


def keypoints() -> Keypoints:
    points = np.array([[[30.0, 25], [15, 40], [45, 40]], [[140, 10], [110, 50], [0, 0]]])
    visibility = np.array([[2, 1, 2], [2, 2, 0]])
    scores = np.array([[0.5, 0.25, 1], [1, 1 / 3, 0.75]])
    return Keypoints(
        **COMMON, areas=[800.0, 3000.0], points=points, visibility=visibility, point_scores=scores, skeleton=HEAD
    )


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
    assert keypoints().to_json()[1]["points"] == [
        {"name": "nose", "xy": [140.0, 10.0], "visibility": 2, "score": 1.0},
        {"name": "left_ear", "xy": [110.0, 50.0], "visibility": 2, "score": 0.3333},
        {"name": "right_ear", "xy": [0.0, 0.0], "visibility": 0, "score": 0.75},
    ]
    unnamed = replace(keypoints(), skeleton=Skeleton()).to_json()[0]
    assert [point["name"] for point in unnamed["points"]] == ["0", "1", "2"]
    assert unnamed["label"] == "cat" and unnamed["box_xyxy"] == [10, 20, 50, 60]
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
    points = Keypoints(XYXY, ("a", "b"), points=np.zeros((2, 3, 2)), visibility=np.zeros((2, 3), int))
    assert points.point_scores.tolist() == [[1, 1, 1]] * 2 and points.skeleton == Skeleton()
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
        if name == "skeleton":
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


@st.composite
def poses(draw):
    """Up to 3 objects in a frame of SIZE, with up to 7 points each: some are partners, some not labelled, some on the
    border; whole numbers, so that nothing is rounded."""
    count, objects = draw(st.integers(1, 7)), draw(st.integers(0, 3))
    order, pairs = draw(st.permutations(range(count))), draw(st.integers(0, count // 2))
    rng = np.random.default_rng(draw(st.integers(0, 9999)))
    low, high = rng.integers(0, 50, (objects, 2)), rng.integers(1, 51, (objects, 2))
    return Keypoints(
        np.concatenate([low * [2, 1], (low + high) * [2, 1]], axis=1),
        ("x",) * objects,
        points=np.round(rng.uniform(-0.1, 1.1, (objects, count, 2)).clip(0, 1) * SIZE),
        visibility=rng.integers(0, 3, (objects, count)),
        point_scores=rng.uniform(0, 1, (objects, count)),
        skeleton=Skeleton(
            names=tuple(map(str, range(count))),
            flip_pairs=tuple((order[2 * i], order[2 * i + 1]) for i in range(pairs)),
        ),
    )


@st.composite
def windows(draw):
    """A part (left, top, right, bottom) of the frame, in whole numbers."""
    left, top = draw(st.integers(0, 199)), draw(st.integers(0, 99))
    return left, top, draw(st.integers(left + 1, 200)), draw(st.integers(top + 1, 100))


def crop(window, scale, mirror):
    """The matrix that brings a window to a frame of its own, and the size of that frame."""
    left, top, right, bottom = window
    matrix = np.array([[scale, 0.0, -left * scale], [0.0, scale, -top * scale], [0.0, 0.0, 1.0]])
    size = ((right - left) * scale, (bottom - top) * scale)
    return (np.array([[-1.0, 0, size[0]], [0, 1, 0], [0, 0, 1]]) @ matrix if mirror else matrix), size


def cropped(annotation, window, scale, mirror):
    return annotation.warp(*crop(window, scale, mirror))


@settings(derandomize=True, deadline=None)
@given(people=poses())
def test_any_skeleton_mirrored_twice_is_as_before(people):
    once = people.warp(MIRROR, SIZE)
    order = people.skeleton.mirrored()
    assert once.visibility.tolist() == people.visibility[:, order].tolist()
    assert once.point_scores.tolist() == people.point_scores[:, order].tolist()
    assert content(once.warp(MIRROR, SIZE)) == content(people)


@settings(derandomize=True, deadline=None, max_examples=200)
@given(people=poses(), window=windows(), scale=st.sampled_from([0.5, 1.0, 4.0]), mirror=st.booleans())
def test_points_are_where_the_crop_says_or_nowhere(people, window, scale, mirror):
    moved = cropped(people, window, scale, mirror)
    left, top, right, bottom = window
    for row, points, visibility, scores in zip(
        moved.ids, moved.points, moved.visibility, moved.point_scores, strict=True
    ):
        for place, source in enumerate(people.skeleton.mirrored() if mirror else range(len(people.skeleton))):
            x, y = people.points[row, source]
            inside = left <= x <= right and top <= y <= bottom
            at = [scale * (right - x if mirror else x - left), scale * (y - top)]
            assert points[place].tolist() == (at if inside else [0, 0])
            assert visibility[place] == (people.visibility[row, source] if inside else 0)
            assert scores[place] == people.point_scores[row, source]


PARTS = np.array([[0.01, 0.05], [0.2, 1], [5, 8], [10, 60], [10, 200]])  # distance from the object's centre, radius


def star(rng, centre, radius):
    """A polygon (P, 2) that does not cross itself, with 4 to 8 corners about a centre."""
    count = rng.integers(4, 9)
    angles = 2 * np.pi * (np.arange(count) + rng.uniform(0, 0.8, count)) / count
    return centre + radius * rng.uniform(0.2, 1, (count, 1)) * np.stack([np.cos(angles), np.sin(angles)], axis=1)


@st.composite
def outlined(draw):
    """A window, and objects of up to 3 parts: tiny and large, overlapping, crossing the border of the window or
    touching it from within or without."""
    window, rng = draw(windows()), np.random.default_rng(draw(st.integers(0, 9999)))
    parts = []
    for _ in range(draw(st.integers(1, 3))):
        centre = rng.uniform(0, 1, 2) * SIZE
        if (axis := rng.integers(3)) < 2:
            centre[axis] = window[axis + 2 * rng.integers(2)]
        one = [star(rng, centre + rng.normal(0, far), r) for far, r in rng.choice(PARTS, draw(st.integers(1, 3)))]
        parts.append(tuple(np.round(part) if rng.uniform() < 0.3 else part for part in one))
    bounds = [np.concatenate([f(np.concatenate(one), axis=0) for f in (np.min, np.max)]) for one in parts]
    return window, Polygons(np.array(bounds), ("x",) * len(parts), parts=tuple(parts))


def spans(part, y):
    """Where a horizontal line is inside a polygon, by the even-odd rule: pairs of x in order."""
    x0, y0, x1, y1 = *part.T, *np.roll(part, -1, axis=0).T
    hit = (y0 <= y) != (y1 <= y)
    crossings = np.sort((x0 + (y - y0) * (x1 - x0) / np.where(hit, y1 - y0, 1))[hit])
    return crossings.reshape(-1, 2).tolist()


def union_area(parts, window, lines=200):
    """Area of a window that any of the parts covers, from `lines` horizontal lines across it."""
    left, top, right, bottom = window
    step, covered = (bottom - top) / lines, 0.0
    for y in top + step * (np.arange(lines) + 0.5 / np.sqrt(3)):
        end = left
        for begin, stop in sorted(span for part in parts for span in spans(part, y)):
            begin, stop = max(begin, end), min(stop, right)
            covered += max(stop - begin, 0.0)
            end = max(end, stop)
    return covered * step


@settings(derandomize=True, deadline=None, max_examples=100)
@given(seen=outlined(), scale=st.sampled_from([0.5, 1.0, 4.0]), mirror=st.booleans())
def test_outlines_stay_in_the_frame_and_cover_what_they_covered(seen, scale, mirror):
    window, objects = seen
    moved = cropped(objects, window, scale, mirror)
    width, height = crop(window, scale, mirror)[1]
    after = dict(zip(moved.ids.tolist(), moved.parts, strict=True))
    for row, parts in enumerate(objects.parts):
        left = after.get(row, ())
        assert all(len(part) >= 3 for part in left)
        corners = np.concatenate([*left, np.zeros((1, 2))])
        assert corners.min() >= -1e-9 and (corners <= np.array([width, height]) + 1e-9).all()
        wanted = union_area(parts, window) * scale**2
        assert union_area(left, (0.0, 0.0, width, height)) == pytest.approx(wanted, rel=1e-6, abs=1e-6)


def area(part):
    """Gauss's formula: signed, so that it adds up for outlines that cross themselves too."""
    x, y = part.T
    return (x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2


@settings(derandomize=True, deadline=None)
@given(seen=outlined())
def test_two_halves_of_a_window_share_its_outlines(seen):
    """An exact check: whatever is cut, nothing is lost and nothing gained."""
    window, objects = seen
    left, top, right, bottom = window
    middle = (left + right) / 2
    for row in range(len(objects)):
        one = objects.take([row])
        sums = [
            sum(area(part) for parts in cropped(one, part_of, 1.0, False).parts for part in parts)
            for part_of in (window, (left, top, middle, bottom), (middle, top, right, bottom))
        ]
        assert sums[0] == pytest.approx(sums[1] + sums[2], rel=1e-9, abs=1e-6)


def test_answerable_is_what_a_perfect_answer_holds():
    assert boxes().answerable().ids.tolist() == [7] == polygons().answerable().ids.tolist()  # the other is a crowd
    people = replace(keypoints(), crowd=np.array([False, False]))
    assert people.answerable().ids.tolist() == [7, 9]
    hidden = replace(people, visibility=np.array([[0, 0, 0], [0, 1, 0]]))
    assert hidden.answerable().ids.tolist() == [9]  # nobody can say where the points of the other are
    assert keypoints().answerable().ids.tolist() == [7]
    captions, labels = EVERY[3](), EVERY[4]()
    assert captions.answerable() is captions and labels.answerable() is labels


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
