"""Interrupts and terminations at any instant: one drains, two cancel, three leave at once. (P11, P5)"""

from __future__ import annotations

import os
import random
import re
import signal
import sqlite3
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from time import monotonic, sleep

import pytest

from faults.tools import DONE, INTERRUPTED, amount, mistaken, product, until
from faults.verdict import VERDICT, UnsoundError, acknowledged, finished

COUNT = 60
Command = Callable[..., list[str]]
BUSY = {"count": COUNT, "workers": 4, "pause_s": 0.01}  # about 0.2 s of work
EXPECTED = {signal.SIGINT: 128 + signal.SIGINT, signal.SIGTERM: 128 + signal.SIGTERM}


# The third signal raises KeyboardInterrupt wherever the main thread is. In a callback of Python's own, such as
# one of the import system, it cannot be raised, and the interpreter itself says so.
_SWALLOWED = re.compile(
    r"Exception ignored in: .*\n"
    r"Traceback \(most recent call last\):\n"
    r'(?:  File "<frozen importlib\._bootstrap.*\n)+'
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
    for _ in range(amount(3, 50)):
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
