"""``kill -9``: at every storage call, and at random instants. (P1, P2, P4, P9)"""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from time import monotonic, sleep

import pytest

from faults import programs, strace
from faults.tools import DONE, KILLED, Child, Start, amount, mistaken, product, sample
from faults.verdict import VERDICT, Stored, UnsoundError, acknowledged, check_acknowledged, check_whole, look

COUNT = 24
Command = Callable[..., list[str]]


def points_of(start: Start, place: Path, command: Command) -> list[tuple[str, int]]:
    """Count the storage calls of an undisturbed run: (call, N) for each."""
    db, log = place / "count.db", place / "count.log"
    child = start(strace.counting(command(db=db, acks=place / "count.acks"), paths=strace.files_of(db), log=log))
    code, out, err = child.wait()
    assert code == DONE, out + err
    return [(call, n) for call, most in sorted(strace.counts(log).items()) for n in range(1, most + 1)]


def killed_at(start: Start, place: Path, command: Command, point: tuple[str, int], count: int) -> Stored | None:
    """Kill the program at one storage call and judge what it leaves; returns that, or ``None`` if it was missed."""
    call, n = point
    db, acks = place / f"{call}-{n}.db", place / f"{call}-{n}.acks"
    words = command(db=db, acks=acks)
    child = start(strace.injecting(call, f"signal=KILL:when={n}", words, paths=strace.files_of(db)))
    code, out, err = child.wait()
    assert code in (DONE, KILLED), out + err
    stored = VERDICT.sound(db, acknowledged(acks), words, count)
    return stored if code == KILLED else None


@pytest.mark.parametrize(
    ("function", "quick"), [("load", 6), ("pipeline", 4)], ids=["write-ahead log", "rollback journal"]
)
def test_killed_at_every_storage_call(start, tmp_path, function, quick):
    """Each write, sync, truncation and removal that the program makes on its files is once its last."""

    def command(**arguments: object) -> list[str]:
        return product(function, count=COUNT, **arguments)

    points = points_of(start, tmp_path, command)
    assert len(points) > 100
    tried = sample(points, quick)
    left = [killed_at(start, tmp_path, command, point, COUNT) for point in tried]
    hits = sum(stored is not None for stored in left)
    midway = sum(stored is not None and bool(stored.stages) for stored in left)
    # Batches differ from run to run, so that the last calls of one may not come in another.
    assert hits >= len(tried) * 3 // 4, f"only {hits} of {len(tried)} kills hit"
    assert midway >= len(tried) // 4, f"only {midway} of {len(tried)} kills left a task behind a checkpoint"
    print(f"{function}: {hits} of {len(tried)} points hit, {midway} between checkpoints, all sound")


