"""Make foreign text safe to show and to store.

Task names, messages, errors and values come from anywhere. They may contain terminal escape sequences, line breaks,
direction overrides or lone surrogates; every character that Python calls non-printable is shown as its escape. Show
the result as ``rich.text.Text``, never as markup.
"""

from __future__ import annotations

import os
import threading
from typing import Any, Final

from pipeloom.data.beginnings import beginning_of

__all__ = [
    "LONGEST_TEXT",
    "attribute",
    "clean",
    "clean_block",
    "describe",
    "kind_of",
    "near",
    "pass_on_interrupt",
    "shorten",
    "storable",
    "tail",
    "text",
    "words",
]

LONGEST_TEXT: Final = 20_000
"""The maximum length in characters of a text that a run stores or shows: the end of a traceback."""


def _escape(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")


def clean(value: object, limit: int | None = None) -> str:
    """Return one harmless line, with every non-printable character as its escape.

    Args:
        value: Text, or any object with a ``str``.
        limit: The longest result in characters; a cut is marked by ``…``.
    """
    text = value if isinstance(value, str) else describe(value)
    if limit is not None:
        text = shorten(text, limit)
    if text.isprintable():
        return text
    text = "".join(char if char.isprintable() else _escape(char) for char in text)
    return text if limit is None else shorten(text, limit)


def clean_block(value: str) -> str:
    """Return harmless text with its line breaks kept, such as a traceback."""
    return "\n".join(clean(line.expandtabs(4)) for line in value.split("\n"))


def shorten(text: str, limit: int) -> str:
    """Cut ``text`` to at most ``limit`` characters; if something was cut, the last of them is ``…``."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def tail(text: str, limit: int) -> str:
    """Return the end of ``text``, after ``…`` if it is longer than ``limit``: a traceback is most useful there."""
    return text if len(text) <= limit else "…" + text[-limit:]


def describe(value: object, limit: int = 500) -> str:
    """Return ``str(value)``, shortened, even if ``str`` raises. For a large object no more text is built."""
    try:
        return shorten(beginning_of(value, limit), limit)
    except BaseException as error:  # noqa: BLE001 - foreign code may raise anything, even SystemExit
        pass_on_interrupt(error)
        return f"<{kind_of(value)} that cannot be shown: {kind_of(error)}>"


def pass_on_interrupt(error: BaseException) -> None:
    """Re-raise a real Ctrl-C, which only the main thread receives; elsewhere foreign code raised it."""
    if isinstance(error, KeyboardInterrupt) and threading.current_thread() is threading.main_thread():
        raise error


_NAME_OF_TYPE: Final = vars(type)["__name__"].__get__


def kind_of(value: object) -> str:
    """Return the name of a foreign object's type, bypassing its metaclass."""
    name: str = _NAME_OF_TYPE(type(value))
    return name


def attribute(value: object, name: str) -> Any:
    """Return an attribute of a foreign object; ``None`` if it has none or raises any exception."""
    try:
        return getattr(value, name)
    except BaseException as error:  # noqa: BLE001 - foreign code, as above
        pass_on_interrupt(error)
        return None


def near(path: str) -> str:
    """Return a path as people would type it here: relative if it is below the current directory."""
    try:
        relative = os.path.relpath(path)
    except (OSError, ValueError):  # the directory is gone, or on another drive
        return path
    return path if relative.startswith("..") else relative


def text(value: Any) -> str | None:
    """Return text for any value of a column; ``None`` for NULL."""
    if value is None or type(value) is str:
        return value
    if type(value) is bytes:
        return value.decode("utf-8", "backslashreplace")
    return str(value)


def words(value: Any) -> str:
    """Return text for any value of a column, empty for NULL."""
    return text(value) or ""


def storable(text: str) -> str:
    """Return text that SQLite can store: lone surrogates become their escapes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace").decode()
    return text
