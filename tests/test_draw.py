from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from multitask.annotations import Boxes, Captions, Keypoints, Labels, Polygons
from multitask.draw import PALETTE, SMALLEST_SIDE, Picture, colour_of, draw, save_picture
from multitask.skeleton import Skeleton

GREY = 128
HIGH, WIDE = 600, 800  # large enough not to be enlarged


def canvas(width: int = WIDE, height: int = HIGH) -> np.ndarray:
    return np.full((height, width, 3), GREY, dtype=np.uint8)


def changed(picture: Image.Image, before: np.ndarray) -> np.ndarray:
    after = np.asarray(picture.convert("RGB"))
    assert after.shape == before.shape
    return (after != before).any(axis=2)


def one_box(*xyxy: float, label: str = "cat", score: float = 1.0) -> Boxes:
    return Boxes(np.array([xyxy], dtype=float), (label,), np.array([score]))


def test_a_box_is_an_outline_with_a_label_above():
    before = canvas()
    found = changed(draw(before, [one_box(200, 300, 500, 450)]), before)
    for y, x in ((300, 350), (450, 350), (375, 200), (375, 500)):
        assert found[y, x]
    assert not found[310:440, 210:490].any()  # nothing inside
    label = found[270:299, 200:260]
    assert label.any()
    found[260:455, 195:505] = False
    assert not found.any()  # and nothing elsewhere


def test_the_colour_of_a_label_is_the_same_everywhere():
    assert colour_of("cat") == colour_of("cat") in PALETTE
    assert len({colour_of(name) for name in ("cat", "dog", "disc", "star", "tree", "car")}) > 2
    picture = np.asarray(draw(canvas(), [one_box(200, 300, 500, 450, label="star")]))
    assert tuple(picture[375, 200]) == colour_of("star")


def test_the_score_is_shown_where_there_is_one():
    sure, unsure = (np.asarray(draw(canvas(), [one_box(200, 300, 500, 450, score=s)])) for s in (1.0, 0.5))
    widths = [np.ptp(np.nonzero((p[275:299] != GREY).any(axis=(0, 2)))[0]) for p in (sure, unsure)]
    assert widths[1] > widths[0] + 10


@pytest.mark.parametrize("size", [(800, 600), (800, 24), (24, 800), (512, 12)])
@pytest.mark.parametrize("corner", [(0, 0), (0.5, 0), (0.99, 0.5), (0.99, 0.99), (0.3, 0.9)])
def test_labels_stay_inside_the_picture(size, corner):
    """The label's own colour fills a whole tag: its area is the same wherever the box is, if the picture has room."""
    x, y = corner[0] * size[0], corner[1] * size[1]
    picture = Picture(canvas(*size))
    tags = []
    rectangle = picture.pen.rectangle
    picture.pen.rectangle = lambda xy, **kw: (tags.append(xy) if "fill" in kw else None, rectangle(xy, **kw))
    picture.box(np.array([x, y, x + 5, y + 5]), "cat", 0.5)
    ((left, top, right, bottom),) = tags
    assert left >= 0 and top >= 0
    if right - left <= size[0]:
        assert right <= size[0]
    if bottom - top <= size[1]:
        assert bottom <= size[1]


def test_a_polygon_is_filled_lightly():
    before = canvas()
    corners = np.array([[100.0, 100], [300, 100], [100, 300]])
    one = Polygons(np.array([[100.0, 100, 300, 300]]), ("cat",), parts=((corners,),))
    picture = np.asarray(draw(before, [one]))
    found = (picture != before).any(axis=2)
    assert found[150, 150] and found[100, 200] and not found[280, 280] and not found[90, 90]
    inside, colour = picture[150, 150].astype(int), np.array(colour_of("cat"))
    assert np.abs(inside - (GREY + (colour - GREY) * 70 / 255)).max() < 3


def test_a_skeleton_joins_the_points_that_are_visible():
    before = canvas()
    points = np.array([[[100.0, 100], [300, 100], [300, 400], [0, 0]]])
    skeleton = Skeleton(names=tuple("abcd"), edges=((0, 1), (1, 2), (2, 3)))
    box, visibility = np.array([[90.0, 90, 310, 410]]), np.array([[2, 1, 2, 0]])
    one = Keypoints(box, ("x",), points=points, visibility=visibility, skeleton=skeleton)
    found = changed(draw(before, [one]), before)
    assert found[100, 100] and found[100, 300] and found[400, 300]  # the points
    assert found[100, 200] and found[250, 300]  # what joins them
    assert not found[:20, :20].any() and not found[200, 150]  # the hidden one, and the edge to it


