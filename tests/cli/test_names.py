"""Tables and columns of any name, from the call to all that shows them."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest
from click.testing import CliRunner

import pipeloom
from pipeloom.cli import cli

NAMES = [
    "a\xa0b",
    "a\nb",
    "\x1b[2Jgone",
    "\u202eabc",
    "x" * 1000,
    'say "x"; --',
    "task_runs\n",
    "%s",
    "?1",
    "[bold]",
]


@pytest.mark.parametrize("name", NAMES, ids=lambda name: ascii(name)[:20])
def test_a_table_of_any_name_takes_rows_and_what_is_shown_is_harmless(db, name):
    """Made, grown, declared and looked up under it; no command prints its control characters."""

    def task(number, ctx):
        ctx.write(name, {name: number}, on_conflict="update", conflict_on=[name])
        ctx.write(f"{name} 2", [{name: "x"}])
        if number == 2:
            ctx.write(name, {name: {1}})

    for _ in range(2):
        report = pipeloom.map(
            task, [1, 2], db=db, name="n", resume=False, tables={f"{name} 2": {name: str}}, on_error="collect"
        )
    with closing(sqlite3.connect(db)) as conn:
        quoted = '"' + name.replace('"', '""') + '"'
        assert conn.execute(f"SELECT * FROM {quoted}").fetchall() == [(1,)]

    assert report.failures[0].message.isprintable()
    for command in ("status", "errors", "tasks", "doctor", "show 2"):
        shown = CliRunner().invoke(cli, [*command.split(), "--db", str(db)])
        assert shown.output, command
        assert not {"\x1b", "\xa0", "\u202e"} & set(shown.output), command
