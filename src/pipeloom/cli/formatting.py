"""How the list commands show what a ledger holds: tables, lines, JSON, and the one task that a word means.

Foreign text appears only cleaned, and as text, never as markup. Rich is loaded when something is drawn, not for
JSON. Times are local on the screen and UTC in JSON.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

import click

from pipeloom.data.clock import instant, seconds_since
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
    "typed",
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
_NAME: Final = 500  # characters of a name,
_SAID: Final = 400  # and of a message: no terminal is wider
_PIPE_COLUMNS: Final = 200  # where nobody says how wide it is


class NotThereError(click.ClickException):
    """What was asked for is not in the file; one sentence, without the lines on usage."""

    exit_code = 2


def style_of(status: str) -> str:
    """Return the colour of a status, or of inputs that were skipped."""
    return _STYLES.get(status, "red")


# --- where it goes ---


def tell(value: object) -> None:
    """Print one JSON document, piece by piece; ASCII only, so that no terminal can be made to obey it."""
    for piece in json.JSONEncoder(indent=2).iterencode(value):
        sys.stdout.write(piece)
    click.echo()


def as_json(row: Any) -> dict[str, Any]:
    """Return a row of the history as JSON has it."""
    return dataclasses.asdict(row)


def console() -> Console:
    """Return a console on standard output, as wide as the terminal, or wide enough where there is none."""
    from rich.console import Console

    found = Console(file=sys.stdout, highlight=False, markup=False, emoji=False)
    if not found.is_terminal and "COLUMNS" not in os.environ:
        found.width = _PIPE_COLUMNS
    return found


def draw(*parts: RenderableType | None) -> None:
    """Print tables, and text that only the terminal itself wraps."""
    from rich.text import Text

    page = console()
    for part in parts:
        if part is not None:
            page.print(part, soft_wrap=isinstance(part, str | Text))
    sys.stdout.flush()


# --- words ---


def moment(at: str | None) -> str:
    """Return an instant in local time, without the date if it is today's; foreign text as it is."""
    found = instant(at)
    if found is None:
        return clean(at or "", 40)
    local = found.astimezone()
    return local.strftime("%H:%M:%S" if local.date() == datetime.now().astimezone().date() else "%Y-%m-%d %H:%M:%S")


def span(first: str | None, last: str | None) -> str:
    """Return when something happened first and last."""
    begun, ended = when(first), when(last)
    return begun if begun == ended else f"first {begun}, last {ended}"


def when(at: str | None) -> str:
    """Return an age in words, ``5 min ago``; foreign text as it is, nothing for nothing."""
    age = seconds_since(at)
    return clean(at or "", 40) if age is None else ago(age)


def typed(command: str, db: Path, *words: object) -> str:
    """Return a command as somebody would type it next."""
    parts = ["pipeloom", command, *(str(word) for word in words), "--db", str(db)]
    return " ".join(map(_quoted, parts))


def _quoted(word: str) -> str:
    """Return a word as a shell takes it, and no terminal minds it: bash and zsh know escapes in ``$'…'``."""
    return shlex.quote(word) if word.isprintable() else f"$'{''.join(map(_escaped, word))}'"


def _escaped(char: str) -> str:
    if char.isprintable() and char not in "\\'":
        return char
    number = ord(char)
    if 0xDC80 <= number <= 0xDCFF:  # a byte that is no text, in a file's name
        return f"\\x{number - 0xDC00:02x}"
    return f"\\x{number:02x}" if number < 0x80 else f"\\U{number:08x}"


def again(commands: Iterable[str | None]) -> tuple[str, bool]:
    """Return how to run failed tasks again, and whether it is a command: one that started their runs.

    What is in the file is shown, never executed.
    """
    known = [command for command in dict.fromkeys(commands) if command and _is_complete(command)]
    if len(known) != 1:
        return "start the same program again: what is done is skipped", False
    command = clean(known[0], 300)
    if command.endswith(" …"):
        return f"{command}  (with the same arguments)", True
    return command, True


def _is_complete(command: str) -> bool:
    """Say whether a command names a program: ``python -c …`` and a prompt do not."""
    words = command.split()
    return len(words) > 1 and "-c" not in words and "ipykernel_launcher" not in command


# --- lines ---


