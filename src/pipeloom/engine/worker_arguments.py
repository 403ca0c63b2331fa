"""Checks of what the caller passed about workers: where they live, how many, and what each may have and take."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Final, cast, get_args

from pipeloom.data.text import clean
from pipeloom.engine.arguments import checked_count, is_async, positive
from pipeloom.executors import AnyExecutor, ExecutorName, SupportsSubmit, is_dask, workers_of
from pipeloom.worker.current import NotGuardedError

__all__ = ["check_workers", "checked_executor", "checked_workers"]

_MOST_WORKERS: Final = 10_000


_EXECUTORS: Final = (
    'executor must be "threads", "processes", "asyncio", "dask", the address of a Dask scheduler such as '
    '"tcp://host:8786", or an object with submit(), such as a concurrent.futures.ProcessPoolExecutor, not '
)


def checked_executor(executor: object, fn: object, what: str) -> AnyExecutor:
    """Return which executor runs a function; ``None`` picks one.

    Args:
        executor: What the caller passed.
        fn: The function.
        what: What the caller knows that by.
    """
    if executor is None:
        return "asyncio" if is_async(fn) else "threads"
    if is_dask(executor):
        _check_dask(executor)
    elif isinstance(executor, str):
        if executor not in get_args(ExecutorName):
            raise ValueError(f"{_EXECUTORS}{clean(executor, 40)!r}")
    elif isinstance(executor, type):
        hint = f": pass {executor.__name__}(), which you close"
        raise TypeError(f"{_EXECUTORS}{clean(f'the class {executor.__name__}', 80)}{clean(hint, 120)}")
    elif not (isinstance(executor, SupportsSubmit) and callable(executor.submit)):
        is_cluster = hasattr(executor, "scheduler_address")
        hint = ": pass a client of the cluster, or its scheduler_address" if is_cluster else ""
        raise TypeError(f"{_EXECUTORS}{clean(type(executor).__name__, 80)}{hint}")
    if executor != "asyncio" and is_async(fn):
        raise ValueError(f"{what} is an async function, which runs on an event loop: leave out executor=")
    return cast("AnyExecutor", executor)


def check_workers(executor: AnyExecutor, local: object, **options: object) -> None:
    """Refuse what goes with another executor.

    Args:
        executor: Which one it is.
        local: A function, or nothing.
        options: ``memory_mb``, ``tasks_per_worker`` and ``timeout``; ``None`` where nothing was passed.
    """
    if local is not None and not callable(local):
        hint = ": pass the function that makes it, without calling it" if hasattr(local, "__enter__") else ""
        raise TypeError(
            f"local must be a function that returns a context manager, not {type(local).__name__}{hint}"
        )
    _check_that_it_can(executor, {"local": local, **options})
    for name in ("memory_mb", "tasks_per_worker"):
        if options[name] is not None and executor != "processes":
            raise ValueError(f'{name} needs executor="processes": threads share their memory, and end with the run')
    if options["memory_mb"] is not None:
        positive(options["memory_mb"], "memory_mb", "a number of MiB")
        if not os.path.exists("/proc/self/statm"):
            raise ValueError("memory_mb needs Linux: this system does not say how much a process takes")
    if options["tasks_per_worker"] is not None:
        checked_count(options["tasks_per_worker"], "tasks_per_worker")


_THEIRS: Final = "its workers belong to somebody else"
_LACKS: Final = {
    "timeout": "nothing that runs there can be ended",
    "memory_mb": _THEIRS,
    "tasks_per_worker": _THEIRS,
    "local": "its workers do not end with the run (their own initializer= is called once in each)",
}
_DASK_LACKS: Final = frozenset(_LACKS) - {"local"}


def _check_dask(executor: object) -> None:
    """Refuse Dask where it is not installed, and a client for coroutines."""
    if find_spec("distributed") is None:
        raise ValueError(f"executor={clean(executor, 80)!r} needs Dask: pip install 'pipeloom[dask]'")
    if executor == "dask":
        from pipeloom.executors.remote.program import runs_when_imported

        if runs_when_imported():
            raise NotGuardedError(
                "Dask's worker processes import the program, and would begin the run again: put the call behind "
                'if __name__ == "__main__":'
            )
    if getattr(executor, "asynchronous", False):
        raise TypeError("executor is a Dask client for coroutines: pass Client(...) without asynchronous=True")


def _check_that_it_can(executor: object, options: Mapping[str, object]) -> None:
    """Refuse what an executor of somebody else's cannot do."""
    if is_dask(executor):
        what, lacks = "Dask", _DASK_LACKS
    elif isinstance(executor, str):
        return
    else:
        what, lacks = f"a {clean(type(executor).__name__, 80)}", frozenset(_LACKS)
    for name, value in options.items():
        if value is not None and name in lacks:
            raise ValueError(f'{name}= is not possible on {what}: {_LACKS[name]}; executor="processes" has it')


def checked_workers(workers: object, executor: AnyExecutor = "threads") -> int | None:
    """Return a number of workers; ``None`` picks one, unless it is for a cluster that is there to say."""
    if workers is None:
        if is_dask(executor) and executor != "dask":
            return None
        if isinstance(executor, SupportsSubmit):
            return workers_of(executor) or cores()
        picked = {"asyncio": 100, "threads": min(32, (os.cpu_count() or 1) + 4)}
        return picked.get(executor, cores())
    count = checked_count(workers, "workers")
    if count > _MOST_WORKERS:
        raise ValueError(
            f"workers must be at most {_MOST_WORKERS:,}, since each is a thread, a process or a task that waits, "
            f"not {count:,}"
        )
    return count


def cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
