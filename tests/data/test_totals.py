"""How the inputs of a run ended, counted and in words."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from pipeloom.data.totals import SKIPPED, how_many, in_order, totals, totals_of
from pipeloom.statuses import CANCELLED, DONE, ERROR, FAILED, QUEUED, RUNNING, TIMED_OUT

RUN = SimpleNamespace(done=1, failed=2, timed_out=3, cancelled=4, skipped=5)
NOTHING = SimpleNamespace(done=0, failed=0, timed_out=0, cancelled=0, skipped=0)


def test_every_way_to_end_has_its_words_and_its_place():
    """Done comes first, what was done before comes last."""
    assert totals(RUN) == [
        (DONE, "done", 1),
        (ERROR, "failed", 2),
        (TIMED_OUT, "timed out", 3),
        (CANCELLED, "cancelled", 4),
        (SKIPPED, "skipped", 5),
    ]


@pytest.mark.parametrize("always", [(DONE,), (DONE, ERROR), ()])
def test_zero_is_told_only_of_what_is_asked_for(always):
    """Done, unless other kinds are named."""
    assert totals(NOTHING, always) == [(kind, word, 0) for kind, word, _ in totals(RUN) if kind in always]
    assert totals(NOTHING) == [(DONE, "done", 0)]


def test_counts_by_status_are_told_alike():
    """A kind without words is left out."""
    assert totals_of({ERROR: 2, QUEUED: 7}) == [(DONE, "done", 0), (ERROR, "failed", 2)]


@pytest.mark.parametrize(("kinds", "number"), [((), 0), ((DONE,), 1), (FAILED, 9), ((SKIPPED, "made up"), 5)])
def test_inputs_of_several_kinds_are_added(kinds, number):
    """A kind that a run does not count adds nothing; without any named, all of them."""
    assert how_many(RUN, kinds) == number
    assert how_many(RUN) == 15


def test_statuses_come_in_the_order_in_which_people_look_for_them():
    """What is going on, what is done, what failed; what somebody made up comes last."""
    told = {"zapped": 1, CANCELLED: 2, "blue": 3, DONE: 4, ERROR: 5, QUEUED: 6, RUNNING: 7}

    assert in_order(told) == [RUNNING, QUEUED, DONE, ERROR, CANCELLED, "blue", "zapped"]
