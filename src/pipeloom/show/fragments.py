"""Parts of a page about a run, as HTML: its totals, failures, slowest tasks and circumstances.

Pure functions of what ``history`` returns, for the report in one file and for the web page alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from pipeloom.data.text import clean, shorten
from pipeloom.show.html import block, facts, table, text
from pipeloom.show.pictures import span_text

if TYPE_CHECKING:
    from pipeloom.history import ErrorGroup, RunFigures, RunRow
    from pipeloom.history.figures import SlowTask

__all__ = ["circumstances", "failures", "slowest", "totals", "tries", "verdict", "when"]

_TRACEBACK_LINES = 40
_LINE = 200
_SIGNS = {"done": "✓", "error": "✗", "running": "▶"}


def verdict(run: RunRow) -> str:
    """Say in a sentence how the run ended, or that it has not."""
    return (
        f'<p class="verdict {escape(run.status) if run.status in _SIGNS else "stopped"}">'
        f'<span class="sign" aria-hidden="true">{_SIGNS.get(run.status, "■")}</span>'
        f"<span>{escape(sentence(run))}</span></p>"
    )


def sentence(run: RunRow) -> str:
    """Return how the run ended, in plain words."""
    bad = run.failed + run.timed_out
    of = f" of {run.expected:,}" if run.expected is not None else ""
    if run.status == "done":
        if not run.done:
            return "Finished: nothing was left to do." if run.skipped else "Finished: there was nothing to do."
        skipped = f"; {run.skipped:,} more had been done before" if run.skipped else ""
        return f"Finished: {_counted(run.done)} done{skipped}."
    if run.status == "error":
        words = f"{bad:,} of {_counted(run.ended)} failed." if bad else "it ended with an error."
        return f"Finished with failures: {words}" if bad else f"Failed: {words}"
    if run.status == "running":
        failed = f", {bad:,} failed" if bad else ""
        return f"Going on: {run.ended:,}{of} tasks dealt with so far{failed}."
    if run.status == "interrupted":
        how = "its process ended before it did" if run.is_unclosed else "it ended early"
        return f"Interrupted: {how}, with {run.ended:,}{of} tasks dealt with. Run it again to do the rest."
    if run.status == "cancelled":
        return f"Cancelled, with {run.ended:,}{of} tasks dealt with. Run it again to do the rest."
    return f"Its status is {clean(run.status, 40)}."


def _counted(count: int) -> str:
    return f"{count:,} task" if count == 1 else f"{count:,} tasks"


def totals(run: RunRow, figures: RunFigures | None = None) -> str:
    """Return the run's figures, each under its name; those that are zero and say nothing are left out."""
    elapsed = run.elapsed_s if run.elapsed_s is not None else figures.span_s if figures else None
    ended = run.ended - run.skipped
    shown = [("done", "Done", f"{run.done:,}")]
    shown += [
        (kind, name, f"{count:,}")
        for kind, name, count in (
            ("error", "Failed", run.failed),
            ("timed_out", "Timed out", run.timed_out),
            ("cancelled", "Cancelled", run.cancelled),
            ("skipped", "Skipped", run.skipped),
        )
        if count
    ]
    if run.expected is not None and run.expected != run.ended:
        shown.append(("left", "Left", f"{max(run.expected - run.ended, 0):,}"))
    if elapsed is not None:
        shown.append(("elapsed", "So far" if run.status == "running" else "Took", span_text(elapsed)))
        if ended and elapsed > 0:
            shown.append(("rate", *_rate(ended / elapsed)))
    if figures is not None and figures.rows_written:
        shown.append(("rows", "Rows written", f"{figures.rows_written:,}"))
    if figures is not None and figures.attempts:
        shown.append(("busy", "Workers busy", f"{figures.busy:.0%}".replace("%", " %")))
    cells = "".join(f'<div class="{kind}"><dt>{name}</dt><dd>{value}</dd></div>' for kind, name, value in shown)
    return f'<dl class="totals">{cells}</dl>'


def _rate(per_second: float) -> tuple[str, str]:
    for factor, unit in ((1, "second"), (60, "minute"), (3600, "hour")):
        if per_second * factor >= 1 or unit == "hour":
            rate = per_second * factor
            break
    return f"Tasks per {unit}", f"{rate:,.0f}" if rate >= 100 else f"{rate:.3g}"


def failures(groups: Sequence[ErrorGroup]) -> str:
    """Return one fold per group of equal failures, with its traceback inside; "" when there is none."""
    return "".join(_failure(group) for group in groups)


