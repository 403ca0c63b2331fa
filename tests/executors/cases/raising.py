"""Exceptions of every make, as tasks raise them: what a pool that pickles them hangs on, or is ended by."""

from __future__ import annotations

import json
import queue
import sqlite3
import threading
from collections.abc import Callable

import pipeloom

__all__ = ["RAISES", "StrRaises"]


class WithALock(Exception):
    def __init__(self) -> None:
        super().__init__("holds a lock")
        self.lock = threading.Lock()


class ReduceRaises(Exception):
    def __reduce__(self):
        raise RuntimeError("never pickled")


class OtherArguments(Exception):
    def __init__(self, code: int, *, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.code, self.reason = code, reason


class StrRaises(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


class ReprRaises(Exception):
    def __repr__(self) -> str:
        raise RuntimeError("no repr")


class OfNoKind(BaseException):
    """Not an Exception."""


class UnpicklesToTrouble(Exception):
    """What a naive pool would be ended by: pickles, and raises when it is unpickled."""

    def __reduce__(self):
        return _trouble, ()


def _trouble() -> None:
    raise SystemExit("unpickled")


def raised_by(code: Callable[[], object]) -> BaseException:
    """Return what this raises."""
    try:
        code()
    except BaseException as error:  # noqa: BLE001 - that is what is asked for
        return error
    raise AssertionError("it did not raise")


def _group() -> BaseException:
    cause = raised_by(lambda: int("x"))
    inner = ExceptionGroup("inner", [KeyError("k")])
    error = ExceptionGroup("outer", [OtherArguments(1, reason="in a group"), inner])
    error.add_note("a note")
    error.__cause__ = cause
    return error


def _local_class() -> BaseException:
    class Local(Exception):
        pass

    return Local("of a function")


def _deep(n: int = 0) -> int:
    return _deep(n + 1)


RAISES: dict[str, Callable[[], BaseException]] = {
    "builtin": lambda: ValueError("plain"),
    "key error": lambda: KeyError("missing"),
    "no arguments": lambda: RuntimeError(),
    "os error": lambda: FileNotFoundError(2, "No such file or directory", "nowhere"),
    "unicode error": lambda: raised_by(lambda: b"\xff".decode()),
    "json error": lambda: raised_by(lambda: json.loads("{")),
    "sqlite error": lambda: sqlite3.OperationalError("no such thing"),
    "queue full": lambda: queue.Full(),
    "with a lock": WithALock,
    "reduce raises": lambda: ReduceRaises("as it is"),
    "other arguments": lambda: OtherArguments(7, reason="two of them"),
    "unpickles to trouble": lambda: UnpicklesToTrouble("as it is"),
    "str raises": StrRaises,
    "repr raises": lambda: ReprRaises("no repr"),
    "local class": _local_class,
    "group": _group,
    "of no kind": lambda: OfNoKind("neither"),
    "system exit": lambda: SystemExit(3),
    "keyboard interrupt": lambda: KeyboardInterrupt("by the task"),
    "generator exit": GeneratorExit,
    "stop iteration": lambda: StopIteration(5),
    "recursion": lambda: raised_by(_deep),
    "memory": MemoryError,
    "long": lambda: ValueError("y" * 100_000),
    "surrogate": lambda: ValueError("\ud800 and \x1b[31m"),
    "cancelled": lambda: pipeloom.TaskCancelledError("by itself"),
    "timed out": lambda: pipeloom.TaskTimeoutError("by itself"),
    "refused": lambda: pipeloom.RowRefusedError("by itself"),
}
