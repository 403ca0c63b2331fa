"""Checks of what the caller passed: every wrong argument is one sentence that says what to pass instead."""

from __future__ import annotations

import functools
import inspect
import io
import math
import os
import sqlite3
import threading
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final, Literal, get_args

from pipeloom.data.frames import is_frame
from pipeloom.data.identifiers import ascii_lower, is_reserved, quoted
from pipeloom.data.text import clean
from pipeloom.data.values import sql_type
from pipeloom.db.connection import MEMORY, Durability
from pipeloom.db.place import path_of
from pipeloom.ledger import Owned, Tables
from pipeloom.limit import Limit
from pipeloom.messages import Handler
from pipeloom.retry import Retry
from pipeloom.worker.current import NotGuardedError, is_importing_program

__all__ = ["OnError", "OwnRows", "Version"]

OnError = Literal["raise", "collect", "stop"]
"""What a task that fails does to the others: see :func:`pipeloom.map`."""

OwnRows = bool | Iterable[str]
"""``own_rows=``: in all tables, in none, or in those named."""

Version = Callable[[Any], object]
"""``version=``: input → what has changed when the input has."""

_Cached: Final = type(functools.cache(int))


def check_function(fn: object, what: str) -> None:
    """Refuse what cannot be called with one input, or does nothing when it is."""
    if not callable(fn):
        is_result = _discarded(fn) or fn is None or inspect.isgenerator(fn)
        hint = ": pass it without calling it" if is_result else ""
        raise TypeError(f"{what} must be a function, not {type(fn).__name__}{hint}")
    call = _called(fn)
    if inspect.isgeneratorfunction(call) or inspect.isasyncgenfunction(call):
        plain, kind = ("a plain", "a") if inspect.isgeneratorfunction(call) else ("an async", "an async")
        raise TypeError(
            f"{what} must be {plain} function, not {kind} generator function, whose call runs nothing: return a "
            "list rather than yield, or write rows with ctx.write"
        )


def is_async(fn: object) -> bool:
    """Say whether calling a function gives something to await."""
    return inspect.iscoroutinefunction(fn) or inspect.iscoroutinefunction(_called(fn))


def _called(fn: Any) -> object:
    """Return the function that is in an object, as far as calling the one is calling the other."""
    while True:
        if isinstance(fn, functools.partial):
            fn = fn.func
        elif isinstance(fn, _Cached | staticmethod):
            fn = fn.__wrapped__
        elif inspect.isroutine(fn) or isinstance(fn, type):
            return fn
        else:
            return getattr(type(fn), "__call__", None)  # noqa: B004 - what is called, not whether it can be


def checked_items(items: Any, what: str, *, by_itself: bool) -> Iterable[object]:
    """Refuse what is not a collection of inputs, or not of those that are meant.

    Args:
        items: What the caller passed.
        what: What the caller knows it by.
        by_itself: Each input is its own key.
    """
    kind = type(items).__name__
    if isinstance(items, str | bytes | bytearray | memoryview):
        raise TypeError(f"{what} is one {kind}: pass a list of inputs, such as [{what}]")
    if is_frame(items):
        raise TypeError(f"{what} is a {kind}, which is a collection of columns: pass its rows, as a list of dicts")
    if by_itself and isinstance(items, io.RawIOBase | io.BufferedIOBase):
        raise TypeError(f"{what} is a binary file, and bytes are no keys: open it as text, or pass key=")
    if isinstance(items, sqlite3.Cursor) and not _works_in_any_thread(items):
        raise TypeError(
            f"{what} is a cursor, which only works in the thread that made it, and inputs are read in another one: "
            f"pass {what}.fetchall(), or a generator that opens the connection itself"
        )
    try:
        iter(items)
    except TypeError:
        hint = ""
        if _discarded(items):
            hint = ": await it first"
        elif hasattr(items, "__aiter__"):
            hint = f": collect it first, as in [item async for item in {what}]"
        elif callable(items):
            hint = ": call it, and pass what it returns"
        raise TypeError(f"{what} must be an iterable of inputs, not {kind}{hint}") from None
    found: Iterable[object] = items
    return found