@pytest.mark.parametrize("mistake", ["mark_in_its_own_transaction", "noted_before_the_commit"])
def test_the_harness_catches_a_mistake(start, tmp_path, mistake):
    """A done mark apart from its rows, or a note before its commit, does not get through the same kills."""

    def command(**arguments: object) -> list[str]:
        return mistaken(mistake, count=8, **arguments)

    points = [point for point in points_of(start, tmp_path, command) if point[0] == "pwrite64"]
    caught = tried = 0
    for point in sample(points[len(points) // 2 :], 12):
        tried += 1
        try:
            killed_at(start, tmp_path, command, point, 8)
        except UnsoundError:
            caught += 1
    print(f"{mistake}: caught at {caught} of {tried} points")
    assert caught, "this harness would let it through"


def test_the_harness_catches_rows_that_come_again(start, tmp_path):
    """A program that is sound at every instant, and starts from the beginning, doubles its rows."""
    with pytest.raises(UnsoundError, match="twice"):
        killed_at(start, tmp_path, lambda **a: mistaken("rerun_from_the_start", count=8, **a), ("pwrite64", 40), 8)


class Observer:
    """Another process's eyes on a running database: what it saw done is acknowledged."""

    def __init__(self, db: Path) -> None:
        self.db = db
        self.seen: set[str] = set()
        self.looks = 0

    def look(self) -> None:
        """Look once, read-only, in one transaction: no half task, and nothing that was done is not any more."""
        try:
            conn = sqlite3.connect(f"{self.db.as_uri()}?mode=ro", uri=True, isolation_level=None)
        except sqlite3.OperationalError:
            return  # not there yet
        with closing(conn):
            try:
                stored = look(conn)
            except sqlite3.OperationalError:
                return  # its shared memory is not there yet, or just going away
        check_whole(stored, programs.rows_of, programs.rows_until)
        check_acknowledged(stored, self.seen)
        self.seen |= {str(task) for task in stored.done}
        self.seen |= {f"{task}:{stage}" for task, stage in stored.stages.items()}
        self.looks += 1


def killed_after(child: Child, seconds: float, observer: Observer, *, once_seen: bool) -> None:
    """Watch a program, and kill it after a while, counted from the first look at its file if that is asked for."""
    child.begun()
    while once_seen and not observer.looks and child.process.poll() is None:
        observer.look()  # on a busy machine every kill could come before there is a file
        sleep(0.005)
    until = monotonic() + seconds
    while (left := until - monotonic()) > 0 and child.process.poll() is None:
        observer.look()
        sleep(min(left, 0.005))
    child.kill()
    child.wait()


def random_kills(
    start: Start, place: Path, command: Command, *, kills: int, count: int, longest_s: float, seed: int
) -> tuple[int, int]:
    """Kill one program after the other, on one file until all is done there, then on the next.

    Returns:
        How many files it took, and how often the observer looked.
    """
    instants = random.Random(seed)
    files = looks = 0
    while kills > 0:
        files += 1
        db, acks = place / f"{files}.db", place / f"{files}.acks"
        words, observer = command(db=db, acks=acks), Observer(db)
        done: set[int] = set()
        first_is_over = False
        while kills > 0 and len(done) < count:
            kills -= 1
            killed_after(start(words), instants.uniform(0, longest_s), observer, once_seen=first_is_over)
            first_is_over = True
            done = VERDICT.at_rest(db, acknowledged(acks) | observer.seen).done
        VERDICT.resumed(db, words, count)
        looks += observer.looks
    return files, looks


def test_killed_at_random_instants_again_and_again(start, tmp_path):
    """On one file until all is done; another process watches, and what it saw done stays done."""
    files, looks = random_kills(
        start, tmp_path, lambda **a: product("load", count=60, workers=4, pause_s=0.002, **a),
        kills=amount(14, 1000), count=60, longest_s=0.25, seed=1,
    )  # fmt: skip
    assert looks > files
    print(f"{amount(14, 1000)} kills on {files} files, {looks} looks, all sound")


@pytest.mark.parametrize("mistake", ["mark_in_its_own_transaction", "noted_before_the_commit"])
def test_the_random_kills_catch_a_mistake(start, tmp_path, mistake):
    """The same two mistakes, by chance, or by the observer."""
    with pytest.raises(UnsoundError):
        random_kills(
            start, tmp_path, lambda **a: mistaken(mistake, count=40, pause_s=0.01, **a),
            kills=30, count=40, longest_s=0.3, seed=2,
        )  # fmt: skip


def test_killed_with_an_output_that_is_not_stored_yet(start, tmp_path, read):
    """What a large task has put into a file is gone with it; the next run begins it again."""
    db = tmp_path / "out.db"
    child = start(product("large", db=db, megabytes=30, stays=True))
    child.begun()
    child.kill()
    child.wait()

    assert {path.name for path in tmp_path.iterdir()} <= {"out.db", "out.db-wal", "out.db-shm"}
    assert read(db, "SELECT number FROM bulk") == [(0,)]
    assert start(product("large", db=db, megabytes=30)).wait()[0] == DONE
    assert read(db, "SELECT n FROM bulk WHERE number = 1 ORDER BY rowid") == [(n,) for n in range(30)]
