"""Output of the list commands: tables, lines, JSON, and finding the task, run or kind that a word names.

Foreign text is always cleaned, and never read as markup. Rich is imported to draw, not for JSON. Times are local on
the screen and UTC in JSON.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, NoReturn

import click

from pipeloom.data.clock import instant, seconds_since
from pipeloom.data.commands import typed
from pipeloom.data.kinds import short
from pipeloom.data.rates import ago, duration
from pipeloom.data.text import LONGEST_TEXT, clean, clean_block, shorten, tail
from pipeloom.data.totals import SKIPPED, in_order
from pipeloom.statuses import CANCELLED, DONE, INTERRUPTED, QUEUED, RUNNING

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.text import Text

    from pipeloom.cli.grid import Grid
    from pipeloom.history import AttemptRow, History, LogRow, RunRow, TaskRow

__all__ = [
    "NotThereError",
    "again",
    "as_json",
    "check_run",
    "console",
    "counts_line",
    "draw",
    "gone",
    "kinds_named",
    "log_line",
    "moment",
    "one_task",
    "reason",
    "run_line",
    "said",
    "several",
    "span",
    "state",
    "style_of",
    "task_table",
    "tell",
    "when",
]

_STYLES: Final = {
    DONE: "green",
    RUNNING: "cyan",
    QUEUED: "dim",
    INTERRUPTED: "yellow",
    CANCELLED: "yellow",
    SKIPPED: "",
}
_LEVELS: Final = {
    "DEBUG": "dim",
    "INFO": "not dim green",
    "WARNING": "not dim yellow",
    "ERROR": "not dim red",
    "CRITICAL": "not dim bold red",
}
_NAME: Final = 500  # characters of a name
_SAID: Final = 400  # characters of a message: no terminal is wider
_PIPE_COLUMNS: Final = 200  # width when the output is not a terminal
_UNWRAPPED: Final = 1_000_000  # columns: more than any line has


class NotThereError(click.ClickException):
    """What was asked for is not in the file; shown without the usage lines."""

    exit_code = 2


def style_of(status: str) -> str:
    """Return the colour of a status, or of skipped inputs."""
    return _STYLES.get(status, "red")


# --- output ---


def tell(value: object) -> None:
    """Print one JSON document, piece by piece; ASCII only, so that it cannot control a terminal."""
    for piece in json.JSONEncoder(indent=2).iterencode(value):
        sys.stdout.write(piece)
    click.echo()


def as_json(row: Any) -> dict[str, Any]:
    """Return a row of the history as a dict for JSON."""
    return dataclasses.asdict(row)


def console() -> Console:
    """Return a console on standard output, as wide as the terminal, or 200 columns without one."""
    from rich.console import Console

    found = Console(file=sys.stdout, highlight=False, markup=False, emoji=False)
    if not found.is_terminal and "COLUMNS" not in os.environ:
        found.width = _PIPE_COLUMNS
    return found


def draw(*parts: RenderableType | None) -> None:
    """Print text and tables; text, and any line that does not go to a terminal, is never wrapped.

    A string is printed as it is. No other line ends in spaces.
    """
    from rich.text import Text

    page = console()
    for part in parts:
        if isinstance(part, str):
            page.print(Text(part), soft_wrap=True)
        elif part is not None:
            _print(page, part)
    sys.stdout.flush()


def _print(page: Console, part: RenderableType) -> None:
    from rich.protocol import rich_cast
    from rich.text import Text

    from pipeloom.cli.grid import Grid, Trimmed

    part, width = rich_cast(part), page.width
    if not isinstance(part, Text | Grid) and not sys.stdout.isatty():
        page.width = _UNWRAPPED  # a Grid cuts cells to its width; other tables would wrap them
    page.print(Trimmed(part), soft_wrap=isinstance(part, Text))
    page.width = width


# --- words ---


def moment(at: str | None) -> str:
    """Return an instant in local time, without today's date; text that is not an instant is returned cleaned."""
    found = instant(at)
    if found is None:
        return clean(at or "", 40)
    local = found.astimezone()
    return local.strftime("%H:%M:%S" if local.date() == datetime.now().astimezone().date() else "%Y-%m-%d %H:%M:%S")


