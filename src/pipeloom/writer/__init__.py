"""The one thread that writes to the database, and the channel that feeds it."""

from pipeloom.writer.channel import Channel
from pipeloom.writer.thread import SQLiteWriter

__all__ = ["Channel", "SQLiteWriter"]
