"""Workers as threads, between a desk and the users' functions."""

from __future__ import annotations

import gc
import logging
import os
import queue
import threading
import weakref
from collections.abc import Iterator

import pytest
from worker.recording import RecordingLink, task_for

from pipeloom.errors import ChannelClosedError, TaskTimeoutError, WriterBrokenError
from pipeloom.executors import ThreadExecutor
from pipeloom.wire import Outcome
from pipeloom.worker.current import running_task
from pipeloom.worker.task import Task

LONG_S = 10.0


class Desk:
    """The run's side: hands out what it was given, and keeps what comes back.

    Attributes:
        outcomes: Item → its outcome.
        stored: The items that were handed over, in that order.
    """

    def __init__(self, function, items=(), *, places=1, **changes):
        self.link = RecordingLink(function, **changes)
        self.slots: list[Task | None] = [None] * places
        self._tasks = queue.SimpleQueue()
        for item in items:
            self._tasks.put(task_for(item))
        self.outcomes: dict[object, Outcome] = {}
        self.stored: list[object] = []
        self.events: list[tuple[str, object]] = []
        self.faults: list[BaseException] = []
        self.refuses: Exception | None = None

    def give(self, task: Task | None) -> None:
        self._tasks.put(task)

    def close(self) -> None:
        for _ in self.slots:
            self.give(None)

    def next(self) -> Task | None:
        return self._tasks.get(timeout=LONG_S)

    def end(self, task: Task, outcome: Outcome) -> None:
        assert task.item not in self.outcomes, "a try ends once"
        self.outcomes[task.item] = outcome
        task.status = outcome[0]

    def hand_over(self, task: Task) -> None:
        if self.refuses is not None:
            raise self.refuses
        self.stored.append(task.item)

    def returned(self, task: Task) -> None:
        self.events.append(("returned", task.item))

    def left(self, place: int) -> None:
        self.events.append(("left", place))

    def fail(self, error: BaseException) -> None:
        self.faults.append(error)


@pytest.fixture
def work() -> Iterator[object]:
    """Start an executor at a desk; it has ended when the test has."""
    started = []

    def start(desk: Desk, *, close: bool = True) -> ThreadExecutor:
        executor = ThreadExecutor(len(desk.slots))
        started.append((executor, desk))
        assert executor.start(desk) == set(range(len(desk.slots)))
        if close:
            desk.close()
        return executor

    yield start
    for executor, desk in started:
        desk.close()
        assert executor.join(LONG_S) == 0


# --- what a worker does ---


def test_every_task_is_performed_and_handed_over(work):
    """By several workers, each in its place; when there is nothing more to do they leave."""
    desk = Desk(lambda item: item * 2, range(20), places=3)
    executor = work(desk)

    assert executor.join(LONG_S) == 0
    assert {item: outcome[2] for item, outcome in desk.outcomes.items()} == {n: str(n * 2) for n in range(20)}
    assert sorted(desk.stored) == list(range(20))
    assert sorted(desk.events) == [("left", 0), ("left", 1), ("left", 2)]
    assert desk.slots == [None] * 3
    assert desk.faults == []


def test_a_task_that_runs_is_seen_in_its_place(work):
    """With the worker's name on it; the function finds it, too."""
    seen = []

    def function(item):
        task = desk.slots[0]
        seen.append((task.item, task.worker, task.status, running_task() is task))

    desk = Desk(function, ["x"])
    work(desk).join(LONG_S)

    assert seen == [("x", "thread-1", "running", True)]


def test_what_was_refused_at_the_door_is_only_handed_over(work):
    """It has ended already."""
    desk = Desk(lambda item: pytest.fail("called"))
    task = task_for("twice")
    task.status = "error"
    desk.give(task)
    work(desk).join(LONG_S)

    assert desk.stored == ["twice"]
    assert desk.outcomes == {}


class OfUsers(Exception):
    pass


