"""Interrupts and terminations at any instant: one drains, two cancel, three leave at once. (P11, P5)"""

from __future__ import annotations

import os
import random
import re
import signal
import sqlite3
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from time import monotonic, sleep

import pytest

from faults import tools
from faults.tools import DONE, INTERRUPTED, LIMIT_S, amount, heard, let_go, mistaken, product, sample, until
from faults.verdict import VERDICT, UnsoundError, acknowledged, finished
from pipeloom.db import init_schema

COUNT = 60
Command = Callable[..., list[str]]
BUSY = {"count": COUNT, "workers": 4, "pause_s": 0.01}  # about 0.2 s of work
EXPECTED = {signal.SIGINT: 128 + signal.SIGINT, signal.SIGTERM: 128 + signal.SIGTERM}


# Before our handlers are there and after they are gone, Python raises KeyboardInterrupt wherever the main thread
# is. In a callback of its own, such as one of the import system or the wait for threads at the end, it cannot be
# raised, and the interpreter says so; the next signal may reach it while it does.
_SWALLOWED = re.compile(
    r"Exception ignored in: .*\n"
    r"(?:Exception ignored in sys\.unraisablehook: .*\n)?"
    r"Traceback \(most recent call last\):\n"
    r"(?:  File .*\n(?: {4}.*\n)*)+"
    r"KeyboardInterrupt: *\n"
)


def as_a_shell_says(code: int) -> int:
    """A process that died of a signal, as one may whose run is over: what a shell says of it."""
    return 128 - code if code < 0 else code


def interrupted(
    start, place: Path, command: Command, number: int, signals: int, after_s: float, gap_s: float
) -> int:
    """Send signals to a program at an instant, and judge what it leaves; returns its exit code.

    Raises:
        UnsoundError: It claims to be done and is not, or something that ran is not recorded, or the verdict's.
    """
    db, acks = place / "out.db", place / "acks"
    words = command(db=db, acks=acks)
    child = start(words)
    child.begun()
    sleep(after_s)
    for _ in range(signals):
        child.process.send_signal(number)
        sleep(gap_s)
    code, out, err = child.wait(20)
    code = as_a_shell_says(code)
    if "Traceback" in _SWALLOWED.sub("", err):
        raise UnsoundError(f"a traceback:\n{err}")
    stored = VERDICT.at_rest(db, acknowledged(acks))
    if code == DONE and len(stored.done) != COUNT:
        raise UnsoundError(f"it says that all is done, and {len(stored.done)} of {COUNT} are")
    # Three of whatever kind raise KeyboardInterrupt, which is 130.
    if code not in (DONE, EXPECTED[number]) and not (signals == 3 and code == INTERRUPTED):
        raise UnsoundError(f"it ended with {code}:\n{out}{err}")
    if signals < 3 and db.exists() and (left := unrecorded(db)):
        raise UnsoundError(f"left as if they were running: {left}")
    VERDICT.resumed(db, words, COUNT)
    for file in place.iterdir():
        file.unlink()
    return code


def unrecorded(db: Path) -> list[tuple[str, int]]:
    """Return what is still called running after the end."""
    with closing(sqlite3.connect(db)) as conn:
        if not conn.execute("SELECT 1 FROM sqlite_master WHERE name = 'pipeloom_runs'").fetchone():
            return []
        return conn.execute(
            "SELECT 'task', id FROM task_runs WHERE status IN ('running', 'queued') "
            "UNION ALL SELECT 'run', id FROM pipeloom_runs WHERE status = 'running'"
        ).fetchall()


