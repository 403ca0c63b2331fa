"""Whether SQLite can work where a database file is to be. Only looks, and opens nothing."""

from __future__ import annotations

import errno
import logging
import os
import re
import stat
from pathlib import Path
from typing import Final, NamedTuple

from pipeloom.data.text import clean
from pipeloom.errors import StorageError

__all__ = [
    "MEMORY",
    "READING",
    "Identity",
    "Mount",
    "check_file",
    "check_file_system",
    "check_place",
    "identity",
    "is_mount_point",
    "is_read_only",
    "mount_of",
    "mount_point_error",
    "mounted",
    "path_of",
]

logger = logging.getLogger("pipeloom")

# SQLite refuses a path of more than 512 bytes less "-journal", and derives that name itself.
# Source: https://sqlite.org/src/file/src/os.h (MAX_PATHNAME), https://sqlite.org/src/file/src/pager.c
_PATH_BYTES: Final = 504
_NAME_BYTES: Final = 255 - len("-journal")

# Several machines can access these at once, so neither their locks nor their memory maps are reliable.
# Source: https://www.sqlite.org/useovernet.html, https://www.sqlite.org/wal.html ("does not work over a network")
_NETWORK: Final = """
    9p acfs afs beegfs ceph cifs coda davfs gfs gfs2 glusterfs gpfs lustre mfs ncpfs nfs nfs4 ocfs2 orangefs panfs
    pvfs2 smb3 smbfs vboxsf wekafs fuse.afp fuse.ceph fuse.ceph-fuse fuse.curlftpfs fuse.davfs fuse.gcsfuse
    fuse.glusterfs fuse.goofys fuse.juicefs fuse.mfs fuse.mount-s3 fuse.rclone fuse.s3fs fuse.seaweedfs
    fuse.smbnetfs fuse.sshfs fuse.vmhgfs-fuse
"""
_MOUNTS: Final = "/proc/self/mountinfo"
_BESIDE: Final = ("-wal", "-shm", "-journal")

MEMORY: Final = ":memory:"
"""The name of a database that is not a file."""

_URL: Final = re.compile(r"file:|[A-Za-z][A-Za-z0-9+.-]+:/")  # a single letter is a drive
_SPECIAL: Final = re.compile(rf"~|{MEMORY}$|{_URL.pattern}")

READING: Final = (
    os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
)
"""Flags for opening a file of a known name for reading: follow no link, and do not wait at a pipe."""

Identity = tuple[int, int]
"""Device and inode number: they distinguish a file from another one that takes its name."""


class Mount(NamedTuple):
    """Where a file system is mounted, and its type."""

    point: str
    kind: str

    @property
    def is_network(self) -> bool:
        """Whether several machines may access it; a machine's own root does not count: no other writes there."""
        return self.kind in _NETWORK.split() and self.point != "/"


def path_of(db: object) -> Path:
    """Return the path of a database; one that begins with ``~`` is in a home directory.

    Args:
        db: A path, as str or path-like.

    Raises:
        TypeError: It is not a path.
        ValueError: It is empty, or a URL. SQLite would interpret ``file:…`` as a URI, and all other code that
            opens, locks or looks for the file would take it for a file name.
    """
    if not isinstance(db, str | os.PathLike) or not isinstance(os.fspath(db), str):
        raise TypeError(f'the database must be a path such as "out.db", not {type(db).__name__}')
    path = os.fspath(db)
    if not path:
        raise ValueError('the database path is empty: pass one such as "out.db"')
    if _URL.match(path):
        raise ValueError(
            f'{clean(path, 200)}: the database must be a path such as "out.db", not a URL (a file that is really '
            f'named so: "./{clean(path, 200)}")'
        )
    found = Path(os.path.expanduser(path))
    # A file that only has such a name, such as "./:memory:", must not be mistaken for it later.
    return found.absolute() if path != MEMORY and _SPECIAL.match(str(found)) else found


def check_place(path: Path) -> None:
    """Explain in advance what SQLite would report as "unable to open database file".

    Raises:
        StorageError: No writable database can be at this path.
    """
    found = _look(path)
    if found is None:
        _check_directory(path)
    else:
        _check_kind(path, found)
        if found.st_nlink > 1:
            raise StorageError(
                f"{clean(path)}: has {found.st_nlink} names (hard links), but SQLite's log belongs to only one of "
                "them, so two programs could write at once: use a copy, or a symbolic link",
                path=path,
            )
    real = Path(os.path.realpath(path))
    if len(os.fsencode(real.name)) > _NAME_BYTES or len(os.fsencode(real)) > _PATH_BYTES:
        raise StorageError(
            f"{clean(path, 200)}: the name is too long: SQLite allows {_PATH_BYTES} bytes for the whole path, and "
            f"{_NAME_BYTES} for the file: choose a shorter one",
            path=path,
        )
    _check_beside(path)
    place = real if found is not None else real.parent
    if is_read_only(real.parent):
        raise StorageError(
            f"{clean(path)}: is on a file system that is mounted read-only: choose another place", path=path
        )
    if not os.access(place, os.W_OK) or not os.access(real.parent, os.W_OK | os.X_OK):
        what = "it or its directory" if found is not None else "in its directory"
        raise StorageError(
            f"{clean(path)}: no permission to write {what}; SQLite needs both: choose another place", path=path
        )


def check_file(path: Path) -> None:
    """Explain why there is nothing to read at this path.

    Raises:
        StorageError: There is no such file, or it is not a regular file.
    """
    found = _look(path)
    if found is None:
        raise StorageError(
            f"{clean(os.path.abspath(path))}: no such file: check the path, or start a run first, which creates it",
            path=path,
        )
    _check_kind(path, found)
    _check_beside(path)


