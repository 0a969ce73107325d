"""Whatever a reader made of a data set: every number is finite and in its place, and counts add up."""

from __future__ import annotations

import numpy as np

from multitask.annotations import Annotation, Boxes, Captions, Keypoints, Polygons
from multitask.data.survey.inspection import Report, annotation_count
from multitask.data.table import Table, TableDataset

TURN = np.array([[0.0, 1.5, -4.0], [-1.5, 0.0, 50.0], [0.0, 0.0, 1.0]])  # by a quarter, larger, partly out of the frame


def check_report(report: Report) -> None:
    """Raises AssertionError, or whatever an image or an annotation raises when it is used."""
    for fault in report.faults:
        assert fault.file and fault.where and fault.field and fault.reason and fault.action, fault
        assert str(fault).isprintable()
    for split, table in report.splits.tables.items():
        dataset = TableDataset(table, split)
        for number in range(len(dataset)):
            example = dataset[number]
            assert example.load().shape == (example.size[1], example.size[0], 3)
            for annotation in example.annotations.values():
                check_annotation(annotation, example.size, dataset)
                check_annotation(annotation.warp(TURN, (40.0, 40.0)), (40.0, 40.0), dataset)
        check_counts(table, sum(fault.action.startswith("skipped") for fault in report.splits.faults[split]))


def check_counts(table: Table, skipped: int) -> None:
    """What is listed is used or skipped; what goes with a skipped image, and what several files list, is more."""
    used = len(table.images) + sum(map(annotation_count, table.images))
    assert used + skipped <= table.entries


def check_annotation(annotation: Annotation, size: tuple[float, float], dataset: TableDataset) -> None:
    if isinstance(annotation, Captions):
        assert all(text.strip() and "\n" not in text and text.encode() for text in annotation.texts)
        return
    assert isinstance(annotation, Boxes)
    x0, y0, x1, y1 = annotation.xyxy.T
    assert (x0 >= 0).all() and (y0 >= 0).all() and (x1 <= size[0]).all() and (y1 <= size[1]).all()
    assert (x1 > x0).all() and (y1 > y0).all()  # NaN fails too
    assert (annotation.areas >= 0).all() and np.isfinite(annotation.areas).all()
    assert set(annotation.labels) <= {category.name for category in dataset.info.categories}
    if isinstance(annotation, Polygons):
        assert all(len(part) >= 3 and np.isfinite(part).all() for one in annotation.parts for part in one)
        masks = [mask for mask in annotation.masks if mask is not None]
        assert all(mask["size"] == [size[1], size[0]] for mask in masks)
    if isinstance(annotation, Keypoints):
        shape = len(annotation), len(dataset.info.skeleton)
        assert annotation.points.shape == (*shape, 2) and annotation.visibility.shape == shape
        assert np.isin(annotation.visibility, (0, 1, 2)).all()
        assert (annotation.points >= 0).all() and (annotation.points <= np.array(size)).all()
