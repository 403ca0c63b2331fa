"""A run in somebody's hand: ``start``, and what its handle can do in any thread, on a loop and in a notebook."""

from __future__ import annotations

import asyncio
import inspect
import itertools
import logging
import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from importlib.util import find_spec

import pytest

import pipeloom
from engine.wrong_calls import WRONG_CALLS
from pipeloom import RunInterruptedError, TasksFailedError
from pipeloom.engine import outcomes as log_module

LONG_S = 40


@pytest.fixture
def gate():
    """Holds tasks up until it is opened; open at the end, whatever happens."""
    event = threading.Event()
    yield event
    event.set()


def square(n):
    if n % 10 == 3:
        raise ValueError(f"no {n}")
    return n * n


def cubes(n, ctx):
    ctx.write("t", {"n": n})
    return n**3


def until(is_so):
    """Wait, with a look a hundred times a second, until something is so."""
    for _ in range(LONG_S * 100):
        if is_so():
            return
        threading.Event().wait(0.01)
    raise AssertionError("it did not come to that")


# --- what comes of it ---


def test_map_is_start_and_wait(db, tmp_path, read):
    """The same report, rows and exceptions."""
    other = tmp_path / "other.db"
    one = pipeloom.map(cubes, range(20), db=db, progress=False)
    with pipeloom.start(cubes, range(20), db=other, progress=False) as run:
        two = run.wait()

    assert (one.done, one.status, list(one.results())) == (two.done, two.status, list(two.results()))
    assert read(db, "SELECT * FROM t ORDER BY n") == read(other, "SELECT * FROM t ORDER BY n")
    for call in (pipeloom.map, lambda *a, **k: pipeloom.start(*a, **k).wait()):
        with pytest.raises(TasksFailedError, match="1 of 5 tasks failed: ValueError: no 3") as failed:
            call(square, range(5), db=tmp_path / f"{id(call)}.db", progress=False)
        assert failed.value.report.failed == 1


def test_outcomes_come_as_they_are_committed(db, read, gate):
    """The first ones while others run, with what came of them; the file has them by then."""

    def fn(n):
        if n == 3:
            gate.wait(LONG_S)
        return square(n)

    with pipeloom.start(fn, range(5), db=db, workers=5, on_error="collect", progress=False) as run:
        outcomes = run.outcomes()
        first = [next(outcomes) for _ in range(4)]
        assert read(db, "SELECT COUNT(*) FROM task_runs WHERE status = 'done'") == [(4,)]
        counts = run.counts
        assert (counts.done, counts.running, counts.failed, counts.expected, counts.total) == (4, 1, 0, 5, 4)
        assert str(counts) == "4 done, 1 running of 5"
        assert not run.is_over
        gate.set()
        (last,) = outcomes

    assert sorted((o.key, o.item, o.status, o.result, o.attempt, o.error) for o in first) == [
        (n, n, "done", n * n, 1, None) for n in (0, 1, 2, 4)
    ]
    assert (last.key, last.status, last.result) == (3, "error", None)
    assert (last.error.exception, last.error.message, last.error.key) == ("ValueError", "no 3", 3)
    assert "square" in last.error.traceback
    assert run.is_over
    assert [o.task_id for o in run.outcomes()] == [o.task_id for o in [*first, last]]  # each call begins anew


def test_the_last_try_is_the_outcome(db):
    """Those before it are not."""
    tries = []

    def fn(n):
        tries.append(n)
        if len(tries) < 3:
            raise OSError("not yet")
        return "at last"

    retries = pipeloom.Retry(attempts=3, delay_s=0.0)
    with pipeloom.start(fn, [7], db=db, retries=retries, progress=False) as run:
        (outcome,) = run.outcomes()
    assert (outcome.key, outcome.result, outcome.attempt) == (7, "at last", 3)


def test_with_a_key_the_item_comes_too(db):
    """As long as somebody reads; inputs that are skipped are no outcomes."""
    items = [{"id": n, "name": "x" * n} for n in range(3)]
    options = {"db": db, "key": lambda item: item["id"], "name": "n", "progress": False}
    with pipeloom.start(lambda item: item["name"], items, **options) as run:
        found = {outcome.key: outcome for outcome in run.outcomes()}
    assert [found[n].item for n in range(3)] == items

    with pipeloom.start(lambda item: item["name"], items, **options) as run:
        assert list(run.outcomes()) == []
    assert run.counts.skipped == 3