def test_nothing_of_a_task_is_kept_while_the_next_one_runs(work):
    """Its outcome may hold many rows, and the next task may take long."""
    alive = []

    def function(item):
        if item == "fails":
            error = OfUsers()
            error.itself = weakref.ref(error)
            desk.error = error.itself
            raise error
        gc.collect()
        alive.append(desk.error() is not None)

    class ForgetfulDesk(Desk):
        def end(self, task, outcome):
            super().end(task, outcome)
            self.outcomes[task.item] = ()
            if outcome[3] is not None:
                outcome[3][0].with_traceback(None)  # as a run does once it is committed

    desk = ForgetfulDesk(function, ["fails", "next"])
    work(desk).join(LONG_S)

    assert alive == [False]


# --- how it ends otherwise ---


@pytest.mark.parametrize("error", [WriterBrokenError("gone"), ChannelClosedError("over")], ids=["broken", "closed"])
def test_a_worker_leaves_when_there_is_nobody_to_tell(work, error):
    """The run knows, and says why."""
    desk = Desk(str, range(3))
    desk.refuses = error
    work(desk).join(LONG_S)

    assert desk.events == [("left", 0)]
    assert len(desk.outcomes) == 1
    assert desk.faults == []


def test_a_fault_of_ours_is_told(work):
    """The run must not go on as if nothing were."""
    desk = Desk(str, range(3))
    desk.refuses = ZeroDivisionError("ours")
    work(desk).join(LONG_S)

    assert desk.faults == [desk.refuses]
    assert desk.events == [("left", 0)]
    assert desk.slots == [None]


class StingyThread(threading.Thread):
    """A system that grants one thread, and then so many refusals."""

    granted = 1

    def start(self):
        if StingyThread.granted == 0:
            raise RuntimeError("can't start new thread")
        StingyThread.granted -= 1
        super().start()


@pytest.fixture
def stingy(monkeypatch):
    """A system that grants as many threads as ``granted`` says."""
    monkeypatch.setattr("pipeloom.executors.threads.threading.Thread", StingyThread)
    return StingyThread


def test_as_many_workers_as_the_system_grants_do_the_work(stingy, caplog):
    """The others are a warning."""
    stingy.granted = 1
    desk = Desk(str, range(5), places=3)
    executor = ThreadExecutor(3)
    logging.getLogger("pipeloom").propagate = True
    with caplog.at_level("WARNING", logger="pipeloom"):
        assert executor.start(desk) == {0}
    desk.close()

    assert executor.join(LONG_S) == 0
    assert sorted(desk.stored) == list(range(5))
    assert "only 1 of 3 workers" in caplog.text


def test_a_system_that_grants_none_is_an_error(stingy):
    """There is nobody to do the work."""
    stingy.granted = 0
    with pytest.raises(RuntimeError, match="can't start"):
        ThreadExecutor(3).start(Desk(str, range(5), places=3))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there are no forks")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
@pytest.mark.parametrize(("ends", "code"), [(None, 0), (SystemExit(7), 7), (ValueError(), 1)], ids=str)
def test_a_fork_that_comes_back_ends_there(work, ends, code):
    """The run is its parent's: the child neither notes nor hands over anything, and its code says how it went."""
    codes = []

    def function(item):
        child = os.fork()
        if child == 0 and ends is not None:
            raise ends
        if child:
            codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))

    desk = Desk(function, ["x"])
    work(desk).join(LONG_S)

    assert codes == [code]
    assert desk.outcomes["x"][0] == "done"
    assert desk.stored == ["x"]


# --- time limits ---


class Hangs:
    """A function that hangs for the inputs named, until they are let go of."""

    def __init__(self, *items):
        self.inside = {item: threading.Event() for item in items}
        self.go_on = {item: threading.Event() for item in items}

    def __call__(self, item):
        if item in self.inside:
            self.inside[item].set()
            self.go_on[item].wait(LONG_S)
        return item


def until(condition):
    """Poll; the desk only keeps lists."""
    for _ in range(10_000):
        if condition():
            return
        threading.Event().wait(0.001)
    pytest.fail("it never came to that")


