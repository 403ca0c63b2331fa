"""Whose tasks are whose: which pipeline a run goes on with, and which inputs must not be taken for others.

The ledger remembers of each pipeline which function it was. A run finds its own by that, not by the name. Others of
the same function's name are doubtful: an input that is done there may be the same work or not, and nobody but the
caller knows.
"""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from pipeloom.data.naming import Naming
from pipeloom.data.origins import is_gone, place_in_words
from pipeloom.data.seen import OBJECT
from pipeloom.data.text import clean
from pipeloom.errors import NameNeededError
from pipeloom.ledger.statements import padded

__all__ = ["Doubts", "Pipeline", "adopt_pipelines", "pipeline_for"]

_LABEL: Final = re.compile(r" \((?:run )?\d+\)\Z")
_RUN: Final = re.compile(r"(?<= \(run )\d+(?=\)\Z)")
_COLUMNS: Final = "id, name, is_given, function, place, beside, code, captured"
_SELECT: Final = (
    f"SELECT {_COLUMNS} FROM pipeloom_pipelines WHERE function IS NULL OR substr(function, -length(?)) = ?"
)


@dataclass(frozen=True, slots=True)
class _Row:
    """One pipeline on file; of those that an older version made, only the name is known."""

    id: int
    name: str
    is_given: int | None
    function: str | None
    place: str | None
    beside: str | None
    code: str | None
    captured: str | None

    @property
    def qualname(self) -> str:
        return _LABEL.sub("", self.function or self.name).rpartition(":")[2]


@dataclass(frozen=True, slots=True)
class Pipeline:
    """The pipeline of a run.

    Attributes:
        id: Its number.
        name: What it is called; ``name=`` with this goes on with it.
        doubts: What may be the same work; ``None`` when there is no such pipeline.
    """

    id: int
    name: str
    doubts: Doubts | None


class Doubts:
    """The other pipelines in which an input's work may be done already.

    Args:
        conn: The writer's connection.
        naming: Who the function of this run is.
        others: Pipeline number → its name, and why it is in doubt.
    """

    def __init__(self, conn: sqlite3.Connection, naming: Naming, others: dict[int, tuple[str, str]]) -> None:
        self._conn = conn
        self._naming = naming
        self._others = others

    def check(self, keys: Sequence[str | int]) -> None:
        """Refuse to run what may be done already; the writer's thread.

        Args:
            keys: Of the inputs that would be run, n ≥ 0.

        Raises:
            NameNeededError: One of them has committed rows, or a result, in a pipeline that is in doubt.
        """
        marks = ",".join("?" * len(self._others))
        for size, flat in padded([(key,) for key in keys], 1):
            found = self._conn.execute(
                f"SELECT pipeline_id, key FROM task_runs t WHERE pipeline_id IN ({marks}) AND key IS NOT NULL "
                f"AND key IN ({','.join('?' * size)}) AND (status = 'done' "
                "OR EXISTS (SELECT 1 FROM pipeloom_state s WHERE s.task_id = t.id)) ORDER BY pipeline_id LIMIT 1",
                (*self._others, *flat),
            ).fetchone()
            if found is not None:
                name, why = self._others[found[0]]
                raise NameNeededError(
                    f"the input {_shown(found[1])} is done in this file under the name {clean(name, 120)!r}, "
                    f"and {why}: pass name={clean(name, 120)!r} to go on with that, or another name for other work"
                )


def pipeline_for(conn: sqlite3.Connection, naming: Naming, run_id: int | None, *, resume: bool) -> Pipeline:
    """Return the pipeline that a run belongs to, made if need be; inside a transaction, the writer's thread.

    Args:
        conn: The writer's connection.
        naming: Who the function is.
        run_id: The run's number, which a pipeline of one run only is called by.
        resume: Inputs are skipped that are done.
    """
    path = conn.execute("PRAGMA database_list").fetchone()[2]
    beside = _beside(naming.place, path)
    suffix = ":" + naming.qualname
    rows = [_Row(*row) for row in conn.execute(_SELECT, (suffix, suffix))]
    if naming.is_given:
        found = conn.execute("SELECT id FROM pipeloom_pipelines WHERE name = ?", (naming.name,)).fetchone()
        number = found[0] if found is not None else _insert(conn, naming, naming.name, beside)
        return Pipeline(number, naming.name, None)
    mine = next((row for row in rows if _is_mine(row, naming, beside)), None)
    if mine is not None:
        _remember(conn, mine, naming, beside)
        number, name = mine.id, mine.name
    else:
        name = f"{naming.qualname} (run {run_id})" if not naming.is_lasting else _free_name(conn, naming.name)
        number = _insert(conn, naming, name, beside)
    others = {}
    for row in rows if resume else ():
        if row.id != number and row.qualname == naming.qualname and (why := _doubt(row, naming, beside)):
            others[row.id] = row.name, why
    return Pipeline(number, name, Doubts(conn, naming, others) if others else None)


