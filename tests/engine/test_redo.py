"""``version=``: an input that has changed is done again, and what it wrote before goes in the same commit."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

import pipeloom


class World:
    """Inputs with versions: what a task writes says which version it was."""

    def __init__(self, db: Any, **versions: object) -> None:
        self.db = db
        self.versions = versions
        self.ran: list[str] = []

    def task(self, item: str, ctx: pipeloom.TaskContext) -> None:
        """Write the version."""
        self.ran.append(item)
        ctx.write("rows", [{"item": item, "version": str(self.versions[item])}] * 3)

    def run(self, **options: Any) -> pipeloom.RunReport:
        """Run all inputs quietly."""
        self.ran.clear()
        options = {"version": lambda item: self.versions[item], "on_error": "collect", **options}
        return pipeloom.map(
            options.pop("fn", self.task), list(self.versions), db=self.db, name="w", progress=False, **options
        )

    def stored(self) -> dict[str, Any]:
        """Return key → version, of all tasks."""
        return dict(self.ask("SELECT key, version FROM task_runs"))

    def rows(self) -> list[tuple[Any, ...]]:
        """Return (item, version, how many) of the rows."""
        return self.ask("SELECT item, version, COUNT(*) FROM rows GROUP BY 1, 2 ORDER BY 1, 2")

    def ask(self, sql: str) -> list[tuple[Any, ...]]:
        """Ask the file."""
        with closing(sqlite3.connect(self.db)) as conn:
            return conn.execute(sql).fetchall()


@pytest.fixture
def world(db) -> Callable[..., World]:
    """Make inputs with versions."""
    return lambda **versions: World(db, **versions)


def test_what_has_changed_is_done_again_and_nothing_else(world):
    """Its rows are replaced, those of others stay, whatever the type of the version."""
    this = world(a=1, b="x", c=(5, 0.5))
    assert this.run().done == 3
    assert this.run().skipped == 3
    assert not this.ran

    this.versions |= {"b": "y", "c": [5, 0.5]}  # a list is as good as a tuple
    report = this.run()
    assert (report.done, report.skipped, this.ran) == (1, 2, ["b"])
    assert this.rows() == [("a", "1", 3), ("b", "y", 3), ("c", "(5, 0.5)", 3)]
    assert this.stored() == {"a": 1, "b": "y", "c": "[5,0.5]"}
    assert this.run().skipped == 3


def test_a_number_is_not_its_text(world):
    """They are two versions; whole floats and ints are one."""
    this = world(a=1, b=2)
    this.run()
    this.versions |= {"a": "1", "b": 2.0}
    this.run()
    assert this.ran == ["a"]


def test_the_version_is_stored_with_done_only(world):
    """One that failed, or was never done, has that of its rows, if any."""

    def fails(item, ctx):
        raise ValueError

    this = world(a=1, b=1)
    this.run()
    this.versions["a"] = 2
    assert this.run(fn=fails).failed == 1
    assert this.stored() == {"a": 1, "b": 1}
    assert this.rows() == [("a", "1", 3), ("b", "1", 3)]

    this.versions["a"] = 1  # as it was: but the task is not done
    this.run()
    assert this.ran == ["a"]
    assert this.stored() == {"a": 1, "b": 1}


def test_the_version_is_that_of_when_the_input_was_read(world):
    """A change during the task is found by the next call."""

    def changes(item, ctx):
        this.task(item, ctx)
        this.versions[item] = 2

    this = world(a=1)
    this.run(fn=changes)
    assert this.stored() == {"a": 1}
    this.run()
    assert this.ran == ["a"]


def test_a_run_without_version_leaves_no_stale_one(world):
    """It does not look at versions; what it does again has none, and is done again by the next that asks."""
    this = world(a=1, b=1)
    this.run()
    this.versions["a"] = 2
    assert this.run(version=None, own_rows=True).skipped == 2
    assert this.stored() == {"a": 1, "b": 1}

    assert this.run(version=None, own_rows=True, resume=False).done == 2
    assert this.stored() == {"a": None, "b": None}
    assert this.rows() == [("a", "2", 3), ("b", "1", 3)]
    assert this.run().done == 2


def test_resume_false_does_all_again_and_stores_the_versions(world):
    """Changed or not."""
    this = world(a=1, b=1)
    this.run()
    this.versions["a"] = 2
    assert this.run(resume=False).done == 2
    assert this.stored() == {"a": 2, "b": 1}
    assert this.rows() == [("a", "2", 3), ("b", "1", 3)]


def test_what_was_done_without_a_version_is_done_again_if_its_rows_know_it(world):
    """Otherwise it fails by itself: rows would be there twice."""
    this = world(a=1)
    this.run(version=None, own_rows=True)
    assert this.run().done == 1
    assert this.rows() == [("a", "1", 3)]


def test_rows_that_do_not_know_their_task_are_not_doubled(world):
    """The sentence says what to do; what failed stays done, and new inputs are run."""
    this = world(a=1)
    this.run(version=None)
    this.versions["b"] = 1
    report = this.run()
    assert (report.done, report.failed) == (1, 1)
    assert report.failures[0].exception == "LedgerError"
    assert "cannot be replaced" in report.failures[0].message
    assert this.rows() == [("a", "1", 3), ("b", "1", 3)]
    assert this.run(version=None).skipped == 2


def test_without_own_rows_what_has_changed_is_done_again_beside_its_old_rows(world):
    """``own_rows=False`` says so."""
    this = world(a=1)
    this.run(own_rows=False)
    this.versions["a"] = 2
    assert this.run(own_rows=False).done == 1
    assert this.rows() == [("a", "1", 3), ("a", "2", 3)]


@pytest.mark.parametrize(
    ("version", "says"),
    [
        (
            lambda item: None,
            "version= returned None for input 1 (a): None cannot serve as a version; return a str, an int",
        ),
        (lambda item: float("nan"), "version= returned nan for input 1 (a): NaN"),
        (lambda item: {}, "version= returned {} for input 1 (a): a value of type dict cannot serve as a version"),
        (lambda item: 1 / 0, "version= raised ZeroDivisionError for input 1 (a): division by zero"),
    ],
)
def test_an_input_without_a_version_fails_by_itself(world, version, says):
    """The others are run."""
    this = world(a=1, b=1)
    report = this.run(version=lambda item: version(item) if item == "a" else 1)
    assert (report.done, report.failed) == (1, 1)
    assert says in report.failures[0].message


def test_a_checkpoint_of_another_version_is_not_gone_on_from(world):
    """Its rows are of an input that is not there any more; one of the same version is."""
    states = []

    def stops(item, ctx):
        states.append(ctx.state)
        ctx.write("rows", {"item": item, "version": str(this.versions[item])})
        ctx.checkpoint("half")
        if len(states) < 4:
            raise ValueError

    this = world(a=1)
    this.run(fn=stops)
    this.run(fn=stops)
    assert this.rows() == [("a", "1", 2)]
    this.versions["a"] = 2
    this.run(fn=stops)
    assert this.rows() == [("a", "2", 1)]
    assert this.stored() == {"a": 2}
    assert this.run(fn=stops).done == 1
    assert states == [None, "half", None, "half"]
    assert this.rows() == [("a", "2", 2)]


def test_a_failed_try_of_a_new_version_leaves_checkpoints_of_the_old_one_to_that(world):
    """Nothing of it was stored: the file still holds the old half."""
    states = []

    def half(item, ctx):
        states.append(ctx.state)
        ctx.write("rows", {"item": item, "version": str(this.versions[item])})
        if this.versions[item] == 1:
            ctx.checkpoint("half")
        if len(states) < 4:
            raise ValueError

    this = world(a=1)
    this.run(fn=half)
    this.versions["a"] = 2
    this.run(fn=half)
    this.run(fn=half)
    assert this.rows() == [("a", "1", 1)]
    this.versions["a"] = 1
    assert this.run(fn=half).done == 1
    assert states == [None, None, None, "half"]
    assert this.rows() == [("a", "1", 2)]


def test_inputs_found_on_the_way_have_versions_too(world):
    """They are told when an input's turn has come; a change is found by the next call, from its line on file."""

    def visits(item, ctx):
        this.task(item, ctx)
        if item == "a":
            ctx.add("b", "c")

    this = world(a=1, b=1, c=1)
    seeds = {"a": 1}

    def crawl():
        this.ran.clear()
        return pipeloom.map(
            visits, list(seeds), db=this.db, version=lambda item: this.versions[item], name="w", progress=False
        )

    assert crawl().done == 3
    assert this.stored() == {"a": 1, "b": 1, "c": 1}
    this.versions["c"] = 2
    assert crawl().skipped == 2
    assert this.ran == ["c"]
    assert this.rows() == [("a", "1", 3), ("b", "1", 3), ("c", "2", 3)]

    this.versions["a"] = 2  # finds the others once more
    assert crawl().done == 1
    assert this.rows() == [("a", "2", 3), ("b", "1", 3), ("c", "2", 3)]


