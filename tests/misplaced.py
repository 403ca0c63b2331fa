"""Things that lie where a file is to be made, and that nobody may write through, read, or wait for."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

__all__ = ["misplace"]


def misplace(kind: str, place: Path, target: Path) -> None:
    """Put something in a place.

    Args:
        kind: "link", "hard link", "dangling link" (to ``nowhere`` beside the target), "pipe", "directory", "device"
            (root only), "socket" (its path from here must be short).
        place: Where nothing is yet.
        target: What links lead to.
    """
    match kind:
        case "link":
            place.symlink_to(target)
        case "dangling link":
            place.symlink_to(target.with_name("nowhere"))
        case "hard link":
            os.link(target, place)
        case "pipe":
            os.mkfifo(place)
        case "directory":
            place.mkdir()
        case "device":
            os.mknod(place, stat.S_IFCHR | 0o666, os.makedev(1, 3))
        case "socket":
            with socket.socket(socket.AF_UNIX) as listener:
                listener.bind(os.path.relpath(place))
        case _:
            raise ValueError(kind)
