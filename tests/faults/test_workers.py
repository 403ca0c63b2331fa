"""Worker processes that die, lie, repeat themselves, or would outlive their run. (P11, P20, P21, P23, P24)"""

from __future__ import annotations

import os
import random
import signal
import sqlite3
from contextlib import closing
from pathlib import Path
from time import sleep
from typing import Any

import pytest

from faults import crashing
from faults.sabotage import POINTS
from faults.test_signals import BUSY, interrupted
from faults.tools import DONE, FAILED, FULL, HERE, INTERRUPTED, KILLED, amount, mistaken, product, until
from faults.verdict import UnsoundError, Verdict, acknowledged, finished

CRASHING = HERE / "crashing.py"
VERDICT = Verdict(crashing.rows_of, lambda task, stage: {"items": stage})

PAST = "SELECT t.key, a.status, a.message FROM pipeloom_attempts a JOIN task_runs t ON t.id = a.task_id ORDER BY 1"


def asked(db: Path, sql: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(db)) as conn:
        return conn.execute(sql).fetchall()


# --- P20: a worker that dies costs one try of one task ---

SAID = {
    "SIGKILL": "SIGKILL", "SIGSEGV": "SIGSEGV", "exit 3": "exited with 3", "exit 0": "exited with 0",
    "SIGABRT": "SIGABRT", "SIGTERM": "SIGTERM", "its group": "SIGKILL",
}  # fmt: skip


def test_tasks_that_end_their_workers(start, tmp_path):
    """Ten of ten thousand, in all ways: each costs one try of that task, no other is charged, rows exactly once."""
    db, seed = tmp_path / "out.db", 1
    count, deadly = 10_000, amount(10, 100)
    words = product("deaths", program=CRASHING, db=db, count=count, deadly=deadly, seed=seed)
    code, out, err = start(words).wait()
    assert code == DONE, out + err

    assert VERDICT.at_rest(db).done == set(range(count))
    past = asked(db, PAST)
    tasks = crashing.deadly_tasks(count, deadly, seed)
    assert [task for task, _, _ in past] == tasks
    for n, (_, status, message) in enumerate(past):
        assert status == "error"
        assert SAID[crashing.way_of(n)] in message
    assert asked(db, "SELECT key FROM task_runs WHERE attempt > 1 ORDER BY key") == [(task,) for task in tasks]


def test_without_another_try_they_fail_alone(start, tmp_path):
    """Three of sixty, which may be in one chunk with others; a second call does them, in whatever is left of it."""
    db, count, seed = tmp_path / "out.db", 60, 2
    words = product("deaths", program=CRASHING, db=db, count=count, deadly=3, seed=seed, retries=False)
    code, out, err = start(words).wait()
    assert code == FAILED, out + err

    tasks = crashing.deadly_tasks(count, 3, seed)
    assert VERDICT.at_rest(db).done == set(range(count)) - set(tasks)
    assert asked(db, "SELECT key, status FROM task_runs WHERE status <> 'done' ORDER BY key") == [
        (task, "error") for task in tasks
    ]


def test_workers_that_somebody_kills(start, tmp_path):
    """At random instants: all is done, a try is charged where one ran, and no more of them than were killed."""
    db, acks = tmp_path / "out.db", tmp_path / "acks"
    count, kills, chance = amount(600, 6000), amount(8, 100), random.Random(3)
    words = product("killed_from_outside", program=CRASHING, db=db, acks=acks, count=count)
    child = start(words)
    pid = child.begun()
    for n in range(kills):
        until(lambda n=n: len(finished(acks)) > n * count * 0.8 / kills, "some more are done", child)
        workers = until(lambda: crashing.children_of(pid), "there is a worker", child)
        os.kill(chance.choice(workers), signal.SIGKILL)
        sleep(chance.uniform(0, 0.01))
    code, out, err = child.wait()
    assert code in (DONE, FAILED), out + err  # a task may be killed twice

    stored = VERDICT.at_rest(db)
    failed = asked(db, "SELECT key FROM task_runs WHERE status <> 'done'")
    assert len(stored.done) == count - len(failed)
    assert len(asked(db, PAST)) + len(failed) <= kills
    assert len(failed) <= kills // 2


def test_a_worker_that_takes_too_much_memory(start, tmp_path):
    """It is ended, and told as what it is; the others do not notice."""
    db = tmp_path / "out.db"
    code, out, err = start(product("without_memory", program=CRASHING, db=db)).wait()
    assert code == FAILED, out + err

    assert VERDICT.at_rest(db).done == set(range(40)) - {5}
    ((message, error),) = asked(db, "SELECT message, error FROM task_runs WHERE status = 'error'")
    assert "memory_mb=300" in message
    assert "MemoryError" in error


def test_workers_that_die_at_every_point_of_what_they_say(start, tmp_path):
    """Before, within and after each word, outcome and mark: one try at most, of the task that was at it."""
    db, acks = tmp_path / "out.db", tmp_path / "acks"
    step = amount(3, 1)
    count = 8 * len(POINTS[::step]) + 40
    code, out, err = start(product("points", program=CRASHING, db=db, acks=acks, step=step)).wait()
    assert code == DONE, out + err

    assert VERDICT.at_rest(db).done == set(range(count))
    died = [word.split(":") for word in acks.read_text().split()]
    assert len(died) >= len(POINTS[::step]) * 3 // 4, f"only at {len(died)} points"
    charged = [task for task, _, _ in asked(db, PAST)]
    assert len(charged) == len(set(charged))
    # One that dies while it claims its next task may be taken to have begun it.
    innocent = set(charged) - {int(task) for task, _ in died}
    assert len(innocent) <= sum(name == "begin" for _, name in died)
    assert len(charged) <= len(died)
    assert asked(db, "SELECT task FROM said GROUP BY task, attempt HAVING COUNT(*) > 1") == []
    print(f"died at {len(died)} points, {len(charged)} tries charged")


