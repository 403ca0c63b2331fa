"""What is an event loop's own: many at once, cancellation, what blocks it; beside the contract of all executors."""

from __future__ import annotations

import asyncio
import functools
import logging
import queue
import sqlite3
import threading
from contextlib import asynccontextmanager, closing

import pytest

import pipeloom
from pipeloom import RunInterruptedError, TasksFailedError
from pipeloom.db.cancel import request_cancel

FOR_EVER_S = 1000.0
LONG_S = 20.0


async def nothing(item):
    """Do nothing."""


# --- which functions, and what is refused ---


def test_an_async_function_runs_on_an_event_loop(db, read):
    """On one loop, in one thread that is not the caller's, 100 at once."""
    seen = set()

    async def fn(n):
        seen.add((id(asyncio.get_running_loop()), threading.get_ident()))
        return n

    report = pipeloom.map(fn, range(50), db=db, progress=False)

    assert (report.done, len(seen)) == (50, 1)
    assert seen.pop()[1] != threading.get_ident()
    assert read(db, "SELECT executor, workers FROM pipeloom_runs") == [("asyncio", 100)]


class Callable_:
    async def __call__(self, item):
        await asyncio.sleep(0)
        return item

    async def method(self, item):
        return await self(item)


@pytest.mark.parametrize(
    "fn",
    [Callable_(), Callable_().method, functools.partial(nothing), functools.partial(Callable_().method)],
    ids=["object", "method", "partial", "partial of a method"],
)
def test_whatever_is_async_is_awaited(db, fn):
    """Objects, methods, partials."""
    assert pipeloom.map(fn, [1], db=db, name="n", progress=False).done == 1


def test_what_only_returns_an_awaitable_is_awaited_where_that_is_said(db):
    """Nobody can see it in a lambda; on threads it is refused in one sentence that says so."""
    report = pipeloom.map(lambda n: nothing(n), [1, 2], db=db, name="n", executor="asyncio", progress=False)
    assert report.done == 2

    with pytest.raises(TasksFailedError) as failed:
        pipeloom.map(lambda n: nothing(n), [3], db=db, name="n", progress=False)
    assert "a coroutine whose code has not run: make the function an async def" in str(failed.value.exceptions[0])


def test_what_cannot_be_awaited_is_said_by_its_task(db):
    """A plain function on a loop would block it."""
    with pytest.raises(TasksFailedError) as failed:
        pipeloom.map(abs, [-3], db=db, executor="asyncio", progress=False)
    assert "the function returned int, which cannot be awaited: make it an async def" in str(
        failed.value.exceptions[0]
    )


@pytest.mark.parametrize("executor", ["threads", "processes"])
def test_an_async_function_needs_a_loop(db, executor):
    """It is refused at the call, and nothing is made."""
    with pytest.raises(
        ValueError, match="fn is an async function, which runs on an event loop: leave out executor="
    ):
        pipeloom.map(nothing, [1], db=db, executor=executor)
    assert not db.exists()


async def generates(n):
    yield n


@pytest.mark.parametrize(
    ("fn", "options", "said"),
    [
        (generates, {}, "fn must be an async function, not an async generator function"),
        (
            nothing,
            {"executor": "async"},
            'executor must be "threads", "processes", "asyncio", .* or an object .*, not \'async\'',
        ),
        (nothing, {"memory_mb": 10}, 'memory_mb needs executor="processes"'),
        (nothing, {"workers": 10_001}, "workers must be at most 10,000"),
        (nothing, {"local": 5}, "local must be a function that returns a context manager"),
        (nothing(0), {}, "fn must be a function, not coroutine: pass the function itself, without calling it"),
    ],
    ids=["generator", "executor", "memory", "workers", "local", "called"],
)
def test_what_goes_with_another_executor_is_refused(db, fn, options, said):
    """At the call, in one sentence."""
    with pytest.raises((ValueError, TypeError), match=said):
        pipeloom.map(fn, [1], db=db, **options)
    assert not db.exists()


def test_the_context_is_found_below_the_function(db):
    """By both names; where no task runs there is none."""

    async def below():
        return pipeloom.current_async_task().key, await asyncio.to_thread(pipeloom.current_task().query, "SELECT 1")

    async def fn(item, other: pipeloom.AsyncTaskContext):
        assert other.key == item
        return await below()

    report = pipeloom.map(fn, ["a"], db=db, progress=False)
    assert dict(report.results()) == {"a": ["a", [[1]]]}
    with pytest.raises(RuntimeError, match=r"current_async_task\(\) was called where no pipeloom task is running"):
        pipeloom.current_async_task()


# --- many at once ---


