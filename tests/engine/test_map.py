"""``pipeloom.map`` as a user meets it."""

from __future__ import annotations

import dataclasses
import re
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

import pytest

import pipeloom


def square(number, ctx):
    ctx.write("squares", {"n": number, "square": number * number})
    return {"n": number}


def nothing(_item):
    return None


def test_rows_and_done_marks_come_together(db, read):
    """Every input is done, its rows are in, its result is JSON."""
    report = pipeloom.map(square, range(50), db=db)

    assert (report.done, report.failed, report.total, report.status) == (50, 0, 50, "done")
    assert read(db, "SELECT COUNT(*), SUM(square) FROM squares") == [(50, sum(n * n for n in range(50)))]
    assert read(db, "SELECT status, COUNT(*) FROM task_runs GROUP BY status") == [("done", 50)]
    assert sorted(report.results()) == [(n, {"n": n}) for n in range(50)]


def test_second_call_does_only_the_rest(db, read):
    """Done keys are skipped, failed ones run again, no row comes twice."""
    broken = {3, 4}

    def task(number, ctx):
        ctx.write("rows", {"n": number})
        if number in broken:
            raise ValueError(f"no {number}")

    with pytest.raises(pipeloom.TasksFailedError) as failed:
        pipeloom.map(task, range(6), db=db)
    assert sorted(map(str, failed.value.exceptions)) == ["no 3", "no 4"]
    broken.clear()
    report = pipeloom.map(task, range(8), db=db)

    assert (report.done, report.skipped) == (4, 4)
    assert read(db, "SELECT n FROM rows ORDER BY n") == [(n,) for n in range(8)]


def test_resume_false_runs_all_again_and_keeps_the_past(db, read):
    """Rows are added again; the former attempts move to the archive."""
    pipeloom.map(square, range(3), db=db)
    report = pipeloom.map(square, range(3), db=db, resume=False)

    assert (report.done, report.skipped) == (3, 0)
    assert read(db, "SELECT COUNT(*) FROM squares") == [(6,)]
    assert read(db, "SELECT COUNT(*) FROM task_runs") == [(3,)]
    assert read(db, "SELECT run_id, status, COUNT(*) FROM pipeloom_attempts GROUP BY 1, 2") == [(1, "done", 3)]
    assert read(db, "SELECT COUNT(*) FROM pipeloom_history") == [(6,)]


def test_other_inputs_join_the_same_pipeline(db):
    """results() is of the call; those of the whole pipeline are there for who asks."""
    pipeloom.map(square, [1, 2], db=db)
    report = pipeloom.map(square, [3], db=db)

    assert dict(report.results()) == {3: {"n": 3}}
    assert dict(report.results(everything=True)) == {1: {"n": 1}, 2: {"n": 2}, 3: {"n": 3}}


def test_two_pipelines_share_a_file(db):
    """The same keys under another name are other tasks."""
    pipeloom.map(nothing, [1, 2], db=db, name="a")

    assert pipeloom.map(nothing, [1, 2], db=db, name="b").done == 2
    assert pipeloom.map(nothing, [1, 2], db=db, name="a").skipped == 2


def test_a_key_that_comes_twice_fails_that_task(db, read):
    """The first one stands, its rows come once, the second is refused and recorded."""
    with pytest.raises(pipeloom.TasksFailedError) as failed:
        pipeloom.map(square, [*range(700), 3, 699], db=db, workers=2)

    report = failed.value.report
    assert (report.done, report.failed) == (700, 2)
    assert {f.exception for f in report.failures} == {"DuplicateKeyError"}
    assert read(db, "SELECT COUNT(*), COUNT(DISTINCT n) FROM squares") == [(700, 700)]
    assert read(db, "SELECT COUNT(*) FROM pipeloom_rejected") == [(2,)]


@dataclass(frozen=True)
class Part:
    month: int
    place: str


@pytest.mark.parametrize(
    "items",
    [[Path("a"), Path("b")], [(1, "a"), (1, "b")], [{"a": 1}, {"a": 2}], [Part(1, "x"), Part(2, "x")], ["1", 1]],
    ids=["paths", "tuples", "dicts", "dataclasses", "str-and-int"],
)
def test_inputs_are_their_own_keys(db, items):
    """Each kind of input is told apart, and known again."""
    assert pipeloom.map(nothing, items, db=db).done == 2
    assert pipeloom.map(nothing, items, db=db).skipped == 2


