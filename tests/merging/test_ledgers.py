"""Ledgers that become one: everything they say, under numbers that refer to each other as before."""

from __future__ import annotations

import logging
import re
import shutil
import sqlite3
from contextlib import closing
from functools import partial

import pytest

import pipeloom
from merging.conftest import content, state_of, together, work
from pipeloom.data.identifiers import is_reserved
from pipeloom.doctor import examine

logger = logging.getLogger(__name__)


def full(item, ctx):
    """Do all that leaves something in the ledger."""
    logger.warning("at %s", item)
    ctx.write("seen", {"item": item, "part": ctx.state or 0})
    if ctx.state is None:
        ctx.checkpoint(1)
    if item % 3 == 0 and ctx.attempt == 1:
        raise OSError("again")
    if item % 5 == 0:
        raise ValueError("for good")
    return {"item": item}


def numbered(task, queue):
    """A task that is known by its number."""
    queue.put(pipeloom.MsgTaskStarted(task, f"numbered {task}", "2026-01-01T00:00:00+00:00"))


def finds(item, ctx):
    """A task that adds an input."""
    if item < 100:
        ctx.add(item + 100, item + 200)


@pytest.fixture
def rich(shards):
    """Three shards, and two files with other runs: every table of the ledger has rows in one of them."""
    retry = pipeloom.Retry(attempts=2, delay_s=0.001)
    paths = shards([*range(40), object()], fn=full, retries=retry)
    shards(range(40), fn=full, resume=False, name="again")
    for number, path in enumerate(paths[:2]):
        pipeloom.run_pipeline([7, 8], path.with_name(f"n{path.name}"), worker_fn=numbered, progress=False)
        pipeloom.map(finds, [number], db=path.with_name(f"n{path.name}"), progress=False)
    return [*paths, *(path.with_name(f"n{path.name}") for path in paths[:2])]


def test_every_row_of_every_table_is_there_and_refers_to_what_it_did(tmp_path, rich):
    """Also in tables that are not there yet as this is written."""
    out = tmp_path / "out.db"
    report = pipeloom.merge(out, rich)
    merged = content(out)

    assert merged == together(rich)
    assert all(merged[table] for table in merged if is_reserved(table)), "a table of which nothing is tried"
    assert report.runs == len(merged["pipeloom_runs"]) == 10
    assert sum(report.tasks.values()) == len(merged["task_runs"])
    assert report.rows == len(merged["seen"])
    assert not [found for found in examine(out) if found.verdict == "BAD"]


def test_tasks_keep_their_order_and_no_number_comes_twice(tmp_path, rich, read):
    """Each file's tasks follow those of the one before."""
    out = tmp_path / "out.db"
    pipeloom.merge(out, rich)
    names = [name for (name,) in read(out, "SELECT name FROM task_runs ORDER BY id")]

    assert names == [name for path in rich for (name,) in read(path, "SELECT name FROM task_runs ORDER BY id")]
    assert read(out, "SELECT shard FROM pipeloom_runs ORDER BY id") == [
        row for path in rich for row in read(path, "SELECT shard FROM pipeloom_runs ORDER BY id")
    ]


def test_the_files_are_only_read(tmp_path, rich):
    """Not a byte of them, nor of what lies beside them, is changed; nothing is left beside the result."""
    before = state_of(tmp_path)
    pipeloom.merge(tmp_path / "out.db", rich)
    after = state_of(tmp_path)
    del after["out.db"]

    assert after == before


def test_shards_that_are_merged_are_what_one_run_makes(tmp_path, shards, read):
    """The same tasks with the same results, the same rows, once each."""
    items = [f"key-{n}" for n in range(50)]
    pipeloom.map(work, items, db=tmp_path / "whole.db", progress=False)
    pipeloom.merge(tmp_path / "out.db", shards(items))
    tasks = (
        "SELECT t.key, t.status, t.result, t.rows_written, p.name FROM task_runs t, pipeloom_pipelines p ORDER BY 1"
    )

    for sql in (tasks, "SELECT item, part FROM seen ORDER BY 1, 2"):
        assert read(tmp_path / "out.db", sql) == read(tmp_path / "whole.db", sql)


