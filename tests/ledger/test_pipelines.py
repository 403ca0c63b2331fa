"""The pipeline that a run continues, and inputs that may be done elsewhere."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace

import pytest

from pipeloom import NameNeededError
from pipeloom.data.naming import Naming
from pipeloom.db import connect, init_schema
from pipeloom.ledger.pipelines import pipeline_for

CODE, OTHER_CODE = "cpython 3.11:aa", "cpython 3.11:bb"


@pytest.fixture
def there(tmp_path):
    """A script that is there."""
    place = tmp_path / "load.py"
    place.touch()
    return str(place)


@pytest.fixture
def load(there):
    """A plain function in it."""
    return Naming("load:work", False, "load:work", there, CODE, "-", "a function")


@pytest.fixture
def file(db):
    """An empty ledger."""
    with closing(connect(db)) as conn:
        init_schema(conn, store_task_status=True)
        yield conn


def does(conn, naming, key=1, *, resume=True):
    """Do one input as this function; return the name of the pipeline, or the sentence of the refusal."""
    run_id = conn.execute("INSERT INTO pipeloom_runs (status, started_at) VALUES ('done', '')").lastrowid
    pipeline = pipeline_for(conn, naming, run_id, resume=resume)
    try:
        if pipeline.doubts is not None:
            pipeline.doubts.check([0, key])
    except NameNeededError as error:
        return str(error)
    conn.execute(
        "INSERT OR IGNORE INTO task_runs (pipeline_id, key, name, status) VALUES (?, ?, 'x', 'done')",
        (pipeline.id, key),
    )
    return pipeline.name


@pytest.mark.parametrize(
    "later",
    [
        {},
        {"code": OTHER_CODE},
        {"function": "pkg.load:work", "name": "pkg.load:work"},
        {"place": "/gone/elsewhere/load.py", "code": CODE},
    ],
    ids=["again", "mended", "imported by another name", "moved"],
)
def test_one_function_goes_on_with_its_own(file, load, later):
    """However it is called, whatever it does by now, wherever it lies by now."""
    if "place" in later:
        load, later = replace(load, place=later["place"]), {}
        does(file, replace(load, place="/gone/load.py"))
    else:
        does(file, load)

    assert does(file, replace(load, **later)) == "load:work"
    assert file.execute("SELECT COUNT(*) FROM task_runs").fetchone() == (1,)


def test_a_file_that_moved_with_its_database_is_the_same(file, load, db):
    """Code and all: it lies where it lay, as seen from the database."""
    does(file, load)
    file.execute("UPDATE pipeloom_pipelines SET place = '/before/load.py'")

    assert does(file, replace(load, code=OTHER_CODE)) == "load:work"
    assert file.execute("SELECT place, code FROM pipeloom_pipelines").fetchall() == [(load.place, OTHER_CODE)]


@pytest.mark.parametrize(
    ("other", "why"),
    [
        ({"captured": "x", "kind": "a partial"}, "a partial with different values may do different work"),
        ({"captured": "object:1", "kind": "a lambda"}, "a lambda cannot be distinguished from others of its name"),
        ({"place": "/gone/load.py", "code": OTHER_CODE}, "load.py, which is not the same as this one"),
        ({"place": "/usr", "code": OTHER_CODE}, ", which is not the same as this one"),
        ({"place": "/usr", "function": "copy:work"}, "a function of the same name in "),
        ({"place": "/usr", "function": "copy:work", "code": "cpython 3.12:aa"}, "of the same name in "),
    ],
    ids=["values", "lambda", "moved and changed", "same name", "copy", "other Python"],
)
def test_what_may_be_the_same_is_asked_about(file, load, other, why):
    """Whichever came first; at the first input that is done there, and not before."""
    for first, second in ((load, replace(load, **other)), (replace(load, **other), load)):
        file.execute("DELETE FROM task_runs")
        file.execute("DELETE FROM pipeloom_pipelines")
        name = does(file, first)
        unrelated = does(file, second, key=2)
        said = does(file, second)

        assert name != unrelated
        assert f"the input 1 is done in this file under the name {name!r}, and " in said
        assert f"pass name={name!r}" in said
        assert why in said or first.kind != second.kind  # the sentence is about the second one
        assert does(file, replace(second, name=name, is_given=True)) == name
        assert does(file, second, resume=False) == unrelated


def test_a_script_that_was_renamed_and_changed_is_asked_about(file, load):
    """Its old name is still in the ledger, and the file is gone."""
    does(file, replace(load, function="old:work", name="old:work", place="/gone/old.py", code=OTHER_CODE))

    assert "a function of the same name in /gone/old.py: pass name='old:work'" in does(file, load)


@pytest.mark.parametrize(
    "other",
    [
        {"function": "load:other", "name": "load:other"},
        {"function": "copy:work", "name": "copy:work", "place": "/usr", "code": OTHER_CODE},
    ],
    ids=["another name", "another file and another code"],
)
def test_another_function_is_not_asked_about(file, load, other):
    """Two functions may do the same inputs."""
    other = replace(load, **other)

    assert [does(file, load), does(file, other), does(file, load)] == [load.name, other.name, load.name]


def test_a_name_that_was_given_is_missed(file, load):
    """Forgetting it the second time would double the rows."""
    does(file, replace(load, name="nightly", is_given=True))

    assert "under the name 'nightly', and this call has no name=: pass name='nightly'" in does(file, load)


def test_two_given_names_are_two_jobs(file, load):
    """The caller has said so."""
    for name in ("a", "b", "a"):
        assert does(file, replace(load, name=name, is_given=True)) == name


def test_what_an_older_version_noted_is_gone_on_with_or_asked_about(file, load):
    """It knew a function by its name alone."""
    for number, name in enumerate(("load:work", "other:work", "work (run 7)", "other:rest"), 1):
        file.execute("INSERT INTO pipeloom_pipelines (id, name) VALUES (?, ?)", (number, name))
        file.execute(
            "INSERT INTO task_runs (pipeline_id, key, name, status) VALUES (?, ?, 'x', 'done')", (number, number)
        )

    assert does(file, load, key=1) == "load:work"
    for number, name in ((2, "other:work"), (3, "work (run 7)")):
        assert (
            f"name {name!r}, and an older version of pipeloom, which did not record the function, did it"
            in does(file, load, key=number)
        )
    assert does(file, load, key=4) == "load:work"


def test_what_is_not_done_there_is_not_in_doubt(file, load):
    """A failed task has left nothing, but one with a checkpoint has."""
    does(file, replace(load, captured="x"))
    file.execute("UPDATE task_runs SET status = 'error'")
    assert does(file, load) == "load:work (2)"

    file.execute("DELETE FROM task_runs WHERE pipeline_id = 2")
    file.execute("INSERT INTO pipeloom_state (task_id, at, state) SELECT id, '', '1' FROM task_runs")
    assert "pass name='load:work'" in does(file, load)
