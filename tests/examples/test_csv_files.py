"""The csv example: every row once, as it stands in its file, whatever the files are like."""

from __future__ import annotations

import csv
import gzip
import os
import random
import re
import shutil
import sqlite3
import tracemalloc
import zipfile
from contextlib import closing

import pytest

from pipeloom import TasksFailedError
from pipeloom.examples import csv_files


@pytest.fixture
def folder(tmp_path):
    """An empty folder for CSV files."""
    path = tmp_path / "in"
    path.mkdir()
    return path


@pytest.fixture
def load(folder, db):
    """Run the example on the folder, quietly."""

    def run(**options):
        return csv_files.main(folder, db, **options)

    return run


def failure_of(load, **options) -> str:
    """Return what the one file that fails says."""
    with pytest.raises(TasksFailedError) as caught:
        load(**options)
    (failure,) = caught.value.report.failures
    return failure.message


def test_a_table_per_file_name_as_an_independent_reader_sees_it(folder, db, load, read):
    """Commas, semicolons, tabs; quoted delimiters, quotes and line breaks; a byte order mark; subfolders."""
    (folder / "a.csv").write_text('x,y\n1,"a;b, ""c"""\n2,"two\nlines"\n')
    (folder / "b.csv").write_text('"p;q";r\n7;8\n')
    (folder / "c.tsv").write_text("k\tl,m\n1\t2,3\n")
    (folder / "d.csv").write_text("\ufeffone\n007\n\n008\n")
    (folder / "sub").mkdir()
    (folder / "sub" / "A.CSV").write_text("y,x\n4,3\n")
    report = load()

    assert report.done == 5
    assert read(db, "SELECT x, y, _file FROM a ORDER BY x") == [
        ("1", 'a;b, "c"', "in/a.csv"),
        ("2", "two\nlines", "in/a.csv"),
        ("3", "4", "in/sub/A.CSV"),
    ]
    assert read(db, "SELECT * FROM b") == [("7", "8", "in/b.csv")]
    assert read(db, 'SELECT k, "l,m" FROM c') == [("1", "2,3")]
    assert read(db, "SELECT one FROM d") == [("007",), ("008",)]
    assert read(db, "SELECT path, rows FROM csv_files WHERE path LIKE '%a.csv' ORDER BY path") == [
        ("in/a.csv", 2),
        ("in/sub/A.CSV", 1),
    ]


def test_declared_types_are_numbers_and_empty_fields_null(folder, db, load, read):
    """Nothing is guessed: what is not declared stays text."""
    (folder / "t.csv").write_text("n,f,word\n7,2.5,7\n,,\n-3,1e3,x\n")
    load(types="n=int,f=float")

    assert read(db, "SELECT n, f, word FROM t") == [(7, 2.5, "7"), (None, None, None), (-3, 1000.0, "x")]


def test_one_table_holds_the_columns_of_all_files(folder, db, load, read):
    """Whichever file commits first."""
    (folder / "a.csv").write_text("x,y\n1,2\n")
    (folder / "b.csv").write_text("Y,z\n3,4\n")
    load(table="all of it")

    assert read(db, 'SELECT x, y, z FROM "all of it" ORDER BY y') == [("1", "2", None), (None, "3", "4")]


