"""Exceptions of tasks in other processes: sent as data and rebuilt from it. Nothing is unpickled.

The exception's own class is used if this process knows it and if creating an instance runs only Python's own code.
Otherwise a :class:`~pipeloom.RemoteError` with its name and message replaces it.
"""

from __future__ import annotations

import sys
from typing import Any, Final

from pipeloom.data.text import describe, storable
from pipeloom.data.tracebacks import traceback_of
from pipeloom.errors import RemoteError, RetryLater
from pipeloom.executors.remote.forms import Failure, Raised
from pipeloom.executors.remote.program import NotFoundError, module_of
from pipeloom.wire import RetryDecision
from pipeloom.worker.current import NotGuardedError

__all__ = ["described", "failure_of", "raised_again", "reason_of"]

_PLAIN: Final = (str, int, float, bool, type(None))
_MOST: Final = 8  # arguments
_LONGEST: Final = 4000  # characters of one
_INT64: Final = 1 << 63


def described(error: BaseException, trace: str, decision: RetryDecision) -> Raised:
    """Return an exception as data; foreign code, such as its ``__str__``, may raise anything."""
    kind = type(error)
    return Raised(
        storable(module_of(kind)),
        storable(str(kind.__qualname__)),
        _arguments(error),
        storable(describe(error, 2000)),
        trace,
        decision,
    )


def _arguments(error: BaseException) -> tuple[Any, ...] | None:
    arguments = _ARGS(error)
    if len(arguments) > _MOST:
        return None
    for argument in arguments:
        if type(argument) not in _PLAIN:
            return None
        if type(argument) is str and (len(argument) > _LONGEST or storable(argument) != argument):
            return None
        if type(argument) is int and not -_INT64 <= argument < _INT64:
            return None
    return tuple(arguments)


_ARGS: Final = vars(BaseException)["args"].__get__


def raised_again(raised: Raised) -> BaseException:
    """Return an exception of the same class if possible, otherwise a ``RemoteError``; without frames."""
    kind = _class_of(raised.module, raised.name)
    if kind is not None and raised.arguments is not None:
        try:
            if kind.__module__ in _INITIALISED and kind is not RetryLater:
                return kind(*raised.arguments)
            error = kind.__new__(kind, *raised.arguments)
            error.args = raised.arguments
            return error
        except Exception:  # noqa: BLE001 - such as a UnicodeDecodeError, which requires bytes
            pass
    name = raised.name.rpartition(".")[2]
    return RemoteError(raised.text or name, kind=name)


def _class_of(module: str, name: str) -> type[BaseException] | None:
    """Return a class of this process, if neither creating nor printing an instance runs foreign code."""
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = vars(found).get(part) if hasattr(found, "__dict__") else None
    if not isinstance(found, type) or not issubclass(found, BaseException) or issubclass(found, BaseExceptionGroup):
        return None
    ours = module.startswith("pipeloom.")
    return found if ours or all(_is_pythons(getattr(found, method)) for method in _USED) else None


_USED: Final = ("__new__", "__str__", "__repr__")
_INITIALISED: Final = ("builtins", "pipeloom.errors")
"""Modules whose classes may set attributes in ``__init__``; those of a RetryLater are its arguments."""


def _is_pythons(method: Any) -> bool:
    return not hasattr(method, "__code__")


# --- a worker that cannot start ---


def failure_of(error: BaseException) -> Failure:
    """Return why a worker cannot start; an error whose message explains everything is sent without a traceback."""
    kind = storable(type(error).__name__)
    if isinstance(error, NotGuardedError | NotFoundError):
        return Failure(kind, str(error), "")
    return Failure(kind, storable(describe(error, 2000)), storable(traceback_of(error, error.__traceback__)))


def reason_of(failure: Failure, what: str) -> RemoteError:
    """Return the error that a run raises because a worker cannot start.

    Args:
        failure: The reason, as it was sent.
        what: What kind of worker it is.
    """
    kind = failure.kind
    error = RemoteError(f"{what} could not start: {kind + ': ' if failure.trace else ''}{failure.why}", kind=kind)
    if failure.trace:
        error.add_note(failure.trace)
    return error