def test_a_merged_file_is_run_on(tmp_path, shards, read):
    """What is done is skipped, and has its results in the inputs' order; the rest is done from checkpoints."""
    out = tmp_path / "out.db"
    pipeloom.merge(out, shards(range(1, 21), fn=full))
    assert {row[0] for row in read(out, "SELECT key FROM task_runs WHERE status = 'error'")} == {
        3,
        5,
        6,
        9,
        10,
        12,
        15,
        18,
        20,
    }
    retry = pipeloom.Retry(attempts=2, delay_s=0.001)
    report = pipeloom.map(full, range(1, 26), db=out, retries=retry, on_error="collect", progress=False)

    assert (report.skipped, report.done, report.failed) == (11, 9, 5)
    assert [key for key, _ in report.results()] == [n for n in range(1, 26) if n % 5]
    rows = read(out, "SELECT item, part FROM seen ORDER BY 1, 2")
    assert [item for item, part in rows if part == 0] == list(range(1, 26))  # of a first try, before its checkpoint
    assert [item for item, part in rows if part == 1] == [n for n in range(3, 26, 3) if n % 5]


def test_what_a_killed_run_left_open_is_interrupted_and_done_again(tmp_path, shards, read):
    """As when a run opens the file itself; what is still in its log counts."""
    paths = shards(range(10))
    log = paths[0].with_name("1.db-wal")
    with closing(sqlite3.connect(paths[0], isolation_level=None)) as conn:
        conn.execute("UPDATE pipeloom_runs SET status = 'running'")
        conn.execute("UPDATE task_runs SET status = 'running' WHERE id = 1")
        copies = {path: path.read_bytes() for path in (paths[0], log)}
    for path, data in copies.items():  # as a killed process leaves them
        path.write_bytes(data)
    before = state_of(tmp_path)
    report = pipeloom.merge(tmp_path / "out.db", paths)

    assert report.tasks == {"done": 9, "interrupted": 1}
    assert read(tmp_path / "out.db", "SELECT COUNT(*) FROM pipeloom_runs WHERE status = 'interrupted'") == [(1,)]
    assert {name: data for name, data in state_of(tmp_path).items() if name in before} == before
    assert pipeloom.map(work, range(10), db=tmp_path / "out.db", progress=False).done == 1


def test_more_files_than_sqlite_attaches_at_once(tmp_path, shards):
    """One at a time, however many there are."""
    first, *_ = shards([1], count=1)
    paths = [tmp_path / f"{number}.db" for number in range(60)]
    for number, path in enumerate(paths):
        shutil.copy(first, path)
        with closing(sqlite3.connect(path, isolation_level=None)) as conn:
            conn.execute("UPDATE task_runs SET key = ?", (number,))

    assert pipeloom.merge(tmp_path / "out.db", paths).tasks == {"done": 60}


# --- adding to a file ---


def test_files_are_added_to_one_that_is_there(tmp_path, shards):
    """In whatever order, and with the same result but for the numbers."""
    paths, out = shards(range(30), count=4), tmp_path / "out.db"
    whole = together(paths)
    pipeloom.merge(out, paths[2:3])
    pipeloom.merge(out, [paths[0], paths[3]], append=True)
    report = pipeloom.merge(out, paths[1:2], append=True)

    assert content(out) == whole
    assert (report.files, report.runs, report.missing) == (1, 1, ())
    assert report.rows == len(content(paths[1])["seen"])


def test_an_empty_file_is_none(tmp_path, shards):
    """A merge that is killed at its very end may leave one, and so does ``touch``."""
    (tmp_path / "out.db").touch()

    assert pipeloom.merge(tmp_path / "out.db", shards([1, 2])).tasks == {"done": 2}


def test_what_an_earlier_merge_left_is_cleared_away(tmp_path, shards):
    """It was killed: its unfinished file, and what SQLite had beside it."""
    for suffix in ("", "-journal", "-wal"):
        (tmp_path / f"out.db-merging{suffix}").write_bytes(b"half done" * 1000)
    pipeloom.merge(tmp_path / "out.db", shards([1, 2]))

    assert {path.name for path in tmp_path.iterdir()} == {"out.db", "parts"}


def test_a_link_leads_to_the_file(tmp_path, shards):
    """What it leads to is made, and it stays a link."""
    (tmp_path / "link.db").symlink_to(tmp_path / "parts" / "out.db")
    paths = shards([1, 2, 3, 4])
    pipeloom.merge(tmp_path / "link.db", paths[:1])
    pipeloom.merge(tmp_path / "link.db", paths[1:], append=True)

    assert (tmp_path / "link.db").is_symlink()
    assert content(tmp_path / "parts" / "out.db") == together(paths)


# --- pipelines ---


def both(a, b):
    """Of two things that are named alike."""


