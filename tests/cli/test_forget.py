"""``pipeloom forget``: tasks are taken back with the rows that know them, after asking."""

from __future__ import annotations

import shlex
import sqlite3
import sys
import threading
from contextlib import closing

import pytest
from pseudoterminal import PseudoTerminal

import pipeloom
from pipeloom import DatabaseInUseError, LedgerError, RowRefusedError
from pipeloom.forgetting import forget, loss_of


def load(item, ctx):
    """Write rows; some fail."""
    if item.startswith("bad"):
        raise ValueError(f"no {item}")
    if item.startswith("late"):
        raise KeyError(item)
    ctx.write("pages", [{"item": item, "n": n} for n in range(3)])
    ctx.write("names", {"item": item})


def run(db, items=("a", "b", "c", "bad1", "bad2", "late"), **options):
    """Run quietly."""
    options = {"own_rows": True, "on_error": "collect", "progress": False, "durability": "off", **options}
    return pipeloom.map(load, items, db=db, name="load", workers=1, **options)


def test_the_command_that_an_error_advises_can_be_typed(db, ask):
    """For rows that were stored before version= was passed: after it the input runs again."""
    run(db, ["a"], own_rows=False)
    why = run(db, ["a"], own_rows=None, version=lambda item: 1).failures[0].message
    command = why.partition(" run: ")[2]
    with closing(sqlite3.connect(db)) as conn:
        conn.executescript("DELETE FROM pages; DELETE FROM names")

    assert ask(*shlex.split(command)[1:], "-y")[0] == 0
    assert run(db, ["a"], own_rows=None, version=lambda item: 1).done == 1
    assert stored(db) == {"a": ("done", 3)}


def stored(db):
    """Return key → (status, rows in pages) of what is there."""
    with closing(sqlite3.connect(db)) as conn:
        return {
            key: (status, rows)
            for key, status, rows in conn.execute(
                "SELECT key, status, (SELECT COUNT(*) FROM pages WHERE _task_id = t.id) FROM task_runs t ORDER BY 1"
            )
        }


def sql(db, *statements):
    """Do something to the file by hand."""
    with closing(sqlite3.connect(db, isolation_level=None)) as conn:
        for statement in statements:
            conn.execute(statement)


def asked(db, *words):
    """Type the command on a terminal."""
    return PseudoTerminal([sys.executable, "-m", "pipeloom", "forget", "--db", str(db), *words], columns=200)


@pytest.fixture(params=["a log", "a rollback journal"])
def loaded(db, request):
    """A file after a run, of either journal."""
    run(db)
    if request.param == "a rollback journal":
        sql(db, "PRAGMA journal_mode = DELETE")
    return db


def test_tasks_go_with_all_that_is_stored_of_them_and_the_next_call_runs_them_again(loaded, ask, read):
    """By number, by key, and by kind; others stay as they are."""
    mode = read(loaded, "PRAGMA journal_mode")
    code, said, _ = ask("forget", "--db", loaded, 1, "b", "--kind", "ValueError", "--yes")

    assert (code, said) == (0, "forgot 4 tasks of load, with 8 rows in names and pages\n")
    assert stored(loaded) == {"c": ("done", 3), "late": ("error", 0)}
    for table in ("pipeloom_attempts", "pipeloom_logs", "pipeloom_state", "pipeloom_rejected"):
        assert read(loaded, f"SELECT * FROM {table} WHERE task_id NOT IN (SELECT id FROM task_runs)") == []
    assert read(loaded, "SELECT item FROM names") == [("c",)]
    assert read(loaded, "PRAGMA journal_mode") == mode

    report = run(loaded)
    assert (report.done, report.failed, report.skipped) == (2, 3, 1)
    assert stored(loaded)["a"] == ("done", 3)


def test_a_state_goes_with_its_task(db, ask, read):
    """The next call begins anew, and has no rows of before beside its own."""
    states = []

    def half(item, ctx):
        states.append(ctx.state)
        ctx.write("pages", {"item": item})
        ctx.checkpoint(1)
        if len(states) == 1:
            raise ValueError

    options = {"own_rows": True, "on_error": "collect", "progress": False, "name": "half"}
    pipeloom.map(half, ["x"], db=db, **options)
    assert ask("forget", "--db", db, "x", "-y")[0] == 0
    assert read(db, "SELECT * FROM pipeloom_state") == []
    pipeloom.map(half, ["x"], db=db, **options)
    assert states == [None, None]
    assert read(db, "SELECT COUNT(*) FROM pages") == [(1,)]


