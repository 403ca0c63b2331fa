"""Inputs that a task has found: a part of its output."""

from __future__ import annotations

from collections.abc import Callable
from sys import getsizeof
from typing import Final, NamedTuple, TypeAlias

__all__ = ["ENTRY_BYTES", "Entry", "Found", "Identify"]

ENTRY_BYTES: Final = 200
"""What an entry takes beside its texts, an estimate."""


class Entry(NamedTuple):
    """One of them, as the ledger needs it.

    Attributes:
        key: As stored.
        name: What people call it.
        input: What the key is a digest of, see ``data/keys``.
        item: It itself, see ``data/items``.
    """

    key: str | int
    name: str
    input: str | None
    item: str


class Found:
    """n inputs, in the order in which they were added.

    A worker knows their texts. Which tasks they are is known in the run's process alone, where ``key=`` is.

    Args:
        items: Their texts; whoever makes this owns the list.
        entries: What they are, one for each; ``None`` until it is known.
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
"""Says of n texts which tasks they are."""
