"""The page as people have it: in a browser, while a run is going on."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing

import pytest
from web.serving import wait_until

import pipeloom

try:
    from playwright.sync_api import expect
except ImportError:  # the fixture says so, and skips or fails
    expect = None

pytestmark = pytest.mark.slow
ITEMS = ["a.csv", "b.csv", "c.csv", "d.csv"]
HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(2)>"


def figure(page, name):
    """The figure above whose name stands."""
    return page.locator(".totals div", has=page.locator("dt", has_text=re.compile(f"^{name}$"))).locator("dd")


def test_a_run_is_followed_without_a_reload(serve, gated, visit, db):
    """From "no such file" to the end: numbers move, a failure appears, its traceback opens and stays open."""
    page = visit(serve(db).url)
    expect(page.locator("#notice")).to_contain_text("no such file")
    page.evaluate("window.sameDocument = true")

    run = gated(db, ITEMS, failing=["b.csv", "c.csv"])
    expect(page.locator("#running tbody tr")).to_have_count(4)
    expect(page.locator("#state")).to_have_text("live")
    expect(figure(page, "Done")).to_have_text("0")

    run.let_go("a.csv")
    expect(figure(page, "Done")).to_have_text("1")
    expect(page).to_have_title(re.compile("^25 % · run 1"))

    run.let_go("b.csv")
    expect(figure(page, "Failed")).to_have_text("1")
    fold = page.locator("#failures details", has_text="b.csv")
    fold.locator("summary").click()
    expect(fold.locator("pre")).to_contain_text("ValueError: line 7 of b.csv is bad")

    run.let_go("c.csv")
    expect(page.locator("#failures details .count")).to_have_text("2\N{MULTIPLICATION SIGN}")
    expect(fold.locator("pre")).to_be_visible()

    run.finish()
    expect(page.locator(".verdict")).to_contain_text("2 of 4 tasks failed")
    expect(page.locator("#running")).to_be_empty()
    expect(page.locator("#spoken")).to_have_text("Run 1 failed, 2 failed")
    assert page.evaluate("window.sameDocument")


def test_what_runs_grows_older_by_itself(serve, gated, visit, db):
    """Without a word from the server."""
    gated(db, ["a.csv"])
    page = visit(serve(db).url)
    clock = page.locator("#running td [data-since]")
    before = clock.text_content()

    expect(clock).not_to_have_text(before)


def test_script_in_a_name_is_text(serve, gated, visit, db):
    """On every page, at loading and when it comes as news."""
    run = gated(db, [HOSTILE], failing=[HOSTILE])
    server = serve(db)
    pages = [visit(server.url + path) for path in ("/", "/tasks", "/tasks/1")]
    for page in pages:
        expect(page.get_by_text(HOSTILE).first).to_be_visible()
    run.finish()
    expect(pages[0].locator("#failures")).to_contain_text(HOSTILE)
    expect(pages[1].locator("#tasks")).to_contain_text("failed")
    expect(pages[2].locator("#error")).to_contain_text("Traceback")

    for page in pages:
        assert page.locator("img").count() == 0
        assert page.locator("script").count() == 1


def test_dark_and_light(serve, visit, db):
    """As the system asks for; words are told from the ground in both."""
    server = serve(db)
    found = {}
    for scheme in ("light", "dark"):
        page = visit(server.url, color_scheme=scheme)
        found[scheme] = page.evaluate(
            "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"
        )

    def lightness(color):
        return sum(map(int, re.findall(r"\d+", color)[:3])) / 3

    (light_ground, light_words), (dark_ground, dark_words) = found["light"], found["dark"]
    assert lightness(light_ground) > 240
    assert lightness(light_words) < 60
    assert lightness(dark_ground) < 40
    assert lightness(dark_words) > 200


def test_all_is_reached_by_the_keyboard(serve, visit, db):
    """The skip link first; the search by a slash; a failure's traceback by Tab and Enter."""
    pipeloom.map(int, ["1", "x"], db=db, name="k", on_error="collect", progress=False)
    page = visit(serve(db).url)
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    expect(page.locator(".skip")).to_be_in_viewport()
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none"
    page.keyboard.press("Enter")
    for _ in range(12):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.localName") == "summary":
            break
    page.keyboard.press("Enter")
    expect(page.locator("#failures details pre")).to_contain_text("invalid literal for int()")
    for _ in range(3):  # its tasks, and its example
        page.keyboard.press("Tab")
    expect(page.locator("#failures details pre")).to_be_focused()

    page.keyboard.press("/")
    expect(page.locator("#q")).to_be_focused()
    page.keyboard.type("x/y")
    expect(page.locator("#q")).to_have_value("x/y")
    page.keyboard.press("Tab")
    expect(page.locator("#q")).not_to_be_focused()
    page.locator("#q").fill("x")
    page.locator("#q").press("Enter")
    expect(page).to_have_url(re.compile(r"/tasks\?q=x$"))
    expect(page.locator("#tasks tbody tr")).to_have_count(1)


