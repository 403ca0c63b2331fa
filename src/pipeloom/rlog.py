"""Logging through the shared console, so that log lines do not disturb a live display."""

from __future__ import annotations

import logging
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rich.logging import RichHandler
from rich.text import Text

from pipeloom.data.text import clean, clean_block
from pipeloom.errors import StorageError
from pipeloom.show.console import console

if TYPE_CHECKING:
    from rich.console import ConsoleRenderable
    from rich.traceback import Traceback

__all__ = ["console", "logger", "setup_logging"]

logger: Final = logging.getLogger("pipeloom")

_ours: Final[list[logging.Handler]] = []  # on the root logger
_lowered: Final[list[int]] = []  # the root logger's original level, and the level that was set here

_LEVELS: Final = (logging.WARNING, logging.INFO, logging.DEBUG)


class _CleanHandler(RichHandler):
    """Shows foreign text safely: no markup, no escape sequences."""

    def render_message(self, record: logging.LogRecord, message: str) -> Text:  # noqa: ARG002 - Rich's signature
        return Text(clean_block(message))

    def render(
        self, *, record: logging.LogRecord, traceback: Traceback | None, message_renderable: ConsoleRenderable
    ) -> ConsoleRenderable:
        """Return a record with its time and level: as columns on a terminal, else as lines that are not wrapped."""
        if self.console.is_terminal:
            return super().render(record=record, traceback=traceback, message_renderable=message_renderable)
        at = time.strftime("[%x %X]", time.localtime(record.created))
        return Text(f"{at} {record.levelname:<8} {message_renderable}")

    def emit(self, record: logging.LogRecord) -> None:
        """Show a record, unless one of the program's own handlers already shows it in the same place."""
        if not _is_shown_by_another(record):
            super().emit(record)


def _is_shown_by_another(record: logging.LogRecord) -> bool:
    here: logging.Logger | None = logging.getLogger(record.name)
    while here is not None:
        for handler in here.handlers:
            if handler not in _ours and record.levelno >= handler.level and _speaks_on_stderr(handler):
                return True
        here = here.parent if here.propagate else None
    return False


def _speaks_on_stderr(handler: logging.Handler) -> bool:
    stream = handler.console.file if isinstance(handler, RichHandler) else getattr(handler, "stream", None)
    return stream is not None and stream in (sys.stderr, sys.__stderr__)


def setup_logging(verbose: int, log_file: Path | None = None) -> None:
    """Send the program's log records to the shared console and, optionally, to a file.

    The handlers are attached to the root logger, whose level is lowered if necessary. A second call replaces them
    and restores the level first. The program's own handlers are kept; a record that one of them writes to standard
    error is not shown there twice.

    Args:
        verbose: 0 shows warnings, 1 adds information, 2 or more shows everything.
        log_file: A file to which the same records are appended as plain text, in UTF-8; ``None`` for no file.

    Raises:
        StorageError: The log file cannot be opened.
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
    root = logging.getLogger()
    for old in _ours:
        root.removeHandler(old)
        old.close()
    _ours[:] = handlers
    for handler in handlers:
        handler.setLevel(level)
        root.addHandler(handler)
    if _lowered and root.level == _lowered[1]:
        root.setLevel(_lowered[0])
    _lowered[:] = root.level, min(root.level, level)
    root.setLevel(_lowered[1])
    logger.setLevel(level)
    logger.propagate = True
