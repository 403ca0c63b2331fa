"""The programs to start from, as docs/how-to/programs.md prints them, against real servers, and a second time."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from time import monotonic, sleep
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import pytest
from services import Jobs, Limited, Site, serve

PAGE = (Path(__file__).parent.parent / "docs" / "how-to" / "programs.md").read_text()
SECTIONS = dict(re.findall(r"^## ([^\n]+)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))
BLOCKS = {title: re.findall(r"```python\n(.*?)```", text, re.DOTALL) for title, text in SECTIONS.items()}
LIMIT_S = 30.0

# What runs the same program in other workers: text of it, and what takes its place.
PROCESSES = {'db="': 'executor="processes", workers=2, db="'}
ON_A_LOOP = {
    "import sys\n": "import asyncio\nimport sys\n",
    "def visit": "async def visit",
    "def ask": "async def ask",
    "def load": "async def load",
    "def render": "async def render",
    "with urlopen(url, timeout=30) as": "with await asyncio.to_thread(urlopen, url) as",
    'with urlopen(f"{API}/weather?city={quote(city)}", timeout=30) as': (
        'with await asyncio.to_thread(urlopen, f"{API}/weather?city={quote(city)}") as'
    ),
    "job = ctx.state": "job = await ctx.state()",
    "ctx.checkpoint": "await ctx.checkpoint",
    '= call("': '= await asyncio.to_thread(call, "',
}
EVERYWHERE = pytest.mark.parametrize("changes", [{}, PROCESSES, ON_A_LOOP], ids=["threads", "processes", "asyncio"])


@pytest.fixture
def start(tmp_path, monkeypatch) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start the program of a section, in a directory of its own; what still runs at the end is killed."""
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    started = []

    def starting(title: str, *arguments: str, changes: dict[str, str] | None = None) -> subprocess.Popen[str]:
        (program,) = BLOCKS[title]
        for old, new in (changes or {}).items():
            program = program.replace(old, new)
        (tmp_path / "program.py").write_text(program)
        process = subprocess.Popen(
            [sys.executable, "program.py", *arguments],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield starting
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def run(start) -> Callable[..., str]:
    """Run the program of a section to its end; returns what it printed."""

    def running(title: str, *arguments: str, changes: dict[str, str] | None = None) -> str:
        process = start(title, *arguments, changes=changes)
        said, complaints = process.communicate(timeout=LIMIT_S)
        assert process.returncode == 0, complaints[-3000:]
        assert "Traceback" not in complaints
        return said

    return running


@pytest.fixture
def rows(tmp_path) -> Callable[..., list[tuple[object, ...]]]:
    """Read from a database of the program."""

    def reading(db: str, sql: str) -> list[tuple[object, ...]]:
        with closing(sqlite3.connect(tmp_path / db)) as conn:
            return conn.execute(sql).fetchall()

    return reading


def wait_until(holds: Callable[[], object], process: subprocess.Popen[str] | None = None) -> None:
    """Wait until it is so, or fail; with a process, it must not end before."""
    deadline = monotonic() + LIMIT_S
    while not holds():
        assert monotonic() < deadline, "it never came"
        assert process is None or process.poll() is None, process.communicate()
        sleep(0.01)


def test_the_page_has_ten_programs_that_one_can_read():
    """None is longer than a screen, and each says how it is started."""
    assert len(BLOCKS) == 10
    for title, blocks in BLOCKS.items():
        assert max(len(block.splitlines()) for block in blocks) <= 46, title
        assert re.search(r"`python \w+\.py|cell", SECTIONS[title]), title


class Client:
    """Somebody who uses the server."""

    def __init__(self, port: int) -> None:
        self.address = f"http://127.0.0.1:{port}"

    def ask(self, method: str, path: str, body: object = None) -> tuple[int, object]:
        data = None if body is None else json.dumps(body).encode()
        try:
            with urlopen(Request(self.address + path, data, method=method), timeout=10) as answer:
                return answer.status, json.load(answer)
        except HTTPError as error:
            with error:
                return error.code, json.load(error)

    def is_there(self) -> bool:
        try:
            self.ask("GET", "/none")
        except URLError:
            return False
        return True

    def counts(self, name: str) -> dict[str, int]:
        status, answer = self.ask("GET", f"/{name}")
        assert status == 200
        assert isinstance(answer, dict)
        return answer


def test_a_server_that_starts_runs(start, rows):
    """It answers while runs go on, two of them at once; what is stopped goes on when it is asked for again."""
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    site = Site({f"/{number}": "x" * number for number in range(60)})
    site.held = {f"/{number}" for number in range(60)}
    with serve(site):
        server, client = start("A server that starts runs", str(port)), Client(port)
        wait_until(client.is_there, server)
        urls = [f"{site.address}/{number}" for number in range(60)]

        assert client.ask("POST", "/slow", urls)[0] == 200
        wait_until(lambda: client.counts("slow")["running"] > 0)
        assert client.ask("POST", "/slow", urls)[0] == 409
        assert client.ask("POST", "/../slow", urls)[0] == 404
        site.pages["/quick"] = "xyz"
        assert client.ask("POST", "/quick", [f"{site.address}/quick"])[0] == 200
        wait_until(lambda: client.counts("quick")["is_over"])
        assert client.counts("quick")["done"] == 1

        assert client.ask("DELETE", "/slow")[0] == 200
        site.release.set()
        wait_until(lambda: client.counts("slow")["is_over"])
        done = client.counts("slow")["done"]
        assert 0 < done < 60

        assert client.ask("POST", "/slow", urls)[0] == 200
        wait_until(lambda: client.counts("slow")["is_over"])
        assert client.counts("slow")["done"] == 60 - done
        assert rows("slow.db", "SELECT COUNT(*), SUM(result) FROM task_runs WHERE status = 'done'") == [(60, 1770)]
        assert max(site.times().values()) == 1

        server.send_signal(signal.SIGINT)
        assert server.wait(LIMIT_S) == 0


NOTEBOOK = """
import json, sys
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook
notebook = new_notebook(cells=[new_code_cell(cell) for cell in sys.argv[1:]])
NotebookClient(notebook, timeout=60, kernel_name="python3").execute()
print(json.dumps([cell.outputs for cell in notebook.cells]))
"""


@pytest.mark.skipif(find_spec("nbclient") is None, reason="nbclient is not installed (the dev extra brings it)")
def test_a_notebook(tmp_path):
    """The handle shows itself, also once it is over; cells that are run again have all results."""
    (tmp_path / "photos").mkdir()
    for number in range(20):
        (tmp_path / "photos" / f"{number}.jpg").write_bytes(bytes([number]) * 1000)

    words = [sys.executable, "-W", "ignore", "-c", NOTEBOOK, *[*BLOCKS["A notebook"], "run"] * 2]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    cells = [outputs[-1]["data"] for outputs in json.loads(done.stdout)]
    shown, total, over, _, total_again, over_again = cells

    assert "packed" in "".join(shown["text/html"])
    assert "20 done" in re.sub("<[^>]*>", "", "".join(over["text/html"]))
    assert "20 skipped" in re.sub("<[^>]*>", "", "".join(over_again["text/html"]))
    assert total["text/plain"] == total_again["text/plain"]
    assert int("".join(total["text/plain"])) > 200


def site_of(pages: int) -> dict[str, str]:
    """A site in which each page links to two others, to itself, to what is missing, and elsewhere."""
    elsewhere = '<a href="http://192.0.2.1/never">elsewhere</a> <a href="#part">here</a> <a href="/gone">gone</a>'
    links = {
        n: f'<a href="/{(2 * n + 1) % pages}">a</a> <a href="{(2 * n + 2) % pages}#top">b</a>' for n in range(pages)
    }
    return {f"/{n}": links[n] + elsewhere for n in range(pages)}


@EVERYWHERE
def test_a_crawler(run, start, rows, changes):
    """Killed in the middle and called again, it has visited each page once, and knows what is missing."""
    there, other = Site(site_of(25)), Site({"/": '<a href="/a">a</a>', "/a": ""})
    with serve(there), serve(other):
        first = ["A crawler", f"{there.address}/0", f"{other.address}/"]
        crawl = start(*first, changes=changes)
        wait_until(lambda: sum(there.times().values()) > 6, crawl)
        os.kill(crawl.pid, signal.SIGKILL)
        crawl.wait()
        before = rows("crawl.db", "SELECT COUNT(*) FROM pages")[0][0]
        said = run(*first, changes=changes)

        pages = rows("crawl.db", "SELECT url, COUNT(*) FROM pages GROUP BY url")
        assert len(pages) == 27
        assert {count for _, count in pages} == {1}
        assert f"{27 - before} done" in said
        assert "1 failed" in said
        assert there.most_at_once <= 4
        if not changes:
            again = there.times()
            assert "0 done" in run(*first)
            assert there.times() == again


@EVERYWHERE
def test_an_api_that_says_429(run, tmp_path, rows, changes):
    """Each city once, though the service refused a third of the calls, which cost no try."""
    cities = [f"city {number}" for number in range(12)]
    (tmp_path / "cities.txt").write_text("\n".join(cities))
    with serve(Limited(lambda asked: {"degrees": len(asked.query["city"])}, every=3)) as api:
        arguments = ["An API that says 429", api.address, "cities.txt"]
        said = run(*arguments, changes=changes)

        assert "12 done" in said
        assert sorted(rows("weather.db", "SELECT city, degrees FROM weather")) == sorted(
            (city, len(city)) for city in cities
        )
        refused = sum(asked.status == 429 for asked in api.asked)
        assert refused >= 3
        assert rows("weather.db", "SELECT COUNT(*) FROM pipeloom_attempts WHERE message LIKE '%retried in%'") == [
            (refused,)
        ]
        assert rows("weather.db", "SELECT COUNT(*) FROM pipeloom_attempts") == [(refused,)]
        assert api.most_at_once <= 4
        if not changes:
            assert "0 done, 12 skipped" in run(*arguments)


def test_an_api_that_refuses_for_good(run, tmp_path):
    """It is asked once."""
    with serve(Limited(lambda asked: {"degrees": 1}, every=10**9)) as api:
        api.bad.add("nowhere")
        (tmp_path / "cities.txt").write_text("nowhere")
        with pytest.raises(AssertionError, match="TasksFailedError"):
            run("An API that says 429", api.address, "cities.txt")
        assert [asked.status for asked in api.asked] == [400]


@pytest.mark.parametrize("changes", [{}, ON_A_LOOP], ids=["threads", "asyncio"])
def test_a_nightly_load(run, tmp_path, rows, changes):
    """What changed replaces its rows, what is new comes in, and the rest is left alone."""
    folder = tmp_path / "in"
    folder.mkdir()
    for name, lines in {"a": "pear,1.5\nplum,2", "b": "fig,3", "c": "kiwi,4"}.items():
        (folder / f"{name}.csv").write_text(f"item,price\n{lines}\n")
    assert "3 done" in run("A nightly load", "in", changes=changes)
    if not changes:
        assert "0 done, 3 skipped" in run("A nightly load", "in")

    (folder / "a.csv").write_text("item,price\npear,1.25\n")
    (folder / "d.csv").write_text("item,price\nlime,5\n")
    assert "2 done, 2 skipped" in run("A nightly load", "in", changes=changes)

    expected = [("fig", 3.0), ("kiwi", 4.0), ("lime", 5.0), ("pear", 1.25)]
    assert rows("prices.db", "SELECT item, price FROM prices ORDER BY item") == expected
    joined = (
        "SELECT item FROM prices JOIN task_runs ON task_runs.id = prices._task_id WHERE task_runs.key LIKE '%a.csv'"
    )
    assert rows("prices.db", joined) == [("pear",)]


def test_a_batch_of_prompts(run, tmp_path, rows):
    """Every prompt has its answer, no sooner than the limits say, though the service was busy now and then."""
    prompts = [f"prompt {number} " + "x" * number for number in range(8)]
    (tmp_path / "prompts.txt").write_text("\n".join(prompts))
    with serve(Limited(lambda asked: {"text": asked.body["prompt"].upper()}, every=4)) as service:
        arguments = ["A batch of prompts", f"{service.address}/v1/complete", "prompts.txt"]
        assert "8 done" in run(*arguments)

        assert sorted(rows("answers.db", "SELECT prompt, answer FROM answers")) == sorted(
            (prompt, prompt.upper()) for prompt in prompts
        )
        assert sum(asked.status == 429 for asked in service.asked) >= 2
        tries = len(service.asked)
        assert rows("answers.db", "SELECT elapsed_s FROM pipeloom_runs")[0][0] > (tries - 1) * 60 / 500
        came = {}
        for asked in service.asked:
            earlier = came.get(asked.body["prompt"])
            assert earlier is None or asked.at - earlier >= 0.05
            came[asked.body["prompt"]] = asked.at
        assert "0 done, 8 skipped" in run(*arguments)
        assert len(service.asked) == tries


def test_enough_is_enough(run, rows):
    """It ends of itself, though its inputs do not, and a second call has the samples of both."""

    def estimate() -> tuple[float, int]:
        value, _, samples, _ = run("Stop when the answer is good enough").split()
        return float(value), int(samples)

    value, samples = estimate()
    assert abs(value - 3.1416) < 0.02
    assert 10 <= samples < 2000
    value, more = estimate()
    assert abs(value - 3.1416) < 0.02
    assert more >= samples + 10
    assert rows("pi.db", "SELECT COUNT(*) FROM task_runs WHERE status = 'done'") == [(more,)]


@pytest.mark.parametrize("changes", [{}, ON_A_LOOP], ids=["threads", "asyncio"])
def test_jobs_of_a_slow_service(run, start, tmp_path, rows, changes):
    """Handed in once each, though the program is killed meanwhile, and asked for until they are ready."""
    scenes = [f"scene {number}" for number in range(6)]
    (tmp_path / "scenes.txt").write_text("\n".join(scenes))
    with serve(Jobs(polls=10**9)) as service:
        arguments = ["Jobs of a slow service", service.address, "scenes.txt"]
        program = start(*arguments, changes=changes)
        wait_until(lambda: len({asked.path for asked in service.asked}) == 7, program)  # all are asked for
        os.kill(program.pid, signal.SIGKILL)
        program.wait()
        service.polls = 12
        said = run(*arguments, changes=changes)

        assert "6 done" in said
        assert sorted(job["scene"] for job in service.jobs.values()) == scenes
        found = rows("renders.db", "SELECT scene, job, url FROM renders ORDER BY scene")
        assert [(scene, f"/done/{job}") for scene, job, _ in found] == [(scene, url) for scene, _, url in found]
        assert [service.jobs[job]["scene"] for _, job, _ in found] == scenes
        if not changes:
            many = len(service.asked)
            assert "0 done, 6 skipped" in run(*arguments)
            assert len(service.asked) == many


def test_a_model_on_every_core(run, tmp_path, rows):
    """Loaded at most once for each worker; a text without a word fails, and alone is tried by a second call."""
    (tmp_path / "model.json").write_text(json.dumps({"good": 1.0, "bad": -1.0}))
    (tmp_path / "texts").mkdir()
    for number in range(30):
        (tmp_path / "texts" / f"{number:02}.txt").write_text("good " * number + "bad " * (30 - number))
    (tmp_path / "texts" / "empty.txt").write_text("")
    said = run("A model on every core", "model.json", "texts").splitlines()

    assert 1 <= said.count("2 words loaded") <= (os.cpu_count() or 1)
    assert sum(line.endswith(".txt: error") for line in said) == 1
    assert "empty.txt: error" in said
    assert "00.txt: -1.00" in said
    assert len([line for line in said if ".txt: " in line]) == 31
    expected = [(f"{number:02}.txt", (2 * number - 30) / 30) for number in range(30)]
    assert rows("scores.db", "SELECT text, score FROM scores ORDER BY text") == expected
    again = run("A model on every core", "model.json", "texts").splitlines()
    assert [line for line in again if "words loaded" not in line] == ["empty.txt: error"]


def test_beside_other_work(run, tmp_path):
    """Outcomes come while others are held; when the time is over it ends, and the next call does the rest."""
    site = Site({f"/{number}": "x" * number for number in range(30)})
    site.held = {f"/{number}" for number in range(20, 30)}
    (tmp_path / "paths.txt").write_text("\n".join(site.pages))

    def call(seconds: str) -> tuple[set[str], list[str]]:
        said = run("A run in an asyncio program", site.address, "paths.txt", seconds).splitlines()
        return {line for line in said if line.startswith("/") and " done " in line}, said

    with serve(site):
        first, said = call("1")
        assert "to be continued" in said
        site.release.set()
        second, said = call("30")
        assert first <= {f"/{number} done {number}" for number in range(20)}
        assert first | second == {f"/{number} done {number}" for number in range(30)}
        skipped = f", {len(first)} skipped" if first else ""  # a second may be over before anything is done
        assert any(f"{len(second)} done{skipped}" in line for line in said)
