"""What is dear to build of a page: kept in its view's memo, and built again only when it must be.

Runs in the thread of the ``History`` that it is given.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic, time
from typing import TYPE_CHECKING, Any, Final

from pipeloom.data.clock import unix_time
from pipeloom.data.rates import Pace
from pipeloom.show.html import Html
from pipeloom.show.report_page import pictures_of
from pipeloom.statuses import INTERRUPTED, RUNNING
from pipeloom.web import pieces, run_parts

if TYPE_CHECKING:
    from pipeloom.history import History, RunRow, TaskDetail

__all__ = ["failures", "groups", "pictures", "rate"]

_SELDOM_S: Final = 1.0
_DUTY: Final = 10
_MAX_GROUPED: Final = 200_000  # a second or two
_MAX_DRAWN_LIVE: Final = 300_000
_MAX_DRAWN: Final = 2_000_000


def rate(run: RunRow, memo: dict[str, Any]) -> float:
    """Return tasks per second: over the last ten seconds, or the whole run when it is over."""
    ended = run.ended - run.skipped
    if run.status != RUNNING:
        return ended / run.elapsed_s if run.elapsed_s else 0.0
    began = unix_time(run.started_at)
    if began is None:
        return 0.0
    if memo.get("paced") != run.run_id:
        memo["paced"], memo["pace"] = run.run_id, Pace(began)
    found: float = memo["pace"].rate(time(), ended)
    return found


def failures(history: History, run: RunRow, limit: int, memo: dict[str, Any]) -> Html:
    """Return the last failures of a run with their tracebacks; read again only when there are others."""
    key = (run.run_id, _failed(run))
    if memo.get("failures_of") != key:
        found = (
            (history.task(task.id, longest=0) for task in history.failures(limit, run.run_id))
            if _failed(run)
            else ()
        )
        memo["failures_of"], memo["failures"] = key, [task for task in found if task is not None]
    tasks: list[TaskDetail] = memo["failures"]
    more = pieces.tasks_link("all failures", status=pieces.FAILURES, run=run.run_id) if tasks else None
    return pieces.headed("Last failures", run_parts.failures_list(tasks), more=more, id_="failures-title")


def groups(history: History, run: RunRow, memo: dict[str, Any]) -> Html:
    """Return the failures of a run, equal ones counted together."""
    failed = _failed(run)

    def make() -> Html:
        if failed > _MAX_GROUPED:
            text = f"{failed:,} failures are too many to group while you wait: pipeloom errors does it."
            return pieces.headed("Failures by kind", pieces.empty(text), id_="groups-title")
        found = history.error_groups(run_id=run.run_id, limit=10) if failed else []
        if not found:
            return Html("")
        return pieces.headed("Failures by kind", run_parts.groups_list(found), id_="groups-title")

    return _seldom(memo, "groups", (run.run_id, failed), make)


def pictures(history: History, run: RunRow, memo: dict[str, Any]) -> Html:
    """Return the pictures of the report."""

    def make() -> Html:
        if run.ended - run.skipped > (_MAX_DRAWN_LIVE if run.status == RUNNING else _MAX_DRAWN):
            text = "This run has too many tasks to draw it here: pipeloom report does it."
            return pieces.headed("Timeline", pieces.empty(text), id_="pictures-title")
        return pictures_of(history.figures(run))

    # A run that goes on is drawn anew with every change, until "now".
    return _seldom(memo, "pictures", (run.run_id, run.ended, run.status), make)


def _failed(run: RunRow) -> int:
    """Return how many tasks did not end well; a run that died counts as one more, for those that it left behind."""
    return run.not_done + (run.status == INTERRUPTED)


def _seldom(memo: dict[str, Any], name: str, key: tuple[Any, ...], make: Callable[[], Html]) -> Html:
    """Return what costs a look at every task or failure: again only for another ``key``, and not too soon.

    Args:
        memo: The view's.
        name: What it is.
        key: The run's number first, then whatever it depends on.
        make: Builds it.
    """
    before: tuple[tuple[Any, ...], float, Html] | None = memo.get(name)
    began = monotonic()
    if before is not None:
        old_key, rests_until, html = before
        if old_key == key:
            return html
        if old_key[0] == key[0] and began < rests_until:
            memo["again"] = True
            return html
    html = make()
    done = monotonic()
    memo[name] = (key, done + max(_SELDOM_S, (done - began) * _DUTY), html)
    return html
