"""``ctx.add``: inputs that tasks find are run once each, in this run or in the next."""

from __future__ import annotations

import dataclasses
import gc
import itertools
import threading
import uuid
from collections import Counter
from datetime import date
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.request import urlopen

import pytest

import pipeloom
from pipeloom import LedgerError

EXECUTORS = ("threads", "processes", "asyncio")
LAST = 300


def links(n):
    """Return the pages that a page links to: those below it in a tree, and some that others link to as well."""
    return [m for m in (2 * n, 2 * n + 1, n, n // 2, (7 * n) % LAST + 1) if 0 < m <= LAST]


def visit(n, ctx):
    """Store a page, and add what it links to."""
    ctx.write("pages", {"n": n})
    ctx.add(*links(n))
    return n


async def visit_async(n, ctx):
    """Do the same on an event loop."""
    return visit(n, ctx)


def crawl(db, executor="threads", items=(1,), fn=None, **options):
    """Run quietly."""
    fn = fn or (visit_async if executor == "asyncio" else visit)
    kind = {} if executor == "asyncio" else {"executor": executor}
    options = {"name": "crawl", "workers": 3, "on_error": "collect", "progress": False, **kind, **options}
    return pipeloom.map(fn, items, db=db, **options)


def pages(read, db):
    """Return the pages that are stored, in their order."""
    return [n for (n,) in read(db, "SELECT n FROM pages ORDER BY rowid")]


@pytest.mark.parametrize("executor", EXECUTORS)
def test_each_page_is_visited_once(db, read, executor):
    """However many link to it; a second call skips all of them, and returns their results."""
    report = crawl(db, executor)

    assert sorted(pages(read, db)) == list(range(1, LAST + 1))
    assert (report.done, report.total, report.status) == (LAST, LAST, "done")
    assert dict(report.results()) == {n: n for n in range(1, LAST + 1)}
    assert read(db, "SELECT expected, done FROM pipeloom_runs") == [(LAST, LAST)]
    again = crawl(db, executor)
    assert (again.done, again.skipped) == (0, LAST)
    assert dict(again.results()) == dict(report.results())
    assert len(pages(read, db)) == LAST


def test_it_is_known_who_found_what(db, read):
    """The first one that did."""
    crawl(db, workers=1)

    found = read(
        db,
        "SELECT t.key, by.key FROM pipeloom_found f JOIN task_runs t ON t.id = f.task_id "
        "JOIN task_runs by ON by.id = f.found_by ORDER BY f.id",
    )
    order, finders = [1], {}
    for n in order:
        for m in links(n):
            if m not in finders and m != 1:
                finders[m] = n
                order.append(m)
    assert found == list(finders.items())


def test_they_run_in_the_order_in_which_they_were_found(db, read):
    """With one worker that is the order of a queue."""

    def fan(n, ctx):
        ctx.write("pages", {"n": n})
        if n < 1000:
            ctx.add(*range(n * 10, n * 10 + 10))

    crawl(db, items=[1], fn=fan, workers=1)

    expected = [1, *range(10, 20), *range(100, 200), *range(1000, 2000)]
    assert pages(read, db) == expected


# --- what an input may be ---


@dataclasses.dataclass(frozen=True)
class Page:
    """An input that is more than its name."""

    url: str
    depth: int = 0
    via: tuple[str, ...] = ()


ITEMS = [
    "text", "é\0\ud800", 7, 2**70, Path("a/b"), date(2026, 1, 31), uuid.UUID(int=3), ("a", 1), ["a", (1.5, None)],
    {"b": 1, "a": (2,)}, Page("https://a.org/", 2, ("x", "y")),
]  # fmt: skip


def tell(item, ctx):
    """Add all, and say what came."""
    if item == "begin":
        ctx.add(*ITEMS)
    ctx.write("seen", {"said": f"{type(item).__name__} {item!r}"})


async def tell_async(item, ctx):
    """Do the same on an event loop."""
    tell(item, ctx)


@pytest.mark.parametrize("executor", EXECUTORS)
def test_an_input_comes_as_what_it_was(db, read, executor):
    """With its type; and is the same input as one that the caller passes."""
    report = crawl(db, executor, ["begin"], fn=tell_async if executor == "asyncio" else tell)

    assert report.failures == ()
    assert {said for (said,) in read(db, "SELECT said FROM seen")} == {
        f"{type(item).__name__} {item!r}" for item in ["begin", *ITEMS]
    }
    assert crawl(db, items=["begin", *ITEMS], fn=tell).skipped == len(ITEMS) + 1


def test_key_tells_added_inputs_apart_as_any_other(db, read):
    """What has the same key is the same page."""

    def site(page, ctx):
        ctx.write("pages", {"n": page.depth})
        ctx.add(Page(page.url, page.depth + 1), Page(page.url + "/x", page.depth + 1))

    crawl(db, items=[Page("a")], fn=site, key=lambda page: page.url[:5])

    assert sorted(pages(read, db)) == [0, 1, 2]
    assert read(db, "SELECT key FROM task_runs ORDER BY id") == [("a",), ("a/x",), ("a/x/x",)]


def raises_for_three(n):
    """Return what identifies a number, of which one has nothing that does."""
    if n == 3:
        raise LookupError(n)
    return n


@pytest.mark.parametrize(
    ("key", "added", "words"),
    [
        (raises_for_three, 3, "ctx.add: key= raised LookupError for input 2 (3): 3"),
        (lambda n: object() if n == 3 else n, 3, "for input 2 (3): a value of type object cannot serve as a key"),
        (None, 1.5, "ctx.add: input 2 (1.5) has no key: a value of type float cannot serve as a key"),
    ],
    ids=["raises", "returns what is none", "has none"],
)
@pytest.mark.parametrize("how", ["at its end", "at a checkpoint"])
def test_an_added_input_without_a_key_fails_the_task_that_added_it(db, read, key, added, words, how):
    """Nothing of that is stored, as if a row had been refused; the other tasks go on."""
    heard = []

    def work(n, ctx):
        ctx.write("pages", {"n": n})
        ctx.add(*([5, added] if n == 1 else [4]))
        if how == "at a checkpoint":
            try:
                ctx.checkpoint(n)
            except Exception as error:  # noqa: BLE001 - whatever it is
                heard.append(str(error))

    report = crawl(db, items=[1, 2], fn=work, key=key)

    (failure,) = report.failures
    assert failure.key == 1
    assert words in failure.message
    assert sorted(pages(read, db)) == [2, 4]
    assert [words in said for said in heard] == [True] * len(heard)
    assert len(heard) == (how == "at a checkpoint")


# --- by whom it is added, and when ---


def test_what_the_caller_passes_as_well_is_run_once(db, read):
    """Whichever comes first; it is no input that came twice, but one of these still is."""
    gate = threading.Event()

    def passed():
        yield 1
        yield 5
        assert gate.wait(30)
        yield from [2, 3, 4, 6, 3]

    def work(n, ctx):
        ctx.write("pages", {"n": n})
        if n == 1:
            ctx.add(2, 3, 5, 7)
        if n == 7:
            gate.set()

    report = crawl(db, items=passed(), fn=work)

    assert sorted(pages(read, db)) == [1, 2, 3, 4, 5, 6, 7]
    assert report.failures == ()
    assert (report.total, report.done) == (7, 7)
    twice = crawl(db.with_name("twice.db"), items=[1, 1], fn=work)
    assert [failure.exception for failure in twice.failures] == ["DuplicateKeyError"]


@pytest.mark.parametrize("executor", ["threads", "processes"])
def test_ascending_inputs_and_found_ones_never_meet_twice(db, read, executor):
    """Those are let in without a look into the file, until the first one is found."""
    crawl(db, executor, items=range(1, 3000), fn=next_ones, workers=4)

    found = {m for n in range(7, 3000, 7) for m in (n + 12, n + 6)}
    assert Counter(pages(read, db)) == Counter({*range(1, 3000), *found})


def next_ones(n, ctx):
    """Add what is about to be passed, has been passed, or comes after all."""
    ctx.write("pages", {"n": n})
    if n < 3000 and n % 7 == 0:
        ctx.add(n + 1, n + 12, max(n - 30, 1), n + 6)


def test_a_failed_try_adds_nothing(db, read):
    """The one that succeeds does; neither does a task whose rows are refused."""

    def work(n, ctx):
        if ", " in n:
            return
        ctx.add(f"{n}, try {ctx.attempt}")
        if n == "fails once" and ctx.attempt == 1:
            raise OSError(n)
        if n == "fails":
            raise ValueError(n)
        if n == "refused":
            ctx.execute("INSERT INTO no_such_table VALUES (1)")

    retry = pipeloom.Retry(3, on=OSError, delay_s=0.01)
    report = crawl(db, items=["fails once", "fails", "refused"], fn=work, retries=retry)

    assert report.failed == 2
    assert read(db, "SELECT key FROM task_runs WHERE key LIKE '%, try %'") == [("fails once, try 2",)]


def test_a_checkpoint_stores_what_was_added_until_then(db, read):
    """And a failure behind it does not take that back."""
    ran = []

    def work(n, ctx):
        ran.append(n)
        if n == "first":
            ctx.add("a", "b")
            ctx.checkpoint(1)
            ctx.add("c")
            raise ValueError

    report = crawl(db, items=["first"], fn=work)

    assert sorted(ran) == ["a", "b", "first"]
    assert (report.done, report.failed) == (2, 1)


def test_a_task_that_has_ended_adds_nothing(db, read):
    """Its context says so."""
    kept = []

    crawl(db, items=[1], fn=lambda n, ctx: kept.append(ctx))

    with pytest.raises(pipeloom.AttemptOverError, match="has ended"):
        kept[0].add(2)
    assert read(db, "SELECT COUNT(*) FROM pipeloom_found") == [(0,)]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            {"key": None},
            "ctx.add: an added input needs a key, so that it runs only once: use pipeloom.map, or pass key=",
        ),
        ({"store_task_status": False}, "ctx.add: inputs that a task adds are stored in the ledger"),
        ({"shard": (1, 1), "key": str}, "ctx.add: this run covers one shard"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_where_nothing_can_be_added_the_call_says_why(db, options, words):
    """The task is free to go on."""
    said = []

    def work(n, ctx):
        with pytest.raises(LedgerError) as caught:
            ctx.add(n)
        said.append(str(caught.value))

    pipeloom.run_pipeline([1], db_path=db, worker_fn=work, progress=False, **options)

    assert len(said) == 1
    assert words in said[0]


def test_what_cannot_be_stored_is_refused_at_the_call(db, read):
    """With one sentence; none of that call is added."""
    said = []

    def work(n, ctx):
        if n != 1:
            return
        for items in ([2, b"x"], [iter([3])], [(n for n in [4])], [{5}]):
            with pytest.raises(TypeError) as caught:
                ctx.add(*items)
            said.append(str(caught.value))
        ctx.add()

    crawl(db, items=[1], fn=work)

    assert said[0].startswith(
        "ctx.add: a value of type bytes cannot be stored as an input: add a str, number, path,"
    )
    assert said[2] == (
        "ctx.add: a generator cannot be stored as an input: to add each of its elements, write ctx.add(*...)"
    )
    assert read(db, "SELECT COUNT(*) FROM task_runs") == [(1,)]


# --- the next run ---


def numbers(first, last, until=None):
    """Return a function that adds the next numbers, and fails from one on."""

    def work(n, ctx):
        if until is not None and n >= until:
            raise ValueError(n)
        ctx.write("pages", {"n": n})
        ctx.add(*[m for m in (2 * n, 2 * n + 1) if m <= last])

    return work


def test_the_next_run_does_what_is_left(db, read):
    """What failed, and what it leads to; what is done counts as skipped."""
    first = crawl(db, fn=numbers(1, 100, until=30))
    assert (first.done, first.failed) == (29, 30)

    second = crawl(db, fn=numbers(1, 100))

    assert sorted(pages(read, db)) == list(range(1, 101))
    assert (second.skipped, second.done, second.total) == (29, 71, 100)
    assert sorted(dict(second.results())) == list(range(1, 101))
    assert read(db, "SELECT expected FROM pipeloom_runs WHERE id = 2") == [(100,)]
    assert read(db, "SELECT COUNT(*), MIN(status) FROM pipeloom_attempts") == [(30, "error")]


@pytest.mark.parametrize("drain", [True, False])
def test_a_run_that_is_cancelled_leaves_them_to_the_next(db, read, drain):
    """At once, however many wait; what never began has no try in the past."""

    def work(n, ctx):
        ctx.write("pages", {"n": n})
        if n == 0:
            ctx.add(*range(1, 5001))
        elif n == 50:
            run.cancel(drain=drain)

    with pipeloom.start(work, [0], db=db, name="crawl", workers=2, progress=False) as run:
        report = run.wait()
    assert 50 <= report.done < 2000
    left = read(
        db, "SELECT status, COUNT(*) FROM task_runs WHERE status <> 'done' AND started_at IS NULL GROUP BY 1"
    )
    assert left[0][0] == "interrupted"
    ((message,),) = read(db, "SELECT DISTINCT message FROM task_runs WHERE status <> 'done' AND started_at IS NULL")
    assert message == "its run ended before its turn: the next one runs it"

    second = crawl(db, items=[0], fn=work)

    assert second.done + report.done == 5001
    assert Counter(pages(read, db)) == Counter(range(5001))
    assert read(db, "SELECT COUNT(*) FROM pipeloom_attempts WHERE started_at IS NULL") == [(0,)]


def test_without_resume_a_crawl_begins_anew(db, read):
    """What an earlier run has found is run when it is found again, in the order of now."""
    crawl(db, items=[1], fn=numbers(1, 7), workers=1)

    def other(n, ctx):
        ctx.write("pages", {"n": n})
        ctx.add(*{1: [6, 3, 8], 3: [2, 6]}.get(n, []))

    report = crawl(db, items=[1], fn=other, resume=False, workers=1)

    assert report.done == 5
    assert pages(read, db)[7:] == [1, 6, 3, 8, 2]
    assert crawl(db, items=[1], fn=other).skipped == 8


def test_another_pipeline_in_the_file_has_a_line_of_its_own(db, read):
    """Neither runs what the other one has found."""
    crawl(db, fn=numbers(1, 50, until=20))
    crawl(db, fn=numbers(1, 60, until=10), name="other")
    crawl(db, fn=numbers(1, 50))
    crawl(db, fn=numbers(1, 60), name="other")

    assert Counter(pages(read, db)) == Counter([*range(1, 51), *range(1, 61)])


def test_an_input_that_cannot_be_made_again_fails_alone(db, read, monkeypatch):
    """As when its class has been renamed since."""

    def work(item, ctx):
        if item == "begin":
            ctx.add(Page("a"), "b")
        if item != "begin":
            raise ValueError(item)

    crawl(db, items=["begin"], fn=work)
    monkeypatch.delitem(globals(), "Page")

    report = crawl(db, items=["begin"], fn=lambda item, ctx: None)

    (failure,) = report.failures
    assert "cannot be restored from its text: its class Page is not found in the module" in failure.message
    assert report.done == 1


# --- amounts ---


@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_task_may_add_very_many(db, read, executor):
    """More than memory should hold go by way of a file, with its rows."""
    report = crawl(
        db, executor, items=["begin"], fn=many_async if executor == "asyncio" else many, durability="off"
    )

    assert report.failures == ()
    assert read(db, "SELECT COUNT(*), COUNT(DISTINCT key) FROM task_runs WHERE status = 'done'") == [(601, 601)]
    assert read(db, "SELECT COUNT(*) FROM pages") == [(30,)]


def many(item, ctx):
    """Add 600 inputs of 32 KiB, among rows."""
    if item == "begin":
        for n in range(30):
            ctx.write("pages", {"n": n})
            ctx.add(*[f"{n} {m} " + "x" * 32_768 for m in range(20)])


async def many_async(item, ctx):
    """Do the same on an event loop."""
    many(item, ctx)


def test_memory_does_not_grow_with_the_line(db):
    """What waits is in the file, but for some hundred inputs."""
    there = []

    def work(n, ctx):
        if n == 0:
            ctx.add(*range(1, 20_001))
        elif n % 5000 == 0:
            there.append(sum(type(thing).__name__ in ("Attempt", "Waiting", "Entry") for thing in gc.get_objects()))

    report = crawl(db, items=[0], fn=work, durability="off")

    assert report.done == 20_001
    assert len(there) == 4
    assert max(there) < 6000, there


# --- a site ---


class Site(BaseHTTPRequestHandler):
    """Pages that link to each other."""

    def do_GET(self):
        n = int(self.path.strip("/") or 1)
        body = "".join(f'<a href="/{m}">{m}</a>' for m in links(n)).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.server.visits[n] += 1

    def log_message(self, *args):
        pass


@pytest.fixture
def site():
    """A server of 300 pages."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Site) as server:
        server.daemon_threads = False
        server.visits = Counter()
        thread = threading.Thread(target=partial(server.serve_forever, 0.01))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_a_real_site_is_crawled(db, read, site):
    """Each page is asked for once, by two runs together."""
    root = f"http://127.0.0.1:{site.server_port}"
    budget = itertools.count()

    def fetch(url, ctx):
        if next(budget) == 100:
            raise pipeloom.TaskCancelledError("enough for today")
        with urlopen(url, timeout=30) as answer:
            page = answer.read().decode()
        ctx.write("pages", {"n": int(url.rpartition("/")[2]), "size": len(page)})
        ctx.add(*[f"{root}{link}" for link in page.split('"')[1::2]])

    first = crawl(db, items=[f"{root}/1"], fn=fetch)
    second = crawl(db, items=[f"{root}/1"], fn=fetch)

    assert (first.cancelled, second.cancelled) == (1, 0)
    assert sorted(pages(read, db)) == list(range(1, LAST + 1))
    assert site.visits == Counter(range(1, LAST + 1))


# --- and what makes a task be done again ---


def test_found_inputs_are_done_again_when_their_version_has_changed(db, read):
    """Each with its rows, and those that are the same are skipped."""
    versions = dict.fromkeys(range(1, 21), 1)

    def again():
        return crawl(db, fn=numbers(1, 20), version=lambda n: versions[n])

    again()
    versions |= {3: 2, 20: 2}
    report = again()

    assert (report.done, report.skipped, report.total) == (2, 18, 20)
    assert Counter(pages(read, db)) == Counter(range(1, 21))
    assert read(db, "SELECT COUNT(*) FROM pages JOIN task_runs t ON t.id = _task_id WHERE t.key = n") == [(20,)]
    assert again().skipped == 20


def test_an_input_that_was_passed_once_and_is_found_now_is_done_again_if_it_has_changed(db, read):
    """It has no line in the file yet."""
    crawl(db, items=[2, 3], fn=lambda n, ctx: ctx.write("pages", {"n": n}), version=lambda n: 1)

    report = crawl(db, items=[1], fn=numbers(1, 3), version=lambda n: 1 + (n == 3))

    assert (report.done, report.skipped, report.total) == (2, 1, 3)
    assert sorted(pages(read, db)) == [1, 2, 3]


def test_a_found_input_whose_version_cannot_be_told_fails_alone(db):
    """As one of the caller's does."""

    def version(n):
        return 1 // (n - 3)

    report = crawl(db, fn=numbers(1, 5), version=version)

    (failure,) = report.failures
    assert failure.key == 3
    assert "version= raised ZeroDivisionError for input" in failure.message


def test_what_has_a_checkpoint_is_refused_without_resume(db, read):
    """Its rows would be there twice; as of an input of the caller's."""

    def work(n, ctx):
        if n == 1:
            ctx.add(2)
        elif ctx.state is None:
            ctx.write("pages", {"n": n})
            ctx.checkpoint(1)
            raise ValueError(n)

    crawl(db, fn=work)

    report = crawl(db, fn=work, resume=False)

    (failure,) = report.failures
    assert "has a checkpoint, and resume=False would store its rows twice" in failure.message
    assert crawl(db, fn=work).status == "done"
    assert pages(read, db) == [2]
