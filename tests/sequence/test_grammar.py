from __future__ import annotations

import pytest

from multitask.sequence.grammar import END, Grammar, State
from multitask.sequence.ids import Ids
from multitask.testing import tiny_vocabulary

ONE, TWO = Ids.of(1), Ids.of(2)


def test_a_grammar_is_data():
    grammar = Grammar((State(((ONE, 1),)), State(((TWO, 0), (Ids.of(3), END)))), 8)
    assert list(grammar.states[1].allowed()) == [2, 3]
    again = Grammar((State(((ONE, 1),)), State(((TWO, 0), (Ids.of(3), END)))), 8)
    assert grammar == again and hash(grammar) == hash(again)
    assert grammar.stop is None


@pytest.mark.parametrize(
    ("states", "max_tokens", "message"),
    [
        ((), 5, "needs states and max_tokens >= 1, got 0, 5"),
        ((State(((ONE, 0),)),), 0, "needs states and max_tokens >= 1, got 1, 0"),
        ((State(()),), 5, "state 0 allows no token"),
        ((State(((ONE, 0),), read=Ids.of(99)),), 5, "state 0 reads ids that it does not allow"),
        ((State(((ONE, 1),)), State(((Ids(), 0),))), 5, "state 1 allows no token"),
        ((State(((ONE, 1),)),), 5, "state 0 leads to 1; states are 0 to 0"),
        ((State(((ONE, -2),)),), 5, "state 0 leads to -2"),
    ],
)
def test_what_leads_nowhere_is_refused(states: tuple, max_tokens: int, message: str):
    with pytest.raises(ValueError, match=message):
        Grammar(states, max_tokens)


def test_the_published_decoding_allows_everything_to_the_end():
    vocab = tiny_vocabulary([])
    grammar = Grammar.any(vocab, 7)
    assert list(grammar.states[0].allowed()) == list(range(len(vocab)))
    assert grammar.states[0].arcs[0][1] == 0 and grammar.max_tokens == 7 and grammar.stop is None
