"""``amap``: a run beside everything else on the program's own event loop, and how it ends when that wants it to."""

from __future__ import annotations

import asyncio
import inspect
import sqlite3
import subprocess
import sys
import threading
from contextlib import asynccontextmanager, closing

import pytest

import pipeloom
from engine.wrong_calls import WRONG_CALLS
from pipeloom import RunInterruptedError, TasksFailedError
from pipeloom.db.cancel import request_cancel

FOR_EVER_S = 1000.0
LIMIT_S = 40


def test_async_functions_run_on_the_loop_that_awaits(db):
    """Beside whatever else is there, which they may use."""

    async def main():
        lock, loop, seen = asyncio.Lock(), asyncio.get_running_loop(), []
        stop = asyncio.Event()

        async def fn(n, ctx):
            async with lock:
                await ctx.query("SELECT 1")
            return asyncio.get_running_loop() is loop

        async def beside():
            while not stop.is_set():
                seen.append(1)
                await asyncio.sleep(0.001)

        other = asyncio.create_task(beside())
        report = await pipeloom.amap(fn, range(20), db=db, progress=False)
        stop.set()
        await other
        return report, len(seen)

    report, turns = asyncio.run(main())
    assert [result for _, result in report.results()] == [True] * 20
    assert turns > 0


FACTORIES = {"of the older kind": lambda loop, coroutine: asyncio.Task(coroutine, loop=loop)}
if hasattr(asyncio, "eager_task_factory"):  # Python 3.12
    FACTORIES["eager"] = asyncio.eager_task_factory


@pytest.mark.parametrize("factory", FACTORIES.values(), ids=FACTORIES)
def test_a_loop_with_a_task_factory_of_its_own(db, factory):
    """What it makes of the program's tasks is not what a run can rely on."""

    async def fn(n, ctx):
        if n % 2:
            await ctx.query("SELECT 1")
        return n

    async def main():
        asyncio.get_running_loop().set_task_factory(factory)
        return await pipeloom.amap(fn, range(20), db=db, workers=3, progress=False)

    assert [result for _, result in asyncio.run(main()).results()] == list(range(20))


def test_plain_functions_run_in_their_workers(db):
    """In threads; what the run raises is raised where it is awaited, with its report."""

    def fails(n):
        if n == 1:
            raise ValueError("one")
        return threading.current_thread().name

    async def main():
        with pytest.raises(TasksFailedError, match="1 of 3 tasks failed") as failed:
            await pipeloom.amap(fails, range(3), db=db, progress=False)
        return failed.value.report

    names = [result for _, result in asyncio.run(main()).results()]
    assert len(names) == 2
    assert all(name.startswith("pipeloom-worker-") for name in names)


def test_several_runs_are_awaited_together(db, tmp_path):
    """Each with its own file; one inside a task of another, too."""

    async def inner(n):
        return n

    async def outer(n):
        report = await pipeloom.amap(inner, range(3), db=tmp_path / f"inner {n}.db", progress=False)
        return report.done

    async def main():
        return await asyncio.gather(
            pipeloom.amap(outer, range(2), db=db, progress=False),
            pipeloom.amap(inner, range(5), db=tmp_path / "other.db", progress=False),
        )

    one, other = asyncio.run(main())
    assert (dict(one.results()), other.done) == ({0: 3, 1: 3}, 5)


@WRONG_CALLS
def test_a_wrong_argument_is_told_where_it_is_awaited(tmp_path, monkeypatch, arguments, options, said):
    """As by ``map``, whose arguments these are."""
    monkeypatch.chdir(tmp_path)

    async def main():
        with pytest.raises((TypeError, ValueError), match=said):
            await pipeloom.amap(*arguments, **options)

    asyncio.run(main())
    assert not list(tmp_path.iterdir())
    assert inspect.signature(pipeloom.amap) == inspect.signature(pipeloom.map)


async def naps(n, ctx):
    """Quick ones, then those that are there until they are cancelled."""
    ctx.write("t", {"n": n})
    if n >= 10:
        await asyncio.sleep(FOR_EVER_S)


def test_cancelling_the_await_cancels_the_run(db, read):
    """Running tasks end, what is done is stored, and then the cancellation goes on; the next call does the rest."""

    async def main():
        begun = asyncio.Event()

        async def fn(n, ctx):
            if n == 12:
                begun.set()
            await naps(n, ctx)

        waiting = asyncio.create_task(pipeloom.amap(fn, range(100), db=db, name="n", workers=3, progress=False))
        await begun.wait()
        waiting.cancel("enough")
        with pytest.raises(asyncio.CancelledError, match="enough"):
            await waiting
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        assert not rest

    asyncio.run(main())
    assert read(db, "SELECT status, COUNT(*) FROM task_runs GROUP BY 1 ORDER BY 1") == [
        ("cancelled", 3),
        ("done", 10),
    ]
    assert read(db, "SELECT COUNT(*) FROM t") == [(10,)]
    assert read(db, "SELECT status FROM pipeloom_runs") == [("cancelled",)]


def test_a_timeout_around_the_await(db):
    """``asyncio.timeout`` is told as itself, also of a run in threads, whose tasks look."""

    def looks(n, ctx):
        while True:
            ctx.check()

    async def main():
        for fn in (naps, looks):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await pipeloom.amap(fn, range(10, 15), db=db, name=fn.__name__, workers=2, progress=False)

    asyncio.run(main())


@asynccontextmanager
async def hangs_at_first():
    await asyncio.sleep(FOR_EVER_S)
    yield


@asynccontextmanager
async def hangs_at_last():
    yield
    await asyncio.sleep(FOR_EVER_S)


