"""The etl example: each row once, also when pages are asked for again, and every fault a sentence."""

from __future__ import annotations

import csv
import json
import os
import signal
import sqlite3
import threading
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest

from pipeloom import RunInterruptedError, TasksFailedError
from pipeloom.examples import etl, practice


class RequestHandler(BaseHTTPRequestHandler):
    """Serves ``server.sites``: path → pages, which are bodies, or (status, body)."""

    def do_GET(self):
        url = urlsplit(self.path)
        number = int(parse_qs(url.query)["page"][0])
        pages = self.server.sites.get(url.path, [])
        self.server.asked.append(self.path)
        self.server.before.pop(number, lambda: None)()
        body = self.server.once.pop(number, None) or (pages[number - 1] if number <= len(pages) else (404, b"no"))
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
    server.handle_error = lambda *_: None  # whoever asked was killed
    server.sites, server.once, server.before, server.asked = {}, {}, {}, []
    server.address = f"http://127.0.0.1:{server.server_port}"
    server.url = f"{server.address}/v1/things"
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
        put(server, [{"id": 1, "name": "a", "tags": ["x"]}, {"id": 2, "name": "b"}], [{"id": 3, "name": None}])
        yield server


def put(server, *pages, at="/v1/things"):
    """Let a server have pages of items, or whatever else is no list."""
    server.sites[at] = [{"items": page, "pages": len(pages)} if isinstance(page, list) else page for page in pages]


def numbers(server):
    """Return which pages it has been asked for since the last time."""
    asked = [int(parse_qs(urlsplit(path).query)["page"][0]) for path in server.asked]
    server.asked.clear()
    return sorted(asked)


def failures_of(call):
    """Return what a call says of what failed."""
    with pytest.raises(TasksFailedError) as caught:
        call()
    return [failure.message for failure in caught.value.report.failures]


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


def test_a_second_call_finds_what_has_changed(server, db, read):
    """On whatever page it is; rows that are there are updated, so none comes twice."""
    etl.main(server.url, db)
    put(
        server, [{"id": 5, "name": "e"}, {"id": 1, "name": "A"}], [{"id": 2, "name": "b"}], [{"id": 4, "name": "d"}]
    )
    report = etl.main(server.url, db)

    assert (report.done, report.skipped, report.status) == (3, 0, "done")
    rows = "SELECT id, name FROM things ORDER BY id"
    assert read(db, rows) == [(1, "A"), (2, "b"), (3, None), (4, "d"), (5, "e")]
    server.sites["/v1/things"][2]["items"].append({"id": 6, "name": "f"})
    etl.main(server.url, db)
    assert read(db, rows)[-1] == (6, "f")


def test_a_long_url_and_one_that_is_given_twice(server, db):
    """Keys of over 512 characters are shortened; a URL is asked once."""
    url = f"{server.url}?x={'y' * 600}"
    assert etl.main([url, url], db).done == 2
    assert len(server.asked) == 2
    assert etl.main([url], db).done == 2


