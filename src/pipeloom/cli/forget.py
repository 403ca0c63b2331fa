"""``pipeloom forget``."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from pipeloom.cli import formatting
from pipeloom.cli.options import KINDS_S, completed, db_option_only, kind_option, say, traceback_option
from pipeloom.data.commands import typed
from pipeloom.data.text import clean

if TYPE_CHECKING:
    from pipeloom.forgetting import Loss
    from pipeloom.history import History, TaskRow

_NAMED: Final = 10


@click.command(name="forget")
@click.argument("tasks", metavar="[TASK]...", nargs=-1, shell_complete=completed("tasks"))
@db_option_only
@kind_option("All tasks with this kind of failure", by_part=False)
@click.option("-y", "--yes", is_flag=True, help="Do not ask for confirmation.")
@traceback_option
def command(
    tasks: tuple[str, ...],
    db: Path,
    kinds: tuple[str, ...],
    yes: bool,
) -> int:
    """Delete tasks and the rows that store their task (own_rows=), so that the next call runs the tasks again.

    TASK is its id, key or name. The command lists what it would delete and asks for confirmation. Rows that do not
    store their task are kept. Exits with 0 when done, 1 when you decline, 2 when there is no such task.
    """
    from pipeloom.forgetting import forget, loss_of
    from pipeloom.history import History

    if not tasks and not kinds:
        raise click.UsageError(
            "no tasks were named: name tasks or use --kind (`pipeloom errors` lists failures, "
            "`pipeloom tasks` all tasks)"
        )
    with History(db, deadline_s=KINDS_S) as history:
        named = [_task(history, word) for word in tasks]
        namesakes = [(word, task.id) for word in tasks if word.isdecimal() for task in history.with_key(word)]
        of_kind = formatting.kinds_named(history, kinds, by_part=False)
        numbers = sorted({task.id for task in named}.union(_of_kinds(history, of_kind)))
    namesakes = [(word, number) for word, number in namesakes if number not in numbers]
    loss = loss_of(db, numbers)
    if not yes:
        if not sys.stdin.isatty():
            raise click.UsageError("forget asks for confirmation, and standard input is not a terminal: pass --yes")
        click.echo(f"in {clean(db)}:", err=True)
        for task in named[:_NAMED]:
            click.echo(f"task {task.id} ({clean(task.name, 80)}): {clean(task.status, 40)}", err=True)
        for word, other in namesakes[:_NAMED]:
            click.echo(f"{clean(word, 80)} is also the key of task {other}, which is kept", err=True)
        if not click.confirm(f"{_in_words(loss)}. Forget {'it' if loss.tasks == 1 else 'them'}?", err=True):
            click.echo("nothing was changed", err=True)
            return 1
    forget(db, numbers, loss)
    say(f"forgot {_in_words(loss)}")
    return 0


def _task(history: History, word: str) -> TaskRow:
    """Return the task that a word names exactly: deleting on a partial match would be too risky."""
    found = [task for task in history.find(word) if word in (str(task.id), task.name)] or history.with_key(word)
    if not found:
        raise formatting.NotThereError(
            f"{clean(history.path)}: no task has the id, key or full name {clean(word, 80)!r}; "
            f"to list all tasks: {typed('tasks', history.path)}"
        )
    if len(found) > 1:
        formatting.several(found, word, as_document=False)
    return found[0]


def _of_kinds(history: History, ids: Sequence[str]) -> Iterator[int]:
    return (task.id for task in history.each_task("oldest", kind=ids)) if ids else iter(())


def _in_words(loss: Loss) -> str:
    words = f"{loss.tasks:,} {'task' if loss.tasks == 1 else 'tasks'}"
    if loss.pipelines:
        words += f" of {_listed([clean(name, 80) for name in loss.pipelines])}"
    rows = f"{loss.all_rows:,} {'row' if loss.all_rows == 1 else 'rows'}"
    words += (
        f", with {rows} in {_listed([clean(table, 60) for table, _ in loss.rows])}" if loss.rows else ", no rows"
    )
    if loss.staying == loss.tasks == 1:
        return f"{words}; any rows that do not store their task are kept"
    if loss.staying:
        return f"{words}; {loss.staying:,} of them may have rows that do not store their task, which are kept"
    return words


def _listed(names: Sequence[str]) -> str:
    shown = [*names[:5], *([f"{len(names) - 5:,} more"] if len(names) > 5 else [])]
    return " and ".join(filter(None, [", ".join(shown[:-1]), shown[-1]]))
