from __future__ import annotations

import sys
from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from multitask.charting import COLOURS, blank_figure
from multitask.errors import UsageError
from multitask.reports.charts import draw_chart, drawing_of
from multitask.reports.matrix import frequent_errors

from .samples import NAMES, RAMP, bars, lines, matrix

NAN = np.full(50, np.nan)
EMPTY = {
    "no lines": replace(lines(), lines={}),
    "lines without a point": replace(lines(), lines={"a": (RAMP, NAN), "b": (NAN, RAMP)}),
    "no stacks": replace(bars(), stacks={}),
    "stacks without height": replace(bars(), stacks={"a": np.zeros(5), "b": np.full(5, np.nan)}),
    "no bars": replace(bars(), edges=np.zeros(1), stacks={"a": np.zeros(0)}),
    "bars at infinity": replace(bars(), edges=np.full(6, np.inf)),
    "bars from nought on, of logarithms": replace(bars(), log=True),
    "a matrix of nought": replace(matrix(["a", "b"]), values=np.zeros((2, 2), dtype=np.int64)),
    "a matrix of nothing": replace(matrix([]), values=np.zeros((0, 0), dtype=np.int64)),
}


def pixels(chart):
    return np.asarray(Image.open(BytesIO(draw_chart(drawing_of(chart)))).convert("RGB")).astype(int)


def drawn(found, number=0):
    """Pixels of the colour of a line or stack."""
    colour = [int(COLOURS[number][i : i + 2], 16) for i in (1, 3, 5)]
    return int((abs(found - colour).sum(-1) < 30).sum())


def test_every_line_and_stack_has_its_colour_and_a_place_in_the_legend() -> None:
    for chart in (lines(), bars(), bars(log=True)):
        found = pixels(chart)
        assert drawn(found, 0) > 500 < drawn(found, 1) and not drawn(found, 2) and found.shape[1] == 910
        assert drawing_of(chart).keys == list(getattr(chart, "lines", None) or chart.stacks)


def test_a_line_breaks_where_it_is_not_a_number_and_needs_no_more_than_a_point() -> None:
    whole, point = np.full(50, 0.5), np.where(RAMP == 1, 0.5, np.nan)
    broken = np.where((RAMP > 0.3) & (RAMP < 0.6), np.nan, 0.5)
    counts = [drawn(pixels(replace(lines(), lines={"a": (RAMP, y)}))) for y in (whole, broken, point, NAN)]
    assert counts[0] > 1.2 * counts[1] > counts[2] > counts[3] == 0
    assert drawn(pixels(replace(lines(), lines={"a": (RAMP[:1], RAMP[:1])}))) > 50


@pytest.mark.parametrize("what", EMPTY)
def test_where_there_is_nothing_to_show_it_says_so(what: str) -> None:
    drawing = drawing_of(EMPTY[what])
    assert drawing.empty and not drawing.keys[2:]
    found = pixels(EMPTY[what])
    assert found.min() < 200 and found.shape[0] < 200  # words alone
    assert not drawn(found)


@pytest.mark.parametrize("chart", [lines(NAMES), bars(NAMES), matrix(NAMES)], ids=["lines", "bars", "matrix"])
def test_no_name_is_a_formula_and_long_ones_are_cut(chart) -> None:
    hostile = replace(
        chart, **dict.fromkeys(("x", "y") if hasattr(chart, "x") else ("row_axis", "column_axis"), NAMES[3])
    )
    drawing = drawing_of(hostile)
    assert draw_chart(drawing).startswith(b"\x89PNG")
    assert all(key.isprintable() and len(key) <= 40 for key in [*drawing.keys, drawing.remark[:1]])
    assert drawing.words.isprintable()


def test_the_same_chart_is_the_same_bytes() -> None:
    assert draw_chart(drawing_of(lines())) == draw_chart(drawing_of(lines()))


def test_a_histogram_of_logarithms_is_labelled_as_people_count() -> None:
    axes = blank_figure(7, 4).add_subplot()
    drawing_of(bars(log=True)).draw(axes)
    assert [label.get_text() for label in axes.get_xticklabels()] == ["10", "20", "50", "100", "200"]


def test_many_lines_are_cut_and_their_legend_has_room_below() -> None:
    many = lines([f"category {i}" for i in range(30)])
    assert drawing_of(many).remark == "The first 21 of 30 lines."
    assert pixels(many).shape[0] > 1.3 * pixels(lines()).shape[0]


def test_of_a_large_matrix_the_most_confused_are_kept() -> None:
    names = [f"category {i}" for i in range(81)]
    values = 100 * np.eye(81, dtype=np.int64)
    values[70, 75] = 9
    values[3, 80] = 8
    drawing = drawing_of(replace(matrix(names), values=values))
    assert {3, 70, 75, 80} <= set(drawing.rows.tolist()) == set(drawing.columns.tolist()) and drawing.wide
    assert len(drawing.rows) == 24 and "the 24 of 81 names" in drawing.remark
    assert pixels(replace(matrix(names), values=values)).shape[0] < 1100
    assert "24" not in drawing_of(matrix(names[:24])).remark


def test_a_matrix_need_not_be_square() -> None:
    chart = replace(matrix(["a", "b"]), columns=[str(i) for i in range(40)], values=np.arange(80).reshape(2, 40))
    assert drawing_of(chart).columns.tolist() == [*range(16, 40)] and pixels(chart).min() < 100
    assert not frequent_errors(chart).rows


def test_the_most_frequent_errors_leave_out_what_is_right() -> None:
    values = np.array([[50, 2, 0], [7, 60, 1], [0, 0, 0]])
    found = frequent_errors(replace(matrix(["a", "b", "none"]), values=values))
    assert found.rows == [("b", "a", 7), ("a", "b", 2), ("b", "none", 1)]


def test_matplotlib_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(UsageError, match=r"pip install 'multitask-prompts\[plot\]'"):
        draw_chart(drawing_of(lines()))