def test_a_plain_list_is_one_page(server, db, read):
    """Of another table, with a key of two columns."""
    items = [{"a": 1, "b": 1, "n": 1}, {"a": 1, "b": 2, "n": 2}, {"a": 1, "b": 1, "n": 3}]
    server.sites["/v1/things"] = [items]
    etl.main([server.url], db, table="other", key="a,b")

    assert read(db, "SELECT a, b, n FROM other ORDER BY b") == [(1, 1, 3), (1, 2, 2)]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((404, b"no"), "the server answered 404 Not Found"),
        ({"rows": []}, "no list named items"),
        ({"items": [], "pages": "many"}, "pages is 'many', which is not a valid number"),
        ({"items": [], "pages": -1}, "pages is -1, which is not a valid number"),
        ({"items": [], "pages": 1.5}, "pages is 1.5, which is not a valid number"),
        ({"items": [], "pages": None}, "pages is None, which is not a valid number"),
        ([{"id": 1}, 1], "things, page 1, item 2 is not an object: 1"),
        ([{"name": "x"}], "things, page 1, item 1 has no id, which identifies rows (key)"),
        ([{"id": 1}, {"id": None}], "things, page 1, item 2 has no id"),
        ([{"id": 1 << 63}], "item 1 has 9223372036854775808 in id, an int over 64 bits: load that column as text"),
        (b'[{"id": 1, "x": 1e400}]', "1e400, which is not a number, or is too large"),
        (b'[{"id": 1, "x": [NaN]}]', "NaN, which is not a number"),
        (b'[{"id": 1, "x": 1, "x": 2}]', "one key twice: ['id', 'x', 'x']"),
        ([{"id": 1, "a": 1, "A": 2}], "occurs twice in one row"),
        ((302, b"ftp://127.0.0.1/x"), "302 and redirects to another protocol"),
        ((302, b"file:///etc/passwd"), "the server answered 302"),
    ],
)
def test_what_the_server_says_wrongly_is_a_sentence(server, db, answer, said):
    """And fails the task, not the program."""
    server.sites["/v1/things"] = [answer]
    with pytest.raises(TasksFailedError) as caught:
        etl.main(server.url, db)
    assert said in caught.value.report.failures[0].message


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("ftp://x/y", "begin with http:// or https://"),
        ("file:///etc/passwd", "begin with http:// or https://"),
        ("http://", "begin with http:// or https:// and a server"),
        ("http://h:x/", "is not a URL"),
        ("http://h/a b", "as %20"),
        ("http://user:secret@h/x", "contains a user name"),
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
        ("the server answered 503 Service Unavailable",),
        ("the answer is not JSON, or is incomplete: Unterminated string starting at: line 1 column 22 (char 21)",),
    ]


def test_no_server_is_a_sentence(db):
    """Refused, at once."""
    with pytest.raises(TasksFailedError, match=r"no answer: .*Connection refused"):
        etl.main("http://127.0.0.1:1/x", db, retries=0)


def test_without_url_it_brings_its_own_server(plain, db, tmp_path, read):
    """Every row of the files, each once, however the server fails, and in a second call, too."""
    assert etl.main((), db, files=tmp_path / "files").done == 6
    assert etl.main((), db, files=tmp_path / "files").done == 6
    for path in practice.write_files(tmp_path / "files"):
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file, delimiter=";" if path.stem == "readings" else ","))
        for column in rows[0]:
            stored = read(db, f"SELECT {column} FROM {path.stem}")
            as_text = ["" if value is None else str(value) for (value,) in stored]
            assert sorted(as_text) == sorted(row[column] for row in rows)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"items": [], "pages": 11}, "over 10 pages (11): raise the limit"),
        ({"items": [], "pages": 10**400}, "over 10 pages (1000"),
        ({"items": [{"id": 1, "x": "y" * 1_000_000}], "pages": 1}, "the answer has over 1,000,000 bytes"),
        (b'{"items": ' + b"[" * 100_000, "the answer is JSON that is nested too deeply"),
        (b"", "not JSON"),
    ],
)
def test_a_server_without_end_is_given_up(server, db, answer, said):
    """With a sentence that says how to allow more."""
    server.sites["/v1/things"] = [answer]
    with pytest.raises(TasksFailedError) as caught:
        etl.main(server.url, db, largest=1, most_pages=10, retries=0)
    assert said in caught.value.report.failures[0].message


def test_a_server_that_leads_round_and_round_is_given_up(server, db):
    """A redirection to itself."""
    put(server, (302, b"?page=1"))
    with pytest.raises(TasksFailedError, match="the server answered 302"):
        etl.main(server.url, db, retries=0)
    assert len(server.asked) < 20


def test_limits_that_are_none_are_refused(db):
    """Before anything is written."""
    for limits in ({"largest": 0}, {"most_pages": 0}):
        with pytest.raises(ValueError, match="give 1 or more"):
            etl.main("http://h/x", db, **limits)
    assert not db.exists()


