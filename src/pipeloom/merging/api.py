"""``merge``: joins several ledgers into one; either all of them are merged or nothing changes."""

from __future__ import annotations

import os
import sqlite3
from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import monotonic

from pipeloom.data.identifiers import ascii_lower
from pipeloom.data.text import clean
from pipeloom.db.connection import MEMORY
from pipeloom.db.failures import is_damage, is_fatal, storage_error
from pipeloom.db.ownership import check_system
from pipeloom.db.place import identity, path_of
from pipeloom.db.schema import init_schema
from pipeloom.errors import DuplicateKeyError, RowRefusedError, StorageError
from pipeloom.ledger import mark_interrupted
from pipeloom.merging.conflicts import Clash, in_words, is_in
from pipeloom.merging.draft import Draft, claimed, is_empty
from pipeloom.merging.ledgers import SameKey, copy_ledger, missing_shards, without_key_index
from pipeloom.merging.report import MergeReport
from pipeloom.merging.source import Source, attached, encoding_of, look_at
from pipeloom.merging.tables import UserTables

__all__ = ["merge"]


def merge(
    out: str | os.PathLike[str],
    inputs: Iterable[str | os.PathLike[str]],
    *,
    append: bool = False,
    renumber: Collection[str] = (),
) -> MergeReport:
    """Join the ledgers and user tables of several files into one file; either all are merged or nothing changes.

    The inputs are only read. Tasks, runs, earlier attempts, log records and checkpoints get new numbers;
    pipelines with the same identity become one. Later runs can use the merged file, and skip what is done in
    it. Blocks while it reads and writes the files; any thread may call it.

    Args:
        out: The file to create.
        inputs: The files to merge, at least one; each was written by runs, such as one for each shard.
        append: Add the inputs to ``out``, which must already exist.
        renumber: Tables with an INTEGER PRIMARY KEY that SQLite chose, so that several files use the same
            numbers. Their rows get new numbers, and declared foreign keys that refer to them are changed
            accordingly.

    Returns:
        What was merged, and which shards are missing.

    Raises:
        DuplicateKeyError: Two files hold the same input of a pipeline.
        RowRefusedError: Rows of a user table contradict each other.
        SchemaError: A file has no ledger, or one of another version, or a table whose definition differs
            between files.
        DatabaseInUseError: A run is using one of the files.
        StorageError: A file does not exist, or cannot be read or written; or ``out`` exists, without ``append``.
        ValueError, TypeError: An argument is invalid.
    """
    began = monotonic()
    target, paths = _checked(out, inputs)
    tables = _checked_names(renumber)
    grows = not is_empty(target)
    if grows and not append:
        raise StorageError(
            f"{clean(target)}: already exists: name a new file, or add to this one with --append (append=True)",
            path=target,
        )
    sources = [look_at(path) for path in paths]
    with _told(target), ExitStack() as stack:
        grown = stack.enter_context(claimed(target)) if grows else None
        for source in sources[1:] if grown is None else [*sources[1:], Source(target, encoding_of(grown))]:
            source.check_encoding(sources[0])
        draft = stack.enter_context(Draft(target, sources[0].encoding))
        joined = _Joined(target, sources, tables)
        joined.build(draft, is_last=grown is None)
        tasks, runs = _counted(draft.conn)
        if grown is None:
            missing = missing_shards(draft.conn)
            draft.become_out()
        else:
            joined.add_to(grown, draft)
            missing = missing_shards(grown)
    return MergeReport(
        db=str(target),
        files=len(sources),
        runs=runs,
        tasks=tasks,
        rows=joined.rows,
        missing=missing,
        elapsed_s=monotonic() - began,
    )


