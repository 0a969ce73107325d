"""What `mtp data stats` counts, compared with counts by hand."""

from __future__ import annotations

import sys
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from multitask.annotations import Boxes, Captions
from multitask.data.shapes import ShapesDataset
from multitask.data.source import open_dataset
from multitask.data.survey.plots import page
from multitask.data.survey.sequence_statistics import MOST, measure_sequences
from multitask.data.survey.statistics import measure, size_class, spread
from multitask.errors import UsageError
from multitask.example import Example
from multitask.task import Category, DatasetInfo
from multitask.tasks.captioning import Captioning, CaptioningOptions
from multitask.tasks.detection import Detection, DetectionOptions
from multitask.tasks.keypoints import KeypointDetection, KeypointOptions
from multitask.tasks.segmentation import Segmentation, SegmentationOptions
from multitask.testing import tiny_vocabulary

from .coco_folder import good, write

SHAPES = ShapesDataset("val", 12)
NAMES = tuple(category.name for category in SHAPES.info.categories)


class Images:
    """Examples as a data set."""

    info = DatasetInfo("made", (Category(1, "cat"), Category(2, "dog")))
    split, faults, entries = "train", (), 0

    def __init__(self, *annotations: dict[str, object]) -> None:
        self.annotations = annotations

    def __len__(self) -> int:
        return len(self.annotations)

    def kinds(self, i: int) -> frozenset[str]:
        return frozenset(self.annotations[i])

    def __getitem__(self, i: int) -> Example:
        return Example(i, f"{i}.png", (200, 100), self.annotations[i], lambda _=1: np.zeros((100, 200, 3), np.uint8))


def boxes(count: int) -> Boxes:
    return Boxes(np.array([[n, n, n + 20, n + 10] for n in range(count)]).reshape(-1, 4), ("cat",) * count)


def test_a_small_data_set_is_counted(tmp_path: Path) -> None:
    found = measure(open_dataset(str(write(tmp_path, good())), None, role="train"))
    assert found.images == 3
    assert found.kinds == {"boxes": 2, "polygons": 2, "keypoints": 2, "captions": 2}
    assert found.categories == {"person": 2, "kite": 1}
    assert list(found.categories) == ["person", "kite"]  # by their ids, 3 and 7
    assert (found.objects, found.crowds) == ([3, 0], 1)
    assert sorted(found.areas) == [60, 60, 70.5]
    assert found.sizes() == {"small": 3, "medium": 0, "large": 0}
    assert found.shares == [area / 1200 for area in found.areas]
    assert found.points == {"nose": [0, 0, 1], "left_hand": [0, 1, 0], "right_hand": [1, 0, 0]}
    assert found.captions == [3, 1]
    assert found.sides == [(40, 30)] * 3
    record = found.to_json()
    assert record["objects"] == 3 and record["caption_words"] == {"min": 1, "median": 3, "p95": 3, "max": 3}


def test_sizes_are_those_of_coco() -> None:
    assert [size_class(a) for a in (0, 1023.9, 1024, 9215, 9216, 1e9)] == ["small"] * 2 + ["medium"] * 2 + ["large"] * 2


@settings(derandomize=True, deadline=None)
@given(st.lists(st.integers(0, 1000), min_size=1, max_size=200))
def test_spread_is_of_values_that_occur_and_in_order(values: list[int]) -> None:
    found = spread(values)
    assert set(found.values()) <= set(map(float, values))
    assert list(found.values()) == sorted(found.values())
    assert (found["min"], found["max"]) == (min(values), max(values))
    assert sum(value <= found["p95"] for value in values) >= 0.95 * len(values)


def test_nothing_has_no_spread() -> None:
    assert spread([]) == {}


def sequences(task, dataset=SHAPES, side: int = 128):
    return measure_sequences(task, dataset, tiny_vocabulary([task], (*NAMES, "cat", "dog"), bins=128), side, 0)


def test_objects_beyond_max_instances_are_cut() -> None:
    dataset = Images({"boxes": boxes(2)}, {"boxes": boxes(5)}, {"boxes": boxes(3)}, {"captions": Captions(("a",))})
    found = sequences(Detection(DetectionOptions(max_instances=3)), dataset)
    assert found.images == 3
    assert found.lengths == [16] * 3  # the prompt, and noise up to three objects
    assert found.longest == 16
    assert (found.cut, found.cut_images) == ({"max_instances": 1}, {"max_instances": 1})
    assert found.later == 0
    plain = sequences(Detection(DetectionOptions(max_instances=5, noise=False)), dataset)
    assert plain.lengths == [11, 26, 16] and not plain.cut


