"""What a run looks like on a real pseudo-terminal, and elsewhere."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import struct
import subprocess
import sys
import termios

import pyte
import pytest

import pipeloom
from pipeloom import rlog

PROGRAM = """
import threading, pipeloom
together = threading.Barrier(6)
def work(n, ctx):
    ctx.progress(1, 2, "half [/red] \\x1b[2J way")
    if n < 6:
        together.wait(20)                       # six tasks stand side by side for a while
        for _ in range(3):
            ctx.query("SELECT 1")
        threading.Event().wait(0.6)             # long enough for the screen to be drawn
    if n == 7:
        raise ValueError("bad \\x1b]0;title\\x07 news")
class Item(int):
    name = property(lambda self: f"[/x] \\x1b[2J item {int(self)} \\u202e" + "w" * 200)
report = pipeloom.map(work, [Item(n) for n in range(40)], key=int, db=DB, workers=6, on_error="collect")
print(report)
"""


def frames(code: str, columns: int, rows: int) -> list[list[str]]:
    """Run a program in a terminal of this size; return the screen after each piece of output."""
    child, terminal = pty.fork()
    if child == 0:
        os.environ.update(TERM="xterm-256color", COLUMNS=str(columns), LINES=str(rows))
        os.execv(sys.executable, [sys.executable, "-c", code])
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    screen = pyte.Screen(columns, rows)
    stream = pyte.ByteStream(screen)
    seen = []
    while True:
        try:
            piece = os.read(terminal, 65536)
        except OSError:
            break
        if not piece:
            break
        stream.feed(piece)
        seen.append([line.rstrip() for line in screen.display])
    _, status = os.waitpid(child, 0)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 0, "\n".join(seen[-1]) if seen else "no output"
    return seen


@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (40, 10)])
def test_live_region_shows_counts_running_tasks_and_failures(db, columns, rows):
    """At two sizes: what fits is shown, foreign text is harmless, nothing scrolls away."""
    seen = frames(f"DB = {str(db)!r}\n" + PROGRAM, columns, rows)

    running = [frame for frame in seen if sum("▸" in line for line in frame) >= min(6, rows - 5)]
    assert running, "no frame showed the running tasks"
    frame = running[-1]
    assert frame[0].startswith("work")
    assert "/40" in frame[0]
    assert any("50 %" in line for line in frame)
    assert any(r"[/x] \x1b" in line for line in frame)
    last = "\n".join(seen[-1])
    assert "39 done" in last
    assert r"bad \x1b]0;title" in last
    assert not any("▸" in line for line in seen[-1])


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
    monkeypatch.setattr("pipeloom.screen._LINE_S", 0.0)
    pipeloom.map(str, range(5), db=db, name="load")

    assert "load: " in out.getvalue()
    assert "/5 ·" in out.getvalue()


def test_progress_false_shows_nothing(db, capfd):
    """Not even on the shared console."""
    pipeloom.map(str, range(5), db=db, name="load", progress=False)

    assert capfd.readouterr() == ("", "")