def adopt_pipelines(conn: sqlite3.Connection, part: str, runs: int) -> dict[int, int]:
    """Make the pipelines of an attached file pipelines of this one, joined with those that are the same work.

    Args:
        conn: In a transaction.
        part: What the file is called in SQL.
        runs: What is added to the numbers of its runs.

    Returns:
        Number there → number here.
    """
    path = conn.execute("PRAGMA database_list").fetchone()[2]
    here = [_Row(*row) for row in conn.execute(f"SELECT {_COLUMNS} FROM main.pipeloom_pipelines")]
    found = {}
    for theirs in [_Row(*row) for row in conn.execute(f"SELECT {_COLUMNS} FROM {part}.pipeloom_pipelines")]:
        same = next((row for row in here if _is_same_work(row, theirs)), None)
        if same is not None:
            found[theirs.id] = same.id
            continue
        name = _free_name(conn, _RUN.sub(lambda run: str(int(run[0]) + runs), theirs.name))
        number = conn.execute(
            "INSERT INTO main.pipeloom_pipelines (name, is_given, function, place, beside, code, captured) "
            "VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                *(name, theirs.is_given, theirs.function, theirs.place),
                *(_beside(theirs.place or "", path), theirs.code, theirs.captured),
            ),
        ).lastrowid
        assert number is not None
        found[theirs.id] = number
        here.append(replace(theirs, id=number, name=name))
    return found


def _is_same_work(one: _Row, other: _Row) -> bool:
    """Say whether pipelines of two files are one: by their name, or by whose they are if nobody gave one.

    Where a function stands as seen from the database says nothing here: other programs lie beside other files.
    """
    if one.is_given or other.is_given or one.function is None or other.function is None:
        return one.name == other.name
    if (one.captured or "").startswith(OBJECT) or (one.function, one.captured) != (other.function, other.captured):
        return False
    return one.place == other.place or (one.code is not None and one.code == other.code)


def _is_mine(row: _Row, naming: Naming, beside: str | None) -> bool:
    """Say whether a pipeline is certainly this function's."""
    if row.function is None:  # of an older version, which knew functions by this name alone
        return row.name == naming.name and naming.kind == "a function"
    if row.is_given or row.captured != naming.captured:
        return False
    if row.qualname == naming.qualname and _is_same_place(row, naming, beside):
        return True
    has_moved = row.code is not None and row.code == naming.code and is_gone(row.place or "")
    return row.function == naming.function and has_moved


def _is_same_place(row: _Row, naming: Naming, beside: str | None) -> bool:
    return row.place == naming.place or (beside is not None and row.beside == beside)


def _doubt(row: _Row, naming: Naming, beside: str | None) -> str | None:
    """Say why a pipeline of the same function's name may be the same work; ``None`` if it is certainly not."""
    if row.function is None:
        return "who did that is not noted there, since an older version of pipeloom did it"
    if row.is_given and _is_same_place(row, naming, beside):
        return "this call gives none"
    if not naming.is_lasting or (row.captured or "").startswith(OBJECT):
        return f"{naming.kind} cannot be told from others of its name"
    if _is_same_place(row, naming, beside):
        return f"{naming.kind} with other values may do other work"
    if row.function == naming.function:
        return f"that was the function of {place_in_words(row.place)}, and not the same"
    if _is_other_code(row.code, naming.code) and not is_gone(row.place or ""):
        return None  # another function, in another file that is there
    return f"that was a function of the same name in {place_in_words(row.place)}"


def _is_other_code(one: str | None, other: str | None) -> bool:
    """Say whether two digests are of different code; those of two versions of Python say nothing."""
    return one is not None and other is not None and one != other and one.split(":")[0] == other.split(":")[0]


def _shown(key: str | int) -> str:
    return f"{key}" if isinstance(key, int) else f"{clean(key, 80)!r}"


def _beside(place: str, database: str) -> str | None:
    """Return a file as seen from the database: both may be moved together."""
    if not database or not os.path.isabs(place):
        return None
    try:
        return os.path.relpath(place, os.path.dirname(os.path.realpath(database)))
    except (OSError, ValueError):  # another drive
        return None


def _insert(conn: sqlite3.Connection, naming: Naming, name: str, beside: str | None) -> int:
    number = conn.execute(
        "INSERT INTO pipeloom_pipelines (name, is_given, function, place, beside, code, captured) "
        "VALUES (?, ?, ?, ?, ?, ?, ?)",
        (name, naming.is_given, naming.function, naming.place, beside, naming.code, naming.captured),
    ).lastrowid
    assert number is not None
    return number


def _remember(conn: sqlite3.Connection, row: _Row, naming: Naming, beside: str | None) -> None:
    """Note where the function is now, if that has changed."""
    now = naming.function, naming.place, beside, naming.code, naming.captured
    if (row.function, row.place, row.beside, row.code, row.captured) != now:
        conn.execute(
            "UPDATE pipeloom_pipelines SET is_given = 0, function = ?, place = ?, beside = ?, code = ?, "
            "captured = ? WHERE id = ?",
            (*now, row.id),
        )


def _free_name(conn: sqlite3.Connection, name: str) -> str:
    """Return the name, with a number if it is another function's."""
    taken = {name for (name,) in conn.execute("SELECT name FROM pipeloom_pipelines")}
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name} ({number})"
    return free
