"""Which answers hit which true instances, by COCO's evaluation, and its numbers anew for any choice of images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .scoring import THRESHOLDS, Comparison, Floats, Number, Scorer, match

RECALLS = np.linspace(0, 1, 101)  # that precision is read off at


@dataclass(frozen=True, eq=False)
class Matches:
    """The D answers of one category, the best score first, judged at T thresholds of overlap within a range of size."""

    images: NDArray[np.int64]  # (D,) numbered from 0
    ranks: NDArray[np.int64]  # (D,) place among the answers of the image
    scores: Floats  # (D,)
    hits: NDArray[np.bool_]  # (T, D)
    counted: NDArray[np.bool_]  # (T, D) False: neither right nor wrong, as in a crowd
    truth: NDArray[np.int64]  # (G,) images of the instances to be found
    answers: NDArray[np.int64]  # (D,) their rows in `Comparison.answers`
    about: NDArray[np.int64]  # (D,) rows in `Comparison.truth` of what they hit at the lowest threshold; -1: nothing
    objects: NDArray[np.int64]  # (G,) rows of the instances to be found

    @classmethod
    def of(cls, judged: Sequence[Mapping[str, Any]], truth: NDArray[np.int64], answers: NDArray[np.int64]) -> Matches:
        """From COCO's record of each image, in the order of the images; instance `n` is in row `truth[n - 1]`, answer
        `n` in row `answers[n - 1]`."""
        lengths = [len(one["dtScores"]) for one in judged]
        scores = np.concatenate([np.zeros(0), *(one["dtScores"] for one in judged)])
        order = np.argsort(-scores, kind="stable")
        images = np.array([one["image_id"] - 1 for one in judged], dtype=np.int64)
        found = [np.asarray(one["gtIds"], dtype=np.int64)[~np.asarray(one["gtIgnore"], dtype=bool)] for one in judged]
        matches = _columns(judged, "dtMatches")[:, order].astype(np.int64)
        return cls(
            images=np.repeat(images, lengths)[order],
            ranks=np.concatenate([np.arange(0), *map(np.arange, lengths)])[order],
            scores=scores[order],
            hits=matches > 0,
            counted=~_columns(judged, "dtIgnore")[:, order].astype(bool),
            truth=np.repeat(images, [len(ids) for ids in found]),
            answers=answers[_numbers([one["dtIds"] for one in judged])[order] - 1],
            about=np.append(truth, -1)[matches[0] - 1],  # 0 is no match
            objects=truth[_numbers(found) - 1],
        )


def _numbers(parts: Sequence[Any]) -> NDArray[np.int64]:
    return np.concatenate([np.zeros(0, dtype=np.int64), *(np.asarray(part, dtype=np.int64) for part in parts)])


def _columns(judged: Sequence[Mapping[str, Any]], name: str) -> Floats:
    """(T, D) of all images."""
    parts = [np.asarray(one[name], dtype=np.float64).reshape(len(THRESHOLDS), -1) for one in judged]
    return np.concatenate([np.zeros((len(THRESHOLDS), 0)), *parts], axis=1)


def all_matches(comparison: Comparison, scorer: Scorer) -> dict[tuple[int, int], Matches]:
    """By the id of the category, and the place of the range of size, of which the first has all."""
    every: dict[tuple[int, int], Matches] = {}
    for part in comparison.parts():
        evaluation = match(part, scorer)
        areas = [tuple(area) for area in evaluation.params.areaRng]
        found: dict[tuple[int, int], list[Mapping[str, Any]]] = {}
        for one in evaluation.evalImgs:
            if one is not None:
                found.setdefault((int(one["category_id"]), areas.index(tuple(one["aRng"]))), []).append(one)
        rows = [side.rows_of(list(part.categories.values())) for side in (comparison.truth, comparison.answers)]
        every |= {key: Matches.of(judged, *rows) for key, judged in found.items()}
    return every


class ApResampler:
    """The numbers of COCO's summary where images count several times or never; as `Resampler` of the contract."""

    def __init__(
        self,
        ids: Sequence[int | str],
        matches: Mapping[tuple[int, int], Matches],
        numbers: Mapping[str, Number],
        limits: Sequence[int],
        frequencies: Mapping[int, str],
    ) -> None:
        """`limits` are those on answers an image, the largest last; frequencies those of categories, by id."""
        self.ids, self.matches, self.numbers, self.limits = ids, matches, numbers, limits
        self.frequencies = frequencies

    def scores(self, counts: NDArray[np.int64]) -> dict[str, float]:
        """As COCO's evaluation would find them of so many copies of each image; nan where there is nothing to find."""
        every = {name: number._replace(threshold=None) for name, number in self.numbers.items()}
        found = {number: self._values(number, counts) for number in set(every.values())}
        return {name: _mean(found[every[name]], number) for name, number in self.numbers.items()}

    def _values(self, number: Number, counts: NDArray[np.int64]) -> Floats:
        """(T, K) of the categories that have something to find, at all thresholds."""
        compute = _precision if number.what == "precision" else _recall
        some = [
            matches
            for (category, area), matches in self.matches.items()
            if area == number.area and number.frequency in ("", self.frequencies.get(category))
        ]
        columns = [compute(m, counts, self.limits[number.limit]) for m in some if counts[m.truth].sum()]
        return np.stack(columns, axis=1) if columns else np.zeros((len(THRESHOLDS), 0))


def _mean(values: Floats, number: Number) -> float:
    kept = values if number.threshold is None else values[np.isclose(THRESHOLDS, number.threshold)]
    return float(kept.mean()) if kept.size else float("nan")


def _running(matches: Matches, counts: NDArray[np.int64], limit: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """How many of the answers down to each are right, and how many are counted: (T, D') each."""
    weights = counts[matches.images] * (matches.ranks < limit)
    kept = np.flatnonzero(weights)
    counted = matches.counted[:, kept] * weights[kept]
    return np.cumsum(matches.hits[:, kept] * counted, axis=1), np.cumsum(counted, axis=1)


def _recall(matches: Matches, counts: NDArray[np.int64], limit: int) -> Floats:
    """(T,) of all answers."""
    right, _ = _running(matches, counts, limit)
    total = counts[matches.truth].sum()
    found: Floats = right[:, -1] / total if right.shape[1] else np.zeros(len(right))
    return found


def _precision(matches: Matches, counts: NDArray[np.int64], limit: int) -> Floats:
    """(T,) means over the levels of recall, of the best precision at that recall or beyond."""
    right, counted = _running(matches, counts, limit)
    total = int(counts[matches.truth].sum())
    if not right.shape[1]:
        return np.zeros(len(right))
    best = np.maximum.accumulate((right / np.maximum(counted, 1))[:, ::-1], axis=1)[:, ::-1]
    needed = np.searchsorted(np.arange(total + 1) / total, RECALLS)  # answers that must be right for each level
    places = np.stack([np.searchsorted(row, needed) for row in right])
    found = np.take_along_axis(best, np.minimum(places, right.shape[1] - 1), axis=1)
    mean: Floats = np.where(places < right.shape[1], found, 0.0).mean(axis=1)
    return mean
