"""What the fault tests share: child processes, and time for a full run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from faults import tools

FULL_LIMIT_S = 3 * 3600


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All of them take seconds; a full run takes as long as it takes, each child has its own limit."""
    for item in items:
        if tools.HERE in item.path.parents:
            item.add_marker(pytest.mark.slow)
            if tools.FULL:
                item.add_marker(pytest.mark.timeout(FULL_LIMIT_S))


@pytest.fixture
def start() -> Iterator[tools.Start]:
    """Start a process in a group of its own; what is left of it at the end is killed."""
    with tools.children() as starting:
        yield starting
