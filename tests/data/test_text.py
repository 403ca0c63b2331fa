"""Foreign text on a terminal and in SQL: shown as it is spelled, never obeyed."""

from __future__ import annotations

import io
import sqlite3
from contextlib import closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from rich.markup import escape
from rich.text import Text

from pipeloom.data.identifiers import is_reserved, quoted
from pipeloom.data.text import clean, clean_block, describe, shorten, storable

# What must not reach a terminal.
HOSTILE = {
    "markup": "[red]x[/red]",
    "closing": "[/]",
    "closing unknown": "[/nope]",
    "link": "[link=https://example.org]click[/link]",
    "emoji": ":smile:",
    "erase screen": "\x1b[2J",
    "OSC 0 title": "\x1b]0;owned\x07",
    "OSC 8 link": "\x1b]8;;https://example.org\x1b\\click\x1b]8;;\x1b\\",
    "OSC 52 clipboard": "\x1b]52;c;b3duZWQ=\x07",
    "C1 CSI": "\x9b2J",
    "carriage return": "good\rbad",
    "line feed": "one\ntwo",
    "bidi override": "a\u202eb",
    "zero width": "a\u200bb",
    "line separator": "a\u2028b",
    "NUL": "a\0b",
    "lone surrogate": "a\ud800b",
    "wide": "漢" * 10_000,
    "wide and broken": "漢\x1b" * 5_000,
}
hostile = pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)

anything = st.text(st.characters(), max_size=60)  # lone surrogates and control characters too
property_test = settings(database=None, deadline=None, max_examples=100)


def shown(renderable):
    """Print on a terminal that records; return what was written, and the same as plain text."""
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, color_system="truecolor", width=80, record=True)
    console.print(renderable)
    return file.getvalue(), console.export_text()


@hostile
def test_cleaned_text_reaches_the_terminal_as_it_is_spelled(text):
    """Nothing but printable characters and the line ends of wrapping; no markup and no emoji is interpreted."""
    written, plain = shown(Text(clean(text)))

    assert written.replace("\n", "").isprintable()
    assert plain.replace("\n", "") == clean(text)


def test_a_limit_holds_after_escaping():
    """What escapes grow to is cut as well."""
    for text in HOSTILE.values():
        for limit in (1, 2, 7, 60):
            cut = clean(text, limit)
            assert len(cut) <= limit
            assert cut.isprintable()


def test_the_harness_sees_what_gets_through():
    """The known-bad control: escaping markup alone lets most of them through."""
    through = {
        name
        for name, text in HOSTILE.items()
        if "\ud800" not in text and not shown(escape(text))[0].replace("\n", "").isprintable()
    }

    assert {"erase screen", "C1 CSI", "bidi override", "zero width", "NUL"} <= through


def test_a_block_keeps_its_lines_and_nothing_else():
    """Such as a traceback, whose lines are the only control it may have."""
    block = "".join(f"Traceback:\n\tFile {text}\n{text}: no\n" for text in HOSTILE.values())
    cleaned = clean_block(block)
    written, _ = shown(Text(cleaned))

    assert cleaned.count("\n") == block.count("\n")
    assert all(line.isprintable() for line in cleaned.split("\n"))
    assert written.replace("\n", "").isprintable()


@given(anything)
@property_test
def test_clean_is_always_printable(text):
    """And leaves printable text alone, so that cleaning twice is cleaning once."""
    cleaned = clean(text)

    assert cleaned.isprintable()
    assert clean(cleaned) == cleaned
    assert cleaned == text or not text.isprintable()


@given(anything, st.integers(1, 80))
@property_test
def test_clean_keeps_any_limit(text, limit):
    """In characters; something that was cut ends in an ellipsis."""
    cut = clean(text, limit)

    assert cut.isprintable()
    assert len(cut) <= limit
    assert cut == clean(text) or cut.endswith("…")


@given(anything)
@property_test
def test_storable_text_can_be_stored(text):
    """SQLite gives back what was made of it; text without lone surrogates is left alone."""
    made = storable(text)
    with closing(sqlite3.connect(":memory:")) as conn:
        assert conn.execute("SELECT ?", (made,)).fetchone() == (made,)

    assert (made == text) == (not any("\ud800" <= char <= "\udfff" for char in text))


