"""What the documents say is so."""

from __future__ import annotations

import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import Path
from uuid import UUID

import numpy as np
import pandas as pd
import pytest

import pipeloom
from pipeloom import cli

ROOT = Path(__file__).parent.parent
PAGES = sorted(path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md"))


def test_the_readmes_program_runs(tmp_path):
    """As it is printed, on two small files; a second call skips them."""
    (program,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    (tmp_path / "load.py").write_text(program)
    folder = tmp_path / "build" / "flights" / "flights"
    folder.mkdir(parents=True)
    for name in ("a", "b"):
        (folder / f"{name}.csv").write_text("carrier,dep_delay,distance\nUA,2,1400\nAA,NA,1089\n")

    def call():
        return subprocess.run(
            [sys.executable, "load.py"], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True
        ).stdout

    assert "2 done" in call()
    assert "0 done, 2 skipped" in call()


def test_the_program_that_reads_a_ledger_runs(tmp_path, monkeypatch, capsys):
    """As the page about the ledger has it."""
    monkeypatch.chdir(tmp_path)
    pipeloom.map(abs, [1, 2], db="out.db", progress=False)
    (program,) = re.findall(
        r"```python\n(.*?)```", (ROOT / "docs" / "reference" / "ledger.md").read_text(), re.DOTALL
    )
    exec(program, {})

    assert capsys.readouterr().out == "done 2\n"


ROWS = (ROOT / "docs" / "reference" / "rows.md").read_text()
FILE = (ROOT / "docs" / "reference" / "database-file.md").read_text()
NAMES = {kind.__name__: kind for kind in (date, datetime, time, timedelta, Decimal, Path, UUID)}
NAMES |= {"UTC": UTC, "Colour": Enum("Colour", {"RED": "r"}), "numpy": np, "pandas": pd}


def cells(header, page=ROWS):
    """The rows of a table of a page, without its header."""
    (table,) = re.findall(rf"^\| {header}.*\n\|[-|]+\n((?:\|.*\n)+)", page, re.MULTILINE)
    return [line.strip("| ").split(" | ") for line in table.splitlines()]


def stored(db, written, tables=None):
    """What each of these values is in a column; a task each, in one run."""

    def write(number, ctx):
        ctx.write("t", {"id": number, "v": written[number]})

    pipeloom.map(write, range(len(written)), db=db, tables=tables, on_error="collect", progress=False)
    with closing(sqlite3.connect(db)) as conn:
        found = {number: literal(value) for number, value in conn.execute("SELECT id, v FROM t")}
    return [found.get(number, "refused") for number in range(len(written))]


def literal(value):
    """A value as SQL has it, with the digits of Python."""
    if value is None:
        return "NULL"
    return f"X'{value.hex()}'" if isinstance(value, bytes) else repr(value)


@pytest.mark.parametrize(
    ("program", "output"), re.findall(r"```python\n(.*?)```\n\n```text\n(.*?)```", ROWS, re.DOTALL)
)
def test_the_programs_about_rows_print_what_the_page_says(tmp_path, program, output):
    """Each as it is printed, in a folder of its own."""
    (tmp_path / "load.py").write_text(program)
    done = subprocess.run([sys.executable, "load.py"], cwd=tmp_path, capture_output=True, text=True, timeout=60)

    assert (done.stderr, done.stdout) == ("", output)


def test_values_become_what_the_page_says(tmp_path):
    """All examples of its table."""
    examples = [
        (example, becomes.strip("`") if becomes[0] == "`" else "refused")
        for _, some, becomes in cells("Python")
        for example in re.findall("`([^`]+)`", some)
    ]
    assert len(examples) > 35
    found = stored(tmp_path / "out.db", [eval(example, NAMES) for example, _ in examples], {"t": {"v": None}})

    assert dict(zip([example for example, _ in examples], found, strict=True)) == dict(examples)


def test_types_do_what_the_page_says(tmp_path):
    """All cells of its table, a column at a time: declared types, and columns of one's own."""
    (header,) = re.findall(r"^\| written \| (.*) \|$", ROWS, re.MULTILINE)
    written = [eval(row[0].strip("`"), NAMES) for row in cells("written")]
    for place, kind in enumerate(header.split(" | "), 1):
        db = tmp_path / f"{place}.db"
        whose, _, name = kind.replace("`", "").partition(" ")
        tables = {"t": {"v": eval(name)}} if whose == "declared" else None
        if whose == "your":
            with closing(sqlite3.connect(db)) as conn:
                conn.execute(f"CREATE TABLE t (id, v {name.replace('untyped', '')})")

        assert stored(db, written, tables) == [row[place].strip("`") for row in cells("written")], kind


@pytest.mark.parametrize("row", cells("the file was", FILE), ids=lambda row: row[0])
def test_files_are_left_with_the_journal_that_the_page_says(tmp_path, row):
    """For each way to ask, and each way to find the file."""
    was, *becomes = row
    for wal, mode in zip((None, True, False), becomes, strict=True):
        db = tmp_path / f"{wal}.db"
        if was != "new":
            with closing(sqlite3.connect(db)) as conn:
                conn.execute(f"PRAGMA journal_mode = {was.split()[-1]}")
                conn.execute("CREATE TABLE mine (v)")
        pipeloom.map(abs, [1], db=db, wal=wal, progress=False)
        with closing(sqlite3.connect(db)) as conn:
            assert conn.execute("PRAGMA journal_mode").fetchone() == (mode.lower(),), wal


@pytest.mark.parametrize("command", sorted(cli._COMMANDS))
def test_every_command_is_in_the_reference(command):
    """Nothing that can be typed is undocumented."""
    pages = [path.read_text() for path in (ROOT / "docs" / "reference").glob("*.md")]
    assert any(f"pipeloom {command}" in page for page in pages)


@pytest.mark.parametrize("page", ["README.md", "CHANGELOG.md", *(f"docs/{path}" for path in PAGES)])
def test_links_between_pages_lead_somewhere(page):
    """Relative links name files that exist, and headings that stand in them."""
    path = ROOT / page
    for target, heading in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", path.read_text()):
        there = path.parent / target if target else path
        if re.search(r"(^|reference/)(api|cli)\b", target):
            continue  # generated; tests/docs/test_site.py has built them
        assert there.exists(), target
        if heading:
            assert heading in anchors(there.read_text()), f"{target}#{heading}"


def anchors(text):
    """The headings of a page, as links name them."""
    text = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


def test_every_picture_is_shown_somewhere_and_small():
    """None is left over from an older page, and none makes a clone heavy."""
    pages = "".join(path.read_text() for path in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])
    pictures = [path for path in (ROOT / "docs" / "pictures").iterdir() if path.suffix in (".svg", ".png")]
    assert len(pictures) > 5
    for picture in pictures:
        assert f"pictures/{picture.name}" in pages
        assert picture.stat().st_size < 150_000, picture
    shown = re.findall(r"pictures/([\w-]+\.(?:svg|png))", pages)
    assert set(shown) == {picture.name for picture in pictures}
