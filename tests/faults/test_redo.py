"""Inputs that changed are done again, and the run is killed or finds no room: one generation of rows. (P27)"""

from __future__ import annotations

import random
import shutil
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from time import monotonic, sleep

import pytest

from faults import strace
from faults.redoing import has_checkpoint, rows_of, version_of
from faults.tools import DONE, HERE, JOURNALS, KILLED, STORAGE, Child, Start, amount, product, sample
from faults.verdict import UnsoundError

COUNT = 24
PROGRAM = HERE / "redoing.py"
Found = dict[int, tuple[str, object, str | None, dict[int, dict[str, int]]]]
"""Task → status, version, state, and version → table → number of rows."""


def look(db: Path, *, at_rest: bool = True) -> Found:
    """Read one state of the file, in one transaction; each row must know its task."""
    with closing(sqlite3.connect(f"{db.as_uri()}?mode={'rw' if at_rest else 'ro'}", uri=True)) as conn:
        conn.execute("BEGIN")
        if at_rest and conn.execute("PRAGMA integrity_check").fetchall() != [("ok",)]:
            raise UnsoundError("the file is damaged")
        rows: dict[int, dict[int, dict[str, int]]] = {}
        for table in ("items", "parts"):
            for task, owner, version, count in conn.execute(
                f"SELECT r.task, t.key, r.version, COUNT(*) FROM {table} r "
                "LEFT JOIN task_runs t ON t.id = _task_id GROUP BY 1, 2, 3"
            ):
                if task != owner:
                    raise UnsoundError(f"rows of task {task} say that they are of {owner}")
                rows.setdefault(task, {}).setdefault(version, {})[table] = count
        return {
            task: (status, version, state, rows.get(task, {}))
            for task, status, version, state in conn.execute(
                "SELECT t.key, t.status, t.version, s.state FROM task_runs t "
                "LEFT JOIN pipeloom_state s ON s.task_id = t.id"
            )
        }


def check(found: Found, count: int) -> None:
    """Say that each task has exactly one generation of rows, and all of it.

    Raises:
        UnsoundError: One has two, none, or a part.
    """
    if sorted(found) != list(range(count)):
        raise UnsoundError(f"tasks are missing: {sorted(found)}")
    for task, (status, version, state, rows) in found.items():
        if len(rows) != 1:
            raise UnsoundError(f"task {task} has rows of {len(rows)} generations: {rows}")
        ((generation, counts),) = rows.items()
        expected = rows_of(task, generation, half=state is not None)
        if generation != version or counts != {table: n for table, n in expected.items() if n}:
            raise UnsoundError(f"task {task}, {status}, version {version}, state {state}: {rows}, not {expected}")
        if state is not None and (status == "done" or not has_checkpoint(task)):
            raise UnsoundError(f"task {task} is {status} and has a state")


def command(db: Path, generation: int, **arguments: object) -> list[str]:
    """Return the command that runs all inputs in a generation."""
    return product("changed", program=PROGRAM, **{"db": db, "count": COUNT, "generation": generation, **arguments})


def finish(start: Start, db: Path, generation: int, count: int = COUNT, **arguments: object) -> None:
    """Run it to its end, and say that all of it is there."""
    code, out, err = start(command(db, generation, count=count, **arguments)).wait()
    assert code == DONE, out + err
    found = look(db)
    check(found, count)
    for task, (status, version, _, _) in found.items():
        if (status, version) != ("done", version_of(task, generation)):
            raise UnsoundError(f"task {task} is {status} in version {version}")


@pytest.fixture(params=JOURNALS, ids=JOURNALS.get)
def first(
    request: pytest.FixtureRequest, start: Start, tmp_path: Path
) -> Callable[[str], tuple[Path, dict[str, object]]]:
    """Copies of a file in which the first generation is done, and how to go on with it."""
    options = {"wal": request.param}
    made = tmp_path / "first.db"
    finish(start, made, 0, **options)

    def copy(name: str) -> tuple[Path, dict[str, object]]:
        db = tmp_path / f"{name}.db"
        shutil.copy(made, db)
        return db, options

    return copy


def points_of(start: Start, db: Path, words: list[str]) -> list[tuple[str, int]]:
    """Count the storage calls of an undisturbed run: (call, N) for each."""
    log = db.with_suffix(".log")
    code, out, err = start(strace.counting(words, paths=strace.files_of(db), log=log)).wait()
    assert code == DONE, out + err
    return [(call, n) for call, most in sorted(strace.counts(log).items()) for n in range(1, most + 1)]


