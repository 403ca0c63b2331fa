"""The file ``<db>-cancel``, by which another process asks a run to stop.

One line, ``<run id> <stage>``: the run looks for it now and then, obeys when the number is its own, and removes it.
Any thread; nothing here opens the database.
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
_LIMIT: Final = 64  # bytes; the longest line that makes sense has 26


def cancel_path(db_path: Path) -> Path:
    """Return where the request lies: beside the real file, as the lock does."""
    real = os.path.realpath(db_path)
    return Path(real + "-cancel")


def request_cancel(db_path: Path, run_id: int, how: How) -> None:
    """Ask this run to stop; the request appears whole or not at all, and replaces an earlier one.

    Raises:
        StorageError: The file cannot be written.
        ValueError: ``how`` is neither of the two.
    """
    if how not in get_args(How):
        raise ValueError(f'how must be "cancel" or "drain", not {how!r}')
    path = cancel_path(db_path)
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        draft.unlink(missing_ok=True)  # of a process that died half way and had our number
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
            f"{clean(db_path)}: cannot write {clean(path.name)} beside it ({error.strerror}): ask as the user who "
            "started the run, or send its process SIGTERM",
            path=db_path,
        ) from error


def requested(db_path: Path) -> tuple[int, How] | None:
    """Return which run is to stop and how, as the request that lies there says; ``None`` for none, or nonsense.

    Costs a few system calls and never raises or blocks: a FIFO, a link or a large file in its place is nonsense.
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
    """Remove the request, if there is one; what cannot be removed stays, and is another run's nonsense."""
    try:
        os.unlink(cancel_path(db_path))
    except (OSError, ValueError):
        pass
