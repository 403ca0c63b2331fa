"""A terminal's screen, as a real pseudo-terminal left it, drawn as SVG."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

if TYPE_CHECKING:
    import pyte

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from pseudoterminal import PseudoTerminal  # noqa: E402

_NAMES = {"brown": "yellow", "brightblack": "bright_black", "brightbrown": "bright_yellow"}


def record(
    command: list[str], moment: Callable[[str], bool] | None, output: Path, *, cwd: Path, columns: int, rows: int
) -> None:
    """Draw a command's screen as it stands at a moment (by its text), or at the end; the command is then ended."""
    with PseudoTerminal(
        command, columns=columns, rows=rows, cwd=cwd, env={"PYTHONPATH": str(ROOT / "src")}
    ) as there:
        if moment is None:
            there.finish(120)
        else:
            there.until(moment, 120)
        picture = _text(there.screen)
    draw(picture, output, columns, command)


def draw(picture: Text, output: Path, columns: int, command: list[str]) -> None:
    """Write styled text as SVG."""
    console = Console(record=True, width=columns, file=open(os.devnull, "w"), force_terminal=True)  # noqa: SIM115
    console.print(picture, end="")
    shown = [word for word in command if word not in ("-m", "-c")]
    shown[0] = "python" if command[1] != "-m" else ""
    svg = console.export_svg(title=" ".join(filter(None, shown)))
    # No font is fetched from anywhere: the viewer's own monospace will do.
    output.write_text(re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL))


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
