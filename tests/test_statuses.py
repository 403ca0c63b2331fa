"""The states of tasks and runs: spelled in one place."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import pipeloom
from pipeloom.statuses import (
    ENDED,
    FAILED,
    OPEN,
    REPORTED,
    RUN_STATUSES,
    TASK_STATUSES,
)

PACKAGE = Path(pipeloom.__file__).parent
STATUSES = {*TASK_STATUSES, *RUN_STATUSES}

# Where the same word is no status. SQL text needs no leave: there a status is a part of a longer string.
NO_STATUS = {
    # what a write does about a row of the same key
    ("data/rows.py", "error"),
    ("data/spool.py", "error"),
    ("ledger/inserts.py", "error"),
    ("messages.py", "error"),
    ("worker/base_context.py", "error"),
    ("worker/staging.py", "error"),
    # a column, or the attribute of that name: the traceback
    ("history/history.py", "error"),
    ("ledger/attempt.py", "error"),
    # what a row of the wrong length does
    ("cli/examples.py", "error"),
    ("examples/csv_files.py", "error"),
    ("examples/delimited/rows.py", "error"),
    # attributes of a report, and its status as users read it
    ("examples/etl.py", "cancelled"),
    ("examples/etl.py", "done"),
    ("examples/etl.py", "error"),
    ("examples/etl.py", "timed_out"),
    # words for people, of which some are a status's
    ("data/totals.py", "cancelled"),
    ("data/totals.py", "done"),
    ("cli/__init__.py", "interrupted"),  # what the program says of itself after Ctrl-C
    # a page of `pipeloom watch`
    ("cli/watching/drawing.py", "running"),
    ("cli/watching/navigation.py", "running"),
    ("cli/watching/pages.py", "running"),
    ("cli/watching/watcher.py", "running"),
    # a field of the JSON of `pipeloom watch`, and what it calls the file's state
    ("cli/watching/plain.py", "running"),
    # a part of a page in the browser
    ("web/views.py", "error"),
    ("web/views.py", "running"),
}


def spelled_in(source: str) -> Iterator[tuple[int, str]]:
    """Yield the line and the word of each string that is a status, wherever it stands."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in STATUSES:
            yield node.lineno, node.value


@pytest.fixture(scope="module")
def spelled():
    """Every status that the package spells outside of ``statuses``, as (file, line, word)."""
    return [
        (file, line, word)
        for path in sorted(PACKAGE.rglob("*.py"))
        if (file := path.relative_to(PACKAGE).as_posix()) != "statuses.py"
        for line, word in spelled_in(path.read_text(encoding="utf-8"))
    ]


def test_statuses_are_spelled_in_one_place(spelled):
    """A misspelt constant is an error, a misspelt string a task that nobody finds."""
    wrong = [f"{file}:{line}: {word!r}" for file, line, word in spelled if (file, word) not in NO_STATUS]

    assert wrong == [], "use the constants of pipeloom.statuses"


def test_no_leave_is_given_that_nobody_needs(spelled):
    """What is moved or renamed takes its leave along."""
    assert NO_STATUS - {(file, word) for file, _, word in spelled} == set()


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("if task.status == 'done': pass", [(1, "done")]),
        ("def end(status: Literal['error'] = 'timed_out'): pass", [(1, "error"), (1, "timed_out")]),
        ("x = {'running': 1}\ny = f'{x} {\"queued\"}'", [(1, "running"), (2, "queued")]),
        ("match x:\n    case 'interrupted' | 'cancelled': pass", [(2, "interrupted"), (2, "cancelled")]),
        ("x = \"SELECT 1 FROM task_runs WHERE status = 'done'\"", []),
        ("x = f'{n} done'  # 'done'", []),
        ("def done(error): return error.done", []),
    ],
)
def test_a_status_is_found_in_whatever_it_stands(source, found):
    """As a value, a type, a key, a pattern; not within SQL or words, nor as a name."""
    assert sorted(spelled_in(source)) == sorted(found)


def test_a_status_is_open_or_has_ended():
    """Never both, and each in one set."""
    assert sorted((*OPEN, *ENDED)) == sorted(TASK_STATUSES)
    assert set(FAILED) < set(ENDED)
    assert set(REPORTED) < set(ENDED)
    assert set(RUN_STATUSES) < set(TASK_STATUSES)