BAD = {
    "no JSON": [b"<html>"],
    "404": [(404, b"no")],
    "a count that is nonsense": [{"items": [{"id": 1}], "pages": "many"}],
    "keys that SQL takes for one": [[{"id": 1, "a": 1, "A": 2}]],
    "no key": [[{"id": 1}, {"name": "x"}]],
    "a second page that is none": [{"items": [{"id": 1}], "pages": 2}, b"<html>"],
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_a_bad_resource_fails_alone(server, db, read, caplog, bad):
    """The others are loaded, and what was not is named at the end."""
    put(server, *bad, at="/bad")
    urls = [f"{server.address}/bad", server.url, f"{server.address}/task_runs", f"{server.address}/etl_pages"]
    messages = failures_of(lambda: etl.main(urls, db, retries=0))

    assert len(messages) == 3
    assert sum("cannot be the name of a table for rows" in message for message in messages) == 2
    assert read(db, "SELECT COUNT(*) FROM things") == [(3,)]
    named = [record.getMessage() for record in caplog.records if record.name == "pipeloom"]
    missing = f", page {len(bad)} (1 in all)" if len(bad) > 1 or isinstance(bad[0], list) else ""
    assert [line for line in named if line.startswith("not loaded")] == [
        *([] if missing else [f"not loaded: {urls[0]}"]),
        f"not loaded: {urls[2]}",
        f"not loaded: {urls[3]}",
        *([f"not loaded: {urls[0]}{missing}"] if missing else []),
    ]
    assert all("task_runs" in line or "etl_pages" in line or "/bad" in line for line in named[-3:])


def test_the_same_pages_make_the_same_table(server, tmp_path, read):
    """Whichever comes first: columns are in the order of pages, and of two equal rows the last counts."""
    put(server, *([{"id": n % 4, "n": n if n % 2 else str(n), f"k{n // 2}": n}] for n in range(6)))
    found = set()
    for turn in range(15):
        db = tmp_path / f"{turn}.db"
        etl.main(server.url, db, workers=1 + turn % 4)
        found.add(repr(read(db, "SELECT name, type FROM pragma_table_info('things')")))
        found.add(repr(read(db, "SELECT * FROM things ORDER BY id")))
    assert found == {
        "[('id', 'INTEGER'), ('n', ''), ('k0', 'INTEGER'), ('k1', 'INTEGER'), ('k2', 'INTEGER')]",
        "[(0, '4', 0, None, 4), (1, 5, 1, None, 5), (2, '2', None, 2, None), (3, 3, None, 3, None)]",
    }


def interrupted(server, db):
    """Call it, with Ctrl-C while it is asking for page 5; return the last page that it still got."""
    server.before[5] = lambda: os.kill(os.getpid(), signal.SIGINT)
    with pytest.raises(RunInterruptedError):
        etl.main(server.url, db, workers=1)
    asked = numbers(server)
    assert asked == list(range(1, len(asked) + 1))
    return len(asked)


def test_a_call_that_was_broken_off_is_continued(server, db, read):
    """By the next one, which asks only for page 1, the last page that came, and what is missing."""
    put(server, *([{"id": n}] for n in range(1, 41)))
    last = interrupted(server, db)
    assert 5 <= last < 40
    assert etl.main(server.url, db).done == 40
    assert numbers(server) == [1, last, *range(last + 1, 41)]
    assert read(db, "SELECT id FROM things ORDER BY id") == [(n,) for n in range(1, 41)]

    assert etl.main(server.url, db).done == 40  # a call that has come to its end is not continued
    assert numbers(server) == list(range(1, 41))


def test_a_call_that_was_broken_off_is_not_continued_once_pages_have_changed(server, db, read):
    """On page 1, or by moving what is on the last page that came; nor if it is not wanted."""
    every = list(range(1, 41))
    put(server, *([{"id": n}] for n in every))
    interrupted(server, db)
    etl.main(server.url, db, refresh=True)
    assert numbers(server) == every
    last = interrupted(server, db)
    put(server, *([{"id": n}] for n in (1, 2, *range(4, 42))))
    etl.main(server.url, db)
    assert numbers(server) == sorted([*every, last])
    interrupted(server, db)
    put(server, *([{"id": n}] for n in (0, 2, *range(4, 42))))
    etl.main(server.url, db)
    assert numbers(server) == every
    assert read(db, "SELECT id FROM things ORDER BY id") == [(n,) for n in range(42)]


def test_a_page_that_fails_every_time_does_not_keep_changes_away(server, db, read):
    """A call that came to its end is not continued, whatever failed in it."""
    put(server, [{"id": 1, "n": 1}], [{"id": 2, "n": 1}], b"<html>")
    for n in (1, 2):
        put(server, [{"id": 1, "n": 1}], [{"id": 2, "n": n}], b"<html>")
        assert len(failures_of(lambda: etl.main(server.url, db, retries=0))) == 1
        assert read(db, "SELECT n FROM things WHERE id = 2") == [(n,)]


def test_a_call_that_was_killed_is_continued(server, db, read, killed):
    """All pages but one had come."""
    put(server, *([{"id": n}] for n in range(1, 9)))
    release = threading.Event()
    server.before[5] = lambda: release.wait(60)

    def all_but_one_are_kept():
        try:
            return read(db, "SELECT COUNT(*) FROM etl_pages") == [(7,)]
        except sqlite3.OperationalError:  # no such file or table yet
            return False

    killed(f"from pipeloom.examples import etl; etl.main({server.url!r}, {str(db)!r})", all_but_one_are_kept)
    release.set()
    server.asked.clear()
    assert etl.main(server.url, db).done == 8
    assert numbers(server) == [1, 5, 8]
    assert read(db, "SELECT id FROM things ORDER BY id") == [(n,) for n in range(1, 9)]


def test_values_come_back_as_the_server_has_them(server, db, read):
    """Each with its type."""
    words = ["0.1", "0.30000000000000004", "1.0", "1e22", "5e-324", str(2**63 - 1), '"007"', '"1e3"', "null"]
    item = ", ".join(f'"v{place}": {word}' for place, word in enumerate(words))
    put(server, f'[{{"id": 1, {item}}}]'.encode())
    etl.main(server.url, db)
    ((_, *found),) = read(db, "SELECT * FROM things")
    assert [(type(value), value) for value in found] == [(type(v), v) for v in map(json.loads, words)]


def test_values_of_later_pages_and_calls_stay_what_they_are(server, db, read):
    """Null first, numbers before codes, integers before fractions: no page decides for the others."""
    put(
        server,
        [{"id": 1, "price": None, "zip": 90210, "n": 1755555555555555555}],
        [{"id": 2, "price": 10, "zip": "01234", "n": 0.5}, {"id": 3, "price": 9.5}],
        [{"id": 4, "price": 0.1 + 0.2, "zip": "1e5", "n": "7"}],
    )
    etl.main(server.url, db)
    put(server, [{"id": 5, "price": "9.50", "zip": "7", "n": True}])
    etl.main(server.url, db)

    found = read(db, "SELECT id, price, zip, n FROM things ORDER BY id")
    assert list(map(repr, found)) == [
        "(1, None, 90210, 1755555555555555555)",
        "(2, 10, '01234', 0.5)",
        "(3, 9.5, None, None)",
        "(4, 0.30000000000000004, '1e5', '7')",
        "(5, '9.50', '7', 1)",
    ]
    assert read(db, "SELECT id FROM things WHERE price > 9 AND typeof(price) <> 'text' ORDER BY id") == [(2,), (3,)]


def test_a_new_key_is_a_new_column(server, db, read):
    """On whatever page, and in whatever call; without alter, its page fails alone, every time."""
    put(server, [{"id": 1, "a": 1}], [{"id": 2, "b": 2}], [{"id": 3, "a": 3}])
    for turn in range(3):
        fresh = db.with_name(f"{turn}.db")
        (message,) = failures_of(partial(etl.main, server.url, fresh, alter=False, workers=1 + turn))
        assert "table things has no column b" in message
        assert read(fresh, "SELECT * FROM things ORDER BY id") == [(1, 1), (3, 3)]
    etl.main(server.url, db)
    put(server, [{"id": 1, "c": [1]}])
    etl.main(server.url, db)
    assert read(db, "SELECT id, a, b, c FROM things") == [
        (1, 1, None, "[1]"),
        (2, None, 2, None),
        (3, 3, None, None),
    ]


def test_any_key_is_a_column(server, db, read):
    """Whatever SQLite takes as a name."""
    names = ["prix\u00a0net", "two\nlines", "k" * 300, 'a "b"', "select", " "]
    put(server, [{"id": 1}], [{"id": 2} | dict.fromkeys(names, 7)])
    etl.main(server.url, db)
    assert [name for (name,) in read(db, "SELECT name FROM pragma_table_info('things')")] == ["id", *names]
    assert read(db, "SELECT * FROM things WHERE id = 2") == [(2, 7, 7, 7, 7, 7, 7)]


def test_what_is_nested_is_json_that_loses_nothing(server, db, read):
    """Large integers, floats, letters."""
    nested = {"n": [2**70, 0.1, 1.0, None, True], "é": {"x": "y"}}
    put(server, [{"id": 1, "nested": nested}])
    etl.main(server.url, db)
    ((text,),) = read(db, "SELECT nested FROM things")
    assert json.loads(text) == nested
    assert "é" in text


def test_a_type_that_is_given_converts(server, db, read):
    """What is the same value in it."""
    cases = [
        ("int", "7", 7),
        ("int", 7.0, 7),
        ("int", True, 1),
        ("int", -(2**63), -(2**63)),
        ("float", 7, 7.0),
        ("float", "0.10", 0.1),
        ("float", "1e3", 1000.0),
        ("text", 7, "7"),
        ("text", 2**70, str(2**70)),
        ("text", 1.0, "1.0"),
        ("text", "007", "007"),
        ("text", ["x"], '["x"]'),
        ("int", None, None),
        ("text", None, None),
    ]
    put(server, [{"id": 1} | {f"v{place}": value for place, (_, value, _) in enumerate(cases)}])
    etl.main(server.url, db, types={f"v{place}": kind for place, (kind, _, _) in enumerate(cases)})
    ((_, *found),) = read(db, "SELECT * FROM things")
    assert [(type(value), value) for value in found] == [(type(stored), stored) for _, _, stored in cases]


def test_a_type_that_is_given_loses_nothing(server, db):
    """What would be another value fails its page, and says where it is."""
    cases = [
        *(("int", value) for value in ("abc", "", "1_000", "\u0667", 7.5, 2**63, "1e9999")),
        *(("float", value) for value in (2**53 + 1, "0.1234567890123456789", "1e400", "nan")),
    ]
    put(server, *([{"id": 1}, {"id": 2, kind: value}] for kind, value in cases))
    messages = failures_of(lambda: etl.main(server.url, db, types="int=int,float=float"))
    assert messages == [
        f"things, page {page}, item 2 has {value!r} in {kind}, which {kind} cannot hold (type)"
        for page, (kind, value) in enumerate(cases, 1)
    ]


def test_the_query_of_a_url_stays_as_it_is(server, db):
    """Letter for letter, but for a page of its own."""
    etl.main(f"{server.url}?flag&q=a%20b;c+d&page=7&x=", db, workers=1)
    assert [urlsplit(path).query for path in server.asked] == [f"flag&q=a%20b;c+d&x=&page={n}" for n in (1, 2)]


@pytest.mark.parametrize("types", ["v", "v=number", "=int", {"v": "number"}])
def test_types_that_are_none_are_refused(db, types):
    """Before anything is asked."""
    with pytest.raises(ValueError, match="write COLUMN=int"):
        etl.main("http://h/x", db, types=types)
    with pytest.raises(ValueError, match="cannot be the name"):
        etl.main("http://h/x", db, table="task_runs")
    assert not db.exists()
