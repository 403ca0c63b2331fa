"""Checks of the caller's arguments: each error is one sentence that says what to pass instead."""

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
"""What happens to the other tasks when one fails: see :func:`pipeloom.map`."""

OwnRows = bool | Iterable[str]
"""``own_rows=``: all tables, none, or those named."""

Version = Callable[[Any], object]
"""``version=``: input → a value that changes when the input changes."""

_Cached: Final = type(functools.cache(int))


def check_function(fn: object, what: str) -> None:
    """Refuse anything that cannot be called with one input, or does nothing when called."""
    if not callable(fn):
        is_result = _discarded(fn) or fn is None or inspect.isgenerator(fn)
        hint = ": pass the function itself, without calling it" if is_result else ""
        raise TypeError(f"{what} must be a function, not {type(fn).__name__}{hint}")
    call = _called(fn)
    if inspect.isgeneratorfunction(call) or inspect.isasyncgenfunction(call):
        plain, kind = ("a plain", "a") if inspect.isgeneratorfunction(call) else ("an async", "an async")
        raise TypeError(
            f"{what} must be {plain} function, not {kind} generator function, because calling it runs nothing: "
            "return a list instead of yielding, or write rows with ctx.write"
        )


def is_async(fn: object) -> bool:
    """Return whether calling a function returns an awaitable."""
    return inspect.iscoroutinefunction(fn) or inspect.iscoroutinefunction(_called(fn))


def _called(fn: Any) -> object:
    """Return the function that runs when an object is called."""
    while True:
        if isinstance(fn, functools.partial):
            fn = fn.func
        elif isinstance(fn, _Cached | staticmethod):
            fn = fn.__wrapped__
        elif inspect.isroutine(fn) or isinstance(fn, type):
            return fn
        else:
            return getattr(type(fn), "__call__", None)  # noqa: B004 - this needs the callable itself


