"""Servers and runs that end with their test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from .serving import GatedRun, Server


@pytest.fixture
def serve() -> Iterator[Callable[..., Server]]:
    """Serve a database file."""
    with ExitStack() as stack:

        def begin(db: Any, **options: Any) -> Server:
            server = Server(db, **options)
            stack.callback(server.stop)
            return server

        yield begin


@pytest.fixture
def gated() -> Iterator[Callable[..., GatedRun]]:
    """Begin a run whose tasks wait to be let go."""
    with ExitStack() as stack:

        def begin(*args: Any, **options: Any) -> GatedRun:
            run = GatedRun(*args, **options)
            stack.callback(run.finish)
            return run

        yield begin
