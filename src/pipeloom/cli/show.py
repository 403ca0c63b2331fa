"""``pipeloom show``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeloom.cli import formatting
from pipeloom.cli.options import db_option, json_option, task_argument, traceback_option
from pipeloom.data.commands import typed
from pipeloom.data.rates import duration
from pipeloom.data.text import clean, shorten

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from pipeloom.cli.grid import Grid
    from pipeloom.history import AttemptRow, LogRow, RejectedRow, RunRow, TaskDetail

_LINES = 100  # of a result or a traceback
_LINE = 5000  # characters of each line
_RESULT = 1 << 20  # characters of a result read for the screen; JSON is indented up to this size
_LOGS = 20
_LOGS_TOLD = 1000
_REJECTED = 100
_TRIES = 20


@click.command(name="show")
@task_argument
@db_option
@json_option
@traceback_option
def command(task: str, db: Path, as_document: bool) -> None:
    """Show everything about one task: status, tries, result, traceback and log records.

    TASK is its id, key or name, or any part of these that matches only one task.
    """
    from pipeloom.history import History

    with History(db) as history:
        number = formatting.one_task(history, task, as_document=as_document).id
        detail = history.task(number, longest=None if as_document else _RESULT + 1)
        if detail is None:
            raise formatting.NotThereError(f"{clean(db)}: task {number} has just been removed")
        attempts = history.attempts(number)
        logs = history.logs(number, limit=(_LOGS_TOLD if as_document else _LOGS) + 1, newest=True)
        rejected = history.rejected(_REJECTED + 1, number)
        run = history.run(detail.run_id) if detail.run_id is not None else None
        namesakes = [other for other in history.with_key(task) if other.id != number] if task == str(number) else []
    if as_document:
        formatting.tell(
            {
                "task": formatting.as_json(detail),
                "attempts": [formatting.as_json(row) for row in attempts],
                "logs": [formatting.as_json(row) for row in logs[-_LOGS_TOLD:]],
                "rejected": [formatting.as_json(row) for row in rejected[:_REJECTED]],
                "more": {"logs": len(logs) > _LOGS_TOLD, "rejected": len(rejected) > _REJECTED},
            }
        )
        return
    formatting.draw(*_page(detail, run, attempts, logs, rejected, db))
    if namesakes:
        also = ", ".join(f"task {other.id} has the key {clean(other.key, 80)}" for other in namesakes[:3])
        formatting.draw(f"\n{number} was read as an id; {also}: {typed('show', db, namesakes[0].id)}")


def _page(
    task: TaskDetail,
    run: RunRow | None,
    attempts: Sequence[AttemptRow],
    logs: Sequence[LogRow],
    rejected: Sequence[RejectedRow],
    db: Path,
) -> Iterator[RenderableType]:
    from rich.text import Text

    def part(title: str, lines: Sequence[str], style: str = "") -> Text:
        text = Text(f"\n{title}\n", style="bold")
        return text.append("\n".join("  " + line for line in lines), style=style or "not bold")

    yield Text(f"task {task.id}", style="bold").append(f"  {clean(task.name, 200)}")
    yield _facts(task, run, is_first=len(attempts) < 2)
    if task.result is not None:
        yield part("result", _beginning(task.result))
    if task.error:
        yield part("traceback", _end(task.error.rstrip()))
    if len(attempts) > 1:
        hint = f"  (the last {_TRIES}; --json shows more)" if len(attempts) > _TRIES else ""
        yield Text(f"\n{len(attempts):,} tries{hint}", style="bold")
        yield _tries(attempts[-_TRIES:])
    if logs:
        hint = f"  (the last {_LOGS}; all: {typed('logs', db, task.id)})" if len(logs) > _LOGS else ""
        yield Text(f"\nlogs{hint}", style="bold")
        for record in logs[-_LOGS:]:
            yield formatting.log_line(record)
    if rejected:
        lines = [f"{clean(row.kind, 80)}: {clean(row.error, 300)}" for row in rejected[:_REJECTED]]
        lines += ["… and more: SELECT * FROM pipeloom_rejected"] if len(rejected) > _REJECTED else []
        yield part("messages that could not be stored", lines, "red")
    if task.kind:
        yield Text(f"\nall of its kind: {typed('errors', db, '--kind', task.kind)}", style="dim")


def _facts(task: TaskDetail, run: RunRow | None, *, is_first: bool) -> Table:
    from rich.table import Table
    from rich.text import Text

    facts: list[tuple[str, Text]] = [
        ("status", Text(formatting.state(task), style=formatting.style_of(task.status)))
    ]
    if task.started_at:
        words = f"{formatting.moment(task.started_at)}, {formatting.when(task.started_at)}"
        facts.append(("started", Text(words)))
    if task.finished_at:
        facts.append(("ended", Text(f"{formatting.moment(task.finished_at)}, {formatting.when(task.finished_at)}")))
    if task.elapsed_s is not None:
        facts.append(("time", Text(duration(task.elapsed_s))))
    if task.message or task.exception:
        facts.append(("message", Text(formatting.reason(task, 2000))))
    if task.place:
        facts.append(("place", Text(clean(task.place, 300))))
    if task.kind:
        facts.append(("kind", Text(clean(task.kind, 40))))
    if task.key is not None:
        facts.append(("key", Text(clean(task.key, 2000))))
    if task.pipeline:
        facts.append(("pipeline", Text(clean(task.pipeline, 200))))
    if task.run_id is not None:
        worker = f", by {clean(task.worker, 60)}" if task.worker else ""
        facts.append(("run", Text(f"{task.run_id}, try {task.attempt}{worker}")))
    if run is not None and run.is_unclosed:
        facts.append(("", Text(formatting.gone(run), style="yellow")))
    facts += [(name, Text(value)) for name, value in _stored(task, is_first=is_first)]
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts:
        table.add_row(f"  {name}", value)
    return table


def _stored(task: TaskDetail, *, is_first: bool) -> Iterator[tuple[str, str]]:
    """Yield what else is stored for the task, as (name, text); ``is_first``: it has had one attempt."""
    if task.rows_written:
        yield "rows", f"{task.rows_written:,}{'' if is_first else ' in this attempt'}"
    if task.version is not None:
        yield "version", clean(task.version, 2000)
    if task.has_state:
        yield "checkpoint", "stored: the next try continues from it"


def _tries(attempts: Sequence[AttemptRow]) -> Grid:
    from pipeloom.cli.grid import Grid

    has_rows = any(row.rows_written for row in attempts)
    rows = [
        (
            "" if row.run_id is None else str(row.run_id),
            str(row.attempt),
            (clean(row.status, 40), formatting.style_of(row.status)),
            formatting.moment(row.started_at),
            duration(row.elapsed_s),
            *([f"{row.rows_written:,}"] if has_rows else ()),
            formatting.reason(row),
        )
        for row in attempts
    ]
    heads = [">run", ">try", "status", "started", ">time", *([">rows"] if has_rows else ()), "~message"]
    return Grid(heads, rows, indent=2)


def _beginning(result: str) -> list[str]:
    """Return the first lines of a result: JSON indented, other text unchanged."""
    text = result[:_RESULT] if len(result) > _RESULT else _laid_out(result)
    lines = text.split("\n", _LINES)
    shown = list(map(_shown, lines[:_LINES]))
    if len(lines) > _LINES:
        return [*shown, "… (more lines: --json shows them all)"]
    if len(text) > _LINE and any(len(line) > _LINE for line in lines):
        return [*shown, "… (cut: --json shows all of it)"]
    return shown


def _laid_out(result: str) -> str:
    """Return JSON indented, stopping after enough lines: indentation can make deep JSON many times longer."""
    pieces, left = [], _LINES
    try:
        for piece in json.JSONEncoder(indent=2, ensure_ascii=False).iterencode(json.loads(result)):
            pieces.append(piece)
            left -= piece.count("\n")
            if left < 0:
                break
    except (ValueError, RecursionError):
        return result
    return "".join(pieces)


def _end(traceback: str) -> list[str]:
    lines = traceback.rsplit("\n", _LINES)
    shown = list(map(_shown, lines[-_LINES:]))
    left = traceback.count("\n") + 1 - len(shown)
    return [f"… ({left:,} more lines: --json shows them all)", *shown] if left else shown


def _shown(line: str) -> str:
    return clean(shorten(line, _LINE).expandtabs(4))