def test_an_input_without_identity_asks_for_a_key(db):
    """The sentence says what to pass; key= then does."""
    items = [threading.Event(), threading.Event()]
    with pytest.raises(pipeloom.TasksFailedError, match="pass key="):
        pipeloom.map(nothing, items, db=db)

    assert pipeloom.map(nothing, items, db=db, key=items.index).done == 2


def test_an_input_without_a_key_fails_alone(db, read):
    """It is told by its place and name; the other inputs are done, and are skipped by the next call."""
    items = [1, 2, None, 2.5, "x", *range(3, 2000)]
    for done, skipped in ((2000, 0), (0, 2000)):
        with pytest.raises(pipeloom.TasksFailedError) as failed:
            pipeloom.map(nothing, items, db=db)
        report = failed.value.report
        assert (report.done, report.skipped, report.failed, report.status) == (done, skipped, 2, "error")
        assert [(failure.key, failure.exception) for failure in report.failures] == [
            ("None", "ValueError"),
            ("2.5", "ValueError"),
        ]
        assert report.failures[0].message.startswith(
            "input 3 (None) has no key: a value of type NoneType cannot serve as a key; leave it out, or pass key="
        )
    assert read(db, "SELECT status, COUNT(*) FROM task_runs GROUP BY status") == [("done", 2000)]
    assert read(db, "SELECT kind, content FROM pipeloom_rejected WHERE run_id = 1") == [
        ("input", "None"),
        ("input", "2.5"),
    ]
    with pytest.raises(pipeloom.TasksFailedError, match="input 1"):
        pipeloom.map(nothing, [None, *range(100_000)], db=db, name="stops", on_error="stop")
    assert read(db, "SELECT done < 90000, failed FROM pipeloom_runs ORDER BY id DESC LIMIT 1") == [(1, 1)]


def test_a_key_of_the_callers_own_that_cannot_be_one_is_blamed_on_key(db):
    """What it returned or raised, for which input, and where; a key that comes twice does not advise key=."""
    returned = {"a": "k", "b": "k", "c": 0.5, "e": None, "f": ("k", 1)}

    def by_letter(item):
        return returned[item["letter"]]

    items = [{"letter": letter} for letter in "abcdef"]
    report = pipeloom.map(nothing, items, db=db, key=by_letter, workers=1, on_error="collect")

    assert (report.done, report.failed) == (2, 4)
    assert [key for key, _ in report.results()] == ["k", ("k", 1)]
    twice, number, raised, none = report.failures
    assert (
        twice.message == "key= returned 'k' for more than one input of this run: return a unique key for each input"
    )
    assert number.message == (
        "key= returned 0.5 for input 3 ({'letter': 'c'}): a value of type float cannot serve as a key; "
        "return str, int, Path, UUID or date"
    )
    assert raised.message == "key= raised KeyError for input 4 ({'letter': 'd'}): 'd'"
    assert none.message.startswith("key= returned None for input 5")
    assert [failure.key for failure in report.failures] == ["k", *(str(item) for item in items[2:5])]
    assert raised.exception == "KeyError"
    assert "in by_letter" in raised.traceback
    assert "identity.py" not in raised.traceback


@pytest.mark.parametrize(
    ("value", "named"),
    [
        (2**70, "64 bits"),
        (object(), "type object"),
        ({1, 2}, "type set"),
        ("\ud800", "surrogate"),
        (b"x" * 4, None),
    ],
    ids=["big", "object", "set", "surrogate", "bytes"],
)
def test_one_bad_value_fails_only_its_own_task(db, read, value, named):
    """The failure names table, column and type; the neighbours in the batch stand."""

    def task(number, ctx):
        ctx.write("t", {"n": number, "v": value if number == 5 else None})

    report = pipeloom.map(task, range(10), db=db, on_error="collect")

    stored = [n for (n,) in read(db, "SELECT n FROM t ORDER BY n")]
    if named is None:
        assert stored == list(range(10))
        return
    assert stored == [0, 1, 2, 3, 4, 6, 7, 8, 9]
    assert (report.done, report.failed) == (9, 1)
    assert named in report.failures[0].message
    assert "table t, column v" in report.failures[0].message


