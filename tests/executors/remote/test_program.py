"""How functions, and the program that they stand in, get into a worker process."""

from __future__ import annotations

import os
import pickle
import sys
from types import ModuleType

import pytest

from pipeloom.executors.remote.program import (
    NotFoundError,
    Packed,
    Program,
    load,
    load_packed,
    packed,
    present_program,
)

GUARD = "if __name__ == '__main__':"


def top_level(x):
    """A function that has a name in a module."""
    return x + 1


@pytest.fixture
def main(monkeypatch, tmp_path):
    """A program of one file, as this process's ``__main__``; returns a way to write it."""

    def written(source):
        file = tmp_path / "program.py"
        file.write_text(source)
        module = ModuleType("__main__")
        module.__file__ = str(file)
        module.__spec__ = None
        exec(compile(source, str(file), "exec"), vars(module))
        monkeypatch.setitem(sys.modules, "__main__", module)
        monkeypatch.delitem(sys.modules, "__mp_main__", raising=False)
        return module

    yield written
    sys.modules.pop("__mp_main__", None)


@pytest.fixture
def worker(monkeypatch):
    """Turns this process into one whose ``__main__`` is another program, as a worker's is."""
    return lambda: monkeypatch.setitem(sys.modules, "__main__", ModuleType("__main__"))


@pytest.fixture
def without_cloudpickle(monkeypatch):
    monkeypatch.setitem(sys.modules, "cloudpickle", None)


def test_a_function_of_a_module_goes_by_its_name():
    parts = packed("fn", top_level)

    assert parts.by_value is None
    assert load_packed(parts, present_program()) is top_level


def test_what_has_no_name_goes_by_value():
    step = 2
    parts = packed("fn", lambda x: x + step)

    assert parts.by_name is None
    assert load_packed(parts, present_program())(1) == 3


def test_without_cloudpickle_it_is_refused_in_one_sentence(without_cloudpickle):
    with pytest.raises(
        TypeError, match=r"^the function f cannot be sent to worker processes .*install cloudpickle"
    ):
        packed("the function f", lambda x: x)


def test_a_program_with_a_guard_is_imported(main, worker):
    module = main("def f(x):\n    return x * 2\nif __name__ == '__main__':\n    pass\n")
    parts = packed("fn", module.f)
    program = present_program()

    assert parts.by_name is not None
    worker()
    found = load_packed(parts, program)

    assert program.is_loaded
    assert found(4) == 8
    assert found.__code__.co_filename == program.file


def test_a_program_is_imported_although_multiprocessing_took_its_name(main, worker):
    """As it does when it is imported, by a module that a task needs."""
    module = main(f"def f(x):\n    return x * 2\n{GUARD}\n    pass\n")
    parts, program = packed("fn", module.f), present_program()
    worker()
    sys.modules["__mp_main__"] = sys.modules["__main__"]

    assert load_packed(parts, program)(4) == 8


def test_a_program_without_a_guard_is_not(main):
    module = main("def f(x):\n    return x * 2\n")
    parts = packed("fn", module.f)

    assert parts.by_name is None
    assert load_packed(parts, present_program())(4) == 8
    assert not present_program().is_loaded


def test_what_stands_behind_the_guard_is_not_there(main, worker, without_cloudpickle):
    module = main(
        "if __name__ in ('__main__', 'builtins') or not __name__.startswith('__mp'):\n    def f(x): ...\n"
    )
    parts, program = packed("fn", module.f), present_program()
    worker()

    with pytest.raises(NotFoundError, match="not under if __name__"):
        load_packed(parts, program)


def test_what_is_not_found_by_name_goes_by_value(main, worker):
    module = main(f"{GUARD}\n    def f(x):\n        return 7\n")
    parts, program = packed("fn", module.f), present_program()
    worker()

    assert load_packed(parts, program)(0) == 7


def test_a_program_that_is_no_file_cannot_be_imported(main, without_cloudpickle):
    module = main("def f(x): ...\n")
    del module.__file__

    assert not present_program().can_be_imported
    with pytest.raises(TypeError, match="notebook"):
        packed("fn", module.f)
    with pytest.raises(ImportError, match="standard input"):
        present_program().load_main()


def test_what_is_missing_from_a_module_is_said_as_python_says_it():
    with pytest.raises(AttributeError):
        load(pickle.dumps(top_level).replace(b"top_level", b"not_there"), present_program())


def test_a_worker_has_the_programs_surroundings(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path, "beside"])
    monkeypatch.setattr(sys, "argv", ["load.py", "--all"])
    program = present_program()
    assert os.path.join(tmp_path, "beside") in program.path

    monkeypatch.setattr(sys, "argv", ["worker"])
    monkeypatch.chdir("/")
    program.enter()

    assert sys.argv == ["load.py", "--all"]
    assert os.getcwd() == str(tmp_path)
    Program(program.path, "/no/such/directory", program.arguments, None, None).enter()


def test_packed_is_plain():
    assert pickle.loads(pickle.dumps(Packed(b"a", None))) == Packed(b"a", None)
