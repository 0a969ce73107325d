from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from multitask.decoding.grammar_table import GrammarTable
from multitask.sequence.grammar import END, Grammar, State, Stop
from multitask.sequence.ids import Ids

VOCAB = 20
CPU = torch.device("cpu")
LOW, HIGH = Ids(((0, 5),)), Ids(((10, 14), (18, 20)))
ONE = Grammar((State(((LOW, 1), (Ids.of(7), END)), read=LOW, window=2), State(((HIGH, 0),), not_below=3)), 9)
TWO = Grammar(
    (
        State(
            ((HIGH, 0), (LOW, END)),
        ),
    ),
    9,
    Stop(Ids.of(2, 8), 4, 0.25),
)

ENDS = Grammar((State(((LOW, END),)),), 9)


def columns(table: GrammarTable, states: list[int]) -> dict[int, dict[int, tuple]]:
    """By state, then by id that is allowed there: (read, stop, next state)."""
    view = table.slice(states)
    ids, told = view.ids.tolist(), view.told
    return {
        s: {
            ids[k]: (not told.unread[r, k], bool(told.stop[r, k]), END if told.ends[r, k] else int(view.onward[r, k]))
            for k in range(len(ids))
            if not view.forbidden[r, k]
        }
        for s, r in zip(states, view.row[states].tolist(), strict=True)
    }


def test_states_are_numbered_through_and_equal_grammars_share_theirs():
    same = Grammar(ONE.states, ONE.max_tokens)
    table = GrammarTable([TWO, ONE, same, TWO], VOCAB, CPU)
    assert table.start([ONE, TWO, same]) == [1, 0, 1]
    view = table.slice([0, 1, 2])
    assert view.row.tolist() == [0, 1, 2]
    assert view.told.window.tolist() == [[0], [2], [0]]
    assert view.not_below.tolist() == [0, 0, 3]
    assert view.told.has_read.tolist() == [False, True, False]
    assert view.told.threshold[0] == 0.25 and min(view.told.threshold[1:]) > 1
    assert view.bounded and not table.slice([0, 1]).bounded


def test_the_host_knows_where_states_can_lead():
    table = GrammarTable([ONE, TWO, ENDS], VOCAB, CPU)
    assert table.after({0: 9, 2: 5}, 3) == {1: 9, 2: 5}
    assert table.after({0: 9, 2: 5}, 5) == {1: 9}  # rows of the second grammar have drawn all they may
    assert table.after({3: 9}, 1) == {}
    assert table.slice([2]).onward.tolist() == [[2] * len(table.slice([2]).ids)]


def test_a_slice_says_what_each_state_allows_reads_and_leads_to():
    found = columns(GrammarTable([ONE, TWO], VOCAB, CPU), [0, 1, 2])
    assert found[0] == dict.fromkeys(LOW, (True, False, 1)) | {7: (False, False, END)}
    assert found[1] == dict.fromkeys(HIGH, (True, False, 0))  # without a read set, everything allowed is read
    assert found[2] == dict.fromkeys(HIGH, (True, False, 2)) | {i: (True, i == 2, END) for i in LOW}


def test_a_slice_has_the_columns_of_the_present_states_alone_in_order():
    table = GrammarTable([ONE, TWO], VOCAB, CPU)
    assert table.slice([0, 0]).ids.tolist() == [*LOW, 7]
    assert table.slice([1, 0]).ids.tolist() == [*LOW, 7, *HIGH]
    assert table.slice([0, 1, 0]) is table.slice([1, 0])


ranges = st.tuples(st.integers(0, VOCAB - 1), st.integers(1, 6)).map(lambda r: (r[0], min(VOCAB, r[0] + r[1])))


@st.composite
def any_grammar(draw):
    count = draw(st.integers(1, 3))
    states = []
    for _ in range(count):
        cuts = sorted(draw(st.sets(st.integers(0, VOCAB), min_size=2, max_size=5)))
        arcs = tuple((Ids((r,)), draw(st.integers(-1, count - 1))) for r in pairwise(cuts))
        read = draw(st.none() | ranges.map(lambda r: Ids((r,))))
        allowed = State(arcs).allowed()
        states.append(State(arcs, read if read is None or read.overlaps(allowed) else allowed))
    return Grammar(
        tuple(states), 5, draw(st.none() | st.builds(Stop, ranges.map(lambda r: Ids((r,))), st.just(2), st.just(0.5)))
    )


@settings(derandomize=True, deadline=None, max_examples=60)
@given(grammars=st.lists(any_grammar(), min_size=1, max_size=3), data=st.data())
def test_slices_of_any_grammars_equal_their_definition(grammars, data):
    table = GrammarTable(grammars, VOCAB, CPU)
    rows = data.draw(st.lists(st.sampled_from(grammars), min_size=1, max_size=4))
    starts = table.start(rows)
    for start, grammar in zip(starts, rows, strict=True):
        for number, found in columns(table, [start + s for s in range(len(grammar.states))]).items():
            state = grammar.states[number - start]
            expected = {
                token: (
                    state.read is None or token in state.read,
                    grammar.stop is not None and token in grammar.stop.ids,
                    target if target == END else target + start,
                )
                for ids, target in state.arcs
                for token in ids
            }
            assert found == expected


@pytest.mark.parametrize(
    ("states", "max_tokens", "problem"),
    [
        ((), 5, "needs states"),
        ((State(((LOW, 0),)),), 0, "max_tokens >= 1"),
        ((State(()),), 5, "state 0 allows no token"),
        ((State(((Ids(), 0),)),), 5, "state 0 allows no token"),
        ((State(((LOW, 1),)), State(((LOW, 2),))), 5, "state 1 leads to 2; states are 0 to 1"),
        ((State(((LOW, -2),)),), 5, "leads to -2"),
    ],
)
def test_a_grammar_that_cannot_work_is_refused(states, max_tokens, problem):
    with pytest.raises(ValueError, match=problem):
        Grammar(states, max_tokens)
