"""``pipeloom watch`` on a real terminal: what it shows, and that it gives the terminal back."""

from __future__ import annotations

import os
import re
import shlex
import signal
import sys

import pytest
from pseudoterminal import PseudoTerminal

import pipeloom

pytestmark = pytest.mark.slow
WATCH = [sys.executable, "-m", "pipeloom", "watch", "--db", "out.db"]


@pytest.fixture
def watch(tmp_path):
    """Watch ``out.db`` on a terminal of this size."""
    opened = []

    def start(columns=80, rows=24, command=WATCH, **env):
        terminal = PseudoTerminal(command, columns=columns, rows=rows, cwd=tmp_path, env=env)
        opened.append(terminal)
        return terminal

    yield start
    for terminal in opened:
        terminal.__exit__(None, None, None)


def was_given_back(terminal):
    """Say whether the terminal is as it was: modes, cursor, the screen from before."""
    return (
        terminal.modes() == terminal.modes_before
        and not terminal.screen.cursor.hidden
        and terminal.raw.count(b"\x1b[?1049h") == terminal.raw.count(b"\x1b[?1049l") > 0
    )


@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (200, 50)])
def test_a_run_from_before_its_file_to_after_the_next(db, watch, held, columns, rows):
    """Waits for the file; the run in its middle; its end with totals; the next run of another pipeline; q."""
    terminal = watch(columns, rows)
    terminal.until("to stop.")
    with held(range(8), fails=(2,)) as end:
        terminal.until(lambda text: text.count("▸") == 6 and text.count(" 50 %") == 6 and "Running 6" in text)
        lines = terminal.lines
        assert lines[0].startswith("load  run 1  running")
        assert lines[0].endswith("  out.db")
        assert lines[1].endswith("── 0/8   0 %")
        assert len(lines[1]) == columns
        assert "Running 6" in lines[3]
        assert [line[:5] for line in lines[4:10]] == [f"  ▸ {n}" for n in range(6)]
        assert "half way 5" in lines[9]
        assert lines[-1].startswith("q quit")
        end()
    terminal.until("waiting for the next run")
    lines = terminal.lines
    assert lines[0].startswith("load  run 1  error")
    assert "8/8 100 %" in lines[1]
    assert lines[2].startswith("finished with failures · 7 done · 1 failed · took ")
    assert any(line.startswith("  ✗ 1 \N{MULTIPLICATION SIGN} ValueError  conftest.py:") for line in lines)
    with held(range(3), name="other") as end:
        terminal.until("other  run 2  running")
        end()
    terminal.until("other  run 2  done")
    terminal.type("q")
    assert terminal.finish() == 0
    assert was_given_back(terminal)


def test_keys_select_open_and_turn_pages(db, watch, held):
    """A failure in full and back; groups, runs, help; a resize in between."""
    with held(range(8), fails=(6, 7)) as end:
        end()
    terminal = watch()
    terminal.until("Failures by kind")
    terminal.type("\x1b[B\r")
    terminal.until("Traceback (most recent call last):")
    assert re.search(r"ValueError: no [67]", terminal.text)
    terminal.type("\x1b")
    terminal.until("Failures by kind")
    terminal.type("\t")
    terminal.until(lambda text: "  ✗ 6  ValueError: no 6" in text and "Failures by kind" not in text)
    terminal.type("\x1bOC")
    terminal.until(lambda text: "  ✗ 2 \N{MULTIPLICATION SIGN} ValueError  " in text and "no …  last " in text)
    terminal.resize(120, 12)
    terminal.until(lambda text: re.search(r"ValueError  conftest.py:\d+ in work  no …  last", text))  # in one row
    assert terminal.lines[-1].startswith("q quit")
    terminal.type("\t\x1b[B\r")
    terminal.until("inputs  8 of 8")
    terminal.type("q?")
    terminal.until("Keys")
    terminal.type("qq")
    assert terminal.finish() == 0
    assert was_given_back(terminal)


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGTERM, 143), (signal.SIGINT, 0), (signal.SIGHUP, 129), (signal.SIGQUIT, 131)],
)
def test_signals_end_it_and_the_terminal_is_as_it_was(watch, number, code):
    """Whichever it is."""
    terminal = watch()
    terminal.until("to stop.")
    assert terminal.modes() != terminal.modes_before
    terminal.process.send_signal(number)
    assert terminal.finish() == code
    assert was_given_back(terminal)


def test_ctrl_c_ends_it(watch):
    """As a key that the terminal turns into a signal."""
    terminal = watch()
    terminal.until("to stop.")
    terminal.type("\x03")
    assert terminal.finish() == 0
    assert was_given_back(terminal)


def test_an_error_of_its_own_gives_the_terminal_back(watch):
    """One sentence, after the screen from before is back."""
    broken = (
        "import sys; from pipeloom.cli import main; from pipeloom.cli.watching import drawing, live\n"
        "def draw(*_, **__): raise RuntimeError('a bug')\n"
        "live.draw = draw\n"
        "sys.argv = ['pipeloom', 'watch', '--db', 'out.db']; main()"
    )
    terminal = watch(command=[sys.executable, "-c", broken])
    assert terminal.finish() == 1
    assert was_given_back(terminal)
    assert "pipeloom: RuntimeError: a bug" in terminal.text
    assert "Traceback" not in terminal.text


def test_ctrl_z_gives_the_terminal_back_until_it_goes_on(watch):
    """Under a shell with job control; afterwards everything is drawn again."""
    script = (
        f"set -m; {shlex.join(WATCH)}; echo stopped; stty -a | grep -c ' echo '; read go; fg >/dev/null; echo over"
    )
    terminal = watch(command=["bash", "-c", script])
    terminal.until("to stop.")
    terminal.type("\x1a")
    terminal.until(lambda text: "stopped\n1\n" in text)
    assert terminal.modes() == terminal.modes_before
    assert was_given_back(terminal)
    terminal.screen.reset()
    terminal.type("\n")
    terminal.until("to stop.")
    assert terminal.lines[-1].startswith("q quit")
    terminal.type("q")
    assert terminal.finish() == 0
    assert was_given_back(terminal)


def test_replaced_and_removed_files_are_said_to_be_so(db, watch, tmp_path):
    """And what is there now is shown."""
    pipeloom.map(str, range(3), db=db, name="first", progress=False)
    pipeloom.map(str, range(3), db=tmp_path / "new.db", name="second", progress=False)
    terminal = watch()
    terminal.until("first  run 1  done")
    (tmp_path / "new.db").replace(db)
    terminal.until("second  run 1  done")
    assert "the file was replaced" in terminal.text
    db.unlink()
    terminal.until("the file was removed: waiting for a new one")
    assert "second  run 1  done" in terminal.text
    terminal.type("q")
    assert terminal.finish() == 0


@pytest.mark.parametrize("kind", ["dumb", "pipe"])
def test_without_a_screen_it_prints_plain_lines(db, watch, tmp_path, kind):
    """No escape sequence; one line at once, one for each thing that happens."""
    pipeloom.map(str, range(3), db=db, name="load", progress=False)
    piped = ["sh", "-c", f"{shlex.join(WATCH)} | cat"]
    terminal = watch(TERM="dumb") if kind == "dumb" else watch(command=piped)
    terminal.until("load, run 1: 3/3 · finished · 3 done · took ")
    db.unlink()
    terminal.until("out.db: the file was removed: waiting for a new one")
    assert b"\x1b" not in terminal.raw
    os.killpg(terminal.process.pid, signal.SIGINT)
    terminal.finish()
