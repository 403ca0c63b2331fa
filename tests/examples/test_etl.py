"""The etl example: each row once, also when pages are asked for again, and every fault a sentence."""

from __future__ import annotations

import csv
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

from pipeloom import TasksFailedError
from pipeloom.examples import etl, practice


class RequestHandler(BaseHTTPRequestHandler):
    """Serves ``server.pages``: a list of bodies, or of (status, body)."""

    def do_GET(self):
        number = int(parse_qs(urlsplit(self.path).query)["page"][0])
        self.server.asked.append(self.path)
        body = self.server.once.pop(number, None) or self.server.pages[number - 1]
        status, body = body if isinstance(body, tuple) else (200, body)
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if status == 302:
            self.send_header("Location", body.decode())
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@contextmanager
def serving():
    """A server of the test's own, on a free port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), RequestHandler)
    server.daemon_threads = False
    server.pages, server.once, server.asked = [], {}, []
    server.url = f"http://127.0.0.1:{server.server_port}/v1/things"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def server():
    """Two pages, three things."""
    with serving() as server:
        server.pages = [
            {"items": [{"id": 1, "name": "a", "tags": ["x"]}, {"id": 2, "name": "b"}], "pages": 2},
            {"items": [{"id": 3, "name": None}], "pages": 2},
        ]
        yield server


def test_pages_become_rows(server, db, read):
    """Nested values as JSON; the query of the URL stays; the table is named by the path."""
    report = etl.main(server.url + "?kind=all", db)

    assert report.done == 2
    assert read(db, "SELECT id, name, tags FROM things ORDER BY id") == [
        (1, "a", '["x"]'),
        (2, "b", None),
        (3, None, None),
    ]
    assert all("kind=all&page=" in path for path in server.asked)


def test_a_second_call_asks_for_new_pages_and_refresh_for_all(server, db, read):
    """Rows that are there are updated, so none comes twice."""
    etl.main(server.url, db)
    server.pages[0]["items"][0]["name"] = "A"
    for page in server.pages:
        page["pages"] = 3
    server.pages.append({"items": [{"id": 4, "name": "d"}], "pages": 3})
    report = etl.main(server.url, db)

    assert (report.done, report.skipped) == (1, 2)
    assert read(db, "SELECT name FROM things ORDER BY id") == [("a",), ("b",), (None,), ("d",)]
    assert etl.main(server.url, db, refresh=True).done == 3
    assert read(db, "SELECT name FROM things ORDER BY id") == [("A",), ("b",), (None,), ("d",)]


def test_a_long_url_and_one_that_is_given_twice(server, db):
    """Keys of over 512 characters are shortened; a URL is asked once."""
    url = f"{server.url}?x={'y' * 600}"
    assert etl.main([url, url], db).done == 2
    assert etl.main([url], db).skipped == 2


def test_a_plain_list_is_one_page(server, db, read):
    """Of another table, with a key of two columns."""
    server.pages = [[{"a": 1, "b": 1, "n": 1}, {"a": 1, "b": 2, "n": 2}, {"a": 1, "b": 1, "n": 3}]]
    etl.main([server.url], db, table="other", key="a,b")

    assert read(db, "SELECT a, b, n FROM other ORDER BY b") == [(1, 1, 3), (1, 2, 2)]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((404, b"no"), "the server answers 404 Not Found"),
        ({"rows": []}, "no list named items"),
        ({"items": [], "pages": "many"}, "pages is 'many', no sensible number"),
        ([1], "item 1 is no object: 1"),
        ([{"name": "x"}], "item 1 has no id"),
        ((302, b"ftp://127.0.0.1/x"), "302 and leads out of the web"),
        ((302, b"file:///etc/passwd"), "the server answers 302"),
    ],
)
def test_what_the_server_says_wrongly_is_a_sentence(server, db, answer, said):
    """And fails the task, not the program."""
    server.pages = [answer]
    with pytest.raises(TasksFailedError) as caught:
        etl.main(server.url, db)
    assert said in caught.value.report.failures[0].message


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("ftp://x/y", "begin with http:// or https://"),
        ("file:///etc/passwd", "begin with http:// or https://"),
        ("http://", "begin with http:// or https:// and a server"),
        ("http://h:x/", "is no URL"),
        ("http://h/a b", "as %20"),
        ("http://user:secret@h/x", "holds a user name"),
        ("http://h/task_runs", "cannot be the name of its table"),
    ],
)
def test_what_is_no_url_is_refused_before_anything_is_written(db, url, said):
    """One sentence."""
    with pytest.raises(ValueError, match=said):
        etl.main(url, db)
    assert not db.exists()


def test_passing_trouble_is_tried_again(server, db, read):
    """An answer that broke off in the middle, and a 503: the second try gets all of it."""
    server.once = {1: b'{"items": [{"id": 1, "na', 2: (503, b"busy")}
    etl.main(server.url, db)

    assert read(db, "SELECT id FROM things ORDER BY id") == [(1,), (2,), (3,)]
    assert read(db, "SELECT message FROM pipeloom_attempts ORDER BY message DESC") == [
        ("the server answers 503 Service Unavailable",),
        ("the answer is no JSON, or not all of it: Unterminated string starting at: line 1 column 22 (char 21)",),
    ]


def test_no_server_is_a_sentence(db):
    """Refused, at once."""
    with pytest.raises(TasksFailedError, match=r"no answer: .*Connection refused"):
        etl.main("http://127.0.0.1:1/x", db, retries=0)


def test_without_url_it_brings_its_own_server(plain, db, tmp_path, read):
    """Every row of the files, each once, however the server fails; a second call has nothing to do."""
    report = etl.main((), db, files=tmp_path / "files")
    for path in practice.write_files(tmp_path / "files"):
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file, delimiter=";" if path.stem == "readings" else ","))
        for column in rows[0]:
            stored = read(db, f"SELECT {column} FROM {path.stem}")
            as_text = ["" if value is None else str(value) for (value,) in stored]
            assert sorted(as_text) == sorted(row[column] for row in rows)

    assert report.done == 6
    assert etl.main((), db, files=tmp_path / "files").skipped == 6


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"items": [], "pages": 11}, "over 10 pages (11): allow more"),
        ({"items": [], "pages": 10**400}, "over 10 pages (1000"),
        ({"items": [{"id": 1, "x": "y" * 1_000_000}], "pages": 1}, "the answer has over 1,000,000 bytes"),
        (b'{"items": ' + b"[" * 100_000, "the answer is JSON that is too deep"),
        (b"", "no JSON"),
    ],
)
def test_a_server_without_end_is_given_up(server, db, answer, said):
    """With a sentence that says how to allow more."""
    server.pages = [answer]
    with pytest.raises(TasksFailedError) as caught:
        etl.main(server.url, db, largest=1, most_pages=10, retries=0)
    assert said in caught.value.report.failures[0].message


def test_a_server_that_leads_round_and_round_is_given_up(server, db):
    """A redirection to itself."""
    server.pages = [(302, b"?page=1")]
    with pytest.raises(TasksFailedError, match="the server answers 302"):
        etl.main(server.url, db, retries=0)
    assert len(server.asked) < 20


def test_limits_that_are_none_are_refused(db):
    """Before anything is written."""
    for limits in ({"largest": 0}, {"most_pages": 0}):
        with pytest.raises(ValueError, match="give 1 or more"):
            etl.main("http://h/x", db, **limits)
    assert not db.exists()
