"""Convert a word of a file to exactly the same number, or not at all."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from decimal import Context, Decimal
from typing import Any, Final

__all__ = ["KINDS", "Guess", "kind_of_column", "loses_nothing"]

KINDS: Final[Mapping[str, type]] = {"int": int, "float": float, "text": str}
"""The types that can be declared: name → Python type."""

_INT: Final = re.compile(r"\s*[-+]?[0-9]+\s*", re.ASCII)
_FLOAT: Final = re.compile(r"\s*[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?\s*", re.ASCII)
_SURE: Final = 15  # significant digits: this many always survive a float

# A guess is more careful than a declaration: 007, +1, 1e3, -0 and words of 16 or more digits are text.
_PLAIN_INT: Final = re.compile(r"(?!-0$)-?(?:0|[1-9][0-9]{0,14})", re.ASCII)
_PLAIN_FLOAT: Final = re.compile(
    r"(?!-0(?:\.0*)?$)(?!(?:[^0-9]*[0-9]){16})-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?", re.ASCII
)


def loses_nothing(kind: str) -> Callable[[str], Any]:
    """Return the function that converts words for a column of a kind.

    Args:
        kind: ``"int"``, ``"float"``, ``"text"``, or ``"number"``: anything that SQLite would treat as a number.

    Returns:
        A function that raises ``ValueError`` with the reason, which continues ``"…" in the column …``.
    """
    makers: Mapping[str, Callable[[str], Any]] = {"int": _int, "float": _float, "number": _number, "text": str}
    return makers[kind]


def _int(word: str) -> int:
    if _INT.fullmatch(word) is None:
        raise ValueError("is not int")
    if len(word) > 18 and not (len(word) < 1000 and -(2**63) <= int(word) < 2**63):
        raise ValueError("does not fit an int of 64 bits: load the column as text")
    return int(word)


def _float(word: str) -> float:
    if _FLOAT.fullmatch(word) is None:
        raise ValueError("is not float")
    value = float(word)
    if (len(word) > _SURE or "e" in word or "E" in word) and not _is_rounded(word, value):
        raise ValueError("cannot be kept exactly as float: load the column as text")
    return value


def _is_rounded(word: str, value: float) -> bool:
    """Return whether a word is a float, at its shortest or rounded to as many digits as the word has."""
    if abs(value) == float("inf") or len(word) > 1200:
        return False
    digits = Decimal(word.strip())
    if digits == Decimal(repr(value)):
        return True
    count = len(digits.as_tuple().digits)
    return bool(value) and Context(prec=max(count, 1)).create_decimal(value) == digits


def _number(word: str) -> int | float | str:
    """Convert as SQLite does in such a column: words that are not numbers are kept."""
    if _INT.fullmatch(word) is not None:
        return _int(word)
    return word if _FLOAT.fullmatch(word) is None else _float(word)


def kind_of_column(declared: str, *, is_strict: bool = False) -> str | None:
    """Return the kind of words that a column of an existing table accepts; ``None``: any, unchanged.

    Source: https://www.sqlite.org/datatype3.html#determination_of_column_affinity
    """
    name = declared.upper()
    if "INT" in name:
        return "int"
    if any(part in name for part in ("CHAR", "CLOB", "TEXT")):
        return "text"
    if not name or "BLOB" in name or (is_strict and name == "ANY"):
        return None
    return "float" if any(part in name for part in ("REAL", "FLOA", "DOUB")) else "number"


class Guess:
    """The narrowest kind that holds all words of a column: int, float, else text.

    Independent of the order and the parts in which the words come.
    """

    __slots__ = ("has_words", "is_float", "is_int")

    def __init__(self) -> None:
        self.has_words = False
        self.is_int = self.is_float = True

    def see(self, words: Iterable[str]) -> None:
        """Take n words into account; empty ones say nothing."""
        if not self.is_float:
            return
        seen = [word for word in words if word]
        self.has_words = self.has_words or bool(seen)
        self.is_int = self.is_int and all(map(_PLAIN_INT.fullmatch, seen))
        self.is_float = self.is_int or all(map(_PLAIN_FLOAT.fullmatch, seen))

    def join(self, other: Guess) -> None:
        """Take everything into account that another guess has seen."""
        self.has_words = self.has_words or other.has_words
        self.is_int = self.is_int and other.is_int
        self.is_float = self.is_float and other.is_float

    @property
    def kind(self) -> str:
        """``"int"``, ``"float"`` or ``"text"``."""
        if not self.has_words or not self.is_float:
            return "text"
        return "int" if self.is_int else "float"
