"""B5: no-op tasks on a real terminal (a pty of 40 rows and 120 columns), and without one."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from pathlib import Path

from common import Outcome, Target, Workload, main, rows, verify

PROGRAM = """
import sys, time
import pipeloom
def noop(_item):
    return None
pipeloom.map, pipeloom.console            # imports are not measured
import pipeloom.show.screen
began = time.perf_counter()
pipeloom.map(noop, range(int(sys.argv[1])), db=sys.argv[2], name="b5", workers=4)
print("seconds", time.perf_counter() - began)
"""


def _seconds(output: str) -> float:
    return float(output.rpartition("seconds ")[2].split()[0])


def check(db: Path, size: int) -> None:
    verify(rows(db, "SELECT COUNT(*) FROM task_runs WHERE status = 'done'"), [(size,)])


def on_terminal(size: int, db: Path) -> Outcome:
    child, terminal = pty.fork()
    if child == 0:
        os.environ["TERM"] = "xterm-256color"
        os.execv(sys.executable, [sys.executable, "-c", PROGRAM, str(size), str(db)])
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    output = b""
    while True:
        try:
            piece = os.read(terminal, 65536)
        except OSError:
            break
        if not piece:
            break
        output += piece
    os.waitpid(child, 0)
    os.close(terminal)
    check(db, size)
    return Outcome(size, _seconds(output.decode()))


def without(size: int, db: Path) -> Outcome:
    command = [sys.executable, "-c", PROGRAM, str(size), str(db)]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    check(db, size)
    return Outcome(size, _seconds(output))


WORKLOAD = Workload(
    name="B5",
    what="no-op tasks on a real terminal, and without one",
    size=100_000,
    tiny=200,
    variants={"on a terminal": on_terminal, "without a terminal": without},
    targets=(Target("on a terminal", "without a terminal", 1.10, figure="seconds", at_least=False),),
)

if __name__ == "__main__":
    main(WORKLOAD)