def span(first: str | None, last: str | None) -> str:
    """Return when something first and last happened."""
    begun, ended = when(first), when(last)
    return begun if begun == ended else f"first {begun}, last {ended}"


def when(at: str | None) -> str:
    """Return an age in words, ``5 min ago``; text that is not an instant is cleaned, ``None`` as ``""``."""
    age = seconds_since(at)
    return clean(at or "", 40) if age is None else ago(age)


def again(commands: Iterable[str | None]) -> tuple[str, bool]:
    """Return how to run failed tasks again, and whether that is a command: the one that started their runs.

    The file's content is only shown, never executed.
    """
    known = [command for command in dict.fromkeys(commands) if command and _is_complete(command)]
    if len(known) != 1:
        return "start the same program again; finished inputs are skipped", False
    command = clean(known[0], 300)
    if command.endswith(" …"):
        return f"{command}  (with the same arguments)", True
    return command, True


def _is_complete(command: str) -> bool:
    """Return whether a command names a program, unlike ``python -c …`` and an interactive prompt."""
    words = command.split()
    return len(words) > 1 and "-c" not in words and "ipykernel_launcher" not in command


# --- lines ---


def counts_line(counts: Mapping[str, int]) -> Text:
    """Return the number of tasks by status."""
    from rich.text import Text

    line = Text()
    for status in in_order(counts):
        line.append("  " if line else "")
        line.append(f"{counts[status]:,} {clean(status, 40)}", style=style_of(status))
    if not counts:
        line.append("no tasks yet", style="dim")
    return line


def run_line(run: RunRow | None) -> Text:
    """Return a run as one line, plus another if its process died."""
    from rich.text import Text

    if run is None:
        return Text("no runs yet", style="dim")
    line = Text(f"run {run.run_id}", style="bold")
    if run.title:
        line.append(f" of {clean(run.title, 60)}", style="bold")
    line.append(f"  {clean(run.status, 40)}", style=style_of(run.status))
    line.append(f"  {run.ended:,}" + (f"/{run.expected:,}" if run.expected is not None else "") + " inputs")
    if run.elapsed_s is not None:
        line.append(f" in {duration(run.elapsed_s)}")
    line.append(f"  {when(run.started_at)}", style="dim")
    if run.is_unclosed:
        line.append(f"\n{gone(run)}", style="yellow")
    return line


def gone(run: RunRow) -> str:
    """Return a sentence on a run whose process is gone."""
    process = f"process {run.pid}" if run.pid is not None else "its process"
    return f"run {run.run_id}: {process} ended before the run did; run again to do the rest"


def task_table(tasks: Sequence[TaskRow]) -> Grid:
    """Return tasks as a table that fits, with names cut to the part that differs."""
    from pipeloom.cli.grid import Grid

    return Grid(
        [">id", "~task", "status", ">?time", "+place", "~message"],
        [
            (
                str(task.id),
                clean(task.name, _NAME),
                (state(task), style_of(task.status)),
                duration(task.elapsed_s),
                (clean(short(task.place), 60) if task.place else "", "dim"),
                reason(task),
            )
            for task in tasks
        ],
    )


def reason(row: TaskRow | AttemptRow, limit: int = _SAID) -> str:
    """Return a row's exception type and message as one line."""
    return said(row.exception, row.message, limit)


def said(exception: str | None, message: str | None, limit: int = _SAID) -> str:
    """Return an exception's type without its module, and its message, as one line; either may be missing."""
    kind = clean((exception or "").rpartition(".")[2], 80)
    return ": ".join(filter(None, [kind, clean(message or "", limit)]))


def state(task: TaskRow) -> str:
    """Return a task's status, with its progress where that is meaningful."""
    part = f" {task.progress * 100:.0f} %" if task.status != DONE and task.progress else ""
    return clean(task.status, 40) + part