def _failure(group: ErrorGroup) -> str:
    kind = escape(group.status if group.status in ("timed_out", "cancelled", "interrupted") else "error")
    name = text(group.exception or group.status.replace("_", " "), 80)
    message = text(group.message, 400)
    example = group.example
    tries = f", try {example.attempt:,}" if example.attempt > 1 else ""
    where = f"; raised at <code>{text(group.where, 160)}</code>" if group.where else ""
    lines = [f"Such as {text(example.name, 120)} (task {example.id:,}{tries}){where}."]
    if group.first_at and group.last_at:
        ended = when(group.first_at)
        lines.append(f"Ended {ended}." if group.count == 1 else f"First ended {ended}, last {when(group.last_at)}.")
    evidence = "".join(f"<p>{line}</p>" for line in lines)
    evidence += f"<pre>{block(_trimmed(group.traceback))}</pre>" if group.traceback else ""
    return (
        f'<details><summary><span class="count">{group.count:,}&times;</span><span class="reason">'
        f'<b class="{kind}">{name}</b> {message if message != name else ""}</span></summary>'
        f'<div class="evidence">{evidence}</div></details>'
    )


def _trimmed(traceback: str) -> str:
    """Leave out the middle of a long traceback: the ends say where it came from and what it was."""
    lines = [shorten(line, _LINE) for line in traceback.rstrip().split("\n")]
    if len(lines) <= _TRACEBACK_LINES:
        return "\n".join(lines)
    half = _TRACEBACK_LINES // 2
    return "\n".join([*lines[:half], f"… {len(lines) - 2 * half:,} lines left out …", *lines[-half:]])


def slowest(tasks: Sequence[SlowTask]) -> str:
    """Return a table of the tasks that took longest; "" when there is none."""
    if not tasks:
        return ""
    has_rows = any(task.rows_written for task in tasks)
    columns = [("Task", "name"), ("Number", "number"), ("Took", "number"), ("Status", "short"), ("Worker", "short")]
    columns += [("Rows", "number")] if has_rows else []
    rows = []
    for task in tasks:
        tries = f", try {task.attempt:,}" if task.attempt > 1 else ""
        row = [text(task.name, 80), str(task.task_id), span_text(task.elapsed_s)]
        row += [text(task.status.replace("_", " "), 40) + tries, text(task.worker or "", 40)]
        rows.append([*row, f"{task.rows_written:,}"] if has_rows else row)
    return table(columns, rows, caption="Slowest tasks")


def tries(figures: RunFigures) -> str:
    """Return what there is to say of retries and timeouts; "" when nothing was tried twice and nothing waits."""
    attempts = sum(figures.attempts.values())
    ordered = sorted(figures.attempts.items(), key=lambda pair: (pair[0] != "done", -pair[1]))
    statuses = ", ".join(f"{count:,} {text(status.replace('_', ' '), 40)}" for status, count in ordered)
    if not (figures.again or figures.waiting or figures.attempts.get("timed_out")):
        return ""
    return facts(
        [
            ("Attempts", f"{attempts:,} ({statuses})"),
            ("Of these, further tries", f"{figures.again:,}"),
            ("Done at a further try", f"{figures.recovered:,}"),
            ("Timed out", f"{figures.attempts.get('timed_out', 0):,}"),
            ("Waiting for the next try", f"{figures.waiting:,}" if figures.waiting else ""),
        ]
    )


def circumstances(run: RunRow) -> str:
    """Return where and how the run took place."""
    versions = ", ".join(f"{text(name, 40)} {text(version, 40)}" for name, version in run.versions.items())
    return facts(
        [
            ("Started as", f"<code>{text(run.command, 300)}</code>" if run.command else ""),
            ("Started", when(run.started_at)),
            ("Ended", when(run.finished_at) if run.finished_at else ""),
            ("Workers", f"{run.workers:,} ({text(run.executor, 40)})" if run.workers and run.executor else ""),
            ("Host", text(run.host, 100) if run.host else ""),
            ("Process", str(run.pid) if run.pid is not None else ""),
            ("Versions", versions),
        ]
    )


def when(instant: str) -> str:
    """Return an instant of the ledger as HTML; the ledger's are UTC."""
    shown = instant[:19].replace("T", " ") if instant.endswith(("+00:00", "Z")) else None
    if shown is None or len(shown) != 19:
        return text(instant, 40)
    return f'<time datetime="{text(instant, 40)}">{text(shown)} UTC</time>'
