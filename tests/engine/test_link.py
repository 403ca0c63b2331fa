"""The way from workers to the writer."""

from __future__ import annotations

import gc
import queue
import sys
import threading

import pytest
from worker.recording import brief_for

from pipeloom.data.weights import SLOT
from pipeloom.engine.link import WriterLink
from pipeloom.errors import AttemptOverError
from pipeloom.ledger import Attempt, Spoken, StagedCheckpoint
from pipeloom.wire import Checkpoint, Query, StateOf
from pipeloom.writer import Channel
from pipeloom.writer.requests import Request

LONG_S = 10.0


class Ledger:
    """Answers with what it was asked."""

    def query(self, sql, params, give_up):
        self.give_up = give_up
        return [(sql, *params)]

    def state_of(self, number):
        return f"state of {number}"


class Writer:
    """Takes requests, and answers when it is told to."""

    def __init__(self):
        self.requests = []

    def submit(self, request):
        self.requests.append(request)
        return request

    def request(self, function):
        return self.submit(Request(function))

    def answer(self, ledger):
        request = self.requests.pop()
        request.give(request.function(ledger))


def never():
    """The task goes on."""


def over():
    raise AttemptOverError("the task has ended")


@pytest.fixture
def attempt():
    return Attempt("item", 7, "key", "name", "new")


@pytest.fixture
def channel():
    return Channel(10)


@pytest.fixture
def writer():
    return Writer()


@pytest.fixture
def link(channel, writer):
    return WriterLink(brief_for(print), channel, writer, intake=None)


def test_questions_are_answered_by_the_ledger(link, attempt, writer):
    """Rows to a query, and the last state, by number."""
    rows = link.ask(attempt, Query("SELECT", (1,)), never)
    writer.answer(Ledger())
    state = link.ask(attempt, StateOf(7), never)
    writer.answer(Ledger())

    assert rows.result() == [("SELECT", 1)]
    assert state.result() == "state of 7"


def test_a_query_that_nobody_awaits_is_given_up(link, attempt, writer):
    """Once whoever asked has stopped waiting for it, and not before."""
    ledger = Ledger()
    reply = link.ask(attempt, Query("SELECT", ()), never)
    request = writer.requests[0]
    request.function(ledger)
    assert not ledger.give_up()

    with pytest.raises(AttemptOverError):
        reply.result(over)
    assert ledger.give_up()


def test_an_answered_query_is_freed_at_once(link, attempt, writer):
    """Its rows may be many: they must not wait for the garbage collector."""
    answer = object()

    class Full(Ledger):
        def query(self, *question):
            return [answer]

    gc.disable()
    try:
        before = sys.getrefcount(answer)
        reply = link.ask(attempt, Query("SELECT", ()), never)
        writer.answer(Full())
        assert reply.result() == [answer]
        del reply
        assert sys.getrefcount(answer) == before
    finally:
        gc.enable()


def test_a_checkpoint_goes_through_the_channel_by_its_weight(link, attempt, channel):
    """In its order with what else the task says, and is answered there."""
    reply = link.ask(attempt, Checkpoint("1", [], 40, 6 * SLOT), never)
    link.say(attempt, "x", never, block=True, timeout=None)

    assert link.backlog() == (7, 10)
    assert channel.take(0) + channel.take(0) == [reply, Spoken(attempt, "x")]
    assert isinstance(reply, StagedCheckpoint)
    assert (reply.attempt, reply.state, reply.rows) == (attempt, "1", 40)


def test_a_message_goes_through_the_channel_by_its_weight(link, attempt, channel):
    """Whatever it is: it waits for the same commit as others."""
    link.say(attempt, ["x" * 5 * SLOT], never, block=True, timeout=None)

    assert link.backlog() == (5, 10)
    channel.take(0)


def test_a_full_channel_refuses_who_may_not_wait(link, attempt, channel):
    """At once, or when the time is up."""
    channel.put("x", weight=10)

    assert link.backlog() == (10, 10)
    for block, timeout in ((False, None), (True, 0.01)):
        with pytest.raises(queue.Full):
            link.say(attempt, "y", never, block=block, timeout=timeout)


def test_who_waits_for_room_looks_whether_the_task_goes_on(link, attempt, channel):
    """A few times a second; when it has ended, nothing is sent."""
    channel.put("x", weight=10)
    with pytest.raises(AttemptOverError):
        link.say(attempt, "y", over, block=True, timeout=None)
    with pytest.raises(AttemptOverError):
        link.ask(attempt, Checkpoint("1", [], 0, 0), over)

    assert channel.take(0) == ["x"]


def test_who_waits_for_room_goes_on_when_there_is_some(link, attempt, channel):
    """Whatever it waited for."""
    channel.put("x", weight=10)
    looked = threading.Event()
    speaking = threading.Thread(target=lambda: link.say(attempt, "y", looked.set, block=True, timeout=None))
    speaking.start()
    assert looked.wait(LONG_S)
    assert channel.take(0) == ["x"]
    speaking.join(LONG_S)

    assert channel.take(0) == [Spoken(attempt, "y")]
