"""The live region on a real terminal: who else writes there, and a terminal that takes nothing."""

from __future__ import annotations

import os
import re
import sys
import textwrap
import threading
from collections import Counter
from time import monotonic

import pyte
from pseudoterminal import PseudoTerminal
from rich.segment import Segment

from pipeloom.show.console import SharedConsole

EVERYBODY = """
import logging, os, sys, threading, pipeloom, structlog
from loguru import logger as loguru
from rich.console import Console
from rich.logging import RichHandler
from tqdm import tqdm
logging.basicConfig(level=logging.INFO)
rich = logging.getLogger("rich")
rich.addHandler(RichHandler(console=Console(stderr=True), show_path=False))
rich.propagate = False
printer, writer = structlog.PrintLogger(), structlog.WriteLogger(sys.stderr)   # the latter keeps the write it finds
def say(name, n):
    print(f"<print {name} {n}>")
    print(f"<half {name} {n}", end="", flush=True)
    logging.info("<logging %s %s>", name, n)
    print(">")
    rich.info("<rich %s %s>", name, n)
    loguru.info("<loguru {} {}>", name, n)
    printer.info(f"<printer {name} {n}>")
    writer.info(f"<writer {name} {n}>")
    sys.stdout.buffer.write(f"<bytes {name} {n}>\\n".encode())
    sys.stdout.buffer.flush()
    for _ in tqdm(range(9), desc=f"<tqdm {name} {n}>", mininterval=0.0, ncols=60):
        pass
    child = os.fork()
    if child == 0:
        print(f"<fork {name} {n}>", flush=True)
        os._exit(0)
    os.waitpid(child, 0)
def run(name):
    def work(n):
        if n == 0:
            together.wait(20)
        say(name, n)
        if n == 8:
            pipeloom.map(lambda m: say(f"in{name}", m), range(2), db=f"in{name}.db", name="inner")
    pipeloom.map(work, range(9), db=f"{name}.db", name=name, workers=2)
together = threading.Barrier(2)
def both():
    threads = [threading.Thread(target=run, args=(name,)) for name in ("north", "south")]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
both()
print("all ended")
"""
WAYS = ("print", "half", "logging", "rich", "loguru", "printer", "writer", "bytes", "tqdm", "fork")


def test_every_line_of_everybody_is_on_the_screen_once_and_whole(tmp_path):
    """Two runs at once, and runs within: four logging libraries, bars, half lines, kept writes, forked children."""
    command = [sys.executable, "-W", "ignore", "-c", EVERYBODY]  # Python warns of forks beside threads
    with PseudoTerminal(command, columns=100, rows=400, cwd=tmp_path) as terminal:
        assert terminal.finish() == 0, terminal.text

    said = Counter(re.findall(r"<(\w+ \w+ \d+)>", terminal.text))
    assert said == {
        f"{way} {name} {n}": 1
        for way in WAYS
        for name, count in (("north", 9), ("south", 9), ("innorth", 2), ("insouth", 2))
        for n in range(count)
    }
    torn = [
        line
        for line in terminal.lines
        if not re.fullmatch(
            r"|<(print|half|printer|writer|bytes|fork) \w+ \d+>|INFO:root:<\w+ \w+ \d+>"
            r"|\S* ?\S* +INFO +<rich \w+ \d+> *|.* \| INFO +\| __main__:say:\d+ - <loguru \w+ \d+>"
            r"|<tqdm \w+ \d+>: 100%.* 9/9 \[.*\]"
            r"|\w+  ━+ \d/\d 100 %|  finished · \d done · .*|all ended",
            line,
        )
    ]
    assert torn == []
    assert b"\x1b[?25l" not in terminal.raw


BEHIND = """
import os, pipeloom
def ask(name):
    with open(name):                                # a pipe with a name: opens when the test opens it, too
        pass
def work(n, ctx):
    ctx.progress(1, 2, "at work")
    ask("one")
    os.write(1, b"ask: ")
    ask("two")
    os.write(1, b"answer\\n")
    region = pipeloom.console.region
    region.pause()
    os.write(1, b"at the shell\\n")
    ask("three")
    region.resume()
    ask("four")
pipeloom.map(work, [1], db="out.db", name="x")
"""


