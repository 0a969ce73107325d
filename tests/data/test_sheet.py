"""The pictures of `mtp data show` are those that training sees."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from PIL import ImageChops

from multitask.data.groups import group_tasks
from multitask.data.mixture import Mixture
from multitask.data.shapes import ShapesDataset
from multitask.data.survey import sheet
from multitask.data.survey.sheet import COLUMNS, GAP, TITLE, contact_sheet, tiles
from multitask.errors import DataError
from multitask.task import Augment, TaskOptions
from multitask.tasks.detection import Detection
from multitask.tasks.keypoints import KeypointDetection, KeypointOptions

VARIED = Augment(scale=(0.5, 1.5), flip=0.5, colour=0.5)
SHAPES = ShapesDataset("train", 20)


def shown(tasks, dataset=SHAPES, count: int = 6, seed: int = 0, side: int = 64):
    return tiles(dataset, group_tasks(tasks, dataset), side, count, seed)


def test_each_look_has_its_share_and_each_tile_its_title() -> None:
    pose = KeypointDetection(KeypointOptions(skeleton=SHAPES.info.skeleton, augment=VARIED))
    found = shown([Detection(), pose], count=7)
    titles = [tile.title for tile in found]
    assert sum("det" in title for title in titles) == 4 and sum("keypoints" in title for title in titles) == 3
    assert all(title.startswith("shapes/train/0") and ", view " in title for title in titles)
    assert len(set(titles)) == 7


def test_tasks_that_look_alike_are_drawn_together(toys) -> None:
    find, say = toys.Find(TaskOptions(augment=VARIED)), toys.Say(TaskOptions(augment=VARIED))
    found = shown([find, say], toys.Dataset(5), count=3)
    assert [tile.title.partition(": ")[2] for tile in found] == ["find, say, view 1"] * 3
    assert all(tile.picture.width < tile.picture.height for tile in found)  # the caption stands below the square


def test_the_pixels_are_those_of_a_training_batch(toys, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without anything left to chance the sheet and a batch must show the same input."""
    monkeypatch.setattr(sheet, "draw", lambda image, _: image.copy())
    dataset, task = toys.Dataset(4), toys.Find()
    mixture = Mixture(dataset, group_tasks([task], dataset), toys.vocabulary(task), 32, 4, 0)
    (batch,) = mixture[0]
    expected = {file: image.permute(1, 2, 0).numpy() for file, image in zip(batch.files, batch.images, strict=True)}
    found = shown([task], dataset, count=4, side=32)
    assert {tile.title.partition(":")[0] for tile in found} == set(expected)
    for tile in found:
        assert np.array_equal(tile.picture, expected[tile.title.partition(":")[0]])


def test_what_is_annotated_is_drawn_where_it_is(toys, monkeypatch: pytest.MonkeyPatch) -> None:
    """The box that is drawn has the pixels of its object inside, however the view was varied."""
    drawn = []
    monkeypatch.setattr(sheet, "draw", lambda image, annotations: drawn.append((image, annotations)) or image)
    dataset = ShapesDataset("train", 30)
    shown([Detection()], dataset, count=30, side=128)
    for image, (boxes,) in drawn:
        inside = np.zeros(image.shape[:2], dtype=bool)
        for x0, y0, x1, y1 in np.round(boxes.xyxy).astype(int):
            inside[max(0, y0 - 2) : y1 + 2, max(0, x0 - 2) : x1 + 2] = True
        spread = image.max(axis=2).astype(int) - image.min(axis=2)
        assert (spread[~inside] < 60).all()  # vivid colours are those of objects; the ground is grey or pastel


def test_the_seed_decides() -> None:
    first, again, other = (shown([Detection()], seed=seed) for seed in (1, 1, 2))
    same = [ImageChops.difference(a.picture, b.picture).getbbox() for a, b in zip(first, again, strict=True)]
    assert same == [None] * len(first)
    assert [tile.title for tile in first] != [tile.title for tile in other]


def test_an_unreadable_image_is_named_and_passed_over(toys, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        found = shown([toys.Find()], toys.Dataset(4, damaged={2}), count=9)
    assert len(found) == 3
    assert [record.getMessage() for record in caplog.records] == ["skipped: toys/2.png: is damaged"]
    with pytest.raises(DataError, match="toys: no image could be shown"):
        shown([toys.Find()], toys.Dataset(2, damaged={0, 1}))


def test_tiles_lie_in_rows_below_their_titles() -> None:
    found = shown([Detection()], count=6)
    picture = contact_sheet(found)
    side = found[0].picture.width
    assert picture.size == (COLUMNS * (side + GAP) + GAP, 2 * (side + TITLE + GAP) + GAP)
    for number, tile in enumerate(found):
        left, top = GAP + number % COLUMNS * (side + GAP), GAP + number // COLUMNS * (side + TITLE + GAP)
        box = (left, top + TITLE, left + side, top + TITLE + side)
        assert ImageChops.difference(picture.crop(box), tile.picture).getbbox() is None
        title = np.asarray(picture.crop((left, top, left + side, top + TITLE)))
        assert title.min() < 100  # something is written there
    alone = contact_sheet(found[:1])
    assert alone.width == side + 2 * GAP


def test_a_long_title_keeps_its_end_and_odd_characters_are_replaced() -> None:
    found = shown([Detection()], count=1)
    long = sheet.Tile("a/very/long/folder/" * 20 + "\x1b[31m\n名.png: det, view 1", found[0].picture)
    assert contact_sheet([long]).size == contact_sheet(found).size
    font = sheet.ImageFont.load_default(size=sheet.TEXT)
    line = sheet._fitted(long.title, font, 512)
    assert line.startswith("...") and line.endswith("名.png: det, view 1") and line.isprintable()
    assert font.getlength(line) <= 512
