"""A run in the kernel of a notebook: what the second run of a cell, and of the whole notebook, does."""

from __future__ import annotations

import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from importlib.util import find_spec
from typing import Final

import pytest

LOAD: Final = """
import logging, pipeloom
logging.basicConfig(level=logging.INFO, force=True)
def load(n, ctx):
    print(f"said {n}\\n", end="")
    logging.info("logged %d", n)
    ctx.write("t", {"n": n})
    return n
report = pipeloom.map(load, range(50), db="nb.db")
print(report)
"""
CELLS: Final = [
    LOAD,
    'print(pipeloom.map(load, range(50), db="nb.db"), report.pipeline)',
    'import asyncio; print(await asyncio.to_thread(pipeloom.map, load, range(51), db="nb.db"))',
    'print(pipeloom.map(lambda n: n, [1], db="nb.db"))',
    'try: pipeloom.map(lambda n: n, [1], db="nb.db")\nexcept pipeloom.NameNeededError as error: print(error)',
]
NOTEBOOK: Final = """
import sys
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook
notebook = new_notebook(cells=[new_code_cell(cell) for cell in sys.argv[1:]])
NotebookClient(notebook, timeout=60, kernel_name="python3").execute()
for cell in notebook.cells:
    print("".join(output.get("text", "") for output in cell.outputs), end="=====")
"""


@pytest.mark.skipif(find_spec("nbclient") is None, reason="nbclient is not installed (the dev extra brings it)")
def test_a_notebook_that_is_run_twice(tmp_path):
    """No row comes twice, no line is lost, nothing is drawn over and over."""

    def run(*cells: str) -> list[str]:
        words = [sys.executable, "-W", "ignore", "-c", NOTEBOOK, *cells]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60, cwd=tmp_path)
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout.split("=====")

    first, second, awaited, nameless, again, _ = run(*CELLS)
    (restarted, _) = run(LOAD)

    for word in ("said", "logged"):
        assert len(set(re.findall(rf"{word} \d+", first))) == 50
    assert "notebook:load: 50 done in " in first
    assert first.count("\n") < 120
    assert "notebook:load: 0 done, 50 skipped" in second
    assert "notebook:load: 1 done, 50 skipped" in awaited
    assert "1 done" in nameless
    assert "pass name='<lambda> (run 4)'" in again
    assert "notebook:load: 0 done, 50 skipped" in restarted
    with closing(sqlite3.connect(tmp_path / "nb.db")) as conn:
        assert conn.execute("SELECT COUNT(*), COUNT(DISTINCT n) FROM t").fetchall() == [(51, 51)]
