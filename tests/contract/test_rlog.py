"""``pipeloom.rlog``: the shared console, and logging that speaks through it."""

from __future__ import annotations

import logging

import pytest
from rich.console import Console
from rich.logging import RichHandler

from pipeloom import rlog


def test_there_is_one_console_and_one_logger():
    """Shared by everything that speaks."""
    assert isinstance(rlog.console, Console)
    assert isinstance(rlog.logger, logging.Logger)
    assert rlog.logger is logging.getLogger("pipeloom")


@pytest.mark.parametrize(
    ("verbose", "level"), [(0, logging.WARNING), (1, logging.INFO), (2, logging.DEBUG), (7, logging.DEBUG)]
)
def test_verbose_chooses_the_level(verbose, level):
    """0 warning, 1 info, 2 and more debug; one RichHandler on the shared console, however often it is called."""
    for _ in range(2):
        rlog.setup_logging(verbose)
    (handler,) = rlog.logger.handlers

    assert rlog.logger.getEffectiveLevel() == level
    assert isinstance(handler, RichHandler)
    assert handler.console is rlog.console


@pytest.mark.parametrize("verbose", [0, 1, 2])
def test_what_is_logged_is_shown_from_that_level_on(verbose, capsys):
    """On the console, and of this package's modules too."""
    rlog.setup_logging(verbose)
    for level in (logging.DEBUG, logging.INFO, logging.WARNING):
        logging.getLogger("pipeloom.writer").log(level, "said at %s", logging.getLevelName(level).lower())
    shown = capsys.readouterr().err

    assert ("said at warning" in shown, "said at info" in shown, "said at debug" in shown) == (
        True,
        verbose >= 1,
        verbose >= 2,
    )


def test_a_log_file_gets_the_records_as_plain_text(tmp_path):
    """Beside the console; markup and escape sequences of Rich's are not in it."""
    path = tmp_path / "run.log"
    rlog.setup_logging(verbose=1, log_file=path)
    rlog.logger.info("half [/way] there")
    rlog.logger.debug("not this")
    kinds = [type(handler) for handler in rlog.logger.handlers]
    for handler in rlog.logger.handlers:
        handler.flush()
    text = path.read_text()

    assert len(kinds) == 2
    assert logging.FileHandler in kinds
    assert "half [/way] there" in text
    assert "INFO" in text
    assert "\x1b" not in text
    assert "not this" not in text


def test_it_has_its_promised_names():
    """What people import from it."""
    assert {"console", "logger", "setup_logging"} <= set(rlog.__all__)
