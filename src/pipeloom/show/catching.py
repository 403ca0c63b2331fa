"""Python's standard streams on a terminal: what is written to them goes through the live region while it exists.

The stream objects stay, since log handlers, loggers and tasks hold them or even their ``write``. Only ``write`` is
replaced: that of the text stream, since only there can each thread's unfinished lines be distinguished, and that of
the binary stream below it, which catches calls to a kept reference to the original ``write``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from threading import get_ident
from typing import IO, Any, Final, TextIO

from pipeloom.show.lines import Lines, Writer
from pipeloom.show.streams import same_terminal

__all__ = ["CaughtStream", "streams_on"]

_ERASE_BELOW: Final = b"\x1b[J"


def streams_on(file: IO[str]) -> Iterator[TextIO]:
    """Yield the standard streams that lead to the same terminal as ``file``, each once."""
    seen: list[object] = []
    for name in ("stderr", "stdout", "__stderr__", "__stdout__"):
        stream = getattr(sys, name)
        stream = getattr(stream, "rich_proxied_file", stream)  # a Rich display on another console
        if all(stream is not other for other in seen) and same_terminal(stream, file):
            seen.append(stream)
            yield stream


class CaughtStream:
    """A stream whose text goes to the region until it is released.

    In a forked child the region's thread does not exist, and its locks may be held forever. What a child writes
    goes straight to the terminal, in whole lines, without taking any of those locks. It erases the frame below it,
    which the parent then redraws.

    Args:
        stream: The stream; its object gets another ``write``.
        lines: Assembles whole lines from what threads write.
        say: Takes the lines, encoded, in the writing thread; returns ``False`` when the region has ended.
    """

    def __init__(self, stream: TextIO, lines: Lines, say: Callable[[bytes], bool]) -> None:
        self._stream = stream
        self._lines = lines
        self._say = say
        self._pid = os.getpid()
        self._encoding = getattr(stream, "encoding", "utf-8")
        self._place = self._where()
        self._is_released = False
        self._begun = ""  # in a child only: an unfinished line
        self._replaced: list[tuple[Any, str, Any, Any]] = []  # object, method name, its own method if any, ours
        self._write_original: Callable[[str], int] = stream.write
        self._flush_original: Callable[[], None] = stream.flush
        self._replace(stream, "write", self._write)
        self._replace(stream, "flush", self._flush)
        buffer = getattr(stream, "buffer", None)
        if buffer is not None:
            self._write_below: Callable[[Any], int] = buffer.write
            self._replace(buffer, "write", self._write_bytes)

    def _replace(self, owner: Any, name: str, method: Callable[..., Any]) -> None:
        try:
            before = vars(owner).get(name)
            setattr(owner, name, method)
        except (AttributeError, TypeError):
            return  # a custom stream: what it passes on is caught below
        self._replaced.append((owner, name, before, method))

    def release(self) -> None:
        """Restore the stream's own methods; calls to a kept reference to ours are passed through."""
        self._is_released = True
        while self._replaced:
            owner, name, before, ours = self._replaced.pop()
            if vars(owner).get(name) is not ours:
                continue  # another replacement of ours, which still calls ours
            if before is None:
                delattr(owner, name)
            else:
                setattr(owner, name, before)

    def _write(self, text: Any) -> int:
        if self._pid != os.getpid() and isinstance(text, str):
            return self._write_in_child(text)
        if not isinstance(text, str) or self._is_not_ours():
            return self._write_original(text)
        if text == "\n" and not self._lines.has_begun(self._writer()):
            self._flush_original()  # the line was started before the stream was caught
        self._pass_on(text, self._stream.errors or "strict")
        return len(text)

    def _write_in_child(self, text: str) -> int:
        self._begun += text
        if text.endswith("\n") or "\r" in text:
            self._write_begun()
        return len(text)

    def _write_begun(self) -> None:
        begun, self._begun = self._begun, ""
        if begun:
            self._write_original(begun)

    def _flush(self) -> None:
        if self._pid != os.getpid():
            self._write_begun()
        self._flush_original()

    def _write_bytes(self, data: Any) -> int:
        if self._is_not_ours():
            return self._write_below(data)
        if self._pid != os.getpid():
            return self._write_below(_ERASE_BELOW + bytes(data)) - len(_ERASE_BELOW)
        # A character split across two writes is whole again when both halves are encoded.
        text = bytes(data).decode(self._encoding, "surrogateescape")
        self._pass_on(text, "surrogateescape")
        return memoryview(data).nbytes

    def _writer(self) -> Writer:
        return get_ident(), id(self)

    def _pass_on(self, text: str, errors: str) -> None:
        text.encode(self._encoding, errors)  # raises as the stream would
        out = self._lines.feed(self._writer(), text)
        if self._is_released:
            out += self._lines.close()  # the region has ended since this thread got here
        errors = "surrogateescape" if errors == "strict" else errors
        if out and not self._say(out.encode(self._encoding, errors)):
            self._write_original(out)

    def _is_not_ours(self) -> bool:
        """Return whether to bypass the region: the stream is released, closed or redirected (``dup2``)."""
        return self._is_released or self._where() != self._place

    def _where(self) -> tuple[int, int] | None:
        try:
            found = os.fstat(self._stream.fileno())
        except (OSError, ValueError):
            return None
        return found.st_dev, found.st_ino