def test_what_is_written_behind_its_back_is_where_it_belongs(tmp_path):
    """The frame is below, even below half a line, at any size; while it is paused it is not there."""
    for name in ("one", "two", "three", "four"):
        os.mkfifo(tmp_path / name)
    with PseudoTerminal([sys.executable, "-c", BEHIND], columns=60, rows=12, cwd=tmp_path) as terminal:

        def go_on(name):
            with open(tmp_path / name, "w"):
                pass

        terminal.until("at work")
        go_on("one")
        terminal.until(lambda _: terminal.lines[0] == "ask:" and "▸" in terminal.text)
        terminal.resize(40, 12)
        terminal.until(lambda _: re.fullmatch("x  ─+ 0/1   0 %", terminal.lines[1]))
        assert terminal.lines[0] == "ask:"
        assert (terminal.screen.cursor.y, terminal.screen.cursor.x) == (0, 5)
        go_on("two")
        shown = ["ask: answer", "at the shell"]
        terminal.until(lambda _: terminal.lines[:2] == shown and not any(terminal.lines[2:]))
        go_on("three")
        terminal.until(lambda _: terminal.lines[2] == "" and "▸" in terminal.text)
        go_on("four")
        assert terminal.finish() == 0
    assert re.fullmatch("x  ━+ 1/1 100 %", terminal.lines[2])


STOPPED = """
import threading, pipeloom
def tell(name):
    with open(name, "w"):
        pass
def work(n, ctx):
    if n == 1:
        ctx.progress(1, 2, "at work")
        with open("go"):
            pass
        for line in range(20):
            print(f"<{line}>")
    elif n == 2:
        threading.Event().wait()                    # only its time limit ends it
pipeloom.map(work, [1, 2], db="out.db", name="x", workers=2, timeout=1.0, on_error="collect")
tell("ended")
with open("go"):
    pass
print("all ended")
"""


def test_a_terminal_that_takes_nothing_holds_up_neither_run_nor_lines(tmp_path):
    """After Ctrl-S the run ends, with its time limits; after Ctrl-Q everything that was said is there, in order."""
    for name in ("go", "ended"):
        os.mkfifo(tmp_path / name)
    with PseudoTerminal([sys.executable, "-c", STOPPED], columns=60, rows=40, cwd=tmp_path) as terminal:
        terminal.until("at work")
        terminal.type("\x13")
        with open(tmp_path / "go", "w"):
            pass
        with open(tmp_path / "ended"):
            pass
        terminal.read(0.0)
        assert "<0>" not in terminal.text
        terminal.type("\x11")
        with open(tmp_path / "go", "w"):
            pass
        assert terminal.finish() == 0
    assert re.findall(r"<(\d+)>", terminal.text) == [str(n) for n in range(20)]
    assert terminal.text.index("<19>") < terminal.text.index("2/2 100 %") < terminal.text.index("all ended")


class SlowSection:
    """Its first frame takes until somebody lets it go on."""

    def __init__(self):
        self.is_asked, self.go_on = threading.Event(), threading.Event()

    @property
    def frame(self):
        self.is_asked.set()
        assert self.go_on.wait(20)
        return [Segment("still here")]


def test_a_frame_that_was_made_as_its_section_left_does_not_stay():
    """The region's thread reads a section without a lock."""
    ours, theirs = os.openpty()
    console, section = SharedConsole(), SlowSection()
    with os.fdopen(theirs, "w") as stream:
        console.file = stream
        console.region.join(section)
        assert section.is_asked.wait(20)
        leaving = threading.Thread(target=console.region.leave, args=(section, [Segment("its end")]))
        leaving.start()
        deadline = monotonic() + 20
        while console.region._sections and monotonic() < deadline:
            pass
        section.go_on.set()
        leaving.join(20)
        screen = pyte.Screen(80, 24)
        pyte.ByteStream(screen).feed(os.read(ours, 65536))
    os.close(ours)

    assert [line.rstrip() for line in screen.display if line.strip()] == ["its end"]


def test_a_run_in_a_daemon_thread_leaves_a_clean_terminal(tmp_path):
    """When the program ends before it: no frame, a cursor, the modes as they were."""
    code = """
        import threading, pipeloom
        def work(n):
            print("half a line", end="")
            at_work.set()
            threading.Event().wait()
        at_work = threading.Event()
        run = lambda: pipeloom.map(work, [1], db="out.db", name="x")
        threading.Thread(target=run, daemon=True).start()
        at_work.wait(20)
        with open("go"):
            pass
        print("ends")
    """
    os.mkfifo(tmp_path / "go")
    with PseudoTerminal([sys.executable, "-c", textwrap.dedent(code)], cwd=tmp_path) as terminal:
        terminal.until("▸")
        with open(tmp_path / "go", "w"):
            pass
        terminal.until("ends")
        terminal.finish()
        assert terminal.lines[0] == "ends"
        assert "half a line" in terminal.lines
        assert "▸" not in terminal.text
        assert not terminal.screen.cursor.hidden
        assert terminal.modes() == terminal.modes_before
