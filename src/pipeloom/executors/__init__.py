"""Where workers live."""

from pipeloom.executors.threads import ThreadExecutor

__all__ = ["ThreadExecutor"]
