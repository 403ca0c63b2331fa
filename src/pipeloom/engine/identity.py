"""What identifies an input in a run, and its version; what is said of one of which that cannot be told.

Of the caller's inputs the reading thread says it; of those that tasks find, whoever hears how such a task ended.
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
_LARGE: Final = 10**_NAME_LIMIT  # past 4,300 digits Python refuses to write an int

Identity = str | int | None
"""A key, or the number that a task has; ``None`` when it has neither."""


class Unidentified(NamedTuple):
    """An input that has no key, or no version: it fails, and the run goes on.

    Attributes:
        error: Why.
        message: What people should read.
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
    """Return what tells an input's identity, given the input, its place among the inputs, from 1, and its name.

    That returns the identity, and what else is stored of it, or why there is none.

    Args:
        keyed: Tasks are known by key, rather than by number.
        key: Input → key, for keyed runs; ``None`` takes the input itself.
    """
    if not keyed:
        return lambda item, _place, _name: (_number(item), None)

    def identify(item: object, place: int, name: str) -> tuple[Identity, str | Unidentified | None]:
        value = item
        try:
            if key is not None:
                value = key(item)
        except Exception as error:  # noqa: BLE001 - the caller's code: it is about this input only
            return None, raised(error, "key=", f"input {place:,} ({clean(name, 80)})")
        try:
            return identity_of(value)
        except Exception as error:  # noqa: BLE001 - foreign properties and `__str__` among them
            return None, _keyless(error, f"input {place:,} ({clean(name, 80)})", value, chosen=key is not None)

    return identify


def identify_found(key: Callable[[Any], object] | None) -> Identify:
    """Return what says which tasks the inputs are that a task has found, given their texts; any thread.

    That raises ``RowRefusedError`` for one that has no key, as for a row that cannot be stored.

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
                raise RowRefusedError(f"ctx.add: an input cannot be made again here: {error}") from error
            name = name_of(item)
            identity, known = identify(item, place, name)
            if isinstance(known, Unidentified):
                raise RowRefusedError(f"ctx.add: {known.message}") from known.error
            assert identity is not None
            found.append(Entry(identity, name, known, text))
        return found

    return entries


def name_of(item: object) -> str:
    """Return what people call an input: its own ``name``, or it in words."""
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
    """Return what tells the versions of inputs.

    It is given an input, its place among the inputs, from 1, its name, and what else is stored of its identity. It
    returns the version as it is stored, and the last of these; or nothing, and why.

    Args:
        version: Input → version.
    """

    def tell(
        item: object, place: int, name: str, known: str | Unidentified | None
    ) -> tuple[StoredVersion | None, str | Unidentified | None]:
        which = f"input {place:,} ({clean(name, 80)})"
        try:
            value = version(item)
        except Exception as error:  # noqa: BLE001 - the caller's code: it is about this input only
            return None, raised(error, "version=", which)
        try:
            return stored_version(value), known
        except Exception as error:  # noqa: BLE001 - foreign properties and `__str__` among them
            return None, _versionless(error, which, value)

    return tell


def _versionless(error: Exception, which: str, value: object) -> Unidentified:
    message = storable(
        f"version= returned {clean(value, 80)} for {which}: {describe(error, 300)}; return a str, an int, a float, "
        "or a tuple of those"
    )
    return Unidentified(ValueError(message), message, f"ValueError: {message}")


def raised(error: Exception, what: str, which: str) -> Unidentified:
    """Return what is said when a function of the user's raised for one input.

    Args:
        error: What it raised, as it was caught where it was called.
        what: The function, as the user knows it.
        which: The input, in words.
    """
    begin = error.__traceback__
    message = f"{what} raised {kind_of(error)} for {which}: {describe(error, 300)}"
    try:
        trace = traceback_of(error, None if begin is None else begin.tb_next)  # the first frame is ours
    except Exception:  # noqa: BLE001 - a foreign `__str__` may do anything
        trace = message
    return Unidentified(error, storable(message), storable(tail(trace, LONGEST_TEXT)))


def _keyless(error: Exception, which: str, value: object, *, chosen: bool) -> Unidentified:
    if not isinstance(error, ValueError):
        error = ValueError(f"its key cannot be told ({kind_of(error)}: {describe(error, 200)})")
    if chosen:
        message = f"key= returned {clean(value, 80)} for {which}: {describe(error, 300)}; return {_KEYS}"
    else:
        why = f"{which} has no key: {describe(error, 300)}"
        message = f"{why}; leave it out, or pass key=, a function from input to {_KEYS}"
    message = storable(message)
    return Unidentified(ValueError(message), message, f"ValueError: {message}")