def test_a_thousand_changed_inputs_go_in_few_statements(world, monkeypatch):
    """Not one by one: rows that go are gathered as those that come are."""
    this = world(**{f"n{n}": 1 for n in range(1000)})
    this.run(durability="off")
    removed = []
    real = sqlite3.connect

    class Counting(sqlite3.Connection):
        def execute(self, sql, *params):
            if sql.startswith("DELETE FROM"):
                removed.append(sql)
            return super().execute(sql, *params)

    monkeypatch.setattr(
        sqlite3, "connect", lambda *args, **options: real(*args, **{"factory": Counting, **options})
    )
    this.versions = dict.fromkeys(this.versions, 2)
    assert this.run(durability="off").done == 1000
    monkeypatch.undo()
    assert this.ask("SELECT version, COUNT(*) FROM rows GROUP BY 1") == [("2", 3000)]
    assert 0 < len(removed) < 300


# --- any sequence of it all ---

KEYS = "abcd"
WAYS = ["done", "none", "fails", "stumbles", "checkpoints", "retried"]
WHAT = st.dictionaries(st.sampled_from(KEYS), st.sampled_from(WAYS))


class Sequence(RuleBasedStateMachine):
    """Runs, one after the other, beside a model of which rows must be there."""

    @initialize(target=None)
    def begin(self) -> None:
        """Begin with an empty file."""
        import tempfile

        self.place = tempfile.mkdtemp(prefix="redo")
        self.db = f"{self.place}/out.db"
        self.versions = dict.fromkeys(KEYS, 0)
        self.rows: dict[str, list[str]] = {}  # key → what its rows say
        self.done: dict[str, object] = {}  # key → its version
        self.state: dict[str, tuple[int, object]] = {}  # key → (steps, version)
        self.count = 0

    def teardown(self) -> None:
        """Leave nothing."""
        if hasattr(self, "place"):
            shutil.rmtree(self.place)

    @rule(key=st.sampled_from(KEYS))
    def change(self, key: str) -> None:
        """An input changes."""
        self.versions[key] += 1

    @rule(what=WHAT, resume=st.booleans(), versioned=st.sampled_from([True, True, False]))
    def run(self, what: dict[str, str], resume: bool, versioned: bool) -> None:
        """All inputs are passed once more, and do one thing or another if they are run."""
        self.count += 1
        mark = str(self.count)
        began: dict[str, int] = {}

        def task(item: str, ctx: pipeloom.TaskContext) -> None:
            does = what.get(item, "done")
            if ctx.attempt == 1 or does == "stumbles":
                began[item] = ctx.state or 0
            if does != "none":
                ctx.write("rows", [{"item": item, "mark": mark}] * 2)
            if does == "checkpoints" or (does == "retried" and ctx.attempt == 1):
                ctx.checkpoint((ctx.state or 0) + 1)
            if does in ("fails", "checkpoints") or (does in ("retried", "stumbles") and ctx.attempt == 1):
                raise ValueError

        version = (lambda item: self.versions[item]) if versioned else None
        pipeloom.map(
            task, list(KEYS), db=self.db, name="m", version=version, own_rows=True, resume=resume, workers=2,
            retries=pipeloom.Retry(attempts=2, delay_s=0), progress=False, durability="off", on_error="collect",
        )  # fmt: skip

        for key in KEYS:
            self.expect(key, what.get(key, "done"), mark, began, resume=resume, versioned=versioned)

    def expect(
        self, key: str, does: str, mark: str, began: dict[str, int], *, resume: bool, versioned: bool
    ) -> None:
        """Do to the model what the run has to do to the file."""
        now = self.versions[key] if versioned else None
        if resume and key in self.done and (not versioned or self.done[key] == now):
            assert key not in began, "it was done, and has not changed"
            return
        steps, of = self.state.get(key, (0, None))
        goes_on = bool(resume and steps and (not versioned or of == now))
        assert began[key] == (steps if goes_on else 0)
        self.done.pop(key, None)
        if does == "fails":
            return
        old = self.rows.get(key, []) if goes_on else []
        if does in ("done", "stumbles"):
            self.rows[key] = [*old, mark, mark]
        elif does == "none":
            self.rows[key] = old
        else:  # both tries have stored two rows
            self.rows[key] = [*old, *[mark] * 4]
        if does == "checkpoints":
            self.state[key] = (began[key] + 2, now)
        else:
            self.state.pop(key, None)
            self.done[key] = now

    @invariant()
    def the_file_is_as_the_model(self) -> None:
        """Rows, states and versions, and each row knows its task."""
        if not getattr(self, "count", 0):
            return
        with closing(sqlite3.connect(self.db)) as conn:
            found: dict[str, list[str]] = {}
            there = conn.execute("SELECT 1 FROM sqlite_master WHERE name = 'rows'").fetchone()
            for item, mark, key in (
                conn.execute(
                    "SELECT r.item, r.mark, t.key FROM rows r JOIN task_runs t ON t.id = _task_id ORDER BY r.rowid"
                )
                if there
                else ()
            ):
                assert item == key
                found.setdefault(item, []).append(str(mark))
            assert found == {key: rows for key, rows in self.rows.items() if rows}
            assert not there or conn.execute("SELECT COUNT(*) FROM rows").fetchone()[0] == sum(
                map(len, found.values())
            )
            done = dict(conn.execute("SELECT key, version FROM task_runs WHERE status = 'done'"))
            assert done == self.done
            states = conn.execute(
                "SELECT t.key, s.state FROM pipeloom_state s JOIN task_runs t ON t.id = s.task_id"
            )
            assert {key: int(state) for key, state in states} == {key: s for key, (s, _) in self.state.items()}


TestAnySequence = Sequence.TestCase
TestAnySequence.settings = settings(max_examples=20, stateful_step_count=10, deadline=None)