def test_pieces_beyond_max_tokens_are_cut() -> None:
    words = "a very long caption that goes on and on"
    dataset = Images({"captions": Captions((words, "a"))}, {"captions": Captions((words,))})
    found = sequences(Captioning(CaptioningOptions(max_tokens=4)), dataset)
    assert sorted(found.lengths) == [2, 5, 5] and found.longest == 5
    assert found.cut == {"max_tokens": 2} and found.cut_images == {"max_tokens": 2}
    assert not sequences(Captioning(CaptioningOptions(max_tokens=200)), dataset).cut
    assert sequences(Captioning(CaptioningOptions(captions_per_image=1)), dataset).later == 1


@pytest.mark.parametrize("view", ["image", "object"])
@pytest.mark.parametrize("points", ["curvature", "uniform", "given"])
def test_points_beyond_max_points_are_cut_and_other_objects_wait(view: str, points: str) -> None:
    options = {"view": view, "points": points, "max_instances": 2}
    objects = [SHAPES[i].annotations["polygons"] for i in range(len(SHAPES))]
    few = sequences(Segmentation(SegmentationOptions(max_points=8, **options)))
    assert len(few.lengths) == sum(min(2, len(one)) for one in objects)
    assert few.later == sum(max(0, len(one) - 2) for one in objects)
    assert 0 < few.cut["max_points"] <= len(few.lengths)
    assert max(few.lengths) == few.longest == 6 + 16
    many = sequences(Segmentation(SegmentationOptions(max_points=200, **options)))
    assert not many.cut


def test_an_outline_is_not_cut_where_all_its_points_have_room() -> None:
    """The option at which the first outline loses a point is the number of points it has, separators included."""
    for i in range(4):
        polygons = SHAPES[i].annotations["polygons"].take([0])
        has = sum(map(len, polygons.parts[0])) + len(polygons.parts[0]) - 1
        for most, cut in ((has, {}), (has - 1, {"max_points": 1})):
            task = Segmentation(SegmentationOptions(max_points=most))
            found = sequences(task, Images({"polygons": polygons}))
            assert found.cut == cut


def test_objects_of_keypoints_that_are_left_out_wait() -> None:
    skeleton = SHAPES.info.skeleton
    every = sequences(KeypointDetection(KeypointOptions(skeleton=skeleton, max_instances=10)))
    one = sequences(KeypointDetection(KeypointOptions(skeleton=skeleton, max_instances=1)))
    assert set(every.lengths) == {6 + 2 * len(skeleton)} and every.later == 0
    assert len(one.lengths) + one.later == len(every.lengths) and one.later > 0


def test_of_many_images_some_are_looked_at() -> None:
    dataset = Images(*[{"boxes": boxes(1)}] * (MOST + 1))
    found = sequences(Detection(DetectionOptions(max_instances=1)), dataset)
    assert MOST / 2 <= found.images <= MOST and found.images == len(found.lengths)


def test_lengths_are_the_same_each_time() -> None:
    task = Segmentation(SegmentationOptions(max_points=20, max_instances=1))
    assert sequences(task).to_json() == sequences(task).to_json()


# ----------------------------------------------------------------------------------------------------------- pages


def test_a_page_shows_any_names_and_no_numbers_at_all() -> None:
    odd = Images({"boxes": Boxes(np.array([[0, 0, 9, 9.0]]), ("$\\frac{",))}, {"captions": Captions(("x",))})
    found = {"$x^": measure(odd), "\x1b[31m": measure(Images({}))}
    lengths = {"$x^": {"find": sequences(Detection(), Images({"boxes": boxes(2)}))}}
    with Image.open(BytesIO(page("$\\alpha", found, lengths))) as picture:
        assert picture.format == "PNG" and picture.size == (1600, 1500)
    assert page("none", {}, {}).startswith(b"\x89PNG")


def test_what_a_page_needs_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("matplotlib", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(UsageError, match=r"pip install 'multitask-prompts\[plot\]'"):
        page("", {}, {})
