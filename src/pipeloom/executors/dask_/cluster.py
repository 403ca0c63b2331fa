"""Clusters: one on this machine that ends with the run, or an existing one."""

from __future__ import annotations

import logging
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from typing import Final

import dask
from distributed import Client, LocalCluster
from distributed.comm import get_address_host_port

from pipeloom.data.text import clean, describe
from pipeloom.errors import ExecutorBrokenError

__all__ = ["connected", "local_cluster"]

_CONNECT_S: Final = 10.0


@contextmanager
def local_cluster(workers: int) -> Iterator[Client]:
    """Start a cluster of processes with one thread each; yield a client of it."""
    with (
        # The profiler's results are not used, and it takes 2 % of a core for each worker, even an idle one.
        dask.config.set({"distributed.worker.profile.enabled": False}),
        LocalCluster(
            n_workers=0,
            threads_per_worker=1,
            processes=True,
            dashboard_address="127.0.0.1:0",  # the usual port may be in use, and Dask would warn about that
            memory_limit=None,
            silence_logs=logging.CRITICAL,  # the run reports the outcomes of its tasks
            scheduler_kwargs={"allowed_failures": 0},
        ) as cluster,
        Client(cluster, direct_to_workers=True, set_as_default=False) as client,
    ):
        cluster.loop.add_callback(_start_deaf_processes)
        cluster.scale(workers)
        client.wait_for_workers(workers)
        yield client


def _start_deaf_processes() -> None:
    """Block Ctrl-C in processes that this thread starts: the run handles it, and tells its workers."""
    resource_tracker.ensure_running()  # otherwise it starts with the first of them, and undoes this
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])


def _look_for(address: str) -> None:
    """Check that something listens there: a client without a scheduler takes long, and leaves a thread behind."""
    host, port = get_address_host_port(address, strict=True)
    if address.startswith(("tcp://", "tls://")):
        socket.create_connection((host, port), _CONNECT_S).close()


@contextmanager
def connected(address: str) -> Iterator[Client]:
    """Connect to an existing cluster; yield a client of it.

    Raises:
        ExecutorBrokenError: No scheduler answers at the address.
    """
    try:
        _look_for(address)
        client = Client(address, set_as_default=False, timeout=_CONNECT_S)
    except (OSError, ValueError) as error:
        raise ExecutorBrokenError(
            f"no Dask scheduler answers at {clean(address, 200)} ({clean(describe(error), 200)}), so nothing ran"
        ) from error
    with client:
        yield client
