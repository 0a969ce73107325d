from __future__ import annotations

import numpy as np
import pytest

from multitask.annotations import Boxes, Captions
from multitask.draw import colour_of
from multitask.example import Example
from multitask.figures import Case
from multitask.reports.cases import look

from .samples import NAMES, case, image

HEAD = 24  # rows with the names of the halves


def grey(width, height):
    pixels = np.full((height, width, 3), 128, dtype=np.uint8)
    return lambda number: Example(number, "grey.png", (width, height), {}, lambda reduce=1: pixels)


def box(*xyxy, label="disc"):
    return Boxes(np.array([xyxy], dtype=float), (label,))


def where(picture, label="disc"):
    """Bounds (left, top, right, bottom) of the pixels in a label's colour."""
    near = abs(np.asarray(picture).astype(int) - colour_of(label)).sum(-1) < 60
    near[:HEAD] = False
    rows, columns = np.flatnonzero(near.any(axis=1)), np.flatnonzero(near.any(axis=0))
    return columns[0], rows[0] - HEAD, columns[-1], rows[-1] - HEAD


def test_the_truth_is_on_the_left_and_the_answer_on_the_right() -> None:
    shown = look(Case(7, "words", [box(20, 40, 60, 80)], [box(30, 40, 60, 80, label="star")]), grey(100, 100))
    assert shown.picture.size == (636, 340) and (shown.words, shown.where) == ("words", "image 7, grey.png")
    left, _, right, bottom = where(shown.picture)
    assert abs(left - 0.2 * 316) < 4 and abs(right - 0.6 * 316) < 4 and abs(bottom - 0.8 * 316) < 4
    left, _, right, _ = where(shown.picture.crop((320, 0, 636, 340)), "star")
    assert abs(left - 0.3 * 316) < 4 and abs(right - 0.6 * 316) < 4


@pytest.mark.parametrize("at", [(0, 0), (1500, 1000), (2960, 1960)])
def test_a_region_is_cut_out_with_some_context(at: tuple[int, int]) -> None:
    x, y = at
    region = (float(x), float(y), x + 40.0, y + 40.0)
    shown = look(Case(0, "", [box(*region)], [], region), grey(3000, 2000))
    left, _, right, bottom = where(shown.picture)
    assert shown.picture.size == (636, 340)
    assert abs((right - left) - 316 * 40 / 136) < 5  # 48 pixels on each side, or as many on one
    assert left >= 0 and right < 316 and bottom <= 316


@pytest.mark.parametrize("size", [(1000, 10), (10, 1000), (1, 1), (5000, 3000)])
def test_pictures_of_any_shape_are_of_bounded_size(size: tuple[int, int]) -> None:
    far = (-500.0, -500.0, 9000.0, 9000.0)
    for region in (None, (0.0, 0.0, 1.0, 1.0), far):
        picture = look(Case(0, "", [box(0, 0, 1, 1)], [], region), grey(*size)).picture
        assert picture.width <= 640 and picture.height <= 340


def test_sentences_are_given_as_text_beside_one_picture() -> None:
    truth = [f"truth {i}" for i in range(9)]
    shown = look(Case(1, "", [Captions(tuple(truth))], [Captions(("answer\n<b>",))]), image)
    assert shown.picture.size == (316, 316)
    assert shown.truth == [*truth[:6], "… and 3 more"] and shown.answer == ["answer\\n<b>"]


def test_an_empty_answer_still_has_its_picture() -> None:
    assert look(Case(1, "", [box(1, 1, 30, 30)], []), image).picture.width == 636
    assert look(Case(1, "", [], []), image).picture.width == 636


def test_an_image_that_cannot_be_had_becomes_a_sentence() -> None:
    unread, unknown = look(case(13), image), look(case(1000), image)
    assert unread.picture is unknown.picture is None
    assert unread.fault == "The image cannot be read: 13.png: is <b>empty</b>"
    assert unknown.fault == "The image is not in the data set." and unknown.where == "image 1000"


def test_labels_may_be_anything() -> None:
    for name in NAMES:
        shown = look(case(3, name, (name.replace("\ud800", ""),)), image)
        assert shown.words.isprintable() and len(shown.words) <= 300 and shown.picture
