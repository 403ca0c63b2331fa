"""Runs a command line of ``python -c`` as on Windows, as far as a program can tell by what is missing there.

Python's own modules and our dependencies are imported first: they look at the system they were built for.
"""

from __future__ import annotations

import asyncio  # noqa: F401
import importlib.abc
import logging.handlers  # noqa: F401
import mmap
import multiprocessing  # noqa: F401
import os
import select
import shutil  # noqa: F401
import signal
import socket
import sqlite3  # noqa: F401
import subprocess  # noqa: F401
import sys
import sysconfig
import tempfile  # noqa: F401
import uuid  # noqa: F401
import webbrowser  # noqa: F401

import click  # noqa: F401
import rich.console
import rich.live
import rich.progress  # noqa: F401

MODULES = {"curses", "fcntl", "grp", "pty", "pwd", "readline", "resource", "termios", "tty"}
MISSING = {
    os: """fork forkpty pread pwrite preadv pwritev killpg getpgid getpgrp setsid getuid geteuid register_at_fork
        sched_getaffinity statvfs mkfifo waitid WNOHANG WEXITED WNOWAIT P_PID O_CLOEXEC O_NONBLOCK O_NOFOLLOW
        O_DIRECTORY O_ACCMODE O_ASYNC SEEK_HOLE SEEK_DATA sysconf posix_spawn nice fchmod fchown chown wait
        memfd_create""",
    signal: """SIGKILL SIGHUP SIGQUIT SIGTSTP SIGCONT SIGXCPU SIGUSR1 SIGUSR2 SIGALRM SIGCHLD SIGPIPE SIGWINCH
        SIGSTOP pthread_sigmask pthread_kill setitimer alarm SIG_BLOCK SIG_SETMASK sigwait siginterrupt""",
    select: "poll epoll",
    socket: "recv_fds send_fds SCM_RIGHTS",
    mmap: "MAP_PRIVATE MAP_ANONYMOUS MAP_SHARED PROT_READ PROT_WRITE",
}


class Blocked(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name in MODULES:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


sysconfig.get_config_vars()
for module in MODULES:
    sys.modules.pop(module, None)
sys.meta_path.insert(0, Blocked())
for module, names in MISSING.items():
    for name in names.split():
        if hasattr(module, name):
            delattr(module, name)
sys.platform = "win32"
exec(sys.argv.pop(1))
