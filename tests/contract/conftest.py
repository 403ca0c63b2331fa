"""What the contract's tests share: a writer on a plain queue, watched connections, child processes, a terminal."""

from __future__ import annotations

import queue
import sqlite3
import subprocess
import sys
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import monotonic

import pytest
from click.testing import CliRunner
from pseudoterminal import PseudoTerminal

from pipeloom import SENTINEL, SQLiteWriter
from pipeloom.cli import cli

LIMIT_S = 30  # how long anything may take before it counts as hanging


@pytest.fixture
def serve(db):
    """Run a writer around a block: ``with serve(...) as (writer, source)``; it ends, and has ended, afterwards."""

    @contextmanager
    def serving(source=None, *, path=db, **options):
        source = queue.Queue() if source is None else source
        writer = SQLiteWriter(path, source, **options)
        writer.start()
        try:
            yield writer, source
        finally:
            source.put(SENTINEL)
            writer.join(LIMIT_S)
        assert not writer.is_alive(), "the writer did not stop at SENTINEL"

    return serving


@pytest.fixture
def store(serve):
    """Hand messages to a writer of their own and wait for its end; returns the writer."""

    def storing(*messages, source=None, **options):
        with serve(source, **options) as (writer, msg_q):
            for message in messages:
                msg_q.put(message)
        return writer

    return storing


@dataclass
class Watched:
    """One real connection: where it was opened, used and closed, and what it was asked to do."""

    database: str
    opened_in: threading.Thread
    used_in: set[threading.Thread] = field(default_factory=set)
    closed_in: threading.Thread | None = None
    statements: list[str] = field(default_factory=list)

    @property
    def read_only(self) -> bool:
        """Whether it could not write if it wanted to."""
        return "mode=ro" in self.database

    def count(self, word: str) -> int:
        """How many statements begin with this word."""
        return sum(statement.lstrip().upper().startswith(word) for statement in self.statements)


@pytest.fixture
def opened(monkeypatch):
    """Every connection that is opened from now on, all of them real."""
    found = []
    connect = sqlite3.connect

    class Connection(sqlite3.Connection):
        def close(self):
            super().close()
            self.watched.closed_in = threading.current_thread()

    def watching(database, *args, **options):
        options.setdefault("factory", Connection)
        conn = connect(database, *args, **options)
        watched = conn.watched = Watched(str(database), threading.current_thread())

        def note(statement):
            watched.used_in.add(threading.current_thread())
            watched.statements.append(statement)

        conn.set_trace_callback(note)
        found.append(watched)
        return conn

    monkeypatch.setattr(sqlite3, "connect", watching)
    return found


@pytest.fixture
def child(tmp_path):
    """Start Python in a process of its own, in ``tmp_path``; what still runs at the end is killed."""
    started = []

    def start(*arguments, **options):
        process = subprocess.Popen(
            [sys.executable, *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            **options,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        with process:  # closes its pipes and waits
            if process.poll() is None:
                process.kill()


@dataclass
class Session:
    """What a program did on a terminal."""

    lines: list[str]
    text: str
    seconds: float
    code: int


@pytest.fixture
def terminal(tmp_path):
    """Run a program's text on a real pseudo-terminal; returns what was left on the screen.

    ``steps`` are pairs: a text, and what to do with the process once the screen shows it, one after the other.
    """

    def run(program, *, steps=(), columns=100, rows=30, limit_s=LIMIT_S):
        began = monotonic()

        def left_s():
            return began + limit_s - monotonic()

        with PseudoTerminal([sys.executable, "-c", program], columns=columns, rows=rows, cwd=tmp_path) as there:
            for seen, act in steps:
                there.until(seen, left_s())
                act(there.process)
            code = there.finish(left_s())
            return Session(there.lines, there.raw.decode(errors="replace"), monotonic() - began, code)

    return run


@pytest.fixture(autouse=True)
def log_given_back(package_log):
    """Every test here may set up logging."""


@pytest.fixture
def typed(child):
    """Type ``pipeloom …`` in ``tmp_path``; returns exit code, standard output and standard error."""

    def run(*words, **options):
        process = child("-m", "pipeloom", *words, **options)
        out, err = process.communicate(timeout=LIMIT_S)
        return process.returncode, out, err

    return run


@pytest.fixture
def invoked(monkeypatch):
    """Call the command line in this process, with a demo that does not pause."""
    monkeypatch.setattr("pipeloom.demo.time.sleep", lambda _: None)

    def run(*words):
        return CliRunner().invoke(cli, list(map(str, words)))

    return run