def check_file_system(path: Path, *, wal: bool) -> None:
    """Refuse a file that is a mount point, or a log on a network file system; warn of a rollback journal there.

    SQLite finds a log by the database's name, so if only the database file was mounted, the log is elsewhere. A log
    needs memory shared by all processes that have the file open, which works only on one machine. A rollback
    journal needs only locks, which many servers support and some do not.

    Raises:
        StorageError: It is a mount point; or it is on a network file system, and ``wal`` is true.
    """
    mount = mount_of(path)
    if mount is None:
        return
    if mount.point == os.path.realpath(path):
        raise mount_point_error(path)
    if not mount.is_network:
        return
    where = f"{clean(path)}: is on a network file system ({clean(mount.kind)} at {clean(mount.point)})"
    if wal:
        raise StorageError(
            f"{where}, where a write-ahead log is not safe: use a local disk, or run_pipeline(..., wal=False)",
            path=path,
        )
    logger.warning("%s, whose locks may not hold: do not open it on another machine during the run", where)


def is_mount_point(path: Path) -> bool:
    """Return whether a file is itself a mount point; ``False`` if the system does not say."""
    mount = mount_of(path)
    return mount is not None and mount.point == os.path.realpath(path)


def mount_point_error(path: Path) -> StorageError:
    """Return the error for a database that is a mount point."""
    return StorageError(
        f"{clean(path)}: is itself a mount point (a single file mounted into a container), so SQLite's log is "
        "beside another name and cannot be seen from here: mount its directory instead",
        path=path,
    )


def identity(path: Path) -> Identity | None:
    """Return the identity of a file, links followed; ``None`` if there is none, or it cannot be examined."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def is_read_only(directory: Path) -> bool:
    """Return whether a file system is mounted read-only; blocks on the disk."""
    try:
        return bool(os.statvfs(directory).f_flag & os.ST_RDONLY)
    except (AttributeError, OSError):  # Windows has no statvfs
        return False


def mount_of(path: Path) -> Mount | None:
    """Return the mount that a path is on; ``None`` if the system does not say (only Linux does)."""
    try:
        with open(_MOUNTS, encoding="utf-8", errors="surrogateescape", newline="\n") as file:
            return mounted(file.read(), os.path.realpath(path))
    except OSError:
        return None


def mounted(mountinfo: str, real_path: str) -> Mount | None:
    """Return the mount of an absolute path without links: the longest mount point, and of equal ones the last.

    Source: https://man7.org/linux/man-pages/man5/proc_pid_mountinfo.5.html
    """
    best: Mount | None = None
    for line in mountinfo.split("\n"):  # no other character ends a line there
        before, separator, after = line.partition(" - ")
        fields, kind = before.split(" "), after.split(" ")[0]
        if not separator or len(fields) < 5 or not kind:
            continue
        point = re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), fields[4])
        inside = point in ("/", real_path) or real_path.startswith(point + "/")
        if inside and (best is None or len(point) >= len(best.point)):
            best = Mount(point, kind)
    return best


def _look(path: Path) -> os.stat_result | None:
    """Return the status of a path, links followed; ``None`` if nothing is there."""
    try:
        return os.stat(path)
    except FileNotFoundError:
        return None
    except ValueError:
        raise StorageError(f"{clean(path, 200)}: no file can have this name (it has a NUL)", path=path) from None
    except OSError as error:
        what = {
            errno.EACCES: "no permission to look into its directory: choose another place, or ask its owner",
            errno.ELOOP: "symbolic links lead in a circle: name the file itself",
            errno.ENAMETOOLONG: "the name is too long: choose a shorter one",
            errno.ENOTDIR: "its parent directory is a file: choose another place",
        }.get(error.errno or 0, f"cannot be examined ({error.strerror}): choose another place")
        raise StorageError(f"{clean(path, 200)}: {what}", path=path) from None


def _check_directory(path: Path) -> None:
    """Refuse a file that cannot be created."""
    real = Path(os.path.realpath(path))
    if not real.parent.is_dir():
        via = ", to which this link leads," if os.path.islink(path) else ""
        raise StorageError(
            f"{clean(path)}: the directory {clean(real.parent if via else path.parent)}{via} does not exist: "
            "create it first",
            path=path,
        )


def _check_beside(path: Path) -> None:
    """Refuse foreign files in the place of SQLite's own, since SQLite would write through a link."""
    real = os.path.realpath(path)
    for suffix in _BESIDE:
        try:
            found = os.lstat(real + suffix)
        except OSError:
            continue
        if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
            name = clean(os.path.basename(real) + suffix)
            what = f"is a {_kind(found)}" if found.st_nlink == 1 else f"has {found.st_nlink} names (hard links)"
            raise StorageError(
                f"{clean(path)}: {name} beside it {what}, where SQLite keeps its own file: move it away", path=path
            )


def _kind(found: os.stat_result) -> str:
    mode = found.st_mode
    kinds = {
        stat.S_IFLNK: "symbolic link",
        stat.S_IFIFO: "pipe",
        stat.S_IFSOCK: "socket",
        stat.S_IFDIR: "directory",
    }
    return kinds.get(stat.S_IFMT(mode), "device")


def _check_kind(path: Path, found: os.stat_result) -> None:
    if stat.S_ISDIR(found.st_mode):
        raise StorageError(
            f"{clean(path)}: is a directory: name a file in it, such as {clean(path / 'out.db')}", path=path
        )
    if not stat.S_ISREG(found.st_mode):
        raise StorageError(
            f"{clean(path)}: is a {_kind(found)}, but a database must be a regular file: name another", path=path
        )
