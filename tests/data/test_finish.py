"""A worker's own word on how its task ended."""

from __future__ import annotations

import pytest

from pipeloom import LedgerError, MsgTaskFinished
from pipeloom.data.finish import judged

AT = "2026-01-01T00:00:00+00:00"


def test_what_can_be_stored_is_kept_as_it_is():
    """Text is text, also as a result."""
    assert judged(MsgTaskFinished(1, "done", AT, "not JSON", "m")) == ("done", "m", "not JSON", AT)
    assert judged(MsgTaskFinished(1, "cancelled", AT)) == ("cancelled", "", None, AT)


def test_what_was_not_said_is_nothing():
    """And not the text "None"."""
    assert judged(MsgTaskFinished(1, "done", None, None, None)) == ("done", None, None, None)


def test_the_rest_becomes_text():
    """Results become JSON, others what they look like; without what SQLite cannot hold."""
    assert judged(MsgTaskFinished(1, "error", 5, {"a": [1]}, OSError("no"))) == ("error", "no", '{"a":[1]}', "5")
    assert judged(MsgTaskFinished(1, "done", AT, "\ud800", "\ud800")) == ("done", "\\ud800", "\\ud800", AT)


@pytest.mark.parametrize("status", ["running", "timed_out", "", None, [], "DONE"])
def test_a_task_ends_only_as_tasks_do(status):
    """The sentence names what it may say."""
    with pytest.raises(LedgerError, match='as "done", "error" or "cancelled", not '):
        judged(MsgTaskFinished(1, status, AT))


def test_a_result_that_is_not_json_is_refused():
    """With why."""
    with pytest.raises(LedgerError, match="the result cannot be stored: "):
        judged(MsgTaskFinished(1, "done", AT, object()))