def test_results_must_be_json(db):
    """What is not fails its task, and says what to do instead."""
    report = pipeloom.map(lambda n: {1, 2} if n else threading, [0, 1], db=db, on_error="collect")

    assert (report.done, report.failed) == (1, 1)
    assert "ctx.write" in report.failures[0].message


def test_system_exit_is_the_tasks_own_error(db):
    """A task that calls sys.exit does not end the program."""
    with pytest.raises(pipeloom.TasksFailedError):
        pipeloom.map(sys.exit, ["bye"], db=db)


def test_kept_exceptions_hold_no_frames(db):
    """What a failed task had in its variables is not kept alive by the report."""

    def task(_):
        try:
            raise KeyError("inner")
        except KeyError as error:
            raise ValueError("outer") from error

    with pytest.raises(pipeloom.TasksFailedError) as failed:
        pipeloom.map(task, [1], db=db)

    (kept,) = failed.value.exceptions
    assert kept.__traceback__ is None
    assert kept.__cause__.__traceback__ is None
    assert "inner" in failed.value.report.failures[0].traceback


def test_a_run_on_a_file_in_use_is_refused_at_once(db):
    """A nested map on the same file gets a clear error; the outer run goes on."""

    def task(_):
        with pytest.raises(pipeloom.DatabaseInUseError, match="another run in this process"):
            pipeloom.map(nothing, [1], db=db)
        return "refused"

    assert dict(pipeloom.map(task, [1], db=db).results()) == {1: "refused"}


def test_memory_keeps_nothing(db):
    """Counts and failures are there; results() says to pass a file."""
    report = pipeloom.map(nothing, range(3), db=":memory:")

    assert report.done == 3
    with pytest.raises(pipeloom.StorageError, match="pass a file as db"):
        report.results()


def test_works_outside_the_main_thread(db):
    """Without signal handlers, with the same outcome."""
    reports = []
    thread = threading.Thread(target=lambda: reports.append(pipeloom.map(nothing, range(3), db=db)))
    thread.start()
    thread.join(30)

    assert reports[0].done == 3


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda p: p / "no" / "out.db", "does not exist"),
        (lambda p: p, "directory"),
        (lambda p: p / "text.db", "not a SQLite database"),
    ],
    ids=["missing-directory", "directory", "text-file"],
)
def test_unusable_places_are_clear_errors(tmp_path, make, words):
    """The sentence says what and what to do; the file is left as it was."""
    text = tmp_path / "text.db"
    text.write_text("this is no database\n" * 100)
    with pytest.raises(pipeloom.StorageError, match=words):
        pipeloom.map(nothing, [1], db=make(tmp_path))

    assert text.read_text() == "this is no database\n" * 100


def test_exceptions_of_any_make_fail_only_their_own_task(db):
    """Frozen ones, ones whose text raises, or whose causes are odd: the writer sees them all."""

    @dataclasses.dataclass(frozen=True)
    class Frozen(Exception):
        code: int = 1

    class Leaving(Exception):
        def __str__(self):
            raise SystemExit(3)

    class Interrupting(Exception):
        def __str__(self):
            raise KeyboardInterrupt

    class Odd(Exception):
        __cause__ = 7
        __traceback__ = property(lambda self: 1 / 0)

    made = {"frozen": Frozen, "leaving": Leaving, "interrupting": Interrupting, "odd": Odd}

    def fn(item, ctx):
        ctx.put(made[item]())
        raise made[item]

    report = pipeloom.map(fn, [*made, "KeyError"], db=db, on_error="collect", name="n")

    assert report.failed == 5
    assert {failure.exception for failure in report.failures} == {
        "Frozen",
        "Leaving",
        "Interrupting",
        "Odd",
        "KeyError",
    }


def test_what_is_raised_says_whose_it_is_and_where(db):
    """The frames are gone, so a note names task, file and line; the group names the command that shows them all."""

    def fn(item):
        raise ValueError(f"no {item}")

    with pytest.raises(pipeloom.TasksFailedError, match=r"pipeloom errors --db .*out\.db") as caught:
        pipeloom.map(fn, ["a.csv"], db=db, name="n")

    (error,) = caught.value.exceptions
    assert len(error.__notes__) == 1
    assert re.fullmatch(r"pipeloom: task a\.csv, .*test_map\.py:\d+ in fn", error.__notes__[0])
