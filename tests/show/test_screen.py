"""What a run looks like on a real pseudo-terminal, and elsewhere."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import textwrap
import threading

import pytest
from pseudoterminal import PseudoTerminal

import pipeloom
from pipeloom import rlog
from pipeloom.data.rates import duration
from pipeloom.executors.threads import ThreadExecutor
from pipeloom.show.failures import TIMES

PROGRAM = """
import sys, threading, pipeloom
go_on = threading.Event()
def hear():
    with open("go"):                            # a pipe with a name: opens when the test opens it, too
        go_on.set()
threading.Thread(target=hear, daemon=True).start()
together = threading.Barrier(6)
def work(n, ctx):
    if n == 33:
        raise ValueError("bad \\x1b]0;title\\x07 news")
    if n < 34:
        return
    ctx.progress(1, 2, "half [/red] \\x1b[2J way")
    together.wait(20)                           # six tasks stand side by side until they are told to go on
    go_on.wait(20)
class Item(int):
    name = property(lambda self: f"[/x] \\x1b[2J item {int(self)} \\u202e" + "w" * 200)
report = pipeloom.map(work, [Item(n) for n in range(40)], key=int, db="out.db", workers=6, on_error="collect")
print(report)
"""


@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (200, 50), (40, 14)])
def test_the_live_region_in_the_middle_and_at_the_end(tmp_path, columns, rows):
    """At three sizes: what fits is shown, foreign text is harmless, nothing scrolls away, the end is tidy."""
    os.mkfifo(tmp_path / "go")
    command = [sys.executable, "-c", PROGRAM]
    with PseudoTerminal(command, columns=columns, rows=rows, cwd=tmp_path) as terminal:
        fit = 6

        def is_in_the_middle(text):
            ends = "✗" in text and text.rstrip().endswith("w…")  # the name of the one that failed
            return text.count("▸") == fit and text.count(" 50 %") == fit and "1 failed" in text and ends

        terminal.until(is_in_the_middle)
        assert terminal.lines[0] == ""  # where the next line of output goes
        lines = terminal.lines[1:]
        assert lines[0].startswith("work  ━")
        assert lines[0].endswith(" 34/40  85 %")
        assert lines[1].startswith("  33 done · 1 failed · ")
        for line in lines[2 : 2 + fit]:
            assert re.match(r"  ▸ …3[4-9]( \\u202ew+)?…", line)
            assert " 50 %  " in line
            assert "\x1b" not in line
        if columns >= 80:
            assert all(r"half [/red] " in line for line in lines[2 : 2 + fit])
            assert lines[8].startswith(f"  ✗ 1 {TIMES} ValueError  <string>:11 in work")
        if columns == 200:
            assert r"  bad \x1b]…;title\x07 news  last [/x] \x1b[2J item 33 \u2" in lines[8]
            assert not any(lines[9:])

        with open(tmp_path / "go", "w"):
            code = terminal.finish()

        assert code == 0
        text = terminal.text
        assert "▸" not in text
        assert re.search(r"^work  ━+ 40/40 100 %$", text, re.MULTILINE)
        assert re.search(r"^  finished with failures · 39 done", text, re.MULTILINE)
        assert re.search(r"\d/s on average$", text, re.MULTILINE)
        assert re.search(r"^__main__:work: 39 done, 1 failed in ", text, re.MULTILINE)
        assert r"bad \x1b]0;title" in text
        assert not terminal.screen.cursor.hidden
        assert terminal.modes() == terminal.modes_before
        assert b"\x1b]0;title" not in terminal.raw


def test_a_pipe_gets_plain_lines_and_no_escape_sequences(db):
    """Short runs say nothing on their own; the report is the program's."""
    code = f"import pipeloom; print(pipeloom.map(str, range(3), db={str(db)!r}, name='x'))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)

    assert done.stdout.startswith("x: 3 done")
    assert "\x1b" not in done.stdout + done.stderr


def test_a_long_run_without_a_terminal_says_a_line_now_and_then(db, monkeypatch):
    """Counts, rate and time, as plain text."""
    from rich.console import Console

    out = io.StringIO()
    monkeypatch.setattr(rlog, "console", Console(file=out, width=100))
    monkeypatch.setattr("pipeloom.show.plain._LINE_S", 0.0)
    pipeloom.map(str, range(5), db=db, name="load")

    assert "load: " in out.getvalue()
    assert "/5 ·" in out.getvalue()


def test_the_display_and_the_report_say_the_same_time(db, monkeypatch):
    """From the call to the run's end, even if that was mostly the opening of the file."""
    from rich.console import Console

    pipeloom.map(str, range(5), db=db, name="load", progress=False)
    out = io.StringIO()
    monkeypatch.setattr(rlog, "console", Console(file=out, width=100))
    monkeypatch.setattr("pipeloom.show.plain._LINE_S", 0.0)
    prepare = ThreadExecutor.prepare
    monkeypatch.setattr(ThreadExecutor, "prepare", lambda self: (threading.Event().wait(0.3), prepare(self))[1])
    report = pipeloom.map(str, range(5), db=db, name="load")

    assert report.skipped == 5
    assert report.elapsed_s > 0.3
    assert f"finished · 0 done · 5 skipped · took {duration(report.elapsed_s)}" in out.getvalue()


@pytest.mark.parametrize("is_terminal", [True, False])
def test_the_third_interrupt_is_not_called_an_error(tmp_path, is_terminal):
    """The user left, and the last line says so."""
    code = """
        import os, signal, sys, threading, pipeloom
        import pipeloom.show.plain
        pipeloom.show.plain._LINE_S = 0.0
        def work(n):
            if n == 3:
                for _ in range(3):
                    os.kill(os.getpid(), signal.SIGINT)
                    threading.Event().wait(0.3)
                threading.Event().wait(9)
        pipeloom.map(work, range(20), db="out.db", workers=1)
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    if is_terminal:
        with PseudoTerminal(command, columns=80, rows=24, cwd=tmp_path) as terminal:
            terminal.finish()
            said = terminal.text
    else:
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False)
        said = done.stdout + done.stderr

    assert re.search(r"left at once, \d+ left", said), said
    assert "ended by an error" not in said


def test_progress_false_shows_nothing(db, capfd):
    """Not even on the shared console."""
    pipeloom.map(str, range(5), db=db, name="load", progress=False)

    assert capfd.readouterr() == ("", "")
