"""The one thread that writes, and the channel that leads to it."""

from pipeloom.writer.channel import Channel
from pipeloom.writer.thread import SQLiteWriter

__all__ = ["Channel", "SQLiteWriter"]
