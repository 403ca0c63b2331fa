"""One task or run in full, as lines to scroll through."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rich.text import Text

from pipeloom.cli.formatting import log_line, moment, style_of
from pipeloom.cli.watching.lines import folded
from pipeloom.cli.watching.scene import Opened
from pipeloom.data.rates import duration
from pipeloom.data.text import LONGEST_TEXT, clean, clean_block, shorten, tail
from pipeloom.data.totals import WORDS, totals
from pipeloom.history import AttemptRow, RunRow, TaskDetail
from pipeloom.statuses import RUNNING

__all__ = ["run_text", "task_text"]

_NAME: Final = 2000  # characters of a name


def task_text(opened: Opened, width: int, since: float) -> list[Text]:
    """Return a task: its state, previous tries, traceback and last log records.

    Args:
        opened: The task.
        width: Columns.
        since: Seconds since it was read, added to the age of a running task.
    """
    task, past = opened.task, [attempt for attempt in opened.attempts if not attempt.is_present]
    return [
        *_head(task, width, since, is_first=not past),
        *_section("Previous tries", [line for attempt in past for line in _try(attempt, width)]),
        *_traceback("Traceback", task.error, width),
        *(_traceback("Traceback of the previous try", past[-1].error, width) if past and not task.error else ()),
        *_section(
            "Last log records",
            [line for record in opened.logs for line in folded(log_line(record), width, indent="  ")],
        ),
    ]


def _section(title: str, lines: Sequence[Text]) -> list[Text]:
    """Return lines below their title; nothing without lines."""
    return [Text(), Text(title, style="bold"), *lines] if lines else []


def _head(task: TaskDetail, width: int, since: float, *, is_first: bool) -> list[Text]:
    lines = [*folded(clean(task.name, _NAME), width, "bold"), _state(task, since, is_first=is_first)]
    if task.key is not None and str(task.key) != task.name:
        lines += folded(f"key {clean(task.key, _NAME)}", width, "dim")
    for what, at in (("started", task.started_at), ("finished", task.finished_at)):
        if at:
            lines.append(Text(f"{what} {moment(at)}", style="dim"))
    said = _said(task.exception, task.message)
    if said:
        lines += folded(said, width, style_of(task.status))
    return lines


def _state(task: TaskDetail, since: float, *, is_first: bool) -> Text:
    running = task.status == RUNNING
    line = Text(clean(task.status, 20), style=style_of(task.status)).append(f"  task {task.id}", style="dim")
    if task.elapsed_s is not None:
        line.append(f"  {duration(task.elapsed_s + (since if running else 0.0))}")
    if running:
        line.append(f"  {int(task.progress * 100)} %")
    if task.attempt > 1:
        line.append(f"  try {task.attempt}", style="yellow")
    if task.rows_written:
        line.append(f"  {_rows(task.rows_written)}{'' if is_first else ' in this attempt'}")
    return line


def _rows(number: int) -> str:
    return f"{number:,} row{'' if number == 1 else 's'}"


def _try(attempt: AttemptRow, width: int) -> list[Text]:
    took = f"  {duration(attempt.elapsed_s)}" if attempt.elapsed_s is not None else ""
    wrote = f"  {_rows(attempt.rows_written)}" if attempt.rows_written else ""
    head = f"  run {attempt.run_id}  try {attempt.attempt}  {clean(attempt.status, 20)}{took}{wrote}"
    said = _said(attempt.exception, attempt.message)
    return [*folded(head, width, style_of(attempt.status)), *(folded(said, width, indent="    ") if said else ())]


def _said(exception: str | None, message: str | None) -> str:
    """Return a message, with the type of its exception in front if there was one."""
    parts = (exception, shorten(message, LONGEST_TEXT) if message else None)
    return clean_block(": ".join(part for part in parts if part))


def _traceback(title: str, error: str | None, width: int) -> list[Text]:
    return _section(
        title, folded(clean_block(tail(error.rstrip("\n"), LONGEST_TEXT)), width, indent="  ") if error else []
    )


def run_text(run: RunRow, width: int) -> list[Text]:
    """Return a run: what it was and how it ended."""
    lines = [Text(f"run {run.run_id}  ", style="bold").append(clean(run.title or "", 200))]
    lines.append(Text(clean(run.status, 20), style=style_of(run.status)))
    if run.is_unclosed:
        lines.append(Text("its process ended before the run did", style="yellow"))
    facts = [
        ("started", moment(run.started_at)),
        ("finished", moment(run.finished_at)),
        ("took", duration(run.elapsed_s) if run.elapsed_s is not None else None),
        ("inputs", f"{run.ended:,}" + (f" of {run.expected:,}" if run.expected is not None else "")),
        *((total.word, f"{total.number:,}") for total in totals(run, always=WORDS)),
        ("workers", f"{run.workers} {run.executor or ''}" if run.workers is not None else None),
        ("host", f"{run.host}, process {run.pid}" if run.host else None),
        ("command", run.command),
        ("versions", ", ".join(f"{name} {version}" for name, version in run.versions.items())),
    ]
    for what, value in facts:
        if value:
            lines += folded(f"{what:>10}  {clean(value, _NAME)}", width)
    return lines
