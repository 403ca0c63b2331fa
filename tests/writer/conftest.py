"""What the tests of channel and sources share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from writer.crew import Crew


@pytest.fixture
def crew() -> Iterator[Crew]:
    """Threads that have ended when the test has."""
    crew = Crew()
    yield crew
    crew.end()
