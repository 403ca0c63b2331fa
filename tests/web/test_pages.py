"""What the pages show, of real ledgers; without script."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from html.parser import HTMLParser

import pytest

import pipeloom

from .serving import Server, make_endless

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'&\x1b[2J\u202e"


class Reading(HTMLParser):
    """Collects the elements, and what is wrong with their order."""

    def __init__(self, html):
        super().__init__()
        self.tags = []
        self.attributes = []
        self.text = []
        self._open = []
        self.misfits = []
        self.feed(html)
        self.misfits += self._open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, *pair) for pair in attrs]
        if tag not in ("meta", "link", "input", "br"):
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, *pair) for pair in attrs]

    def handle_endtag(self, tag):
        if not self._open or self._open.pop() != tag:
            self.misfits.append(tag)

    def handle_data(self, data):
        self.text.append(data)


def load(item, ctx):
    """Fails for some items."""
    if "bad" in item:
        raise ValueError(f"cannot read {item}")
    ctx.write("rows", {"item": item})
    return {"item": item}


def make_ledger(db):
    """Two runs: one that failed in part, and one that did the rest."""
    items = [f"data/{number}.csv" for number in range(5)]
    pipeloom.map(
        load, [*items, "bad-1.csv", "bad-2.csv", HOSTILE], db=db, on_error="collect", progress=False, name="x"
    )
    pipeloom.map(load, [*items, "data/9.csv"], db=db, on_error="collect", progress=False, name="x")
    return db


@pytest.fixture
def ledger(db):
    """Such a file, to be changed."""
    return make_ledger(db)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The page of such a file, for all tests that only look."""
    server = Server(make_ledger(tmp_path_factory.mktemp("pages") / "out.db")).warm()
    yield server
    server.stop()


PATHS = [
    "/",
    "/tasks",
    "/tasks?status=error",
    "/tasks?q=csv&order=slowest",
    "/tasks?kind=ValueError&message=bad&within=1d&since=2026-01-01T00:00&until=tomorrow",
    "/tasks/1",
    "/tasks/8",
    "/runs",
    "/runs/1",
]


@pytest.mark.parametrize("path", PATHS)
def test_every_page_is_well_formed_and_inert(server, path):
    """One script, ours; no handler, no style attribute, no address of another server; each id once."""
    status, headers, html = server.ask(path)
    page = Reading(html)
    ids = [value for _, name, value in page.attributes if name == "id"]

    assert status == 200
    assert headers["content-type"] == "text/html; charset=utf-8"
    assert page.misfits == []
    assert page.tags.count("script") == 1
    assert page.tags.count("h1") == 1
    assert "img" not in page.tags
    assert not [name for _, name, _ in page.attributes if name.startswith("on") or name == "style"]
    links = [value for _, name, value in page.attributes if name in ("href", "src", "action")]
    assert all(value.startswith(("/", "#")) and not value.startswith("//") for value in links)
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("path", PATHS)
def test_every_page_can_be_found_ones_way_in(server, path):
    """Language, landmarks, a skip link, a label for the search, headers with a scope."""
    page = Reading(server.ask(path)[2])

    assert ("html", "lang", "en") in page.attributes
    assert ("a", "href", "#main") in page.attributes
    assert ("main", "id", "main") in page.attributes
    assert ("label", "for", "q") in page.attributes
    assert page.tags.count("th") == len([1 for tag, name, _ in page.attributes if (tag, name) == ("th", "scope")])
    assert "header" in page.tags
    assert "nav" in page.tags


def test_names_are_text(server):
    """With every character that cannot be printed as its escape."""
    _, _, html = server.ask("/tasks")

    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert "\\x1b[2J\\u202e" in html
    assert "\x1b" not in html


def test_the_overview_shows_the_latest_run(server):
    """Its counts, what it skipped, and the run before."""
    _, _, html = server.ask("/")
    text = " ".join(Reading(html).text)

    assert "run 2" in text
    assert "Skipped 5" in " ".join(text.split())
    assert 'href="/runs/1"' in html


def test_a_run_shows_its_failures_and_pictures(server):
    """Each failure with its traceback, equal ones counted together, and the report's pictures."""
    _, _, html = server.ask("/runs/1")

    assert "cannot read bad-1.csv" in html
    assert "Traceback (most recent call last)" in html
    assert "2&times;" in html
    assert "timeline-title" in html
    assert "throughput-title" in html


