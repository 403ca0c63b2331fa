"""On Windows databases are read, and every way to write one is refused in one sentence; simulated."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pipeloom

PROGRAM = """
import asyncio, contextlib, io, json
from pathlib import Path
import pipeloom
from pipeloom.cli import main

said = {}

def note(name, call):
    try:
        said[name] = repr(call())
    except Exception as error:
        said[name] = f"{type(error).__name__}: {error}"

def typed(*words):
    sys.argv = ["pipeloom", *words]
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main()
        except SystemExit as stop:
            said[words[0]] = [stop.code, out.getvalue(), err.getvalue()]

async def amap():
    await pipeloom.amap(str, [1], db="new.db")

note("map", lambda: pipeloom.map(str, [1], db="new.db"))
note("processes", lambda: pipeloom.map(str, [1], db="new.db", executor="processes"))
note("start", lambda: pipeloom.start(str, [1], db="new.db"))
note("amap", lambda: asyncio.run(amap()))
note("run_pipeline", lambda: pipeloom.run_pipeline([1], "new.db", worker_fn=print))
note("merge", lambda: pipeloom.merge("new.db", ["old.db"]))
note("names", lambda: [name for name in pipeloom.__all__ if getattr(pipeloom, name, None) is None])
for words in (["--help"], ["status", "--db", "old.db"], ["errors", "--db", "old.db"], ["demo", "new.db"]):
    typed(*words)
said["left"] = sorted(path.name for path in Path().iterdir() if path.name.startswith("new"))
print(json.dumps(said))
"""


def test_windows_is_told_in_one_sentence(tmp_path):
    """Each name can be imported, help and reading work, and nothing that writes leaves a file."""
    pipeloom.map(str, [1, 2], db=tmp_path / "old.db", progress=False)
    program = Path(__file__).with_name("windows.py")
    done = subprocess.run(
        [sys.executable, program, PROGRAM], cwd=tmp_path, capture_output=True, text=True, timeout=50, check=False
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)

    refusals = [said[name] for name in ("map", "processes", "start", "amap", "run_pipeline", "merge")]
    for sentence in refusals:
        assert sentence.startswith("StorageError: ")
        assert "run on Linux 3.15, macOS 10.11 or later" in sentence
        assert "\n" not in sentence
    assert said["names"] == "[]"
    assert said["--help"][0] == said["status"][0] == said["errors"][0] == 0
    assert "2 done" in said["status"][1]
    code, _, error = said["demo"]
    assert (code, error.count("\n"), "run on Linux" in error) == (3, 1, True)
    assert said["left"] == []