def log_line(record: LogRow) -> Text:
    """Return one log record: time, level, logger and message, with the traceback below."""
    from rich.text import Text

    level = clean(record.level, 20)
    text = Text(f"{moment(record.at)}  ", style="dim")
    text.append(f"{level:<8}", style=_LEVELS.get(level, "not dim"))
    if record.logger:
        text.append(f"  {clean(record.logger, 60)}")
    text.append("  " + clean_block(shorten(record.message, LONGEST_TEXT)).replace("\n", "\n    "), style="not dim")
    if record.error:
        text.append("\n    " + clean_block(tail(record.error.rstrip(), LONGEST_TEXT)).replace("\n", "\n    "))
    return text


# --- which run, which task, which kind ---


def kinds_named(
    history: History, words: Iterable[str], run_id: int | None = None, *, by_part: bool = True
) -> list[str]:
    """Return the ids of the kinds of failure that words name: see :meth:`pipeloom.history.History.kinds_named`.

    Raises:
        NotThereError: A word names no kind.
    """
    found: dict[str, None] = {}
    for word in words:
        meant = history.kinds_named(word, run_id, by_part=by_part)
        if not meant:
            where = "" if run_id is None else f" in run {run_id}"
            named = clean(word, 80).strip() or "an empty word"
            raise NotThereError(
                f"{clean(history.path)}: no failures match {named}{where}: {_there(history, run_id)}"
            )
        found |= dict.fromkeys(meant)
    return list(found)


def _there(history: History, run_id: int | None) -> str:
    """Return which kinds of failure exist, in a few words."""
    kinds = [kind for kind, _ in history.kinds(run_id)]
    names = list(dict.fromkeys(clean((kind.exception or kind.status).rpartition(".")[2], 60) for kind in kinds))
    if not names:
        refused, _ = history.refused_inputs(run_id)
        words = ("errors", history.path) if run_id is None else ("errors", history.path, "--run", run_id)
        return (
            f"no task has failed; to list refused inputs: {typed(*words)}" if refused else "there are no failures"
        )
    more = f" and {len(names) - 8:,} more" if len(names) > 8 else ""
    return f"the kinds are: {', '.join(names[:8])}{more}; to list all kinds: {typed('errors', history.path)}"


def check_run(history: History, run_id: int | None) -> None:
    """Refuse a run that does not exist.

    Raises:
        NotThereError: The file has no such run.
    """
    if run_id is not None and history.run(run_id) is None:
        latest = history.latest_run()
        there = "the file has no runs" if latest is None else f"the latest is {latest.run_id}"
        raise NotThereError(
            f"{clean(history.path)}: no run {run_id}: {there}; to list all runs: {typed('runs', history.path)}"
        )


def one_task(history: History, word: str, *, as_document: bool) -> TaskRow:
    """Return the task that a word names: by its id, key or name, or a part of those.

    Args:
        history: Where to look.
        word: What the user typed.
        as_document: List several matches as JSON.

    Raises:
        NotThereError: No task matches.
        click.exceptions.Exit: Several tasks match; they have been listed.
    """
    found = history.find(word)
    if not found:
        raise NotThereError(
            f"{clean(history.path)}: no task matches {clean(word, 80)!r} by id, key or name; "
            f"to list all tasks: {typed('tasks', history.path)}"
        )
    if len(found) > 1:
        several(found, word, as_document=as_document)
    return found[0]


def several(found: Sequence[TaskRow], word: str, *, as_document: bool) -> NoReturn:
    """List the n tasks that match a word, and exit."""
    if as_document:
        tell({"matches": [as_json(task) for task in found], "more": len(found) == 20})
    else:
        many = f"{len(found)} tasks or more" if len(found) == 20 else f"{len(found)} tasks"
        draw(f"{clean(word, 80)!r} matches {many}: name one by its id", task_table(found))
    raise click.exceptions.Exit(2)
