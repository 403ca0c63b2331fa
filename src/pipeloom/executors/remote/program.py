"""The program that a run belongs to, as its worker processes need it: modules, functions, and how they are sent.

A function is sent by its module and name if that can be. One that stands in the program itself makes each worker
import the program, under another name than ``__main__``: so what it does beside defining things must stand behind
``if __name__ == "__main__":``. With cloudpickle a function is sent as it is, if it cannot be sent by its name.
"""

from __future__ import annotations

import inspect
import os
import pickle
import re
import runpy
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any, Final, Literal, NamedTuple, TypeAlias, cast

from pipeloom.data.text import clean, describe
from pipeloom.worker.current import importing_program

__all__ = [
    "Main",
    "NotFoundError",
    "Packed",
    "Program",
    "load",
    "load_packed",
    "load_there",
    "module_of",
    "packed",
    "pickled",
    "present_program",
    "runs_when_imported",
]

_MAIN: Final = "__main__"
_GUARD: Final = re.compile(r"^if\b.*\b__name__\b", re.MULTILINE)
_NAME: Final = "__mp_main__"  # as with multiprocessing, so that programs written for it know it


Main: TypeAlias = Literal["imported", "shared", "missing"]
"""How workers come by the program itself: they import it when they need it, have it from the start, or have not got
it."""


class NotFoundError(Exception):
    """What is sent cannot be found in the program when it is imported."""


class Program(NamedTuple):
    """What a worker process needs to find the same modules.

    Attributes:
        path: ``sys.path``.
        directory: The current one; ``None`` if it is gone.
        arguments: ``sys.argv``.
        module: The program's name, if it was started by it (``python -m``).
        file: The program's file.
    """

    path: list[str]
    directory: str | None
    arguments: list[str]
    module: str | None
    file: str | None

    def enter(self) -> None:
        """Make this process one of the program's; the worker's side."""
        sys.path[:] = self.path
        sys.argv[:] = self.arguments
        if self.directory is not None:
            try:
                os.chdir(self.directory)
            except OSError:
                pass  # it is gone, as for the run itself

    @property
    def can_be_imported(self) -> bool:
        """Whether there is a file to import it from."""
        return self.module is not None or self.file is not None

    @property
    def is_loaded(self) -> bool:
        """Whether this process has imported the program itself."""
        # multiprocessing, once imported, gives whatever is ``__main__`` this name, too.
        return getattr(sys.modules.get(_NAME), "__name__", None) == _NAME

    def load_main(self) -> None:
        """Import the program itself; its ``__main__`` block does not run.

        Raises:
            BaseException: Whatever it raises.
        """
        if not self.can_be_imported:
            raise ImportError("a program that is typed, or read from standard input, cannot be imported")
        with importing_program():
            if self.module is not None:
                found = runpy.run_module(self.module, run_name=_NAME, alter_sys=True)
            else:
                assert self.file is not None
                found = runpy.run_path(self.file, run_name=_NAME)
        main = ModuleType(_NAME)
        vars(main).update(found)
        sys.modules[_NAME] = sys.modules[_MAIN] = main


def module_of(kind: type) -> str:
    """Return what the module of a class is called in the run's process, as in its workers."""
    return _MAIN if kind.__module__ == _NAME else str(kind.__module__)


def present_program() -> Program:
    """Return this program; the run's side."""
    main = sys.modules.get(_MAIN)
    spec = getattr(main, "__spec__", None)
    file = getattr(main, "__file__", None)
    try:
        directory = os.getcwd()
    except OSError:
        directory = None
    name = None
    if spec is not None:  # started as `python -m`; a package's __main__ is not written to be imported
        file = None
        name = str(spec.name)
        if name.rpartition(".")[2] == _MAIN:
            name = None
    path = [os.path.join(directory or "", place) for place in sys.path]
    file = None if file is None else os.path.abspath(file)
    return Program(path, directory, list(sys.argv), name, file if file and os.path.isfile(file) else None)


class Packed(NamedTuple):
    """A function, or what goes with one, as it is sent.

    Attributes:
        by_name: Where it stands.
        by_value: It itself; used if there is no other way.
    """

    by_name: bytes | None
    by_value: bytes | None