def test_a_task_shows_everything(server):
    """Result, key, run, rows; of a failed one the traceback."""
    done, bad = server.ask("/tasks/1")[2], server.ask("/tasks/6")[2]

    assert "{&quot;item&quot;:&quot;data/0.csv&quot;}" in done
    assert 'href="/runs/1"' in done
    assert "ValueError: cannot read bad-1.csv" in bad


def test_a_task_shows_its_tries(serve, db):
    """Past ones with their tracebacks, too."""
    pipeloom.map(load, ["bad"], db=db, on_error="collect", progress=False, name="y")
    pipeloom.map(load, ["bad"], db=db, on_error="collect", progress=False, name="y")
    html = serve(db).ask("/tasks/1")[2]

    assert html.count('data-key="a') == 2
    assert html.count("Traceback of try") == 1


def test_rows_are_those_of_the_attempt(serve, db):
    """What an earlier attempt stored at its checkpoint is in its own row."""
    write_in_two_attempts(db)
    words = re.sub("<[^>]*>", " ", serve(db).ask("/tasks/1")[2])

    assert re.search(r"Rows written\s+2 in this attempt", words)
    assert re.search(r"\s3\s", words)


def write_in_two_attempts(db):
    """Store three rows at a checkpoint of the first run, and two in the second one."""

    def work(item, ctx):
        if ctx.state is None:
            ctx.write("t", [{"n": n} for n in range(3)])
            ctx.checkpoint(3)
            raise ValueError("once")
        ctx.write("t", [{"n": n} for n in range(2)])

    for _ in range(2):
        pipeloom.map(work, ["a"], db=db, on_error="collect", progress=False, name="z")


def test_logs_are_shown_in_order(serve, ledger):
    """With level, logger and message; markup in them is text."""
    with closing(sqlite3.connect(ledger)) as conn:
        for number, level in enumerate(("INFO", "WARNING")):
            conn.execute(
                "INSERT INTO pipeloom_logs (task_id, run_id, attempt, at, level, logger, message) VALUES "
                "(1, 1, 1, '2026-01-31T12:00:00.000+00:00', ?, 'my.log', ?)",
                (level, f"<b>record {number}</b>"),
            )
        conn.commit()
    html = serve(ledger).ask("/tasks/1")[2]

    assert html.index("&lt;b&gt;record 0") < html.index("&lt;b&gt;record 1")
    assert "my.log" in html


@pytest.mark.parametrize(
    ("query", "shown", "hidden"),
    [
        ("?status=error", "bad-1.csv", "data/1.csv"),
        ("?status=failures", "bad-1.csv", "data/1.csv"),
        ("?status=done", "data/1.csv", "bad-1.csv"),
        ("?q=DATA", "data/1.csv", "bad-1.csv"),
        ("?run=2", "data/9.csv", "data/1.csv"),
        ("?q=nothing-like-it", "No such tasks", "data/1.csv"),
        ("?status=%3Cscript%3E", "No such tasks", "<script>&"),
        ("?q=%25", "No such tasks", "data/1.csv"),
        ("?kind=ValueError", "bad-1.csv", "data/1.csv"),
        ("?kind=nothing", "No such tasks", "bad-1.csv"),
        ("?message=CANNOT+READ+bad-2", "bad-2.csv", "bad-1.csv"),
        ("?message=valueerror", "bad-1.csv", "data/1.csv"),
        ("?message=valueerror&q=bad-2&status=error&within=1h&since=2026-01-01T00:00", "bad-2.csv", "bad-1.csv"),
        ("?since=2999-01-01T00:00", "No such tasks", "data/1.csv"),
        ("?until=2001-01-01T00:00", "No such tasks", "data/1.csv"),
        ("?until=whenever", "data/1.csv", "No such tasks"),
    ],
)
def test_tasks_are_filtered_and_searched(server, query, shown, hidden):
    """By status, run, kind, time, and part of the name or message, all together."""
    _, _, html = server.ask(f"/tasks{query}")
    listed = html.partition('id="tasks"')[2]

    assert shown in listed
    assert hidden not in listed


def links_of(html, label):
    """The links of a choice, by their text."""
    inside = html.partition(f'aria-label="{label}"')[2].partition("</nav>")[0]
    return {
        text.partition("<")[0].strip(): href.replace("&amp;", "&")
        for href, text in re.findall(r'href="([^"]*)"[^>]*>([^<]*)', inside)
    }