def _discarded(thing: object) -> bool:
    """Say whether this is a coroutine, which is closed: nobody can have it run any more."""
    if inspect.iscoroutine(thing):
        thing.close()
        return True
    return False


def _works_in_any_thread(cursor: sqlite3.Cursor) -> bool:
    refused: list[Exception] = []

    def ask() -> None:
        try:
            cursor.connection.getlimit(sqlite3.SQLITE_LIMIT_LENGTH)  # any question that looks at the thread
        except sqlite3.ProgrammingError as error:
            refused.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    asking.join()
    return not refused


def checked_db(db: object) -> Path:
    """Return the database as a path."""
    path = path_of(db)
    if "\0" in str(path):
        raise ValueError("the database path holds a NUL character")
    # Absolute: a task may change the directory under the run.
    return path if str(path) == MEMORY else Path(os.path.abspath(path))


def check_place() -> None:
    """Refuse a run that the program begins while a worker process imports it: it would never end.

    Raises:
        NotGuardedError: It does.
    """
    if is_importing_program():
        raise NotGuardedError(
            "the program begins a run as soon as it is imported, and each worker process imports it: put the call "
            'behind if __name__ == "__main__":, or install cloudpickle'
        )


def checked_tables(tables: object) -> Tables:
    """Return declared tables, every name and type checked."""
    if tables is None:
        return {}
    if not isinstance(tables, Mapping):
        raise TypeError(f'tables must be a mapping such as {{"t": {{"n": int}}}}, not {type(tables).__name__}')
    for table, columns in tables.items():
        quoted(table)
        if is_reserved(table):
            raise ValueError(f"tables: {clean(table, 60)} is the ledger's own name: choose another")
        if not isinstance(columns, Mapping) or not columns:
            raise TypeError(
                f"tables: {clean(table, 60)} needs a mapping of column to type, with at least one column"
            )
        folded: set[str] = set()
        for column, kind in columns.items():
            quoted(column, "column")
            if ascii_lower(column) in folded:
                raise ValueError(f"tables: {clean(table, 60)}.{clean(column, 60)} comes twice (SQL ignores case)")
            folded.add(ascii_lower(column))
            try:
                sql_type(kind)
            except ValueError as error:
                raise ValueError(f"tables: {clean(table, 60)}.{clean(column, 60)}: {error}") from None
    return tables


def checked_handlers(handlers: object) -> Mapping[type, Handler]:
    """Return handlers, every one callable and for a type."""
    if handlers is None:
        return {}
    if not isinstance(handlers, Mapping):
        raise TypeError(f"handlers must be a mapping of message type to function, not {type(handlers).__name__}")
    for kind, handler in handlers.items():
        if not isinstance(kind, type):
            raise TypeError(f"handlers: {clean(kind, 60)} is no type")
        if kind.__module__ == "pipeloom.messages":
            raise ValueError(f"handlers: {kind.__name__} is handled by pipeloom itself: use a type of your own")
        if not callable(handler):
            raise TypeError(f"handlers: what stands for {kind.__name__} cannot be called")
    return handlers


def check_choices(
    *, name: object, key: object, version: object, on_error: object, resume: object, durability: object
) -> None:
    """Refuse values outside the few that an option has."""
    if name is not None and (not isinstance(name, str) or not name or not name.isprintable()):
        raise ValueError("name must be a few printable characters, or left out")
    if key is not None and not callable(key):
        raise TypeError(f"key must be a function from input to key, not {type(key).__name__}")
    if version is not None and not callable(version):
        raise TypeError(f"version must be a function from input to str or number, not {type(version).__name__}")
    if on_error not in get_args(OnError):
        raise ValueError(f'on_error must be "raise", "collect" or "stop", not {clean(on_error, 40)!r}')
    if not isinstance(resume, bool):
        raise TypeError(f"resume must be True or False, not {clean(resume, 40)!r}")
    if durability not in get_args(Durability):
        raise ValueError(f'durability must be "full", "normal" or "off", not {clean(durability, 40)!r}')