def test_many_rows_come_in_chunks(folder, db, load, read):
    """More than one chunk, with progress; the sums are right."""
    with (folder / "big.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("n", "half"), *((n, n / 2) for n in range(12_345))])
    load(types={"n": "int", "half": "float"})

    assert read(db, "SELECT COUNT(*), SUM(n), SUM(half) FROM big") == [(12_345, 76_193_340, 38_096_670.0)]
    assert read(db, "SELECT rows FROM csv_files") == [(12_345,)]


def test_a_second_call_loads_what_is_new_and_replaces_what_has_changed(folder, db, load, read):
    """The former rows of a changed file go; a file that is changed back is loaded again, too."""
    one, two = folder / "one.csv", folder / "two.csv"
    one.write_text("x\n1\n2\n")
    two.write_text("x\n9\n")
    before = one.stat().st_mtime_ns
    load(table="t")
    (folder / "three.csv").write_text("x\n7\n")
    one.write_text("x\n5\n")
    os.utime(one, ns=(before, before + 1000))
    report = load(table="t")

    assert (report.done, report.skipped) == (2, 1)
    assert read(db, "SELECT x FROM t ORDER BY x") == [("5",), ("7",), ("9",)]

    one.write_text("x\n1\n2\n")
    os.utime(one, ns=(before, before))
    assert load(table="t").done == 1
    assert read(db, "SELECT x FROM t ORDER BY x") == [("1",), ("2",), ("7",), ("9",)]
    assert load(table="t").skipped == 3
    assert load(table="t", again=True).done == 3
    assert read(db, "SELECT COUNT(*) FROM t") == [(4,)]


def test_a_new_version_that_is_wrong_leaves_the_former_rows(folder, db, load, read):
    """All or nothing, also when rows are replaced."""
    (folder / "t.csv").write_text("x,y\n1,2\n")
    load()
    (folder / "t.csv").write_text("x,y\n3,4\n5\n")
    failure_of(load)

    assert read(db, "SELECT x, y FROM t") == [("1", "2")]


def test_an_empty_file_is_no_error(folder, db, load, read):
    """Nothing at all, empty lines, or a header alone: no rows."""
    (folder / "a.csv").write_text("")
    (folder / "b.csv").write_text("\n\n")
    (folder / "c.csv").write_text("x,y\n")
    report = load()

    assert report.done == 3
    assert read(db, "SELECT path, rows FROM csv_files ORDER BY path") == [
        ("in/a.csv", 0),
        ("in/b.csv", 0),
        ("in/c.csv", 0),
    ]
    assert read(db, "SELECT COUNT(x) FROM c") == [(0,)]


BAD = {
    "no name": (b"x,,z\n1,2,3\n", "bad.csv, line 1: column 2 has no name"),
    "twice": (b"x,y,X\n1,2,3\n", "bad.csv, line 1: two columns are named 'X'"),
    "nul": (b"x,y\0\n1,2\n", "bad.csv, line 1: column 2 has a NUL in its name: if the file is UTF-16"),
    "ours": (b"x,_file\n1,2\n", "bad.csv, line 1: the column name _file is reserved"),
    "short": (b"x,y\n1,2\n3\n", "bad.csv, line 3: 1 values for 2 columns"),
    "long": (b'x,y\n1,"a\nb"\n3,4,5\n', "bad.csv, line 4: 3 values for 2 columns"),
    "quote": (b'x,y\n1,"2\n3,4\n', "bad.csv, line 3: unexpected end of data"),
    "encoding": (b"x,y\n1,2\n3,caf\xe9\n", "bad.csv, line 3: not utf-8-sig (invalid continuation byte): pass its"),
    "header encoding": (b"caf\xe9,y\n1,2\n", "bad.csv, line 1: not utf-8-sig"),
    "type": (b"n,y\n1,2\nx1,2\n", "bad.csv, line 3: 'x1' in the column n is not int"),
    "underscore": (b"n,y\n1_0,2\n", "bad.csv, line 2: '1_0' in the column n is not int"),
}


@pytest.mark.parametrize("kind", sorted(BAD))
def test_what_is_wrong_with_a_file_is_its_own_error(folder, db, load, read, kind):
    """One sentence with file and line; its neighbour is loaded, nothing of it is."""
    content, said = BAD[kind]
    (folder / "bad.csv").write_bytes(content)
    (folder / "good.csv").write_text("n\n1\n")

    assert failure_of(load, types="n=int", table="t").startswith(said)
    assert read(db, "SELECT n, _file FROM t") == [(1, "in/good.csv")]


def test_other_encodings_are_asked_for_by_name(folder, db, load, read):
    """Latin-1, and UTF-16, in which lines cannot be told by their bytes."""
    (folder / "l.csv").write_bytes("x\ncafé\n".encode("latin-1"))
    load(encoding="latin-1")
    assert read(db, "SELECT x FROM l") == [("café",)]

    (folder / "l.csv").write_bytes(b"x\nno utf-16\n!")
    said = failure_of(load, encoding="utf-16")
    assert re.match(r"l\.csv, line 1: not utf-16 \((UTF-16 s|S)tream does not start with BOM\)", said), said


def test_files_that_are_none_are_their_own_errors(folder, load):
    """A link that leads nowhere; a pipe, which must not be waited for; a table's name that is taken."""
    (folder / "gone.csv").symlink_to("nowhere")
    os.mkfifo(folder / "pipe.csv")
    (folder / "task_runs.csv").write_text("x\n1\n")
    with pytest.raises(TasksFailedError) as caught:
        load()
    said = {failure.key: failure.message for failure in caught.value.report.failures}

    assert "No such file" in said["in/gone.csv"]
    assert said["in/pipe.csv"] == "pipe.csv: is not a regular file"
    assert said["in/task_runs.csv"].startswith("task_runs.csv: 'task_runs' cannot be the name of its table")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"types": "n=number"}, "type n=number: write COLUMN=int"),
        ({"types": "int"}, "type int: write COLUMN=int"),
        ({"types": {"nonesuch": "int"}}, "no file has a column with that name"),
        ({"delimiter": ",,"}, "give one character"),
        ({"encoding": "klingon"}, "is not known"),
        ({"ragged": "drop"}, "choose pad or error"),
        ({"skip": -1}, "number of lines"),
        ({"table": "pipeloom_x"}, "choose another"),
    ],
)
def test_wrong_arguments_are_refused_before_anything_is_written(folder, db, load, options, said):
    """One sentence each."""
    (folder / "t.csv").write_text("n\n1\n")
    with pytest.raises(ValueError, match=said):
        load(**options)
    assert not db.exists()


