"""Take the README's picture of the terminal: run a command in a real pseudo-terminal, draw what stood there.

    python docs/pictures/make.py OUTPUT.svg COLUMNSxROWS SHARE -- COMMAND ...

SHARE says when to look, as a fraction of the frames that the run drew; 1 is the end.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import sys
import termios
from pathlib import Path

import pyte
from rich.console import Console
from rich.text import Text

_NAMES = {"brown": "yellow", "brightblack": "bright_black"}


def record(command: list[str], columns: int, rows: int) -> list[bytes]:
    """Run a command in a terminal of this size; return what it wrote, in pieces."""
    child, terminal = pty.fork()
    if child == 0:
        os.environ.update(TERM="xterm-256color", COLUMNS=str(columns), LINES=str(rows))
        os.execvp(command[0], command)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    pieces = []
    while True:
        try:
            piece = os.read(terminal, 65536)
        except OSError:  # the child has closed its side
            break
        if not piece:
            break
        pieces.append(piece)
    os.waitpid(child, 0)
    os.close(terminal)
    return pieces


def screen_after(pieces: list[bytes], columns: int, rows: int) -> pyte.Screen:
    """Return the screen as it stood after these pieces."""
    screen = pyte.Screen(columns, rows)
    stream = pyte.ByteStream(screen)
    for piece in pieces:
        stream.feed(piece)
    return screen


def as_text(screen: pyte.Screen) -> Text:
    """Return the screen as styled text."""
    text = Text()
    used = max((y for y, line in screen.buffer.items() if any(c.data.strip() for c in line.values())), default=0)
    for y in range(used + 1):
        for x in range(screen.columns):
            cell = screen.buffer[y][x]
            colour = _NAMES.get(cell.fg, cell.fg)
            if len(colour) == 6 and all(c in "0123456789abcdef" for c in colour):
                colour = "#" + colour
            style = ("bold " if cell.bold else "") + (
                colour.replace("bright", "bright_") if "_" not in colour else colour
            )
            text.append(cell.data, style=style.strip())
        text.append("\n")
    return text


def main() -> None:
    output, size, share = sys.argv[1:4]
    command = sys.argv[sys.argv.index("--") + 1 :]
    columns, rows = map(int, size.split("x"))
    pieces = record(command, columns, rows)
    until = pieces[: max(1, round(len(pieces) * float(share)))]
    console = Console(record=True, width=columns, file=open(os.devnull, "w"), force_terminal=True)  # noqa: SIM115
    console.print(as_text(screen_after(until, columns, rows)), end="")
    picture = console.export_svg(title=" ".join(Path(w).name if "/" in w else w for w in command))
    # No font is fetched from anywhere: the viewer's own monospace will do.
    Path(output).write_text(re.sub(r"@font-face \{.*?\}", "", picture, flags=re.DOTALL))


if __name__ == "__main__":
    main()
