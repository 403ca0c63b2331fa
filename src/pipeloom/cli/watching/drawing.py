"""One screenful: from a snapshot and a view to lines that fit a size. Pure: no file, no terminal, no clock.

::

    load  run 12  running                       flights.db     what runs
    ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━  4,000/10,000  40 %          how far it is
    3,990 done · 10 failed · 812/s · 4.9 s · 7.4 s left        the counts
     Running 8   Failures 10   Errors   Runs                   the pages
      ▸ …                                                      the page, or what was opened
    q quit  ↑↓ select  ⏎ open  ⇥ next page  ? keys
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rich.cells import cell_len
from rich.text import Text

from pipeloom.cli.formatting import style_of
from pipeloom.cli.watching import pages
from pipeloom.cli.watching.lines import fit, joined, wrapped
from pipeloom.cli.watching.snapshot import Snapshot
from pipeloom.cli.watching.view import PAGES, Frame, View
from pipeloom.cli.watching.words import summary
from pipeloom.data.text import clean
from pipeloom.show.screen import bar
from pipeloom.statuses import RUNNING

__all__ = ["draw"]

_HELP: Final = (
    ("q, Ctrl-C", "quit"),
    ("↑ ↓  k j", "select a task or a run"),
    ("PgUp PgDn Home End", "select further away"),
    ("Enter", "open it: tries, traceback, last log records"),
    ("Esc, q", "go back"),
    ("Tab  ← →  1 2 3 4", "running, failures, errors grouped, runs"),
    ("Ctrl-L", "draw the screen again"),
)


def draw(snapshot: Snapshot, view: View, width: int, height: int, now: float, *, has_keys: bool = True) -> Frame:
    """Return what stands on a screen of this size.

    Args:
        snapshot: What there is.
        view: What the viewer wants to see.
        width: Columns.
        height: Rows.
        now: The monotonic clock: ages go on while the snapshot stays the same.
        has_keys: Whether keys can be pressed, and are worth naming.
    """
    if snapshot.trouble is not None:
        now = snapshot.at  # nothing is known of the time since
    head = _head(snapshot, width, height, now)
    foot = [_foot(view, has_keys, width)]
    room = max(height - len(head) - len(foot), 0)
    if view.helping:
        body = Frame(_help(width))
    elif view.opened is not None:
        body = pages.opened(snapshot, view, width, room, now)
    else:
        tabs = [] if room < 3 else [_tabs(snapshot, view, width)]
        body = pages.page(snapshot, view, width, room - len(tabs), now)
        head += tabs
    blank = [Text()] * max(height - len(head) - len(body.lines) - len(foot), 0)
    lines = [*[*head, *body.lines, *blank][: height - 1], *foot]
    return Frame([fit(line, width) for line in lines], body.choices, body.page, body.scroll_end)


def _head(snapshot: Snapshot, width: int, height: int, now: float) -> list[Text]:
    lines = [_title(snapshot, width)]
    if snapshot.run is not None:
        lines.append(_overall(snapshot, width))
    parts = [Text(words, style=style) for words, style in summary(snapshot, now)]
    lines += wrapped(parts, width, 2 if height >= 10 else 1)
    if snapshot.trouble is not None:
        again = "" if snapshot.trouble.endswith("…") else "; trying again…"
        before = "" if snapshot.run is None else " Below is what was read last."
        lines += _sentence("! " + snapshot.trouble + again + before, "bold yellow", width, height)
    elif snapshot.note is not None:
        lines += _sentence(snapshot.note, "yellow", width, height)
    return lines


def _sentence(text: str, style: str, width: int, height: int) -> list[Text]:
    words = [Text(word, style=style) for word in clean(text, 500).split(" ")]
    return wrapped(words, width, 3 if height >= 16 else 2, Text(" "))


def _title(snapshot: Snapshot, width: int) -> Text:
    run, path = snapshot.run, clean(snapshot.path)
    line = Text()
    if run is None:
        line.append("no run yet", style="bold")
    else:
        if run.pipeline:
            line.append(clean(run.pipeline, max(width // 2, 12)), style="bold").append("  ")
        line.append(f"run {run.run_id}", style="bold").append("  ")
        line.append(clean(run.status, 20), style=style_of(run.status))
    room = width - line.cell_len - 3
    if room < 8:
        return fit(line, width)
    if cell_len(path) > room:
        path = "…" + path[1 - room :]  # the end of a path says more than its beginning
    return fit(line.append(" " * (width - line.cell_len - cell_len(path))).append(path, style="dim"), width)


def _overall(snapshot: Snapshot, width: int) -> Text:
    run = snapshot.run
    assert run is not None
    if run.expected is None:
        return Text(f"{run.ended:,} so far" if run.status == RUNNING else f"{run.ended:,} in all", style="bold")
    share = min(run.ended / run.expected, 1.0) if run.expected else 1.0
    tail = f"  {run.ended:,}/{run.expected:,} {int(share * 100):3d} %"
    return fit(Text().append_text(bar(share, max(width - len(tail), 0))).append(tail, style="bold"), width)


def _tabs(snapshot: Snapshot, view: View, width: int) -> Text:
    counts = {
        "running": str(snapshot.counts.get(RUNNING, "")) if snapshot.is_running else "",
        "failures": f"{snapshot.failed:,}" if snapshot.failed else "",
    }
    for counted in (True, False):
        line = Text()
        for name in PAGES:
            number = f" {counts[name]}" if counted and counts.get(name) else ""
            line.append(f" {name.capitalize()}{number} ", style="reverse" if name == view.page else "dim")
            line.append(" " if width >= 50 else "")
        if line.cell_len <= width:
            break
    return fit(line, width)


def _foot(view: View, has_keys: bool, width: int) -> Text:
    if not has_keys:
        return fit(Text("Ctrl-C quits", style="dim"), width)
    if view.helping:
        hints = ["any key goes back"]
    elif view.opened is not None:
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