def test_nothing_to_load_is_a_sentence(tmp_path, folder, db):
    """No folder, a file in its place, no CSV file in it."""
    (tmp_path / "file").write_text("")
    for place, said in (
        (tmp_path / "nowhere", "no such folder"),
        (tmp_path / "file", "is a file"),
        (folder, "contains"),
    ):
        with pytest.raises(ValueError, match=said):
            csv_files.main(place, db)
    assert not db.exists()


PIECES = (
    "7",
    "007",
    "a;b",
    "1,50",
    "x, y",
    "",
    "p|q",
    'he said "hi"',
    "line\r\nbreak",
    "lone\rCR",
    "\0",
    "1e3",
    " ü ",
)
ENDS = ("\n", "\r\n", "\r")


def test_generated_files_come_back_value_by_value(folder, db, load, read):
    """Awkward values, all delimiters, line ends and encodings, packed or not: as they were written."""
    chance = random.Random(1)
    written = {}
    for number in range(150):
        width, delimiter, encoding = (
            chance.randint(2, 5),
            chance.choice(",;\t|"),
            chance.choice(("utf-8", "utf-16")),
        )
        rows = [[chance.choice(PIECES) for _ in range(width)] for _ in range(chance.randint(0, 30))]
        text = "".join(
            delimiter.join(
                '"' + value.replace('"', '""') + '"' if set(value) & set('",;|\r\n') else value for value in row
            )
            + chance.choice(ENDS)
            for row in [[f"k{place}" for place in range(width)], *rows]
        )
        content = text.encode(encoding)
        if number % 3:
            (folder / f"f{number}.csv").write_bytes(content)
        else:
            (folder / f"f{number}.csv.gz").write_bytes(gzip.compress(content))
        written[f"f{number}"] = [tuple(value or None for value in row) for row in rows]
    load()

    for table, rows in written.items():
        columns = ", ".join(f"k{place}" for place in range(len(rows[0]) if rows else 0)) or "k0"
        assert read(db, f"SELECT {columns} FROM {table} ORDER BY rowid") == rows


def test_a_file_is_loaded_once_however_its_folder_is_spelled(tmp_path, folder, db, load, read, monkeypatch):
    """From another directory, by a link, and after both were moved together; rows never come twice."""
    (folder / "a.csv").write_text("x\n1\n")
    (tmp_path / "link").symlink_to("in")
    load()
    monkeypatch.chdir(folder)
    for place in (csv_files.Path(), tmp_path / "link", csv_files.Path("../in")):
        assert csv_files.main(place, csv_files.Path("..") / db.name).skipped == 1
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    monkeypatch.chdir(moved)
    shutil.copytree(folder, moved / "in")
    shutil.copy(db, moved / db.name)
    assert csv_files.main(csv_files.Path("in"), csv_files.Path(db.name)).skipped == 1
    assert read(moved / db.name, "SELECT x, _file FROM a") == [("1", "in/a.csv")]


def test_files_of_one_name_in_two_folders_do_not_collide(tmp_path, folder, db, load, read):
    """Nor does one of them go when the other one is loaded again."""
    other = tmp_path / "other"
    other.mkdir()
    (folder / "a.csv").write_text("x\n1\n")
    (other / "a.csv").write_text("x\n2\n")
    load()
    csv_files.main(other, db)
    load(again=True)

    assert read(db, "SELECT x, _file FROM a ORDER BY x") == [("1", "in/a.csv"), ("2", "other/a.csv")]


def test_a_table_is_one_table_however_it_is_spelled(folder, db, load, read):
    """SQL ignores case, and so does the second call."""
    (folder / "a.csv").write_text("x\n1\n")
    load(table="T")
    assert load(table="t").skipped == 1
    load(table="t", again=True)
    assert read(db, "SELECT COUNT(*) FROM t") == [(1,)]