def test_rows_that_do_not_know_their_task_stay_and_that_is_said(db, ask, read):
    """In some tables, or in all."""
    run(db, ["a"], own_rows=None)
    run(db, ["b"], own_rows=["pages"])
    run(db, ["c"])
    sql(db, "DELETE FROM task_runs WHERE key = 'c'")
    _, said, _ = ask("forget", "--db", db, "a", "b", "-y")

    assert said == (
        "forgot 2 tasks of load, with 3 rows in pages; 2 of them may have rows that do not store their task, which "
        "are kept\n"
    )
    assert read(db, "SELECT item, COUNT(*) FROM pages GROUP BY 1") == [("a", 3), ("c", 3)]
    assert read(db, "SELECT item FROM names ORDER BY 1") == [("a",), ("b",), ("c",)]


def test_without_a_terminal_nobody_can_be_asked(loaded, ask):
    """Exit code 2, and nothing is changed."""
    before = stored(loaded)
    code, _, said = ask("forget", "--db", loaded, "a")
    assert (code, "pass --yes" in said) == (2, True)
    assert stored(loaded) == before


@pytest.mark.parametrize(("answer", "code"), [("y", 0), ("n", 1), ("", 1)])
def test_on_a_terminal_it_says_what_goes_and_asks(db, answer, code):
    """Nothing is changed unless the answer is yes."""
    run(db)
    with asked(db, "1", "bad1") as terminal:
        terminal.until("Forget them? [y/N]")
        assert "task 1 (a): done" in terminal.text
        assert "2 tasks of load, with 4 rows in names and pages. Forget them?" in terminal.text
        assert len(stored(db)) == 6
        terminal.type(f"{answer}\n")
        assert terminal.finish() == code
    assert len(stored(db)) == (4 if answer == "y" else 6)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "no tasks were named"),
        (("99", "-y"), "no task has the id, key or full name '99'"),
        (("ba", "-y"), "no task has the id, key or full name 'ba'"),
        (("a", "99", "-y"), "full name '99'"),
        (("--kind", "OSError", "-y"), "no failures match OSError"),
        (("--kind", "ValueErr", "-y"), "no failures match ValueErr"),
    ],
)
def test_what_is_not_there_is_no_task(loaded, ask, words, says):
    """Exit code 2; a part of a name is not enough, and nothing is changed if one of several is not there."""
    before = stored(loaded)
    code, _, said = ask("forget", "--db", loaded, *words)
    assert (code, says in said) == (2, True), said
    assert stored(loaded) == before


def test_a_number_that_is_another_tasks_key_is_pointed_out(db):
    """Numbers come first, as in ``pipeloom show``."""
    pipeloom.map(str, range(3), db=db, progress=False)
    with asked(db, "2") as terminal:
        terminal.until("Forget it? [y/N]")
        assert "task 2 (1): done" in terminal.text
        assert "2 is also the key of task 3, which is kept" in terminal.text
        terminal.type("n\n")
        assert terminal.finish() == 1


def test_a_kind_may_be_a_status_or_have_its_module(db, ask):
    """As ``pipeloom errors`` has it."""
    import json

    def bad(item):
        raise json.JSONDecodeError("x", "y", 0)

    pipeloom.map(bad, ["a", "b"], db=db, progress=False, on_error="collect", name="bad")
    sql(
        db, "UPDATE task_runs SET status = 'timed_out', error = NULL, exception = NULL, kind = NULL WHERE key = 'b'"
    )
    assert ask("forget", "--db", db, "--kind", "timed_out", "-y")[1] == "forgot 1 task of bad, no rows\n"
    assert ask("forget", "--db", db, "--kind", "json.decoder.JSONDecodeError", "-y")[0] == 0


def test_names_are_shown_as_text(db, ask):
    """Whatever is in them."""
    pipeloom.map(str, ["\x1b[31mred[bold]"], db=db, progress=False, name="x[y]")
    assert ask("forget", "--db", db, "\x1b[31mred[bold]", "-y")[1] == "forgot 1 task of x[y], no rows\n"
    assert "\x1b" not in ask("forget", "--db", db, "\x1b[31m", "-y")[2]


def test_a_file_that_a_run_uses_is_left_alone(db, ask):
    """Exit code 4; it is said how to stop it."""
    run(db, ["a"])
    go, held = threading.Event(), threading.Event()

    def waits(item):
        held.set()
        assert go.wait(10)

    running = threading.Thread(target=lambda: pipeloom.map(waits, ["w"], db=db, progress=False, name="waits"))
    running.start()
    try:
        assert held.wait(10)
        with pytest.raises(DatabaseInUseError, match=f"`pipeloom cancel --db {db}`"):
            ask("forget", "--db", db, "a", "-y")
    finally:
        go.set()
        running.join()
    assert stored(db)["a"] == ("done", 3)


