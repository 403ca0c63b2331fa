"""B23: a crawl of pages generated in memory: each has a row and ten links, most of them already known."""

from __future__ import annotations

import sqlite3
from collections import deque
from contextlib import closing
from functools import partial
from pathlib import Path
from time import process_time
from typing import Any

from common import Outcome, Target, Workload, main, rows, timed, verify

WORKERS = 4
ROOT = "https://site.example/page/"


def links_of(page: int, size: int) -> list[int]:
    """Return ten pages: two below it in a tree, so that all are reached, and random others."""
    found = [2 * page, 2 * page + 1, page // 2]
    found += [page * step % size + 1 for step in (3, 7, 13, 31, 61, 127, 251)]
    return [other for other in found if 0 < other <= size]


def visit(size: int, url: str, ctx: Any) -> None:
    page = int(url.removeprefix(ROOT))
    links = [f"{ROOT}{other}" for other in links_of(page, size)]
    ctx.write("pages", {"url": url, "links": len(links)})
    ctx.add(*links)


def ours(durability: str, executor: str, size: int, db: Path) -> Outcome:
    """Crawl with ``ctx.add``."""
    import pipeloom

    spent = process_time()
    seconds = timed(
        lambda: pipeloom.map(
            partial(visit, size),
            [f"{ROOT}1"],
            db=db,
            name="b23",
            workers=WORKERS,
            executor=executor,
            durability=durability,
            progress=False,
        )
    )
    spent = process_time() - spent
    verify(rows(db, "SELECT status, COUNT(*) FROM task_runs GROUP BY 1"), [("done", size)])
    verify(rows(db, "SELECT COUNT(*), COUNT(DISTINCT url) FROM pages"), [(size, size)])
    return Outcome(size, seconds, {"cpu_us": spent / size * 1e6})


def again(size: int, db: Path) -> Outcome:
    """Run it again when everything is done."""
    import pipeloom

    ours("off", "threads", size, db)
    run = partial(pipeloom.map, partial(visit, size), [f"{ROOT}1"], db=db, name="b23", progress=False)
    return Outcome(size, timed(lambda: verify(run().skipped, size)))


def by_hand(size: int, db: Path) -> Outcome:
    """A set of seen pages, a queue and one transaction: if it is killed, nothing is left."""

    def crawl() -> None:
        with closing(sqlite3.connect(db)) as conn, conn:
            conn.execute("CREATE TABLE pages (url TEXT, links INTEGER)")
            seen, queue = {f"{ROOT}1"}, deque([f"{ROOT}1"])
            while queue:
                url = queue.popleft()
                links = [f"{ROOT}{other}" for other in links_of(int(url.removeprefix(ROOT)), size)]
                conn.execute("INSERT INTO pages VALUES (?, ?)", (url, len(links)))
                for link in links:
                    if link not in seen:
                        seen.add(link)
                        queue.append(link)

    outcome = Outcome(size, timed(crawl))
    verify(rows(db, "SELECT COUNT(*), COUNT(DISTINCT url) FROM pages"), [(size, size)])
    return outcome


def scrapy_jobdir(size: int, db: Path) -> Outcome:
    """Scrapy with a ``JOBDIR``, so that it can be stopped and continued; pages come from a handler in memory."""
    import scrapy  # type: ignore[import-not-found]  # a peer, if installed
    from scrapy.crawler import CrawlerProcess  # type: ignore[import-not-found]  # as above

    class Handler:
        lazy = True

        async def download_request(self, request: Any) -> Any:
            return scrapy.http.TextResponse(request.url, body=b"", request=request)

        async def close(self) -> None:
            pass

    class Spider(scrapy.Spider):  # type: ignore[misc]  # as above
        name = "b23"

        async def start(self) -> Any:
            self.conn = sqlite3.connect(db)
            self.conn.execute("CREATE TABLE pages (url TEXT, links INTEGER)")
            yield scrapy.Request(f"{ROOT}1")

        def parse(self, response: Any) -> Any:
            links = links_of(int(response.url.removeprefix(ROOT)), size)
            self.conn.execute("INSERT INTO pages VALUES (?, ?)", (response.url, len(links)))
            for other in links:
                yield scrapy.Request(f"{ROOT}{other}")

        def closed(self, _reason: str) -> None:
            self.conn.commit()
            self.conn.close()

    def crawl() -> None:
        process = CrawlerProcess({
            "JOBDIR": str(db.with_suffix(".job")), "LOG_ENABLED": False, "TELNETCONSOLE_ENABLED": False,
            "DOWNLOAD_HANDLERS": {"https": Handler}, "ROBOTSTXT_OBEY": False, "DOWNLOAD_DELAY": 0,
            "CONCURRENT_REQUESTS": 16, "CONCURRENT_REQUESTS_PER_DOMAIN": 16, "DEPTH_LIMIT": 0,
        })  # fmt: skip
        process.crawl(Spider)
        process.start()

    outcome = Outcome(size, timed(crawl))
    verify(rows(db, "SELECT COUNT(*), COUNT(DISTINCT url) FROM pages"), [(size, size)])
    return outcome


WORKLOAD = Workload(
    name="B23",
    what="a crawl: each page stores a row and adds ten links, most of which are known",
    size=20_000,
    tiny=200,
    variants={
        "set, queue, one transaction": by_hand,
        "map, threads": partial(ours, "full", "threads"),
        "map, processes": partial(ours, "full", "processes"),
        "map, all done before": again,
        "Scrapy, JOBDIR": scrapy_jobdir,
    },
    needs={"Scrapy, JOBDIR": "scrapy"},
    sizes={"Scrapy, JOBDIR": 0.25},
    targets=(
        Target("map, threads", "Scrapy, JOBDIR", 3.0),
        Target("map, threads", "set, queue, one transaction", 0.02),
        Target("map, all done before", "map, threads", 10.0),
    ),
)

if __name__ == "__main__":
    main(WORKLOAD)
