"""The live screen: one thread reads the file, the main thread draws and handles keys.

So neither a lock nor a slow disk delays a key.
"""

from __future__ import annotations

import threading
from collections import deque
from pathlib import Path
from time import monotonic
from typing import Final

from pipeloom.cli.watching.drawing import draw
from pipeloom.cli.watching.navigation import Navigation, press
from pipeloom.cli.watching.scene import Scene
from pipeloom.cli.watching.terminal import Terminal
from pipeloom.cli.watching.watcher import Want, Watcher

__all__ = ["watch_live"]

_TICK_S: Final = 0.25
_SOON_S: Final = 0.02  # wait for keys while a requested page is being read
_PATIENCE_S: Final = 0.5  # longest wait for a requested page


class Reading:
    """Reads the file in its own thread, four times a second and whenever the request changes.

    The thread is a daemon: waiting for a lock or a disk must not keep the program from exiting, and it only reads.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._wanted = threading.Event()
        self._over = False
        self._want = Want()
        self.latest: tuple[Want | None, Scene] = (None, Scene(str(path)))
        self.failed: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="pipeloom-watch", daemon=True)
        self._thread.start()

    def want(self, want: Want) -> None:
        """Set what to read; returns at once."""
        if want != self._want:
            self._want = want
            self._wanted.set()

    def close(self) -> None:
        """Stop; waits only briefly for the thread."""
        self._over = True
        self._wanted.set()
        self._thread.join(_TICK_S)

    def _run(self) -> None:
        try:
            with Watcher(self._path) as watcher:
                while not self._over:
                    want = self._want
                    self.latest = (want, watcher.look(want))
                    self._wanted.wait(_TICK_S)
                    self._wanted.clear()
        except BaseException as error:  # noqa: BLE001 - re-raised in the drawing thread
            self.failed = error


def watch_live(path: Path) -> None:
    """Watch a file on this process's terminal until the user quits; call in the main thread.

    Raises:
        Ended: A signal asked the program to end.
        OSError: The terminal is gone.
    """
    reading = Reading(path)
    try:
        with Terminal() as terminal:
            _watch(reading, terminal)
    finally:
        reading.close()


def _watch(reading: Reading, terminal: Terminal) -> None:
    navigation, want, asked_at = Navigation(), Want(), monotonic()
    pending: deque[str] = deque()
    while not navigation.over:
        width, height = terminal.size()
        wanted = Want(navigation.page, navigation.opened, max(height, 10))
        if wanted != want:
            want, asked_at = wanted, monotonic()
            reading.want(want)
        if reading.failed is not None:
            raise reading.failed
        answered, scene = reading.latest
        frame = draw(scene, navigation, width, height, monotonic(), has_keys=terminal.has_keys)
        # A key must act on the page the user expects: fast typing waits until the new page has been read.
        settled = answered == want or monotonic() - asked_at > _PATIENCE_S
        if pending and settled:
            key = pending.popleft()
            if key == "redraw":
                terminal.redraw()
            else:
                navigation = press(navigation, key, frame)
            continue
        terminal.show(frame.lines)
        pending += terminal.keys(_TICK_S if settled else _SOON_S)
