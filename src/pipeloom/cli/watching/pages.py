"""The part of the screen that the user chooses: a page with lines to select, or one item in full."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from rich.text import Text

from pipeloom.cli.formatting import moment, style_of
from pipeloom.cli.watching.lines import fit
from pipeloom.cli.watching.navigation import Choice, Frame, Navigation
from pipeloom.cli.watching.opened import run_text, task_text
from pipeloom.cli.watching.scene import LISTED, Scene
from pipeloom.data.differing import cells, shortened
from pipeloom.data.rates import duration
from pipeloom.data.text import clean
from pipeloom.history import ErrorGroup, RunRow, TaskRow
from pipeloom.show.failures import Told, kind_lines, more_kinds, rows_of_kind
from pipeloom.show.tasks import ShownTask, task_rows
from pipeloom.statuses import RUNNING

__all__ = ["opened", "page"]

_NAME: Final = 500  # characters of a name that are considered
_LEAST: Final = 12  # cells always left for a name
_Row = tuple[Text, Choice | None]
_Item = TypeVar("_Item")


def page(scene: Scene, navigation: Navigation, width: int, room: int, now: float) -> Frame:
    """Return the chosen page, scrolled so that the selected line is visible."""
    draw = {"running": _running, "failures": _failures, "kinds": _kinds, "runs": _runs}[navigation.page]
    return draw(scene, navigation, width, max(room, 0), now)


def opened(scene: Scene, navigation: Navigation, width: int, room: int, now: float) -> Frame:
    """Return the opened task or run, at the user's scroll position."""
    assert navigation.opened is not None
    kind, number = navigation.opened
    if kind == "run":
        run = next((run for run in scene.runs if run.run_id == number), None)
        text = run_text(run, width) if run is not None else [Text(f"  run {number} no longer exists")]
    elif scene.opened is not None and scene.opened.task.id == number:
        text = task_text(scene.opened, width, scene.since(now))
    else:
        text = [Text(f"  task {number} no longer exists" if scene.trouble is None else "", style="dim")]
    end = max(len(text) - room, 0)
    first = min(navigation.scroll, end)
    lines = text[first : first + room]
    if first < end and lines:
        lines[-1] = Text(f"  ↓ {len(text) - first - room + 1} more lines", style="dim")
    return Frame(lines, (), max(room - 1, 1), end)


