"""Checks of the caller's arguments about workers: where they run, how many there are, and what each may use."""

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
    """Return the executor for a function; ``None`` leaves the choice to the run.

    Args:
        executor: What the caller passed.
        fn: The function.
        what: The name of the caller's parameter.
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
    """Refuse options that need another executor.

    Args:
        executor: The executor.
        local: A function, or nothing.
        options: ``memory_mb``, ``tasks_per_worker`` and ``timeout``; ``None`` where nothing was passed.
    """
    if local is not None and not callable(local):
        hint = ": pass the function that creates it, without calling it" if hasattr(local, "__enter__") else ""
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
            raise ValueError("memory_mb needs Linux: this system does not report how much memory a process uses")
    if options["tasks_per_worker"] is not None:
        checked_count(options["tasks_per_worker"], "tasks_per_worker")


_THEIRS: Final = "pipeloom did not start its workers"
_LACKS: Final = {
    "timeout": "a call that runs there cannot be ended",
    "memory_mb": _THEIRS,
    "tasks_per_worker": _THEIRS,
    "local": "its workers do not end with the run (use their own initializer=, which is called once in each)",
}
_DASK_LACKS: Final = frozenset(_LACKS) - {"local"}


def _check_dask(executor: object) -> None:
    """Refuse Dask if it is not installed, and asynchronous clients."""
    if find_spec("distributed") is None:
        raise ValueError(f"executor={clean(executor, 80)!r} needs Dask: pip install 'pipeloom[dask]'")
    if executor == "dask":
        from pipeloom.executors.remote.program import runs_when_imported

        if runs_when_imported():
            raise NotGuardedError(
                "Dask's worker processes import the program, and would start the run again: put the call under "
                'if __name__ == "__main__":'
            )
    if getattr(executor, "asynchronous", False):
        raise TypeError("executor is an asynchronous Dask client: pass Client(...) without asynchronous=True")


def _check_that_it_can(executor: object, options: Mapping[str, object]) -> None:
    """Refuse options that the caller's own executor cannot provide."""
    if is_dask(executor):
        what, lacks = "Dask", _DASK_LACKS
    elif isinstance(executor, str):
        return
    else:
        what, lacks = f"a {clean(type(executor).__name__, 80)}", frozenset(_LACKS)
    for name, value in options.items():
        if value is not None and name in lacks:
            raise ValueError(f'{name}= is not possible on {what}: {_LACKS[name]}; executor="processes" supports it')


def checked_workers(workers: object, executor: AnyExecutor = "threads") -> int | None:
    """Return the number of workers; ``None`` leaves the choice to the run, or to a cluster."""
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
            f"workers must be at most {_MOST_WORKERS:,}, because each is a thread, a process or a waiting task, "
            f"not {count:,}"
        )
    return count


def cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
