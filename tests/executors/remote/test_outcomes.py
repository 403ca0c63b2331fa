"""Outcomes and outputs as they are sent between processes, and what else a worker may send in their stead."""

from __future__ import annotations

import os

import pytest

from pipeloom.data.rows import Block, Shape, Statement
from pipeloom.data.spool import Spool
from pipeloom.executors.processes.pipe import Message
from pipeloom.executors.remote.forms import encode, read_ended
from pipeloom.executors.remote.outcomes import ended, outcome_of, output_of, parcel_of
from pipeloom.wire import NO_RETRY, RetryDecision
from pipeloom.worker.task import Task

SHAPE = Shape("t", ("n", "x"), "error", ())


@pytest.fixture
def sent(tmp_path):
    """An output with a file, and how it is sent."""
    spool = Spool(str(tmp_path))
    spool.extend([[Block(SHAPE, [(n, "x" * n) for n in range(5)])]])
    yield parcel_of([spool, Statement("DELETE FROM t", ())], 5, 100)
    spool.close()


def test_an_output_comes_back_with_its_file(sent):
    """It has a descriptor of its own."""
    parcel, luggage = sent
    found, statement = output_of(parcel, Message(b"", *luggage))

    assert found.rows == 5
    assert found.fileno() not in luggage[1]
    assert statement == Statement("DELETE FROM t", ())
    found.close()


@pytest.mark.parametrize("what", ["nothing", "two", "directory", "pipe", "device", "empty file"])
def test_what_is_no_file_of_rows_is_refused(sent, tmp_path, what):
    """Before anybody reads it, which might never end."""
    parcel, luggage = sent
    reading, writing = os.pipe()
    (tmp_path / "empty").touch()
    opened = {
        "directory": os.open(tmp_path, os.O_RDONLY),
        "device": os.open("/dev/zero", os.O_RDWR),
        "empty file": os.open(tmp_path / "empty", os.O_RDWR),
        "pipe": reading,
    }
    descriptors = {"nothing": [], "two": [*luggage[1]] * 2, **{one: [opened[one]] for one in opened}}[what]
    try:
        with pytest.raises(ValueError, match="file"):
            output_of(parcel, Message(b"", luggage[0], descriptors))
    finally:
        for descriptor in (*opened.values(), writing):
            os.close(descriptor)


def test_what_is_told_of_a_file_may_be_anything(sent):
    """It is an error of whoever tells it."""
    parcel, luggage = sent
    for plain in (5, (), (1, 2, 3), ([], [1], 5), ([(-1, 5, [])], [], 5), ([("a", "b", "c")], [], 1)):
        with pytest.raises(ValueError):
            output_of(type(parcel)(parcel.parts, plain, 5, 5), Message(b"", *luggage))


def failure_sent(decision):
    """Return an outcome as it comes from a worker."""
    task = Task(1, 1, 1, "1")
    failed = ValueError("no"), "trace", decision
    word, _ = ended(task, 1, 0, "1", ("error", "no", None, failed, None, "2026-01-01T00:00:00+00:00", 0.1))
    return read_ended(encode(word))


@pytest.mark.parametrize("decision", [NO_RETRY, RetryDecision(2.5, counts=False, complaint="why")])
def test_what_the_worker_decided_comes_with_it(decision):
    """Whether there is another try, when, and what was wrong with the policy."""
    assert outcome_of(failure_sent(decision))[3][2] == decision


@pytest.mark.parametrize("after_s", [float("nan"), float("inf"), -1.0])
def test_a_wait_that_makes_no_sense_is_nothing_of_ours(after_s):
    """Whoever waited so long would never end."""
    with pytest.raises(ValueError, match="a retry after"):
        outcome_of(failure_sent(RetryDecision(after_s)))
