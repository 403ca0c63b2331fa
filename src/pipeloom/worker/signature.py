"""Determines how a function is called: with its input alone, or with a context as well."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import get_args

from pipeloom.worker.base_context import BaseContext
from pipeloom.worker.context import TaskContext

__all__ = ["context_of", "second_argument_of"]


def context_of(fn: Callable[..., object]) -> str | None:
    """Return the name of the parameter that receives the context; ``None`` if the function has none.

    It is the parameter that is named ``ctx`` or annotated ``TaskContext`` or ``AsyncTaskContext``.

    Raises:
        TypeError: The function cannot be called with one input.
    """
    name = next((p.name for p in _parameters(fn) if p.name == "ctx" or _means_context(p.annotation)), None)
    _check_call(fn, "one input, and optionally ctx", None, **({} if name is None else {name: None}))
    return name


def second_argument_of(worker_fn: Callable[..., object]) -> str:
    """Return ``""``, which means the second argument: there a worker receives its queue, which is its context.

    Raises:
        TypeError: The function cannot be called with two arguments.
    """
    _check_call(worker_fn, "a task and its queue: pipeloom.map calls functions of one input", None, None)
    return ""


def _parameters(fn: Callable[..., object]) -> list[inspect.Parameter]:
    try:
        return list(inspect.signature(fn).parameters.values())
    except (TypeError, ValueError):  # some builtins have no signature
        return []


def _means_context(annotation: object) -> bool:
    if isinstance(annotation, str):
        return re.search(rf"\b(Async)?{TaskContext.__name__}\b", annotation) is not None
    return any(
        isinstance(kind, type) and issubclass(kind, BaseContext) for kind in (annotation, *get_args(annotation))
    )


def _check_call(fn: Callable[..., object], takes: str, /, *arguments: None, **named: None) -> None:
    """Check that the arguments fit, so that one clear error replaces ten thousand failed tasks."""
    try:
        signature = inspect.signature(fn)
    except (TypeError, ValueError):
        return
    try:
        signature.bind(*arguments, **named)
    except TypeError as error:
        what = getattr(fn, "__name__", type(fn).__name__)
        raise TypeError(f"{what}{signature} cannot be called with {takes} ({error})") from None
