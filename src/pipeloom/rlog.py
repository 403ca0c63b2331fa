"""The one shared console, and logging that speaks through it.

The console writes to standard error, so that a program's own output can be piped; two consoles on one terminal
would fight over the cursor.
"""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console
from rich.logging import RichHandler
from rich.text import Text

from pipeloom.errors import StorageError
from pipeloom.text import clean, clean_block

if TYPE_CHECKING:
    from rich.live import Live

__all__ = ["console", "logger", "setup_logging"]


class SharedConsole(Console):
    """A console on which threads take turns while a live region is up.

    To print above the region, Rich notes its height, draws, and then writes, and holds the region's lock only for
    the first of these. Two threads that do so at once erase each other's lines when the height has changed.
    """

    _turn: AbstractContextManager[Any] = nullcontext()

    def take_turns(self, live: Live | None) -> None:
        """Print under this region's lock from now on, the one its own refresh takes first; ``None`` ends it."""
        self._turn = getattr(live, "_lock", nullcontext())

    def print(self, *objects: Any, **options: Any) -> None:
        """Print as Rich does; any thread."""
        with self._turn:
            super().print(*objects, **options)


console: Final = SharedConsole(stderr=True)
logger: Final = logging.getLogger("pipeloom")

_LEVELS: Final = (logging.WARNING, logging.INFO, logging.DEBUG)


class _CleanHandler(RichHandler):
    """Shows foreign text harmlessly: no markup, no escape sequences."""

    def render_message(self, record: logging.LogRecord, message: str) -> Text:  # noqa: ARG002 - Rich's signature
        return Text(clean_block(message))


def setup_logging(verbose: int, log_file: Path | None = None) -> None:
    """Send this package's log records to the shared console, and to a file when asked; calling again replaces.

    Args:
        verbose: 0 shows warnings, 1 information, 2 or more everything.
        log_file: Gets the same records as plain text, appended, UTF-8.

    Raises:
        StorageError: The file cannot be opened.
    """
    level = _LEVELS[max(0, min(verbose, 2))]
    handlers: list[logging.Handler] = [_CleanHandler(console=console, show_path=False, markup=False)]
    if log_file is not None:
        try:
            to_file = logging.FileHandler(log_file, encoding="utf-8", errors="backslashreplace")
        except OSError as error:
            raise StorageError(f"{clean(log_file)}: cannot write the log here: {error.strerror}") from error
        to_file.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        handlers.append(to_file)
    for old in logger.handlers[:]:
        logger.removeHandler(old)
        old.close()
    for handler in handlers:
        handler.setLevel(level)
        logger.addHandler(handler)
    logger.setLevel(level)
    logger.propagate = False