def packed(what: str, thing: object, main: Main = "imported") -> Packed:
    """Return something as it is sent to worker processes.

    By its name if that can be: a worker then imports it as it is, and a traceback shows its lines. By value if it
    has no such name, or if importing the program does more than define things.

    Args:
        what: What the caller calls it, for the words.
        thing: A function, or a tuple of what goes with one.
        main: How workers come by the program itself.

    Raises:
        TypeError: It cannot be sent; the sentence says why, and what to do.
    """
    by_name, failure = _dumped(pickle.dumps, thing)
    if by_name is not None and not _mentions_program(by_name):
        return Packed(by_name, None)
    dumps = _cloudpickle()
    by_value = None if dumps is None else _dumped(dumps, thing)[0]
    if by_name is not None and (main == "shared" or (main == "imported" and _can_be_imported(by_value))):
        return Packed(by_name, by_value)
    if by_value is not None:
        return Packed(None, by_value)
    if failure is None:
        failure = ImportError(
            "it stands in a program that its workers cannot import: a notebook, a prompt, or the like"
        )
    raise TypeError(
        f"{what} cannot be sent to worker processes ({clean(describe(failure), 200)}): define it at the top level "
        'of a module, install cloudpickle, or use executor="threads"'
    ) from failure


def _dumped(dumps: Callable[[object], bytes], thing: object) -> tuple[bytes | None, Exception | None]:
    try:
        return dumps(thing), None
    except Exception as error:  # noqa: BLE001 - a foreign object may raise anything when it is pickled
        return None, error


def _can_be_imported(by_value: bytes | None) -> bool:
    """Say whether workers should import the program; not if it runs on its own and there is another way."""
    return present_program().can_be_imported and (by_value is None or _is_guarded())


def runs_when_imported() -> bool:
    """Say whether processes that import this program would do all that it does."""
    return present_program().can_be_imported and not _is_guarded()


def _is_guarded() -> bool:
    """Say whether the program keeps what it does behind a guard."""
    try:
        source = inspect.getsource(sys.modules[_MAIN])
    except (OSError, TypeError, KeyError):
        return False
    return _GUARD.search(source) is not None


def load_packed(parts: Packed, program: Program) -> Any:
    """Return what was packed; the worker's side. Raises as :func:`load`."""
    if parts.by_name is None:
        assert parts.by_value is not None
        return load(parts.by_value, program)
    try:
        return load(parts.by_name, program)
    except NotFoundError:
        if parts.by_value is None:
            raise
        return load(parts.by_value, program)


def load_there(parts: Packed) -> Any:
    """Return what was packed, where workers do not import the program for it; the worker's side.

    Raises:
        NotFoundError: It is not there.
        BaseException: Whatever importing it raises.
    """
    if parts.by_name is not None:
        try:
            return pickle.loads(parts.by_name)
        except (AttributeError, ImportError) as error:
            if parts.by_value is None:
                raise NotFoundError(
                    f"it does not find what the run sends ({clean(error, 200)}): install that module where the "
                    "workers are, or put the function into one that is there"
                ) from error
    assert parts.by_value is not None
    return pickle.loads(parts.by_value)


def pickled(item: object, main: Main) -> bytes:
    """Return an input as it is sent; raises whatever pickling it raises."""
    data = pickle.dumps(item, pickle.HIGHEST_PROTOCOL)
    if main == "missing" and _mentions_program(data) and (dumps := _cloudpickle()) is not None:
        return dumps(item)
    return data


def load(data: bytes, program: Program) -> Any:
    """Return what was pickled; imports the program itself if it is needed. The worker's side.

    Raises:
        BaseException: Whatever importing it raises.
    """
    try:
        return pickle.loads(data)
    except (AttributeError, ImportError):
        if not _mentions_program(data) or program.is_loaded:
            raise
    program.load_main()
    try:
        return pickle.loads(data)
    except AttributeError as error:
        raise NotFoundError(
            f"the program, as each worker process imports it, lacks what it sends ({clean(error, 200)}): define it "
            'at the top level, not behind if __name__ == "__main__":, or install cloudpickle'
        ) from error


def _mentions_program(data: bytes) -> bool:
    """Say whether a pickle needs the program itself, which has another name in a worker that starts a run."""
    return _MAIN.encode() in data or _NAME.encode() in data


def _cloudpickle() -> Callable[[object], bytes] | None:
    try:
        from cloudpickle import dumps
    except ImportError:
        return None
    return cast("Callable[[object], bytes]", dumps)
