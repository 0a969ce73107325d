from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from multitask.sequence.ids import Ids

ranges = st.lists(st.integers(0, 50), max_size=8, unique=True).map(
    lambda cuts: Ids(tuple(zip(sorted(cuts)[::2], sorted(cuts)[1::2], strict=False)))
)


@settings(derandomize=True, deadline=None)
@given(ranges)
def test_every_view_of_a_set_agrees(ids: Ids):
    naive = [i for start, stop in ids.ranges for i in range(start, stop)]
    assert list(ids) == ids.array().tolist() == naive
    assert len(ids) == len(naive)
    assert np.flatnonzero(ids.mask(60)).tolist() == sorted(naive)
    assert [i for i in range(60) if i in ids] == sorted(naive)
    assert ids.array().dtype == np.int64


@settings(derandomize=True, deadline=None)
@given(ranges, ranges)
def test_union(one: Ids, other: Ids):
    assert set(one | other) == set(one) | set(other)
    assert one | one == one
    assert hash(one | other) == hash(one | other)


def test_single_ids_in_their_order_and_once():
    assert Ids.of(7, 3, 7).ranges == ((7, 8), (3, 4))
    assert np.int64(3) in Ids.of(3) and 4 not in Ids.of(3) and "3" not in Ids.of(3) and 3.0 not in Ids.of(3)
    assert not len(Ids()) and not Ids().mask(4).any() and Ids().array().shape == (0,)