def test_functions_that_nobody_knows_again_stay_apart(tmp_path, read):
    """A lambda's run stands alone, and is called by its number, which is another one now."""
    for name in ("a", "b"):
        pipeloom.map(lambda n: n, [1], db=tmp_path / f"{name}.db", progress=False)
    pipeloom.merge(tmp_path / "out.db", [tmp_path / "a.db", tmp_path / "b.db"])
    names = [name for (name,) in read(tmp_path / "out.db", "SELECT name FROM pipeloom_pipelines ORDER BY id")]

    assert [name.rpartition("(")[2] for name in names] == ["run 1)", "run 2)"]


def test_partials_are_joined_with_those_that_hold_the_same(tmp_path, read):
    """Whatever number each has in its file."""
    for name, order in (("a", (1, 2)), ("b", (2, 1))):
        for value in order:
            items = [f"{name}{value}"]
            pipeloom.map(partial(both, value), items, db=tmp_path / f"{name}.db", progress=False)
    pipeloom.merge(tmp_path / "out.db", [tmp_path / "a.db", tmp_path / "b.db"])
    sql = "SELECT group_concat(key) FROM (SELECT * FROM task_runs ORDER BY key) GROUP BY pipeline_id ORDER BY 1"

    assert read(tmp_path / "out.db", sql) == [("a1,b1",), ("a2,b2",)]


def test_a_given_name_joins_whatever_has_it(tmp_path, read):
    """Whoever gives a name answers for it."""
    pipeloom.map(str, [1], db=tmp_path / "a.db", name="mine", progress=False)
    pipeloom.map(abs, [2], db=tmp_path / "b.db", name="mine", progress=False)
    pipeloom.merge(tmp_path / "out.db", [tmp_path / "a.db", tmp_path / "b.db"])

    assert read(tmp_path / "out.db", "SELECT name FROM pipeloom_pipelines") == [("mine",)]


def test_another_function_of_the_same_name_stays_another(tmp_path, read):
    """In another file, with other code: it gets a name of its own, as in a run."""
    for name, code in (("a", "return n"), ("b", "return -n")):
        (tmp_path / name).mkdir()
        source = f"def same(n):\n    {code}\n"
        (tmp_path / name / "load.py").write_text(source)
        space = {"__name__": "load", "__file__": str(tmp_path / name / "load.py")}
        exec(compile(source, str(tmp_path / name / "load.py"), "exec"), space)
        pipeloom.map(space["same"], [1], db=tmp_path / f"{name}.db", progress=False)
        with closing(sqlite3.connect(tmp_path / f"{name}.db", isolation_level=None)) as conn:
            conn.execute("UPDATE pipeloom_pipelines SET place = ?", (str(tmp_path / name / "load.py"),))
    pipeloom.merge(tmp_path / "out.db", [tmp_path / "a.db", tmp_path / "b.db"])

    assert read(tmp_path / "out.db", "SELECT name FROM pipeloom_pipelines") == [("load:same",), ("load:same (2)",)]


# --- the report ---


def test_the_report_names_the_shards_that_are_not_there(tmp_path, shards):
    """A job of the array has not run: nobody else would notice."""
    paths = shards(range(20), count=9)
    report = pipeloom.merge(tmp_path / "out.db", [paths[1], paths[4]])

    assert len(report.missing) == 7
    assert report.missing[0].endswith(":work, shard 1/9")
    assert "not there: " in str(report)
    assert "… and 2 more" in str(report)
    pipeloom.map(work, range(20), db=tmp_path / "out.db", progress=False)  # all that was left
    assert not pipeloom.merge(tmp_path / "all.db", [tmp_path / "out.db"]).missing


def test_shards_that_make_no_sense_are_none(tmp_path, made):
    """Anybody may write into a file, and of a billion shards not all are named."""
    insert = "INSERT INTO pipeloom_runs (pipeline_id, status, started_at, shard) VALUES (1, 'error', '', '{}')"
    path = made("1.db", "DELETE FROM pipeloom_runs", *map(insert.format, ("nonsense", "9/3", "7/1000000000")))
    report = pipeloom.merge(tmp_path / "out.db", [path])

    assert len(report.missing) == 1000
    assert report.missing[0].endswith("shard 1/1000000000")


def test_the_report_is_a_sentence(tmp_path, shards):
    """With what came, and into which file."""
    report = pipeloom.merge(tmp_path / "out.db", shards([1, 2, 3]))

    assert report.db == str(tmp_path / "out.db")
    assert re.search(r"out\.db: 3 files merged in [\d.]+ m?s: 3 done, 6 rows$", str(report))
