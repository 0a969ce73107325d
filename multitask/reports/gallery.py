"""Galleries of a page: pictures that are made smaller, and then fewer, until they fit."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..figures import Gallery
from ..files import write_atomic
from .cases import Images, Shown, jpeg, look
from .page import Part, Picture, data_uri
from .sheet import MOST, contact_sheet

LEAST = 26_000  # bytes of the page for a case: enough for a small picture and a long text
STEPS = ((1.0, 85), (1.0, 70), (1.0, 50), (0.7, 50), (0.5, 40))  # share of the size, and quality as JPEG


@dataclass(frozen=True)
class Order:
    """A gallery that waits until it is known how much of the page is left."""

    gallery: Gallery
    images: Images
    part: Part  # to be filled
    file: Path  # of the contact sheet

    def fill(self, fraction: float, share: int) -> None:
        """Shows this fraction of the cases, each in at most `share` bytes of the page; writes the contact sheet."""
        cases = self.gallery.cases
        kept = int(len(cases) * fraction)
        shown = [look(case, self.images) for case in cases[: max(kept, MOST)]]
        self.part.kind = "gallery"
        self.part.cases = [_fitted(one, share) for one in shown[:kept]]
        if kept < len(cases):
            self.part.notes.append(f"{kept} of {len(cases)} are shown, so that this page stays below 5 MB.")
        if not cases:
            self.part.notes.append("Nothing to show.")
        else:
            write_atomic(self.file, contact_sheet(self.gallery.title, shown))


def fill_all(orders: Sequence[Order], room: int) -> None:
    """Shares so many bytes among the cases of all galleries."""
    cases = max(1, sum(len(order.gallery.cases) for order in orders))
    share = max(LEAST, room // cases)
    for order in orders:
        order.fill(min(1.0, max(0, room) / (share * cases)), share)


def _fitted(one: Shown, share: int) -> tuple[Shown, Picture | None]:
    if one.picture is None:
        return one, None
    texts = (one.words, one.words, one.where, one.where, *one.truth, *one.answer)  # the first two stand in `alt`, too
    left = share - sum(len(html.escape(text).encode()) + 40 for text in texts)
    for scale, quality in STEPS:
        uri = data_uri(jpeg(one.picture, scale, quality), "jpeg")
        if len(uri) <= left:
            return one, Picture(uri, one.picture.size)
    return replace(one, fault="The picture has no room on this page."), None
