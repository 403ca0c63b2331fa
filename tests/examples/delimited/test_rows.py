"""Columns and rows: as the csv module reads them, with a sentence for what it does not say."""

from __future__ import annotations

import pytest

from pipeloom.examples.delimited import Format, find, loses_nothing, open_sheet, rows


@pytest.fixture
def sheet(tmp_path):
    """Write a file and read it whole: columns, rows, and how many lines were empty."""

    def read(text, kinds=(), **options):
        (tmp_path / "a.csv").write_bytes(text.encode() if isinstance(text, str) else text)
        (source,) = find(tmp_path, tmp_path).sources
        with open_sheet(source, Format(**options)) as opened:
            made = [kind and loses_nothing(kind) for kind in kinds]
            found = [tuple(row) for chunk in opened.chunks(made) for row in chunk]
            return opened.columns, found, opened.empty_lines

    return read


def test_lines_without_anything_are_counted(sheet):
    """A quoted empty field is a row of one column, and delimiters alone are one of many."""
    assert sheet("\nx\n1\n\n2\n\n") == (["x"], [("1",), ("2",)], 3)
    assert sheet('x\n""\n1\n') == (["x"], [("",), ("1",)], 0)
    assert sheet("x,y\n,\n  \n1,2\n") == (["x", "y"], [("", ""), ("1", "2")], 1)


def test_without_a_header_columns_are_numbered(sheet):
    """The first row is one of the data, and its types are checked."""
    assert sheet("1,2\n3,4\n", ["int", None], header=False) == (["c1", "c2"], [(1, "2"), (3, "4")], 0)
    assert sheet("", header=False) == ([], [], 0)


def test_lines_may_be_left_out_above_the_header(sheet):
    """They count: a later line has the number that an editor shows."""
    assert sheet("Report, of May\n\nx;y\n1;2\n", skip=2)[:2] == (["x", "y"], [("1", "2")])
    assert sheet("x\n", skip=5) == ([], [], 0)
    with pytest.raises(ValueError, match=r"a\.csv, line 4: 3 values for 2 columns"):
        sheet("Report\nx;y\n1;2\n1;2;3\n", skip=1)


def test_a_line_for_spreadsheets_says_the_delimiter(sheet):
    """It is no data."""
    assert sheet("sep=|\r\na,b|c\r\n1|2\r\n") == (["a,b", "c"], [("1", "2")], 0)


def test_columns_of_one_name_and_of_none_are_renamed_when_asked(sheet):
    """SQL ignores case; no new name is one that another column has; ours is taken."""
    text = "a,A,a_2,,_file,a,c4\n1,2,3,4,5,6,7\n"
    assert sheet(text, rename=True)[0] == ["a", "A_3", "a_2", "c4_2", "_file_2", "a_4", "c4"]
    for header, said in (
        ("a,A", "two columns are named 'A'"),
        ("a,", "column 2 has no name"),
        ("_file", "reserved"),
    ):
        with pytest.raises(ValueError, match=rf"line 1: .*{said}"):
            sheet(header + "\n")
    assert sheet("ä,Ä, a ,\u00a0\n1,2,3,4\n")[0] == ["ä", "Ä", " a ", "\u00a0"]


def test_ragged_rows_are_padded_when_asked(sheet):
    """What is too much is dropped only if it is empty."""
    assert sheet("x,y\n1\n2,3,,\n4,5\n", ragged="pad")[1] == [("1", ""), ("2", "3"), ("4", "5")]
    with pytest.raises(ValueError, match=r"line 3: 3 values for 2 columns$"):
        sheet("x,y\n1\n2,3,4\n", ragged="pad")
    with pytest.raises(ValueError, match=r"line 2: 1 values for 2 columns \(with --ragged pad"):
        sheet("x,y\n1\n")


def test_values_are_as_they_were_written(sheet):
    """NUL, quotes, line ends of all kinds within fields and after them."""
    text = 'x,y\r"a\r\nb","c\rd"\n"e\nf",\0g\r\n"""h""", i \n'
    assert sheet(text)[1] == [("a\r\nb", "c\rd"), ("e\nf", "\0g"), ('"h"', " i ")]


def test_chunks_are_bounded_by_size_as_well(tmp_path, monkeypatch):
    """Five thousand rows of megabytes each would not fit into memory."""
    monkeypatch.setattr(rows, "_CHUNK_SIZE", 1000)
    (tmp_path / "a.csv").write_text("x\n" + ("y" * 400 + "\n") * 10)
    (source,) = find(tmp_path, tmp_path).sources
    with open_sheet(source, Format()) as opened:
        assert [len(chunk) for chunk in opened.chunks()] == [3, 3, 3, 1]


def test_an_explicit_delimiter_asks_nothing(sheet):
    """Nor does none, for one column."""
    assert sheet("# a, b;c\n1;2\n", delimiter=";")[0] == ["# a, b", "c"]
    assert sheet("name\nDoe, John\n", delimiter="")[:2] == (["name"], [("Doe, John",)])
