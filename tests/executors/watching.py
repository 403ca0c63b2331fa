"""What tests do around a run: another program's eyes on its file, and the caller's log level."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import Any

__all__ = ["Watcher", "informed"]

LONG_S = 20.0


class Watcher:
    """Looks at a file again and again, with a connection of its own each time."""

    def __init__(self, db: Path) -> None:
        self.db = db

    def ask(self, sql: str) -> list[tuple[Any, ...]] | None:
        """Ask once; ``None`` while there is nothing to ask."""
        try:
            with closing(sqlite3.connect(f"{self.db.as_uri()}?mode=ro", uri=True)) as conn:
                return conn.execute(sql).fetchall()
        except sqlite3.OperationalError:
            return None

    def until(self, sql: str, expected: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
        """Ask until the answer is this."""
        deadline = monotonic() + LONG_S
        while (found := self.ask(sql)) != expected:
            assert monotonic() < deadline, f"{sql}: never {expected}, at last {found}"
            sleep(0.005)
        return expected


@contextmanager
def informed() -> Iterator[None]:
    """Let the root logger pass what is worth keeping."""
    root = logging.getLogger()
    before = root.level
    root.setLevel(logging.INFO)
    try:
        yield
    finally:
        root.setLevel(before)
