"""Logging that speaks through the one shared console, where a live display may be."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Final

from rich.logging import RichHandler
from rich.text import Text

from pipeloom.data.text import clean, clean_block
from pipeloom.errors import StorageError
from pipeloom.show.console import console

__all__ = ["console", "logger", "setup_logging"]

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
