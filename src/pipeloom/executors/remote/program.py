"""Sends the program's functions and modules to worker processes.

A function is sent by its module and name if possible. If it is defined in the program itself, each worker imports
the program, under another name than ``__main__``; therefore anything that it does besides defining things must be
guarded by ``if __name__ == "__main__":``. With cloudpickle, a function that cannot be sent by name is sent by
value.
"""

from __future__ import annotations

import functools
import inspect
import os
import pickle
import re
import runpy
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any, Final, Literal, NamedTuple, TypeAlias, cast

from pipeloom.data.text import attribute, clean, describe
from pipeloom.worker.current import importing_program

__all__ = [
    "Main",
    "NotFoundError",
    "Packed",
    "Program",
    "in_words",
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
_NAME: Final = "__mp_main__"  # the same as in multiprocessing, so that programs written for it recognise it


Main: TypeAlias = Literal["imported", "shared", "missing"]
"""How workers get the program itself: they import it when needed, have it from the start, or do not have it."""


class NotFoundError(Exception):
    """The imported program does not contain what was sent by name."""


class Program(NamedTuple):
    """What a worker process needs to find the same modules.

    Attributes:
        path: ``sys.path``.
        directory: The working directory; ``None`` if it was deleted.
        arguments: ``sys.argv``.
        module: The program's module name, if it was started with ``python -m``.
        file: The program's file.
    """

    path: list[str]
    directory: str | None
    arguments: list[str]
    module: str | None
    file: str | None

    def enter(self) -> None:
        """Set up this process to find the program's modules; the worker's side."""
        sys.path[:] = self.path
        sys.argv[:] = self.arguments
        if self.directory is not None:
            try:
                os.chdir(self.directory)
            except OSError:
                pass  # it was deleted, for the run itself as well

    @property
    def can_be_imported(self) -> bool:
        """Whether it can be imported from a file."""
        return self.module is not None or self.file is not None

    @property
    def is_loaded(self) -> bool:
        """Whether this process has imported the program itself."""
        # Once imported, multiprocessing also registers ``__main__`` under this name.
        return getattr(sys.modules.get(_NAME), "__name__", None) == _NAME

    def load_main(self) -> None:
        """Import the program itself; its ``__main__`` block does not run.

        Raises:
            BaseException: Whatever it raises.
        """
        if not self.can_be_imported:
            raise ImportError("a program that was typed in or read from standard input cannot be imported")
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
    """Return the name that the module of a class has in the run's process, also when called in a worker."""
    return _MAIN if kind.__module__ == _NAME else str(kind.__module__)


def present_program() -> Program:
    """Return the program of this process; the run's side."""
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
    """A function, or something that goes with it, as it is sent.

    Attributes:
        by_name: Its pickle, which contains its module and name.
        by_value: Its pickle by value; only used if the name does not work.
    """

    by_name: bytes | None
    by_value: bytes | None


def packed(what: str, thing: object, main: Main = "imported") -> Packed:
    """Return an object in the form in which it is sent to worker processes.

    It is sent by name if possible: a worker then imports it, and tracebacks show its lines. It is sent by value if
    it has no importable name, or if importing the program would do more than define things.

    Args:
        what: How an error refers to it.
        thing: A function, or a tuple of what goes with one.
        main: How workers get the program itself.

    Raises:
        TypeError: It cannot be sent; the message says why, and what to do.
    """
    by_name, failure = _dumped(pickle.dumps, thing)
    if by_name is not None and not _mentions_program(by_name):
        return Packed(by_name, None)
    dumps = _cloudpickle()
    by_value, reason = (None, None) if dumps is None else _dumped(dumps, thing)
    if by_name is not None and (main == "shared" or (main == "imported" and _can_be_imported(by_value))):
        return Packed(by_name, by_value)
    if by_value is not None:
        return Packed(None, by_value)
    failure = reason or failure  # cloudpickle finds any definition, so its error is about a value
    if failure is None:
        failure = ImportError(
            "it is defined in a program that workers cannot import, such as a notebook or a prompt"
        )
    said = clean(describe(failure), 200)
    if _is_of_a_value(failure):
        raise TypeError(
            f"{what} cannot be sent to worker processes, because of a value in it ({said}): create that value in "
            'the worker, for example with local=, or use executor="threads"'
        ) from failure
    raise TypeError(
        f"{what} cannot be sent to worker processes ({said}): define it at the top level "
        'of a module, install cloudpickle, or use executor="threads"'
    ) from failure


def in_words(function: Callable[..., object]) -> str:
    """Return how an error refers to a function, or to an object that is called like one."""
    inner: Any = function
    while isinstance(inner, functools.partial):
        inner = inner.func
    name = attribute(inner, "__qualname__")
    what = f"the function {name}" if isinstance(name, str) else f"the {type(inner).__qualname__} object"
    return clean(what if inner is function else f"the partial of {what}", 200)


def _is_of_a_value(failure: Exception) -> bool:
    """Return whether a pickling error is due to a value such as a lock, not to a definition without a name.

    Pickle raises PicklingError or AttributeError for a name that it cannot look up.
    """
    return not isinstance(failure, pickle.PicklingError | AttributeError | ImportError)


def _dumped(dumps: Callable[[object], bytes], thing: object) -> tuple[bytes | None, Exception | None]:
    try:
        return dumps(thing), None
    except Exception as error:  # noqa: BLE001 - a foreign object may raise anything when it is pickled
        return None, error


def _can_be_imported(by_value: bytes | None) -> bool:
    """Return whether workers should import the program; not if that would run it and there is another way."""
    return present_program().can_be_imported and (by_value is None or _is_guarded())


def runs_when_imported() -> bool:
    """Return whether a process that imports this program would run it."""
    return present_program().can_be_imported and not _is_guarded()


def _is_guarded() -> bool:
    """Return whether the program has a ``__name__`` guard."""
    try:
        source = inspect.getsource(sys.modules[_MAIN])
    except (OSError, TypeError, KeyError):
        return False
    return _GUARD.search(source) is not None


def load_packed(parts: Packed, program: Program) -> Any:
    """Return what was packed; the worker's side. Raises the same errors as :func:`load`."""
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
    """Return what was packed, for workers that do not import the program; the worker's side.

    Raises:
        NotFoundError: It is not installed here.
        BaseException: Whatever importing it raises.
    """
    if parts.by_name is not None:
        try:
            return pickle.loads(parts.by_name)
        except (AttributeError, ImportError) as error:
            if parts.by_value is None:
                raise NotFoundError(
                    f"it cannot import what the run sends ({clean(error, 200)}): install that module where the "
                    "workers are, or move the function to a module that is installed there"
                ) from error
    assert parts.by_value is not None
    return pickle.loads(parts.by_value)


def pickled(item: object, main: Main) -> bytes:
    """Return an input in the form in which it is sent; raises whatever pickling it raises."""
    data = pickle.dumps(item, pickle.HIGHEST_PROTOCOL)
    if main == "missing" and _mentions_program(data) and (dumps := _cloudpickle()) is not None:
        return dumps(item)
    return data


def load(data: bytes, program: Program) -> Any:
    """Unpickle data; imports the program itself if necessary. The worker's side.

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
            f"the program, when a worker process imports it, does not define what it sends ({clean(error, 200)}): "
            'define it at the top level, not under if __name__ == "__main__":, or install cloudpickle'
        ) from error


def _mentions_program(data: bytes) -> bool:
    """Return whether a pickle refers to the program, which has another name in a worker that starts a run."""
    return _MAIN.encode() in data or _NAME.encode() in data


def _cloudpickle() -> Callable[[object], bytes] | None:
    try:
        from cloudpickle import dumps
    except ImportError:
        return None
    return cast("Callable[[object], bytes]", dumps)
