"""Which inputs belong to which of n shards: only the stored key decides, on every machine and in every version.

A key belongs to the shard given by eight bytes of its BLAKE2b digest, modulo n. Python's own ``hash`` of text
differs between processes.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Any, Final, NamedTuple

from pipeloom.data.text import clean

__all__ = ["Shard", "shard_of"]

_FIRST: Final = 1


class Shard(NamedTuple):
    """One of n parts of the inputs.

    Attributes:
        number: Which one, from 1.
        of: How many shards there are.
    """

    number: int
    of: int

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    def holds(self, key: str | int | None) -> bool:
        """Return whether an input belongs to this shard; any thread.

        Args:
            key: As stored; ``None`` for an input that fails because it has none: the first shard reports it.
        """
        return self.number == (_FIRST if key is None else shard_of(key, self.of))

    @classmethod
    def checked(cls, value: Any) -> Shard:
        """Return the shard that ``shard=`` describes.

        Raises:
            TypeError, ValueError: It is not one of n shards; the message says how they are counted.
        """
        if not isinstance(value, tuple | list) or len(value) != 2 or any(type(part) is not int for part in value):
            raise TypeError(
                f"shard must be a pair of ints such as (3, 16), the third of 16 shards, not {clean(value, 40)!r}"
            )
        number, count = value
        if count < 1:
            raise ValueError(f"shard needs a count of at least 1, such as (1, 1), not {number}/{count}")
        if not _FIRST <= number <= count:
            hint = ": add 1 to an array index that starts at 0" if number == 0 else ""
            raise ValueError(
                f"shard must be from 1/{count} to {count}/{count}, since shards count from 1, not "
                f"{number}/{count}{hint}"
            )
        return cls(number, count)

    @classmethod
    def read(cls, text: str) -> Shard:
        """Return the shard that a text such as ``3/16`` describes.

        Raises:
            ValueError: It is not such a text, or not one of n shards.
        """
        number, slash, count = text.partition("/")
        if not (slash and number.isdecimal() and count.isdecimal()):
            raise ValueError(f"{clean(text, 40)!r} is not a shard such as 3/16, the third of 16")
        return cls.checked((int(number), int(count)))


def shard_of(key: str | int, count: int) -> int:
    """Return which of ``count`` shards a stored key belongs to, from 1."""
    # Stored text that begins like this is an integer beyond 64 bits, so no two keys have the same text.
    words = f"int:{key}" if isinstance(key, int) else key
    return int.from_bytes(blake2b(words.encode(), digest_size=8).digest(), "big") % count + _FIRST
