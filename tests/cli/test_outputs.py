"""How commands end when nobody reads their output: as they end when somebody does."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

import pipeloom

pytestmark = pytest.mark.outputs


def work(n):
    """Fail now and then, and return a lot."""
    if n % 10 == 7:
        raise ValueError("z" * 300)
    return "x" * 2000


PROGRAM = """
import pipeloom
def main(bad: int = -1):
    print("y" * 100_000, flush=True)
    def work(n):
        print("task", n, flush=True)
        if n == bad:
            raise ValueError(n)
    print(pipeloom.map(work, range(100), db="run.db", name="x"))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a file that holds 300 tasks, one that is no database, and a program."""
    folder = tmp_path_factory.mktemp("outputs")
    pipeloom.map(work, range(300), db=folder / "out.db", on_error="collect", progress=False, durability="off")
    (folder / "noise.db").write_bytes(b"noise" * 1000)
    (folder / "job.py").write_text(PROGRAM)
    return folder


COMMANDS = [
    "tasks --json -n 900 --db out.db",
    "tasks -n 900 --db out.db",
    "status -f json -n 900 --db out.db",
    "status -n 900 --db out.db",
    "status --watch -f json --db out.db",
    "status --watch --db out.db",
    "errors --json --db out.db",
    "errors --db out.db",
    "errors --keys --db out.db",
    "errors --keys --json --db out.db",
    "errors --kind ValueError --db out.db",
    "tasks --json --db out.db",
    "runs --json --db out.db",
    "show 8 --json --db out.db",
    "show 8 --db out.db",
    "logs 1 --json --db out.db",
    "logs 1 --follow --db out.db",
    "report -o - --db out.db",
    "report --json --db out.db",
    "metadata --db out.db",
    "watch --json --db out.db",
    "watch --db out.db",
    "doctor --json --db out.db",
    "doctor --db out.db",
    "doctor --db noise.db",
    "tasks --db noise.db",
    "tasks --nonsense",
    "show nobody --db out.db",
    "cancel --db out.db",
    "examples csv --source",
    "init-db --db new.db",
    "run job.py",
    "run job.py --arg bad=7",
    "--version",
    "--help",
]
CODES = {
    "doctor --db noise.db": 3,
    "tasks --db noise.db": 3,
    "tasks --nonsense": 2,
    "show nobody --db out.db": 2,
    "cancel --db out.db": 1,
    "run job.py --arg bad=7": 1,
}


# A closed standard error alone tells of those that write there; `watch` would go on while its output is read.
CASES = [(words, which) for words in COMMANDS for which in ("stdout", "both")]
CASES += [(words, "stderr") for words in COMMANDS if words in CODES or words.startswith("run")]


@pytest.mark.parametrize(("words", "which"), CASES)
def test_a_command_that_nobody_listens_to(folder, words, which):
    """The reader has gone before the first word, of one output or of both: the exit code is the same."""
    reading, writing = os.pipe()
    os.close(reading)
    outputs = {name: writing if which in (name, "both") else subprocess.PIPE for name in ("stdout", "stderr")}
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pipeloom", *words.split()],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            timeout=40,
            check=False,
            **outputs,
        )
    finally:
        os.close(writing)
        for name in ("new.db", "run.db"):
            for path in folder.glob(f"{name}*"):
                path.unlink()

    assert done.returncode == CODES.get(words, 0)
    assert b"Traceback" not in (done.stderr or b"")
    if which == "stdout" and words not in CODES and not words.startswith("run"):
        assert done.stderr == b""


@pytest.mark.parametrize(
    "words", ["tasks -n 900 --db out.db", "tasks --json --db out.db", "report -o - --db out.db"]
)
def test_a_full_disk_is_an_error(folder, words):
    """Unlike a reader who has seen enough, a file that is cut off misses what was asked for."""
    if not os.path.exists("/dev/full"):
        pytest.skip("no device that is full")
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "pipeloom", *words.split()],
            cwd=folder,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=30,
            check=False,
        )

    assert done.returncode == 1
    assert "No space left on device" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_what_a_program_prints_is_not_its_work(folder):
    """A full disk takes nothing of that, and one line says so; the exit code is the work's, buffered or not."""
    if not os.path.exists("/dev/full"):
        pytest.skip("no device that is full")
    for unbuffered in ("", "1"):
        with open("/dev/full", "wb") as full:
            done = subprocess.run(
                [sys.executable, "-m", "pipeloom", "run", "job.py"],
                cwd=folder, env=os.environ | {"PYTHONUNBUFFERED": unbuffered}, stdout=full, stderr=subprocess.PIPE,
                text=True, timeout=30, check=False,
            )  # fmt: skip
        (folder / "run.db").unlink()
        assert done.returncode == 0, unbuffered
        assert done.stderr.splitlines()[-1] == (
            "pipeloom: the printed output is incomplete: No space left on device"
        )


CLOSED = """
import os, pipeloom
def work(n, ctx):
    for standard in (1, 2):
        os.write(standard, b"what a library in C says")
    ctx.write("t", {"n": n})
def main():
    with open("first.txt", "w") as first:
        report = pipeloom.map(work, range(20), db="closed.db", name="x", progress=False)
        first.write(f"{first.fileno() > 2} {report.done}")
"""


def test_streams_that_are_closed_before_the_start(folder, read):
    """No file gets their numbers, neither the program's nor the database: what is said there is lost."""
    (folder / "closed.py").write_text(CLOSED)
    done = subprocess.run(
        [sys.executable, "-m", "pipeloom", "run", "closed.py"],
        cwd=folder, preexec_fn=lambda: os.closerange(0, 3), timeout=30, check=False,
    )  # fmt: skip

    assert done.returncode == 0
    assert (folder / "first.txt").read_text() == "True 20"
    assert read(folder / "closed.db", "PRAGMA integrity_check") == [("ok",)]


def test_a_broken_pipe_of_the_users_own_is_an_error_in_words(tmp_path):
    """It is not our output's: the program did not do its work."""
    (tmp_path / "job.py").write_text("def main():\n    raise BrokenPipeError('the server has gone')\n")
    done = subprocess.run(
        [sys.executable, "-m", "pipeloom", "run", "job.py"],
        cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[0] == "pipeloom: BrokenPipeError: the server has gone"