def test_ten_thousand_at_once(db, read):
    """All of them wait for the last to begin."""
    begun, all_here = [], None

    async def fn(n, ctx):
        nonlocal all_here
        if all_here is None:
            all_here = asyncio.Event()
        ctx.write("seen", {"n": n})
        begun.append(n)
        if len(begun) == 10_000:
            all_here.set()
        await all_here.wait()

    report = pipeloom.map(
        fn, range(10_000), db=db, workers=10_000, tables={"seen": {"n": int}}, durability="off", progress=False
    )

    assert report.done == 10_000
    assert read(db, "SELECT COUNT(DISTINCT n), COUNT(*) FROM seen") == [(10_000, 10_000)]


def test_no_more_run_at_once_than_are_asked_for(db):
    """And as many, once there are enough inputs."""
    running, most = 0, 0

    async def fn(n):
        nonlocal running, most
        running += 1
        most = max(most, running)
        for _ in range(20):
            await asyncio.sleep(0)
        running -= 1

    pipeloom.map(fn, range(300), db=db, workers=7, durability="off", progress=False)
    assert most == 7


def test_a_writer_that_waits_does_not_hold_up_the_loop(db, read):
    """What is put while the channel is full waits, and others go on; then all of it is stored, in its order."""
    release, both_here = threading.Event(), []

    def held(conn, messages):
        assert release.wait(LONG_S)

    async def fn(item, ctx):
        if type(item) is int:
            return None
        both_here.append(item)
        while len(both_here) < 2:  # noqa: ASYNC110 - an Event of asyncio belongs to the loop, which is not there yet
            await asyncio.sleep(0)
        if item == "puts":
            await ctx.put(Held())
            for n in range(10_000):
                await ctx.put(pipeloom.MsgWriteRows("said", {"n": n}))
            return None
        while not ctx.full():  # noqa: ASYNC110 - nobody is told when the channel is full
            await asyncio.sleep(0)
        with pytest.raises(queue.Full):
            ctx.put_nowait(pipeloom.MsgWriteRows("said", {"n": -1}))
        waits = [
            asyncio.create_task(ctx.checkpoint("behind all of it")),
            asyncio.create_task(ctx.query("SELECT 1")),
        ]
        for _ in range(100):
            await asyncio.sleep(0)
        assert not any(task.done() for task in waits)
        release.set()
        return [await task for task in waits]

    report = pipeloom.map(
        fn, ["puts", "looks", *range(3000)], db=db, workers=3, handlers={Held: held}, tables={"said": {"n": int}},
        durability="off", progress=False, name="n",
    )  # fmt: skip

    assert report.done == 3002
    assert dict(report.results())["looks"] == [None, [[1]]]
    assert read(db, "SELECT COUNT(*), MIN(n) FROM said") == [(10_000, 0)]
    assert read(db, "SELECT COUNT(*) FROM said WHERE n <> rowid - 1") == [(0,)]


class Held:
    """What a handler waits for."""


# --- cancellation and time limits ---


def test_a_time_limit_cancels_where_the_coroutine_waits(db, read):
    """It may clean up, and await for that; where it was is in the traceback."""
    cleaned = []

    async def fn(item, ctx):
        ctx.write("t", {"item": item})
        try:
            await asyncio.sleep(FOR_EVER_S)
        finally:
            await asyncio.sleep(0)
            cleaned.append(ctx.remaining_s)

    report = pipeloom.map(fn, ["a"], db=db, timeout=0.05, on_error="collect", progress=False)

    assert (report.timed_out, cleaned) == (1, [0.0])
    (failure,) = report.failures
    assert (failure.exception, failure.message) == ("TaskTimeoutError", "not done after 50 ms")
    assert "await asyncio.sleep(FOR_EVER_S)" in failure.traceback
    assert "perform_async" not in failure.traceback
    assert read(db, "SELECT COUNT(*) FROM sqlite_master WHERE name = 't'") == [(0,)]


def test_a_coroutine_that_takes_no_notice_is_given_up_on(db, read):
    """Its place goes to another, and what it writes later is refused."""
    let_go, late = threading.Event(), queue.Queue()

    async def fn(item, ctx):
        ctx.write("t", {"item": item})
        while item == "deaf" and not let_go.is_set():
            try:
                await asyncio.sleep(0.001)
            except asyncio.CancelledError:
                pass
        if item == "deaf":
            try:
                ctx.write("t", {"item": "late"})
            except pipeloom.AttemptOverError as error:
                late.put(error)

    try:
        report = pipeloom.map(
            fn, ["deaf", "another"], db=db, workers=1, timeout=0.05, on_error="collect", progress=False
        )
    finally:
        let_go.set()

    assert (report.timed_out, report.done) == (1, 1)
    assert "it did not end within 1.0 s of being cancelled, and is still running" in report.failures[0].message
    assert "in fn" in report.failures[0].traceback
    assert isinstance(late.get(timeout=LONG_S), pipeloom.AttemptOverError)
    assert read(db, "SELECT item FROM t") == [("another",)]