def test_another_worker_takes_the_place_of_one_that_hangs(work):
    """The hanging call goes on by itself; what it says late is nobody's outcome."""
    hangs = Hangs("a")
    desk = Desk(hangs, ["a", "b"], timeout_s=0.1)
    executor = work(desk, close=False)
    assert hangs.inside["a"].wait(LONG_S)
    task = desk.slots[0]

    assert executor.give_up(0, task)
    assert not executor.give_up(0, task)
    desk.slots[0] = None
    assert executor.replace(0)
    until(lambda: desk.stored == ["b"])
    hangs.go_on["a"].set()
    until(lambda: ("returned", "a") in desk.events)
    desk.close()
    assert executor.join(LONG_S) == 0

    assert (desk.outcomes["a"][0], desk.outcomes["b"][0]) == ("timed_out", "done")
    assert isinstance(desk.outcomes["a"][3][0], TaskTimeoutError)
    assert "self.go_on[item].wait(LONG_S)" in desk.outcomes["a"][3][1]
    assert desk.stored == ["b"]
    assert desk.events == [("returned", "a"), ("left", 0)]


def test_the_place_of_a_worker_that_took_over_is_looked_at_in_its_own_thread(work):
    """It may hang, too, and then its own call is shown."""
    hangs = Hangs("a", "b")
    desk = Desk(hangs, ["a", "b"], timeout_s=0.1)
    executor = work(desk, close=False)
    for item in ("a", "b"):
        assert hangs.inside[item].wait(LONG_S)
        assert executor.give_up(0, desk.slots[0])
        assert "self.go_on[item].wait(LONG_S)" in desk.outcomes[item][3][1]
        assert executor.replace(0)
    for gate in hangs.go_on.values():
        gate.set()
    desk.close()
    until(lambda: len(desk.events) == 3)

    assert sorted(desk.events) == [("left", 0), ("returned", "a"), ("returned", "b")]


def test_a_system_that_grants_no_other_thread_is_told(stingy):
    """The place stays empty."""
    stingy.granted = 1
    hangs = Hangs("a")
    desk = Desk(hangs, ["a"], timeout_s=0.1)
    executor = ThreadExecutor(1)
    executor.start(desk)
    assert hangs.inside["a"].wait(LONG_S)

    assert executor.give_up(0, desk.slots[0])
    assert not executor.replace(0)
    assert executor.join(0.0) == 1
    hangs.go_on["a"].set()
    assert executor.join(LONG_S) == 0
    assert desk.events == [("returned", "a")]


@pytest.mark.parametrize("who", ["worker", "run"])
def test_of_two_who_end_a_try_the_first_is_believed(work, who):
    """A call that returns at the very instant at which it is given up on ends once, one way or the other."""
    at_the_end, go_on = threading.Event(), threading.Event()

    class SlowDesk(Desk):
        def end(self, task, outcome):
            at_the_end.set()
            go_on.wait(LONG_S)
            super().end(task, outcome)

    hangs = Hangs("a")
    desk = SlowDesk(hangs, ["a"], timeout_s=0.1)
    executor = work(desk, close=False)
    assert hangs.inside["a"].wait(LONG_S)
    task, gave_up = desk.slots[0], []
    giving_up = threading.Thread(target=lambda: gave_up.append(executor.give_up(0, task)))
    first, second = (
        (hangs.go_on["a"].set, giving_up.start) if who == "worker" else (giving_up.start, hangs.go_on["a"].set)
    )
    first()
    assert at_the_end.wait(LONG_S)
    second()
    go_on.set()
    giving_up.join(LONG_S)
    desk.close()
    assert executor.join(LONG_S) == 0

    if who == "worker":
        assert gave_up == [False]
        assert (desk.outcomes["a"][0], desk.stored, desk.events) == ("done", ["a"], [("left", 0)])
    else:
        assert gave_up == [True]
        assert (desk.outcomes["a"][0], desk.stored, desk.events) == ("timed_out", [], [("returned", "a")])