# --- P21: nothing outlives the run ---


@pytest.mark.parametrize(
    ("how", "quick"),
    [("kill", 9), ("three interrupts", 3), ("kill, beside a fork", 3)],
    ids=["kill", "leave", "fork"],
)
def test_nothing_outlives_a_run(start, tmp_path, how, quick):
    """Whatever the workers do, and what they have started: all is gone a second after the run."""
    db, acks, forks, count = tmp_path / "out.db", tmp_path / "acks", how.endswith("fork"), amount(quick, 9)
    child = start(product("staying", program=CRASHING, db=db, acks=acks, count=count, forks=forks))
    pid = child.begun()
    begun = until(lambda: len(words := acknowledged(acks)) == count + forks and words, "all have begun", child)
    until(lambda: len(child.descendants()) >= count + 2, "and what they start", child)
    if how == "three interrupts":
        for n in range(3):
            os.kill(pid, signal.SIGINT)
            sleep(0.05 * (n < 2))
        assert child.process.wait(10) == INTERRUPTED
    else:
        child.process.kill()
        assert child.process.wait() == KILLED
    kept = {int(word.partition(":")[2]) for word in begun if word.startswith("fork:")}

    until(lambda: child.descendants().keys() == kept, "all have gone", limit_s=1.0 if FULL else 2.0)
    child.kill()


@pytest.mark.parametrize("signals", [1, 2, 3], ids=["one", "two", "three"])
def test_signals_while_workers_are_processes(start, tmp_path, signals):
    """From their start to their end; none of them is left."""
    instants = random.Random(signals)
    for n in range(amount(1, 50)):
        number = (signal.SIGINT, signal.SIGTERM)[(n + signals) % 2]
        after_s, gap_s = instants.uniform(0, 1.2), instants.choice((0, 0.001, 0.05))
        interrupted(
            start, tmp_path, lambda **a: product("load", executor="processes", **BUSY, **a), number, signals,
            after_s, gap_s,
        )  # fmt: skip


def test_the_harness_catches_workers_that_stay(start):
    """A program whose worker does not look whether its parent is there."""
    child = start(mistaken("orphan"))
    child.begun()
    child.process.kill()
    child.process.wait()
    with pytest.raises(AssertionError, match="outlived"):
        child.assert_gone(0.3)


# --- P23: nothing that a worker says ends, hangs or drives the run ---


@pytest.mark.parametrize("seed", range(60) if FULL else [6])
def test_workers_that_lie(start, tmp_path, seed):
    """Damaged, cut, doubled, made up: the run ends in time, the file is sound, and no bait was taken."""
    db, bait, armed = tmp_path / "out.db", tmp_path / "bait", amount(8, 20)
    words = product("lying", program=CRASHING, db=db, bait=bait, armed=armed, seed=seed)
    code, out, err = start(words).wait()
    assert code in (DONE, FAILED), out + err
    assert "Traceback" not in err, err
    assert not bait.exists()

    first = seed * armed * 4
    assert asked(db, "PRAGMA integrity_check") == [("ok",)]
    assert asked(db, "SELECT status FROM pipeloom_runs") != [("running",)]
    status = dict(asked(db, "SELECT key, status FROM task_runs"))
    assert set(status) == set(range(first, first + armed * 4 + 20))
    assert set(status.values()) <= {"done", "error", "timed_out"}
    last = range(first + armed * 4, first + armed * 4 + 20)
    assert sum(status[task] == "done" for task in last) >= 10, "what was not damaged is done"


def test_the_harness_catches_a_program_that_unpickles(start, tmp_path):
    """The bait is taken by who loads it."""
    bait = tmp_path / "bait"
    assert start(mistaken("unpickles", bait=bait)).wait()[0] == DONE
    assert bait.exists()


# --- P24: an outcome that comes again, or late, changes nothing ---


def test_outcomes_that_come_again(start, tmp_path):
    """Twice at once, and up to twenty old ones with each: rows once, no task is charged for it."""
    db, count = tmp_path / "out.db", 200
    code, out, err = start(product("repeating", program=CRASHING, db=db, count=count)).wait()
    assert code == DONE, out + err

    assert VERDICT.at_rest(db).done == set(range(count))
    assert [task for task, _, _ in asked(db, PAST)] == [task for task in range(count) if task % 10 == 3]
    assert asked(db, "SELECT SUM(done), SUM(failed) FROM pipeloom_runs") == [(count, 0)]


@pytest.mark.parametrize("mistake", ["chunk_again", "taken_twice"])
def test_the_harness_catches_rows_of_a_chunk_that_come_again(start, tmp_path, mistake):
    """A chunk done again from its start after a death; an outcome that is taken as often as it comes."""
    db = tmp_path / "out.db"
    assert start(mistaken(mistake, db=db)).wait()[0] == DONE
    with pytest.raises(UnsoundError, match="twice"):
        VERDICT.at_rest(db)
