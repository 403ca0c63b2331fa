"""Determines the key and the version of an input, and what to report if there is none.

For the caller's inputs this runs in the reading thread; for inputs that tasks add, in the thread that receives the
end of such a task.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from pipeloom.data.found import Entry, Identify
from pipeloom.data.items import item_from
from pipeloom.data.keys import identity_of
from pipeloom.data.text import LONGEST_TEXT, attribute, clean, describe, kind_of, shorten, storable, tail
from pipeloom.data.tracebacks import traceback_of
from pipeloom.data.values import NUMBER_LIMIT
from pipeloom.data.versions import StoredVersion, stored_version
from pipeloom.errors import RowRefusedError

__all__ = [
    "Identity",
    "Unidentified",
    "VersionTeller",
    "identifier",
    "identify_found",
    "name_of",
    "raised",
    "version_teller",
]

_NAME_LIMIT: Final = 200
_LARGE: Final = 10**_NAME_LIMIT  # beyond 4,300 digits Python refuses to convert an int to text

Identity = str | int | None
"""A key, or a task's number; ``None`` if there is neither."""


class Unidentified(NamedTuple):
    """An input without a key or a version: its task fails, and the run continues.

    Attributes:
        error: Why there is none.
        message: The message for people.
        trace: The traceback of what ``key=`` or ``version=`` raised, or one line.
    """

    error: Exception
    message: str
    trace: str


VersionTeller = Callable[
    [object, int, str, str | Unidentified | None], tuple[StoredVersion | None, str | Unidentified | None]
]
"""See :func:`version_teller`."""

_KEYS: Final = "str, int, Path, UUID or date"


def identifier(
    *, keyed: bool, key: Callable[[Any], object] | None
) -> Callable[[object, int, str], tuple[Identity, str | Unidentified | None]]:
    """Return a function that identifies inputs.

    It takes an input, its place among the inputs, counted from 1, and its name. It returns the input's
    identity, and what else is stored with it, or the reason why there is no identity.

    Args:
        keyed: Tasks are identified by key rather than by number.
        key: Input → key, for keyed runs; ``None`` takes the input itself.
    """
    if not keyed:
        return lambda item, _place, _name: (_number(item), None)

    def identify(item: object, place: int, name: str) -> tuple[Identity, str | Unidentified | None]:
        value = item
        try:
            if key is not None:
                value = key(item)
        except Exception as error:  # noqa: BLE001 - the caller's code: only this input fails
            return None, raised(error, "key=", f"input {place:,} ({clean(name, 80)})")
        try:
            return identity_of(value)
        except Exception as error:  # noqa: BLE001 - runs foreign properties and `__str__`
            return None, _keyless(error, f"input {place:,} ({clean(name, 80)})", value, chosen=key is not None)

    return identify


def identify_found(key: Callable[[Any], object] | None) -> Identify:
    """Return a function that identifies the inputs that a task has added, given as text; any thread.

    It raises ``RowRefusedError`` for an input without a key, as for a row that cannot be stored.

    Args:
        key: As for :func:`identifier`.
    """
    identify = identifier(keyed=True, key=key)

    def entries(texts: list[str]) -> list[Entry]:
        found = []
        for place, text in enumerate(texts, 1):
            try:
                item = item_from(text)
            except ValueError as error:
                raise RowRefusedError(f"ctx.add: an input cannot be restored from its text: {error}") from error
            name = name_of(item)
            identity, known = identify(item, place, name)
            if isinstance(known, Unidentified):
                raise RowRefusedError(f"ctx.add: {known.message}") from known.error
            assert identity is not None
            found.append(Entry(identity, name, known, text))
        return found

    return entries


def name_of(item: object) -> str:
    """Return an input's name for people: its own ``name``, or a description of it."""
    if type(item) is int and -_LARGE < item < _LARGE:
        return str(item)
    if type(item) is str and len(item) <= _NAME_LIMIT and item.isascii():
        return item
    name = None if type(item) is str else attribute(item, "name")
    if not isinstance(name, str):
        name = describe(item, _NAME_LIMIT)
    return storable(shorten(name, _NAME_LIMIT))


def _number(item: object) -> int | None:
    number = attribute(item, "task_id")
    return number if type(number) is int and abs(number) < NUMBER_LIMIT else None


def version_teller(version: Callable[[Any], object]) -> VersionTeller:
    """Return a function that determines the versions of inputs.

    It takes an input, its place among the inputs, counted from 1, its name, and what else is stored with its
    identity. It returns the version as it is stored, together with that last argument; or no version, and the
    reason.

    Args:
        version: Input → version.
    """

    def tell(
        item: object, place: int, name: str, known: str | Unidentified | None
    ) -> tuple[StoredVersion | None, str | Unidentified | None]:
        which = f"input {place:,} ({clean(name, 80)})"
        try:
            value = version(item)
        except Exception as error:  # noqa: BLE001 - the caller's code: only this input fails
            return None, raised(error, "version=", which)
        try:
            return stored_version(value), known
        except Exception as error:  # noqa: BLE001 - runs foreign properties and `__str__`
            return None, _versionless(error, which, value)

    return tell


def _versionless(error: Exception, which: str, value: object) -> Unidentified:
    message = storable(
        f"version= returned {clean(value, 80)} for {which}: {describe(error, 300)}; return a str, an int, a float, "
        "or a tuple of those"
    )
    return Unidentified(ValueError(message), message, f"ValueError: {message}")


def raised(error: Exception, what: str, which: str) -> Unidentified:
    """Return the report for an exception that one of the user's functions raised for one input.

    Args:
        error: The exception, as caught at the call.
        what: The function's name for the user.
        which: A description of the input.
    """
    begin = error.__traceback__
    message = f"{what} raised {kind_of(error)} for {which}: {describe(error, 300)}"
    try:
        trace = traceback_of(error, None if begin is None else begin.tb_next)  # skip the first frame, which is ours
    except Exception:  # noqa: BLE001 - a foreign `__str__` may do anything
        trace = message
    return Unidentified(error, storable(message), storable(tail(trace, LONGEST_TEXT)))


def _keyless(error: Exception, which: str, value: object, *, chosen: bool) -> Unidentified:
    if not isinstance(error, ValueError):
        error = ValueError(f"its key cannot be determined ({kind_of(error)}: {describe(error, 200)})")
    if chosen:
        message = f"key= returned {clean(value, 80)} for {which}: {describe(error, 300)}; return {_KEYS}"
    else:
        why = f"{which} has no key: {describe(error, 300)}"
        message = f"{why}; leave it out, or pass key=, a function from input to {_KEYS}"
    message = storable(message)
    return Unidentified(ValueError(message), message, f"ValueError: {message}")
