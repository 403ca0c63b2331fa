"""The example that loads web pages: what is on them, what is tried again, and what a second call does."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from pipeloom import TasksFailedError
from pipeloom.examples import pages


class RequestHandler(BaseHTTPRequestHandler):
    """Answers with what ``server.answers`` has for a path: status, headers, body; the last one again and again."""

    def do_GET(self):
        answers = self.server.answers[self.path]
        status, headers, body = answers.pop(0) if len(answers) > 1 else answers[0]
        if self.path == "/together":
            self.server.together.wait()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), "Content-Type": "text/html", **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = False
    request_queue_size = 128


@contextmanager
def serving(answers):
    """A server of the test's own, on a free port."""
    server = Server(("127.0.0.1", 0), RequestHandler)
    server.answers = {path: list(each) if type(each) is list else [each] for path, each in answers.items()}
    server.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def ok(body, **headers):
    return 200, {name.replace("_", "-"): value for name, value in headers.items()}, body.encode()


@pytest.fixture
def load(db):
    def loaded(server, *paths, **options):
        urls = [server.address + path for path in paths]
        return pages.load(urls, db, base=server.address, progress=False, durability="off", **options)

    return loaded


def test_title_and_links_are_stored(load, db, read):
    """As the page has them: links whole, in their order, each once, from where the page really was."""
    answers = {
        "/a": ok(
            "<title> One\n &amp; two </title><a href='b?x=1#part'>b</a><a href=/c>c</a><a>no</a><a href='b?x=1'>"
        ),
        "/old": (301, {"Location": "/new/place"}, b""),
        "/new/place": ok("<title>moved</title><a href=here>"),
        "/latin": (200, {"Content-Type": "text/html; charset=latin-1"}, b"<title>\xe9t\xe9</title>"),
        "/none": ok("no page at all <<< \x00"),
    }
    with serving(answers) as server:
        report = load(server, "/a", "/old", "/latin", "/none")

    assert report.done == 4
    assert read(db, "SELECT url, title, links FROM pages ORDER BY url") == [
        ("/a", "One & two", 2), ("/latin", "été", 0), ("/none", "", 0), ("/old", "moved", 1),
    ]  # fmt: skip
    assert read(db, "SELECT page, place, url FROM links ORDER BY 1, 2") == [
        ("/a", 1, "/b?x=1"), ("/a", 2, "/c"), ("/old", 1, "/new/here"),
    ]  # fmt: skip


def test_a_second_call_asks_for_what_failed(load, db, read):
    """What is there is not asked for again; what was tried in vain leaves nothing."""
    answers = {"/a": [ok("<title>a</title>"), (500, {}, b"")], "/b": [(404, {}, b""), ok("<title>b</title>")]}
    with serving(answers) as server:
        with pytest.raises(TasksFailedError) as failed:
            load(server, "/a", "/b")
        assert "the server answered 404 Not Found" in failed.value.report.failures[0].message
        assert read(db, "SELECT title FROM pages") == [("a",)]
        report = load(server, "/a", "/b")

    assert (report.done, report.skipped) == (1, 1)
    assert read(db, "SELECT title FROM pages ORDER BY 1") == [("a",), ("b",)]


def test_what_may_go_better_is_tried_again(load, db, read):
    """A server that is busy, and an answer that breaks off; not one that says no."""
    broken = (200, {"Content-Length": "1000"}, b"<title>half")
    answers = {
        "/busy": [(503, {}, b""), ok("<title>at last</title>")],
        "/broken": [broken, ok("<title>whole</title>")],
        "/no": [(403, {}, b""), ok("never asked for")],
    }
    with serving(answers) as server, pytest.raises(TasksFailedError) as failed:
        load(server, *answers)

    assert [failure.key for failure in failed.value.report.failures] == ["/no"]
    assert read(db, "SELECT url, title FROM pages ORDER BY 1") == [("/broken", "whole"), ("/busy", "at last")]
    assert read(db, "SELECT COUNT(*) FROM pipeloom_attempts") == [(2,)]


def test_a_page_without_end_is_refused(load, db, read):
    """However much the server says there is."""
    with serving({"/a": ok("x" * 1_000_001)}) as server, pytest.raises(TasksFailedError, match="1 of 1"):
        load(server, "/a", largest=1, retries=0)
    assert read(db, "SELECT message FROM task_runs") == [
        ("it has more than 1,000,000 bytes: raise the limit (largest, in MB)",)
    ]


def test_pages_are_awaited_together(load):
    """The server answers none of them before all have been asked for."""
    answers = {"/together": ok("<title>t</title>")}
    with serving(answers) as server:
        server.together = threading.Barrier(40, timeout=20)
        urls = [f"{server.address}/together#{n}" for n in range(40)]
        report = pages.load(urls, ":memory:", base="", progress=False)
    assert report.done == 40


def test_it_practises_on_its_own_server(plain, tmp_path, monkeypatch):
    """Which is busy, and breaks off, at first."""
    monkeypatch.chdir(tmp_path)
    assert pages.main().done == 102
