"""``pipeloom errors``."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeloom.cli import formatting
from pipeloom.cli.options import MOST, db_option, json_option, limit_option, run_option, verbose_option
from pipeloom.data.text import clean, clean_block
from pipeloom.statuses import DONE, ERROR

if TYPE_CHECKING:
    from rich.text import Text

    from pipeloom.history import ErrorGroup, History

_MANY = 200_000  # failures from which on reading them takes seconds


@click.command(name="errors")
@db_option
@run_option("What failed in this run, also if a later one has done it. Default: what is failed now.")
@limit_option(10, "groups")
@json_option
@verbose_option
def command(
    db: Path,
    run_id: int | None,
    limit: int,
    as_document: bool,
    verbose: int,  # noqa: ARG001 - read by main()
) -> None:
    """Show what failed, grouped by what is the same: exception, place, and message but for its particulars."""
    from pipeloom.history import History

    with History(db) as history:
        formatting.check_run(history, run_id)
        if not as_document:
            _warn_of_many(history)
        groups = history.error_groups(run_id, limit=MOST)
        commands = [run.command for number in _runs_of(groups) if (run := history.run(number)) is not None]
        done = history.counts(run_id).get(DONE, 0) if not groups else 0
        refused, why = history.refused_inputs(run_id)
    total = sum(group.count for group in groups)
    words, is_command = formatting.again(commands)
    if as_document:
        formatting.tell(
            {
                "failures": total,
                "kinds": len(groups),
                "groups": [formatting.as_json(group) for group in groups[:limit]],
                "refused": refused,
                "again": words if is_command and groups else None,
            }
        )
    elif not groups:
        where = "" if run_id is None else f" in run {run_id}"
        formatting.draw(f"no {'failed tasks' if refused else 'failures'}{where} ({done:,} done)")
    else:
        formatting.draw(*_page(groups, limit, total, run_id, db, words))
    if refused and not as_document:
        formatting.draw(*_refused(refused, why, run_id))


def _warn_of_many(history: History) -> None:
    from pipeloom.history import failed_counts

    failures = sum(failed_counts(history.counts()).values())
    if failures > _MANY and sys.stderr.isatty():
        click.echo(f"reading {failures:,} failures …", err=True)


def _runs_of(groups: list[ErrorGroup]) -> list[int]:
    return sorted({number for group in groups for number in group.run_ids}, reverse=True)[:20]


def _page(
    groups: list[ErrorGroup], limit: int, total: int, run_id: int | None, db: Path, words: str
) -> Iterator[Text | str]:
    from rich.text import Text

    where = "" if run_id is None else f" in run {run_id}"
    kinds = "one kind" if len(groups) == 1 else f"{len(groups):,} kinds"
    yield Text(f"{_tasks(total)} did not end well{where}, of {kinds}", style="bold")
    for group in groups[:limit]:
        yield _group(group)
    if left := groups[limit:]:
        kinds = "one more kind" if len(left) == 1 else f"{len(left):,} more kinds"
        yield f"\n… and {kinds}, {_tasks(sum(group.count for group in left))}: -n {len(groups)}"
    yield ""
    if groups[:limit]:
        yield Text(f"all about one of them: {formatting.typed('show', db, groups[0].example.id)}", style="dim")
    yield f"to run them again: {words}"


def _refused(count: int, why: str, run_id: int | None) -> Iterator[Text | str]:
    """Tell of inputs that have no row of their own, and so are in no group."""
    from rich.text import Text

    run = "the last run" if run_id is None else f"run {run_id}"
    inputs = "1 input was" if count == 1 else f"{count:,} inputs were"
    yield Text(f"\n{inputs} refused in {run}, such as this one:", style="bold")
    yield Text(f"  {clean(why, 600)}")
    yield Text("all of them: SELECT * FROM pipeloom_rejected WHERE kind = 'input'", style="dim")


def _tasks(count: int) -> str:
    return "1 task" if count == 1 else f"{count:,} tasks"


def _group(group: ErrorGroup) -> Text:
    from rich.text import Text

    from pipeloom.data.traceback_text import essence

    text = Text("\n")
    text.append(f"{group.count:,} \N{MULTIPLICATION SIGN} ", style="bold")
    if group.status != ERROR:
        text.append(f"{clean(group.status, 40)}: ", style=formatting.style_of(group.status))
    if group.exception:
        text.append(clean(group.exception, 80), style=formatting.style_of(group.status))
        text.append(": " if group.message else "")
    text.append(clean(group.message, 300))
    example = group.example
    facts = [formatting.span(group.first_at, group.last_at)]
    if group.where:
        facts.insert(0, clean(group.where, 160))
    if any(facts):
        text.append("\n  " + ", ".join(fact for fact in facts if fact), style="dim")
    name = clean(example.name, 80)
    text.append("\n  " + ("this is" if group.count == 1 else "one of them is") + f" task {example.id} ({name})")
    if group.traceback:
        lines = essence(group.traceback)
        text.append("\n" + "\n".join("    " + clean(line.expandtabs(4), 300) for line in lines), style="dim")
    elif example.message and example.message != group.message:
        text.append("\n    " + clean_block(example.message[:300]).replace("\n", "\n    "), style="dim")
    return text
