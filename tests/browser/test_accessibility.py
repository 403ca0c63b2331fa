"""What keeps people from reading or using a page: axe-core finds nothing, light and narrow, dark and wide."""

from __future__ import annotations

import logging
import sqlite3
from contextlib import closing

import pytest
from click.testing import CliRunner

import pipeloom
from pipeloom.cli import cli

try:
    from axe_playwright_python.sync_playwright import Axe
    from playwright.sync_api import expect
except ImportError:  # the fixture says so, and skips or fails
    Axe = expect = None

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]
LONG = "https://data.example.org/archive/v2/observations/2026/station-{0}/part-{0:07}.json.gz"


def load(item, ctx):
    """Done, failed in two ways, or tried again."""
    logging.getLogger("load").warning("reading %s", item)
    if item.endswith("3.json.gz"):
        raise ValueError(f"line 7 of {item} is bad")
    if item.endswith("4.json.gz"):
        try:
            raise KeyError(item)
        except KeyError:
            logging.getLogger("load").exception("no such key")
            raise
    ctx.write("rows", {"item": item})
    return {"item": item}


def make_ended(db):
    """A run with failures of several kinds, each tried twice, and one that was all done."""
    items = [LONG.format(number) for number in range(12)]
    options = {"db": db, "name": "crawl", "on_error": "collect", "progress": False, "retries": 0}
    pipeloom.map(load, items, **options)
    pipeloom.map(load, items, **options)
    with closing(sqlite3.connect(db)) as conn:
        conn.execute("UPDATE task_runs SET status = 'timed_out', message = 'no answer after 30 s' WHERE id = 5")
        conn.commit()


NARROW, WIDE = ("light", 390), ("dark", 1280)


def findings(page, ways=(NARROW, WIDE)):
    """What axe-core finds, by scheme and width, rule and element."""
    found = set()
    for scheme, width in ways:
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        page.set_viewport_size({"width": width, "height": 900})
        for violation in Axe().run(page).response["violations"]:
            for node in violation["nodes"]:
                found.add((scheme, width, violation["id"], node["html"][:200], node["failureSummary"][:300]))
    return found


def opened(page):
    """Open all there is to open."""
    page.evaluate("document.querySelectorAll('details').forEach(fold => fold.open = true)")
    return page


ENDED = [
    "/",
    "/tasks",
    "/tasks?status=error",
    "/tasks?q=nothing",
    "/tasks?kind=ValueError",
    "/tasks?message=line+7&within=1d&since=2026-01-01T00:00&until=tomorrow",
    "/tasks/1",
    "/tasks/4",
    "/tasks/5",
    "/runs",
    "/runs/1",
    "/nowhere",
    "/tasks/999",
]


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    """The file of two runs that are over."""
    db = tmp_path_factory.mktemp("accessible") / "out.db"
    make_ended(db)
    return db


@pytest.mark.parametrize("path", ENDED)
def test_nothing_is_found_on_a_page_of_ended_runs(path, ended, serve, visit):
    """With everything opened; one page of a kind in both ways, and the others in turn: axe-core takes seconds."""
    page = visit(serve(ended).url + path)
    number = ENDED.index(path)
    ways = (NARROW, WIDE) if path in ("/", "/tasks", "/tasks/1", "/runs/1") else ((NARROW, WIDE)[number % 2],)
    assert findings(opened(page), ways) == set()


@pytest.mark.parametrize("path", ["/", "/tasks?status=running", "/tasks/1", "/tasks/2", "/runs/1"])
def test_nothing_is_found_while_a_run_goes_on(path, gated, serve, visit, db):
    """With tasks that run, are done, have failed, and one that is over and still has the focus."""
    run = gated(db, ["a.csv", "b.csv", "c.csv", "d.csv"], failing=["b.csv"])
    url = serve(db).url
    page = visit(url)
    expect(page.locator("#running tbody tr:not(.free)")).to_have_count(4)  # now they are in the file
    page.goto(url + path)
    expect(page.locator("#state")).to_have_text("live")
    if path == "/":
        page.locator("#running a", has_text="a.csv").focus()
    run.let_go("a.csv", "b.csv")
    if path == "/":
        expect(page.locator("#failures")).to_contain_text("ValueError")
        expect(page.locator("tr[data-over]")).to_be_visible()
    assert findings(opened(page), (NARROW, WIDE) if path == "/" else (WIDE,)) == set()


@pytest.mark.parametrize("path", ["/", "/tasks", "/runs"])
@pytest.mark.parametrize("is_there", [True, False])
def test_nothing_is_found_on_a_page_without_runs(path, is_there, serve, visit, db):
    """Of an empty ledger, and of no file at all."""
    if is_there:
        assert CliRunner().invoke(cli, ["init-db", "--db", str(db)]).exit_code == 0
    assert findings(visit(serve(db).url + path), (WIDE if is_there else NARROW,)) == set()


def test_nothing_is_found_on_a_report(ended, visit, tmp_path):
    """Which is a page of ours, too."""
    made = CliRunner().invoke(cli, ["report", "--db", str(ended), "-o", str(tmp_path / "run.html")])
    assert made.exit_code == 0, made.output
    assert findings(opened(visit((tmp_path / "run.html").as_uri()))) == set()
