"""``pipeloom run``."""

from __future__ import annotations

import importlib.util
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import click

from pipeloom.cli.options import say, verbose_option
from pipeloom.statuses import DONE

_WORDS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


@click.command(name="run")
@click.argument("target", metavar="FILE_OR_MODULE[:FUNCTION]")
@click.option("--arg", "pairs", multiple=True, metavar="KEY=VALUE", help="An argument of the function; repeatable.")
@verbose_option
@click.option("-l", "--log-file", type=click.Path(path_type=Path), metavar="PATH", help="Append log records here.")
def command(target: str, pairs: tuple[str, ...], verbose: int, log_file: Path | None) -> int:
    """Call a function of yours, such as one that calls pipeloom.map; FUNCTION defaults to main.

    The current directory is importable. Values are converted as the function's annotations say (int, float, bool,
    Path); without annotation they are text.
    """
    from pipeloom import RunReport, setup_logging

    setup_logging(verbose, log_file)
    place, _, name = target.partition(":") if not _is_windows_path(target) else (target, "", "")
    function = _function(_module(place), name or "main", place)
    outcome = function(**_arguments(function, pairs))
    if outcome is not None:
        say(outcome if isinstance(outcome, RunReport) else str(outcome))
    return 1 if isinstance(outcome, RunReport) and outcome.status != DONE else 0


def _is_windows_path(target: str) -> bool:
    return len(target) > 2 and target[1] == ":" and target[2] in "\\/" and target.count(":") == 1


def _module(place: str) -> ModuleType:
    """Import a file by its stem, or a module by its name, with the current directory on the path."""
    sys.path.insert(0, str(Path.cwd()))
    path = Path(place)
    if path.suffix == ".py":
        if not path.is_file():
            raise click.UsageError(f"{place}: no such file")
        sys.path.insert(0, str(path.resolve().parent))
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[path.stem] = module
        spec.loader.exec_module(module)
        return module
    try:
        return importlib.import_module(place)
    except ModuleNotFoundError as error:
        if error.name is not None and (place == error.name or place.startswith(error.name + ".")):
            raise click.UsageError(f"{place}: no module of that name here, and no file {place}.py") from error
        raise
    except ValueError as error:
        raise click.UsageError(f"{place!r} is no module name: {error}") from error


def _function(module: ModuleType, name: str, place: str) -> Callable[..., Any]:
    function = getattr(module, name, None)
    if not callable(function):
        there = [
            other
            for other, value in vars(module).items()
            if inspect.isfunction(value) and value.__module__ == module.__name__ and not other.startswith("_")
        ]
        hint = f": it has {', '.join(sorted(there)[:8])}" if there else ""
        raise click.UsageError(f"{place} has no function {name}{hint}")
    found: Callable[..., Any] = function
    return found


def _arguments(function: Callable[..., Any], pairs: tuple[str, ...]) -> dict[str, Any]:
    signature = inspect.signature(function, eval_str=True)
    takes_any = any(p.kind is p.VAR_KEYWORD for p in signature.parameters.values())
    values: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            raise click.UsageError(f"--arg {pair}: write KEY=VALUE")
        parameter = signature.parameters.get(name)
        if parameter is None and not takes_any:
            known = ", ".join(signature.parameters) or "none"
            raise click.UsageError(f"--arg {name}: the function has no such argument (it has: {known})")
        values[name] = _converted(name, text, None if parameter is None else parameter.annotation)
    for name, parameter in signature.parameters.items():
        optional = parameter.default is not parameter.empty or parameter.kind in (
            parameter.VAR_KEYWORD,
            parameter.VAR_POSITIONAL,
        )
        if not optional and name not in values:
            raise click.UsageError(f"the function needs --arg {name}=…")
    return values


def _converted(name: str, text: str, annotation: Any) -> Any:
    wanted = [kind for kind in (bool, int, float, Path) if annotation is kind or kind in _parts(annotation)]
    try:
        if not wanted:
            return text
        if wanted[0] is bool:
            return _WORDS[text.lower()]
        return wanted[0](text)
    except (ValueError, KeyError):
        raise click.UsageError(f"--arg {name}={text}: not a valid {wanted[0].__name__}") from None


def _parts(annotation: Any) -> tuple[Any, ...]:
    from typing import get_args

    return get_args(annotation)