class _Joined:
    """The files that are being merged.

    Args:
        out: The file that is created, or added to.
        sources: The files, n ≥ 1.
        renumber: Folded names of tables whose rows get new numbers.

    Attributes:
        rows: How many rows of user tables were stored.
    """

    def __init__(self, out: Path, sources: Sequence[Source], renumber: Collection[str]) -> None:
        self._out = out
        self._sources = sources
        self._renumber = renumber
        self._firsts: list[int] = []  # the first task number of each file
        self.rows = 0

    def build(self, draft: Draft, *, is_last: bool) -> None:
        """Copy all sources into an empty file.

        Args:
            draft: That file.
            is_last: Whether this file is kept, rather than copied into OUT.
        """
        conn = draft.conn
        init_schema(conn, store_task_status=True)
        tables = UserTables(conn, "", self._renumber)
        try:
            with without_key_index(conn):
                for source in self._sources:
                    with _told(self._out, source.path), attached(conn, source), _transaction(conn):
                        first, added = copy_ledger(conn, source)
                        self._firsts.append(first)
                        self.rows += tables.copy(source, added)
        except SameKey as same:
            raise _same_key(same, self._file_of(same.here), self._file_of(same.there)) from None
        except Clash as clash:
            *before, last = self._sources[: len(self._firsts)]
            raise RowRefusedError(clash.sentence(self._file_with(clash, before), last.shown)) from None
        if unknown := sorted(set(self._renumber) - set(tables.origins)):
            raise ValueError(f"renumber: no file has a table {clean(unknown[0], 60)}")
        if is_last:
            conn.execute("PRAGMA synchronous = FULL")  # one synced commit also flushes everything before it
        with _transaction(conn):
            mark_interrupted(conn)
            tables.finish()
            _analyze(conn)

    def add_to(self, conn: sqlite3.Connection, draft: Draft) -> None:
        """Copy the built file into OUT, in one transaction.

        Args:
            conn: OUT's connection.
            draft: The file that was built.
        """
        draft.attach_to(conn)
        where = clean(self._out, 200)
        files = Source(draft.path, draft.encoding, "the files to be added")
        with _transaction(conn):
            mark_interrupted(conn)
            tables = UserTables(conn, where, self._renumber)
            try:
                _, added = copy_ledger(conn, files)
                self.rows = tables.copy(files, added)
            except SameKey as same:
                raise _same_key(same, where, self._file_of(same.there)) from None
            except Clash as clash:
                raise RowRefusedError(clash.sentence(where, self._file_with(clash, self._sources))) from None
            tables.finish()
            _analyze(conn)

    def _file_of(self, task_id: int) -> str:
        return self._sources[bisect_right(self._firsts, task_id) - 1].shown

    @staticmethod
    def _file_with(clash: Clash, sources: Sequence[Source]) -> str:
        return next((source.shown for source in sources if is_in(source.path, clash)), "another file")


def _same_key(same: SameKey, one: str, other: str) -> DuplicateKeyError:
    return DuplicateKeyError(
        f"the input {in_words(same.key)} of {clean(same.pipeline, 80)} is in {one} and in {other}: merge files "
        "that have no input in common, such as shards",
        key=same.key,
    )


def _counted(conn: sqlite3.Connection) -> tuple[dict[str, int], int]:
    tasks = conn.execute("SELECT status, COUNT(*) FROM task_runs GROUP BY status ORDER BY COUNT(*) DESC").fetchall()
    ((runs,),) = conn.execute("SELECT COUNT(*) FROM pipeloom_runs").fetchall()
    return dict(tasks), runs


def _analyze(conn: sqlite3.Connection) -> None:
    """Refresh the planner's statistics, within bounds, as a run does at its end.

    Source: https://www.sqlite.org/lang_analyze.html (analysis_limit)
    """
    conn.execute("PRAGMA analysis_limit = 1000")
    try:
        conn.execute("ANALYZE main")
    except sqlite3.Error as error:
        if is_fatal(error):
            raise  # otherwise an index needs a function that only the user's program has


@contextmanager
def _transaction(conn: sqlite3.Connection) -> Iterator[None]:
    conn.execute("BEGIN IMMEDIATE")
    try:
        yield
        conn.execute("COMMIT")
    except BaseException:
        if conn.in_transaction:
            conn.execute("ROLLBACK")
        raise


@contextmanager
def _told(out: Path, source: Path | None = None) -> Iterator[None]:
    """Turn SQLite's errors into sentences.

    Args:
        out: The file that is written.
        source: The file that is read.
    """
    try:
        yield
    except sqlite3.Error as error:
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_INTERRUPT:
            raise KeyboardInterrupt from error  # which SQLite has swallowed
        raise storage_error(error, source if source is not None and is_damage(error) else out) from error


# --- arguments ---


def _checked(out: object, inputs: object) -> tuple[Path, list[Path]]:
    target = path_of(out)
    check_system(target)
    if isinstance(inputs, str | bytes | os.PathLike) or not isinstance(inputs, Iterable):
        raise TypeError(f"inputs must be a list of files, not {type(inputs).__name__}")
    paths = [path_of(path) for path in inputs]
    if not paths:
        raise ValueError("there is nothing to merge: name at least one input")
    if MEMORY in map(str, (target, *paths)):
        raise ValueError('merge needs files: ":memory:" is not one')
    seen = {identity(target): "the file to merge into"}
    for path in paths:
        which = identity(path)
        if which is not None and which in seen:
            raise ValueError(f"{clean(path)} is {seen[which]}: name each input once")
        seen[which] = "named twice"
    return target, paths


def _checked_names(renumber: object) -> frozenset[str]:
    if isinstance(renumber, str) or not isinstance(renumber, Collection):
        raise TypeError(f"renumber must be a list of table names, not {type(renumber).__name__}")
    return frozenset(map(ascii_lower, renumber))
