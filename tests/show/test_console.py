"""The shared console on a real pseudo-terminal: displays side by side, and everything that is printed meanwhile."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import textwrap
from collections import Counter

import pytest
from pseudoterminal import PseudoTerminal
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from pipeloom.show.console import SharedConsole

TOGETHER = """
import sys, threading, pipeloom, pipeloom.show.live
pipeloom.show.live._REDRAW_S = 0.0                 # as often as a long run draws, in a short one
def run(name, fn, items=range(150), **options):
    def work(n, ctx):
        ctx.progress(1, 2, "half way")
        print(f"<{name}:{n}>")
        return fn(n) if fn else None
    return pipeloom.map(work, items, db=f"{name}.db", name=name, workers=4, **options)
def threads():
    both = threading.Barrier(2)
    def meet(n):
        if n in (0, 149):                       # neither ends before the other has begun
            both.wait(20)
    threads = [threading.Thread(target=run, args=(name, meet), daemon=True) for name in ("north", "south")]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
def nested():
    run("outer", lambda n: run(f"inner{n}", None, range(30)).done, range(5))
def within_bars():
    with pipeloom.make_overall_progress() as bars:
        task = bars.add_task("all", total=150)
        run("inner", lambda n: bars.advance(task))
def bars(n):
    with pipeloom.make_task_progress() as progress:
        bar = progress.add_task("some", total=9)
        for _ in range(2 + n % 7):              # some end long before others
            progress.advance(bar)
            progress.refresh()
def bars_in_tasks():
    run("outer", bars, range(40))
def bars_alone():
    run("outer", bars, range(40), progress=False)
globals()[sys.argv[1]]()
print("all ended")
"""
LINES = {
    "threads": [f"<{name}:{n}>" for name in ("north", "south") for n in range(150)],
    "nested": [f"<outer:{n}>" for n in range(5)] + [f"<inner{n}:{m}>" for n in range(5) for m in range(30)],
    "within_bars": [f"<inner:{n}>" for n in range(150)],
    "bars_in_tasks": [f"<outer:{n}>" for n in range(40)],
    "bars_alone": [f"<outer:{n}>" for n in range(40)],
}


@pytest.mark.parametrize("how", LINES)
def test_displays_side_by_side_end_and_lose_no_line(tmp_path, how):
    """Runs in two threads, runs within tasks, and bars of the program's own: on one terminal, never a deadlock."""
    with PseudoTerminal([sys.executable, "-c", TOGETHER, how], cwd=tmp_path) as terminal:
        code = terminal.finish()

    assert code == 0, terminal.text
    assert "all ended" in terminal.text
    said = Counter(re.findall(r"<\w+:\d+>", terminal.raw.decode()))
    # A line whose end comes later is drawn in the region, too, until then.
    assert set(said) == set(LINES[how])
    assert not terminal.screen.cursor.hidden


