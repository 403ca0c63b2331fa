"""Workers as processes: see ``pool`` for how it fits together."""

from pipeloom.executors.processes.pool import ProcessExecutor

__all__ = ["ProcessExecutor"]
