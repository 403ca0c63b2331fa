"""What cannot be merged: one sentence each, and nothing is made or changed."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing

import pytest

import pipeloom
from merging.conftest import state_of, work
from pipeloom.db import SCHEMA_VERSION, Ownership, init_schema
from pipeloom.merging.draft import Draft
from pipeloom.merging.source import attached, look_at

T = "CREATE TABLE t (a INTEGER, b TEXT)"
# What two files hold, besides their ledgers, and what is said of them together.
PAIRS = {
    "a column that is missing": (
        T,
        "CREATE TABLE t (a INTEGER)",
        r"the table t has a column b in .*1.db, but not in .*2.db",
    ),
    "a column too many": (
        "CREATE TABLE t (a INTEGER)",
        T,
        r"the table t has a column b in .*2.db, but not in .*1.db",
    ),
    "another type": (
        T,
        "CREATE TABLE t (a TEXT, b TEXT)",
        r"the column a of the table t is TEXT in .*2.db, but INTEGER in",
    ),
    "another constraint": (
        T,
        "CREATE TABLE t (a INTEGER NOT NULL, b TEXT)",
        "is INTEGER NOT NULL in .*2.db, but INTEGER in",
    ),
    "another view": (
        "CREATE VIEW v AS SELECT 1",
        "CREATE VIEW v AS SELECT 2",
        r"the view v differs from that in .*1.db",
    ),
    "a view that is a table": (
        T,
        "CREATE VIEW t AS SELECT 1 AS a",
        r"cannot be created together with those of the other files .*already",
    ),
    "a virtual table": (
        T,
        "CREATE VIRTUAL TABLE f USING fts5(words)",
        r"2.db: f is a virtual table, which cannot be merged",
    ),
}


@pytest.fixture
def refused(tmp_path):
    """Merge, and return the sentence; nothing has changed but that."""

    def refusing(error, *inputs, out="out.db", **options):
        before = state_of(tmp_path)
        with pytest.raises(error) as caught:
            pipeloom.merge(tmp_path / out, inputs, **options)
        assert state_of(tmp_path) == before
        text = str(caught.value)
        assert "\n" not in text
        return text

    return refusing


@pytest.mark.parametrize("pair", PAIRS)
@pytest.mark.parametrize("append", [False, True], ids=["new", "added to"])
def test_tables_that_are_not_one(tmp_path, made, refused, pair, append):
    """Whether both come now, or one is there."""
    first, second, sentence = PAIRS[pair]
    one, two = made("1.db", first), made("2.db", second)
    if append:
        pipeloom.merge(tmp_path / "out.db", [one])
        assert refused(pipeloom.SchemaError, two, append=True)
    else:
        assert re.search(sentence, refused(pipeloom.SchemaError, one, two))


def test_an_input_that_is_in_two_files(tmp_path, shards, refused):
    """Named, with both files: an earlier one and a later one, or the one that is added to."""
    items = [f"key-{n}" for n in range(30)]
    one, two, three = shards(items)
    again = tmp_path / "again.db"
    pipeloom.map(work, items, db=again, progress=False)
    said = refused(pipeloom.DuplicateKeyError, one, two, three, again)
    assert "the input '" in said
    assert f" is in {tmp_path}/parts/" in said
    assert f" and in {again}: merge files that have no input in common" in said

    pipeloom.merge(tmp_path / "out.db", [one, two])
    said = refused(pipeloom.DuplicateKeyError, three, two, append=True)
    assert f" is in {tmp_path}/out.db and in {two}" in said


def test_a_file_that_is_in_use(made, refused):
    """By a run, which is named by its process; this file or that, or the one that is added to."""
    one, two, out = made("1.db"), made("2.db"), made("out.db")
    with Ownership(two):
        assert f"{two}: a run (process " in refused(pipeloom.DatabaseInUseError, one, two, out="new.db")
    with Ownership(out):
        assert "out.db" in refused(pipeloom.DatabaseInUseError, one, two, append=True)


def test_two_merges_into_one_file(tmp_path, made, refused):
    """The second one is refused, and the first one's unfinished file stays."""
    with Ownership(tmp_path / "out.db-merging"):
        assert "out.db-merging" in refused(pipeloom.DatabaseInUseError, made("1.db"))


def test_a_link_where_a_merge_is_built(tmp_path, made, refused):
    """It would write through it."""
    (tmp_path / "out.db-merging").symlink_to(made("theirs.db"))

    assert "out.db-merging: is a link" in refused(pipeloom.StorageError, made("1.db"))


def test_a_file_that_comes_meanwhile_is_left_alone(tmp_path, made):
    """While the merge was being built, somebody made OUT."""
    out = tmp_path / "out.db"
    with Draft(out, "UTF-8") as draft:
        init_schema(draft.conn, store_task_status=True)
        theirs = made("out.db", T).read_bytes()
        with pytest.raises(pipeloom.StorageError, match="another program has created it meanwhile"):
            draft.become_out()

    assert out.read_bytes() == theirs
    assert [path.name for path in tmp_path.iterdir()] == ["out.db"]


def test_a_file_that_changes_while_it_is_read(tmp_path, made):
    """Another program writes to it: half of what is read may be of before, half of after."""
    source = look_at(made("1.db", T))
    with (
        closing(sqlite3.connect(":memory:", uri=True, isolation_level=None)) as conn,
        pytest.raises(pipeloom.StorageError, match=r"1.db: the file changed while it was being read"),
        attached(conn, source),
        closing(sqlite3.connect(source.path)) as other,
    ):
        other.execute("INSERT INTO t VALUES (1, 'x')")
        other.commit()


