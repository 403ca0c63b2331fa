"""Allocate the ids of new rows."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor

from pipeloom.ledger.ids import IdAllocator, IdSeries


def test_ids_ascend_beyond_what_is_on_file():
    """Each is given out once; none is a range of none."""
    ids = IdAllocator(41)

    assert list(ids.give(3)) == [42, 43, 44]
    assert list(ids.give(0)) == []
    assert list(ids.give(1)) == [45]


def test_what_somebody_claims_is_not_given_out():
    """Whether it was before is the answer; what lies below has a row, if any, and was never ours to give."""
    ids = IdAllocator(10)
    ids.give(2)

    assert ids.claim([12, 5, -3]) == {12}
    assert ids.claim([20]) == set()
    assert ids.claim([]) == set()
    assert list(ids.give(2)) == [21, 22]


def test_a_claim_may_be_repeated():
    """A batch that was lost is applied again, and a worker speaks of its number more than once, in any order."""
    ids = IdAllocator(10)
    for number in (20, 15, 20, 15, 30):
        assert ids.claim([number]) == set()
    assert list(ids.give(1)) == [31]
    ids.claim([40])

    assert ids.claim([12, 20, 31, 32, 40, 41]) == {31}


def test_a_number_at_the_very_end_leaves_room():
    """SQLite holds 64 bits: beyond such a row there would be no number for the next one."""
    ids = IdAllocator(10)
    ids.claim([2**62, 2**63 - 1])

    assert list(ids.give(1)) == [11]


def test_several_threads_get_ids_of_their_own():
    """At the same time."""
    ids = IdAllocator(0)
    with ThreadPoolExecutor(4) as pool:
        given = [number for part in pool.map(lambda _: list(ids.give(3)), range(500)) for number in part]

    assert sorted(given) == list(range(1, 1501))


def test_a_series_keeps_the_order_in_which_ids_came():
    """Whichever way they came; ranges take no room, and pickle keeps it."""
    series = IdSeries()
    for ids in (range(0), range(5, 8), [8, 9], iter([3, 4]), [], [10], range(11, 10**9), [1], [1]):
        series.extend(ids)

    assert len(pickle.dumps(series)) < 500
    found = iter(pickle.loads(pickle.dumps(series)))
    assert [next(found) for _ in range(10)] == [5, 6, 7, 8, 9, 3, 4, 10, 11, 12]


def test_a_series_ends_with_what_came_last():
    """A range is open at its end, and single ids are too."""
    series = IdSeries()
    for ids in ([7], [8], range(2, 3), [3], [2]):
        series.extend(ids)

    assert list(series) == [7, 8, 2, 3, 2]
    assert list(IdSeries()) == []
