"""A run's inputs: read a little ahead, let in by the ledger, handed to whoever asks."""

from __future__ import annotations

import dataclasses
import itertools
import sqlite3
import threading
import weakref
from collections.abc import Iterator
from contextlib import closing
from time import monotonic
from types import SimpleNamespace

import pytest

import pipeloom
from pipeloom import DuplicateKeyError, LedgerError
from pipeloom.db import cancel
from pipeloom.engine.intake import Intake
from pipeloom.writer.requests import Request

LONG_S = 10.0
numbers = itertools.count()


def task_that_fails(_):
    """Fail."""
    raise RuntimeError("enough")


def until(condition):
    """Poll, with a deadline."""
    deadline = monotonic() + LONG_S
    while not condition():
        assert monotonic() < deadline, "it never came to that"
        threading.Event().wait(0.001)


class Ledger:
    """Admits everything as new, unless it was told otherwise; keeps the chunks that it was asked about.

    Attributes:
        verdicts: Name → what is said of it.
        requests: What was asked and not answered at once, if ``is_slow``.
    """

    def __init__(self):
        self.verdicts, self.chunks, self.requests = {}, [], []
        self.is_slow = False
        self._numbers = itertools.count(1)

    def admit(self, names):
        self.chunks.append(names)
        if not self.is_slow:
            return self.words(names)
        self.requests.append((names, Request(print)))
        return self.requests[-1][1]

    def words(self, names):
        return [(next(self._numbers), self.verdicts.get(name, "new")) for name in names]

    def answer(self):
        names, request = self.requests.pop(0)
        request.give(self.words(names))


@pytest.fixture
def ledger():
    """Who says what is let in."""
    return Ledger()


@pytest.fixture
def started(ledger) -> Iterator[object]:
    """Start an intake; its reading thread has ended when the test has."""
    intakes = []

    def start(items, *, keyed=True, key=None, workers=4, patience_s=1.0):
        intake = Intake(items, keyed=keyed, key=key, admit=ledger.admit, workers=workers, patience_s=patience_s)
        intakes.append(intake)
        intake.start()
        return intake

    yield start
    for intake in intakes:
        intake.close()
        intake.join(lambda: None)


def drained(intake):
    """Take attempts until there are no more; each is committed before the next."""
    found = []
    while (attempt := intake.next()) is not None:
        found.append(attempt)
        intake.retries.settle([attempt])
    return found


# --- what becomes of an input ---


def test_every_input_becomes_a_task_in_its_order(started):
    """With its key, a name, and the number that the ledger gave it."""
    attempts = drained(started(["a", "b", "c"]))

    assert [(a.item, a.key, a.name, a.task_id, a.row, a.status) for a in attempts] == [
        (name, name, name, number, "new", "queued") for number, name in enumerate("abc", start=1)
    ]
    assert not any(attempt.seen_before for attempt in attempts)


def test_a_key_of_the_callers_own_is_asked_about(started, ledger):
    """Rather than the input."""
    attempts = drained(started([{"id": 3}], key=lambda item: item["id"]))

    assert ledger.chunks == [[3]]
    assert attempts[0].key == 3


def test_without_keys_the_numbers_that_tasks_have_are_asked_about(started, ledger):
    """Where they have one that can be a row's."""
    tasks = [SimpleNamespace(task_id=number, name="n") for number in (7, -7, "7", True, 2**62, None)]
    attempts = drained(started([*tasks, "x"], keyed=False))

    assert [name for chunk in ledger.chunks for name in chunk] == [7, -7, None, None, None, None, None]
    assert {attempt.key for attempt in attempts} == {None}
    assert [attempt.name for attempt in attempts] == ["n"] * 6 + ["x"]


@pytest.mark.parametrize(
    ("item", "name"),
    [
        (5, "5"),
        ("x" * 500, "x" * 199 + "…"),
        (SimpleNamespace(name="its own"), "its own"),
        ((1, 2), "(1, 2)"),
        (10**5000, "<int that cannot be shown: ValueError>"),
    ],
    ids=["number", "long text", "with a name", "anything", "a number that Python does not write"],
)
def test_a_task_is_called_like_its_input(started, item, name):
    """In a few characters."""
    assert drained(started([item], key=lambda _: 1))[0].name == name


