"""Find the function that ``FILE_OR_MODULE[:FUNCTION]`` names; imports the file or module."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import os
import re
import sys
from collections.abc import Callable
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any, Final, NamedTuple

import click

from pipeloom.data.text import clean

__all__ = ["Target", "function_of", "module_of", "target_of"]

_MAIN: Final = "main"
_NAME: Final = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")
_SUFFIXES: Final = ("", ".py", ".pyw")
_BLOCK: Final = re.compile(r"^if\b.*\b__name__\b", re.MULTILINE)


class Target(NamedTuple):
    """What the user typed, in its two parts.

    Attributes:
        place: A file's path, or a module's dotted name.
        name: The function's name, dotted if it is in a class; ``""`` when none was typed.
        is_file: Whether ``place`` is a path.
    """

    place: str
    name: str
    is_file: bool


def target_of(typed: str) -> Target:
    """Split what was typed; a colon may also be part of a path.

    Raises:
        UsageError: It is neither a file nor a possible module.
    """
    place, colon, name = typed.rpartition(":")
    if not colon or os.path.isfile(typed) or (name and not _NAME.fullmatch(name)):
        place, name = typed, ""
    shown = clean(place)
    path = Path(place)
    if place == "-":
        raise click.UsageError("a program cannot be read from standard input: name a file instead")
    if not place or "\0" in place:
        raise click.UsageError("no file or module was named: name a file, such as load.py")
    is_file = path.suffix in _SUFFIXES[1:] or path.name != place
    if path.is_dir() and is_file:
        raise click.UsageError(_a_directory(path))
    if is_file and not path.is_file():
        raise click.UsageError(f"{shown}: no such file")
    if path.is_file() and path.suffix not in _SUFFIXES:
        raise click.UsageError(f"{shown} is not a Python file: name a file that ends in .py, or a module")
    return Target(place, name, is_file)


def module_of(target: Target) -> ModuleType:
    """Import the target, with the current directory and the file's own directory on the path.

    A file in a package is imported as part of it, so that its functions have the same names as with ``import``.
    """
    _importable(str(Path.cwd()))
    if not target.is_file:
        return _named(target.place)
    path = Path(os.path.abspath(target.place))  # a symlink keeps its own name, as in Python
    root, name = _name_in_package(path)
    _importable(str(root if name != path.stem else path.resolve().parent))
    if name != path.stem:
        package = name.partition(".")[0]
        if package not in sys.modules or _is_from(sys.modules[package], root / package / "__init__.py"):
            return importlib.import_module(name)
        name = path.stem  # another package of this name is imported already, and `import` would find that one
    spec = importlib.util.spec_from_file_location(name, path, loader=_UsersFile(name, str(path)))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    before = sys.modules.get(name)
    if before is None or isinstance(
        getattr(before, "__loader__", None), _UsersFile
    ):  # a user's queue.py must not replace the standard queue
        sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        if sys.modules.get(name) is module:  # as `import` does
            del sys.modules[name]
        raise
    return module


def function_of(module: ModuleType, target: Target) -> Callable[..., Any]:
    """Return the function.

    Raises:
        UsageError: No such function, or it cannot be called this way.
    """
    name = target.name or _MAIN
    found: Any = module
    owner: Any = None
    for part in name.split("."):
        owner, found = found, getattr(found, part, None)
        if found is None:
            raise click.UsageError(_nothing_there(module, target))
    shown = f"{clean(target.place)}:{name}"
    if inspect.isclass(found):
        raise click.UsageError(f"{shown} is a class: name a function, or a static method ({name}.METHOD)")
    if not callable(found):
        what = f"is a {type(found).__name__}"
        if inspect.iscoroutine(found):
            found.close()
            what = "is a coroutine, the result of a call"
        raise click.UsageError(f"{shown} {what}: name the function itself")
    if inspect.isclass(owner) and inspect.isfunction(inspect.getattr_static(owner, name.rpartition(".")[2], None)):
        raise click.UsageError(
            f"{shown} needs an instance of its class: make it a static method, or name a function"
        )
    if _yields(found):
        raise click.UsageError(
            f"{shown} is a generator function (it has a yield), so calling it runs nothing: name a function that "
            "iterates over it, such as one that passes it to pipeloom.map"
        )
    call: Callable[..., Any] = found
    return call


class _UsersFile(SourceFileLoader):
    """Loads a file named on the command line of ``pipeloom run``."""


def _importable(directory: str) -> None:
    if directory not in sys.path[:2]:
        sys.path.insert(0, directory)


def _named(place: str) -> ModuleType:
    if not _NAME.fullmatch(place):
        raise click.UsageError(f"{clean(place)}: no such file, and not a valid module name")
    try:
        module = importlib.import_module(place)
    except ModuleNotFoundError as error:
        if error.name is None or not (place == error.name or place.startswith(error.name + ".")):
            raise
        hint = f", and no file {place}.py" if "." not in place else ""
        hint += f"; for the file, use ./{place}" if os.path.isfile(place) else ""
        raise click.UsageError(f"{clean(place)}: no module of that name{hint}") from error
    if getattr(module, "__file__", None) is None and hasattr(
        module, "__path__"
    ):  # Python imports any directory as a package
        raise click.UsageError(_a_directory(Path(place)))
    return module


def _a_directory(path: Path) -> str:
    return f"{clean(path)} is a directory: name a file in it, such as {clean(path / 'load.py')}"


def _name_in_package(path: Path) -> tuple[Path, str]:
    """Return the directory to import a file from, and the module's name there."""
    parts = [] if path.stem == "__init__" else [path.stem]
    root = path.parent
    while (root / "__init__.py").is_file() and root.name.isidentifier():
        parts.insert(0, root.name)
        root = root.parent
    if path.suffix != ".py" or not all(part.isidentifier() for part in parts):
        return path.parent, path.stem
    return root, ".".join(parts)


def _is_from(module: ModuleType, path: Path) -> bool:
    try:
        return os.path.samefile(module.__file__ or "", path)
    except OSError:
        return False


def _yields(function: object) -> bool:
    call = function if inspect.isroutine(function) else getattr(function, "__call__", None)  # noqa: B004 - inspected, not tested
    return any(inspect.isgeneratorfunction(f) or inspect.isasyncgenfunction(f) for f in (function, call))


def _nothing_there(module: ModuleType, target: Target) -> str:
    there = sorted(
        name
        for name, value in vars(module).items()
        if inspect.isfunction(value) and value.__module__ == module.__name__ and not name.startswith("_")
    )
    has = f": it has {', '.join(there[:8])}" if there else ""
    said = f"{clean(target.place)} has no function {clean(target.name or _MAIN)}{has}"
    if not target.name and _has_block(module):
        file = clean(target.place) if target.is_file else f"-m {target.place}"
        said += f"; to run its `if __name__` block: python {file}"
    return said


def _has_block(module: ModuleType) -> bool:
    try:
        return _BLOCK.search(inspect.getsource(module)) is not None
    except (OSError, TypeError):
        return False
