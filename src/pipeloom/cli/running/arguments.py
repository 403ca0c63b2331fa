"""Bind ``--arg`` options to a function's parameters."""

from __future__ import annotations

import datetime as dt
import enum
import inspect
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ForwardRef

import click

from pipeloom.cli.running.values import converted, takes_many
from pipeloom.data.text import clean

__all__ = ["bound"]


def bound(function: Callable[..., Any], pairs: Sequence[str]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the positional and the keyword arguments.

    Args:
        function: The function to call.
        pairs: ``KEY=VALUE``, as typed.

    Raises:
        UsageError: The arguments do not fit the function.
    """
    words = _words(pairs)
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # a builtin without a signature
        return (), {name: _value(name, typed, Any) for name, typed in words.items()}
    parameters = signature.parameters
    rest = next((p for p in parameters.values() if p.kind is p.VAR_KEYWORD), None)
    known = {name: p for name, p in parameters.items() if p is not rest}
    values: dict[str, Any] = {}
    others: dict[str, Any] = {}
    for name, typed in words.items():
        parameter = known.get(name, rest)
        if parameter is None:
            raise click.UsageError(
                f"--arg {clean(name)}: the function has no such parameter (it has: {', '.join(known) or 'none'})"
            )
        if parameter is rest:
            others[name] = _value(name, typed, _annotation(function, parameter))
        elif parameter.kind is parameter.VAR_POSITIONAL:
            annotation = _annotation(function, parameter)
            values[name] = tuple(_value(name, [word], annotation) for word in typed)
        else:
            values[name] = _value(name, typed, _annotation(function, parameter))
    for name, parameter in known.items():
        needed = parameter.default is parameter.empty and parameter.kind is not parameter.VAR_POSITIONAL
        if needed and name not in values:
            raise click.UsageError(f"the function requires a value for {name}: pass --arg {name}=…")
    if rest is not None and others:
        values[rest.name] = others
    call = inspect.BoundArguments(signature, values)
    call.apply_defaults()  # fills the gaps before positional arguments
    return call.args, call.kwargs


def _words(pairs: Sequence[str]) -> dict[str, list[str]]:
    words: dict[str, list[str]] = {}
    for pair in pairs:
        name, equals, word = pair.partition("=")
        if not equals:
            raise click.UsageError(f"--arg {clean(pair)} has no value: write KEY=VALUE")
        words.setdefault(name, []).append(word)
    return words


def _value(name: str, words: Sequence[str], annotation: Any) -> Any:
    if len(words) > 1 and not takes_many(annotation):
        raise click.UsageError(
            f"--arg {clean(name)} was given {len(words)} times but takes one value (annotate the parameter as a "
            "list to take several)"
        )
    try:
        return converted(words, annotation)
    except ValueError as error:
        typed = " ".join(f"--arg {clean(name)}={clean(word)}" for word in words)
        raise click.UsageError(f"{typed}: not a valid {error}") from None
    except TypeError as error:
        raise click.UsageError(
            f"--arg {clean(name)}: text cannot be converted to {error}: call the function from one without this "
            "parameter"
        ) from None


def _annotation(function: Callable[..., Any], parameter: inspect.Parameter) -> Any:
    """Return a parameter's type: its annotation or, if missing or unresolvable, the type of its default."""
    annotation = parameter.annotation
    if isinstance(annotation, ForwardRef):
        annotation = annotation.__forward_arg__
    while isinstance(annotation, str):  # twice for a quoted one in a file with `from __future__ import annotations`
        annotation = _evaluated(annotation, function)
    return _kind_of(parameter.default) if annotation is parameter.empty else annotation


def _evaluated(annotation: str, function: Any) -> Any:
    """Evaluate an annotation in the function's module; ``empty`` when that fails."""
    function = inspect.unwrap(getattr(function, "func", function))
    module = sys.modules.get(getattr(function, "__module__", None) or "")
    names = getattr(function, "__globals__", {} if module is None else vars(module))
    try:
        return eval(annotation, names)  # as typing.get_type_hints does
    except Exception:  # noqa: BLE001 - an annotation may be any expression
        return inspect.Parameter.empty


def _kind_of(default: Any) -> Any:
    kind = type(default)
    if isinstance(default, list | tuple | set | frozenset):
        kinds = {_kind_of(value) for value in default}
        part = kinds.pop() if len(kinds) == 1 else str
        return tuple[part, ...] if isinstance(default, tuple) else kind[part]  # type: ignore[valid-type]  # known only at run time
    if isinstance(default, Path):
        return Path
    if kind in (bool, int, float, str, dt.date, dt.datetime) or isinstance(default, enum.Enum):
        return kind
    return Any
