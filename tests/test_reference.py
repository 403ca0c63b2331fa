"""The reference: every public name stands in it, and nothing in it is wrong or gone."""

from __future__ import annotations

import builtins
import inspect
import queue
import re
import sqlite3
from contextlib import closing
from dataclasses import fields, is_dataclass
from importlib import import_module
from pathlib import Path

import pytest

import pipeloom
from pipeloom import (
    AsyncTaskContext,
    Channel,
    Failure,
    FailureKind,
    Limit,
    MergeReport,
    PipeloomError,
    Retry,
    RunCounts,
    RunHandle,
    RunReport,
    SQLiteWriter,
    TaskContext,
    TaskOutcome,
)

PAGE = (Path(__file__).parent.parent / "docs" / "reference.md").read_text(encoding="utf-8")
# What the page calls an object of each class.
CLASSES = {
    "ctx": TaskContext,
    "actx": AsyncTaskContext,
    "report": RunReport,
    "handle": RunHandle,
    "counts": RunCounts,
    "outcome": TaskOutcome,
    "limit": Limit,
    "retry": Retry,
    "failure": Failure,
    "kind": FailureKind,
    "writer": SQLiteWriter,
    "channel": Channel,
    "merged": MergeReport,
}
# Some of their attributes are on no class.
SAMPLES = {SQLiteWriter: SQLiteWriter(Path("out.db"), queue.Queue()), Channel: Channel()}
MODULES = (
    "db",
    "demo",
    "engine",
    "errors",
    "limit",
    "merging",
    "messages",
    "progress",
    "report",
    "retry",
    "rlog",
    "writer",
)

# An entry is what begins a point of a list, one name or several; or a block without a language.
POINTS = re.findall(r"^( *)- ((?:`[^`]+`(?:,\s+)?)+):", PAGE, re.MULTILINE)
BLOCKS = re.findall(r"\n\n```\n(.*?)```", PAGE, re.DOTALL)
ENTRIES = [entry for _, point in POINTS for entry in re.findall(r"`([^`]+)`", point)] + BLOCKS
NAMES = {entry.partition("(")[0] for entry in ENTRIES}
PROSE = re.sub(r"```.*?```", "", PAGE, flags=re.DOTALL)
SPANS = set(re.findall(r"`([^`]+)`", PROSE))


def members(cls):
    """Public attributes of a class and its objects."""
    names = {*dir(cls), *vars(SAMPLES.get(cls, object))}
    if is_dataclass(cls):
        names |= {field.name for field in fields(cls)}
    return {name for name in names if name[0] != "_"}


def meant(name):
    """What an entry's name stands for; ``None`` where it is only a field.

    Raises:
        LookupError: Nothing public has this name.
    """
    owner, _, last = name.rpartition(".")
    if not owner:
        if last in pipeloom.__all__:
            return getattr(pipeloom, last)
    elif owner in CLASSES:
        if last in members(CLASSES[owner]):
            return inspect.getattr_static(CLASSES[owner], last, None)
    elif owner.removeprefix("pipeloom.") in MODULES:
        module = import_module(owner)
        if last in module.__all__:
            return getattr(module, last)
    raise LookupError(name)


def shown(entry):
    """The signature and the return that an entry shows, and those of what it names."""
    name, bracket, arguments = entry.partition("(")
    thing = meant(name)
    if not bracket:
        return "", "a call" if inspect.isroutine(thing) else ""
    arguments, _, returned = arguments.partition("->")
    scope = {"Path": Path}
    exec(f"def printed({arguments.strip()}: ...", scope)
    actual = inspect.signature(thing)
    result = None if inspect.isclass(thing) else actual.return_annotation
    return (
        (without_types(inspect.signature(scope["printed"])), returned.strip()),
        (without_types(actual), "" if result in (None, "None", inspect.Signature.empty) else result),
    )


def without_types(signature):
    """As text, which tells 1 from True."""
    own = [p.replace(annotation=p.empty) for p in signature.parameters.values() if p.name != "self"]
    return str(inspect.Signature(own))


def test_the_page_has_as_many_entries_as_it_seems():
    """A point that the pattern above does not understand would go unchecked."""
    assert len(POINTS) == len(re.findall(r"^ *- `", PAGE, re.MULTILINE)) > 80
    assert len(BLOCKS) == 5


def test_every_exported_name_is_there():
    """As an entry, or as the heading over its members."""
    headings = set(re.findall(r"^### (\w+)$", PAGE, re.MULTILINE))

    assert set(pipeloom.__all__) - NAMES - headings == set()


def test_every_name_of_a_public_module_is_there():
    """At the root, or under the module's own name."""
    public = {
        f"pipeloom.{module}.{name}" for module in MODULES for name in import_module(f"pipeloom.{module}").__all__
    }

    assert {name for name in public - NAMES if name.rpartition(".")[2] not in pipeloom.__all__} == set()


@pytest.mark.parametrize("called", ["ctx", "report", "retry", "failure", "kind", "channel", "merged"])
def test_every_public_attribute_is_there(called):
    """As an entry of its own; the fields of ``Retry`` are its arguments, explained below its signature."""
    listed = {name.partition(".")[2] for name in NAMES if name.startswith(called + ".")}
    if called == "retry":
        listed |= SPANS & {field.name for field in fields(Retry)}

    assert listed == members(CLASSES[called])


def test_every_entry_is_public_and_has_the_signature_that_it_shows():
    """Parameters, their order, kinds and defaults; and what is returned."""
    pairs = {entry: shown(entry) for entry in ENTRIES}

    assert {entry: printed for entry, (printed, _) in pairs.items()} == {
        entry: actual for entry, (_, actual) in pairs.items()
    }


def test_names_in_the_text_are_public():
    """Whatever is in code font and looks like a name of ours."""
    ours = re.compile(rf"(?:pipeloom|{'|'.join(CLASSES)})\.[\w.]+|[A-Z]\w+")
    for span in SPANS:
        name = span.partition("(")[0]
        if ours.fullmatch(name) and not hasattr(builtins, name):
            assert name in NAMES or name in pipeloom.__all__ or name in {f"pipeloom.{m}" for m in MODULES}, span


def test_the_errors_stand_below_what_they_are():
    """The tree of the page is the tree of the classes."""
    above, tree = [], {}
    for indent, point in POINTS:
        name = point.strip("`")
        if not re.fullmatch(r"[A-Z]\w+Error|RetryLater", name):
            continue
        del above[len(indent) // 2 :]
        tree[name] = above[-1] if above else None
        above.append(name)

    assert tree == {
        name: next((base.__name__ for base in error.__bases__ if issubclass(base, PipeloomError)), None)
        for name in pipeloom.__all__
        if inspect.isclass(error := getattr(pipeloom, name)) and issubclass(error, PipeloomError)
    }


def test_every_argument_of_map_is_explained():
    """In the table below it."""
    rows = re.findall(r"^\| (`.*?`) \|", PAGE, re.MULTILINE)
    explained = [name for row in rows for name in re.findall(r"`(\w+)`", row)]

    assert explained == list(inspect.signature(pipeloom.map).parameters)


def test_the_program_that_uses_a_writer_alone_runs(tmp_path, monkeypatch):
    """As it is printed."""
    monkeypatch.chdir(tmp_path)
    (program,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(program, {})

    with closing(sqlite3.connect("out.db")) as conn:
        assert conn.execute("SELECT id, name, status, result FROM task_runs").fetchall() == [
            (1, "a.csv", "done", "1 line")
        ]
        assert conn.execute("SELECT file, text FROM lines").fetchall() == [("a.csv", "hello")]
