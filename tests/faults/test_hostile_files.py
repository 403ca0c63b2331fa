"""Files that would cost a reader its memory or its time: each command answers, or says why not. (P9, P16)"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from threading import Timer

import pytest

import pipeloom
from faults.hostile_files import HOSTILE_FILES, make_hostile
from faults.tools import DONE, FAILED, FULL, STORAGE, sample
from pipeloom import connect_readonly

ADDRESS_SPACE = 2 << 30
MOST_MEMORY = 512 << 10  # KiB that a process had at once
LIMIT_S = 30
SLOW = ("a view with many rows", "a view with many runs")  # each of their questions takes its whole deadline
COMMANDS = (
    "status", "tasks", "errors", "show 2", "logs 2", "runs", "report -o -", "doctor", "cancel", "show 2 --json",
    "status -f json", "tasks --json", "errors --json", "logs 2 --json", "runs --json", "report --json",
)  # fmt: skip


# What the system says of a child's memory begins with what its parent had when it forked.
COMMAND = """
import atexit, pathlib, re, sys
def note():
    peak.write_text(re.search(r"VmHWM:.*", pathlib.Path("/proc/self/status").read_text())[0])
peak = pathlib.Path(sys.argv.pop(1))
atexit.register(note)
from pipeloom.cli import main
sys.exit(main())
"""


def typed(words: str, db: Path, folder: Path) -> tuple[int, str, int]:
    """Type a command with 2 GB of address space; returns exit code, errors, and KiB that it had at once."""
    errors, peak = folder / "errors", folder / "peak"
    with errors.open("wb") as err:
        process = subprocess.Popen(
            [sys.executable, "-c", COMMAND, str(peak), *words.split(), "--db", str(db)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=err,
            start_new_session=True,
        )
    resource.prlimit(process.pid, resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    timer = Timer(LIMIT_S, os.killpg, (process.pid, signal.SIGKILL))
    timer.start()
    try:
        process.wait()
    finally:
        timer.cancel()
        timer.join()
    return process.returncode, errors.read_text(encoding="utf-8"), int(peak.read_text().split()[1])


@pytest.mark.parametrize("kind", HOSTILE_FILES)
def test_a_hostile_file_costs_a_reader_neither_memory_nor_time(tmp_path, kind):
    """Every command ends, in half a gigabyte, with an answer or a sentence."""
    db = tmp_path / "out.db"
    pipeloom.map(lambda item: item, range(3), db=db, name="sound", progress=False)
    make_hostile(db, kind)
    commands = list(COMMANDS) if FULL else ["status", "cancel"] if kind in SLOW else sample([*COMMANDS], 3)
    for words in commands:
        code, err, memory = typed(words, db, tmp_path)
        assert code in (DONE, FAILED, STORAGE), (words, code, err)
        assert "Traceback" not in err, (words, err)
        assert "MemoryError" not in err, (words, err)
        assert code == DONE or err.count("\n") <= 1, (words, err)
        assert memory < MOST_MEMORY, (words, memory)


def test_large_results_are_read_as_before(tmp_path):
    """By the run that made them, and by ``show``; no reader that lists tasks reads them."""
    db, text = tmp_path / "out.db", "é" * 20_000_000
    report = pipeloom.map(lambda item: text, range(2), db=db, name="large", progress=False)
    assert [len(result) for _, result in report.results()] == [len(text)] * 2
    for words in ("status", "tasks --json", "show 1"):
        code, err, memory = typed(words, db, tmp_path)
        assert (code, err) == (DONE, ""), words
        assert memory < MOST_MEMORY, (words, memory)
    said = subprocess.run(
        [sys.executable, "-m", "pipeloom", "show", "1", "--json", "--db", str(db)],
        capture_output=True,
        check=True,
        timeout=LIMIT_S,
    )
    assert json.loads(json.loads(said.stdout)["task"]["result"]) == text
    with closing(connect_readonly(db)) as conn:  # the user's own connection has SQLite's own limit
        assert conn.execute("SELECT length(result) FROM task_runs").fetchone() == (len(text) + 2,)
