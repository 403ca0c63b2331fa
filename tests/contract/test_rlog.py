"""``pipeloom.rlog``: the shared console, and logging that speaks through it."""

from __future__ import annotations

import io
import logging
import sys

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
    """0 warning, 1 info, 2 and more debug; one RichHandler on the root logger, however often it is called."""
    for _ in range(2):
        rlog.setup_logging(verbose)
    (handler,) = [handler for handler in logging.getLogger().handlers if isinstance(handler, RichHandler)]

    assert rlog.logger.getEffectiveLevel() == level
    assert handler.level == level
    assert handler.console is rlog.console
    assert not rlog.logger.handlers


@pytest.mark.parametrize("verbose", [0, 1, 2])
def test_what_is_logged_is_shown_from_that_level_on(verbose, capsys):
    """On the console, once: of this package's modules, and of the program's own."""
    rlog.setup_logging(verbose)
    for name in ("pipeloom.writer", "theirs"):
        for level in (logging.DEBUG, logging.INFO, logging.WARNING):
            logging.getLogger(name).log(level, "%s at %s", name, logging.getLevelName(level).lower())
    shown = capsys.readouterr().err

    for name in ("pipeloom.writer", "theirs"):
        assert [shown.count(f"{name} at {word}") for word in ("warning", "info", "debug")] == [
            1,
            verbose >= 1,
            verbose >= 2,
        ]


def test_handlers_of_the_program_stay_and_nothing_is_shown_twice(package_log):
    """What its own handler writes to standard error is there already; a later call takes our level back."""
    root = logging.getLogger()
    root.setLevel(logging.WARNING)
    captured, own = io.StringIO(), logging.StreamHandler(sys.stderr)
    root.addHandler(own)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(own, "stream", captured)
            patch.setattr(sys, "stderr", captured)
            rlog.setup_logging(2)
            logging.getLogger("theirs").debug("once")
            own.setLevel(logging.WARNING)
            logging.getLogger("theirs").info("ours alone")
            rlog.setup_logging(0)
            assert own in root.handlers
            assert root.level == logging.WARNING
    finally:
        root.removeHandler(own)

    assert captured.getvalue().count("once") == 1
    assert captured.getvalue().count("ours alone") == 1


def test_a_log_file_gets_the_records_as_plain_text(tmp_path):
    """Beside the console; markup and escape sequences of Rich's are not in it."""
    path = tmp_path / "run.log"
    rlog.setup_logging(verbose=1, log_file=path)
    rlog.logger.info("half [/way] there")
    rlog.logger.debug("not this")
    (to_file,) = [handler for handler in logging.getLogger().handlers if type(handler) is logging.FileHandler]
    to_file.flush()
    text = path.read_text()

    assert "half [/way] there" in text
    assert "INFO" in text
    assert "\x1b" not in text
    assert "not this" not in text


def test_a_record_in_a_pipe_is_not_wrapped(capsys):
    """Whoever searches a log finds a sentence on one line, with its time and level."""
    sentence = " ".join(f"word{n}" for n in range(60))
    rlog.setup_logging(verbose=1)
    logging.getLogger("theirs").info("%s [/way] \x1b[2J", sentence)
    (line,) = capsys.readouterr().err.splitlines()

    assert line.endswith(f"] INFO     {sentence} [/way] \\x1b[2J")


def test_it_has_its_promised_names():
    """What people import from it."""
    assert {"console", "logger", "setup_logging"} <= set(rlog.__all__)
