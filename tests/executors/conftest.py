"""Every executor of the contract suite, what it can do, and one run of all cases on each."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from faults.tools import Start, children

import pipeloom
from executors import pools
from executors.cases.talking import Reading, store_readings
from executors.cases.tries import RETRY
from executors.cases.work import every_case, opened, work
from executors.misbehaving import DEEDS, HUNG, Behaves, DeadlyToRead, Unpicklable, Unreadable, name_of
from executors.on_a_loop import as_async
from executors.watching import informed


@dataclass(frozen=True)
class Kind:
    """An executor as a user asks for it.

    Attributes:
        name: As ``pipeloom_runs`` has it.
        can: What it can do for a task; a test of what it cannot is of the refusal.
        takes: Arguments of ``map`` that it takes and not all do.
        options: How ``map`` is told.
        opened: What the session's runs use.
        workers: How many of its kind there are when two are asked for.
        says: Of which exceptions it tells something else, case to type and message.
        of: Makes a function of the suite one that it performs.
    """

    name: str
    can: frozenset[str]
    takes: frozenset[str] = frozenset({"local", "timeout"})
    options: dict[str, Any] = field(default_factory=dict)
    opened: Callable[[], AbstractContextManager[Any]] = nullcontext
    workers: int = 2
    says: dict[str, tuple[str, str]] = field(default_factory=dict)
    of: Callable[[Callable[..., object]], Callable[..., object]] = lambda fn: fn

    def lacks(self, ran: Ran, ability: str, *cases: str) -> bool:
        """Say whether it cannot do something, of which a task is told in a sentence."""
        if ability in self.can:
            return False
        for case in cases:
            assert ran.failure(case).exception == "LedgerError", ran.failure(case)
            assert (
                f"is not available on {self.name}: a task there cannot reach the ledger before it ends"
                in ran.failure(case).message
            )
        return True


KINDS = (
    Kind("threads", frozenset({"live", "logs", "ask", "checkpoint"})),
    Kind("processes", frozenset({"live", "logs", "ask", "checkpoint", "kill"}), options={"executor": "processes"}),
    Kind(
        "asyncio",
        frozenset({"live", "logs", "ask", "checkpoint"}),
        workers=1,
        says={"stop iteration": ("RuntimeError", "coroutine raised StopIteration")},  # by Python itself
        of=as_async,
    ),
    Kind("ProcessPoolExecutor", frozenset(), frozenset(), opened=pools.processes),
    Kind("ThreadPoolExecutor", frozenset(), frozenset(), opened=pools.threads),
    Kind("_ReusablePoolExecutor", frozenset(), frozenset(), opened=pools.loky_processes),
    Kind("dask", frozenset({"live", "logs"}), frozenset({"local"}), opened=pools.dask_cluster),
)
NEEDS = {
    "queries": "ask", "asks_from_its_threads": "ask", "goes_on_from_its_state": "checkpoint",
    "goes_on_in_the_next_run": "checkpoint", "checkpoint_refused": "checkpoint",
    "checkpoint_of_what_is_no_json": "checkpoint",
}  # fmt: skip
"""Case → what its executor must be able to do for it."""


@pytest.fixture(scope="package")
def opened_kind() -> Iterator[Callable[[Kind], Kind]]:
    """Open what an executor needs, once; and close it with the last test that may use it."""
    found: dict[str, Kind] = {}
    with ExitStack() as stack:

        def opened(kind: Kind) -> Kind:
            if kind.name not in found:
                pool = stack.enter_context(kind.opened())
                found[kind.name] = kind if pool is None else replace(kind, options={"executor": pool})
            return found[kind.name]

        yield opened


@pytest.fixture(scope="package", params=KINDS, ids=lambda kind: kind.name)
def executor(request: pytest.FixtureRequest, opened_kind: Callable[[Kind], Kind]) -> Kind:
    """One after the other."""
    return opened_kind(request.param)


TABLES = {
    "values_": {"case": str, "value": None},
    "declared": {"n": int, "x": float, "t": str},
    "steps": {"n": int},
    "left": {"case": str, "value": None, "body": bytes},
    "heard": {"case": str, "said": str},
    "readings": {"sensor": str, "value": float},
    "tries": {"case": str, "attempt": int},
    "stages": {"case": str, "n": int, "attempt": int},
}
STOCK = "CREATE TABLE stock (sku TEXT PRIMARY KEY, n INTEGER NOT NULL CHECK (n >= 0))"


@dataclass(frozen=True)
class Ran:
    """A run of all cases.

    Attributes:
        report: What ``map`` returned.
        db: The file.
    """

    report: pipeloom.RunReport
    db: Path

    def rows(self, sql: str, *params: Any) -> list[tuple[Any, ...]]:
        """Read from the file."""
        with closing(sqlite3.connect(self.db)) as conn:
            return conn.execute(sql, params).fetchall()

    def task(self, case: str, columns: str = "status") -> tuple[Any, ...]:
        """Return some columns of a case's row."""
        (row,) = self.rows(f"SELECT {columns} FROM task_runs WHERE key = ?", case)
        return row

    def result(self, case: str) -> Any:
        """Return what a case returned; it must be done."""
        assert self.task(case, "status, error") == ("done", None)
        return dict(self.report.results())[case]

    def failure(self, case: str) -> pipeloom.Failure:
        """Return how a case failed."""
        failures = {failure.key: failure for failure in self.report.failures}
        return failures[case]