def test_members_of_an_archive_are_files_of_their_own(folder, db, load, read):
    """One that is wrong fails alone; an unchanged archive is skipped, a changed one replaces its rows."""
    with zipfile.ZipFile(folder / "all.zip", "w") as archive:
        archive.writestr("a.csv", "x\n1\n")
        archive.writestr("sub/b.tsv", "x\ty\n1\t2\n")
        archive.writestr("c.csv", "x,y\n1\n")
    assert failure_of(load).startswith("all.zip/c.csv, line 2: 1 values for 2 columns")
    assert read(db, "SELECT * FROM a") == [("1", "in/all.zip/a.csv")]
    assert read(db, "SELECT * FROM b") == [("1", "2", "in/all.zip/sub/b.tsv")]

    with zipfile.ZipFile(folder / "all.zip", "w") as archive:
        archive.writestr("a.csv", "x\n5\n6\n")
    assert load().done == 1
    assert read(db, "SELECT x FROM a") == [("5",), ("6",)]


def test_what_was_passed_over_is_said(folder, load, capsys):
    """By reason, with names that cannot disturb a terminal; also when files fail."""
    (folder / "a.csv").write_text("x\n\n1\n\n")
    (folder / ".b.csv").write_text("x\n1\n")
    for number in range(5):
        (folder / f"note\x1b{number}").write_text("")
    load()
    said = capsys.readouterr().err
    assert "  skipped: 1 hidden (.b.csv)\n" in said
    assert "  skipped: 5 with other suffixes (note?0, note?1, note?2 …)\n" in said
    assert "  skipped: 2 empty lines (a.csv: 2)\n" in said

    (folder / "bad.csv").write_text("x,y\n1\n")
    failure_of(load)
    assert "1 hidden" in capsys.readouterr().err


def test_rows_of_changed_files_are_found_by_an_index(folder, db, load, read):
    """Else loading many files of one table again takes quadratic time; it is made once, when it is needed first."""
    for name in "abc":
        (folder / f"{name}.csv").write_text(f"x\n{name}\n")
    load(table="t")
    indexes = "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND tbl_name = 't'"
    assert read(db, indexes) == []
    for _ in range(2):
        load(table="t", again=True)
        assert read(db, indexes) == [("t_by_file", 'CREATE INDEX "t_by_file" ON "t" (_file)')]
    assert read(db, "SELECT x FROM t ORDER BY x") == [("a",), ("b",), ("c",)]


def test_a_table_that_was_dropped_is_made_again(folder, db, load, read):
    """Although its files are listed."""
    (folder / "a.csv").write_text("x\n1\n")
    load()
    with closing(sqlite3.connect(db)) as conn:
        conn.execute("DROP TABLE a")
    load(again=True)
    assert read(db, "SELECT x FROM a") == [("1",)]


LOSSY = {
    "n=int": ["12345678901234567890", "7.0", "abc"],
    "n=float": ["1e400", "0.1234567890123456789", "9007199254740993"],
}


@pytest.mark.parametrize(("types", "word"), [(types, word) for types, words in LOSSY.items() for word in words])
def test_what_a_declared_type_would_change_is_its_files_error(folder, db, load, read, types, word):
    """With line and column; now, and by the next call, which declares nothing."""
    (folder / "a.csv").write_text("N,y\n1,2\n")
    load(table="t", types=types)
    (folder / "b.csv").write_text(f"n,y\n1,2\n{word},4\n")
    for options in ({"types": types}, {}):
        assert failure_of(load, table="t", **options).startswith(f"b.csv, line 3: '{word}' in the column n ")
    assert read(db, "SELECT n FROM t") == [(1,)]


@pytest.mark.parametrize(
    ("declared", "types", "found"),
    [
        ("INTEGER", "text", "int"),
        ("INTEGER", "float", "int"),
        ("TEXT", "int", "text"),
        ("REAL", "int", "float"),
        ("DECIMAL(9, 2)", "float", "numeric"),
    ],
)
def test_a_type_that_contradicts_the_table_is_refused(folder, db, load, read, declared, types, found):
    """Before anything is written."""
    (folder / "t.csv").write_text("n\n1\n")
    with closing(sqlite3.connect(db)) as conn:
        conn.execute(f"CREATE TABLE t (N {declared}, _file)")
    with pytest.raises(ValueError, match=f"type n={types}: the column n of the table t, which exists, is {found}"):
        load(types=f"n={types}")
    assert read(db, "SELECT name FROM sqlite_master WHERE type = 'table'") == [("t",)]


