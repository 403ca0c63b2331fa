"""Inputs that a task added: part of its output."""

from __future__ import annotations

from collections.abc import Callable
from sys import getsizeof
from typing import Final, NamedTuple, TypeAlias

__all__ = ["ENTRY_BYTES", "Entry", "Found", "Identify"]

ENTRY_BYTES: Final = 200
"""The estimated size of an entry besides its texts."""


class Entry(NamedTuple):
    """One added input, as the ledger stores it.

    Attributes:
        key: As stored.
        name: For people to read.
        input: What the key is a digest of, see ``data/keys``.
        item: The input itself, see ``data/items``.
    """

    key: str | int
    name: str
    input: str | None
    item: str


class Found:
    """n inputs, in the order in which they were added.

    A worker knows their texts. Only the run's process, which has ``key=``, can determine which tasks they are.

    Args:
        items: Their texts; the caller keeps ownership of the list.
        entries: One entry for each; ``None`` until they are known.
    """

    __slots__ = ("entries", "items")

    def __init__(self, items: list[str], entries: list[Entry] | None = None) -> None:
        self.items = items
        self.entries = entries

    def size(self) -> int:
        """Return about how many bytes it takes."""
        entries = 0 if self.entries is None else len(self.entries) * ENTRY_BYTES
        return sum(map(getsizeof, self.items)) + entries


Identify: TypeAlias = "Callable[[list[str]], list[Entry]]"
"""Returns the entries of n texts: which tasks they are."""