def run_all(kind: Kind, place: Path) -> Ran:
    """Run every case once."""
    db = place / f"{kind.name}.db"
    with closing(sqlite3.connect(db)) as conn, conn:
        conn.execute(STOCK)
        conn.execute("INSERT INTO stock VALUES ('seed', 1), ('old', 1)")
    local = {"local": partial(opened, str(db.with_suffix(".local")))} if "local" in kind.takes else {}
    with informed():
        report = pipeloom.map(
            kind.of(work), every_case(), db=db, name="contract", workers=2, retries=RETRY,
            on_error="collect", durability="off", tables=TABLES, handlers={Reading: store_readings},
            max_task_mb=24, progress=False, **local, **kind.options,
        )  # fmt: skip
    return Ran(report, db)


@pytest.fixture(scope="package")
def ran_on(tmp_path_factory: pytest.TempPathFactory, opened_kind: Callable[[Kind], Kind]) -> Callable[[Kind], Ran]:
    """Run every case on an executor; each once a session."""
    done: dict[str, Ran] = {}
    place = tmp_path_factory.mktemp("contract")

    def ran(kind: Kind) -> Ran:
        if kind.name not in done:
            done[kind.name] = run_all(opened_kind(kind), place)
        return done[kind.name]

    return ran


@pytest.fixture
def ran(executor: Kind, ran_on: Callable[[Kind], Ran], package_log: object) -> Ran:
    """The run of all cases on this executor."""
    return ran_on(executor)


@pytest.fixture
def start() -> Iterator[Start]:
    """Start a program in a group of its own; what is left of it at the end is killed."""
    with children() as starting:
        yield starting


def others(deed: str) -> list[str]:
    """Return the inputs behind a deed, in whose worker some of them run."""
    return [f"{n} after {deed}" for n in range(3)]


@dataclass(frozen=True)
class Misbehaved(Ran):
    """A run of all deeds that end by themselves, and another one, of the same pipeline, of those that hang.

    Attributes:
        hung: What ``map`` returned for these.
    """

    hung: pipeloom.RunReport

    def failure(self, deed: str) -> pipeloom.Failure:
        """Return how a deed failed."""
        return Ran(self.hung, self.db).failure(deed) if deed in HUNG else super().failure(deed)


@pytest.fixture(scope="session")
def misbehaved(tmp_path_factory: pytest.TempPathFactory) -> Misbehaved:
    """All deeds in worker processes, each followed by others that do nothing; none is tried again.

    Only those that hang have a time limit: how long the others take is the machine's affair.
    """
    place = tmp_path_factory.mktemp("misbehaving")
    special = {kind.__name__: kind() for kind in (Unpicklable, Unreadable, DeadlyToRead)}
    by_themselves = [name for name in (*DEEDS, *special) if name not in HUNG]

    def run(names: Iterable[str], timeout: float | None) -> pipeloom.RunReport:
        return pipeloom.map(
            Behaves(place), [item for name in names for item in (special.get(name, name), *others(name))],
            db=place / "out.db", name="misbehaving", key=name_of, workers=2, executor="processes",
            timeout=timeout, on_error="collect", durability="off", progress=False,
            tables={"rows": {"item": str, "attempt": int}, "floods": {"n": int, "text": str}},
        )  # fmt: skip

    return Misbehaved(run(by_themselves, None), place / "out.db", run(HUNG, 3.0))