def test_the_escape_says_which_character_it_was():
    """So that the reader can find it."""
    assert clean("a\x1bb\r\n\u202e\ud800\U000e0001") == r"a\x1bb\r\n\u202e\ud800\U000e0001"


class Unprintable:
    """Fails when it is shown."""

    def __str__(self):
        raise RuntimeError("\x1b[2J")


class Rude:
    """Shows itself as control characters."""

    def __str__(self):
        return "\x1b[2J" * 1000


def test_any_object_can_be_shown():
    """One whose ``str`` raises, one that is nothing but control characters, a huge one, a rude class name."""
    assert describe(Unprintable()) == "<Unprintable that cannot be shown: RuntimeError>"
    assert clean(Unprintable()) == describe(Unprintable())
    assert clean(Rude()).isprintable()
    assert len(describe("x" * 10_000)) == 500
    assert clean(type("Evil\x1b[2J", (Unprintable,), {})()).isprintable()
    assert clean(None) == "None"


def test_shorten_says_that_it_did():
    """The last of the allowed characters is an ellipsis; what fits is left alone."""
    assert shorten("abcdef", 6) == "abcdef"
    assert shorten("abcdef", 5) == "abcd…"
    assert shorten("abcdef", 1) == "…"


names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1)


@given(names.filter(lambda name: not is_reserved(name) and name.lower() != "bystander"))
@property_test
def test_a_quoted_name_comes_back_from_sqlite(name):
    """As a table and as a column, to the letter, whatever it holds."""
    with closing(sqlite3.connect(":memory:")) as conn:
        conn.execute("CREATE TABLE bystander (a)")
        conn.execute(f"CREATE TABLE {quoted(name)} ({quoted(name, 'column')} TEXT)")
        conn.execute(f"INSERT INTO {quoted(name)} ({quoted(name, 'column')}) VALUES ('x')")
        tables = [row[0] for row in conn.execute("SELECT name FROM sqlite_master ORDER BY rowid")]
        columns = [row[1] for row in conn.execute(f"PRAGMA table_info({quoted(name)})")]

    assert tables == ["bystander", name]
    assert columns == [name]


def test_awkward_names_are_quoted():
    """Quoted, so that they are names and nothing else."""
    names = [
        'x"; drop table bystander; --',
        "a b",
        "é",
        "select",
        "[x]",
        "`x`",
        "'",
        "%s",
        "?",
        "x" * 5000,
        "a\xa0b",
        "a\nb",
        "\x1b[2J",
        "\u202e",
        " ",
    ]
    with closing(sqlite3.connect(":memory:")) as conn:
        conn.execute("CREATE TABLE bystander (a)")
        for name in names:
            conn.execute(f"CREATE TABLE {quoted(name)} (a)")
        found = [row[0] for row in conn.execute("SELECT name FROM sqlite_master ORDER BY rowid")]

    assert found == ["bystander", *names]


def test_what_cannot_be_a_name_is_refused():
    """In one harmless sentence that says what kind of name it was to be."""
    for name in ("", "a\0b", "\x1b\0", "\ud800", "a\nb\udcff", 7, None, b"bytes", ("t",)):
        with pytest.raises(ValueError, match="column name") as refused:
            quoted(name, "column")
        assert str(refused.value).isprintable()


def test_names_of_the_ledger_and_of_sqlite_are_reserved():
    """In any spelling, since SQL ignores case; only the exact name and the prefixes are ours."""
    ours = ["task_runs", "TASK_Runs", "pipeloom_", "PipeLoom_meta", "sqlite_master", "SQLITE_x"]
    free = [
        "task_runs\n",
        "\ntask_runs",
        "task_runs ",
        "ta\u017fk_runs",
        "tas\u212a_runs",
        "\u017fqlite_x",
        "task_runs2",
        "my_task_runs",
        "pipeloom",
        "sqlite",
        "flights",
        "x_pipeloom_y",
    ]

    assert [name for name in [*ours, *free] if is_reserved(name)] == ours