def test_a_run_that_is_cancelled_cancels_its_coroutines(db, read):
    """All that have begun; the rest is done by the next run."""

    async def fn(n, ctx):
        if n == 30:
            request_cancel(db, ctx.run_id, "cancel")
        if n >= 20:
            await asyncio.sleep(FOR_EVER_S)

    with pytest.raises(RunInterruptedError) as interrupted:
        pipeloom.map(fn, range(1000), db=db, name="n", workers=20, durability="off", progress=False)

    report = interrupted.value.report
    assert (report.done, report.cancelled, report.failed) == (20, 20, 0)
    assert pipeloom.map(nothing, range(1000), db=db, name="n", durability="off", progress=False).skipped == 20


def test_a_cancelled_run_gives_up_on_who_takes_no_notice(db, read):
    """Without a time limit, too: it does not wait for ever."""
    let_go = threading.Event()

    async def fn(item, ctx):
        request_cancel(db, ctx.run_id, "cancel")
        while not let_go.is_set():
            try:
                await asyncio.sleep(0.001)
            except asyncio.CancelledError:
                pass

    try:
        with pytest.raises(RunInterruptedError) as interrupted:
            pipeloom.map(fn, [1], db=db, progress=False)
    finally:
        let_go.set()

    assert interrupted.value.report.cancelled == 1
    (message,) = read(db, "SELECT message FROM task_runs")[0]
    assert (
        message
        == "the run is being cancelled; it did not end within 1.0 s of being cancelled, and is still running"
    )


def test_who_waits_behind_a_blocked_loop_is_cancelled_all_the_same(db, read):
    """When its time is over the loop cannot tell it; it hears of it as soon as the loop is free."""
    cancelled = []

    async def fn(item, ctx):
        try:
            if item == "blocks":
                with closing(sqlite3.connect(db)) as conn:
                    while not conn.execute("SELECT 1 FROM task_runs WHERE status = 'timed_out'").fetchall():
                        pass
            await asyncio.sleep(FOR_EVER_S)
        except asyncio.CancelledError:
            cancelled.append(item)
            raise

    report = pipeloom.map(fn, ["waits", "blocks"], db=db, timeout=0.2, on_error="collect", progress=False)

    assert report.timed_out == 2
    assert sorted(cancelled) == ["blocks", "waits"]
    said = dict(read(db, "SELECT key, message FROM task_runs"))
    assert said["waits"] == "not done after 200 ms; the event loop was blocked"


def test_what_was_cancelled_is_not_the_task(db):
    """One that awaits something cancelled has an error; one that its loop cancelled is cancelled."""

    async def fn(item):
        if item == "awaits":
            gone = asyncio.get_running_loop().create_future()
            gone.cancel()
            await gone
        elif item == "by others":
            asyncio.current_task().cancel()
            await asyncio.sleep(FOR_EVER_S)
        elif item == "of its own":
            try:
                async with asyncio.timeout(0):
                    await asyncio.sleep(FOR_EVER_S)
            except TimeoutError:
                return "went on"
        return None

    report = pipeloom.map(
        fn, ["awaits", "by others", "of its own"], db=db, on_error="collect", progress=False, timeout=FOR_EVER_S
    )

    assert {failure.key: (failure.status, failure.exception, failure.message) for failure in report.failures} == {
        "awaits": ("error", "CancelledError", "CancelledError"),
        "by others": ("cancelled", None, "the task was cancelled on its event loop, but not by pipeloom"),
    }
    assert dict(report.results()) == {"of its own": "went on"}


# --- the loop is everybody's ---


def test_what_blocks_the_loop_is_named(db, read, package_log):
    """Task, file, line and code: in the log, and in the task's own."""
    named = threading.Event()

    class Hears(logging.Handler):
        def emit(self, record):
            named.set()

    async def fn(item):
        if item == "blocks":
            named.wait(LONG_S)  # as a request without await would

    handler = Hears(logging.WARNING)
    logging.getLogger("pipeloom").addHandler(handler)
    try:
        pipeloom.map(fn, ["waits", "blocks"], db=db, progress=False)
    finally:
        logging.getLogger("pipeloom").removeHandler(handler)

    (said,) = read(db, "SELECT key, level, l.message FROM pipeloom_logs l JOIN task_runs t ON t.id = l.task_id")
    assert said[:2] == ("blocks", "WARNING")
    assert said[2].startswith("task blocks blocks the event loop for all other tasks (test_asyncio.py, line ")
    assert "in fn: named.wait(LONG_S)" in said[2]
    assert "asyncio.to_thread" in said[2]