def checked_items(items: Any, what: str, *, by_itself: bool) -> Iterable[object]:
    """Refuse anything that is not a collection of inputs, or is probably not the one that was meant.

    Args:
        items: What the caller passed.
        what: The name of the caller's parameter.
        by_itself: Each input is its own key.
    """
    kind = type(items).__name__
    if isinstance(items, str | bytes | bytearray | memoryview):
        raise TypeError(f"{what} is a single {kind}: pass a list of inputs, such as [{what}]")
    if is_frame(items):
        raise TypeError(f"{what} is a {kind}, which iterates over its columns: pass its rows as a list of dicts")
    if by_itself and isinstance(items, io.RawIOBase | io.BufferedIOBase):
        raise TypeError(f"{what} is a binary file, and bytes cannot be keys: open it as text, or pass key=")
    if isinstance(items, sqlite3.Cursor) and not _works_in_any_thread(items):
        raise TypeError(
            f"{what} is a cursor that only works in the thread that created it, but inputs are read in another "
            f"thread: pass {what}.fetchall(), or a generator that opens the connection itself"
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
            hint = ": call it and pass its return value"
        raise TypeError(f"{what} must be an iterable of inputs, not {kind}{hint}") from None
    found: Iterable[object] = items
    return found


def _discarded(thing: object) -> bool:
    """Return whether this is a coroutine, and close it if so: nothing else will ever run it."""
    if inspect.iscoroutine(thing):
        thing.close()
        return True
    return False


def _works_in_any_thread(cursor: sqlite3.Cursor) -> bool:
    refused: list[Exception] = []

    def ask() -> None:
        try:
            cursor.connection.getlimit(sqlite3.SQLITE_LIMIT_LENGTH)  # any call that checks the thread
        except sqlite3.ProgrammingError as error:
            refused.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    asking.join()
    return not refused


def checked_db(db: object) -> Path:
    """Return the database's path."""
    path = path_of(db)
    if "\0" in str(path):
        raise ValueError("the database path contains a NUL character")
    # Absolute: a task may change the current directory during the run.
    return path if str(path) == MEMORY else Path(os.path.abspath(path))


def check_place() -> None:
    """Refuse a run that starts while a worker process imports the program: it would never end.

    Raises:
        NotGuardedError: A worker process is importing the program.
    """
    if is_importing_program():
        raise NotGuardedError(
            "the program starts a run as soon as it is imported, and each worker process imports it: put the call "
            'under if __name__ == "__main__":, or install cloudpickle'
        )


def checked_tables(tables: object) -> Tables:
    """Return the declared tables, with every name and type checked."""
    if tables is None:
        return {}
    if not isinstance(tables, Mapping):
        raise TypeError(f'tables must be a mapping such as {{"t": {{"n": int}}}}, not {type(tables).__name__}')
    for table, columns in tables.items():
        quoted(table)
        if is_reserved(table):
            raise ValueError(f"tables: {clean(table, 60)} is reserved for the ledger: choose another name")
        if not isinstance(columns, Mapping) or not columns:
            raise TypeError(
                f"tables: {clean(table, 60)} must be a mapping of column to type, with at least one column"
            )
        folded: set[str] = set()
        for column, kind in columns.items():
            quoted(column, "column")
            if ascii_lower(column) in folded:
                raise ValueError(
                    f"tables: {clean(table, 60)}.{clean(column, 60)} is declared twice (SQL ignores case)"
                )
            folded.add(ascii_lower(column))
            try:
                sql_type(kind)
            except ValueError as error:
                raise ValueError(f"tables: {clean(table, 60)}.{clean(column, 60)}: {error}") from None
    return tables


def checked_handlers(handlers: object) -> Mapping[type, Handler]:
    """Return the handlers; each must be callable and belong to a message type."""
    if handlers is None:
        return {}
    if not isinstance(handlers, Mapping):
        raise TypeError(f"handlers must be a mapping of message type to function, not {type(handlers).__name__}")
    for kind, handler in handlers.items():
        if not isinstance(kind, type):
            raise TypeError(f"handlers: {clean(kind, 60)} is not a type")
        if kind.__module__ == "pipeloom.messages":
            raise ValueError(f"handlers: {kind.__name__} is handled by pipeloom itself: use a type of your own")
        if not callable(handler):
            raise TypeError(f"handlers: the handler of {kind.__name__} is not callable")
    return handlers


def check_choices(
    *, name: object, key: object, version: object, on_error: object, resume: object, durability: object
) -> None:
    """Refuse values that an option does not accept."""
    if name is not None and (not isinstance(name, str) or not name or not name.isprintable()):
        raise ValueError("name must be a short text of printable characters; leave it out for the default")
    if key is not None and not callable(key):
        raise TypeError(f"key must be a function that returns an input's key, not {type(key).__name__}")
    if version is not None and not callable(version):
        raise TypeError(f"version must be a function that returns an input's version, not {type(version).__name__}")
    if on_error not in get_args(OnError):
        raise ValueError(f'on_error must be "raise", "collect" or "stop", not {clean(on_error, 40)!r}')
    if not isinstance(resume, bool):
        raise TypeError(f"resume must be True or False, not {clean(resume, 40)!r}")
    if durability not in get_args(Durability):
        raise ValueError(f'durability must be "full", "normal" or "off", not {clean(durability, 40)!r}')


def check_switches(*, alter: object, wal: object) -> None:
    """Refuse values that are not booleans; ``wal`` may also be ``None``."""
    if not isinstance(alter, bool):
        raise TypeError(f"alter must be True or False, not {clean(alter, 40)!r}")
    if not isinstance(wal, bool | None):
        raise TypeError(f"wal must be True, False or None, not {clean(wal, 40)!r}")


def checked_retry(retries: object) -> Retry | None:
    """Return the retry policy; ``None`` means no retries."""
    if isinstance(retries, Retry):
        return retries if retries.attempts > 1 else None
    if isinstance(retries, bool) or not isinstance(retries, int):
        raise TypeError(f"retries must be an int or a pipeloom.Retry, not {type(retries).__name__}")
    if retries < 0:
        raise ValueError(f"retries must be 0 or more, not {retries}")
    return Retry(attempts=retries + 1) if retries else None


def checked_timeout(timeout: object) -> float | None:
    """Return a time limit in seconds; ``None`` means no limit."""
    if timeout is None:
        return None
    return positive(timeout, "timeout", "a number of seconds")


def checked_wait(timeout: object) -> float | None:
    """Return how long to wait for a run, in seconds; ``None`` waits for ever."""
    if timeout is None:
        return None
    if isinstance(timeout, bool) or not isinstance(timeout, int | float):
        raise TypeError(f"timeout must be a number of seconds, not {type(timeout).__name__}")
    if not timeout >= 0:
        raise ValueError(f"timeout must be 0 or more seconds, not {timeout}")
    return timeout


def checked_limits(limit: object) -> tuple[Limit, ...]:
    """Return the limits, all of which apply; empty for ``None``."""
    if limit is None:
        return ()
    limits = (limit,) if isinstance(limit, Limit) else limit
    if not isinstance(limits, tuple | list) or not all(isinstance(each, Limit) for each in limits):
        raise TypeError(f"limit must be a pipeloom.Limit, or a list of them, not {type(limit).__name__}")
    return tuple(limits)


def checked_own_rows(own_rows: object, version: object) -> Owned:
    """Return the tables whose rows record their task; by default all of them if ``version=`` is given."""
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
            raise ValueError(f"own_rows: {clean(table, 60)} is one of the ledger's tables: name your own")
    return frozenset(map(ascii_lower, tables))


def checked_max_task_bytes(max_task_mb: object) -> float:
    """Return how many bytes a task may stage; infinite for ``None``."""
    if max_task_mb is None:
        return math.inf
    return positive(max_task_mb, "max_task_mb", "a number of MiB") * 2**20


def checked_count(value: object, name: str) -> int:
    """Return a count, at least 1."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an int, not {type(value).__name__}")
    if value < 1:
        raise ValueError(f"{name} must be at least 1, not {value}")
    return value


def positive(value: object, name: str, what: str) -> float:
    """Return a number above 0.

    Args:
        value: What the caller passed.
        name: The option's name.
        what: What the number measures, such as "a number of seconds".
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} must be {what}, not {type(value).__name__}")
    if not 0 < value < math.inf:
        raise ValueError(f"{name} must be {what} above 0, not {value}")
    return float(value)


def length_of(items: Iterable[object]) -> int | None:
    """Return the number of inputs if it is known without reading them."""
    try:
        return len(items)  # type: ignore[arg-type]
    except (TypeError, OverflowError):  # no length, or one too large for len(): range(10**20)
        return None
