"""A worker process that is started before it is needed, since an interpreter takes a tenth of a second to start."""

from __future__ import annotations

import threading

from pipeloom.errors import ChannelClosedError
from pipeloom.executors.processes.launch import WorkerProcess

__all__ = ["Spare"]


class Spare:
    """At most one process; any thread. It exists from the first replacement on, since others often follow."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: WorkerProcess | None = None
        self._is_closed = False

    def replacement(self) -> WorkerProcess:
        """Return a process that is ready or starting, and start the next one.

        Raises:
            ChannelClosedError: The run has ended.
            OSError: The system refuses.
        """
        with self._lock:
            if self._is_closed:
                raise ChannelClosedError("the run is over")
            process, self._process = self._process, None
            if process is not None and process.has_ended():
                process.close(0.0)
                process = None
            if process is None:
                process = WorkerProcess()
            self._process = WorkerProcess()
        return process

    def close(self) -> None:
        """Kill the process and start no more; may be called twice."""
        with self._lock:
            self._is_closed = True
            process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.close(0.0)
