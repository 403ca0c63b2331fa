"""The file ``<db>-cancel``, with which another process asks a run to stop.

It has one line, ``<run id> <stage>``. The run checks for it from time to time, obeys it if the id is its own, and
removes it. Any thread; nothing here opens the database.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import Final, Literal, get_args

from pipeloom.data.text import clean
from pipeloom.db.place import READING
from pipeloom.errors import StorageError

__all__ = ["How", "cancel_path", "clear", "request_cancel", "requested"]

How = Literal["cancel", "drain"]
"""``drain`` lets running tasks finish; ``cancel`` asks them to stop as well."""

_LINE: Final = re.compile(rb"([0-9]{1,18}) (cancel|drain)\n")
_LIMIT: Final = 64  # bytes; the longest valid line has 26


def cancel_path(db_path: Path) -> Path:
    """Return the path of the request: beside the real file, like the lock."""
    real = os.path.realpath(db_path)
    return Path(real + "-cancel")


def request_cancel(db_path: Path, run_id: int, how: How) -> None:
    """Ask a run to stop; the request appears completely or not at all, and replaces an earlier one.

    Args:
        db_path: The database.
        run_id: The run to stop.
        how: ``drain`` lets running tasks finish; ``cancel`` asks them to stop as well.

    Raises:
        StorageError: The file cannot be written.
        ValueError: ``how`` is neither of the two.
    """
    if how not in get_args(How):
        raise ValueError(f'how must be "cancel" or "drain", not {how!r}')
    path = cancel_path(db_path)
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        draft.unlink(missing_ok=True)  # left by a process that died halfway and had the same id
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        try:
            if hasattr(os, "fchmod"):
                os.fchmod(descriptor, 0o644)  # whatever the umask: the run may belong to another user
            os.write(descriptor, f"{run_id} {how}\n".encode("ascii"))
        finally:
            os.close(descriptor)
        os.replace(draft, path)
    except OSError as error:
        try:
            draft.unlink(missing_ok=True)
        except OSError:
            pass
        raise StorageError(
            f"{clean(db_path)}: cannot write {clean(path.name)} beside it ({error.strerror}): retry as the user "
            "who started the run, or send its process SIGTERM",
            path=db_path,
        ) from error


def requested(db_path: Path) -> tuple[int, How] | None:
    """Return which run is to stop and how, according to the request; ``None`` if there is none or it is invalid.

    Costs a few system calls and never raises or blocks: a FIFO, a link or a large file in its place is invalid.
    """
    try:
        descriptor = os.open(cancel_path(db_path), READING)
    except (OSError, ValueError):
        return None
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        line = os.read(descriptor, _LIMIT)
    except OSError:
        return None
    finally:
        os.close(descriptor)
    found = _LINE.fullmatch(line)
    if found is None:
        return None
    return int(found[1]), "drain" if found[2] == b"drain" else "cancel"


def clear(db_path: Path) -> None:
    """Remove the request, if there is one; one that cannot be removed stays, and other runs ignore it."""
    try:
        os.unlink(cancel_path(db_path))
    except (OSError, ValueError):
        pass
