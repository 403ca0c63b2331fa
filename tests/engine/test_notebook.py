"""A run in the kernel of a notebook: what the second run of a cell, and of the whole notebook, does."""

from __future__ import annotations

import json
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


SHOWN: Final = {
    "map": """
import _thread, threading, pipeloom
def load(n):
    if n == 3:
        raise ValueError(f"<b>{n}</b>")
pipeloom.map(load, range(9), db="nb.db", on_error="collect")
""",
    "raises": 'pipeloom.map(load, range(9), db="nb.db")',
    "two runs": """
one = pipeloom.map(load, [11, 12], db="nb.db")
two = pipeloom.map(load, [13, 14, 15], db="nb.db")
""",
    "later": "two",
    "awaited": 'await pipeloom.amap(load, [16], db="nb.db")',
    "nothing": 'quiet = pipeloom.map(load, [17], db="nb.db", progress=False)',
    "its report": 'pipeloom.map(load, [18], db="nb.db", progress=False)',
    "handle": """
go_on = threading.Event()
run = pipeloom.start(lambda n: go_on.wait(20), range(20, 25), db="nb.db", name="waits", workers=2)
run
""",
    "end of the handle": "go_on.set(); run.wait().done",
    "interrupted": """
def stop(n):
    if n == 30:
        _thread.interrupt_main()
pipeloom.map(stop, range(30, 40), db="nb.db", workers=1)
""",
}
OUTPUTS: Final = """
import json, sys
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook
notebook = new_notebook(cells=[new_code_cell(cell) for cell in sys.argv[1:]])
NotebookClient(notebook, timeout=60, kernel_name="python3", allow_errors=True).execute()
print(json.dumps([cell.outputs for cell in notebook.cells]))
"""


@pytest.mark.skipif(find_spec("nbclient") is None, reason="nbclient is not installed (the dev extra brings it)")
def test_each_run_has_one_display_that_ends_with_what_came_of_it(tmp_path):
    """However the run ends, and whoever waits for it; its report shows itself where the run has not."""
    words = [sys.executable, "-W", "ignore", "-c", OUTPUTS, *SHOWN.values()]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    outputs = dict(zip(SHOWN, json.loads(done.stdout), strict=True))
    kinds = {name: [output["output_type"] for output in cell] for name, cell in outputs.items()}
    read = {
        name: [re.sub("<[^>]*>", "", "".join(output["data"]["text/html"])) for output in cell if "data" in output]
        for name, cell in outputs.items()
        if name != "end of the handle"
    }

    assert kinds["map"] == ["display_data"]
    assert "load · finished with failures · 8 done · 1 failed · took" in read["map"][0]
    assert "ValueError: &lt;b&gt;3&lt;/b&gt;" in read["map"][0]
    assert kinds["raises"][0] == "display_data"
    assert len(kinds["raises"]) == 2
    assert "1 failed" in read["raises"][0]
    assert kinds["two runs"] == ["display_data"] * 2
    assert ["2 done" in read["two runs"][0], "3 done" in read["two runs"][1]] == [True, True]
    assert kinds["later"] == kinds["its report"] == ["execute_result"]
    assert "3 done" in read["later"][0]
    assert outputs["later"][0]["data"]["text/plain"].startswith("notebook:load: 3 done in ")
    assert kinds["awaited"] == ["display_data"]
    assert "1 done" in read["awaited"][0]
    assert kinds["nothing"] == []
    assert kinds["handle"] == ["display_data"]
    assert "finished · 5 done" in read["handle"][0]
    assert outputs["end of the handle"][0]["data"]["text/plain"] == "5"
    assert kinds["interrupted"] == ["display_data", "error"]
    assert "stopped" in read["interrupted"][0]
