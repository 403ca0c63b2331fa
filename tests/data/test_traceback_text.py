"""What the text of a traceback says."""

from __future__ import annotations

import traceback
from pathlib import Path

import pytest

import pipeloom
from pipeloom.data.kinds import Kinds
from pipeloom.data.traceback_text import essence, is_theirs, origin

PACKAGE = Path(pipeloom.__file__).parent


def raised(source, name="/home/ann/load.py"):
    """Return the traceback of code as if it stood in this file."""
    try:
        exec(compile(source, name, "exec"), {"__name__": "load"})
    except BaseException as error:  # noqa: BLE001 - whatever the code raises is what is asked for
        tb = error.__traceback__.tb_next
        return str(error), "".join(traceback.format_exception(type(error), error, tb))
    raise AssertionError("it did not raise")


CASES = {
    "plain": ("def f():\n  raise ValueError('bad: 7')\nf()", "ValueError", "/home/ann/load.py:2 in f"),
    "in the library": (
        "import json\njson.loads('x')",
        "json.decoder.JSONDecodeError",
        "/home/ann/load.py:2 in <module>",
    ),
    "many lines": ("raise ValueError('one\\nKeyError: two')", "ValueError", "/home/ann/load.py:1 in <module>"),
    "without a message": ("raise ValueError", "ValueError", "/home/ann/load.py:1 in <module>"),
    "a cause": (
        "try:\n  {}[1]\nexcept KeyError as e:\n  raise RuntimeError('wrapped') from e",
        "RuntimeError",
        "/home/ann/load.py:4 in <module>",
    ),
    "a group": (
        "raise ExceptionGroup('some', [ValueError('a'), KeyError('b')])",
        "ExceptionGroup",
        "/home/ann/load.py:1 in <module>",
    ),
    "a note": (
        "e = ValueError('bad')\ne.add_note('see: manual')\nraise e",
        "ValueError",
        "/home/ann/load.py:3 in <module>",
    ),
    "a class in a function": (
        "def f():\n  class Mine(Exception): pass\n  raise Mine('x: y')\nf()",
        "load.f.<locals>.Mine",
        "/home/ann/load.py:3 in f",
    ),
    "bad syntax": ("import ast\nast.parse('a b')", "SyntaxError", "/home/ann/load.py:2 in <module>"),
}


@pytest.mark.parametrize("case", CASES)
def test_exception_and_place_are_read_from_the_traceback(case):
    """As Python prints it, in every form."""
    source, exception, where = CASES[case]
    message, error = raised(source)
    kind = Kinds().of("error", message, error)

    assert (kind.exception, kind.place) == (exception, where)


def test_text_that_is_no_traceback_is_no_error():
    """Refusals of the ledger are one line; a worker may send anything."""
    assert origin("RowRefusedError", cut=True) == ("RowRefusedError", None)
    assert origin("what\nis this", cut=False)[1] is None
    assert essence("") == [""]


def traceback_through(*files):
    """Return a traceback through these files, line 1 of the first one, and so on."""
    frames = "".join(f'  File "{file}", line {line}, in there\n    it()\n' for line, file in enumerate(files, 1))
    return f"Traceback (most recent call last):\n{frames}ValueError"


MODULES = [path.relative_to(PACKAGE).as_posix() for path in sorted(PACKAGE.rglob("*.py"))]


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize("root", ["/src/pipeloom/", "C:\\src\\pipeloom\\"])
def test_every_module_of_pipeloom_is_judged(root, module):
    """None is the user's own, whatever rooms there are; the examples are programs of users."""
    file = root + (module.replace("/", "\\") if "\\" in root else module)

    assert is_theirs(file) == module.startswith("examples/")


@pytest.mark.parametrize(
    ("files", "line"),
    [
        (("/src/pipeloom/executors/threads.py", "/src/pipeloom/worker/perform.py", "/home/ann/load.py"), 3),
        (("/src/pipeloom/worker/perform.py", "/home/ann/load.py", "/src/pipeloom/worker/context.py"), 2),
        (("/src/pipeloom/worker/perform.py", "/src/pipeloom/examples/etl.py", "/src/pipeloom/retry.py"), 2),
        (("/src/pipeloom/worker/perform.py", "/src/pipeloom/demo.py"), 2),
        (("/src/pipeloom/worker/perform.py", "/home/ann/pipeloom/jobs/load.py", "<frozen os>"), 2),
        (
            (
                "/x/site-packages/pipeloom/worker/perform.py",
                "/home/ann/pipeloom/load.py",
                "/usr/lib/python3.11/re.py",
            ),
            2,
        ),
    ],
)
def test_the_place_is_the_last_one_in_the_users_own_code(files, line):
    """Wherever pipeloom lies; the last one of all where none is the user's. Both ways to tell it agree."""
    told = traceback_through(*files)

    assert origin(told, cut=True) == ("ValueError", f"{files[line - 1]}:{line} in there")
    assert essence(told)[0] == f'  File "{files[line - 1]}", line {line}, in there'


@pytest.mark.parametrize("file", ["/tmp/ipykernel_4711/654478423.py", "<ipython-input-3-5a7c0ffee>"])
def test_a_notebooks_cell_has_one_place_in_each_session(file):
    """Its kinds are the same ones when the cell is run again."""
    assert origin(traceback_through(file), cut=True) == ("ValueError", "<cell>:1 in there")


def test_the_essence_is_the_users_own_line_and_the_end():
    """Of forty frames in a library, none."""
    message, error = raised("import json\ndef parse(text):\n  return json.loads(text)\nparse('x')")
    lines = essence(error)

    assert lines[0] == '  File "/home/ann/load.py", line 3, in parse'
    assert lines[-1] == f"json.decoder.JSONDecodeError: {message}"
    assert "  …" in lines
    assert len(lines) <= 5
