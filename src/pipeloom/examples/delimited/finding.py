"""Find the CSV files in a folder, including archives, and list what else is in it."""

from __future__ import annotations

import os
import stat
import struct
import zipfile
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

__all__ = ["Found", "Source", "find"]

_PLAIN: Final = (".csv", ".tsv")
_PACKED: Final = (".gz", ".zst")
_ENDINGS: Final = tuple(plain + packed for packed in (*_PACKED, "") for plain in _PLAIN)
# Not LZMA, whose dictionary may need gigabytes of memory.
_METHODS: Final = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2)
_NO_ARCHIVE: Final = (OSError, EOFError, ValueError, NotImplementedError, zipfile.BadZipFile, struct.error)


@dataclass(frozen=True)
class Source:
    """A file that was found, or a member of a ZIP archive.

    Attributes:
        path: Where it is; for a member, where its archive is.
        name: The path relative to the folder that was searched, for display.
        key: Its real path, links resolved, relative to the folder of the database: the same however the path was
            spelled, and as long as both are moved together.
        size: Its size in bytes; for a member, unpacked.
        modified_ns: Nanoseconds since 1970.
        member: Its entry in the archive.
        trouble: Why it cannot be read, if that is already known.
        version: 1, and one more each time it has changed.
    """

    path: Path
    name: str
    key: str
    size: int = 0
    modified_ns: int = 0
    member: zipfile.ZipInfo | None = None
    trouble: str = ""
    version: int = 1

    def __str__(self) -> str:
        return self.key if self.version == 1 else f"{self.key}, version {self.version}"

    @property
    def stem(self) -> str:
        """Its name without folder and suffixes."""
        name = self.name.rpartition("/")[2]
        ending = next((ending for ending in _ENDINGS if name.lower().endswith(ending)), "")
        return name[: len(name) - len(ending)]

    @property
    def is_tsv(self) -> bool:
        """Whether its suffix says that it is separated by tabs."""
        return ".tsv" in self.name.lower()[-8:]


@dataclass
class Found:
    """The contents of a folder.

    Attributes:
        sources: The files to load, ordered by name, including those known to be unreadable.
        passed_over: What is not loaded although it is not a failure: reason → names.
    """

    sources: list[Source] = field(default_factory=list)
    passed_over: dict[str, list[str]] = field(default_factory=dict)

    def pass_over(self, reason: str, name: str) -> None:
        """Record something that is not loaded."""
        self.passed_over.setdefault(reason, []).append(name)


def find(folder: Path, home: Path) -> Found:
    """Return the CSV files below a folder, including linked folders; each file once, however many links lead to it.

    Args:
        folder: Where to look.
        home: The folder of the database.

    Raises:
        ValueError: There is no such folder, or no CSV file in it.
    """
    if not folder.is_dir():
        raise ValueError(
            f"{folder}: {'is a file' if folder.exists() else 'no such folder'}: name a folder of CSV files"
        )
    found = Found()
    by_key: dict[str, Source] = {}
    top, home = Path(os.path.realpath(folder)), Path(os.path.realpath(home))
    everything = [source for path in _files(folder, found) for source in _sources(path, folder, home, found)]
    for source in sorted(everything, key=lambda source: (_is_linked(source, top), source.name.split("/"))):
        if source.member is None and source.key in by_key:
            found.pass_over("links to files that are loaded anyway", source.name)
        else:
            by_key[source.key] = source
            found.sources.append(source)
    found.sources.sort(key=lambda source: source.name.split("/"))
    if not found.sources:
        raise ValueError(f"{folder}: contains no .csv or .tsv file, packed or not{_others(found)}")
    return found


