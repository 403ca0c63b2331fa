"""``pipeloom errors``."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from pipeloom.cli import formatting
from pipeloom.cli.listing import how_many, left_out, note, tell_rows
from pipeloom.cli.options import (
    KINDS_S,
    MOST,
    db_option,
    json_option,
    kind_option,
    limit_option,
    run_option,
    traceback_option,
)
from pipeloom.data.commands import typed
from pipeloom.data.differing import shortened
from pipeloom.data.text import clean, clean_block
from pipeloom.show.streams import is_unread
from pipeloom.statuses import DONE, ERROR

if TYPE_CHECKING:
    from rich.text import Text

    from pipeloom.history import ErrorGroup, FailedKey, History, TaskRow

_SHOWN: Final = 10
_KEYS: Final = 20
_GLANCE: Final = 500  # keys between two checks that the output still has a reader
_NARROW: Final = 30  # cells always left for a name
_MARKS: Final = frozenset(" ^~")  # markers below a source line
_LINES: Final = 60  # of the traceback of a selected kind


@click.command(name="errors")
@db_option
@run_option("Failures of this run, even if a later run succeeded. Default: what is failed now.")
@kind_option("Show only this kind of failure, in full and with its keys")
@click.option(
    "--keys", "keys_only", is_flag=True, help="Print only the keys of failed tasks, one per line, for scripts."
)
@click.option("-0", "--null", is_flag=True, help="With --keys: separate keys by NUL instead of a line break.")
@limit_option(_SHOWN, f"kinds, or keys (default: {_KEYS}) with --kind or --keys")
@json_option
@traceback_option
def command(
    db: Path,
    run_id: int | None,
    kinds: tuple[str, ...],
    keys_only: bool,
    null: bool,
    limit: int | None,
    as_document: bool,
) -> None:
    """Show failures by kind, largest first. Failures of a kind share exception, place and message pattern.

    `pipeloom errors out.db --kind ValueError --keys` prints the inputs that failed this way, for other programs.
    """
    from pipeloom.history import History

    if null and not keys_only:
        raise click.UsageError("-0 works only with --keys: add --keys")
    with History(db, deadline_s=KINDS_S) as history:
        formatting.check_run(history, run_id)
        ids = formatting.kinds_named(history, kinds, run_id)
        if keys_only:
            _print_keys(history, ids, run_id, how_many(limit, _KEYS, as_document=True), null, as_document)
            return
        groups = history.error_groups(run_id, limit=MOST)
        wanted = [group for group in groups if group.kind in ids] if kinds else groups
        commands = [run.command for number in _runs_of(wanted) if (run := history.run(number)) is not None]
        done = history.counts(run_id).get(DONE, 0) if not groups else 0
        refused, why = (0, "") if kinds else history.refused_inputs(run_id)
        keys = (
            _keys_of(history, wanted, run_id, _KEYS if limit is None else limit)
            if kinds and not as_document
            else {}
        )
    words, is_command = formatting.again(commands)
    if as_document:
        shown = wanted[: how_many(limit, _SHOWN, as_document=True)]
        formatting.tell(
            {
                "failures": sum(group.count for group in wanted),
                "kinds": len(wanted),
                "groups": [formatting.as_json(group) for group in shown],
                "total": len(wanted),
                "more": len(wanted) > len(shown),
                "refused": refused,
                "again": words if is_command and wanted else None,
            }
        )
        return
    if not wanted:
        where = "" if run_id is None else f" in run {run_id}"
        formatting.draw(*_refused(refused, why, run_id) if refused else [])
        formatting.draw(f"no {'other ' if refused else ''}failures{where} ({done:,} done)")
        return
    shown = wanted if kinds else wanted[: _SHOWN if limit is None else limit]
    formatting.draw(*_page(shown, wanted, run_id, keys))
    left = wanted[len(shown) :]
    more = f"-n {len(wanted)}  ({_tasks(sum(group.count for group in left))})"
    note(left_out(len(shown), len(wanted), more) if left else None)
    formatting.draw(*_next(db, wanted, run_id, words, kinds))
    formatting.draw(*["", *_refused(refused, why, run_id)] if refused else [])


def _runs_of(groups: Sequence[ErrorGroup]) -> list[int]:
    return sorted({number for group in groups for number in group.run_ids}, reverse=True)[:20]


# --- keys ---


def _print_keys(
    history: History, ids: list[str], run_id: int | None, wanted: int | None, null: bool, as_document: bool
) -> None:
    """Print the keys of failed tasks, at most ``wanted``; ``None`` for all."""
    total = None
    if wanted is not None:
        total = sum(count for kind, count in history.kinds(run_id) if not ids or kind.id in ids)
    found = islice(history.failed_keys(ids or None, run_id), wanted)
    if as_document:
        rows = ({"task": row.task_id, "key": row.key, "item": _plain(row.item)} for row in found)
        tell_rows(
            "keys",
            rows,
            lambda count: {"total": count if total is None else total, "more": bool(total and total > count)},
        )
        return
    count = without = broken = 0
    for row in found:
        if count % _GLANCE == 0 and is_unread(sys.stdout):
            return
        count += 1
        if row.key is None:
            without += 1
            continue
        text = _in_words(row.item)
        broken += ("\0" if null else "\n") in text
        sys.stdout.write(clean(text) if sys.stdout.isatty() else text)
        sys.stdout.write("\0" if null else "\n")
    sys.stdout.flush()
    if without:
        note(f"{_tasks(without)} without a key: `pipeloom tasks` lists them by id", as_document=True)
    if broken:
        what, how = ("NULs", "--json") if null else ("line breaks", "-0 or --json")
        note(f"{broken:,} of the keys contain {what}: use {how} to separate them", as_document=True)
    note(left_out(count, total, f"-n {total}") if total is not None else None, as_document=True)


def _plain(item: Any) -> Any:
    """Return a key as a JSON value: numbers, text, lists and objects unchanged, anything else as text."""
    try:
        return json.loads(json.dumps(item, default=str))
    except (TypeError, ValueError, RecursionError):
        return str(item)


def _in_words(item: Any) -> str:
    """Return a key as text: collections as JSON, everything else as it is."""
    return json.dumps(_plain(item), ensure_ascii=False) if isinstance(item, tuple | list | dict) else str(item)


def _keys_of(
    history: History, groups: Sequence[ErrorGroup], run_id: int | None, limit: int
) -> dict[str, list[FailedKey]]:
    return {group.kind: list(islice(history.failed_keys([group.kind], run_id), limit)) for group in groups}


# --- on the screen ---


def _page(
    shown: Sequence[ErrorGroup],
    groups: Sequence[ErrorGroup],
    run_id: int | None,
    keys: dict[str, list[FailedKey]],
) -> Iterator[Text | str]:
    from rich.text import Text

    where = "" if run_id is None else f" in run {run_id}"
    kinds = "one kind" if len(groups) == 1 else f"{len(groups):,} kinds"
    total = sum(group.count for group in groups)
    yield Text(f"{_tasks(total)} failed{where} ({kinds})", style="bold")
    names = _names(shown)
    for group in shown:
        yield _group(group, names, in_full=group.kind in keys)
        if group.kind in keys:
            yield _listed(group, keys[group.kind])
    yield ""


def _next(
    db: Path, groups: Sequence[ErrorGroup], run_id: int | None, words: str, kinds: Sequence[str]
) -> Iterator[Text | str]:
    """Yield the next commands to type, for the selected kinds or else for the largest."""
    from rich.text import Text

    first = groups[0]
    chosen = [word for kind in kinds or [first.kind] for word in ("--kind", kind)]
    run = [] if run_id is None else ["--run", run_id]
    count = sum(group.count for group in groups) if kinds else first.count
    inputs = "which input" if count == 1 else f"which {count:,} inputs"
    lines = [(inputs, typed("errors", db, *chosen, *run, "--keys"))]
    if not kinds:
        lines.append(("this kind in full", typed("errors", db, *chosen, *run)))
    lines.append(("everything about one of them", typed("show", db, first.example.id)))
    for place, (what, command) in enumerate(lines):
        yield Text(f"{what}: {command}", style="dim" if place else "")
    yield f"to run them again: {words}"


def _refused(count: int, why: str, run_id: int | None) -> Iterator[Text | str]:
    """Yield lines about refused inputs, which have no task row and so belong to no group."""
    from rich.text import Text

    run = "the last run" if run_id is None else f"run {run_id}"
    inputs = "1 input was" if count == 1 else f"{count:,} inputs were"
    yield Text(f"{inputs} refused in {run}, for example:", style="bold")
    yield Text(f"  {clean(why, 600)}")
    yield Text("all of them: SELECT * FROM pipeloom_rejected WHERE kind = 'input'", style="dim")


def _tasks(count: int) -> str:
    return "1 task" if count == 1 else f"{count:,} tasks"


def _names(groups: Sequence[ErrorGroup]) -> dict[int, str]:
    """Return the names of first and last tasks by id, shortened to fit on a line."""
    tasks = {task.id: clean(task.name, 500) for group in groups for task in (group.example, group.last)}
    room = (
        formatting.console().width - len("  first task  (), 59 min ago") - max(map(len, map(str, tasks)), default=0)
    )
    return dict(zip(tasks, shortened(list(tasks.values()), max(room, _NARROW)), strict=True))


def _group(group: ErrorGroup, names: dict[int, str], *, in_full: bool) -> Text:
    from rich.text import Text

    from pipeloom.data.traceback_text import essence

    style = formatting.style_of(group.status)
    text = Text("\n")
    text.append(f"{group.count:,} \N{MULTIPLICATION SIGN} ", style="bold")
    if group.status != ERROR:
        text.append(f"{clean(group.status, 40)}: ", style=style)
    if group.exception:
        text.append(clean(group.exception, 80), style=style)
        text.append(": " if group.message else "")
    text.append(clean(group.message, 300))
    text.append(
        f"\n  kind {clean(group.kind, 40)}" + (f", {clean(group.where, 160)}" if group.where else ""), style="dim"
    )
    if group.count == 1:
        text.append(f"\n  {_named(group.example, names)}")
    else:
        text.append(f"\n  first {_named(group.example, names)}\n  last  {_named(group.last, names)}")
    if group.traceback:
        lines = (
            _end(group.traceback) if in_full else [line for line in essence(group.traceback) if set(line) - _MARKS]
        )
        text.append("\n" + "\n".join("    " + clean(line.expandtabs(4), 300) for line in lines), style="dim")
    elif group.example.message and group.example.message != group.message:
        text.append("\n    " + clean_block(group.example.message[:300]).replace("\n", "\n    "), style="dim")
    return text


def _named(task: TaskRow, names: dict[int, str]) -> str:
    at = formatting.when(task.finished_at)
    return f"task {task.id} ({names[task.id]})" + (f", {at}" if at else "")


def _end(traceback: str) -> list[str]:
    lines = traceback.rstrip().split("\n")
    return lines if len(lines) <= _LINES else ["…", *lines[-_LINES:]]


def _listed(group: ErrorGroup, keys: Sequence[FailedKey]) -> Text:
    """Return the keys of a kind, and a count of those left out."""
    from rich.text import Text

    lines = [f"    {clean(f'task {row.task_id}' if row.key is None else _in_words(row.item), 500)}" for row in keys]
    if group.count > len(keys):
        lines.append(f"    … {group.count - len(keys):,} more: -n {group.count}, or --keys")
    return Text("\n".join(["  keys:", *lines]) if lines else "")
