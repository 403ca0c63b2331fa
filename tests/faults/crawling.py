"""A crawler of pages that are made up: each follows from its number, and so does what it links to.

Started by ``pipeloom run crawling.py:crawl``. Pages link to each other many times over. Some tasks come to a
checkpoint halfway, behind which they add the rest, and some fail at their first try.
"""

from __future__ import annotations

import time

import pipeloom

NAME = "crawl"


def links_of(page: int, count: int) -> list[int]:
    """Return the pages that a page links to: below it in a tree, beside it, and back."""
    found = (3 * page + 1, 3 * page + 2, 3 * page + 3, page + 1, page // 3, (7 * page) % count, page)
    return [other for other in found if 0 <= other < count]


def rows_of(page: int) -> int:
    """Return how many rows a page leaves."""
    return 150 if page % 11 == 5 else 1 + page % 3


def has_checkpoint(page: int) -> bool:
    """Say whether a page is stored in two halves."""
    return page % 6 == 2


class Crawler:
    """The task function; an object, so that it can be sent to another process."""

    __name__ = "visit"

    def __init__(self, count: int, pause_s: float) -> None:
        self._count, self._pause_s = count, pause_s

    def __call__(self, page: int, ctx: pipeloom.TaskContext) -> None:
        links = links_of(page, self._count)
        if ctx.state is None:
            ctx.write("pages", [{"page": page, "i": i, "text": str(page) * 20} for i in range(rows_of(page) - 1)])
            if has_checkpoint(page):
                ctx.add(*links[:2])
                ctx.checkpoint("half")
                links = links[2:]
        time.sleep(self._pause_s)
        ctx.write("pages", {"page": page, "i": rows_of(page) - 1, "text": ""})
        ctx.add(*links)
        if page % 5 == 3 and ctx.attempt == 1:
            raise OSError(f"page {page}")


def crawl(
    db: str, count: int, executor: str = "threads", pause_s: float = 0.0, wal: bool = True, mistake: str = ""
) -> pipeloom.RunReport:
    """Begin at the first page."""
    if mistake:
        make(mistake)
    return pipeloom.map(
        Crawler(count, pause_s), [0], db=db, name=NAME, wal=wal, workers=3, executor=executor,  # type: ignore[arg-type] # one of two
        retries=pipeloom.Retry(attempts=2, delay_s=0), progress=False,
    )  # fmt: skip


# --- mistakes that the harness has to find ---


def make(mistake: str) -> None:
    """Make a mistake in this process."""
    from pipeloom.ledger.apply import Ledger
    from pipeloom.ledger.found import FoundInputs

    real = FoundInputs.add

    def commits(self: FoundInputs, entries: object, found_by: int | None) -> None:
        """They are put in line in a transaction behind that of the task's "done"."""
        self._conn.execute("COMMIT")
        self._conn.execute("BEGIN IMMEDIATE")
        real(self, entries, found_by)  # type: ignore[arg-type]

    def forgets(self: Ledger, *_: object) -> None:
        """They are not stored at all."""

    FoundInputs.add = {"commits": commits, "forgets": forgets}[mistake]  # type: ignore[method-assign,assignment] # a mistake
