"""Limits hold on every executor: what is counted when a task is handed out is what runs."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from time import monotonic

import pytest

import pipeloom
from executors import limited
from executors.limited import SLOWED_S, host_of
from pipeloom import Limit
from pipeloom.engine.buckets import Buckets
from pipeloom.engine.intake import Intake

ITEMS = [f"{host}/{n}" for n in range(6) for host in "aab"]  # uneven: b overtakes a
ITEMS = [f"{item}/{place}" for place, item in enumerate(ITEMS)]
AT_ONCE = pipeloom.Retry(2, delay_s=0.0)


@pytest.fixture
def counted(monkeypatch):
    """When starts were counted, by value, and in all under None."""
    found: dict[object, list[float]] = {None: []}
    count = Buckets.count

    def noting(self, ticket, now):
        count(self, ticket, now)
        found[None].append(now)
        for value in ticket.values:
            found.setdefault(value, []).append(now)

    monkeypatch.setattr(Buckets, "count", noting)
    return found


def most_at_once(spans):
    """Return how many of some (begin, end) there are at the same time."""
    steps = sorted([(begin, 1) for begin, _ in spans] + [(end, -1) for _, end in spans])
    return max(sum(step for _, step in steps[: place + 1]) for place in range(len(steps)))


def run(executor, function, items, db, limit, **options):
    return pipeloom.map(
        executor.of(function), items, db=db, limit=limit, progress=False, durability="off", **executor.options,
        **{"workers": 2, **options},
    )  # fmt: skip


def test_no_more_run_at_once_than_may(executor, db):
    """Of each value, and of all; and all of them run."""
    limits = [Limit(at_once=1, per=host_of), Limit(at_once=2)]
    results = dict(run(executor, limited.timed, ITEMS, db, limits).results())

    assert sorted(results) == sorted(ITEMS)
    assert most_at_once(results.values()) <= 2
    for host in "ab":
        assert most_at_once([results[item] for item in ITEMS if host_of(item) == host]) == 1


def test_no_more_begin_than_may(executor, db, counted):
    """By the moments at which they were handed out; none begins before."""
    report = run(executor, limited.timed, ITEMS, db, Limit(rate=2, per_s=0.04, burst=2, per=host_of))
    results = dict(report.results())

    assert len(counted[None]) == len(ITEMS)
    for host in "ab":
        out = counted[host]
        begins = sorted(results[item][0] for item in ITEMS if host_of(item) == host)
        assert len(out) == len(begins)
        assert all(at <= begin for at, begin in zip(out, begins, strict=True))
        for first in out:
            assert sum(first <= at < first + 0.04 - 1e-6 for at in out) <= 2 + 2
            assert sum(first <= at < first + 0.08 - 1e-6 for at in out) <= 4 + 2


def test_a_task_slows_the_others_down_and_fails(executor, db):
    """Nothing that shares its value begins for so long, its own next try neither; all others do."""
    items = ["a/slow", *[f"a/{n}" for n in range(3)], *[f"b/{n}" for n in range(6)]]
    limits = [Limit(at_once=1, per=host_of), Limit(at_once=1)]
    began = monotonic()
    report = run(executor, limited.slows_down, items, db, limits, retries=AT_ONCE, workers=1)
    results = dict(report.results())

    assert report.done == len(items)
    others = [results[item][0] for item in items if item.startswith("a")]
    assert all(begin >= began + SLOWED_S for begin in others)
    # Not all of them: on a busy machine six tasks may take longer than the others wait.
    assert min(results[item][0] for item in items if item.startswith("b")) < min(others)


def test_without_values_the_whole_run_is_slowed_down(executor, db):
    """What runs at that moment goes on; here that is nothing."""
    began = monotonic()
    report = run(
        executor, limited.slows_down, ["slow", "a", "b"], db, Limit(at_once=1), workers=1, on_error="collect"
    )

    assert (report.done, report.failed) == (2, 1)
    assert min(begin for _, (begin, _) in report.results()) >= began + SLOWED_S


def test_a_run_hears_it_while_the_task_runs(executor, db, tmp_path, monkeypatch):
    """Where an executor can show what runs; the others tell it with the outcome."""
    if "live" not in executor.can:
        return
    slow_down, flag = Intake.slow_down, tmp_path / "heard"

    def noting(self, attempt, seconds):
        slow_down(self, attempt, seconds)
        flag.touch()

    monkeypatch.setattr(Intake, "slow_down", noting)

    assert run(executor, limited.says_it_while_it_runs, [str(flag)], db, None).done == 1


@pytest.mark.parametrize("name", ["threads", "processes"])
def test_a_run_without_limits_can_be_slowed_down(name, db):
    """What was sent ahead is taken back; afterwards the run is as fast as before, and sends ahead again."""
    report = pipeloom.map(
        limited.slows_the_rest_down, range(600), db=db, executor=name, workers=2, progress=False, durability="off"
    )
    results = dict(report.results())
    said = results[20]
    gap = [at for at in results.values() if said + SLOWED_S < at < said + SLOWED_S * 2]

    assert len(results) == 600
    assert gap == []
    assert sum(at > said for at in results.values()) > 300


def slows_down_for_long(n, ctx):
    """Have others wait, of which there is none."""
    ctx.slow_down(3600)


@pytest.mark.parametrize("limit", [None, Limit(rate=1, per_s=3600)])
def test_a_run_ends_although_it_is_slowed_down(db, limit):
    """There is nothing that waits; also when all that is left is done already."""
    pipeloom.map(str, range(100), db=db, name="n", progress=False, durability="off")
    with pipeloom.start(
        slows_down_for_long, [100, *range(100)], db=db, name="n", limit=limit, workers=1, progress=False
    ) as run:
        report = run.wait(timeout=20)

    assert (report.done, report.skipped) == (1, 100)


@contextmanager
def parked(db, limit, items=range(50), **options):
    """Have a run whose inputs all wait, while its workers have nothing to do."""
    run = pipeloom.start(int, items, db=db, limit=limit, progress=False, durability="off", **options)
    try:
        deadline = monotonic() + 20
        while not (run.counts.done and run.counts.waiting):
            assert monotonic() < deadline, run.counts
            threading.Event().wait(0.002)
        yield run
    finally:
        run.cancel(drain=False)


@pytest.mark.parametrize("executor", ["threads", "processes"])
def test_a_run_that_waits_for_a_limit_can_be_cancelled(db, read, executor):
    """At once; what has waited is left to the next run, which does it."""
    limit = Limit(rate=1, per_s=1000, per=lambda n: "one")
    with parked(db, limit, executor=executor, workers=2) as run:
        run.cancel()
        report = run.wait(timeout=20)

    assert (report.done, report.failed) == (1, 0)
    assert read(db, "SELECT status, count(*) FROM task_runs GROUP BY 1") == [("done", 1)]
    assert pipeloom.map(int, range(50), db=db, progress=False).done == 49


def fails_once(n, ctx):
    """Fail at the first try."""
    if ctx.attempt == 1:
        raise ValueError("once")


def test_a_failed_try_whose_next_one_waits_for_a_limit_is_told(db, read, monkeypatch):
    """The run ends before its turn: it has failed, and its row says so."""
    intakes = []

    class Noted(Intake):
        def start(self):
            intakes.append(self)
            super().start()

    monkeypatch.setattr("pipeloom.engine.assembly.Intake", Noted)
    run = pipeloom.start(
        fails_once, [7], db=db, limit=Limit(rate=1, per_s=1000), retries=AT_ONCE,
        progress=False, durability="off", on_error="collect",
    )  # fmt: skip
    deadline = monotonic() + 20
    while not (intakes and intakes[0].held_up()[0]):
        assert monotonic() < deadline, run.counts
        threading.Event().wait(0.002)
    run.cancel()
    report = run.wait(timeout=20)

    assert (report.failed, report.failures[0].exception) == (1, "ValueError")
    assert read(db, "SELECT status, attempt FROM task_runs") == [("error", 1)]


def test_every_try_counts(db, counted):
    """Those of failed tasks too."""
    with pytest.raises(pipeloom.TasksFailedError):
        pipeloom.map(
            cannot, range(3), db=db, limit=Limit(rate=1000), retries=pipeloom.Retry(3, delay_s=0.0), progress=False,
            durability="off",
        )  # fmt: skip

    assert len(counted[None]) == 9


def cannot(n):
    """Fail."""
    raise ValueError(n)


@pytest.mark.parametrize("which", ["per", "weight"])
def test_an_input_that_cannot_be_counted_fails_alone(db, read, which):
    """With a sentence that names it; no retry helps."""
    limit = Limit(rate=1e6, burst=1e6, **{which: lambda item: 1 / item})
    with pytest.raises(pipeloom.TasksFailedError):
        pipeloom.map(str, [1, 0, 2], db=db, limit=limit, progress=False, retries=3, durability="off")

    ((message, error),) = read(db, "SELECT message, error FROM task_runs WHERE status = 'error'")
    assert message == f"limit=: {which} raised ZeroDivisionError for the input 0: division by zero"
    assert "1 / item" in error
    assert read(db, "SELECT count(*) FROM task_runs WHERE status = 'done'") == [(2,)]
