"""The part of the screen that changes with the view: a page of lines that can be selected, or one thing in full."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from rich.cells import cell_len
from rich.text import Text

from pipeloom.cli.formatting import moment, style_of
from pipeloom.cli.watching.lines import fit
from pipeloom.cli.watching.opened import run_text, task_text
from pipeloom.cli.watching.snapshot import Snapshot
from pipeloom.cli.watching.view import Choice, Frame, View
from pipeloom.data.rates import duration
from pipeloom.data.text import clean
from pipeloom.history import ErrorGroup, RunRow, TaskRow
from pipeloom.show.screen import bar
from pipeloom.statuses import ERROR, RUNNING

__all__ = ["opened", "page"]

_LAST_FAILURES: Final = 10
_Row = tuple[Text, Choice | None]


def page(snapshot: Snapshot, view: View, width: int, room: int, now: float) -> Frame:
    """Return the chosen page, its selected line in sight."""
    draw = {"running": _running, "failures": _failures, "errors": _errors, "runs": _runs}[view.page]
    return draw(snapshot, view, width, max(room, 0), now)


def opened(snapshot: Snapshot, view: View, width: int, room: int, now: float) -> Frame:
    """Return the opened task or run, scrolled as the viewer left it."""
    assert view.opened is not None
    kind, number = view.opened
    if kind == "run":
        run = next((run for run in snapshot.runs if run.run_id == number), None)
        text = run_text(run, width) if run is not None else [Text(f"  run {number} is not there any more")]
    elif snapshot.opened is not None and snapshot.opened.task.id == number:
        text = task_text(snapshot.opened, width, max(now - snapshot.at, 0.0))
    else:
        text = [Text(f"  task {number}: not there" if snapshot.trouble is None else "", style="dim")]
    end = max(len(text) - room, 0)
    first = min(view.scroll, end)
    lines = text[first : first + room]
    if first < end and lines:
        lines[-1] = Text(f"  ↓ {len(text) - first - room + 1} more lines", style="dim")
    return Frame(lines, (), max(room - 1, 1), end)


def _running(snapshot: Snapshot, view: View, width: int, room: int, now: float) -> Frame:
    running, failures = snapshot.running, snapshot.failures[:_LAST_FAILURES]
    # Failures keep a third of the room when there are more running tasks than fit.
    kept = min(len(failures) + 1, max(room // 3, 2)) if failures and room >= 4 else 0
    place = max(room - kept, 0)
    total = max(snapshot.counts.get(RUNNING, 0), len(running))
    shown = running[: place if total <= place else max(place - 1, 0)]
    since = max(now - snapshot.at, 0.0) if snapshot.is_running else 0.0
    names = _name_width([task.name for task in shown], width)
    rows: list[_Row] = [(_running_line(task, names, since, width), Choice("task", task.id)) for task in shown]
    if total > len(shown) and place:
        rows.append((Text(f"  … and {total - len(shown):,} more running", style="dim"), None))
    if not rows and place:
        rows.append((Text("  nothing is running" + " this moment" * snapshot.is_running, style="dim"), None))
    left = room - len(rows)
    if failures and left >= 2:
        rows.append((Text("Last failures", style="dim"), None))
        shown = failures[: left - 1]
        names = _name_width([task.name for task in shown], width)
        rows += [(_failure_line(task, names, width), Choice("task", task.id)) for task in shown]
    choices = [choice for _, choice in rows if choice is not None]
    selected = view.place(choices)
    for line, choice in rows:
        if selected is not None and choice == choices[selected]:
            line.stylize("reverse")
    return Frame([line for line, _ in rows], choices, max(room - 1, 1))


def _listed(
    rows: Sequence[object],
    choices: Sequence[Choice],
    draw: Callable[[int], Text],
    empty: str,
    view: View,
    room: int,
) -> Frame:
    """Return that part of a long list in which the selected line is."""
    if not rows:
        return Frame([Text("  " + empty, style="dim")][:room])
    place = view.place(choices)
    first = min(max((place or 0) - room + 1, 0), max(len(rows) - room, 0)) if room else 0
    lines = [draw(number) for number in range(first, min(first + room, len(rows)))]
    if place is not None and first <= place < first + len(lines):
        lines[place - first].stylize("reverse")
    return Frame(lines, choices, max(room - 1, 1))


def _failures(snapshot: Snapshot, view: View, width: int, room: int, _now: float) -> Frame:
    failures = snapshot.failures
    names = _name_width([task.name for task in failures], width)
    return _listed(
        failures,
        [Choice("task", task.id) for task in failures],
        lambda row: _failure_line(failures[row], names, width),
        "no failures",
        view,
        room,
    )


def _errors(snapshot: Snapshot, view: View, width: int, room: int, _now: float) -> Frame:
    groups = snapshot.errors
    return _listed(
        groups,
        [Choice("task", group.example.id) for group in groups],
        lambda row: _group_line(groups[row], width),
        "no errors",
        view,
        room,
    )


def _runs(snapshot: Snapshot, view: View, width: int, room: int, _now: float) -> Frame:
    runs = snapshot.runs
    return _listed(
        runs,
        [Choice("run", run.run_id) for run in runs],
        lambda row: _run_line(runs[row], width),
        "no runs yet",
        view,
        room,
    )


def _name_width(names: Sequence[str], width: int) -> int:
    longest = max((cell_len(clean(name, 80)) for name in names), default=0)
    return min(longest, max(width // 3, 8), 48)


def _named(name: str, width: int) -> Text:
    text = Text(clean(name, 80))
    text.truncate(width, overflow="ellipsis", pad=True)
    return text


def _running_line(task: TaskRow, names: int, since: float, width: int) -> Text:
    line = Text().append("  ▸ ", style="cyan").append_text(_named(task.name, names)).append("  ")
    line.append_text(bar(task.progress, max(min(width // 5, 24), 4)))
    line.append(f" {int(task.progress * 100):3d} %")
    if task.elapsed_s is not None:
        line.append(f"  {duration(task.elapsed_s + since)}", style="dim")
    if task.attempt > 1:
        line.append(f"  try {task.attempt}", style="yellow")
    if task.message:
        line.append("  " + clean(task.message, 200), style="dim")
    return fit(line, width)


def _failure_line(task: TaskRow, names: int, width: int) -> Text:
    line = Text().append("  ✗ ", style="red").append_text(_named(task.name, names)).append("  ")
    if task.status != ERROR:
        line.append(clean(task.status, 20) + "  ", style=style_of(task.status))
    return fit(line.append(clean(task.message or "", 300), style="red"), width)


def _group_line(group: ErrorGroup, width: int) -> Text:
    line = Text().append(f"  {group.count:>6,}  ", style="bold red")
    line.append(clean(group.exception or group.status, 60), style="red")
    if group.message:
        line.append(": " + clean(group.message, 300))
    if group.where and width >= 100:
        line.append("  " + clean(group.where, 100), style="dim")
    return fit(line, width)


def _run_line(run: RunRow, width: int) -> Text:
    line = Text(f"  {run.run_id:>4}  ").append(f"{clean(run.status, 20):<11}", style=style_of(run.status))
    line.append(f"  {moment(run.started_at):<19}", style="dim")
    line.append(f"  {duration(run.elapsed_s):>8}" if run.elapsed_s is not None else " " * 10)
    line.append(f"  {run.done:,} done")
    if failed := run.errors:
        line.append(f"  {failed:,} failed", style="red")
    if run.skipped:
        line.append(f"  {run.skipped:,} skipped", style="dim")
    return fit(line.append(f"  {clean(run.pipeline or '', 80)}", style="dim"), width)