def test_what_was_there_before_is_known_to_be(started, ledger):
    """A task with a row may have a checkpoint; one without keys has none."""
    ledger.verdicts = {"a": "again", None: "again"}

    (keyed,) = drained(started(["a"]))
    assert (keyed.row, keyed.seen_before) == ("old", True)
    (numbered,) = drained(started(["a"], keyed=False))
    assert (numbered.row, numbered.seen_before) == ("old", False)


def test_what_is_done_is_not_handed_out(started, ledger):
    """The others are."""
    ledger.verdicts = dict.fromkeys(range(0, 50, 2), "skip")

    assert [attempt.item for attempt in drained(started(range(50)))] == list(range(1, 50, 2))


@pytest.mark.parametrize(
    ("verdict", "error", "words"),
    [
        ("duplicate", DuplicateKeyError, "the input 'b' occurs twice in this run"),
        ("stateful", LedgerError, "the key 'b' has a checkpoint, and resume=False would store its rows twice"),
        ("taken", LedgerError, "belongs to a pipeline with keys"),
    ],
)
def test_what_is_refused_at_the_door_comes_finished(started, ledger, verdict, error, words):
    """With why; it has no row of its own."""
    ledger.verdicts = {"b": verdict}
    _, refused, _ = drained(started(["a", "b", "c"]))

    assert (refused.status, refused.row, type(refused.exception)) == ("error", "none", error)
    assert words in refused.message
    assert refused.finished_at is not None


# --- how they are read ---


def test_inputs_are_asked_about_in_chunks_that_grow(started, ledger):
    """From as many as there are workers to 512, as fast as they are used up."""
    assert len(drained(started(range(5000), workers=4))) == 5000
    assert len(ledger.chunks[0]) <= 4
    assert max(map(len, ledger.chunks)) <= 512
    assert [name for chunk in ledger.chunks for name in chunk] == list(range(5000))
    assert len(ledger.chunks) < 500


def test_only_a_little_is_read_ahead(started):
    """While nobody takes anything."""
    pulled = []

    def endless():
        for n in itertools.count():
            pulled.append(n)
            yield n

    intake = started(endless(), workers=3)
    until(lambda: len(pulled) == 3)
    assert intake.next().item == 0
    until(lambda: len(pulled) > 3)
    intake.close()
    intake.join(lambda: None)

    assert len(pulled) < 50


class Large:
    """An input of 10 MiB, as an array says it."""

    nbytes = 10 * 2**20

    def __init__(self, number):
        self.number = number


def test_large_inputs_are_read_ahead_by_what_they_take_of_memory(started, ledger):
    """Two of them, whatever becomes of them: handed out, skipped or refused. None is held by the reading thread."""
    alive = weakref.WeakSet()

    def inputs():
        for number in range(40):
            item = Large(number)
            alive.add(item)
            yield item
            del item

    ledger.verdicts = dict.fromkeys(range(5, 40, 3), "skip") | dict.fromkeys(range(6, 40, 3), "repeated")
    intake = started(inputs(), key=lambda item: item.number, workers=4)
    got = 0
    until(lambda: len(alive) == 2)
    while (attempt := intake.next()) is not None:
        until(lambda: len(alive) in (2, 3) or intake._reader.is_exhausted)
        assert len(alive) <= 3
        got += 1
        intake.retries.settle([attempt])
        del attempt
    assert got == 40 - len(range(5, 40, 3))
    assert intake._reader.extra == 0


def test_workers_go_on_while_the_ledger_is_asked(started, ledger):
    """The next chunk is asked about before the last one is used up, and nobody waits for the answer until it is."""
    ledger.is_slow = True
    intake, taken = started(range(100), workers=4), []

    def take():
        for attempt in iter(intake.next, None):
            taken.append(attempt)
            intake.retries.settle([attempt])

    taking = threading.Thread(target=take, daemon=True)
    taking.start()
    until(lambda: ledger.requests)
    first = len(ledger.requests[0][0])
    ledger.answer()
    until(lambda: len(taken) == first and ledger.requests)
    while taking.is_alive():
        if ledger.requests:
            ledger.answer()
        taking.join(0.001)

    assert [attempt.item for attempt in taken] == list(range(100))


