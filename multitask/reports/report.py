"""A report: a folder with one page that needs nothing else, and its diagrams and contact sheets as files."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path

from PIL import Image

from ..figures import Figure, Gallery, Matrix, Table
from ..files import write_atomic
from .cases import Images
from .charts import Chart, draw_chart, drawing_of
from .gallery import Order, fill_all
from .matrix import frequent_errors
from .page import NOT_AVAILABLE, Chapter, Part, Picture, data_uri, render
from .words import LONGEST_SENTENCE, clipped, number, slug, slugs

CONTENT = 4_500_000  # bytes of pictures and tables on a page, which leaves the rest of 5 MB to headings
MOST_OF_TABLE = 600_000  # bytes of one table
TAGS = 40  # bytes around a cell


@dataclass(frozen=True)
class Section:
    """What there is to say of one task."""

    title: str
    scores: Mapping[str, float | None]  # None: not to be had; nan: nothing to score
    figures: Sequence[Figure]
    images: Images


def write_report(folder: Path, title: str, facts: Mapping[str, str], sections: Sequence[Section]) -> Path:
    """Writes `index.html`, below 5 MB, a PNG of each diagram and a JPEG of each gallery; gives the path of the page.

    `facts` stand below the title: data, date. Files of an earlier report are replaced, each as a whole; its pictures of
    the same sections that this one does not have are removed. Raises UsageError where matplotlib is not installed,
    OSError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    draft = _Draft(folder, CONTENT)
    for section, anchor in zip(sections, slugs([section.title for section in sections]), strict=True):
        draft.add(section, anchor)
    fill_all(draft.galleries, draft.room)
    known = {clipped(name): clipped(value, LONGEST_SENTENCE) for name, value in facts.items()}
    path = folder / "index.html"
    write_atomic(path, render(clipped(title, LONGEST_SENTENCE), known, draft.chapters).encode())
    draft.remove_others()
    return path


@dataclass
class _Draft:
    """Chapters of a page, and the bytes that are left for what comes next; galleries come last."""

    folder: Path
    room: int
    chapters: list[Chapter] = field(default_factory=list)
    galleries: list[Order] = field(default_factory=list)
    stems: set[str] = field(default_factory=set)  # of the files of this report

    def add(self, section: Section, anchor: str) -> None:
        scores = {clipped(name): _score(value) for name, value in section.scores.items()}
        chapter = Chapter(anchor, clipped(section.title), scores)
        self.chapters.append(chapter)
        place = 0
        for figure in section.figures:
            place += not isinstance(figure, Table)
            stem = f"{anchor}-{place:02}-{slug(figure.title)}"
            self.stems.add(stem)
            part = Part(clipped(figure.title), [clipped(figure.note, LONGEST_SENTENCE)] if figure.note else [])
            chapter.parts.append(part)
            if isinstance(figure, Gallery):
                self.galleries.append(Order(figure, section.images, part, self.folder / f"{stem}.jpg"))
            elif isinstance(figure, Table):
                self._tabulate(part, figure)
            else:
                self._draw(part, figure, self.folder / f"{stem}.png")

    def remove_others(self) -> None:
        """Pictures of an earlier report that would be taken for ours."""
        anchors = "|".join(chapter.anchor for chapter in self.chapters)
        for path in self.folder.iterdir():
            if re.fullmatch(rf"({anchors})-\d\d-[a-z0-9-]+\.(png|jpg)", path.name) and path.stem not in self.stems:
                path.unlink()

    def _tabulate(self, part: Part, table: Table) -> None:
        rows = list(self._rows_with_room(table))
        part.table = replace(table, rows=rows)
        if len(rows) < len(table.rows):
            part.notes.append(f"The first {len(rows)} of {len(table.rows)} rows.")
        if not table.rows:
            part.notes.append("Nothing to show.")

    def _rows_with_room(self, table: Table) -> Iterator[Sequence[str | float]]:
        least = self.room - min(self.room, MOST_OF_TABLE)
        for row in table.rows:
            size = sum(TAGS + len(html.escape(number(value)).encode()) for value in row)
            if self.room - size < least:
                return
            self.room -= size
            yield row

    def _draw(self, part: Part, chart: Chart, file: Path) -> None:
        drawing = drawing_of(chart)
        content = draw_chart(drawing)
        write_atomic(file, content)
        part.kind, part.words, part.wide = "chart", drawing.words, drawing.wide
        part.notes += [drawing.remark] if drawing.remark else []
        uri = data_uri(content, "png")
        if len(uri) > self.room:
            part.notes.append(f"This page has no room for the diagram; it is in the file {file.name}.")
            return
        self.room -= len(uri)
        part.picture = Picture(uri, Image.open(BytesIO(content)).size)
        if isinstance(chart, Matrix):
            self._tabulate(part, frequent_errors(chart))


def _score(value: float | None) -> str:
    return NOT_AVAILABLE if value is None else number(float(value))