def check_switches(*, alter: object, wal: object) -> None:
    """Refuse what is neither on nor off; ``wal`` may be left open."""
    if not isinstance(alter, bool):
        raise TypeError(f"alter must be True or False, not {clean(alter, 40)!r}")
    if not isinstance(wal, bool | None):
        raise TypeError(f"wal must be True, False or None, not {clean(wal, 40)!r}")


def checked_retry(retries: object) -> Retry | None:
    """Return when to try again; ``None`` for never."""
    if isinstance(retries, Retry):
        return retries if retries.attempts > 1 else None
    if isinstance(retries, bool) or not isinstance(retries, int):
        raise TypeError(f"retries must be an int or a pipeloom.Retry, not {type(retries).__name__}")
    if retries < 0:
        raise ValueError(f"retries must be 0 or more, not {retries}")
    return Retry(attempts=retries + 1) if retries else None


def checked_timeout(timeout: object) -> float | None:
    """Return a time limit in seconds; ``None`` for none."""
    if timeout is None:
        return None
    return positive(timeout, "timeout", "a number of seconds")


def checked_wait(timeout: object) -> float | None:
    """Return how many seconds to wait for a run; ``None`` for ever."""
    if timeout is None:
        return None
    if isinstance(timeout, bool) or not isinstance(timeout, int | float):
        raise TypeError(f"timeout must be a number of seconds, not {type(timeout).__name__}")
    if not timeout >= 0:
        raise ValueError(f"timeout must be 0 or more seconds, not {timeout}")
    return timeout


def checked_limits(limit: object) -> tuple[Limit, ...]:
    """Return limits, all of which hold; none for ``None``."""
    if limit is None:
        return ()
    limits = (limit,) if isinstance(limit, Limit) else limit
    if not isinstance(limits, tuple | list) or not all(isinstance(each, Limit) for each in limits):
        raise TypeError(f"limit must be a pipeloom.Limit, or a list of them, not {type(limit).__name__}")
    return tuple(limits)


def checked_own_rows(own_rows: object, version: object) -> Owned:
    """Return in which tables rows know their task; in all of them, if nothing else is said, with ``version=``."""
    if own_rows is None:
        return version is not None
    if isinstance(own_rows, bool):
        return own_rows
    if isinstance(own_rows, str) or not isinstance(own_rows, Iterable):
        raise TypeError(f"own_rows must be True, False, or a list of tables, not {type(own_rows).__name__}")
    tables = list(own_rows)
    for table in tables:
        quoted(table)
        if is_reserved(table):
            raise ValueError(f"own_rows: {clean(table, 60)} is the ledger's own name")
    return frozenset(map(ascii_lower, tables))


def checked_max_task_bytes(max_task_mb: object) -> float:
    """Return how many bytes a task may stage; ``None`` is no limit."""
    if max_task_mb is None:
        return math.inf
    return positive(max_task_mb, "max_task_mb", "a number of MiB") * 2**20


def checked_count(value: object, name: str) -> int:
    """Return a number of something, at least 1."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an int, not {type(value).__name__}")
    if value < 1:
        raise ValueError(f"{name} must be at least 1, not {value}")
    return value


def positive(value: object, name: str, what: str) -> float:
    """Return a number above 0; ``what`` says of what."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} must be {what}, not {type(value).__name__}")
    if not 0 < value < math.inf:
        raise ValueError(f"{name} must be {what} above 0, not {value}")
    return float(value)


def length_of(items: Iterable[object]) -> int | None:
    """Return the number of inputs when it is known without reading them."""
    try:
        return len(items)  # type: ignore[arg-type]
    except (TypeError, OverflowError):  # it has no length, or more than Python counts: range(10**20)
        return None