@pytest.mark.parametrize("signals", [1, 2, 3], ids=["one", "two", "three"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_signals_at_random_instants(start, tmp_path, number, signals):
    """From the first moment to after the last task. The longest gap is a person's, the shortest none."""
    instants = random.Random(f"{number} {signals}")
    codes: Counter[int] = Counter()
    for _ in range(amount(2, 50)):
        after_s, gap_s = instants.uniform(0, 0.35), instants.choice((0, 0.001, 0.05))
        codes[
            interrupted(start, tmp_path, lambda **a: product("load", **BUSY, **a), number, signals, after_s, gap_s)
        ] += 1
    print(f"{signals} times {signal.Signals(number).name}: exit codes {dict(codes)}, all sound")
    assert codes[EXPECTED[number]] + codes[INTERRUPTED] > 0, codes


def test_the_harness_catches_an_interrupt_taken_for_the_end(start, tmp_path):
    """A loop that just stops, and calls that success."""
    with pytest.raises(UnsoundError, match="says that all is done"):
        interrupted(
            start, tmp_path, lambda **a: mistaken("interrupt_taken_for_the_end", count=COUNT, pause_s=0.01, **a),
            signal.SIGINT, 1, 0.05, 0,
        )  # fmt: skip


def test_the_harness_catches_a_deaf_program(start, tmp_path):
    """One that waits where no signal is looked at."""
    child = start(mistaken("deaf", db=tmp_path / "out.db"))
    child.begun()
    child.process.send_signal(signal.SIGINT)
    with pytest.raises(AssertionError, match="still running"):
        child.wait(1)


# --- before the first task, and after the last commit ---


SWEEP = """
import collections, os, signal, sqlite3, sys, threading
import pipeloom
from pathlib import Path
number, signals, first, step, folder = *map(int, sys.argv[1:5]), Path(sys.argv[5])
before = [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)]
ENDS = ("execute", "return")  # from here on it is the caller who is interrupted
db, outcomes, begun = folder / "out.db", collections.Counter(), []

def call():
    return pipeloom.map(begun.append, range(3), db=db, name="n", workers=2, progress=False)

def interrupted(at):
    calls = sent = 0
    def count(frame, event, _):
        nonlocal calls, sent
        calls += 1
        if sent == signals or calls < at + 2 * sent:
            return
        over = frame.f_code.co_name in ("map", "call", "interrupted") or (frame.f_code.co_name, event) == ENDS
        ours = number == signal.SIGINT or signal.getsignal(number) not in before
        if ours and not over:
            sent += 1
            signal.raise_signal(number)  # one for the process may reach another thread, and be late
    sys.setprofile(count)
    try:
        call()
        return sent, None
    except BaseException as error:
        return sent, error
    finally:
        sys.setprofile(None)

pipeloom.map(abs, [1], db=":memory:", progress=False)
at = first
while True:
    begun.clear()
    sent, error = interrupted(at)
    if not sent:  # the call is over before so many
        break
    kind = type(error).__name__
    outcomes[f"{kind}: {str(error).split(' (')[0].rstrip('0123456789')}"] += 1
    at_once = getattr(error, "left_at_once", False)
    assert kind == "RunInterruptedError" and (not at_once or signals == 3), (at, error)
    assert error.signal == number, (at, error)
    assert [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)] == before, at
    for thread in threading.enumerate():
        if thread is not threading.main_thread():
            thread.join(10)
            assert not thread.is_alive(), (at, thread)
    if db.exists():
        conn = sqlite3.connect(db)
        assert conn.execute("PRAGMA integrity_check").fetchall() == [("ok",)], at
        has_ledger = conn.execute("SELECT 1 FROM sqlite_master WHERE name = 'pipeloom_runs'").fetchone()
        if not at_once and has_ledger:
            left = "SELECT status FROM %s WHERE status IN ('running', 'queued')"
            assert not [row for t in ("pipeloom_runs", "task_runs") for row in conn.execute(left % t)], at
        conn.close()
    report = call()
    assert report.done + report.skipped == 3, (at, report)
    for file in folder.iterdir():
        file.unlink()
    at += step
print(sum(outcomes.values()), dict(outcomes))
"""


@pytest.mark.parametrize("signals", [1, 2, 3], ids=["one", "two", "three"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_interrupted_at_every_call_from_the_start_to_the_return(start, tmp_path, number, signals):
    """Whatever the main thread is about to call: it is told as an interrupt, and nothing is left as running.

    Three may leave at once while tasks run. The first eight calls are those of `map` and `execute` themselves.
    """
    words = [int(number), signals, 8 + signals, amount(307, 1), tmp_path]
    code, out, err = start([sys.executable, "-c", SWEEP, *map(str, words)]).wait(LIMIT_S * amount(1, 20))
    assert code == DONE, out + err
    print(f"{signals} times {signal.Signals(number).name}: {out}")
    assert "RunInterruptedError: interrupted after 0 done" in out
    assert "RunInterruptedError: interrupted at the very end" in out


FILES = ("new", "migrated", "left by a dead run")
FREED = ("before", "after", "never")
AWAITED = [
    pytest.param(number, file, freed, id=f"{number.name}-{file}-{freed}")
    for n, number in enumerate((signal.SIGINT, signal.SIGTERM))
    for f, file in enumerate(FILES)
    for t, freed in enumerate(FREED)
    if tools.FULL or (n + f + t) % 3 == 0  # each of them with each of the others, but not all three ways
]


@pytest.mark.parametrize(("number", "file", "freed"), AWAITED)
def test_interrupted_while_a_lock_is_awaited(start, tmp_path, holder, number, file, freed):
    """Whether the lock is given back just before the signal, just after, or not at all, and whatever it held up."""
    instants = random.Random(f"{number} {file} {freed}")
    for turn in range(amount(1, 40)):
        db = tmp_path / f"{turn}.db"
        words = product("load", db=db, count=20)
        with closing(sqlite3.connect(db, isolation_level=None)) as conn:
            conn.execute("PRAGMA journal_mode = WAL")
            if file == "new":
                conn.execute("CREATE TABLE theirs (n)")
            else:
                init_schema(conn, store_task_status=True)
                conn.execute("INSERT INTO pipeloom_runs (started_at, status) VALUES ('2026-01-01', 'running')")
            if file == "migrated":
                conn.execute("UPDATE pipeloom_meta SET value = 1 WHERE key = 'schema_version'")
                conn.execute("ALTER TABLE pipeloom_logs DROP COLUMN error")
                conn.execute("DROP TABLE pipeloom_found")
                for column in ("command", "shard", "own_rows"):
                    conn.execute(f"ALTER TABLE pipeloom_runs DROP COLUMN {column}")
                for column in ("is_given", "function", "place", "beside", "code", "captured"):
                    conn.execute(f"ALTER TABLE pipeloom_pipelines DROP COLUMN {column}")
        other = holder(db, "BEGIN IMMEDIATE")
        child = start(words)
        heard(child, "locked by another process")
        sleep(instants.uniform(0, 2) if tools.FULL else 0)  # SQLite waits in steps of up to 2 s
        if freed == "before":
            let_go(other)
        child.process.send_signal(number)
        if freed == "after":
            let_go(other)
        code, out, err = child.wait(20)

        assert as_a_shell_says(code) == EXPECTED[number], out + err
        assert "pipeloom: interrupted " in err, err
        assert "Traceback" not in err
        if freed == "never":
            let_go(other)
        else:
            assert unrecorded(db) in ([], [("run", 1)]), "only the dead run, which nobody got to"
        VERDICT.resumed(db, words, 20)
        assert unrecorded(db) == []


LOCKED_THEN = """
import os, signal, sqlite3, sys, threading
import pipeloom
from pipeloom.engine.run import Run
conn = sqlite3.connect(sys.argv[1], isolation_level=None)
open_run = Run._open_run
def locked(self):
    conn.execute("BEGIN IMMEDIATE")
    for _ in range(int(sys.argv[2])):
        signal.raise_signal(signal.SIGINT)
    open_run(self)
Run._open_run = locked
try:
    pipeloom.map(abs, [1, 2], db=sys.argv[1], name="n", progress=False)
except KeyboardInterrupt as error:
    print(type(error).__name__, str(error).split(" (")[0])
conn.execute("ROLLBACK")
conn.close()
for thread in threading.enumerate():
    if thread is not threading.main_thread():
        thread.join(10)
Run._open_run = open_run
print(pipeloom.map(abs, [1, 2], db=sys.argv[1], name="n", progress=False).done)
"""


@pytest.mark.parametrize("signals", [1, 2, 3])
def test_a_lock_between_the_schema_and_the_row_of_the_run(start, tmp_path, signals):
    """The row is not written afterwards, with nobody to close it."""
    db = tmp_path / "out.db"
    code, out, err = start([sys.executable, "-c", LOCKED_THEN, str(db), str(signals)]).wait()
    assert code == DONE, err
    assert out.splitlines() == ["RunInterruptedError interrupted before anything started", "2"]
    with closing(sqlite3.connect(db)) as conn:
        assert conn.execute("SELECT status FROM pipeloom_runs").fetchall() == [("done",)]


AT_AN_IMPORT = """
import os, signal, sys
import pipeloom
class Finder:
    count = 0
    def find_spec(self, name, *_):
        if name.startswith("pipeloom."):
            self.count += 1
            if self.count == int(sys.argv[2]):
                os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, finder := Finder())
try:
    pipeloom.map(abs, [1, 2], db=sys.argv[1], name="n", progress=False)
    print("not interrupted", finder.count)
except KeyboardInterrupt as error:
    print(type(error).__name__, os.path.exists(sys.argv[1]))
print(pipeloom.map(abs, [1, 2], db=sys.argv[1], name="n", progress=False).total)
"""


def test_interrupted_while_it_is_imported(start, tmp_path):
    """`pipeloom.map` imports the engine when it is first used; the next call finds a whole one."""

    def ended(at: int) -> list[str]:
        code, out, err = start([sys.executable, "-c", AT_AN_IMPORT, str(tmp_path / f"{at}.db"), str(at)]).wait()
        assert code == DONE, err
        return out.splitlines()

    said, _ = ended(0)
    imports = int(said.removeprefix("not interrupted "))
    assert imports > 20
    for at in sample(list(range(1, imports + 1)), 4):
        assert ended(at) == ["RunInterruptedError False", "2"], at


# --- what the main thread and the tasks may be doing ---


@pytest.mark.parametrize("doing", ["sleeping", "computing", "asking", "looking", "waiting"])
def test_two_interrupts_whatever_the_tasks_do(start, tmp_path, doing):
    """The first drains. The second cancels tasks that look at ctx; the others are waited for; nothing is torn."""
    db, acks = tmp_path / "out.db", tmp_path / "acks"
    words = product("doing", db=db, acks=acks, what=doing)
    child = start(words)
    child.begun()
    until(lambda: acknowledged(acks), "tasks are running", child)
    began = monotonic()
    for _ in range(2):
        child.process.send_signal(signal.SIGINT)
        sleep(0.1)  # two at once may arrive as one
    code, _, err = child.wait(20)
    assert code == INTERRUPTED, err
    assert monotonic() - began < 5
    assert unrecorded(db) == []


def test_three_interrupts_leave_at_once_although_tasks_never_end(start, tmp_path):
    """Threads that cannot be stopped keep nobody."""
    db, acks = tmp_path / "out.db", tmp_path / "acks"
    child = start(product("doing", db=db, acks=acks, what="stuck"))
    child.begun()
    until(lambda: acknowledged(acks), "tasks are running", child)
    began = monotonic()
    for _ in range(3):
        child.process.send_signal(signal.SIGINT)
        sleep(0.2)
    code, _, err = child.wait(20)
    assert code == INTERRUPTED, err
    assert monotonic() - began < 4
    VERDICT.at_rest(db)


def test_an_ignored_interrupt_stays_ignored(start, tmp_path):
    """As under nohup; SIGTERM still works."""
    db, acks = tmp_path / "out.db", tmp_path / "acks"
    words = product("load", db=db, acks=acks, count=COUNT, pause_s=0.01)
    child = start(["sh", "-c", 'trap "" INT; exec "$@"', "sh", *words])
    child.begun()
    until(lambda: finished(acks), "something is done", child)
    child.process.send_signal(signal.SIGINT)
    assert child.wait()[0] == DONE
    VERDICT.sound(db, acknowledged(acks), words, COUNT)


def test_a_run_outside_the_main_thread(start, tmp_path):
    """It sets no handlers: Ctrl-C is the main thread's, and what was said is stored before the process ends."""
    db, acks = tmp_path / "out.db", tmp_path / "acks"
    words = product("in_a_thread", db=db, acks=acks, count=COUNT)
    assert start(words).wait()[0] == DONE
    VERDICT.sound(db, acknowledged(acks), words, COUNT)


def test_the_main_thread_dies_while_another_runs(start, tmp_path):
    """An exception in the main thread does not tear the run in the other one: it is finished."""
    db, acks = tmp_path / "out.db", tmp_path / "acks"
    words = product("in_a_thread", db=db, acks=acks, count=COUNT)
    code, _, err = start([*words, "--arg=dies=True"]).wait()
    assert (code, "RuntimeError: the main thread dies" in err) == (1, True)
    stored = VERDICT.sound(db, acknowledged(acks), words, COUNT)
    assert len(stored.done) == COUNT


def test_a_writer_that_nobody_closes(start, tmp_path):
    """Everything that was put before the main thread ended is saved."""
    db = tmp_path / "out.db"
    code, _, err = start(product("unclosed_writer", db=db)).wait()
    assert code == DONE, err
    with closing(sqlite3.connect(db)) as conn:
        assert conn.execute("SELECT status, COUNT(*) FROM task_runs GROUP BY status").fetchall() == [("done", 5000)]
    assert not os.path.exists(f"{db}-wal")