def test_lines_that_are_printed_while_displays_begin_and_end_stay(tmp_path):
    """A display that ends draws itself for the last time: who prints then must not draw it again, or over it."""
    code = """
        import pipeloom, threading
        over, counts = threading.Event(), []
        def say():
            n = 0
            while not over.is_set() and n < 400:
                (pipeloom.console.print if n % 2 else pipeloom.console.log)(f"<{n}>")
                n += 1
                over.wait(0.004)
            counts.append(n)
        thread = threading.Thread(target=say)
        thread.start()
        for n in range(15):
            pipeloom.map(str, range(20), db=":memory:", name=f"run{n:02}")
        over.set()
        thread.join()
        print("lines:", *counts)
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    with PseudoTerminal(command, columns=100, rows=600, cwd=tmp_path) as terminal:
        assert terminal.finish() == 0

    said = int(re.search(r"lines: (\d+)", terminal.text).group(1))
    assert Counter(re.findall(r"<(\d+)>", terminal.text)) == Counter(map(str, range(said)))
    assert Counter(re.findall(r"(run\d\d)  ━+ 20/20 100 %", terminal.text)) == {f"run{n:02}": 1 for n in range(15)}


def test_of_several_bars_in_tasks_those_stay_that_have_not_ended(tmp_path):
    """Rich would forget the one that began last, whichever has ended."""
    code = """
        import pipeloom, threading
        both = threading.Barrier(2)
        def work(name):
            if name == "south":
                begun.wait(20)
            with pipeloom.make_task_progress() as bars:
                bars.add_task(f"bar of {name}", total=None)
                begun.set()
                both.wait(20)
                with open(f"go-{name}"):                # a pipe with a name: opens when the test opens it, too
                    pass
        begun = threading.Event()
        pipeloom.map(work, ["north", "south"], db="out.db", name="x", workers=2)
    """
    for name in ("north", "south"):
        os.mkfifo(tmp_path / f"go-{name}")
    with PseudoTerminal([sys.executable, "-c", textwrap.dedent(code)], cwd=tmp_path) as terminal:
        terminal.until(lambda text: "bar of north" in text and "bar of south" in text)
        with open(tmp_path / "go-north", "w"):
            terminal.until(lambda text: "bar of north" not in text and "bar of south" in text)
        with open(tmp_path / "go-south", "w"):
            assert terminal.finish() == 0


def test_runs_side_by_side_share_the_region(tmp_path):
    """Both are seen while they run; what ended stands above what goes on, and everything is there at the end."""
    code = """
        import threading, pipeloom
        both = threading.Barrier(2)
        south_ended, go_on = threading.Event(), threading.Event()
        def wait(name):
            def work(n):
                both.wait(20)
                with open(f"go-{name}"):                # a pipe with a name: opens when the test opens it, too
                    pass
            pipeloom.map(work, [1], db=f"{name}.db", name=name)
        threads = [threading.Thread(target=wait, args=(name,), daemon=True) for name in ("north", "south")]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
    """
    for name in ("north", "south"):
        os.mkfifo(tmp_path / f"go-{name}")
    command = [sys.executable, "-c", textwrap.dedent(code)]
    with PseudoTerminal(command, columns=80, rows=12, cwd=tmp_path) as terminal:
        terminal.until(lambda text: text.count("▸ 1") == 2 and "north  ─" in text and "south  ─" in text)
        with open(tmp_path / "go-south", "w"):
            terminal.until(lambda text: re.search("south  ━+ 1/1 100 %", text) and "▸ 1" in text)
        assert terminal.text.index("south  ━") < terminal.text.index("north  ─")
        with open(tmp_path / "go-north", "w"):
            assert terminal.finish() == 0
        assert [line.split()[0] for line in terminal.lines if "100 %" in line] == ["south", "north"]
        assert "▸" not in terminal.text


@pytest.mark.outputs
@pytest.mark.parametrize("bars", ["", "with pipeloom.make_overall_progress() as bars:\n    "], ids=["run", "bars"])
def test_what_tasks_print_goes_where_stdout_goes(tmp_path, bars):
    """A redirected standard output gets it, although the screen is on the terminal, alone or below other bars."""
    call = "pipeloom.map(lambda n: print('task', n), range(20), db='out.db', workers=1, name='x')"
    code = f"import pipeloom\n{bars}{call}"
    command = ["sh", "-c", 'exec "$0" "$@" >out.txt', sys.executable, "-c", code]
    with PseudoTerminal(command, cwd=tmp_path) as terminal:
        assert terminal.finish() == 0

    assert (tmp_path / "out.txt").read_text().splitlines() == [f"task {n}" for n in range(20)]
    assert "task" not in terminal.text
    assert "20/20 100 %" in terminal.text


def test_a_line_without_an_end_is_not_lost(tmp_path):
    """It is drawn when the screen goes."""
    code = "import pipeloom; pipeloom.map(lambda n: print('half a line', end=''), [1], db='out.db', name='x')"
    with PseudoTerminal([sys.executable, "-c", code], cwd=tmp_path) as terminal:
        assert terminal.finish() == 0

    assert "half a line" in terminal.text


@pytest.mark.outputs
def test_a_standard_error_that_lacks_a_letter_shows_its_escape(tmp_path):
    """A stream of the user's own, which is strict."""
    code = """
        import io, sys, pipeloom
        sys.stderr = io.TextIOWrapper(sys.stderr.buffer, encoding="ascii", line_buffering=True)
        pipeloom.console.print("caf\\xe9 and plain")
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], cwd=tmp_path, capture_output=True, timeout=30, check=True
    )

    assert done.stderr == b"caf\\xe9 and plain\n"


def test_a_stream_that_lacks_letters_gets_others_of_the_same_width():
    """Sixty escapes in the place of a bar would be four rows."""
    console = SharedConsole()
    with io.TextIOWrapper(io.BytesIO(), encoding="latin-1") as stream:
        console.file = stream
        said = console.encode([Segment("▸ ━━ 50 % · x é ✗ …\u4e2d")])

    assert said == b"> == 50 % | x \xe9 x ~\\u4e2d"


def test_text_in_a_file_is_not_wrapped(monkeypatch):
    """Whoever searches it finds a sentence on one line; tables keep their width."""
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    console, written = SharedConsole(), io.StringIO()
    console.file = written
    sentence = " ".join(f"word{n}" for n in range(60))
    table = Table(box=None, show_header=False)
    table.add_row(sentence)
    console.print(sentence)
    console.print(Text(sentence), "end")
    console.print(table)
    first, second, *others = written.getvalue().splitlines()

    assert (first, second) == (sentence, f"{sentence} end")
    assert len(others) > 1
