"""Executors of the caller's, for the session's runs: started before any test counts what it leaves behind."""

from __future__ import annotations

import multiprocessing
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from subprocess import PIPE, Popen
from time import sleep

import loky
from distributed import Client

__all__ = ["dask_cluster", "loky_processes", "processes", "started", "threads"]


def started(pool: Executor, workers: int) -> None:
    """Have every worker do something, so that all are there."""
    for future in [pool.submit(sleep, 0.05) for _ in range(workers)]:
        future.result()


@contextmanager
def processes() -> Iterator[Executor]:
    """The standard library's, not forked: pytest has threads."""
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        started(pool, 2)
        yield pool


@contextmanager
def threads() -> Iterator[Executor]:
    """In the run's own process."""
    with ThreadPoolExecutor(2) as pool:
        barrier = threading.Barrier(2)
        for future in [pool.submit(barrier.wait) for _ in range(2)]:
            future.result()
        yield pool


@contextmanager
def loky_processes() -> Iterator[Executor]:
    """Those of joblib and scikit-learn."""
    pool = loky.get_reusable_executor(max_workers=2, timeout=None)
    started(pool, 2)
    try:
        yield pool
    finally:
        pool.shutdown()


@contextmanager
def dask_cluster() -> Iterator[str]:
    """The address of a cluster of two processes, in a program of its own: what a run opens here, it closes."""
    words = [sys.executable, "-m", "executors.cluster"]
    with Popen(words, stdin=PIPE, stdout=PIPE, text=True, cwd=Path(__file__).parent.parent) as cluster:
        assert cluster.stdin is not None
        assert cluster.stdout is not None
        address = cluster.stdout.readline().strip()
        with Client(address, set_as_default=False) as client:
            client.submit(bytes, 20 * 2**20).result()  # for which Dask starts a thread that stays
        yield address
        cluster.stdin.close()
