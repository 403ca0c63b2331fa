"""The names at the root of the package."""

from __future__ import annotations

import dataclasses
from importlib import import_module

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
