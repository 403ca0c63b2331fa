r"""What threads write to a terminal, assembled into whole lines.

A terminal has one cursor for all threads: one thread's unfinished line continues in another's, and a bar that
repaints itself (``\r``, cursor up) overwrites whatever is there by then. Here each thread has its own page for
each stream, which it can repaint freely. A line leaves the page when it is complete, a bar in its final state.

Meanwhile, the live region shows the contents of the pages.
"""

from __future__ import annotations

import re
import threading
from typing import Final

__all__ = ["Lines", "Writer"]

Writer = tuple[int, int]
"""The ids of a thread and of a stream."""

_HIDE: Final = "\x1b[?25l"
_SHOW: Final = "\x1b[?25h"
_REPAINTS: Final = re.compile(r"\r(?!\n)|\x1b\[\d*[AF]")
_TOKENS: Final = re.compile(r"(\r?\n|\r|\x1b\[[?0-9;]*[A-Za-ln-z])")  # all sequences except colours
_LONGEST: Final = 64 * 1024  # characters of a line that never ends
_MOST_ROWS: Final = 100  # of one page: no terminal is taller
_DISPLAY: Final = (-1, -1)  # the page of a display that hides the cursor: several threads paint it


class _Page:
    """The page of one writer: an unfinished line, and the rows that it repaints."""

    def __init__(self) -> None:
        self.half = ""
        self.blank_lines = 0  # held back until it is clear that they do not move to a bar further down
        self.rows: list[str] = []
        self.at = 0
        self._painted_at: list[int] = []  # when each row was last painted
        self._overwrites = False
        self.version = 0
        self.seen = -1

    @property
    def is_empty(self) -> bool:
        return not (self.half or self.blank_lines or self.rows)

    @property
    def overwrites(self) -> bool:
        """Whether the next text replaces a row."""
        return self._overwrites and self.at < len(self.rows) and bool(self.below(self.at)[0].strip())

    def paint(self, text: str) -> None:
        if not self.rows:
            self._go_to(self.blank_lines)
            self.rows[self.at], self.half = self.half, ""
            self.blank_lines = 0
        for token in _TOKENS.split(text):
            if token in ("\n", "\r\n"):
                self._go_to(self.at + 1)
                self._overwrites = True
            elif token == "\r":
                self._overwrites = True
            elif _TOKENS.fullmatch(token):
                self._control(token)
            elif token:
                self._put("" if self._overwrites else self.rows[self.at], token)

    def _control(self, sequence: str) -> None:
        number, letter = sequence[2:-1], sequence[-1]
        steps = int(number) if number.isdecimal() and number != "0" else 1
        if letter in "AF":
            self._go_to(max(self.at - steps, 0))
        elif letter in "BE":
            self._go_to(self.at + min(steps, _MOST_ROWS))
        elif letter == "K":
            self._put("", "")

    def _go_to(self, row: int) -> None:
        self.at = row
        while len(self.rows) <= row:
            self.rows.append("")
            self._painted_at.append(self.version)

    def _put(self, before: str, text: str) -> None:
        self._overwrites = False
        self.rows[self.at] = (before + text)[:_LONGEST]
        self._painted_at[self.at] = self.version

    def take_blank_lines(self) -> str:
        count, self.blank_lines = self.blank_lines, 0
        return "\n" * count

    def below(self, count: int) -> list[str]:
        """Return the rows below the first ``count``; those painted earlier show an older state: blank."""
        since = max(self._painted_at[:count], default=0)
        return [
            row if at > since else "" for row, at in zip(self.rows[count:], self._painted_at[count:], strict=True)
        ]

    def take_rows(self, count: int) -> str:
        """Remove the first rows and return them."""
        taken = self.rows[:count]
        self.rows = self.below(count)
        del self._painted_at[:count]
        self.at -= count
        if not any(self.rows):
            self.rows, self._painted_at, self.at, self._overwrites = [], [], 0, False
        return "".join(f"{row.rstrip()}\n" for row in taken if row.strip())

    def take_all(self) -> str:
        text = self.take_blank_lines() + self.take_rows(self.at) + self.take_rows(1)
        half, self.half = self.half, ""
        self.rows, self._painted_at, self.at = [], [], 0
        return f"{text}{half}\n" if half else text


class Lines:
    """The pages of all writers, and the lines that leave them; any thread, does not block."""

    def __init__(self) -> None:
        # Never held during a write. A signal handler may print while its own thread holds it.
        self._lock = threading.RLock()
        self._pages: dict[Writer, _Page] = {}
        self._hidden = 0  # how many displays have hidden the cursor
        self._about_to_paint: Writer | None = None

    def has_begun(self, writer: Writer) -> bool:
        """Return whether this writer has an unfinished line."""
        page = self._pages.get(writer)
        return page is not None and not page.is_empty

    def feed(self, writer: Writer, text: str) -> str:
        """Write text on a writer's page; return the lines that it completes."""
        with self._lock:
            repaints = _REPAINTS.search(text) is not None
            if _HIDE in text or _SHOW in text or (self._hidden and (repaints or self._about_to_paint == writer)):
                return self._display(writer, text)
            page = self._pages.get(writer)
            if page is None:
                if text.endswith("\n") and not repaints and text.strip("\n"):
                    return text  # the usual case: a log record
                page = self._pages[writer] = _Page()
            page.version += 1
            only_newlines = not text.strip("\n")
            if repaints or (page.rows and not page.half and (only_newlines or page.overwrites)):
                page.paint(text)
                return page.take_rows(page.at - _MOST_ROWS) if page.at > _MOST_ROWS else ""
            if only_newlines and not page.half:
                page.blank_lines += len(text)
                return ""
            out = page.take_blank_lines()
            head, newline, half = (page.half + text).rpartition("\n")
            if len(half) > _LONGEST:
                head, newline, half = head + newline + half, "\n", ""
            page.half = half
            if page.is_empty:
                del self._pages[writer]
            return out + head + newline

    def _display(self, writer: Writer, text: str) -> str:
        """Paint the output of a display that has hidden the cursor, such as one of Rich's on another console."""
        hides, shows = text.count(_HIDE), text.count(_SHOW)
        self._hidden = max(self._hidden + hides - shows, 0)
        self._about_to_paint = writer if hides else None  # its first painting does not hide the cursor again
        page = self._pages.setdefault(_DISPLAY, _Page())
        page.version += 1
        page.paint(text)
        if not self._hidden:
            del self._pages[_DISPLAY]
            return page.take_all()
        return page.take_rows(page.at - _MOST_ROWS) if page.at > _MOST_ROWS else ""

    def look(self) -> str:
        """Return what is final because it has not changed since the last look, a moment ago."""
        with self._lock:
            out = []
            for writer, page in list(self._pages.items()):
                if page.seen == page.version and writer != _DISPLAY:
                    out.append(page.take_blank_lines())
                    if page.at:
                        out.append(page.take_rows(page.at))
                page.seen = page.version
                if page.is_empty:
                    del self._pages[writer]
            return "".join(out)

    def unfinished(self) -> list[str]:
        """Return the rows on the pages: bars, and lines that have been unfinished for a while."""
        with self._lock:
            rows = []
            for page in self._pages.values():
                rows += [row for row in page.rows[: page.at] + page.below(page.at) if row.strip()]
                if page.half and page.seen == page.version:
                    rows.append(page.half)
            return rows

    def close(self) -> str:
        """Return everything that is left, as lines."""
        with self._lock:
            pages, self._pages, self._hidden = self._pages, {}, 0
            return "".join(page.take_all() for page in pages.values())
