"""The delimiter: right, or asked about, but never wrong in silence."""

from __future__ import annotations

import csv
import io
import random

import pytest

from pipeloom.examples.delimited.dialect import NO_DELIMITER, find_delimiter


def lines_of(text: str) -> list[str]:
    return list(io.StringIO(text, newline=""))


CLEAR = {
    "decimal commas": ("Artikel;Preis, netto\nSchraube;1,50\nMutter;0,75\n", ";"),
    "grouped numbers": ("a;b\n1.234,50;x\n'2;y\n", ";"),
    "sentences": ("name,remark\nx,one; two\ny,three\n", ","),
    "a sentence in each row": ("Name;City, state\nx;Rome, I\ny;Oslo, N\nz;Bath\n", ";"),
    "quoted others": ('"a;b",c\n"1;2",3\n', ","),
    "a quote that would be stray": ('a;"b,c"\n1;"2,3"\n', ";"),
    "line breaks in fields": ('a,b\n"x\n;;\n|",2\n', ","),
    "lone CR": ("a\tb\r1\t2\r", "\t"),
    "empty lines": ("\n\na|b\n\n1|2\n", "|"),
    "one line": ("a;b", ";"),
    "no delimiter": ("a\n1\n", ","),
    "nothing": ("", ","),
    "texts in one column": ("note\nhello, world\nyes\n", NO_DELIMITER),
    "too short rows": ("a,b,c\n1,2,3\n4,5\n", ","),
    "an open quote": ('a,b\n1,"2\n3,4\n', ","),
    "a column named #": ("#,name\n1,x\n", ","),
}


@pytest.mark.parametrize("kind", sorted(CLEAR))
def test_what_the_lines_agree_on(kind):
    """One delimiter explains the file."""
    text, expected = CLEAR[kind]
    assert find_delimiter(lines_of(text), whole=True) == expected


OPEN = {
    "equally consistent": ("a;b,c\n1;2,x\n", "could be ; or ,: choose one with --delimiter"),
    "as many sentences as fields": ("a;b, c\n1;2, x\n", "could be ; or ,: choose one"),
    "one line": ("a;b,c", "could be ; or ,: choose one"),
    "tab or bar": ("a\tb|c\nd\te|f\n", "could be tab or |: choose one"),
    "one fits, another nearly": ("a,b;c\n1,2;x\n3,4;y,5\n", "could be"),
    "a title": ("Report of May\na;b\n1;2\n", "skip the lines above the header with --skip"),
    "a title with a comma": ("Report of May, 2024\nx;y;z\n1;2;3\n", "skip the lines above"),
    "a comment": ("# made, by hand\na,b\n1,2\n", "looks like a comment: skip it with --skip"),
    "one column of names": ("name\nDoe, John\nRoe, Ann\n", "none: the file has one column"),
}


@pytest.mark.parametrize("kind", sorted(OPEN))
def test_what_is_open_is_asked(kind):
    """With the option that answers it."""
    text, said = OPEN[kind]
    with pytest.raises(ValueError, match=said.replace("|", r"\|")):
        find_delimiter(lines_of(text), whole=True)


def test_a_tsv_is_split_at_tabs_if_it_has_any():
    """Its name says so; one without a tab is looked at as any other."""
    assert find_delimiter(["a,b\tc,d\n", "1,2\t3,4\n"], whole=True, tabs=True) == "\t"
    assert find_delimiter(["a,b\n", "1,2\n"], whole=True, tabs=True) == ","


def test_a_sample_may_end_within_a_quoted_field():
    """What is cut off says nothing; what is not closed in the whole file does."""
    lines = ["a;b\n", '1;"x,\n', "y,\n"]
    assert find_delimiter(lines, whole=False) == ";"


PIECES = (
    "a",
    "b;c",
    "1,5",
    "x, y",
    "",
    "p|q",
    "t\tu",
    'he said "hi"',
    "line\r\nbreak",
    "ü",
    " lead",
    "Doe; J",
    "'q'",
)


@pytest.mark.parametrize("delimiter", ",;\t|")
def test_generated_files_are_never_split_wrong(delimiter):
    """Thousands, of awkward values: all rows as they were written, or a question. Most are found."""
    chance = random.Random(ord(delimiter))
    found = asked = 0
    for _ in range(1500):
        width, count = chance.randint(2, 6), chance.randint(1, 12)
        rows = [[chance.choice(PIECES) or "h" for _ in range(width)] for _ in range(count)]
        file = io.StringIO(newline="")
        quoting = chance.choice((csv.QUOTE_MINIMAL, csv.QUOTE_ALL))
        csv.writer(file, delimiter=delimiter, quoting=quoting).writerows(rows)
        lines = lines_of(file.getvalue())
        try:
            chosen = find_delimiter(lines, whole=True)
        except ValueError:
            asked += 1
            continue
        found += 1
        assert [row for row in csv.reader(lines, delimiter=chosen, strict=True) if row] == rows, lines
    assert found > 10 * asked
