"""COCO's numbers for any choice of images: as if those images had been scored, copies and all."""

from __future__ import annotations

import numpy as np
import pytest

from multitask.tasks.coco_metrics import BoxAP, KeypointAP

from .coco_reference import scorer
from .coco_toys import NAMES, images, measured

__all__ = ["scorer"]  # a fixture


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("kind", [BoxAP, KeypointAP])
def test_numbers_are_those_of_as_many_copies(kind, seed):
    pairs = images(seed, kind)
    counts = np.random.default_rng(seed).integers(0, 4, len(pairs))
    resampler = measured(kind, pairs).resampler()
    copies = measured(kind, [pair for pair, count in zip(pairs, counts, strict=True) for _ in range(count)])
    found, expected = resampler.scores(counts), copies.compute()
    assert found == pytest.approx(expected, abs=1e-9, nan_ok=True) and list(found) == list(expected)
    assert len(set(map(str, expected.values()))) > 4  # neither all 0 nor all the same


@pytest.mark.parametrize("kind", [BoxAP, KeypointAP])
def test_every_image_once_gives_the_scores_themselves(kind):
    metric = measured(kind, images(3, kind, 30))
    resampler = metric.resampler()
    assert resampler.scores(np.ones(30, dtype=int)) == pytest.approx(metric.compute(), abs=1e-9, nan_ok=True)
    assert list(resampler.ids) == list(range(30))


def test_without_images_there_is_nothing_to_score():
    resampler = measured(BoxAP, images(3, BoxAP)).resampler()
    assert all(np.isnan(value) for value in resampler.scores(np.zeros(6, dtype=int)).values())


def test_a_category_has_the_numbers_of_its_own_boxes():
    pairs = images(5, BoxAP, 12)
    found = measured(BoxAP, pairs).per_category()
    assert list(found) == list(NAMES)
    for name in NAMES:
        own = [tuple(b.take([label == name for label in b.labels]) for b in pair) for pair in pairs]
        assert found[name] == pytest.approx(measured(BoxAP, own).compute(), abs=1e-9, nan_ok=True)