def test_files_that_are_no_ledgers(tmp_path, made, refused):
    """Another program's database, no database, nothing, a directory."""
    one = made("1.db")
    with closing(sqlite3.connect(tmp_path / "theirs.db")) as conn:
        conn.execute("CREATE TABLE t (a)")
    (tmp_path / "text.db").write_text("this is no database, but long enough to look like one" * 100)

    assert "theirs.db: it has no ledger" in refused(pipeloom.SchemaError, one, tmp_path / "theirs.db")
    assert "text.db: is not a SQLite database" in refused(pipeloom.StorageError, one, tmp_path / "text.db")
    assert "gone.db: no such file" in refused(pipeloom.StorageError, one, tmp_path / "gone.db")
    assert "is a directory" in refused(pipeloom.StorageError, one, tmp_path)
    assert "it has no ledger" in refused(pipeloom.SchemaError, one, out="theirs.db", append=True)


@pytest.mark.parametrize(
    ("version", "sentence"), [(SCHEMA_VERSION - 1, "older pipeloom"), (1000, "newer pipeloom")]
)
def test_a_ledger_of_another_version(made, refused, version, sentence):
    """An older one is brought up to date by a command that the sentence says."""
    one = made("1.db")
    two = made("2.db", f"UPDATE pipeloom_meta SET value = {version} WHERE key = 'schema_version'")

    assert sentence in refused(pipeloom.SchemaError, one, two)


def test_a_damaged_file(tmp_path, made, refused):
    """Found out in the middle: it is that file that is named."""
    one = made("1.db", T, *("INSERT INTO t VALUES (1, hex(randomblob(2000)))" for _ in range(20)))
    data = bytearray(one.read_bytes())
    data[-20_000:-4096] = b"\xff" * (20_000 - 4096)
    (tmp_path / "2.db").write_bytes(data)

    assert "2.db: the database is damaged" in refused(pipeloom.StorageError, made("3.db"), tmp_path / "2.db")


def test_text_that_is_stored_otherwise(tmp_path, made, refused):
    """SQLite attaches no such file."""
    with closing(sqlite3.connect(tmp_path / "2.db")) as conn:
        conn.execute("PRAGMA encoding = 'UTF-16'")
        conn.execute("CREATE TABLE t (a)")
    pipeloom.map(work, [], db=tmp_path / "2.db", progress=False)

    assert "its text encoding is UTF-16le, that of" in refused(
        pipeloom.SchemaError, made("1.db"), tmp_path / "2.db"
    )


def test_an_index_that_needs_what_is_not_here(tmp_path, made, refused):
    """A collation of the program's own."""
    one = made("1.db", T)
    with closing(sqlite3.connect(one)) as conn:
        conn.create_collation("theirs", lambda a, b: (a > b) - (a < b))
        conn.execute("CREATE INDEX odd ON t (b COLLATE theirs)")

    assert "its index odd cannot be created together with those of the other files (no such collation" in refused(
        pipeloom.SchemaError, one
    )


def test_numbers_that_are_too_large(tmp_path, refused):
    """Of tasks without keys, which chose them."""
    for name in ("1.db", "2.db"):
        pipeloom.run_pipeline(
            [1, 2**62 - 1],
            tmp_path / name,
            worker_fn=lambda n, q: q.put(pipeloom.MsgTaskStarted(n, "n", "")),
            progress=False,
        )

    assert "numbers that are too large" in refused(pipeloom.LedgerError, tmp_path / "1.db", tmp_path / "2.db")


def test_out_that_is_there(made, refused):
    """Unless it is to be added to: so a forgotten OUT does not cost the first of the files."""
    one, two = made("1.db"), made("2.db")

    assert "already exists: name a new file, or add to this one with --append" in refused(
        pipeloom.StorageError, two, out="1.db"
    )
    assert "the directory" in refused(pipeloom.StorageError, one, out="no/out.db")


@pytest.mark.parametrize(
    ("inputs", "options", "error", "sentence"),
    [
        ([], {}, ValueError, "nothing to merge"),
        ("1.db", {}, TypeError, "inputs must be a list of files, not str"),
        (3, {}, TypeError, "inputs must be a list of files, not int"),
        (["1.db", "1.db"], {}, ValueError, "1.db is named twice"),
        (["1.db", "./1.db"], {}, ValueError, "1.db is named twice"),
        (["1.db", "out.db"], {"append": True}, ValueError, "out.db is the file to merge into"),
        ([":memory:"], {}, ValueError, "merge needs files"),
        (["1.db"], {"renumber": "t"}, TypeError, "renumber must be a list of table names"),
        (["1.db"], {"renumber": ["nope"]}, ValueError, "no file has a table nope"),
    ],
)
def test_wrong_arguments(tmp_path, made, monkeypatch, inputs, options, error, sentence):
    """Plain errors, as everywhere."""
    monkeypatch.chdir(tmp_path)
    made("1.db", T)
    if options.get("append"):
        made("out.db")
    before = state_of(tmp_path)
    with pytest.raises(error, match=sentence):
        pipeloom.merge("out.db", inputs, **options)
    assert state_of(tmp_path) == before


def test_rows_without_numbers_get_none(made, refused):
    """``renumber`` is for tables that have an INTEGER PRIMARY KEY."""
    assert "has no INTEGER PRIMARY KEY" in refused(pipeloom.SchemaError, made("1.db", T), renumber=["t"])
