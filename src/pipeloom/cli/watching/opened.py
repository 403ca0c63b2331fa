"""One task, or one run, in full: lines to scroll through."""

from __future__ import annotations

from rich.text import Text

from pipeloom.cli.formatting import log_line, moment, style_of
from pipeloom.cli.watching.lines import folded
from pipeloom.cli.watching.snapshot import Opened
from pipeloom.data.rates import duration
from pipeloom.data.text import clean, clean_block
from pipeloom.history import RunRow

__all__ = ["run_text", "task_text"]


def task_text(opened: Opened, width: int, since: float) -> list[Text]:
    """Return a task: what it is, its past tries, its traceback, its last log records.

    Args:
        opened: The task.
        width: Columns.
        since: Seconds since it was read, by which a running task is older now.
    """
    task = opened.task
    lines = folded(clean(task.name), width, "bold")
    state = Text(clean(task.status, 20), style=style_of(task.status))
    state.append(f"  task {task.id}", style="dim")
    if task.elapsed_s is not None:
        state.append(f"  {duration(task.elapsed_s + (since if task.status == 'running' else 0.0))}")
    if task.status == "running":
        state.append(f"  {int(task.progress * 100)} %")
    if task.attempt > 1:
        state.append(f"  try {task.attempt}", style="yellow")
    if task.rows_written:
        state.append(f"  {task.rows_written:,} rows")
    lines.append(state)
    if task.key is not None and str(task.key) != task.name:
        lines += folded(f"key {clean(task.key)}", width, "dim")
    for what, instant in (("started", task.started_at), ("finished", task.finished_at)):
        if instant:
            lines.append(Text(f"{what} {moment(instant)}", style="dim"))
    if task.message:
        lines += folded(clean_block(task.message), width, style_of(task.status))
    if past := [attempt for attempt in opened.attempts if not attempt.is_present]:
        lines += [Text(), Text("Tries before", style="bold")]
        for attempt in past:
            took = f"  {duration(attempt.elapsed_s)}" if attempt.elapsed_s is not None else ""
            head = f"  run {attempt.run_id}  try {attempt.attempt}  {clean(attempt.status, 20)}{took}"
            lines += folded(head, width, style_of(attempt.status))
            if attempt.message:
                lines += folded(clean_block(attempt.message), width, "", "    ")
    if task.error:
        lines += [Text(), Text("Traceback", style="bold")]
        lines += folded(clean_block(task.error.rstrip("\n")), width, "", "  ")
    elif past and past[-1].error:
        lines += [Text(), Text("Traceback of the try before", style="bold")]
        lines += folded(clean_block(past[-1].error.rstrip("\n")), width, "", "  ")
    if opened.logs:
        lines += [Text(), Text("Last log records", style="bold")]
        for record in opened.logs:
            lines += folded(log_line(record), width, indent="  ")
    return lines


def run_text(run: RunRow, width: int) -> list[Text]:
    """Return a run: what it was, and what became of it."""
    lines = [Text(f"run {run.run_id}  ", style="bold").append(clean(run.pipeline or "", 200))]
    lines.append(Text(clean(run.status, 20), style=style_of(run.status)))
    if run.is_unclosed:
        lines.append(Text("its process ended without closing it", style="yellow"))
    facts = [
        ("started", moment(run.started_at)),
        ("finished", moment(run.finished_at)),
        ("took", duration(run.elapsed_s) if run.elapsed_s is not None else None),
        ("inputs", f"{run.ended:,}" + (f" of {run.expected:,}" if run.expected is not None else "")),
        ("done", f"{run.done:,}"),
        ("failed", f"{run.failed:,}"),
        ("timed out", f"{run.timed_out:,}"),
        ("cancelled", f"{run.cancelled:,}"),
        ("skipped", f"{run.skipped:,}"),
        ("workers", f"{run.workers} {run.executor or ''}" if run.workers is not None else None),
        ("host", f"{run.host}, process {run.pid}" if run.host else None),
        ("command", run.command),
        ("versions", ", ".join(f"{name} {version}" for name, version in run.versions.items())),
    ]
    for what, value in facts:
        if value:
            lines += folded(f"{what:>10}  {clean(value)}", width)
    return lines
