"""Whatever tasks write or ask goes through the writer's one connection."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pipeloom
from pipeloom import MsgExecute, MsgWriteRows, run_pipeline


@dataclass(frozen=True)
class MsgMine:
    """A message of the user's own."""

    number: int


def test_a_new_kind_of_message_needs_no_change_to_the_writer_and_no_second_connection(db, read, opened):
    """A handler, rows, statements and questions all go through the one connection."""

    def handle(conn, messages):
        conn.executemany("INSERT INTO mine VALUES (?)", [(message.number,) for message in messages])

    def worker(task, msg_q):
        msg_q.put(MsgMine(task))
        msg_q.put(MsgWriteRows("rows", {"n": task}))
        msg_q.put(MsgExecute("INSERT INTO mine VALUES (?)", (task + 100,)))
        msg_q.write("rows", {"n": task + 100})
        msg_q.query("SELECT COUNT(*) FROM mine")

    run_pipeline(range(10), db, worker_fn=worker, handlers={MsgMine: handle}, tables={"mine": {"n": int}})

    assert [(conn.opened_in.name, conn.read_only) for conn in opened] == [("pipeloom-writer", False)]
    assert opened[0].used_in == {opened[0].opened_in}
    wanted = [*range(10), *range(100, 110)]
    for table in ("mine", "rows"):
        assert read(db, f"SELECT n FROM {table} ORDER BY n") == [(n,) for n in wanted]


def test_the_examples_open_no_second_connection():
    """None of them can write but through the run."""
    folder = Path(pipeloom.__file__).parent / "examples"
    sources = {path.name: path.read_text() for path in folder.glob("*.py")}

    assert len(sources) >= 2
    for name, source in sources.items():
        assert "import sqlite3" not in source, name
        assert "connect(" not in source, name
