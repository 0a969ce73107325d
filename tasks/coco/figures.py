"""What a report shows of boxes, masks and poses: how sure the model is, how right, and where it goes wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ...figures import Bars, Figure, Lines, Matrix, Table
from .cases import gallery
from .judging import ENOUGH, Kind
from .matches import RECALLS
from .scoring import THRESHOLDS, Floats
from .seen import Seen

BINS = 10  # of scores
POINTS = 2000  # of a curve, at most
SIZES = 12  # bars of sizes
NOTHING = "nothing"
SHOWN = (Kind.MISSED, Kind.ALARM, Kind.CLASS, Kind.SHAPE)  # errors that pictures are shown of


def figures(seen: Seen) -> list[Figure]:
    """All of them, the most telling first."""
    return [
        _errors(seen),
        *(found for kind in SHOWN if (found := gallery(seen, kind)).cases),
        _curves(seen),
        _by_score(seen),
        *([_calibration(seen)] if seen.probable else []),
        _scores(seen),
        _confusion(seen),
        _sizes(seen),
    ]


def _errors(seen: Seen) -> Table:
    counts = Counter(verdict.kind for verdict in seen.verdicts)
    rows = [(seen.called(kind), counts[kind]) for kind in Kind if kind is not Kind.IGNORED or counts[kind]]
    return Table(
        "What became of answers and objects", ("kind", "number"), rows, f"{seen.total} objects. {seen.taken()}"
    )


def _curves(seen: Seen) -> Lines:
    lines = {}
    for threshold in (0.5, 0.75, 0.9):
        precision = seen.found.precision[np.isclose(THRESHOLDS, threshold)][0, :, :, 0, -1]  # (recalls, categories)
        known = precision[:, (precision > -1).all(axis=0)]
        if known.size:
            lines[f"{seen.measure} {threshold:.2f}"] = RECALLS, known.mean(axis=1)
    note = "Means over categories; the area below a line is AP at that overlap."
    return Lines("Precision and recall", "recall", "precision", lines, note)


def _by_score(seen: Seen) -> Lines:
    every = len(seen.rates[0]) // POINTS + 1
    scores, *rates = (values[::every] for values in seen.rates)
    lines = dict(zip(("precision", "recall", "F1"), ((scores, values) for values in rates), strict=True))
    right = f"right from {seen.measure} {ENOUGH:.2f} on"
    note = f"Of all categories together, {right}. F1 is highest at {seen.threshold:.3f}."
    return Lines("Which answers to keep", "lowest score kept", "share", lines, note, unit=seen.probable)


def _calibration(seen: Seen) -> Lines:
    scores, right = seen.ranked
    counts, means, shares = binned(scores, right)
    some = counts > 0
    error = f"Expected calibration error {calibration_error(scores, right):.3f}"
    note = f"{error}. A model that knows how sure it may be lies on the diagonal."
    lines = {"answers": (means[some], shares[some])}
    return Lines("Calibration", "mean score", "share right", lines, note, diagonal=True)


def binned(scores: Floats, right: NDArray[np.bool_]) -> tuple[NDArray[np.int64], Floats, Floats]:
    """(BINS,) how many scores lie in each tenth, their mean, and the share of them that is right."""
    places = np.clip((scores * BINS).astype(np.int64), 0, BINS - 1)
    counts = np.bincount(places, minlength=BINS)
    sums = (np.bincount(places, values, minlength=BINS) for values in (scores, right.astype(np.float64)))
    means, shares = (total / np.maximum(counts, 1) for total in sums)
    return counts, means, shares


def calibration_error(scores: Floats, right: NDArray[np.bool_]) -> float:
    """Mean distance of score and share right over the bins, each as heavy as it has answers (Naeini et al. 2015)."""
    counts, means, shares = binned(scores, right)
    return float((counts * np.abs(means - shares)).sum() / counts.sum()) if counts.sum() else float("nan")


def _scores(seen: Seen) -> Bars:
    scores, right = seen.ranked
    low, high = min(0.0, *scores.tolist(), 0.0), max(1.0, *scores.tolist(), 1.0)
    edges = np.linspace(low, high, 2 * BINS + 1)
    stacks = {
        name: np.histogram(scores[some], edges)[0].astype(float) for name, some in (("right", right), ("wrong", ~right))
    }
    return Bars("Scores", "score", "answers", edges, stacks)


def _confusion(seen: Seen) -> Matrix:
    names, truth, answers = (
        list(seen.names.values()),
        seen.comparison.truth.categories,
        seen.comparison.answers.categories,
    )
    place = {number: row for row, number in enumerate(seen.names)}
    values = np.zeros((len(names) + 1, len(names) + 1), dtype=np.int64)
    for one in seen.verdicts:
        row = len(names) if one.truth is None or one.kind in (Kind.TWICE, Kind.SHAPE) else place[int(truth[one.truth])]
        column = len(names) if one.answer is None else place[int(answers[one.answer])]
        values[row, column] += one.kind is not Kind.IGNORED
    for row in seen.about(Kind.SHAPE) - seen.about(Kind.CLASS):  # what is only badly shaped is not found
        values[place[int(truth[row])], -1] += 1
    some = np.flatnonzero(values.any(axis=0) | values.any(axis=1) | (np.arange(len(values)) == len(names)))
    rows, columns = ([[*names, last][row] for row in some] for last in (NOTHING, Kind.MISSED.value))
    shape = seen.called(Kind.SHAPE)
    note = f"{seen.taken()} “{NOTHING}” also has what is found twice and each {shape}, “{Kind.MISSED}” their objects."
    return Matrix("Confusion", "truth", "answer", rows, columns, values[np.ix_(some, some)], note)


def _sizes(seen: Seen) -> Bars:
    sides = np.sqrt(np.maximum(seen.comparison.truth.areas, 1.0))
    kept, asked = seen.about(Kind.HIT), seen.about(*Kind) - seen.about(Kind.IGNORED)
    found, lost = (sides[sorted(rows)] for rows in (kept, asked - kept))
    edges = np.geomspace(*_range([*found, *lost]), SIZES + 1)
    stacks = {
        name: np.histogram(values, edges)[0].astype(float) for name, values in (("found", found), ("not found", lost))
    }
    return Bars(
        "Sizes of objects", "square root of the area, in pixels", "objects", edges, stacks, seen.taken(), log=True
    )


def _range(values: Sequence[float]) -> tuple[float, float]:
    low, high = (min(values), max(values)) if values else (1.0, 2.0)
    return (low * 0.999, high * 1.001)
