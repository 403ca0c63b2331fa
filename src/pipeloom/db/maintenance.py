"""What an open file needs: checkpoints between batches, statistics at the end, a look whether it is still there."""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from time import monotonic
from typing import Final

from pipeloom.data.identifiers import quoted
from pipeloom.data.text import clean
from pipeloom.db.connection import MEMORY, wal_checkpoint
from pipeloom.db.failures import is_damage, storage_error
from pipeloom.errors import StorageError

__all__ = ["Maintenance"]

logger = logging.getLogger("pipeloom")

_PAGES: Final = 1000  # SQLite's own default for auto-checkpoints: https://www.sqlite.org/wal.html
_LOOK_S: Final = 0.1
_LENGTH: Final = 8 * 2**20
_ANALYZED: Final = 200  # tables: each takes longer the more there are
_LOG_HEADER: Final = 32
_FRAME_HEADER: Final = 24
_PINNED_PAGES: Final = 16_000  # 64 MiB at 4 KiB a page


class Maintenance:
    """Looks after one open file; the writer's thread, outside transactions.

    SQLite does not say how long the log is, short of checkpointing it. So changes are counted, and each
    checkpoint tells how many pages they made, from which the next one is planned. The length of the log's file
    tells of few, large rows; it says nothing once the log has begun again in a long file.

    Args:
        conn: The writer's connection.
        db_path: Its file.
        wal: There is a log to checkpoint.
    """

    def __init__(self, conn: sqlite3.Connection, db_path: Path, *, wal: bool) -> None:
        self._conn = conn
        self._path = None if str(db_path) == MEMORY else Path(db_path)
        self._wal = wal
        self._identity = _look(self._path)
        self._log = Path(os.path.realpath(db_path) + "-wal")
        self._log_identity = _look(self._log) if wal else None
        self._looked_at = monotonic()
        self._had_pages = self._path is not None and _look_closely(self._path)[1] > 0
        self._changes = conn.total_changes
        self._interval = 2000
        self._length = self._length_then = 0  # of the log's file, in bytes: now, and at the last checkpoint
        self._warned_pages = _PINNED_PAGES
        self._checkpoint_failed = False

    def after_batch(self) -> None:
        """Checkpoint when the log has grown by about 1,000 pages; notice a file that was replaced or removed.

        Raises:
            StorageError: The file is no longer the one that was opened.
        """
        if monotonic() - self._looked_at >= _LOOK_S:
            self.look()
        if self._wal and (
            self._conn.total_changes - self._changes >= self._interval
            or self._length - self._length_then >= _LENGTH
        ):
            self._length_then = self._length
            self._checkpoint()

    def look(self) -> None:
        """Notice a file, or a log, that was replaced, removed or emptied.

        A look takes 2 µs, but gives up the interpreter lock twice: beside threads that compute each costs 5 ms,
        so not every batch is followed by one.

        Raises:
            StorageError: It is no longer the one that was opened.
        """
        self._looked_at = monotonic()
        path = self._path
        if path is None:
            return
        identity, size = _look_closely(path)
        if identity != self._identity:
            self._save()
            raise StorageError(
                f"{clean(path)}: the file was replaced or removed while in use: put it back and run "
                "again; what was committed to it until then is in the file that was moved",
                path=path,
            )
        if size == 0 and self._had_pages:
            raise StorageError(
                f"{clean(path)}: was emptied by another program while in use, and what was in it is lost: put a "
                "copy in its place, or remove it, and run again",
                path=path,
            )
        self._had_pages = size > 0
        if not self._wal:
            return
        before = self._length
        log, self._length = _look_closely(self._log)
        if self._log_identity is None:
            self._log_identity = log
        elif log != self._log_identity:
            self._save()
            raise StorageError(
                f"{clean(self._log)}: was replaced or removed while in use, which can lose commits: what was in it "
                "has been moved into the database; leave SQLite's files alone and run again",
                path=path,
            )
        if self._length < before:
            self._look_at_short_log(before)

    def _look_at_short_log(self, before: int) -> None:
        """Tell a log that another program's checkpoint has emptied, which loses nothing, from one that was cut off.

        SQLite knows in shared memory how many frames there are, and a checkpoint that truncates forgets them before
        it cuts the file. So a log that is shorter than its frames is asked about twice.

        Args:
            before: How long it was, in bytes.

        Source: https://www.sqlite.org/fileformat2.html#the_write_ahead_log (the sizes of its header and frames)
        """
        frame = _FRAME_HEADER + self._conn.execute("PRAGMA page_size").fetchone()[0]
        for _ in range(2):
            frames = self._frames()
            if frames is None:  # the next look decides
                self._length = before
                return
            self._length = _look_closely(self._log)[1]
            if frames <= 0 or self._length >= _LOG_HEADER + frames * frame:
                self._length_then = self._length
                return
        raise self._cut_off()

    def _frames(self) -> int | None:
        """Return how many frames SQLite knows of; ``None`` while a checkpoint or a full disk is in the way."""
        try:
            busy, frames, _ = self._conn.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        except sqlite3.Error as error:
            if is_damage(error) or error.sqlite_errorcode == sqlite3.SQLITE_IOERR_SHORT_READ:
                raise self._cut_off() from error  # frames that are not there
            return None
        return None if busy else int(frames)

    def _cut_off(self) -> StorageError:
        return StorageError(
            f"{clean(self._log)}: was cut off while in use, which loses commits: look at the file with "
            "`pipeloom doctor`, leave SQLite's files alone, and run again",
            path=self._path,
        )

    def _save(self) -> None:
        """Move the log into the database, both of which SQLite still has open under whatever names.

        A log that stayed would be applied to the file that has taken the place, and destroy it; one that was
        removed could be read by nobody else.
        """
        try:
            if self._wal:
                wal_checkpoint(self._conn, "TRUNCATE")
        except sqlite3.Error as error:
            logger.warning("%s: could not be emptied: %s", clean(self._log), clean(error))

    def _checkpoint(self) -> None:
        """Move what can be moved; a failure does not stop the commits, unless it says that the file is damaged."""
        changes, self._changes = self._conn.total_changes - self._changes, self._conn.total_changes
        try:
            _, pages, moved = self._conn.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        except sqlite3.Error as error:
            if is_damage(error):
                raise
            if not self._checkpoint_failed:
                logger.warning("a checkpoint failed, commits go on: %s", storage_error(error, self._path))
                self._checkpoint_failed = True
            return
        self._checkpoint_failed = False
        fresh = max(pages, 1)
        planned = changes * _PAGES // fresh
        self._interval = min(max(planned, self._interval // 4, 100), self._interval * 4, 1_000_000)
        if moved < pages and pages > self._warned_pages:
            self._warned_pages = pages * 2
            logger.warning(
                "%s-wal has grown to %s MiB because another program keeps reading an old state: close its "
                "transaction, and the log shrinks",
                clean(self._path),
                f"{pages * 4096 / 2**20:,.0f}",
            )

    def at_close(self, tables: Iterable[str]) -> None:
        """Refresh the planner's statistics for these tables, up to 200 of them, within bounds; empty the log.

        Source: https://www.sqlite.org/lang_analyze.html (analysis_limit)
        """
        self._conn.execute("PRAGMA analysis_limit = 1000")
        for table in sorted(tables)[:_ANALYZED]:
            try:
                self._conn.execute(f"ANALYZE {quoted(table)}")
            except (sqlite3.Error, ValueError) as error:  # users' SQL may have made a table of any name
                logger.debug("no statistics for %s: %s", clean(table), clean(error))
        if self._wal:
            wal_checkpoint(self._conn, "TRUNCATE")


def _look(path: Path | None) -> tuple[int, int] | None:
    """Return a file's identity; ``os.stat`` opens nothing."""
    return None if path is None else _look_closely(path)[0]


def _look_closely(path: Path) -> tuple[tuple[int, int] | None, int]:
    """Return a file's identity and its length in bytes."""
    try:
        found = os.stat(path)
    except OSError:
        return None, 0
    return (found.st_dev, found.st_ino), found.st_size
