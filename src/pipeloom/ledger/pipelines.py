"""Find the pipeline that a run continues, and the inputs of which it is uncertain whether they are done.

The ledger stores for each pipeline which function it ran. A run finds its own pipeline by that, not by the name. If
another pipeline's function has the same name, an input that is done there may be the same work or not; only the
caller can decide.
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
    """One pipeline in the file; of one that an older version made, only the name is known."""

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
        id: Its id in ``pipeloom_pipelines``.
        name: Its name; a run with this ``name=`` continues it.
        doubts: The pipelines that may be the same work; ``None`` if there are none.
    """

    id: int
    name: str
    doubts: Doubts | None


class Doubts:
    """The other pipelines in which an input's work may be done already.

    Args:
        conn: The writer's connection.
        naming: The identity of this run's function.
        others: Pipeline id → its name, and why it may be the same work.
    """

    def __init__(self, conn: sqlite3.Connection, naming: Naming, others: dict[int, tuple[str, str]]) -> None:
        self._conn = conn
        self._naming = naming
        self._others = others

    def check(self, keys: Sequence[str | int]) -> None:
        """Refuse to run inputs that may already be done; the writer's thread.

        Args:
            keys: The keys of the inputs that would run, n ≥ 0.

        Raises:
            NameNeededError: One of them is done, or has a checkpoint, in one of the other pipelines.
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
                    f"and {why}: pass name={clean(name, 120)!r} to continue that pipeline, or another name if this "
                    "is different work"
                )


def pipeline_for(conn: sqlite3.Connection, naming: Naming, run_id: int | None, *, resume: bool) -> Pipeline:
    """Return the pipeline that a run belongs to, created if necessary; inside a transaction, the writer's thread.

    Args:
        conn: The writer's connection.
        naming: The identity of the function.
        run_id: The run's number; part of the name of a pipeline that can have only this run.
        resume: Inputs that are done are skipped.
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
    """Copy the pipelines of an attached file into this one, except those that are the same work as one here.

    Args:
        conn: A connection in a transaction.
        part: The name of the attached schema in SQL.
        runs: The offset that is added to its run numbers.

    Returns:
        Pipeline id there → id here.
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
    """Return whether pipelines of two files are the same: by ``name=``, else by their function.

    A path relative to the database is not compared: different databases may have different programs beside them.
    """
    if one.is_given or other.is_given or one.function is None or other.function is None:
        return one.name == other.name
    if (one.captured or "").startswith(OBJECT) or (one.function, one.captured) != (other.function, other.captured):
        return False
    return one.place == other.place or (one.code is not None and one.code == other.code)


def _is_mine(row: _Row, naming: Naming, beside: str | None) -> bool:
    """Return whether a pipeline certainly belongs to this function."""
    if row.function is None:  # made by an older version, which identified functions by this name alone
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
    """Return why a pipeline whose function has the same name may be the same work; ``None`` if it cannot be."""
    if row.function is None:
        return "an older version of pipeloom, which did not record the function, did it"
    if row.is_given and _is_same_place(row, naming, beside):
        return "this call has no name="
    if not naming.is_lasting or (row.captured or "").startswith(OBJECT):
        return f"{naming.kind} cannot be distinguished from others of its name"
    if _is_same_place(row, naming, beside):
        return f"{naming.kind} with different values may do different work"
    if row.function == naming.function:
        return f"that was the function in {place_in_words(row.place)}, which is not the same as this one"
    if _is_other_code(row.code, naming.code) and not is_gone(row.place or ""):
        return None  # a different function, in another file that still exists
    return f"that was a function of the same name in {place_in_words(row.place)}"


def _is_other_code(one: str | None, other: str | None) -> bool:
    """Return whether two digests are of different code; digests from different Python versions are not compared."""
    return one is not None and other is not None and one != other and one.split(":")[0] == other.split(":")[0]


def _shown(key: str | int) -> str:
    return f"{key}" if isinstance(key, int) else f"{clean(key, 80)!r}"


def _beside(place: str, database: str) -> str | None:
    """Return a path relative to the database's folder: both may be moved together."""
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
    """Store where the function is now, if that has changed."""
    now = naming.function, naming.place, beside, naming.code, naming.captured
    if (row.function, row.place, row.beside, row.code, row.captured) != now:
        conn.execute(
            "UPDATE pipeloom_pipelines SET is_given = 0, function = ?, place = ?, beside = ?, code = ?, "
            "captured = ? WHERE id = ?",
            (*now, row.id),
        )


def _free_name(conn: sqlite3.Connection, name: str) -> str:
    """Return the name, with a number appended if another pipeline has it."""
    taken = {name for (name,) in conn.execute("SELECT name FROM pipeloom_pipelines")}
    number, free = 1, name
    while free in taken:
        number += 1
        free = f"{name} ({number})"
    return free
