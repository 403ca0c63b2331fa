"""The names at the root of the package."""

from __future__ import annotations

import ast
import compileall
import dataclasses
import os
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

import pipeloom

HOMES = {
    "run_pipeline": "engine",
    "SQLiteWriter": "writer",
    "MsgTaskStarted": "messages",
    "MsgTaskStart": "messages",
    "MsgTaskProgress": "messages",
    "MsgTaskFinished": "messages",
    "MsgTaskFinish": "messages",
    "Msg": "messages",
    "SENTINEL": "messages",
    "make_overall_progress": "progress",
    "make_task_progress": "progress",
    "preregister_task_bars": "progress",
    "console": "rlog",
    "logger": "rlog",
    "setup_logging": "rlog",
    "TaskDef": None,
    "connect_readonly": "db",
}

# Public in their modules, and meant to stay there: for those who work with the file itself, or for annotations.
NOT_AT_THE_ROOT = {
    "db": {
        "SCHEMA_VERSION",
        "Durability",
        "Ownership",
        "check_schema",
        "connect",
        "init_schema",
        "owner_of",
        "storage_error",
        "wal_checkpoint",
    },
    "demo": {"DemoTask", "demo_worker"},
    "engine": set(),
    "engine.handle": {"handle_of"},
    "engine.starting": set(),
    "errors": set(),
    "limit": set(),
    "merging": set(),
    "messages": {"Handler", "OnConflict"},
    "progress": set(),
    "report": set(),
    "retry": set(),
    "rlog": set(),
    "worker.async_context": set(),
    "worker.context": set(),
    "writer": set(),
}


@pytest.mark.parametrize("name", HOMES)
def test_the_root_exports_the_name(name):
    """It is there, listed, and the same object as in its module."""
    found = getattr(pipeloom, name)

    assert name in pipeloom.__all__
    assert name in dir(pipeloom)
    if HOMES[name] is not None:
        assert found is getattr(import_module(f"pipeloom.{HOMES[name]}"), name)


def test_a_star_import_brings_them_all():
    """``from pipeloom import *`` works, as do names asked for one by one."""
    everything = {}
    exec("from pipeloom import *", everything)

    assert set(HOMES) <= set(everything)


def test_old_names_are_the_same_classes():
    """Aliases, not copies."""
    assert pipeloom.MsgTaskStart is pipeloom.MsgTaskStarted
    assert pipeloom.MsgTaskFinish is pipeloom.MsgTaskFinished


def test_a_task_def_is_a_number_a_name_and_twenty_steps():
    """Positional or by keyword."""
    task = pipeloom.TaskDef(3, "load")

    assert (task.task_id, task.name, task.steps) == (3, "load", 20)
    assert pipeloom.TaskDef(task_id=3, name="load", steps=5) == dataclasses.replace(task, steps=5)


def test_an_unknown_name_is_an_attribute_error():
    """As with any module."""
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = pipeloom.no_such_name


@pytest.mark.parametrize("module", NOT_AT_THE_ROOT)
def test_what_is_public_in_a_module_is_at_the_root_or_meant_not_to_be(module):
    """A name that is added to a public module is exported, or put into the list above."""
    public = set(import_module(f"pipeloom.{module}").__all__)

    assert public - set(pipeloom.__all__) == NOT_AT_THE_ROOT[module]


def test_all_names_come_from_public_modules():
    """So the list above is complete; and nothing else lies about at the root."""
    stray = {name for name, value in vars(pipeloom).items() if not isinstance(value, ModuleType) and name[0] != "_"}

    assert {home.removeprefix("pipeloom.") for home in pipeloom._HOME.values()} == set(NOT_AT_THE_ROOT)
    assert stray <= set(pipeloom.__all__)


def test_type_checkers_read_the_names_that_programs_get():
    """The same statements, as Python itself reads them: each name from its module, under its own name."""
    tree = ast.parse(Path(pipeloom.__file__).read_text(encoding="utf-8"))
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    read = [(node.module, alias.name, alias.asname) for node in block.body for alias in node.names]

    assert {name: module for module, name, _ in read} == pipeloom._HOME
    assert all(name == exported for _, name, exported in read)
    assert len(read) == len(set(pipeloom.__all__)) > 30


def test_without_its_source_it_has_the_same_names(tmp_path):
    """As in a frozen program: there they are imported at once."""
    package = tmp_path / "pipeloom"
    shutil.copytree(Path(pipeloom.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    assert compileall.compile_dir(package, quiet=1, legacy=True)
    for source in package.rglob("*.py"):
        source.unlink()
    plain = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}  # no sources
    code = "import pipeloom; from pipeloom import *; print(pipeloom.__file__, *dir(), sep=chr(10))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env=plain,
    )
    file, *names = done.stdout.splitlines()

    assert Path(file) == package / "__init__.pyc"
    assert set(pipeloom.__all__) <= set(names)
