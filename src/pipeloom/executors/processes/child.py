"""A worker process, from start to end.

::

    a separate thread: receives chunks and answers, and watches whether the run's process is still alive
    the main thread: boot ▸ hello ▸ perform the tasks, in order ▸ leave

Tasks run in the main thread, as in a program of their own, so signals and code that needs the main thread work.
"""

from __future__ import annotations

import faulthandler
import fcntl
import logging
import os
import queue
import signal
import socket
import sys
import threading
from contextlib import ExitStack
from time import monotonic
from typing import Final

from pipeloom.data import stopwatch
from pipeloom.data.text import describe, storable
from pipeloom.executors.processes.child_link import PipeLink, SentTask
from pipeloom.executors.processes.page import WHERE, Page
from pipeloom.executors.processes.parcels import Answer, Boot, Chunk, Leave, read
from pipeloom.executors.processes.pipe import Pipe
from pipeloom.executors.processes.words import ChunkEnded, Delivered, Hello, Warned
from pipeloom.executors.remote.calls import Call
from pipeloom.executors.remote.forms import encode
from pipeloom.executors.remote.outcomes import ended
from pipeloom.executors.remote.program import load, load_packed
from pipeloom.executors.remote.raised import failure_of
from pipeloom.worker.current import CallerContext
from pipeloom.worker.local import WorkerLocal
from pipeloom.worker.logs import keeping_logs
from pipeloom.worker.perform import end_of_fork, failed_before, perform

__all__ = ["run"]

_TICK_S: Final = 0.05


def run(pipe: int, page: int, last_words: int, alive: int, parent: int) -> None:
    """Run the worker process.

    Args:
        pipe: The file descriptor of its end of the pipe.
        page: The descriptor of the shared memory.
        last_words: The descriptor of the file in which faulthandler writes where the task was.
        alive: The descriptor of a pipe whose other end only the run's process has.
        parent: The process id of the run's process.
    """
    _end_with(alive)
    faulthandler.enable(last_words, all_threads=False)
    faulthandler.register(WHERE, last_words, all_threads=False)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the run handles it, and tells its workers
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(line_buffering=True)  # the output of a task must not be lost if it is killed
    ours = Page(page)
    os.close(page)
    end = socket.socket(fileno=pipe)
    end.set_inheritable(False)
    _Worker(Pipe(end), ours, parent).live()


def _end_with(alive: int) -> None:
    """Have the kernel kill this process group when the run's process ends, whatever Python is doing.

    C code may block all Python threads for a long time. On systems other than Linux, the receiving thread does
    this.

    Source: https://man7.org/linux/man-pages/man2/fcntl.2.html (F_SETSIG)
    """
    if hasattr(fcntl, "F_SETSIG"):
        fcntl.fcntl(alive, fcntl.F_SETOWN, -os.getpgrp())
        fcntl.fcntl(alive, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(alive, fcntl.F_SETFL, fcntl.fcntl(alive, fcntl.F_GETFL) | os.O_ASYNC)


class _Worker:
    """The state of the process.

    Args:
        pipe: The pipe to the run.
        page: The memory shared with the run.
        parent: The process id of the run's process.
    """

    def __init__(self, pipe: Pipe, page: Page, parent: int) -> None:
        self._pipe = pipe
        self._page = page
        self._parent = parent
        self._pid = os.getpid()
        self._inbox: queue.SimpleQueue[Boot | Chunk | Leave] = queue.SimpleQueue()
        self._link = PipeLink(pipe, page)
        self._task: SentTask | None = None  # the task that was started last

    def live(self) -> None:
        """Boot, work, leave."""
        os.register_at_fork(after_in_child=self._orphan)
        threading.Thread(target=self._receive, name="pipeloom-receiver", daemon=True).start()
        boot = self._inbox.get()
        assert isinstance(boot, Boot)
        with ExitStack() as stack:
            try:
                self._boot(boot, stack)
            except BaseException as error:  # noqa: BLE001 - importing the program may raise anything
                self._link.send(failure_of(error))
                return
            self._link.send(Hello())
            self._work()
            self._leave(stack)

    def _boot(self, boot: Boot, stack: ExitStack) -> None:
        self._program = boot.program
        boot.program.enter()
        logging.getLogger().setLevel(boot.level)
        function, retry, local = load_packed(boot.packed, boot.program)
        self._link.brief = boot.brief._replace(function=function, retry=retry)
        self._link.kinds = boot.kinds
        if boot.keeps_logs:
            stack.enter_context(keeping_logs())
        self._local = WorkerLocal(local)
        self._local.value()
        self._surroundings = CallerContext(self._link)

    def _leave(self, stack: ExitStack) -> None:
        try:
            self._local.close()
        except BaseException as error:  # noqa: BLE001 - foreign code: what the tasks did is stored nevertheless
            self._link.send(Warned(storable(f"local= raised when its worker ended: {describe(error)}")))
        stack.close()

    # --- work ---

    def _work(self) -> None:
        while isinstance(chunk := self._inbox.get(), Chunk):
            began = monotonic()
            tasks = self._perform_all(chunk)
            self._link.send(ChunkEnded(chunk.number, tasks, monotonic() - began))

    def _perform_all(self, chunk: Chunk) -> int:
        """Perform the tasks of a chunk that may start; return how many there were."""
        page, half = self._page, chunk.number % 2
        for count, call in enumerate(chunk.calls):
            serial = chunk.first + count
            may_begin = page.begin(serial, monotonic())
            if may_begin:
                self._perform(serial, call, half)
            page.end(serial)
            if not may_begin:
                return count
        return len(chunk.calls)

    def _perform(self, serial: int, call: Call, half: int) -> None:
        link = self._link
        item, task_id, key, name, attempt, uncounted, seen_before, state = call
        task = SentTask(item, task_id, key, name, serial, link)
        task.attempt, task.uncounted, task.seen_before, task.state = attempt, uncounted, seen_before, state
        task.local = self._local.value()
        self._task = task
        try:
            if type(item) is bytes:
                task.item = load(item, self._program)
        except BaseException as error:  # noqa: BLE001 - foreign code
            outcome = failed_before(task, link, error, "the input cannot be read in a worker process")
        else:
            outcome = self._surroundings.copy().run(perform, task, link)
        if os.getpid() != self._pid:
            end_of_fork(outcome)
        word, luggage = ended(task, serial, link.said, name, outcome)
        data = encode(word)
        if luggage or not self._page.put(half, data):
            link.send(Delivered(data), luggage)

    # --- the thread that receives ---

    def _receive(self) -> None:
        """Receive what the run sends; when the run is gone, kill the whole process group."""
        try:
            while True:
                for message in self._pipe.receive(_TICK_S):
                    what = read(message.body)
                    if isinstance(what, Answer):
                        self._link.answered(*what)
                    else:
                        self._inbox.put(what)
                stopwatch.look()
                self._link.cancelling = self._page.is_cancelling
                if (task := self._task) is not None:
                    task.show_progress()
                if os.getppid() != self._parent:
                    break
        except (EOFError, OSError):
            pass
        os.killpg(0, signal.SIGKILL)

    def _orphan(self) -> None:
        """Detach a forked child from the run: only the worker process itself communicates with it."""
        self._page.orphan()
        self._pipe.close()
        if self._task is not None:
            self._task.orphan()
