from __future__ import annotations

import re
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from multitask.data.scored import Scored
from multitask.evaluate import Evaluation
from multitask.reports import report
from multitask.reports.evaluation import report_evaluation
from multitask.reports.gallery import Order, fill_all
from multitask.reports.page import Part
from multitask.reports.report import Section, write_report
from multitask.reports.words import number, slugs

from .samples import NAMES, captions, everything, gallery, image, lines, matrix, table

LIMIT = 5_000_000
VOID = {"meta", "link", "img"}


class Read(HTMLParser):
    """Tags, attributes and text of a page whose tags are all closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(page)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.open += [] if tag in VOID else [tag]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += "" if self.open[-1:] == ["style"] else f"{data.strip()}\n" * bool(data.strip())

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def write(folder, *figures, title="det", scores=None, facts=None):
    section = Section(title, {"AP": 0.4123} if scores is None else scores, figures, image)
    path = write_report(folder, "run on data", facts or {"made": "today"}, [section])
    return Read(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """The folder and the page of a report that is full of odd names."""
    folder = tmp_path_factory.mktemp("hostile")
    return folder, write(folder, *everything(), title=NAMES[0], scores={NAMES[1]: 1.0}, facts={NAMES[2]: NAMES[4]})


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_page_shows_every_kind_of_figure_and_its_pictures_are_files_too(tmp_path) -> None:
    page = write(tmp_path / "new" / "report", lines(), matrix(["a", "b"]), table(), gallery((0, 13)), captions())
    pictures = ["det-01-curves.png", "det-02-confusion.png", "det-03-missed.jpg", "det-04-captions.jpg"]
    assert names(tmp_path / "new" / "report") == [*pictures, "index.html"]
    for name in pictures:
        Image.open(tmp_path / "new" / "report" / name).load()
    shown = page.text.splitlines()
    for words in ("run on data", "today", "0.412", "A note.", "0.500", "a red disc", "a star", "image 0, 0.png"):
        assert words in shown
    assert "The image cannot be read: 13.png: is <b>empty</b>" in shown
    assert len(page.all("img")) == 4 and all(attributes["alt"] for attributes in page.all("img"))


def test_nothing_is_loaded_and_nothing_runs(hostile) -> None:
    folder, page = hostile
    assert {"script", "iframe", "object", "embed", "base", "form", "audio", "video"}.isdisjoint(dict(page.tags))
    for tag, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on")], tag
        for name in ("src", "href", "srcset", "data", "action", "poster", "style"):
            assert re.match(r"data:|#[a-z0-9-]+$", attributes.get(name) or "#x"), (tag, attributes)
    (policy,) = [a["content"] for a in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy"]
    assert "default-src 'none'" in policy and "script" not in policy
    assert not re.search(r"url\(|@import", (folder / "index.html").read_text(encoding="utf-8"))


def test_names_are_shown_as_they_are_and_never_become_tags_or_files(hostile, tmp_path) -> None:
    folder, page = hostile
    plain = write(tmp_path, *everything("abcdefgh"), title="x")
    assert [tag for tag, _ in page.tags] == [tag for tag, _ in plain.tags]
    for name in (*NAMES[:4], NAMES[6], r"\x1b[31m\x00\n\u202e\ud800"):
        assert name in page.text.splitlines()
    assert all(line.isprintable() for line in page.text.splitlines()) and "49" not in page.text
    assert max(map(len, page.text.splitlines())) <= 320
    assert all(re.fullmatch(r"[a-z0-9-]{1,90}\.(png|jpg|html)", name) for name in names(folder))


def test_the_same_figures_are_the_same_files(tmp_path) -> None:
    for folder in (tmp_path / "a", tmp_path / "b"):
        write(folder, lines(), matrix(["a", "b"]), gallery())
    assert names(tmp_path / "a") == names(tmp_path / "b")
    assert all((tmp_path / "a" / n).read_bytes() == (tmp_path / "b" / n).read_bytes() for n in names(tmp_path / "a"))


def test_no_picture_of_an_earlier_report_is_left_and_nothing_else_is_touched(tmp_path) -> None:
    others = ["det-1.png", "my-01-lines.png", "det-01-curves.txt", "det-01-Own.png"]
    for name in others:
        (tmp_path / name).write_bytes(b"")
    write(tmp_path, gallery(), lines())
    assert {"det-01-missed.jpg", "det-02-curves.png"} <= {*names(tmp_path)}
    write(tmp_path, lines())
    assert names(tmp_path) == sorted([*others, "det-01-curves.png", "index.html"])


def test_scores_that_are_not_there_are_told_apart(tmp_path) -> None:
    page = write(tmp_path, scores={"METEOR": None, "APs": float("nan"), "AP": 0.0})
    assert page.text.splitlines()[-7:-1] == ["METEOR", "not available", "APs", "–", "AP", "0.000"]


def test_a_report_may_be_empty(tmp_path) -> None:
    path = write_report(tmp_path, "nothing", {}, [])
    assert "Nothing was scored." in Read(path.read_text(encoding="utf-8")).text
    page = write(tmp_path, gallery(()), table(()))
    assert page.text.count("Nothing to show.") == 2 and names(tmp_path) == ["index.html"]


def test_sections_are_reached_from_the_top_even_where_names_are_alike(tmp_path) -> None:
    sections = [Section(title, {}, [lines()], image) for title in ("det@a b", "det@a/b", "斑马")]
    page = Read(write_report(tmp_path, "", {}, sections).read_text(encoding="utf-8"))
    targets = [attributes["href"][1:] for attributes in page.all("a")]
    assert targets == [attributes["id"] for attributes in page.all("section")] == ["det-a-b", "det-a-b-2", "part"]
    assert len(names(tmp_path)) == 4


def test_long_tables_are_folded(tmp_path) -> None:
    page = write(tmp_path, table([str(i) for i in range(80)]), table())
    assert len(page.all("details")) == 1 and "80 rows" in page.text and len(page.all("tr")) == 84


# --------------------------------------------------------------------------------------------------------------- size


def filled(count, room):
    """A gallery of so many cases of noise, in so many bytes."""
    part = Part("", [])
    order = Order(gallery(range(100, 100 + count)), image, part, SimpleNamespace())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("multitask.reports.gallery.write_atomic", lambda path, content: None)
        fill_all([order], room)
    return part, sum(len(picture.uri) for _, picture in part.cases if picture)


def test_pictures_become_smaller_and_then_fewer(tmp_path) -> None:
    part, most = filled(4, 10_000_000)
    assert len(part.cases) == 4 and not part.notes and most > 400_000
    part, size = filled(4, 200_000)
    assert len(part.cases) == 4 and 50_000 < size <= 200_000 and all(picture for _, picture in part.cases)
    part, size = filled(4, 60_000)
    assert len(part.cases) == 2 and size <= 60_000 and part.notes[0].startswith("2 of 4 are shown")
    assert filled(4, -5)[0].cases == []


def test_a_page_of_two_hundred_cases_of_noise_is_below_five_megabytes(tmp_path) -> None:
    figures = [lines(), matrix([str(i) for i in range(80)]), table([str(i) * 50 for i in range(30_000)])]
    page = write(tmp_path, *figures, gallery(range(100, 300)))
    assert 3_000_000 < (tmp_path / "index.html").stat().st_size < LIMIT
    assert re.search(r"The first \d+ of 30000 rows\.", page.text) and re.search(r"\d+ of 200 are shown", page.text)
    assert len(page.all("img")) > 100


def test_a_diagram_without_room_is_named(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "CONTENT", 1000)
    page = write(tmp_path, lines(), table(["a"] * 100))
    assert not page.all("img") and "it is in the file det-01-curves.png." in page.text
    assert (tmp_path / "det-01-curves.png").read_bytes().startswith(b"\x89PNG")
    assert re.search(r"The first \d+ of 100 rows", page.text)


# --------------------------------------------------------------------------------------------------------- evaluation


class Metric:
    unavailable = ("METEOR",)

    def compute(self):
        return {"AP": 0.25}

    def per_category(self):
        return {"disc": {"AP": 0.5}, "star": {"AP": float("nan")}}

    def figures(self):
        return [gallery((2,))]


def test_an_evaluation_tells_what_each_metric_has(tmp_path, toys) -> None:
    dataset = toys.Dataset(5)
    found = Evaluation("runs/a on toys", [Scored("find", dataset, Metric())], SimpleNamespace())
    page = Read(report_evaluation(found, tmp_path).read_text(encoding="utf-8"))
    shown = page.text.splitlines()
    for words in ("runs/a on toys", "toys toy, 5 images", "0.250", "not available", "disc", "0.500", "–"):
        assert words in shown
    assert "image 2, toys/2.png" in shown and re.search(r"^20\d\d-\d\d-\d\d \d\d:\d\d", page.text, re.MULTILINE)


def test_numbers_are_shown_as_people_read_them() -> None:
    values = (1234, np.int64(5), 0.12345, np.float32(1.0), float("nan"), "a\nb")
    assert [number(value) for value in values] == ["1,234", "5", "0.123", "1.000", "–", "a\\nb"]
    assert slugs(["Größe (px)", "Groe--px", "", "../x", "斑马"]) == ["groe-px", "groe-px-2", "part", "x", "part-2"]
