"""The screen of a real pseudo-terminal, drawn as SVG."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

if TYPE_CHECKING:
    import pyte

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from pseudoterminal import PseudoTerminal  # noqa: E402

_NAMES = {"brown": "yellow", "brightblack": "bright_black", "brightbrown": "bright_yellow"}


# Background, foreground, the eight colours and their bright variants: each with a contrast of at least 4.5 to 1 on
# its background, except black, and bright black, which is used only for lines.
_LIGHT = ["24292f", "c01c28", "116e32", "8b5c00", "095cb5", "823ca0", "066c78", "57606a"]
_DARK = ["484f58", "ff7b72", "56d364", "e3b341", "79b8ff", "d2a8ff", "76e3ea", "b1bac4"]
_BRIGHT = ["6e7681", "ffa198", "7ee787", "f2cc60", "a5d6ff", "e2c5ff", "b3f0ff", "f0f6fc"]


def _rgb(*colours: str) -> list[tuple[int, int, int]]:
    return [(int(text[:2], 16), int(text[2:4], 16), int(text[4:], 16)) for text in colours]


# Each with a contrast of at least 4.5 to 1 on its background, except black, and bright black, used only for lines.
_THEMES = {
    "light": TerminalTheme(*_rgb("fafafa", "24292f"), _rgb(*_LIGHT), _rgb("8c959f", *_LIGHT[1:7], "24292f")),
    "dark": TerminalTheme(*_rgb("161b22", "d9e0e7"), _rgb(*_DARK), _rgb(*_BRIGHT)),
}


def record(
    command: list[str], moment: Callable[[str], bool] | None, name: str, *, cwd: Path, columns: int, rows: int
) -> None:
    """Draw a command's screen at a given moment (recognised by its text), or at the end; the command is then ended.

    Args:
        command: The command.
        moment: Returns whether this is the moment.
        name: The pictures are ``name-light.svg`` and ``name-dark.svg``.
        cwd: Where to start the command.
        columns: Columns of the terminal.
        rows: Rows of the terminal.
    """
    with PseudoTerminal(
        command, columns=columns, rows=rows, cwd=cwd, env={"PYTHONPATH": str(ROOT / "src")}
    ) as there:
        if moment is None:
            there.finish(120)
        else:
            there.until(moment, 120)
        picture = _text(there.screen)
    draw(picture, name, columns, command)


def draw(picture: Text, name: str, columns: int, command: list[str]) -> None:
    """Write styled text as SVG, light and dark."""
    console = Console(record=True, width=columns, file=open(os.devnull, "w"), force_terminal=True)  # noqa: SIM115
    console.print(picture)  # and an extra line, or the last one is cut off at the bottom
    shown = [word for word in command if word not in ("-m", "-c")]
    shown[0] = "python" if command[1] != "-m" else ""
    for scheme, theme in _THEMES.items():
        svg = console.export_svg(
            title=" ".join(filter(None, shown)), theme=theme, clear=False, unique_id=f"{name}-{scheme}"
        )
        # No font is loaded from elsewhere: the viewer's own monospace font is used.
        svg = re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL)
        if scheme == "light":
            svg = svg.replace("rgba(255,255,255,0.35)", "rgba(0,0,0,0.25)")  # the window's frame
        (HERE / f"{name}-{scheme}.svg").write_text(svg)


def _text(screen: pyte.Screen) -> Text:
    text = Text()
    used = max((y for y, line in screen.buffer.items() if any(c.data.strip() for c in line.values())), default=0)
    for y in range(used + 1):
        cells = [screen.buffer[y][x] for x in range(screen.columns)]
        for style, alike in groupby(cells, _style):
            text.append("".join(cell.data for cell in alike), style=style)
        text.append("\n")
    return text


def _style(cell: pyte.screens.Char) -> str:
    colour = _NAMES.get(cell.fg, cell.fg)
    if re.fullmatch("[0-9a-f]{6}", colour):
        colour = "#" + colour
    elif colour.startswith("bright") and "_" not in colour:
        colour = colour.replace("bright", "bright_")
    return " ".join(["bold"] * cell.bold + ["reverse"] * cell.reverse + [colour])
