"""The part of the screen that the viewer chooses: a page of lines that can be selected, or one thing in full."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from rich.cells import cell_len
from rich.text import Text

from pipeloom.cli.formatting import moment, style_of
from pipeloom.cli.watching.lines import fit
from pipeloom.cli.watching.navigation import Choice, Frame, Navigation
from pipeloom.cli.watching.opened import run_text, task_text
from pipeloom.cli.watching.scene import Scene
from pipeloom.data.rates import duration
from pipeloom.data.text import clean
from pipeloom.history import ErrorGroup, RunRow, TaskRow
from pipeloom.show.screen import bar
from pipeloom.statuses import ERROR, RUNNING

__all__ = ["opened", "page"]

_LAST_FAILURES: Final = 10
_Row = tuple[Text, Choice | None]
_Item = TypeVar("_Item")


def page(scene: Scene, navigation: Navigation, width: int, room: int, now: float) -> Frame:
    """Return the chosen page, its selected line in sight."""
    draw = {"running": _running, "failures": _failures, "errors": _errors, "runs": _runs}[navigation.page]
    return draw(scene, navigation, width, max(room, 0), now)


def opened(scene: Scene, navigation: Navigation, width: int, room: int, now: float) -> Frame:
    """Return the opened task or run, scrolled as the viewer left it."""
    assert navigation.opened is not None
    kind, number = navigation.opened
    if kind == "run":
        run = next((run for run in scene.runs if run.run_id == number), None)
        text = run_text(run, width) if run is not None else [Text(f"  run {number} is not there any more")]
    elif scene.opened is not None and scene.opened.task.id == number:
        text = task_text(scene.opened, width, scene.since(now))
    else:
        text = [Text(f"  task {number}: not there" if scene.trouble is None else "", style="dim")]
    end = max(len(text) - room, 0)
    first = min(navigation.scroll, end)
    lines = text[first : first + room]
    if first < end and lines:
        lines[-1] = Text(f"  ↓ {len(text) - first - room + 1} more lines", style="dim")
    return Frame(lines, (), max(room - 1, 1), end)


def _running(scene: Scene, navigation: Navigation, width: int, room: int, now: float) -> Frame:
    failures = scene.failures[:_LAST_FAILURES]
    # Failures keep a third of the room when there are more running tasks than fit.
    kept = min(len(failures) + 1, max(room // 3, 2)) if failures and room >= 4 else 0
    rows = _running_rows(scene, width, max(room - kept, 0), now)
    rows += _failure_rows(failures, width, room - len(rows))
    choices = [choice for _, choice in rows if choice is not None]
    place = navigation.place(choices)
    if place is not None:
        next(line for line, choice in rows if choice == choices[place]).stylize("reverse")
    return Frame([line for line, _ in rows], choices, max(room - 1, 1))


def _running_rows(scene: Scene, width: int, room: int, now: float) -> list[_Row]:
    """Return as many running tasks as fit, and how many more there are."""
    if not room:
        return []
    total = max(scene.counts.get(RUNNING, 0), len(scene.running))
    if not total:
        return [(Text("  nothing is running" + " this moment" * scene.is_running, style="dim"), None)]
    shown = scene.running[: room if total <= room else room - 1]
    since = scene.since(now) if scene.is_running else 0.0
    names = _name_width(shown, width)
    rows: list[_Row] = [(_running_line(task, names, since, width), _task(task)) for task in shown]
    if total > len(shown):
        rows.append((Text(f"  … and {total - len(shown):,} more running", style="dim"), None))
    return rows


def _failure_rows(failures: Sequence[TaskRow], width: int, room: int) -> list[_Row]:
    """Return as many failures as fit below their heading."""
    if not failures or room < 2:
        return []
    shown = failures[: room - 1]
    names = _name_width(shown, width)
    rows: list[_Row] = [(_failure_line(task, names, width), _task(task)) for task in shown]
    return [(Text("Last failures", style="dim"), None), *rows]


def _listed(
    items: Sequence[_Item],
    choice_of: Callable[[_Item], Choice],
    line_of: Callable[[_Item], Text],
    empty: str,
    navigation: Navigation,
    room: int,
) -> Frame:
    """Return that part of a long list in which the selected line is; only what is in sight is drawn."""
    if not items:
        return Frame([Text("  " + empty, style="dim")][:room])
    choices = [choice_of(item) for item in items]
    place = navigation.place(choices)
    first = min(max((place or 0) - room + 1, 0), max(len(items) - room, 0)) if room else 0
    lines = [line_of(item) for item in items[first : first + room]]
    if place is not None and first <= place < first + len(lines):
        lines[place - first].stylize("reverse")
    return Frame(lines, choices, max(room - 1, 1))


def _failures(scene: Scene, navigation: Navigation, width: int, room: int, _now: float) -> Frame:
    names = _name_width(scene.failures, width)

    def line(task: TaskRow) -> Text:
        return _failure_line(task, names, width)

    return _listed(scene.failures, _task, line, "no failures", navigation, room)


def _errors(scene: Scene, navigation: Navigation, width: int, room: int, _now: float) -> Frame:
    def example(group: ErrorGroup) -> Choice:
        return _task(group.example)

    def line(group: ErrorGroup) -> Text:
        return _group_line(group, width)

    return _listed(scene.errors, example, line, "no errors", navigation, room)


def _runs(scene: Scene, navigation: Navigation, width: int, room: int, _now: float) -> Frame:
    def itself(run: RunRow) -> Choice:
        return Choice("run", run.run_id)

    def line(run: RunRow) -> Text:
        return _run_line(run, width)

    return _listed(scene.runs, itself, line, "no runs yet", navigation, room)


def _task(task: TaskRow) -> Choice:
    return Choice("task", task.id)


def _name_width(tasks: Sequence[TaskRow], width: int) -> int:
    longest = max((cell_len(clean(task.name, 80)) for task in tasks), default=0)
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
    if run.errors:
        line.append(f"  {run.errors:,} failed", style="red")
    if run.skipped:
        line.append(f"  {run.skipped:,} skipped", style="dim")
    return fit(line.append(f"  {clean(run.title or '', 80)}", style="dim"), width)
