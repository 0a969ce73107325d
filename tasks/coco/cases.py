"""Pictures of the worst errors: which images to look at, where, and what there is to see."""

from __future__ import annotations

import numpy as np

from ...figures import Case, Gallery
from .judging import Kind, Verdict
from .seen import Seen

CASES = 8  # of a kind of error


def gallery(seen: Seen, kind: Kind) -> Gallery:
    """The worst errors of a kind, one an image: the largest objects that were missed, else the surest answers."""
    truth, answers = seen.comparison.truth, seen.comparison.answers
    rank = (lambda one: -truth.areas[one.truth]) if kind is Kind.MISSED else (lambda one: -answers.scores[one.answer])
    every = sorted((one for one in seen.verdicts if one.kind is kind), key=rank)
    images: dict[int, Verdict] = {}
    for one in every:
        images.setdefault(_image(seen, one), one)
    cases = [_case(seen, image, one) for image, one in list(images.items())[:CASES]]
    name = seen.called(kind)
    return Gallery(f"{name[0].upper()}{name[1:]}", cases, f"{len(cases)} of {len(every)}, one an image. {seen.taken()}")


def _image(seen: Seen, one: Verdict) -> int:
    side, row = (seen.comparison.truth, one.truth) if one.answer is None else (seen.comparison.answers, one.answer)
    return int(side.images[row]) - 1


def _case(seen: Seen, image: int, one: Verdict) -> Case:
    answered = seen.answers[image]
    sides = ((seen.comparison.truth, one.truth), (seen.comparison.answers, one.answer))
    boxes = np.array([side.boxes[row] for side, row in sides if row is not None])  # (1 or 2, 4) xywh
    corners = (*boxes[:, :2].min(axis=0), *(boxes[:, :2] + boxes[:, 2:]).max(axis=0))
    left, top, right, bottom = (float(value) for value in corners)
    kept = answered.take(answered.scores >= seen.threshold)
    return Case(seen.ids[image], _words(seen, one), [seen.truth[image]], [kept], (left, top, right, bottom))


def _words(seen: Seen, one: Verdict) -> str:
    truth, answers = seen.comparison.truth, seen.comparison.answers
    true = "" if one.truth is None else seen.names[int(truth.categories[one.truth])]
    if one.answer is None:
        _, _, width, height = truth.boxes[one.truth].tolist()
        return f"{true}, {width:.0f} x {height:.0f} pixels"
    said = f"{seen.names[int(answers.categories[one.answer])]} {answers.scores[one.answer]:.2f}"
    if one.kind is Kind.CLASS:
        return f"{said}, is {true}"
    return f"{said}, {seen.measure} {one.similarity:.2f}" if one.kind is Kind.SHAPE else said