def test_the_columns_of_an_existing_table_keep_their_types(folder, db, load, read):
    """What they would change is an error; what they would convert is converted."""
    with closing(sqlite3.connect(db)) as conn:
        conn.execute("CREATE TABLE t (i INT, f REAL, d DATE, b, s TEXT, _file)")
    (folder / "t.csv").write_text("i,f,d,b,s\n007,2.50,2024-05-01,007,007\n")
    load()
    assert read(db, "SELECT i, f, d, b, s FROM t") == [(7, 2.5, "2024-05-01", "007", "007")]

    (folder / "t.csv").write_text("i,f,d,b,s\n1,2,12345678901234567890,4,5\n")
    assert "line 2: '12345678901234567890' in the column d does not fit" in failure_of(load)


def test_types_are_detected_from_all_files_whatever_their_order(folder, db, load, read):
    """A file that fails decides nothing; a later one that does not agree fails with a sentence."""
    files = {
        "1.csv": "n,f,code,e,z\n1,1,1,,7\n",
        "2.csv": "n,f,code,e,z\n-2,2.5,007,,+7\n",
        "3.csv": "n\nx\nx,y\n",
    }
    for name, text in files.items():
        (folder / name).write_text(text)
    for workers in (1, 4):
        failure_of(load, table="t", detect_types=True, workers=workers)
        assert read(db, "SELECT n, f, code, e, z FROM t ORDER BY _file") == [
            (1, 1.0, "1", None, "7"),
            (-2, 2.5, "007", None, "+7"),
        ]
        if workers == 1:
            db.unlink()
    (folder / "3.csv").unlink()
    (folder / "4.csv").write_text("n\n3\n1.5\n")
    assert failure_of(load, table="t", detect_types=True).startswith(
        "4.csv, line 3: '1.5' in the column n is not int"
    )
    assert failure_of(load, table="t").startswith("4.csv, line 3: '1.5' in the column n is not int")


def test_a_declared_type_goes_before_a_detected_one(folder, db, load, read):
    """As it was said."""
    (folder / "t.csv").write_text("a,b\n1,1\n")
    load(types="A=text", detect_types=True)
    assert read(db, "SELECT a, b FROM t") == [("1", 1)]


def test_new_columns_are_added_only_when_asked_and_in_any_order(folder, db, load, read):
    """Without a word each such file fails by name; with it, all come, however many workers there are."""
    (folder / "a.csv").write_text("x\n1\n")
    load(table="t")
    (folder / "b.csv").write_text("x,y\n2,\n")
    (folder / "c.csv").write_text("z,Y\n3,4\n")
    with pytest.raises(TasksFailedError) as caught:
        load(table="t")
    assert sorted(failure.message for failure in caught.value.report.failures) == [
        "b.csv: the table t has no column y: add it with --alter",
        "c.csv: the table t has no column z: add it with --alter",
    ]
    load(table="t", alter=True, types="z=int")

    assert read(db, "SELECT x, y, z FROM t ORDER BY _file") == [
        ("1", None, None),
        ("2", None, None),
        (None, "4", 3),
    ]
    assert read(db, "SELECT name, type FROM pragma_table_info('t') ORDER BY name") == [
        ("_file", "TEXT"),
        ("x", "TEXT"),
        ("y", "TEXT"),
        ("z", "INTEGER"),
    ]


def test_a_table_of_the_users_own_gets_the_column_for_the_file_when_that_is_asked_for(folder, db, load, read):
    """Also when it has all columns of the file; tables that no file goes to stay as they are."""
    with closing(sqlite3.connect(db)) as conn:
        conn.executescript("CREATE TABLE t (a TEXT, n INTEGER); CREATE TABLE other (a)")
    (folder / "t.csv").write_text("a,n\n007,7\n")

    assert failure_of(load) == "t.csv: the table t has no column _file: add it with --alter"
    load(alter=True)
    assert read(db, "SELECT a, n, _file FROM t") == [("007", 7, "in/t.csv")]
    assert read(db, "SELECT name FROM pragma_table_info('other')") == [("a",)]


def test_a_file_of_many_megabytes_is_one_commit_in_little_memory(folder, db, load, read):
    """What a task stages past some megabytes goes to the disk; a fault at its end leaves nothing of it."""
    with (folder / "big.csv").open("w") as file:
        file.write("n,text\n")
        file.writelines(f"{n},{'x' * 300}\n" for n in range(60_000))
    tracemalloc.start()
    try:
        load()
        assert tracemalloc.get_traced_memory()[1] < 60 << 20
    finally:
        tracemalloc.stop()
    assert read(db, "SELECT COUNT(*), MAX(CAST(n AS INTEGER)) FROM big") == [(60_000, 59_999)]
    with (folder / "big.csv").open("a") as file:
        file.write("too,many,values\n")
    assert "line 60002: 3 values" in failure_of(load)
    assert read(db, "SELECT COUNT(*) FROM big") == [(60_000,)]