def test_a_busy_loop_is_not_called_blocked(db, read):
    """Many short steps keep it from nothing."""

    async def fn(n):
        for _ in range(200):
            await asyncio.sleep(0)

    pipeloom.map(fn, range(1000), db=db, workers=1000, durability="off", progress=False)
    assert read(db, "SELECT message FROM pipeloom_logs") == []


def test_what_a_task_starts_may_end_badly(db):
    """SystemExit in something that it awaits is its own error, and the others go on."""

    async def exits():
        raise SystemExit(3)

    async def fn(n):
        if n == 1:
            await asyncio.create_task(exits())
        for _ in range(10):
            await asyncio.sleep(0)

    report = pipeloom.map(fn, range(5), db=db, on_error="collect", progress=False)
    assert report.done == 4
    assert [(failure.key, failure.exception) for failure in report.failures] == [(1, "SystemExit")]


def test_what_a_task_leaves_running_ends_with_the_loop(db):
    """Its own tasks are cancelled, and asynchronous generators closed."""
    ended = []

    async def goes_on():
        try:
            await asyncio.sleep(FOR_EVER_S)
        finally:
            ended.append("task")

    async def numbers():
        try:
            yield 1
        finally:
            ended.append("generator")

    held = []

    async def fn(item):
        held.append(asyncio.create_task(goes_on()))
        held.append(numbers())
        await anext(held[-1])

    assert pipeloom.map(fn, [1], db=db, progress=False).done == 1
    assert sorted(ended) == ["generator", "task"]


@asynccontextmanager
async def session():
    opened = {"is open": True}
    try:
        await asyncio.sleep(0)
        yield opened
    finally:
        opened["is open"] = False


def test_what_is_local_may_be_entered_with_async_with(db):
    """Once, on the loop; open for every task, and closed at the end. On threads it is refused in one sentence."""
    seen = []

    async def fn(n, ctx):
        seen.append(ctx.local)
        return ctx.local["is open"]

    report = pipeloom.map(fn, range(3), db=db, local=session, progress=False)

    assert [result for _, result in report.results()] == [True] * 3
    assert all(one is seen[0] for one in seen)
    assert seen[0] == {"is open": False}
    with pytest.raises(TypeError, match="an asynchronous context manager: that requires an async def function"):
        pipeloom.map(abs, [1], db=db, local=session, progress=False)


@asynccontextmanager
async def leaves_badly():
    yield
    raise SystemExit(3)


def test_what_is_local_may_leave_badly(db, package_log, caplog):
    """Whatever it raises: what the tasks did is stored, and the run is as good as it was."""
    assert pipeloom.map(nothing, [1, 2], db=db, local=leaves_badly, progress=False).done == 2
    assert "local= raised when its worker ended: 3" in caplog.text


def test_the_callers_own_loop_stays_where_it_is(db):
    """A run in the main thread makes a loop, and is no reason to lose the one that was set there."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    try:
        assert pipeloom.map(nothing, [1], db=db, progress=False).done == 1
        assert asyncio.get_event_loop_policy().get_event_loop() is loop
        assert loop.run_until_complete(asyncio.sleep(0, "runs")) == "runs"
    finally:
        asyncio.set_event_loop(None)
        loop.close()


def test_what_is_tracked_lets_others_run(db):
    """Elements that are there at once do not keep the loop; those that are awaited count as well."""
    turns, tracked = [], threading.Event()

    async def counted():
        for n in range(5):
            await asyncio.sleep(0)
            yield n

    async def fn(item, ctx):
        if item == "tracks":
            async for _ in ctx.track(iter(int, 1)):
                if turns:
                    break
            found = [n async for n in ctx.track(counted(), total=5)]
            tracked.set()
            return found
        while not tracked.is_set():
            turns.append(item)
            await asyncio.sleep(0)
        return None

    report = pipeloom.map(fn, ["tracks", "others"], db=db, workers=2, progress=False)
    assert dict(report.results()) == {"tracks": [0, 1, 2, 3, 4], "others": None}


def test_a_try_follows_where_it_failed(db, read):
    """Tries, delays and outcomes are those of every executor; the loop goes on meanwhile."""
    tries = []

    async def fn(n, ctx):
        tries.append(n)
        if n % 2 and ctx.attempt == 1:
            raise ConnectionError(str(n))

    report = pipeloom.map(fn, range(40), db=db, workers=4, retries=1, durability="off", progress=False)

    assert (report.done, len(tries)) == (40, 60)
    assert read(db, "SELECT COUNT(*) FROM pipeloom_attempts") == [(20,)]
