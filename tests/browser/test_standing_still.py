"""What the reader is at stands still, however fast the rest of the page changes."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing

import pytest

try:
    from playwright.sync_api import expect
except ImportError:  # the fixture says so, and skips or fails
    expect = None

pytestmark = pytest.mark.slow
WORKERS = 5


class QuickTasks:
    """Stands for a run of quick tasks: at every step all that are running are over, and others have begun."""

    def __init__(self, db) -> None:
        self._db = db
        self.step = 0

    def go_on(self) -> None:
        self.step += 1
        first = 1000 + self.step * WORKERS
        with closing(sqlite3.connect(self._db)) as conn:
            conn.execute("UPDATE task_runs SET status = 'done', progress = 1.0, elapsed_s = 0.1 WHERE id >= 1000")
            conn.executemany(
                "INSERT INTO task_runs (id, name, status, run_id, started_at) "
                "VALUES (?, ?, 'running', 1, '2026-01-31T12:00:00.000+00:00')",
                [(number, f"quick-{number}") for number in range(first, first + WORKERS)],
            )
            conn.commit()

    def newest(self) -> str:
        return f"quick-{1000 + self.step * WORKERS + WORKERS - 1}"


@pytest.fixture
def quick(gated, db):
    """A run that goes on for as long as the test, and its quick tasks."""
    gated(db, ["waits"], workers=WORKERS + 1)
    return QuickTasks(db)


def rows(page):
    """The running rows that are shown."""
    return page.locator("#running tbody tr:not(.free)")


def test_tab_walks_through_the_running_tasks_and_out(quick, serve, visit, db):
    """A row that has the focus keeps it and its place, also when it is over; each Tab is one row further."""
    page = visit(serve(db).url)
    expect(rows(page)).to_have_count(1)
    quick.go_on()
    expect(page.get_by_text(quick.newest())).to_be_visible()
    rows(page).first.locator("a").focus()
    places = []
    for _ in range(4 * WORKERS):
        quick.go_on()
        expect(page.locator("#running")).to_contain_text(quick.newest())
        place = page.evaluate(
            "[...document.querySelectorAll('#running tbody tr')].indexOf(document.activeElement.closest('tr'))"
        )
        if place < 0:
            break
        places.append(place)
        page.keyboard.press("Tab")

    assert places == sorted(places)
    assert len(places) < 3 * WORKERS  # a place may come twice, when the list gets shorter behind it
    assert page.evaluate(
        "document.activeElement.closest('#running') === null && document.activeElement !== document.body"
    )


def test_a_row_that_is_over_stays_until_the_focus_leaves(quick, serve, visit, db):
    """Marked as over; the link still leads to its task."""
    page = visit(serve(db).url)
    quick.go_on()
    link = page.locator("#running a", has_text=quick.newest())
    link.focus()
    name = quick.newest()
    quick.go_on()
    expect(page.locator("#running")).to_contain_text(quick.newest())

    expect(link).to_be_focused()
    expect(page.locator("tr[data-over]")).to_contain_text(name)
    page.locator("#q").focus()
    expect(page.locator("tr[data-over]")).to_have_count(0)
    expect(page.locator("#running")).not_to_contain_text(name)


def test_the_row_under_the_pointer_is_the_one_that_is_clicked(quick, serve, visit, db):
    """It does not give way to another one between looking and clicking."""
    page = visit(serve(db).url)
    quick.go_on()
    name = quick.newest()
    page.locator("#running a", has_text=name).hover()
    quick.go_on()
    expect(page.locator("#running")).to_contain_text(quick.newest())
    page.mouse.down()
    page.mouse.up()

    expect(page.locator("h1")).to_have_text(name)


def test_what_is_selected_stays(quick, serve, visit, db):
    """So that it can be copied."""
    page = visit(serve(db).url)
    quick.go_on()
    name = quick.newest()
    expect(page.get_by_text(name)).to_be_visible()
    page.evaluate(
        "name => getSelection().selectAllChildren([...document.querySelectorAll('#running a')]"
        ".find(link => link.textContent === name))",
        name,
    )
    quick.go_on()
    expect(page.locator("#running")).to_contain_text(quick.newest())

    assert page.evaluate("getSelection().toString()") == name


def open_by_key(page, fold) -> None:
    fold.locator("summary").focus()
    page.keyboard.press("Enter")


def open_by_mouse(page, fold) -> None:
    fold.locator("summary").click()


@pytest.mark.parametrize("opened", [open_by_key, open_by_mouse])
def test_an_opened_traceback_stays_open_where_it_is(opened: Callable[..., None], gated, serve, visit, db) -> None:
    """Another kind of failure becomes the commonest one, and the list is sorted anew around it."""
    late = ["x1", "x2", "x3"]
    run = gated(
        db, ["a", *late, "waits"], failing=["a", *late], error=lambda item: KeyError if item in late else ValueError
    )
    page = visit(serve(db).url)
    run.let_go("a")
    folds = page.locator("#failures details")
    expect(folds).to_have_count(1)
    fold = page.locator("#failures li", has_text="ValueError")
    opened(page, fold)
    expect(fold.locator("pre")).to_be_visible()
    before = fold.locator("pre").bounding_box()
    run.let_go(*late)
    expect(page.locator("#failures")).to_contain_text("KeyError")

    expect(folds.first).to_contain_text("ValueError")
    expect(fold.locator("pre")).to_be_visible()
    assert fold.locator("pre").bounding_box() == before
    fold.locator("summary").click()
    page.locator("#q").click()
    expect(folds.first).to_contain_text("KeyError")


def test_the_table_stays_after_the_run_while_it_has_the_focus(gated, serve, visit, db):
    """Its rows are over, and go when the focus does."""
    run = gated(db, ["a.csv", "b.csv"])
    page = visit(serve(db).url)
    link = page.locator("#running a", has_text="a.csv")
    link.focus()
    run.finish()
    expect(page.locator(".verdict")).to_contain_text("Finished")
    expect(link).to_be_focused()
    page.locator("#q").focus()
    expect(page.locator("#running")).to_be_empty()