def test_killed_while_changed_inputs_are_done_again(start, tmp_path, first):
    """At each storage call: the old generation or the new one; the next call brings the new one to all."""
    db, options = first("count")
    points = points_of(start, db, command(db, 1, **options))
    assert len(points) > 50
    hits = old = 0
    tried = sample(points, 3)
    for call, n in tried:
        db, options = first(f"{call}-{n}")
        words = command(db, 1, **options)
        code, out, err = start(
            strace.injecting(call, f"signal=KILL:when={n}", words, paths=strace.files_of(db))
        ).wait()
        assert code in (DONE, KILLED), out + err
        hits += code == KILLED
        found = look(db)
        check(found, COUNT)
        old += any(version == 0 for task, (_, version, _, _) in found.items() if task % 3)
        finish(start, db, 1, **options)
    assert hits >= len(tried) * 3 // 4, f"only {hits} of {len(tried)} kills hit"
    assert old, "no kill came before the last of the old rows had gone"


def killed_after(child: Child, seconds: float, db: Path, count: int) -> None:
    """Watch a program, and kill it after a while."""
    until = monotonic() + seconds
    while (left := until - monotonic()) > 0 and child.process.poll() is None:
        check(look(db, at_rest=False), count)
        sleep(min(left, 0.01))
    child.kill()
    child.wait()


@pytest.mark.parametrize("executor", ["threads", "processes"])
def test_killed_at_random_instants_while_versions_change(start, tmp_path, executor):
    """Again and again on one file, while another process watches; versions go on, or stay as they are."""
    db, instants = tmp_path / "out.db", random.Random(executor)
    options = {"executor": executor, "pause_s": 0.01, "count": 60}
    finish(start, db, 0, **options)
    generation = 1
    for _ in range(amount(2, 150)):
        killed_after(start(command(db, generation, **options)), instants.uniform(0.2, 0.9), db, 60)
        check(look(db), 60)
        generation += instants.random() < 0.4
    finish(start, db, generation, **options)


def test_no_space_while_changed_inputs_are_done_again(start, tmp_path, first):
    """The old rows stay where the new ones find no room."""
    db, options = first("count")
    most = max(n for call, n in points_of(start, db, command(db, 1, **options)) if call == "pwrite64")
    for n in sample(list(range(2, most, 3)), 2):
        db, options = first(f"full-{n}")
        words = command(db, 1, **options)
        code, _, err = start(
            strace.injecting("pwrite64", f"error=ENOSPC:when={n}+", words, paths=strace.files_of(db))
        ).wait()
        assert code in (STORAGE, DONE), (n, err)
        check(look(db), COUNT)
        finish(start, db, 1, **options)


def test_killed_while_tasks_are_taken_back(start, tmp_path, first):
    """At a storage call of `pipeloom forget`: all of them are there with their rows, or none is."""
    taken = range(1, COUNT, 2)

    def forgetting(db: Path) -> list[str]:
        return [sys.executable, "-m", "pipeloom", "forget", "--db", str(db), *map(str, taken), "--yes"]

    db, options = first("count")
    left = []
    for call, n in sample([point for point in points_of(start, db, forgetting(db)) if point[0] == "pwrite64"], 3):
        db, options = first(f"forget-{call}-{n}")
        code, out, err = start(
            strace.injecting(call, f"signal=KILL:when={n}", forgetting(db), paths=strace.files_of(db))
        ).wait()
        assert code in (DONE, KILLED), out + err
        found = look(db)
        left.append(len(found))
        assert len(found) in (COUNT, COUNT - len(taken))
        if len(found) == COUNT:
            check(found, COUNT)
        finish(start, db, 0, **options)
    assert COUNT in left


@pytest.mark.parametrize("mistake", ["forgets", "commits"])
def test_the_harness_catches_a_mistake(start, tmp_path, mistake):
    """Rows that stay, and rows that go in a commit before."""
    made = tmp_path / "first.db"
    finish(start, made, 0)
    if mistake == "forgets":
        with pytest.raises(UnsoundError, match="rows of 2 generations"):
            finish(start, made, 1, mistake=mistake)
        return
    shutil.copy(made, tmp_path / "count.db")
    points = points_of(start, tmp_path / "count.db", command(tmp_path / "count.db", 1, mistake=mistake))
    writes = [n for call, n in points if call == "pwrite64"]
    for n in sorted(writes, key=lambda n: (n * 7919) % len(writes)):  # all over the run, until one is caught
        db = tmp_path / f"{n}.db"
        shutil.copy(made, db)
        words = command(db, 1, mistake=mistake)
        start(strace.injecting("pwrite64", f"signal=KILL:when={n}", words, paths=strace.files_of(db))).wait()
        try:
            check(look(db), COUNT)
        except UnsoundError:
            return
    pytest.fail("this harness would let it through")