def test_who_reads_late_gets_the_rest_from_the_file(db, monkeypatch):
    """The run goes on meanwhile; failures and inputs without a key come, too."""
    monkeypatch.setattr(log_module, "_MOST", 10)

    def fn(n):
        return square(n)

    items = [*range(1000), {"a": object()}, *range(1000, 1010)]
    with pipeloom.start(fn, items, db=db, on_error="collect", progress=False) as run:
        run.wait()
    outcomes = list(run.outcomes())

    assert len(run._going.log._recent) <= 10
    assert len(outcomes) == 1011
    done = {outcome.item: outcome.result for outcome in outcomes if outcome.status == "done"}
    assert done == {n: n * n for n in range(1010) if n % 10 != 3}
    failed = {outcome.key: outcome.error for outcome in outcomes if outcome.status == "error"}
    assert failed[3].exception == "ValueError"
    assert failed[3].message == "no 3"
    assert failed[3] == next(failure for failure in run.wait().failures if failure.key == 3)  # of the first hundred
    assert sum("has no key" in error.message for error in failed.values()) == 1


def test_in_memory_all_are_kept(monkeypatch):
    """There is no file to read them from."""
    monkeypatch.setattr(log_module, "_MOST", 10)
    with pipeloom.start(abs, range(500), db=":memory:", progress=False) as run:
        run.wait()
    assert sorted(outcome.result for outcome in run.outcomes()) == list(range(500))


def test_large_inputs_and_results_do_not_pile_up(db):
    """A reader that never comes costs a few bytes a task."""
    import tracemalloc

    def fn(n):
        return "x" * 100_000

    tracemalloc.start()
    try:
        with pipeloom.start(fn, range(600), db=db, progress=False) as run:
            run.wait()
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 30e6
    assert sum(len(outcome.result) for outcome in run.outcomes()) == 600 * 100_000


# --- waiting, cancelling ---


def test_waiting_has_an_end_of_its_own(db, gate):
    """The run goes on; the report is there as often as it is asked for."""
    run = pipeloom.start(lambda n: gate.wait(LONG_S), [1], db=db, name="n", progress=False)
    with pytest.raises(TimeoutError, match=r"the run of n has not ended after 10 ms"):
        run.wait(timeout=0.01)
    gate.set()

    assert run.wait() is run.wait(timeout=0)
    with pytest.raises(TypeError, match="timeout must be a number of seconds, not str"):
        run.wait("5")
    with pytest.raises(ValueError, match="timeout must be 0 or more seconds, not nan"):
        run.wait(float("nan"))


@pytest.mark.parametrize("drain", [True, False])
def test_cancelling(db, gate, drain):
    """Draining lets finish what runs; nothing more begins. Whoever cancels gets the report."""

    def fn(n, ctx):
        began.append(n)
        while not gate.is_set():
            ctx.check()
            gate.wait(0.01)

    began = []
    with pipeloom.start(fn, range(100), db=db, workers=2, name="n", progress=False) as run:
        until(lambda: len(began) == 2)
        run.cancel(drain=drain)
        if drain:
            gate.set()
        report = run.wait(LONG_S)

    assert len(began) == 2
    assert (report.done, report.cancelled) == ((2, 0) if drain else (0, 2))
    assert report.status == ("interrupted" if drain else "cancelled")
    assert len(list(run.outcomes())) == 2
    run.cancel()  # of one that is over: nothing
    assert run.wait() is report


@pytest.mark.parametrize(
    ("drain", "said"),
    [(True, "stopping: running tasks finish\n"), (False, "cancelling: tasks that look at ctx end now\n")],
)
def test_cancelling_says_nothing_of_keys(db, capsys, gate, drain, said):
    """It is the program that stops its run: nobody is at a keyboard."""

    def fn(n, ctx):
        while not gate.wait(0.01):
            ctx.check()

    with pipeloom.start(fn, [1], db=db, name="n") as run:
        until(lambda: run.counts.running)
        run.cancel(drain=drain)
        if drain:
            gate.set()
    assert said in capsys.readouterr().err


def test_draining_then_cancelling(db, gate):
    """The second goes further; the first does not take it back."""
    began = threading.Event()

    def fn(n, ctx):
        began.set()
        while not gate.wait(0.01):
            ctx.check()

    with pipeloom.start(fn, [1], db=db, name="n", progress=False) as run:
        assert began.wait(LONG_S)
        run.cancel(drain=True)
        run.cancel()
        run.cancel(drain=True)
    assert run.wait().cancelled == 1


