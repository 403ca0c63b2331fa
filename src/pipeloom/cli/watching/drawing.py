"""Draw one screen: the scene and the user's choices as lines that fit. Pure: no file, no terminal, no clock.

::

    load  run 12  running                       flights.db     the run
    ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━  4,000/10,000  40 %          its progress
    3,990 done · 10 failed · 812/s · 4.9 s · 7.4 s left        the counts
     Running 8   Failures 10   Kinds   Runs                    the pages
      ▸ …                                                      the page, or the opened item
    q quit  ↑↓ select  ⏎ open  ⇥ next page  ? keys
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from rich.cells import cell_len
from rich.text import Text

from pipeloom.cli.formatting import style_of
from pipeloom.cli.watching import pages
from pipeloom.cli.watching.lines import fit, folded, joined, wrapped
from pipeloom.cli.watching.navigation import PAGES, Frame, Navigation
from pipeloom.cli.watching.scene import Scene
from pipeloom.cli.watching.words import summary
from pipeloom.data.text import clean
from pipeloom.show.parts import in_rows
from pipeloom.show.tasks import bar, line_of
from pipeloom.statuses import RUNNING

__all__ = ["draw"]

_HELP: Final = (
    ("q, Ctrl-C", "quit"),
    ("↑ ↓  k j", "select a task or a run"),
    ("PgUp PgDn Home End", "move by page, or to either end"),
    ("Enter", "open it: tries, traceback, last log records"),
    ("Esc, q", "go back"),
    ("Tab  ← →  1 2 3 4", "running, failures, kinds of failure, runs"),
    ("Ctrl-L", "draw the screen again"),
)


def draw(
    scene: Scene, navigation: Navigation, width: int, height: int, now: float, *, has_keys: bool = True
) -> Frame:
    """Return the content of a screen of this size.

    Args:
        scene: What was read from the file.
        navigation: What the user wants to see.
        width: Columns.
        height: Rows.
        now: The monotonic clock, in seconds; ages grow while the scene stays the same.
        has_keys: Whether keys can be pressed, and so should be listed.
    """
    if scene.trouble is not None:
        now = scene.at  # nothing is known about the time since
    head = _head(scene, width, height, now, has_keys)
    foot = [_foot(navigation, has_keys, width)]
    room = max(height - len(head) - len(foot), 0)
    if navigation.helping:
        body = Frame(_help(width))
    elif navigation.opened is not None:
        body = pages.opened(scene, navigation, width, room, now)
    else:
        tabs = [] if room < 3 else [_tabs(scene, navigation, width)]
        body = pages.page(scene, navigation, width, room - len(tabs), now)
        head += tabs
    blank = [Text()] * max(height - len(head) - len(body.lines) - len(foot), 0)
    lines = [*[*head, *body.lines, *blank][: height - 1], *foot]
    return Frame([fit(line, width) for line in lines], body.choices, body.page, body.scroll_end)


def _head(scene: Scene, width: int, height: int, now: float, has_keys: bool) -> list[Text]:
    lines = [_title(scene, width)]
    if scene.run is not None:
        lines.append(_overall(scene, width))
    lines += [line_of(row, "") for row in in_rows(summary(scene, now), width, 2 if height >= 10 else 1)]
    if scene.trouble is not None:
        stop = f" Press {'q or ' if has_keys else ''}Ctrl-C to stop."
        again = stop if scene.is_waiting else "; retrying…"
        before = "" if scene.run is None else " Showing what was last read."
        lines += _sentence("! " + scene.trouble + again + before, "bold yellow", width, height)
    elif scene.note is not None:
        lines += _sentence(scene.note, "yellow", width, height)
    return lines


def _sentence(text: str, style: str, width: int, height: int) -> list[Text]:
    # A long path is folded, not cut: its end is what distinguishes it.
    pieces = [piece for word in clean(text, 500).split(" ") for piece in folded(word, width, style)]
    return wrapped(pieces, width, 4 if height >= 16 else 2, Text(" "))


def _title(scene: Scene, width: int) -> Text:
    run, path = scene.run, clean(scene.path)
    line = Text()
    if run is None:
        line.append("no run yet", style="bold")
    else:
        if run.title:
            line.append(clean(run.title, max(width // 2, 12)), style="bold").append("  ")
        line.append(f"run {run.run_id}", style="bold").append("  ")
        line.append(clean(run.status, 20), style=style_of(run.status))
    room = width - line.cell_len - 3
    if room < 8:
        return fit(line, width)
    if cell_len(path) > room:
        path = "…" + path[1 - room :]  # the end of a path is more useful than its start
    return fit(line.append(" " * (width - line.cell_len - cell_len(path))).append(path, style="dim"), width)


def _overall(scene: Scene, width: int) -> Text:
    run = scene.run
    assert run is not None
    if run.expected is None:
        return Text(f"{run.ended:,} so far" if run.status == RUNNING else f"{run.ended:,} in all", style="bold")
    share = min(run.ended / run.expected, 1.0) if run.expected else 1.0
    tail = f" {run.ended:,}/{run.expected:,} {int(share * 100):3d} %"
    return bar(share, max(width - len(tail), 0)).append(tail, style="bold")


def _tabs(scene: Scene, navigation: Navigation, width: int) -> Text:
    counts = {
        "running": str(scene.counts.get(RUNNING, "")) if scene.is_running else "",
        "failures": f"{scene.failed:,}" if scene.failed else "",
    }
    gap = " " if width >= 50 else ""
    line = _tab_line(navigation, counts, gap)
    return line if line.cell_len <= width else fit(_tab_line(navigation, {}, gap), width)


def _tab_line(navigation: Navigation, counts: Mapping[str, str], gap: str) -> Text:
    line = Text()
    for name in PAGES:
        number = f" {counts[name]}" if counts.get(name) else ""
        line.append(f" {name.capitalize()}{number} ", style="reverse" if name == navigation.page else "dim")
        line.append(gap)
    return line


def _foot(navigation: Navigation, has_keys: bool, width: int) -> Text:
    if not has_keys:
        return fit(Text("Ctrl-C quits", style="dim"), width)
    if navigation.helping:
        hints = ["any key closes"]
    elif navigation.opened is not None:
        hints = ["Esc back", "↑↓ scroll", "? keys"]
    else:
        hints = ["q quit", "↑↓ select", "Enter open", "Tab page", "? keys"]
    return joined([Text(hint, style="dim") for hint in hints], width, Text("  "))


def _help(width: int) -> Sequence[Text]:
    lines = [Text(), Text("  Keys", style="bold")]
    for keys, what in _HELP:
        gap = 20 if width >= 60 else 0
        lines.append(fit(Text("  ").append(keys.ljust(gap), style="cyan").append("  " + what), width))
    return lines
