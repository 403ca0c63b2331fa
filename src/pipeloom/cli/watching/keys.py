"""Translate what a terminal sends for each key to a name."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["KeyReader"]

_CONTROL: Final = {
    "\r": "enter",
    "\n": "enter",
    "\t": "tab",
    "\x0e": "down",  # Ctrl-N
    "\x10": "up",  # Ctrl-P
    "\x0c": "redraw",  # Ctrl-L
    "\x7f": "escape",
    "\x08": "escape",
}
_SEQUENCES: Final = {
    "A": "up",
    "B": "down",
    "C": "right",
    "D": "left",
    "H": "home",
    "F": "end",
    "Z": "backtab",
    "1~": "home",
    "7~": "home",
    "4~": "end",
    "8~": "end",
    "5~": "pageup",
    "6~": "pagedown",
}
# A control sequence as sent by terminals (ECMA-48 5.4; keypads send `O` instead of `[`). An escape not followed by
# one is the Escape key itself.
_KEY: Final = re.compile(r"\x1b(?:\[[0-?]*[ -/]*([@-~])|O([@-~]))", re.DOTALL)
_UNFINISHED: Final = re.compile(r"\x1b(?:\[[0-?]*[ -/]*|O)?\Z")


class KeyReader:
    """Turns bytes into names of keys; a sequence may arrive in pieces.

    A letter is its own name. Unknown input (function keys, pasted control characters) is ignored.
    """

    def __init__(self) -> None:
        self._rest = ""

    @property
    def waiting(self) -> bool:
        """Whether a sequence may be incomplete: read again shortly, or call :meth:`flush`."""
        return bool(self._rest)

    def feed(self, data: bytes) -> list[str]:
        """Add input; return the keys that are complete."""
        text, self._rest = self._rest + data.decode("utf-8", "replace"), ""
        keys, at = [], 0
        while at < len(text):
            if text[at] != "\x1b":
                if name := _CONTROL.get(text[at]) or (text[at] if text[at].isprintable() else ""):
                    keys.append(name)
                at += 1
            elif match := _KEY.match(text, at):
                final = match[1] or match[2]
                wanted = match[0][2:] if final == "~" else final
                if name := _SEQUENCES.get(wanted, ""):
                    keys.append(name)
                at = match.end()
            elif _UNFINISHED.match(text, at):
                self._rest = text[at:]
                break
            else:
                keys.append("escape")
                at += 1
        return keys

    def flush(self) -> list[str]:
        """Return what is left when no input follows: a lone escape is the Escape key; anything else is dropped."""
        rest, self._rest = self._rest, ""
        return ["escape"] if rest == "\x1b" else []