def test_cancelled_before_anything_was_begun(db, tmp_path):
    """While another program's lock holds it up: a report that says nothing was done."""
    pipeloom.map(abs, [1], db=db, name="n", progress=False)
    with closing(sqlite3.connect(db, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        run = pipeloom.start(abs, [2], db=db, name="n", progress=False)
        run.cancel()
        report = run.wait(LONG_S)
    assert (report.status, report.total) == ("cancelled", 0)
    assert list(run.outcomes()) == []


def test_a_block_that_raises_cancels(db, gate):
    """What it raised goes on, once the run is over."""

    def fn(n, ctx):
        while not gate.wait(0.01):
            ctx.check()

    with (
        pytest.raises(LookupError, match="mine"),
        pipeloom.start(fn, [1], db=db, name="n", progress=False) as run,
    ):
        until(lambda: run.counts.running)
        raise LookupError("mine")
    assert run.is_over
    assert run.wait().cancelled == 1


def test_a_block_that_is_left_early_waits_for_the_rest(db):
    """And raises what went wrong, unless that has been heard."""
    with pytest.raises(TasksFailedError), pipeloom.start(square, range(50), db=db, progress=False) as run:
        for _ in run.outcomes():
            break
    assert run.counts.total == 50

    with pipeloom.start(square, range(50), db=db, progress=False) as run, pytest.raises(TasksFailedError):
        run.wait()


def test_a_run_that_nobody_asks_about_says_how_it_ended(db, caplog):
    """As soon as its handle is gone."""
    run = pipeloom.start(square, [3], db=db, progress=False)
    over = run._going.over
    with caplog.at_level(logging.ERROR, "pipeloom"):
        assert over.wait(LONG_S)
        del run
    assert "a run of square failed, and its result was never read: 1 of 1 tasks failed" in caplog.text


def test_what_ends_a_run_is_raised_to_its_readers(db):
    """Whoever reads all outcomes would else take them for all there are."""

    def items():
        yield 1
        raise OSError("no more inputs")

    run = pipeloom.start(abs, items(), db=db, progress=False)
    seen = []
    with pytest.raises(OSError, match="no more inputs"):
        seen.extend(run.outcomes())
    with pytest.raises(OSError, match="no more inputs"):
        run.wait()

    with pipeloom.start(abs, items(), db=db, progress=False) as run, pytest.raises(OSError, match="no more"):
        list(run.outcomes())


def test_any_thread_may_use_it(db):
    """Several readers, each of which gets all; counts; a wait in each."""
    found, errors = [], []

    def read(run):
        try:
            found.append(sorted(outcome.key for outcome in run.outcomes()))
            found.append(run.wait().done)
            assert run.counts.done == 2000
        except BaseException as error:  # noqa: BLE001 - asserted below, in the test's own thread
            errors.append(error)

    with pipeloom.start(abs, range(2000), db=db, progress=False) as run:
        threads = [threading.Thread(target=read, args=(run,)) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(LONG_S)
    assert not errors
    assert [entry for entry in found if entry != 2000] == [list(range(2000))] * 3


@WRONG_CALLS
def test_a_wrong_argument_is_told_at_the_call(tmp_path, monkeypatch, arguments, options, said):
    """Nothing is opened."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises((TypeError, ValueError), match=said):
        pipeloom.start(*arguments, **options)
    assert not list(tmp_path.iterdir())
    assert list(inspect.signature(pipeloom.start).parameters) == list(inspect.signature(pipeloom.map).parameters)


def test_the_file_is_free_when_it_is_over(db):
    """The next run may have it at once; one meanwhile is refused where it is waited for."""
    gate = threading.Event()
    run = pipeloom.start(lambda n: gate.wait(LONG_S), [1], db=db, name="n", progress=False)
    until(lambda: run.counts.running)
    with pytest.raises(pipeloom.DatabaseInUseError):
        pipeloom.start(abs, [1], db=db, progress=False).wait()
    gate.set()
    run.wait()
    assert pipeloom.map(abs, [1], db=db, progress=False).done == 1


# --- the end of the program ---

LEFT = """
import sys, threading, pipeloom, pipeloom.engine.run
began = threading.Event()
def fn(n):
    began.set()
    threading.Event().wait(0.01)
if not {later}:  # its thread does not come to it
    pipeloom.engine.run.Run.execute = lambda self: threading.Event().wait()
run = pipeloom.start(fn, range(100_000), db=sys.argv[1], name="n", progress=False)
if {later}:
    began.wait()
"""


@pytest.mark.parametrize(
    ("later", "said"),
    [
        (False, "the program ended before its run of n could begin: wait for it with wait() or a with block"),
        (True, "the run stopped because the program ended; completed work is stored: run it again to do the rest"),
    ],
)
def test_a_program_that_does_not_wait_is_told(tmp_path, later, said):
    """Whether its run had begun or not; what is done stays."""
    words = [sys.executable, "-c", LEFT.format(later=later), str(tmp_path / "out.db")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=LONG_S, check=False)

    assert (done.returncode, done.stderr) == (0, said + "\n")


# --- Ctrl-C ---

# The signal comes as soon as somebody listens.
PROGRAM = """
import os, signal, sys, threading, pipeloom
def fn(n, ctx):
    ctx.write("t", {{"n": n}})
    if n == 20:
        while signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            threading.Event().wait(0.001)
        os.kill(os.getpid(), signal.SIGINT)
    if n > 20:
        threading.Event().wait(0.01)
run = pipeloom.start(fn, range(100_000), db=sys.argv[1], name="n", progress=False)
try:
    {wait}
except pipeloom.RunInterruptedError as error:
    print("interrupted", error.signal, error.report.done == run.counts.done)
    raise
"""


@pytest.mark.parametrize("wait", ["run.wait()", "for outcome in run.outcomes(): pass"])
def test_ctrl_c_while_somebody_waits(tmp_path, read, wait):
    """It drains, and is raised where the main thread waits; the exit code says so."""
    program = tmp_path / "program.py"
    program.write_text(PROGRAM.format(wait=wait))
    db = tmp_path / "out.db"
    done = subprocess.run(
        [sys.executable, str(program), str(db)], capture_output=True, text=True, timeout=LONG_S, check=False
    )
    assert done.returncode == 130, done.stderr
    assert done.stdout == "interrupted 2 True\n"
    assert "Traceback" not in done.stderr
    assert read(db, "SELECT status, COUNT(*) FROM pipeloom_runs GROUP BY 1") == [("interrupted", 1)]
    (rows,) = read(db, "SELECT COUNT(*) FROM t")[0]
    assert rows == read(db, "SELECT COUNT(*) FROM task_runs WHERE status = 'done'")[0][0] > 20


def test_ctrl_c_in_the_block_is_the_programs(db, gate):
    """It is raised where the program is; leaving the block cancels the run."""

    def fn(n, ctx):
        while not gate.wait(0.01):
            ctx.check()

    before = signal.getsignal(signal.SIGINT)
    with (
        pytest.raises(KeyboardInterrupt) as raised,
        pipeloom.start(fn, [1], db=db, name="n", progress=False) as run,
    ):
        until(lambda: run.counts.running)
        os.kill(os.getpid(), signal.SIGINT)
        until(lambda: False)
    assert not isinstance(raised.value, RunInterruptedError)
    assert run.wait().cancelled == 1
    assert signal.getsignal(signal.SIGINT) is before


# --- on an event loop ---


def test_on_an_event_loop(db):
    """Outcomes and the end are awaited, beside other work; async functions run on this very loop."""

    async def fn(n):
        await asyncio.sleep(0)
        loops.add(asyncio.get_running_loop())
        return n

    async def main():
        loops.add(asyncio.get_running_loop())
        async with pipeloom.start(fn, range(300), db=db, name="n", progress=False) as run:
            found = [outcome.result async for outcome in run]
            report = await run
        assert await run is report
        assert [outcome.key async for outcome in run.outcomes()] == [outcome.key for outcome in run.outcomes()]
        return found, report

    loops = set()
    found, report = asyncio.run(main())
    assert sorted(found) == list(range(300))
    assert report.done == 300
    assert len(loops) == 1


def test_nothing_of_a_run_stays_on_the_loop(db):
    """Whoever has waited for it finds the loop as it was, however that went."""

    async def fn(n):
        await asyncio.sleep(0)

    async def main():
        for _ in range(20):
            await pipeloom.amap(fn, range(3), db=db, name="n", progress=False)
            assert asyncio.all_tasks() == {asyncio.current_task()}
            with pytest.raises(LookupError):
                async with pipeloom.start(fn, range(3), db=db, name="n", progress=False):
                    raise LookupError
            assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(main())


def test_who_awaits_late_does_not_block_the_loop(db, monkeypatch):
    """What has to be read from the file is read in a thread."""
    monkeypatch.setattr(log_module, "_MOST", 10)
    threads = set()
    reads = log_module.OutcomeLog._stored
    monkeypatch.setattr(
        log_module.OutcomeLog,
        "_stored",
        lambda self, numbers: threads.add(threading.current_thread()) or reads(self, numbers),
    )

    async def main():
        run = pipeloom.start(abs, range(1000), db=db, progress=False)
        await run
        return [outcome.result async for outcome in run]

    assert sorted(asyncio.run(main())) == list(range(1000))
    assert threads
    assert threading.main_thread() not in threads


@pytest.mark.parametrize("what", ["wait", "outcomes", "with"])
def test_what_would_block_the_loop_that_the_run_needs_is_refused(db, what):
    """In a sentence that says what to do instead."""

    async def fn(n):
        await asyncio.sleep(0)

    async def main():
        run = pipeloom.start(fn, [1], db=db, name="n", progress=False)
        with pytest.raises(RuntimeError, match=r"would block the event loop .* use (await run|async (for|with))$"):
            if what == "wait":
                run.wait()
            elif what == "outcomes":
                next(run.outcomes())
            else:
                with run:
                    pass
        await run

    asyncio.run(main())


def test_cancelling_the_await_cancels_the_run(db):
    """As with any task of asyncio; leaving ``async with`` by an exception does, too."""

    async def fn(n):
        await asyncio.sleep(1000)

    async def main():
        run = pipeloom.start(fn, range(5), db=db, name="n", progress=False)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(run, 0.05)
        assert run.is_over
        assert {outcome.status async for outcome in run} <= {"cancelled"}  # it ends, and raises nothing
        with pytest.raises(LookupError):
            async with pipeloom.start(fn, range(5), db=db, name="n", progress=False) as run:
                raise LookupError
        return run

    assert asyncio.run(main()).wait().done == 0


def test_a_loop_that_ends_ends_its_run(db):
    """As ``asyncio.run`` does, which cancels whatever is on it: endless inputs are no reason to stay."""

    async def fn(n):
        await asyncio.sleep(0.001)

    async def main():
        run = pipeloom.start(fn, itertools.count(), db=db, name="n", progress=False)
        await anext(run.outcomes())
        return run

    run = asyncio.run(main())
    assert run.wait(LONG_S).status == "cancelled"


def test_who_only_stops_iterating_does_not_stop_the_run(db):
    """A reader that is cancelled is one reader less; one beside an await that is cancelled ends with the run."""

    async def fn(n):
        await asyncio.sleep(0.001 if n < 20 else 1000)

    async def read(run):
        return [outcome.status async for outcome in run]

    async def main():
        run = pipeloom.start(fn, range(30), db=db, name="n", progress=False)
        one, other = asyncio.create_task(read(run)), asyncio.create_task(read(run))
        outcomes = run.outcomes()
        for _ in range(20):
            await anext(outcomes)
        one.cancel()
        await asyncio.wait([one])
        assert not run.is_over
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(run, 0.01)
        return await other

    assert asyncio.run(main()).count("done") == 20


# --- in a forked child ---

FORKED = """
import os, sys, threading, pipeloom
gate = threading.Event()
def fn(n):
    gate.wait(40)
run = pipeloom.start(fn, [1], db=sys.argv[1], name="n", progress=False)
while not run.counts.running:
    pass
if not os.fork():
    for use in (run.wait, run.cancel, lambda: next(run.outcomes())):
        try:
            use()
        except RuntimeError as error:
            print(error, flush=True)
    os._exit(0)
os.wait()
gate.set()
print(run.wait().done)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_in_a_forked_child(tmp_path):
    """No run goes on there: a sentence, rather than a wait without end."""
    words = [sys.executable, "-W", "ignore", "-c", FORKED, str(tmp_path / "out.db")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=LONG_S, check=False)

    said = "a forked child has no run: use the handle in the process that started it\n"
    assert (done.stdout, done.stderr) == (said * 3 + "1\n", "")


# --- in a notebook ---

NOTEBOOK = """
import sys
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook
notebook = new_notebook(cells=[new_code_cell(cell) for cell in sys.argv[1:]])
NotebookClient(notebook, timeout=60, kernel_name="python3").execute()
for cell in notebook.cells:
    for output in cell.outputs:
        print(output.get("text", ""), output.get("data", {}).get("text/html", ""), sep="", end="")
    print(end="=====")
"""
BEGIN = """
import pipeloom, threading
gate = threading.Event()
def fn(n):
    if n == 7:
        gate.wait(40)
run = pipeloom.start(fn, range(8), db="nb.db")
run
"""
END = """
gate.set()
run.wait()
for thread in threading.enumerate():
    if thread.name == "pipeloom-display":
        thread.join()
print(run.counts)
"""


@pytest.mark.skipif(find_spec("nbclient") is None, reason="nbclient is not installed (the dev extra brings it)")
def test_a_handle_in_a_notebook_shows_itself(tmp_path):
    """The cell is free while it runs, and its display is brought up to date; no other line is printed."""
    words = [sys.executable, "-W", "ignore", "-c", NOTEBOOK, BEGIN, END]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    shown, counts, _ = done.stdout.split("=====")

    assert "finished · 8 done · took" in re.sub("<[^>]*>", "", shown)
    assert counts == "8 done of 8\n"