def test_each_kind_of_thing_is_joined_by_its_own_skeleton():
    before, box, seen = canvas(), np.array([[90.0, 90, 310, 410]]), np.array([[2, 2, 2]])
    points = np.array([[[100.0, 100], [300, 100], [300, 400]]])
    things = [
        Keypoints(box, ("x",), points=at, visibility=seen, skeleton=Skeleton(names=tuple("abc"), edges=edges))
        for at, edges in ((points, ((0, 1),)), (points + 100, ((1, 2),)))
    ]
    found = changed(draw(before, things), before)
    assert found[100, 200] and not found[250, 300]
    assert found[350, 400] and not found[200, 250]


def test_points_without_a_skeleton_are_dots():
    before, points = canvas(), np.array([[[100.0, 100], [300, 100]]])
    box = np.array([[90.0, 90, 310, 410]])
    found = changed(draw(before, [Keypoints(box, ("x",), points=points, visibility=np.array([[2, 2]]))]), before)
    assert found[100, 100] and found[100, 300] and not found[100, 200]


def test_a_small_image_is_enlarged_and_coordinates_with_it():
    picture = draw(canvas(64, 32), [one_box(16, 8, 48, 24)])
    assert picture.size == (SMALLEST_SIDE, SMALLEST_SIDE // 2)
    found = (np.asarray(picture) != GREY).any(axis=2)
    assert found[8 * 8, 32 * 8] and found[24 * 8, 32 * 8] and found[16 * 8, 16 * 8] and found[16 * 8, 48 * 8]
    assert not found[16 * 8, 32 * 8]


def test_sentences_stand_below_the_picture():
    before = canvas()
    picture = draw(before, [Captions(("a cat", "two dogs"))])
    after = np.asarray(picture)
    assert picture.width == WIDE and picture.height > HIGH
    assert np.array_equal(after[:HIGH], before)
    below = after[HIGH:].min(axis=(1, 2)) < 100
    assert np.diff(below.astype(int)).tolist().count(1) == 2  # two lines of ink


def test_long_sentences_are_wrapped():
    words = "a very long sentence about many things that are in this picture " * 8
    picture = Picture(canvas())
    picture.text(words)
    rows = picture._wrapped(words)
    assert len(rows) > 2 and " ".join(rows).split() == words.split()
    assert all(picture.font.getlength(row) <= WIDE - picture.text_size for row in rows)
    after = np.asarray(picture.finish())
    assert (after[HIGH:, -5:] == 255).all()  # no ink at the right border
    assert after.shape[0] - HIGH > len(rows) * picture.text_size


def test_labels_and_every_other_kind_show_themselves_as_text():
    picture = draw(canvas(), [Labels(("cat", "dog"))])
    assert picture.height > HIGH


def test_nothing_to_show_leaves_the_image():
    assert np.array_equal(np.asarray(draw(canvas(), [])), canvas())
    assert np.array_equal(np.asarray(draw(canvas(), [Boxes([], ()), Captions(())])), canvas())


@pytest.mark.parametrize("xyxy", [(-50, -50, 2000, 2000), (300, 300, 300, 300), (799.9, 599.9, 800, 600)])
def test_boxes_at_the_edge_are_no_trouble(xyxy):
    assert draw(canvas(), [one_box(*xyxy)]).size == (WIDE, HIGH)


def test_markup_and_odd_characters_in_labels_are_drawn_as_they_are():
    assert draw(canvas(), [one_box(9, 90, 99, 99, label="[red]\x1b[2J ☃ 狗\n")]).size == (WIDE, HIGH)


def test_a_png_is_written_whole(tmp_path):
    picture = draw(canvas(), [one_box(200, 300, 500, 450)])
    save_picture(picture, tmp_path / "x.png")
    with Image.open(tmp_path / "x.png") as read:
        assert read.format == "PNG" and np.array_equal(np.asarray(read), np.asarray(picture))
    assert [p.name for p in tmp_path.iterdir()] == ["x.png"]
