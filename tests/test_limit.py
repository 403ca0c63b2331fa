"""Limits as they are asked for."""

from __future__ import annotations

import math

import pytest

import pipeloom
from pipeloom import Limit


async def later(_item):
    """Return nothing, later."""


@pytest.mark.parametrize(
    ("wrong", "error", "sentence"),
    [
        ({}, ValueError, "pass rate= (how many may begin in per_s= seconds), at_once= or both"),
        ({"rate": 0}, ValueError, "rate must be above 0, not 0"),
        ({"rate": math.inf}, ValueError, "rate must be above 0, not inf"),
        ({"rate": math.nan}, ValueError, "rate must be above 0, not nan"),
        ({"rate": "5"}, TypeError, "rate must be a number, not str"),
        ({"rate": True}, TypeError, "rate must be a number, not bool"),
        ({"rate": 5, "per_s": -1}, ValueError, "per_s must be above 0, not -1"),
        ({"rate": 5, "burst": 0}, ValueError, "burst must be above 0, not 0"),
        ({"at_once": 0}, ValueError, "at_once must be at least 1, not 0"),
        ({"at_once": 1.5}, TypeError, "at_once must be an int, not float"),
        ({"at_once": 1, "per": "host"}, TypeError, "per must be a function of an input, not str"),
        ({"at_once": 1, "per": later}, TypeError, "per must return at once, so it cannot be an async def"),
        ({"rate": 1, "weight": later}, TypeError, "weight must return at once, so it cannot be an async def"),
        (
            {"at_once": 1, "weight": len},
            ValueError,
            "weight=, per_s= and burst= have no effect without rate=: pass rate= as well",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(wrong, error, sentence):
    """When it is made, in one sentence."""
    with pytest.raises(error) as caught:
        Limit(**wrong)

    assert str(caught.value) == f"Limit: {sentence}"


def test_a_run_takes_one_or_several(db):
    """And nothing else."""
    limits = [Limit(at_once=2), Limit(rate=1e6, burst=1e6)]
    assert pipeloom.map(str, range(5), db=db, limit=limits[0], progress=False).done == 5
    assert pipeloom.map(str, range(9), db=db, limit=limits, progress=False).done == 4

    with pytest.raises(TypeError, match="limit"):
        pipeloom.map(str, range(5), db=db, limit=5)
    with pytest.raises(TypeError, match="limit"):
        pipeloom.map(str, range(5), db=db, limit=[limits[0], 5])


def test_a_run_without_a_ledger_keeps_its_limits(db):
    """They have nothing to do with keys."""
    began = []
    pipeloom.run_pipeline(
        range(30), db, worker_fn=lambda item, _: began.append(item), limit=Limit(at_once=1), progress=False,
        store_task_status=False, workers=4,
    )  # fmt: skip

    assert sorted(began) == list(range(30))