def _files(folder: Path, found: Found) -> Iterator[Path]:
    """Yield everything that is neither hidden nor a folder, and each folder that cannot be listed."""
    folders, links, seen = deque([folder]), deque[Path](), set[str]()
    while folders or links:
        place = (folders or links).popleft()  # real ones first, so that links are the ones skipped
        real = os.path.realpath(place)
        if real in seen:
            found.pass_over("links to folders that are read anyway", _name(place, folder))
            continue
        seen.add(real)
        try:
            inside = sorted(place.iterdir())
        except OSError:
            yield place
            continue
        for path in inside:
            if path.name.startswith("."):
                found.pass_over("hidden", _name(path, folder))
            elif not path.is_dir():
                yield path
            else:
                (links if path.is_symlink() else folders).append(path)
                if path.name.lower().endswith((*_ENDINGS, ".zip")):
                    found.pass_over("folders named like a file, whose files are loaded", _name(path, folder))


def _sources(path: Path, folder: Path, home: Path, found: Found) -> Iterator[Source]:
    name, key = _name(path, folder), _key(path, home)
    lower = path.name.lower()
    if path.is_dir():
        yield Source(path, name, key, trouble="this folder cannot be read")
    elif not lower.endswith((*_ENDINGS, ".zip")):
        found.pass_over("with other suffixes", name)
    else:
        try:
            seen = path.stat()
        except OSError:
            yield Source(path, name, key)  # opening it will show why
            return
        source = Source(path, name, key, seen.st_size, seen.st_mtime_ns)
        if not stat.S_ISREG(seen.st_mode):
            yield Source(path, name, key, trouble="is not a regular file")
        elif lower.endswith(".zip"):
            yield from _members(source, found)
        else:
            yield source


def _members(archive: Source, found: Found) -> Iterator[Source]:
    """Yield the CSV files of a ZIP archive."""
    try:
        with zipfile.ZipFile(archive.path) as opened:
            entries = [entry for entry in opened.infolist() if not entry.is_dir()]
    except _NO_ARCHIVE as error:
        yield Source(archive.path, archive.name, archive.key, trouble=f"cannot be unpacked: {error}")
        return
    count = 0
    for entry in entries:
        inner = entry.filename.encode("utf-8", "backslashreplace").decode()
        name, key = f"{archive.name}/{inner}", f"{archive.key}/{inner}"
        if inner.rpartition("/")[2].startswith("."):
            found.pass_over("hidden", name)
        elif not inner.lower().endswith(_ENDINGS):
            found.pass_over("with other suffixes", name)
        else:
            count += 1
            yield Source(
                archive.path, name, key, entry.file_size, archive.modified_ns, entry, trouble=_trouble(entry)
            )
    if not count and archive.name.lower().endswith(tuple(plain + ".zip" for plain in _PLAIN)):
        trouble = "contains no .csv or .tsv file"
        yield Source(archive.path, archive.name, archive.key, trouble=trouble)
    elif not count and not entries:
        found.pass_over("archives without a CSV file", archive.name)


def _trouble(entry: zipfile.ZipInfo) -> str:
    if entry.flag_bits & 1:
        return "is encrypted: unpack the archive, and load its contents"
    if entry.compress_type not in _METHODS or entry.filename.lower().endswith(_PACKED):
        return "uses a compression that cannot be read within an archive: unpack it"
    return ""


def _is_linked(source: Source, top: Path) -> bool:
    return source.member is None and os.path.realpath(source.path) != os.path.join(top, source.name)


def _name(path: Path, folder: Path) -> str:
    return _storable(path.relative_to(folder).as_posix())


def _key(path: Path, home: Path) -> str:
    # A link that leads nowhere is identified by its own name.
    real = os.path.realpath(path) if path.exists() else os.path.join(os.path.realpath(path.parent), path.name)
    try:
        return _storable(Path(os.path.relpath(real, home)).as_posix())
    except ValueError:  # Windows: on another drive
        return _storable(Path(real).as_posix())


def _storable(name: str) -> str:
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _others(found: Found) -> str:
    count = sum(map(len, found.passed_over.values()))
    return f" ({count:,} other files)" if count else ""