def _running(scene: Scene, navigation: Navigation, width: int, room: int, now: float) -> Frame:
    kinds = scene.errors[:LISTED]
    total = max(scene.counts.get(RUNNING, 0), len(scene.running), 1)
    # Failures keep a third of the room when the running tasks do not all fit.
    wanted = 1 + len(kinds) * rows_of_kind(width)
    kept = min(wanted, max(room - total, room // 3, 2)) if kinds and room >= 4 else 0
    kept = len(_kind_rows(kinds, width, kept))  # may be less: only whole kinds are shown
    rows = _running_rows(scene, width, max(room - kept, 0), now)
    rows += _kind_rows(kinds, width, room - len(rows))
    choices = list(dict.fromkeys(choice for _, choice in rows if choice is not None))
    place = navigation.place(choices)
    if place is not None:
        for line, choice in rows:
            if choice == choices[place]:
                line.stylize("reverse")
    return Frame([line for line, _ in rows], choices, max(room - 1, 1))


def _running_rows(scene: Scene, width: int, room: int, now: float) -> list[_Row]:
    """Return as many running tasks as fit, and a count of the rest."""
    total = max(scene.counts.get(RUNNING, 0), len(scene.running))
    if room and not total:
        return [(Text("  nothing is running" + " at the moment" * scene.is_running, style="dim"), None)]
    since = scene.since(now) if scene.is_running else 0.0
    tasks = [_shown(task, since) for task in scene.running]
    choices = [*(Choice("task", task.id) for task in scene.running), *[None] * (total - len(tasks))]
    lines = task_rows(tasks, width, room, total)
    if len(lines) < total or len(tasks) < total:
        choices[len(lines) - 1 :] = [None]  # the count of the rest
    return list(zip(lines, choices, strict=False))


def _shown(task: TaskRow, since: float) -> ShownTask:
    return ShownTask(
        task.name,
        None if task.elapsed_s is None else task.elapsed_s + since,
        task.progress or None,
        message=task.message,
        remark=f"try {task.attempt}" if task.attempt > 1 else None,
    )


def _kind_rows(kinds: Sequence[ErrorGroup], width: int, room: int) -> list[_Row]:
    """Return as many kinds of failure as fit below their heading, using fewer rows each when there are many."""
    if not kinds or room < 2:
        return []
    room -= 1
    each = next((most for most in range(rows_of_kind(width), 0, -1) if most * len(kinds) <= room), 1)
    shown = (
        kinds if each * len(kinds) <= room else kinds[: max(room - 1, 1)]
    )  # one row is for the count of the rest
    rows: list[_Row] = [(Text("Failures by kind", style="bold"), None)]
    for group, lines in zip(shown, kind_lines([_told(group) for group in shown], width, each), strict=True):
        rows += [(line, _task(group.example)) for line in lines]
    if len(shown) < len(kinds) and len(rows) <= room:
        more = more_kinds(len(kinds) - len(shown))
        rows.append((Text(f"  … and {more}: see the Kinds page", style="red"), None))
    return rows


def _listed(
    items: Sequence[_Item],
    choice_of: Callable[[_Item], Choice],
    lines_of: Callable[[Sequence[_Item]], Sequence[Sequence[Text]]],
    empty: str,
    navigation: Navigation,
    room: int,
    *,
    each: int = 1,
    more: str = "",
) -> Frame:
    """Return the part of a long list around the selected line; only visible items are drawn.

    Args:
        items: The items.
        choice_of: Returns what opens when an item is chosen.
        lines_of: Returns the lines of some items, at most ``each`` per item.
        empty: Text shown when there are no items.
        navigation: What is selected.
        room: Rows.
        each: Maximum number of lines per item.
        more: What the list itself leaves out.
    """
    if not items:
        return Frame([Text("  " + empty, style="dim")][:room])
    choices = [choice_of(item) for item in items]
    place = navigation.place(choices)
    says_more = (bool(more) or len(items) * each > room) and room > each
    fit = (room - says_more) // each
    first = min(max((place or 0) - fit + 1, 0), max(len(items) - fit, 0)) if fit else 0
    shown = items[first : first + fit]
    drawn = lines_of(shown)
    if place is not None and first <= place < first + len(shown):
        for line in drawn[place - first]:
            line.stylize("reverse")
    lines = [line for of_one in drawn for line in of_one]
    if says_more:
        below = len(items) - first - len(shown)
        words = [f"↓ {below:,} more"] if below else []
        lines.append(Text("  " + " · ".join([*words, *filter(None, [more])]), style="yellow"))
    return Frame(lines, choices, max(fit - 1, 1))


def _failures(scene: Scene, navigation: Navigation, width: int, room: int, _now: float) -> Frame:
    more = f"the last {len(scene.failures):,} of {scene.failed:,}" if len(scene.failures) < scene.failed else ""

    def lines(tasks: Sequence[TaskRow]) -> list[list[Text]]:
        return [[line] for line in _failure_lines(tasks, width)]

    return _listed(scene.failures, _task, lines, "no failures", navigation, room, more=more)


def _kinds(scene: Scene, navigation: Navigation, width: int, room: int, _now: float) -> Frame:
    groups = scene.errors[:LISTED]
    told = sum(group.count for group in groups)
    more = (
        f"the {LISTED:,} largest kinds, {told:,} of {max(scene.failed, told):,} failures"
        if len(scene.errors) > LISTED
        else ""
    )
    each = rows_of_kind(width) if room >= 6 else 1

    def example(group: ErrorGroup) -> Choice:
        return _task(group.example)

    def lines(groups: Sequence[ErrorGroup]) -> list[list[Text]]:
        return kind_lines([_told(group) for group in groups], width, each)

    return _listed(groups, example, lines, "no failures", navigation, room, each=each, more=more)


def _told(group: ErrorGroup) -> Told:
    name = group.last.name
    return Told(group.count, group.status, group.exception, group.where, group.message, name)


def _runs(scene: Scene, navigation: Navigation, width: int, room: int, _now: float) -> Frame:
    def itself(run: RunRow) -> Choice:
        return Choice("run", run.run_id)

    def lines(runs: Sequence[RunRow]) -> list[list[Text]]:
        return [[_run_line(run, width)] for run in runs]

    more = f"the latest {LISTED:,} runs" if len(scene.runs) > LISTED else ""
    return _listed(scene.runs[:LISTED], itself, lines, "no runs yet", navigation, room, more=more)


def _task(task: TaskRow) -> Choice:
    return Choice("task", task.id)


def _failure_lines(tasks: Sequence[TaskRow], width: int) -> list[Text]:
    """Return failures with names, types and messages; a message is never shown without its type."""
    names = shortened([clean(task.name, _NAME) for task in tasks], max(width // 3, _LEAST))
    name_cells = max(map(cells, names), default=0)
    lines = []
    for task, name in zip(tasks, names, strict=True):
        line = Text().append("  ✗ ", style="red").append(name + " " * (name_cells - cells(name) + 2))
        what = Told(1, task.status, task.exception, None, "", "").what
        line.append(what, style="bold red" if task.exception else style_of(task.status))
        if task.message:
            line.append(f": {clean(task.message, 300)}", style="red")
        lines.append(fit(line, width))
    return lines


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
