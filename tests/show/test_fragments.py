"""Parts of a page about a run."""

from __future__ import annotations

import pytest

from pipeloom.show.fragments import when


@pytest.mark.parametrize(
    "at",
    ["2026-01-31T12:00:00.500+00:00", "2026-01-31T12:00:00Z", "2026-01-31T14:00:00+02:00", "2026-01-31 12:00:00"],
)
def test_an_instant_is_shown_in_utc(at):
    """Whatever zone it names; without one it is UTC."""
    assert when(at) == f'<time datetime="{at}">2026-01-31 12:00:00 UTC</time>'
    assert when(at, zone=False) == f'<time datetime="{at}">2026-01-31 12:00:00</time>'


@pytest.mark.parametrize(("at", "shown"), [("<soon>", "&lt;soon&gt;"), ("", ""), (None, "")])
def test_what_is_no_instant_stays_as_it_is(at, shown):
    """A worker may have sent anything; nobody says that it is UTC."""
    assert when(at) == shown