def test_news_leave_the_reader_where_they_are(serve, gated, visit, db):
    """Focus, selection and scrolling stay, also when rows come and go around them."""
    run = gated(db, ITEMS)
    page = visit(serve(db).url, viewport={"width": 800, "height": 300})
    link = page.locator("#running a", has_text="c.csv")
    link.focus()
    page.evaluate("scrollTo(0, 120); getSelection().selectAllChildren(document.querySelector('h1'))")
    before = link.bounding_box()
    run.let_go("a.csv", "b.csv")
    expect(page.locator("#running tbody tr:not(.free)")).to_have_count(2)

    expect(link).to_be_focused()
    assert page.evaluate("getSelection().toString()") == "gated"
    assert link.bounding_box() == before


def test_a_lost_connection_is_said_and_found_again(serve, visit, db):
    """The page stays, and goes on once the server is back."""
    pipeloom.map(str, range(3), db=db, name="k", progress=False)
    server = serve(db)
    page = visit(server.url)
    expect(page.locator("#state")).to_have_text("live")
    server.stop()
    expect(page.locator("#state")).to_have_text("connection lost, reconnecting")
    expect(page.locator("h1")).to_have_text("k")
    serve(db, port=server.port)
    expect(page.locator("#state")).to_have_text("live")


def test_one_page_too_many_tries_again(serve, visit, db):
    """A refusal ends a browser's own trying; the page's goes on."""
    pipeloom.map(str, range(3), db=db, name="k", progress=False)
    server = serve(db, max_viewers=1)
    first = visit(server.url)
    expect(first.locator("#state")).to_have_text("live")
    second = visit(server.url)
    expect(second.locator("#state")).to_have_text("connection lost, reconnecting")
    expect(second.locator("h1")).to_have_text("k")
    first.close()
    expect(second.locator("#state")).to_have_text("live")


def test_a_tab_in_the_background_lets_go(serve, visit, db):
    """A browser opens six connections to one server: a seventh tab must not hang. Seen again, it catches up."""
    pipeloom.map(str, range(3), db=db, name="k", progress=False)
    server = serve(db)
    page = visit(server.url)
    expect(page.locator("#state")).to_have_text("live")
    hide = (
        "hidden => { Object.defineProperty(document, 'hidden', { value: hidden, configurable: true });"
        " document.dispatchEvent(new Event('visibilitychange')); }"
    )
    page.evaluate(hide, True)
    wait_until(lambda: server.hub.viewers == 0)
    pipeloom.map(str, range(4), db=db, name="l", progress=False)
    page.evaluate(hide, False)
    expect(page.locator("h1")).to_have_text("l")


def test_without_script_the_pages_read_the_same(serve, visit, db):
    """As of their loading."""
    pipeloom.map(int, ["1", "x"], db=db, name="k", on_error="collect", progress=False)
    server = serve(db)
    page = visit(server.url, java_script_enabled=False)
    for path in ("/", "/tasks", "/runs", "/runs/1", "/tasks/2"):
        page.goto(server.url + path)
        expect(page.locator("h1")).to_be_visible()
        expect(page.locator("main")).to_contain_text(re.compile("failed", re.IGNORECASE))
        expect(page.locator("#state")).to_have_text("not live")


def test_no_page_is_wider_than_its_window(serve, visit, db):
    """Whatever a task is called."""
    names = ["x" * 400, "a long name with many words " * 20, "1"]
    pipeloom.map(int, names, db=db, name="p" * 150, on_error="collect", progress=False)
    with closing(sqlite3.connect(db)) as conn:
        conn.execute("UPDATE pipeloom_runs SET done = 123456789, failed = 12345678, skipped = 123456789")
        conn.commit()
    server = serve(db)
    page = visit(server.url)
    for path in ("/", "/tasks", "/tasks/1", "/runs", "/runs/1"):
        page.goto(server.url + path)
        for width in (390, 800, 1280):
            page.set_viewport_size({"width": width, "height": 800})
            assert page.evaluate("document.documentElement.scrollWidth") <= width, path


def test_pictures_are_drawn_in_the_report_and_on_the_page(serve, visit, db, tmp_path):
    """The same ones: in the file from disk, and live."""
    from click.testing import CliRunner

    from pipeloom.cli import cli

    pipeloom.map(int, ["1", "2", "x", HOSTILE], db=db, name="k", on_error="collect", progress=False)
    made = CliRunner().invoke(cli, ["report", "--db", str(db), "-o", str(tmp_path / "run.html")])
    assert made.exit_code == 0, made.output
    report = visit((tmp_path / "run.html").as_uri())
    live = visit(f"{serve(db).url}/runs/1")
    for page in (report, live):
        for name in ("timeline", "throughput", "durations"):
            picture = page.locator(f"svg[aria-labelledby*={name}-title]")
            expect(picture).to_be_visible()
            assert picture.bounding_box()["width"] > 200
        assert page.locator("img").count() == 0
    assert report.locator("script").count() == 0
