"""The csv example: every row once, as it stands in its file, whatever the files are like."""

from __future__ import annotations

import csv
import os

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
    "ours": (b"x,_file\n1,2\n", "bad.csv, line 1: the column _file is this program's own"),
    "short": (b"x,y\n1,2\n3\n", "bad.csv, line 3: 1 values for 2 columns"),
    "long": (b'x,y\n1,"a\nb"\n3,4,5\n', "bad.csv, line 4: 3 values for 2 columns"),
    "quote": (b'x,y\n1,"2\n3,4\n', "bad.csv, line 3: unexpected end of data"),
    "encoding": (b"x,y\n1,2\n3,caf\xe9\n", "bad.csv, line 3: not utf-8-sig (invalid continuation byte): give its"),
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
    assert failure_of(load, encoding="utf-16").startswith("l.csv, line 1: not utf-16 (UTF-16 stream does not")


def test_files_that_are_none_are_their_own_errors(folder, load):
    """A link that leads nowhere; a pipe, which must not be waited for; a table's name that is taken."""
    (folder / "gone.csv").symlink_to("nowhere")
    os.mkfifo(folder / "pipe.csv")
    (folder / "task_runs.csv").write_text("x\n1\n")
    with pytest.raises(TasksFailedError) as caught:
        load()
    said = {failure.key: failure.message for failure in caught.value.report.failures}

    assert "No such file" in said["in/gone.csv"]
    assert said["in/pipe.csv"] == "pipe.csv: is no regular file"
    assert said["in/task_runs.csv"].startswith("task_runs.csv: 'task_runs' cannot be the name of its table")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"types": "n=number"}, "type n=number: write COLUMN=int"),
        ({"types": "int"}, "type int: write COLUMN=int"),
        ({"types": {"nonesuch": "int"}}, "no file has a column of that name"),
        ({"delimiter": ",,"}, "give one character"),
        ({"encoding": "klingon"}, "is not known"),
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
        (folder, "holds"),
    ):
        with pytest.raises(ValueError, match=said):
            csv_files.main(place, db)
    assert not db.exists()