def test_closing_ends_whoever_waits(started):
    """For an input that does not come; closing twice is fine."""
    go_on = threading.Event()

    def slow():
        yield 1
        go_on.wait(LONG_S)

    intake, got = started(slow()), []
    assert intake.next().item == 1
    waiting = [threading.Thread(target=lambda: got.append(intake.next()), daemon=True) for _ in range(3)]
    for thread in waiting:
        thread.start()
    intake.close()
    intake.close()
    for thread in waiting:
        thread.join(LONG_S)
    go_on.set()

    assert got == [None] * 3
    assert intake.closed


def test_inputs_that_raise_are_the_end_of_them(started):
    """What came before is handed out."""
    error = OSError("the disk with the list")

    def inputs():
        yield from range(5)
        raise error

    intake = started(inputs())
    assert len(drained(intake)) == 5
    assert intake.error is error


def test_an_input_without_a_key_comes_finished(started, ledger):
    """The ledger is not asked about it; the inputs around it are as they would be."""
    intake = started([1, 2, 0, 4], key=lambda n: 4 // n)
    attempts = drained(intake)

    assert [name for chunk in ledger.chunks for name in chunk] == [4, 2, 1]
    assert [(a.item, a.key, a.row, a.status) for a in attempts] == [
        (1, 4, "new", "queued"),
        (2, 2, "new", "queued"),
        (0, None, "none", "error"),
        (4, 1, "new", "queued"),
    ]
    assert isinstance(attempts[2].exception, ZeroDivisionError)
    assert intake.error is None


def test_tries_that_are_due_come_first(started):
    """And the intake is not at its end while some may come back."""
    intake = started(range(3), patience_s=1.0)
    first = intake.next()
    first.status, first.retry_in = "error", 0.0
    intake.retries.settle([first])

    again = intake.next()
    assert (again.item, again.attempt) == (0, 2)
    rest = [intake.next(), intake.next()]
    assert [attempt.item for attempt in rest] == [1, 2]
    ends = []
    waiting = threading.Thread(target=lambda: ends.append(intake.next()), daemon=True)
    waiting.start()
    until(lambda: intake._reader.awaited_by)
    assert ends == []
    intake.retries.settle([again, *rest])
    waiting.join(LONG_S)

    assert ends == [None]


# --- in a run ---


def test_inputs_are_pulled_lazily_and_none_is_kept(db):
    """An endless generator starts at once; "stop" ends it after the first failure."""
    pulled = itertools.count()

    def endless():
        yield from pulled

    def task(number):
        if number == 100:
            raise RuntimeError("enough")

    with pytest.raises(pipeloom.TasksFailedError, match="enough") as stopped:
        pipeloom.map(task, endless(), db=db, on_error="stop", workers=2)

    assert stopped.value.report.failed == 1
    assert next(pulled) < 100_000


@pytest.mark.parametrize("how", ["stop", "made by us", "cancel"])
def test_a_generator_that_is_left_early_is_closed_where_it_ran(db, how):
    """Before ``map`` returns, however it ends: a connection, a lock or a driver wants the thread that made it."""
    seen = []

    class Rows:
        def __iter__(self):  # a generator that is made by us is one as well
            conn = sqlite3.connect(":memory:")
            try:
                yield from itertools.count()
            finally:
                conn.close()
                seen.append(threading.current_thread().name)

    def task(number):
        if number == 20:
            if how == "cancel":
                cancel.request_cancel(db, pipeloom.current_task().run_id, "drain")
            raise RuntimeError("enough")

    inputs = Rows() if how == "made by us" else iter(Rows())
    on_error = "collect" if how == "cancel" else "stop"
    with pytest.raises((pipeloom.TasksFailedError, pipeloom.RunInterruptedError)) as raised:
        pipeloom.map(task, inputs, db=db, on_error=on_error, workers=2, name="early", progress=False)

    assert seen == ["pipeloom-intake"], raised


def test_what_a_generator_raises_when_it_is_closed_is_raised(db):
    """As it would be by its ``close()``."""

    def inputs():
        try:
            yield from itertools.count()
        finally:
            raise OSError("its end went wrong")

    with pytest.raises(OSError, match="its end went wrong"):
        pipeloom.map(task_that_fails, inputs(), db=db, on_error="stop", name="early")


def test_an_iterator_of_the_callers_is_not_closed(db, tmp_path):
    """A file goes on where the run left it."""
    (tmp_path / "names").write_text("a\nb\nc\n" * 10_000)
    with open(tmp_path / "names") as file, pytest.raises(pipeloom.TasksFailedError):
        try:
            pipeloom.map(task_that_fails, file, db=db, on_error="stop", name="early", key=lambda _: next(numbers))
        finally:
            assert next(file) in ("a\n", "b\n", "c\n")


def test_a_generator_that_does_not_go_on_is_left(started, monkeypatch, caplog):
    """It is closed when it does, in its thread; nobody waits for that longer than a moment."""
    goes_on, closed = threading.Event(), threading.Event()
    monkeypatch.setattr("pipeloom.engine.reader._STUCK_S", 0.05)
    monkeypatch.setattr("pipeloom.engine.reader._CLOSING_S", 0.05)

    def inputs():
        try:
            yield 1
            assert goes_on.wait(LONG_S)
            yield 2
        finally:
            closed.wait(LONG_S)

    intake = started(inputs())
    assert intake.next().item == 1
    intake.close()
    intake.join(lambda: None)
    goes_on.set()
    until(lambda: intake._reader._is_closing)
    intake.join(lambda: None)
    closed.set()

    assert [record.getMessage().partition(": ")[2] for record in caplog.records] == [
        "the next one does not arrive",
        "closing them takes too long",
    ]


def test_a_cursor_of_the_callers_thread_is_refused_with_what_to_do(db):
    """In a generator expression, too; one that may be used in any thread is as good as any other inputs."""
    for free in (False, True):
        with closing(sqlite3.connect(":memory:", check_same_thread=not free)) as conn:
            rows = conn.execute("VALUES (1), (2)")
            inputs = (row[0] for row in rows)
            if free:
                assert pipeloom.map(abs, inputs, db=db, name="rows").done == 2
            else:
                with pytest.raises(TypeError, match=r"cursor\.fetchall\(\)") as raised:
                    pipeloom.map(abs, inputs, db=db, name="rows")
                assert isinstance(raised.value.__cause__, sqlite3.ProgrammingError)


def test_slow_inputs_start_as_they_come(db):
    """The first input runs although the second has not come yet."""
    first_ran = threading.Event()

    def inputs():
        yield 1
        assert first_ran.wait(10)
        yield 2

    assert pipeloom.map(lambda _: first_ran.set(), inputs(), db=db, workers=4).done == 2


def test_inputs_that_raise_end_the_run_after_what_came_before(db):
    """What was yielded is done and stored; the exception reaches the caller with a note."""

    def inputs():
        yield from range(5)
        raise OSError("the disk with the list")

    with pytest.raises(OSError, match="the disk") as raised:
        pipeloom.map(abs, inputs(), db=db, name="x")

    assert "run again" in raised.value.__notes__[0]
    assert pipeloom.map(abs, range(5), db=db, name="x").skipped == 5


def test_inputs_that_raise_a_frozen_exception(db):
    """It reaches the caller as it is, although it takes no note."""

    @dataclasses.dataclass(frozen=True)
    class Frozen(Exception):
        code: int = 1

    def items():
        yield 1
        raise Frozen

    with pytest.raises(Frozen):
        pipeloom.map(abs, items(), db=db, name="n")


def test_once_shut_nothing_is_handed_out(started):
    """A signal's handler says so, and may not take a lock to wake anybody."""
    intake = started(range(10))
    assert intake.next() is not None
    intake.shut()

    assert intake.next() is None
