"""``start`` and ``amap``: runs that do not block the calling thread or its event loop."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterable
from typing import Any, Final, TypeVar, Unpack, overload

from pipeloom.engine import api
from pipeloom.engine.calling import AsyncWithContext, MapOptions, WithContext
from pipeloom.engine.handle import RunHandle, handle_of
from pipeloom.engine.job import job_from
from pipeloom.report import RunReport

__all__ = ["amap", "start"]

T = TypeVar("T")


@overload
def start(
    fn: Callable[[T], object],
    items: Iterable[T],
    *,
    key: Callable[[T], object] | None = ...,
    version: Callable[[T], object] | None = ...,
    **options: Unpack[MapOptions],
) -> RunHandle: ...


@overload
def start(
    fn: WithContext[T],
    items: Iterable[T],
    *,
    key: Callable[[T], object] | None = ...,
    version: Callable[[T], object] | None = ...,
    **options: Unpack[MapOptions],
) -> RunHandle: ...


@overload
def start(
    fn: AsyncWithContext[T],
    items: Iterable[T],
    *,
    key: Callable[[T], object] | None = ...,
    version: Callable[[T], object] | None = ...,
    **options: Unpack[MapOptions],
) -> RunHandle: ...


def start(fn: Callable[..., Any], items: Iterable[Any], **options: Any) -> RunHandle:
    """Begin what :func:`map` does, in a thread of its own, and return at once; ``map`` is ``start(...).wait()``.

    If this is called on an event loop, an ``async def`` function runs on that loop. The run handles Ctrl-C
    while the main thread waits for it or awaits it. A program that ends without waiting interrupts its run.

    Args:
        fn: See :func:`map`.
        items: See :func:`map`; they are read in their own thread.
        options: The options of :func:`map`.

    Returns:
        A handle with which any thread can read the run, wait for it and cancel it.

    Raises:
        ValueError, TypeError: An argument is invalid. Everything else that :func:`map` raises is raised by
            ``wait()``.
    """
    return _begun(fn, items, options, shows_itself=True)


def _begun(
    fn: Callable[..., Any], items: Iterable[Any], options: dict[str, Any], *, shows_itself: bool
) -> RunHandle:
    asked = _SIGNATURE.bind(fn, items, **options)
    asked.apply_defaults()
    loop = asyncio._get_running_loop()  # noqa: SLF001 - get_running_loop() raises if there is none, as in most threads
    return handle_of(lambda: job_from(**asked.arguments, **api.OF_MAP, loop=loop), shows_itself=shows_itself)


@overload
async def amap(
    fn: Callable[[T], object],
    items: Iterable[T],
    *,
    key: Callable[[T], object] | None = ...,
    version: Callable[[T], object] | None = ...,
    **options: Unpack[MapOptions],
) -> RunReport: ...


@overload
async def amap(
    fn: WithContext[T],
    items: Iterable[T],
    *,
    key: Callable[[T], object] | None = ...,
    version: Callable[[T], object] | None = ...,
    **options: Unpack[MapOptions],
) -> RunReport: ...


@overload
async def amap(
    fn: AsyncWithContext[T],
    items: Iterable[T],
    *,
    key: Callable[[T], object] | None = ...,
    version: Callable[[T], object] | None = ...,
    **options: Unpack[MapOptions],
) -> RunReport: ...


async def amap(fn: Callable[..., Any], items: Iterable[Any], **options: Any) -> RunReport:
    """Do what :func:`map` does, without blocking the event loop that awaits it.

    An ``async def`` function runs on this loop, beside the program's other tasks. Any other function runs in
    workers, as with :func:`map`. The run itself has its own thread.

    If the awaiting task is cancelled, for example by ``asyncio.timeout``, the run is cancelled too: running
    tasks are cancelled, completed work is stored, and ``CancelledError`` is raised. Ctrl-C acts as in
    :func:`map`: the first lets running tasks finish, the second cancels them.

    Args:
        fn: See :func:`map`.
        items: See :func:`map`; they are read in their own thread.
        options: The options of :func:`map`.

    Returns:
        See :func:`map`.

    Raises:
        asyncio.CancelledError: The awaiting task was cancelled.
        Exception: See :func:`map`.
    """
    return await _begun(fn, items, options, shows_itself=False)


_SIGNATURE: Final = inspect.signature(api.map)
start.__signature__ = _SIGNATURE.replace(return_annotation="RunHandle")  # type: ignore[attr-defined]  # for help()
amap.__signature__ = _SIGNATURE  # type: ignore[attr-defined]  # as above