def counts_line(counts: Mapping[str, int]) -> Text:
    """Return how many tasks there are of each status."""
    from rich.text import Text

    line = Text()
    for status in in_order(counts):
        line.append(f"{counts[status]:,} {clean(status, 40)}  ", style=style_of(status))
    if not counts:
        line.append("no tasks yet", style="dim")
    return line


def run_line(run: RunRow | None) -> Text:
    """Return one run in a line; a second one says what an interrupted run means."""
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
    """Return what happened to a run whose process is gone."""
    process = f"process {run.pid}" if run.pid is not None else "its process"
    return f"run {run.run_id}: {process} ended without closing it; run again for the rest"


def task_table(tasks: Sequence[TaskRow]) -> Grid:
    """Return tasks as a table that fits, names cut to the part in which they differ."""
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
    """Return what a row's message is about: an exception's type, then what it said, as one line."""
    return said(row.exception, row.message, limit)


def said(exception: str | None, message: str | None, limit: int = _SAID) -> str:
    """Return an exception's type, without its module, and its message, as one line; either may be missing."""
    kind = clean((exception or "").rpartition(".")[2], 80)
    return ": ".join(filter(None, [kind, clean(message or "", limit)]))


def state(task: TaskRow) -> str:
    """Return a task's status, with how far it came where that says something."""
    part = f" {task.progress * 100:.0f} %" if task.status != DONE and task.progress else ""
    return clean(task.status, 40) + part


def log_line(record: LogRow) -> Text:
    """Return one log record: time, level, logger, message, and its traceback below."""
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
    """Return the ids of the kinds of failures that words mean: see :meth:`pipeloom.history.History.kinds_named`.

    Raises:
        NotThereError: A word means none.
    """
    found: dict[str, None] = {}
    for word in words:
        meant = history.kinds_named(word, run_id, by_part=by_part)
        if not meant:
            where = "" if run_id is None else f" in run {run_id}"
            named = clean(word, 80).strip() or "an empty word"
            raise NotThereError(
                f"{clean(history.path)}: nothing has failed by {named}{where}: {_there(history, run_id)}"
            )
        found |= dict.fromkeys(meant)
    return list(found)


def _there(history: History, run_id: int | None) -> str:
    """Return what kinds of failures there are, in a few words."""
    kinds = [kind for kind, _ in history.kinds(run_id)]
    names = list(dict.fromkeys(clean((kind.exception or kind.status).rpartition(".")[2], 60) for kind in kinds))
    if not names:
        return "nothing has failed"
    more = f" and {len(names) - 8:,} more" if len(names) > 8 else ""
    return f"there are {', '.join(names[:8])}{more}; {typed('errors', history.path)}"


def check_run(history: History, run_id: int | None) -> None:
    """Refuse a run that is not there.

    Raises:
        NotThereError: There is no such run.
    """
    if run_id is not None and history.run(run_id) is None:
        latest = history.latest_run()
        there = "it has none" if latest is None else f"the latest is {latest.run_id}"
        raise NotThereError(f"{clean(history.path)}: no run {run_id}: {there}; {typed('runs', history.path)}")


def one_task(history: History, word: str, *, as_document: bool) -> TaskRow:
    """Return the task that a word means: its number, key or name, or a part of those.

    Args:
        history: Where to look.
        word: What was typed.
        as_document: Answer in JSON.

    Raises:
        NotThereError: There is none.
        click.exceptions.Exit: There are several; they have been listed.
    """
    found = history.find(word)
    if not found:
        raise NotThereError(
            f"{clean(history.path)}: no task {clean(word, 80)!r}, by number, key or name; "
            f"to see what there is: {typed('tasks', history.path)}"
        )
    if len(found) > 1:
        several(found, word, as_document=as_document)
    return found[0]


def several(found: Sequence[TaskRow], word: str, *, as_document: bool) -> NoReturn:
    """List the n tasks that a word may mean, and leave."""
    if as_document:
        tell({"matches": [as_json(task) for task in found], "more": len(found) == 20})
    else:
        many = f"{len(found)} tasks or more" if len(found) == 20 else f"{len(found)} tasks"
        draw(f"{clean(word, 80)!r} may be any of {many}: say which by its id", task_table(found))
    raise click.exceptions.Exit(2)
