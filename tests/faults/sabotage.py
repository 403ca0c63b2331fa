"""What a task does to its own worker process: it lets it die, lie, or repeat itself at one point of what it says.

It replaces methods of the classes by which a worker speaks, in this process alone; the run knows nothing of it.
"""

from __future__ import annotations

import os
import pickle
import random
import signal
from collections.abc import Callable
from itertools import product
from typing import Any

from faults.bait import Bait
from pipeloom.executors.processes.page import Page
from pipeloom.executors.processes.pipe import Pipe

__all__ = ["POINTS", "arm", "lie", "repeat"]

POINTS = [
    *product(("send",), range(1, 6), ("before", "within", "after")),  # the n-th word from now on
    *product(("begin", "end", "put", "show"), (1, 2), ("before", "within", "after")),
]
"""What is said, the how manieth time, and when its process ends."""

CLASSES = {"send": Pipe, "begin": Page, "end": Page, "put": Page, "show": Page}


def arm(point: tuple[str, int, str], note: Callable[[], object]) -> None:
    """Let this process end at a point."""
    name, left, when = point
    owner = CLASSES[name]
    original = getattr(owner, name)

    def explode() -> None:
        note()
        os.kill(os.getpid(), signal.SIGKILL)
        signal.pause()

    def exploding(self: Any, *arguments: Any, **options: Any) -> Any:
        nonlocal left
        left -= 1
        if left:
            return original(self, *arguments, **options)
        if when == "before":
            explode()
        if when == "within":
            _half(self, name, arguments)
            explode()
        original(self, *arguments, **options)
        explode()
        return None

    setattr(owner, name, exploding)


def _half(self: Any, name: str, arguments: tuple[Any, ...]) -> None:
    """Do the first half of something."""
    if name == "send":
        message = _as_sent(self, arguments)
        self._socket.sendall(message[: len(message) // 2 + 1])
    elif name == "put":
        half, outcome = arguments
        before = bytes(self._bytes)
        _PUT(self, half, outcome)
        written = bytes(self._bytes)
        changed = [place for place, (old, new) in enumerate(zip(before, written, strict=True)) if old != new]
        for place in changed:
            self._bytes[place] = before[place]
        for place in changed[len(changed) // 2 :]:
            self._bytes[place] = written[place]
    elif name == "show":
        self._words[6] += 1  # the version: it is being written


_PUT = Page.put
_SEND = Pipe.send


class _Recorder:
    """A socket that keeps what is sent."""

    def __init__(self) -> None:
        self.sent = bytearray()

    def sendall(self, data: Any) -> None:
        self.sent += data

    def sendmsg(self, buffers: Any, *_: Any) -> int:
        self.sent += b"".join(buffers)
        return sum(map(len, buffers))


def _as_sent(pipe: Any, arguments: tuple[Any, ...]) -> bytes:
    """Return a message as it goes through the pipe."""
    recorder = _Recorder()
    end, pipe._socket = pipe._socket, recorder
    try:
        _SEND(pipe, *arguments)
    finally:
        pipe._socket = end
    return bytes(recorder.sent)


def lie(seed: int, bait: str) -> None:
    """Let this process damage the next words, or outcomes, that it says."""
    chance = random.Random(seed)
    name = chance.choice(("send", "put", "memory", "swallow"))
    if name == "swallow":
        Page.put = lambda *_: True  # type: ignore[method-assign]
        return
    if name == "memory":
        page = _the_page()
        for _ in range(chance.choice((1, 8, 64))):
            place = chance.choice((chance.randrange(512), chance.randrange(16 * 1024 + 4096)))
            page._bytes[place] = chance.randrange(256)
        return
    owner = CLASSES[name]
    original = getattr(owner, name)
    left = chance.randrange(1, 4)

    def lying(self: Any, *arguments: Any) -> Any:
        nonlocal left
        left -= 1
        if left:
            return original(self, *arguments)
        if name == "put":
            half, outcome = arguments
            return original(self, half, _damaged(chance, outcome, bait))
        body, attached, *rest = [*arguments, (), ()][:3]
        way = chance.choice(("body", "attached", "raw", "head"))
        if way == "raw":
            self._socket.sendall(_damaged(chance, _as_sent(self, arguments), bait))
        elif way == "head":  # how much is to follow
            message = bytearray(_as_sent(self, arguments))
            message[chance.randrange(24) % len(message)] ^= 1 << chance.randrange(8)
            self._socket.sendall(message)
        elif way == "attached" and attached:
            original(self, body, [_damaged(chance, bytes(one), bait) for one in attached], *rest)
        else:
            original(self, _damaged(chance, body, bait), attached, *rest)
        return None

    setattr(owner, name, lying)


def _damaged(chance: random.Random, message: bytes, bait: str) -> bytes:
    """Return a message with bits flipped, a piece cut out or doubled, or another in its stead."""
    way = chance.choice(("flip", "flip", "flip", "cut", "double", "nest", "pickle", "noise", "empty"))
    changed = bytearray(message)
    if way == "flip":
        for _ in range(chance.choice((1, 1, 1, 5))):
            changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    elif way == "cut":
        del changed[chance.randrange(len(changed)) :]
    elif way == "double":
        place = chance.randrange(len(changed))
        changed[place:place] = changed[place : place + chance.randrange(1, 40)]
    elif way == "nest":
        changed = bytearray(b"\x91" * 100_000)
    elif way == "pickle":
        changed = bytearray(pickle.dumps(("answer", Bait(bait))))
    elif way == "noise":
        changed = bytearray(chance.randbytes(chance.randrange(1, 400)))
    else:
        changed = bytearray()
    return bytes(changed)


def _the_page() -> Page:
    import gc

    (page,) = [thing for thing in gc.get_objects() if type(thing) is Page]
    return page


_before: list[tuple[int, bytes]] = []
_is_repeating = False


def repeat() -> None:
    """Let this process say each outcome twice, and old ones again."""
    global _is_repeating
    if _is_repeating:
        return
    _is_repeating = True
    original = Page.put

    def again(self: Page, half: int, outcome: bytes) -> bool:
        said = original(self, half, outcome)
        original(self, half, outcome)
        for _, old in _before[-20:]:
            original(self, half, old)
        _before.append((half, outcome))
        return said

    Page.put = again  # type: ignore[method-assign]