def test_tasks_that_have_changed_since_the_question_are_left_alone(db):
    """The answer was to another question."""
    run(db)
    loss = loss_of(db, [1])
    run(db, ["a"], resume=False)
    with pytest.raises(LedgerError, match="have changed since"):
        forget(db, [1], loss)
    assert stored(db)["a"] == ("done", 3)


def test_a_trigger_or_a_constraint_keeps_everything(db, ask):
    """Not one table less than another."""
    run(db)
    sql(db, "CREATE TRIGGER keep BEFORE DELETE ON names BEGIN SELECT RAISE(ABORT, 'names are kept'); END")
    before = stored(db)
    with pytest.raises(RowRefusedError, match="names are kept: nothing was deleted"):
        ask("forget", "--db", db, "a", "b", "-y")
    assert stored(db) == before

    sql(db, "DROP TRIGGER keep", "CREATE TRIGGER evil AFTER DELETE ON names BEGIN DELETE FROM task_runs; END")
    with pytest.raises(RowRefusedError, match="belongs to the ledger"):
        ask("forget", "--db", db, "a", "-y")
    assert stored(db) == before


def test_rows_that_others_refer_to_stay(db, ask):
    """The foreign key is looked at when all rows are gone."""
    sql(db, "CREATE TABLE pages (item, n INTEGER UNIQUE)", "CREATE TABLE refers (n REFERENCES pages (n))")
    run(db, ["a"])
    sql(db, "INSERT INTO refers VALUES (1)")
    with pytest.raises(RowRefusedError, match="FOREIGN KEY constraint failed: nothing was deleted"):
        ask("forget", "--db", db, "a", "-y")
    assert stored(db) == {"a": ("done", 3)}
    sql(db, "DELETE FROM refers")
    assert ask("forget", "--db", db, "a", "-y")[0] == 0
    assert stored(db) == {}


def test_tasks_of_a_run_whose_process_is_gone_can_be_taken_back(db, ask):
    """They are still running, as the file has it."""
    run(db, ["a"])
    sql(
        db,
        "UPDATE task_runs SET status = 'running'",
        "UPDATE pipeloom_runs SET status = 'running', pid = 999999999",
    )
    assert ask("forget", "--db", db, "a", "-y")[0] == 0
    assert stored(db) == {}


def test_an_input_that_was_found_stays_in_line(db, ask, read):
    """Its row is as if it had not begun; its rows are gone."""
    run(db, ["a", "b"])
    sql(db, "INSERT INTO pipeloom_found (task_id, found_by, item) VALUES (2, 1, '\"b\"')")
    assert ask("forget", "--db", db, "a", "b", "-y")[0] == 0
    assert stored(db) == {"b": ("queued", 0)}
    assert read(db, "SELECT rows_written, version, started_at, result FROM task_runs") == [(0, None, None, None)]
    assert read(db, "SELECT task_id FROM pipeloom_found") == [(2,)]


def test_a_page_that_was_found_is_visited_again_from_its_line(db, ask, read):
    """Although nobody passes it, and nobody finds it once more."""
    visited = []

    def visit(page, ctx):
        visited.append(page)
        ctx.write("pages", {"item": page})
        if page == "root":
            ctx.add("leaf", "other")

    def crawl():
        visited.clear()
        return pipeloom.map(visit, ["root"], db=db, own_rows=True, name="crawl", progress=False)

    assert crawl().done == 3
    assert ask("forget", "--db", db, "leaf", "-y")[1] == "forgot 1 task of crawl, with 1 row in pages\n"
    report = crawl()
    assert (report.done, report.skipped, visited) == (1, 2, ["leaf"])
    assert read(db, "SELECT item, COUNT(*) FROM pages GROUP BY 1") == [("leaf", 1), ("other", 1), ("root", 1)]

    assert ask("forget", "--db", db, "root", "-y")[0] == 0
    assert crawl().done == 1
    assert visited == ["root"]
    assert read(db, "SELECT COUNT(*) FROM pages") == [(3,)]


def test_a_database_that_is_not_there_is_not_made(tmp_path, ask):
    """Exit code 3, as every command has it."""
    with pytest.raises(pipeloom.StorageError, match="no such file"):
        ask("forget", "--db", tmp_path / "nope.db", "1", "-y")
    assert list(tmp_path.iterdir()) == []