@pytest.mark.parametrize("local", [hangs_at_first, hangs_at_last])
def test_what_is_local_may_hang(db, local):
    """The await can be cancelled all the same."""

    async def main():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await pipeloom.amap(nothing, [1], db=db, local=local, progress=False)

    asyncio.run(main())


async def nothing(n):
    """Do nothing."""


def test_cancelled_while_the_file_is_being_opened(db):
    """Which another program's lock holds up: it is a cancellation, and no signal."""

    async def main():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await pipeloom.amap(nothing, [1], db=db, progress=False)

    pipeloom.map(nothing, [0], db=db, progress=False)
    with closing(sqlite3.connect(db, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        asyncio.run(main())


class Stops:
    def __iter__(self):
        raise StopIteration


def test_inputs_that_raise_what_no_future_can(db):
    """They end the run with a sentence, rather than leave its await alone."""

    async def main():
        with pytest.raises(
            RuntimeError, match="the inputs raised StopIteration: return from the generator instead"
        ):
            await pipeloom.amap(nothing, Stops(), db=db, progress=False)

    asyncio.run(main())


def test_tasks_that_others_cancel_before_their_first_line(db, read):
    """They are cancelled, and the run goes on with the others."""

    async def fn(n):
        for task in asyncio.all_tasks():
            if inspect.getcoroutinestate(task.get_coro()) == inspect.CORO_CREATED:
                task.cancel()

    async def main():
        return await pipeloom.amap(fn, range(2000), db=db, workers=50, on_error="collect", progress=False)

    report = asyncio.run(main())
    assert report.done + report.cancelled == 2000
    assert report.cancelled > 0
    assert read(db, "SELECT DISTINCT message FROM task_runs WHERE status = 'cancelled'") == [
        ("the task was cancelled on its event loop, but not by pipeloom",)
    ]


def test_cancelled_before_it_has_begun(db):
    """At once, before the file is open: the run is told all the same."""

    async def main():
        waiting = asyncio.create_task(pipeloom.amap(naps, range(20), db=db, progress=False))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    asyncio.run(main())


def test_a_run_that_another_process_cancels_is_interrupted(db):
    """It raises what ``map`` raises, and not ``CancelledError``: nobody has cancelled the await."""

    async def fn(n, ctx):
        request_cancel(db, ctx.run_id, "cancel")
        await asyncio.sleep(FOR_EVER_S)

    async def main():
        with pytest.raises(RunInterruptedError) as interrupted:
            await pipeloom.amap(fn, [1], db=db, progress=False)
        return interrupted.value.report

    assert asyncio.run(main()).cancelled == 1


CLOSES_ITS_LOOP = """
import asyncio, threading
import pipeloom

loop, begun = asyncio.new_event_loop(), asyncio.Event()

async def fn(n, ctx):
    ctx.write("t", {"n": n})
    if n == 12:
        begun.set()
    if n >= 10:
        await asyncio.sleep(1000)

run = loop.create_task(pipeloom.amap(fn, range(100), db="out.db", name="n", workers=3, progress=False))
loop.run_until_complete(begun.wait())
loop.close()
for thread in threading.enumerate():
    if thread.name == "pipeloom-run":
        thread.join()
print("ended")
"""


def test_a_loop_that_is_closed_under_a_run(tmp_path, read):
    """What is on it cannot go on: it ends as cancelled, and what was done is stored."""
    ended = _run(tmp_path, CLOSES_ITS_LOOP)

    assert (ended.returncode, ended.stdout) == (0, "ended\n")
    db = tmp_path / "out.db"
    assert read(db, "SELECT status, COUNT(*) FROM task_runs GROUP BY 1") == [("cancelled", 3), ("done", 10)]
    assert read(db, "SELECT COUNT(*) FROM t") == [(10,)]
    assert read(db, "SELECT status FROM pipeloom_runs") == [("error",)]


def _run(place, program, *words):
    (place / "program.py").write_text(program)
    command = [sys.executable, "program.py", *words]
    return subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=LIMIT_S, check=False)


PROGRAM = """
import asyncio, os, signal, sys
import pipeloom

async def naps(n, ctx):
    ctx.write("t", {"n": n})
    if n == 5:
        for _ in range(int(sys.argv[2])):
            os.kill(os.getpid(), getattr(signal, sys.argv[1]))
            await asyncio.sleep(0.05 if len(sys.argv) < 4 else 0)
        print("went on", flush=True)
    if n >= 5 and len(sys.argv) > 3:
        await asyncio.sleep(1000)
    return n

async def main():
    try:
        await pipeloom.amap(naps, range(100_000), db="out.db", name="n", workers=3, progress=False)
    finally:
        print("finally", flush=True)

asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("words", "ends", "statuses"),
    [
        (("SIGINT", "1"), 130, {"done"}),
        (("SIGTERM", "1"), 143, {"done"}),
        (("SIGINT", "2", "hangs"), 130, {"done", "cancelled"}),
    ],
    ids=["Ctrl-C", "SIGTERM", "Ctrl-C twice"],
)
def test_ctrl_c_in_a_program_of_its_own(tmp_path, read, words, ends, statuses):
    """The first lets running tasks finish, the second cancels them; each ends with its exit code and one line."""
    ended = _run(tmp_path, PROGRAM, *words)
    db = tmp_path / "out.db"

    assert {status for (status,) in read(db, "SELECT DISTINCT status FROM task_runs")} == statuses
    assert read(db, "SELECT COUNT(*) FROM task_runs WHERE status = 'done'") == read(db, "SELECT COUNT(*) FROM t")
    assert (ended.returncode, ended.stdout) == (ends, "went on\nfinally\n"), ended.stderr
    assert ended.stderr.startswith("pipeloom: interrupted after "), ended.stderr
    assert ended.stderr.count("\n") == 1