def test_every_filter_keeps_the_others(server):
    """Chips keep the search and the search the chips; each filter can be taken away alone."""
    query = "q=bad&run=1&message=cannot&within=1h"
    html = server.ask(f"/tasks?{query}")[2]

    assert links_of(html, "Status")["failed"] == f"/tasks?status=error&{query}"
    assert links_of(html, "Ended within")["any time"] == "/tasks?q=bad&run=1&message=cannot"
    assert 'href="/tasks?run=1&amp;message=cannot&amp;within=1h">name or key contains' in html
    for field in ("run", "message", "within"):
        assert html.count(f'name="{field}"') == 2  # in the search's form, and in the filter's
    assert html.count('value="bad"') == 2


def test_a_list_says_how_many_there_are(serve, db):
    """All, and how many are shown."""
    pipeloom.map(str, range(250), db=db, progress=False)
    server = serve(db)

    assert "100 of 250 tasks, latest first." in server.ask("/tasks")[2]
    assert "13 tasks, latest first." in server.ask("/tasks?q=24")[2]


def test_a_kind_of_failure_leads_to_its_tasks(server):
    """With its type, place, example and traceback, and how the command line shows the same."""
    overview = server.ask("/runs/1")[2]
    href = re.search(r'href="(/tasks\?kind=(\w+)&amp;run=1)">All 2 tasks of this kind', overview)
    html = server.ask(href[1].replace("&amp;", "&"))[2]
    listed = html.partition('id="tasks"')[2]

    assert f"pipeloom errors --kind {href[2]} --db out.db" in html
    assert '<b class="error">ValueError</b>: cannot read …' in html
    assert "test_pages.py" in html
    assert "Traceback (most recent call last)" in html
    assert listed.count('data-key="t') == 2
    assert "<b>ValueError</b>: cannot read bad-1.csv" in listed


def test_an_instant_that_is_none_is_said(server):
    """Rather than left out without a word."""
    assert "until tomorrow: invalid time" in server.ask("/tasks?until=tomorrow")[2]


def test_tasks_come_in_pages(serve, db):
    """Of a hundred; the links keep the filter."""
    pipeloom.map(str, range(250), db=db, progress=False)
    server = serve(db)
    seen, path = [], "/tasks?status=done"
    while path:
        html = server.ask(path)[2]
        seen.append(html.count('data-key="t'))
        path = html.partition('aria-label="More pages"')[2].partition("</nav>")[0]
        path = path.partition("Next page")[0].rpartition('href="')[2].partition('"')[0].replace("&amp;", "&")
        if "Next page" not in html:
            path = ""
        assert not path or "status=done" in path

    assert seen == [100, 100, 50]


@pytest.mark.parametrize(
    "path",
    ["/nowhere", "/tasks/999", "/runs/999", "/tasks/x", "/tasks/1/2", "/runs?before=x", "/tasks?after=9e9",
     "/tasks/", f"/tasks/{2**70}", "/tasks?run=%D9%A1", "/events", "/events/nowhere"],
)  # fmt: skip
def test_what_is_not_there_is_404(server, path):
    """With a page that says so."""
    assert server.ask(path)[0] == 404


def test_a_file_that_is_not_there_is_said_plainly(serve, db):
    """And is not made."""
    status, _, html = serve(db).ask("/")

    assert status == 200
    assert "out.db: no such file" in html
    assert html.count("<h1") == 1
    assert not db.exists()


def test_a_file_of_another_kind_is_said_plainly(serve, db):
    """With what it is."""
    db.write_bytes(b"this is not a database, but long enough to look like one" * 20)

    assert "is not a SQLite database" in serve(db).ask("/")[2]


def test_a_hostile_view_costs_a_deadline_and_no_more(serve, ledger, monkeypatch):
    """A view that never ends, in place of the table of tasks."""
    monkeypatch.setattr("pipeloom.web.answers._LISTS_S", 0.2)
    make_endless(ledger)
    server = serve(ledger)
    status, _, html = server.ask("/tasks")

    assert status == 200
    assert "no answer within 200 ms" in html
    assert server.ask("/static/live.js")[0] == 200


def test_head_has_no_body(server):
    """And the headers of GET."""
    status, headers, text = server.ask("/", "HEAD")

    assert (status, text) == (200, "")
    assert int(headers["content-length"]) > 1000
    assert server.ask("/events/", "HEAD")[0] == 200
