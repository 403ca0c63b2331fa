"""``amap``: a run that a program's own event loop awaits."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import Callable, Iterable
from contextvars import copy_context
from functools import partial
from typing import Any, Final, TypeVar, Unpack, overload

from pipeloom.engine import api
from pipeloom.engine.calling import AsyncWithContext, MapOptions, WithContext
from pipeloom.engine.job import job_from
from pipeloom.engine.run import Run
from pipeloom.errors import RunInterruptedError
from pipeloom.report import RunReport

__all__ = ["amap"]

T = TypeVar("T")


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

    An ``async def`` function runs on this loop, beside whatever else the program has there. Any other runs in its
    workers, as with :func:`map`. The run itself is in a thread of its own.

    When what awaits this is cancelled, as by ``asyncio.timeout``, the run is: running tasks are cancelled, what is
    done is stored, and then ``CancelledError`` goes on. Ctrl-C does what it does in :func:`map`: the first lets
    running tasks finish, the second cancels them.

    Args:
        fn: See :func:`map`.
        items: See :func:`map`; they are read in a thread of their own.
        options: Those of :func:`map`.

    Returns:
        See :func:`map`.

    Raises:
        asyncio.CancelledError: The await was cancelled.
        Exception: See :func:`map`.
    """
    asked = _SIGNATURE.bind(fn, items, **options)
    asked.apply_defaults()
    loop = asyncio.get_running_loop()
    run = Run(lambda: job_from(**asked.arguments, **api.OF_MAP, loop=loop))
    run.signals.is_awaited = threading.current_thread() is threading.main_thread()
    ended: asyncio.Future[RunReport] = loop.create_future()
    # A daemon, as workers are: what was said is safe all the same, since the writer's thread is none.
    threading.Thread(
        target=copy_context().run, args=(_execute, run, ended), name="pipeloom-run", daemon=True
    ).start()
    cancelled: asyncio.CancelledError | None = None
    while not ended.done():
        try:
            await asyncio.shield(ended)
        except asyncio.CancelledError as error:
            cancelled = error
            run.cancel()
        except BaseException:
            if not ended.done():
                run.cancel()
                raise  # this coroutine is closed, on a loop that is no more
    raised = ended.exception()
    if cancelled is not None and (raised is None or _is_due_to_the_cancellation(raised)):
        raise cancelled
    return ended.result()


_SIGNATURE: Final = inspect.signature(api.map)
amap.__signature__ = _SIGNATURE  # type: ignore[attr-defined]  # help() and the like show it


def _execute(run: Run, ended: asyncio.Future[RunReport]) -> None:
    """Execute a run, in its thread, and tell whoever awaits it."""
    tell: Callable[[], None]
    try:
        tell = partial(ended.set_result, run.execute())
    except StopIteration as error:  # of the inputs: neither a future nor a coroutine can raise it
        instead = RuntimeError("the inputs raised StopIteration where they should have ended")
        instead.__cause__ = error
        tell = partial(ended.set_exception, instead)
    except BaseException as error:  # noqa: BLE001 - raised where the run is awaited
        tell = partial(ended.set_exception, error)
    try:
        ended.get_loop().call_soon_threadsafe(tell)
    except RuntimeError:
        pass  # the loop has been closed, and nobody waits


def _is_due_to_the_cancellation(error: BaseException) -> bool:
    return isinstance(error, RunInterruptedError) and error.signal is None
