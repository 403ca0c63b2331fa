"""The process's standard streams, whose readers may leave before all output is written.

That output is about the work, and is not the work: a pipe without a reader, or a closed terminal, must neither make
    the work fail nor change its exit code. There are two cases:

* The command line owns its process. It writes through :class:`Output`, which drops what cannot be read.
* In a user's program the streams belong to the user. Nothing is replaced, and standard output is left alone.
  Standard error is redirected to the null device once it has no reader: Python buffers it, so a line that could not
  be written is retried at exit, and turns exit code 0 (or 1) into 120.

Source: https://docs.python.org/3/library/signal.html#note-on-sigpipe
"""

from __future__ import annotations

import errno
import io
import os
import select
import sys
from typing import IO, Any, Final

__all__ = ["Output", "is_unread", "lead_nowhere", "outlive_readers", "release_stderr", "same_terminal"]

_READER_GONE: Final = frozenset({errno.EPIPE, errno.ECONNRESET})


def is_unread(stream: IO[str] | None) -> bool:
    """Return whether a stream certainly has no reader; any thread, does not block.

    Source: https://man7.org/linux/man-pages/man2/poll.2.html (POLLERR: the read end of the pipe has been closed)
    """
    if stream is None or getattr(getattr(stream, "buffer", None), "is_unread", False):
        return True
    if not hasattr(select, "poll"):  # Windows: the next write shows it
        return False
    try:
        poll = select.poll()
        poll.register(stream.fileno(), 0)
        return any(events & (select.POLLERR | select.POLLHUP) for _, events in poll.poll(0))
    except (OSError, ValueError, AttributeError):  # it has no descriptor, such as a StringIO, or is closed
        return False


def release_stderr() -> None:
    """Redirect standard error to the null device if it has no reader or cannot be written; any thread.

    What was or will be written to it then succeeds: log records of tasks, what Python keeps in its buffer until
        exit, the traceback of an exception that the program does not catch.
    """
    stream = sys.__stderr__
    if stream is None or stream.closed:
        return
    if not is_unread(stream):
        try:
            stream.flush()
            return
        except BlockingIOError:  # there is a reader, but a slow one
            return
        except OSError:
            pass
    try:
        lead_nowhere(stream.fileno())
        stream.flush()
    except (OSError, ValueError):
        pass  # no descriptor left: the next run, or the exit, tries again


def lead_nowhere(descriptor: int) -> None:
    """Connect a descriptor to the null device permanently.

    Raises:
        OSError: No descriptor is left to do so.
    """
    null = os.open(os.devnull, os.O_WRONLY)
    if null == descriptor:  # it was closed
        return
    try:
        os.dup2(null, descriptor)
    finally:
        os.close(null)


def same_terminal(one: Any, other: Any) -> bool:
    """Return whether two streams lead to the same terminal, so that what is written to either appears there.

    The controlling terminal has a second name, ``/dev/tty``.
    """
    try:
        if not (one.isatty() and other.isatty()):
            return False
        if os.path.sameopenfile(one.fileno(), other.fileno()):
            return True
        return all(os.tcgetpgrp(stream.fileno()) for stream in (one, other))  # raises for any other terminal
    except (OSError, ValueError, AttributeError):
        return False


class Output(io.BufferedWriter):
    """A descriptor of this process whose reader may leave: later output then goes to the null device.

    A full or broken disk raises, since the output that was asked for is then missing, unless ``outlives_disks``.
    The raw stream is Python's own: one written in Python could be interrupted between a write and its return, and
    would repeat the write.

    Args:
        descriptor: Where to write; stays open.
        at_once: Whether to write without buffering.

    Attributes:
        is_unread: Whether output now goes to the null device.
        outlives_disks: Whether the error of a disk is only recorded in ``lost``: the output is not what was asked
            for.
        lost: The error of the disk in that case.
    """

    def __init__(self, descriptor: int, *, at_once: bool = False) -> None:
        super().__init__(io.FileIO(descriptor, "w", closefd=False))
        self._at_once = at_once
        # A closed terminal reports EIO; a disk does so when it is broken.
        self._departure = _READER_GONE | ({errno.EIO} if self.isatty() else frozenset())
        self.is_unread = False
        self.outlives_disks = False
        self.lost: OSError | None = None

    def write(self, data: Any) -> int:
        """Write, or keep for the next ``flush``; blocks while the reader is slow."""
        try:
            written = super().write(data)
            if self._at_once:
                super().flush()
        except OSError as error:
            self._let_go(error)
            return memoryview(data).nbytes
        return written

    def flush(self) -> None:
        """Write what was kept; blocks while the reader is slow."""
        try:
            super().flush()
        except OSError as error:
            self._let_go(error)

    def _let_go(self, error: OSError) -> None:
        if error.errno not in self._departure:
            if not self.outlives_disks:
                raise error
            self.lost = error
        lead_nowhere(self.fileno())
        self.is_unread = True
        super().flush()


def outlive_readers() -> None:
    """Let the command line's own standard streams outlive their readers; call it before anything is written.

    A stream that was closed before the start is redirected to the null device, and a character that a terminal
    lacks appears as an escape. Streams that a host program has substituted are left alone.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:  # the first file opened would get its number, and with it whatever is printed there
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - stays open as long as the process
        elif stream is getattr(sys, f"__{name}__") and isinstance(stream, io.TextIOWrapper):
            setattr(sys, name, _outliving(stream))


def _outliving(stream: io.TextIOWrapper) -> io.TextIOWrapper:
    raw = getattr(stream.buffer, "raw", stream.buffer)
    if type(raw) is not io.FileIO:  # a Windows console
        stream.reconfigure(errors="backslashreplace")
        return stream
    stream.flush()
    return io.TextIOWrapper(
        Output(raw.fileno(), at_once=stream.write_through),
        encoding=stream.encoding,
        errors="backslashreplace",
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )
