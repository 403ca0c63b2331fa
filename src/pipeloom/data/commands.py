"""Commands for readers to copy: complete, and quoted for the shell."""

from __future__ import annotations

import shlex
from pathlib import Path

__all__ = ["typed"]


def typed(command: str, db: Path | str, *words: object) -> str:
    """Return a command as the user would type it."""
    parts = ["pipeloom", command, *(str(word) for word in words), "--db", str(db)]
    return " ".join(map(_quoted, parts))


def _quoted(word: str) -> str:
    """Return a word quoted for the shell and safe for the terminal, with ``$'…'`` of bash and zsh if needed."""
    return shlex.quote(word) if word.isprintable() else f"$'{''.join(map(_escaped, word))}'"


def _escaped(char: str) -> str:
    if char.isprintable() and char not in "\\'":
        return char
    number = ord(char)
    if 0xDC80 <= number <= 0xDCFF:  # an undecodable byte in a file name
        return f"\\x{number - 0xDC00:02x}"
    return f"\\x{number:02x}" if number < 0x80 else f"\\U{number:08x}"
