"""What is said on the queue: frozen, positional as promised, unharmed by pickle and copy."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import typing

import pytest

from pipeloom import messages
from pipeloom.messages import (
    SENTINEL,
    Msg,
    MsgExecute,
    MsgTaskFinish,
    MsgTaskFinished,
    MsgTaskProgress,
    MsgTaskStart,
    MsgTaskStarted,
    MsgWriteRows,
)

AT = "2026-01-01T00:00:00+00:00"

MESSAGES = [
    MsgTaskStarted(1, "a", AT),
    MsgTaskProgress(1, 2, 3),
    MsgTaskProgress(1, 2, 3, "half"),
    MsgTaskFinished(1, "done", AT),
    MsgTaskFinished(1, "error", AT, "text", "why"),
    MsgWriteRows("t", [{"n": 1}]),
    MsgWriteRows("t", [(1, "")], ("n", "s"), ("",), "update", ("n",)),
    MsgExecute("SELECT 1"),
    MsgExecute("SELECT ?", (1,)),
]

# The contract: names, order and defaults.
SHAPES = [
    (MsgTaskStarted, ("task_id", "name", "started_at"), {}),
    (MsgTaskProgress, ("task_id", "step", "total", "message"), {"message": ""}),
    (
        MsgTaskFinished,
        ("task_id", "status", "finished_at", "result", "message"),
        {"result": None, "message": ""},
    ),
    (
        MsgWriteRows,
        ("table", "rows", "columns", "null", "on_conflict", "conflict_on"),
        {"columns": None, "null": (), "on_conflict": "error", "conflict_on": ()},
    ),
    (MsgExecute, ("sql", "params"), {"params": ()}),
]


@pytest.mark.parametrize(("kind", "names", "defaults"), SHAPES, ids=lambda value: getattr(value, "__name__", ""))
def test_fields_are_positional_in_the_promised_order(kind, names, defaults):
    """By position as by name, with the promised defaults, and nothing else needed."""
    values = {name: f"<{name}>" for name in names}

    by_position = kind(*values.values())
    assert by_position == kind(**values)
    assert {name: getattr(by_position, name) for name in names} == values
    assert [field.name for field in dataclasses.fields(kind)][: len(names)] == list(names)
    shortest = kind(**{name: value for name, value in values.items() if name not in defaults})
    assert {name: getattr(shortest, name) for name in defaults} == defaults


@pytest.mark.parametrize("message", MESSAGES, ids=repr)
def test_a_message_is_frozen(message):
    """Neither set nor deleted, neither a field nor a new attribute."""
    name = dataclasses.fields(message)[0].name
    for attribute in (name, "new"):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(message, attribute, 2)
    with pytest.raises(dataclasses.FrozenInstanceError):
        delattr(message, name)


@pytest.mark.parametrize("message", [*MESSAGES, SENTINEL], ids=repr)
def test_a_message_survives_pickle_and_copy(message):
    """In every protocol; it stays equal, of its type, and frozen."""
    again = [pickle.loads(pickle.dumps(message, protocol)) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)]

    for other in (*again, copy.copy(message), copy.deepcopy(message)):
        assert type(other) is type(message)
        assert other == message
        assert repr(other) == repr(message)


def test_messages_compare_and_hash_by_what_they_say():
    """Equal words are one element of a set; other words, or another type, are not."""
    assert MsgTaskProgress(1, 2, 3) == MsgTaskProgress(1, 2, 3, "")
    assert len({MsgTaskProgress(1, 2, 3), MsgTaskProgress(1, 2, 3), MsgTaskProgress(1, 2, 4)}) == 2
    assert MsgTaskStarted(1, "a", AT) != MsgTaskFinished(1, "a", AT)


def test_a_changed_message_is_a_new_one():
    """``dataclasses.replace`` works although the constructors are our own."""
    before = MsgTaskFinished(1, "done", AT, "r", "m")
    after = dataclasses.replace(before, status="error", result=None)

    assert after == MsgTaskFinished(1, "error", AT, None, "m")
    assert before.status == "done"


def test_rows_of_an_iterator_can_be_sent_on():
    """A generator cannot be pickled; what it says can."""
    message = MsgWriteRows("t", ({"n": n} for n in range(2)))
    again = pickle.loads(pickle.dumps(message))

    assert list(again.rows) == list(message.rows) == [{"n": 0}, {"n": 1}]


def test_sentinel_is_one_object_everywhere():
    """``is SENTINEL`` holds after any way through a process boundary, in a container too."""
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        assert pickle.loads(pickle.dumps(SENTINEL, protocol)) is SENTINEL
        assert pickle.loads(pickle.dumps([SENTINEL], protocol))[0] is SENTINEL
    assert copy.copy(SENTINEL) is SENTINEL
    assert copy.deepcopy([SENTINEL])[0] is SENTINEL
    assert repr(SENTINEL) == "SENTINEL"


def test_old_names_are_the_same_classes():
    """Aliases, so that isinstance does not care which name was used."""
    assert MsgTaskStart is MsgTaskStarted
    assert MsgTaskFinish is MsgTaskFinished


def test_msg_is_the_union_of_all_that_may_be_said():
    """A message type that is added is added to the union."""
    classes = {
        value for name, value in vars(messages).items() if name.startswith("Msg") and isinstance(value, type)
    }

    assert set(typing.get_args(Msg)) == {*classes, type(SENTINEL)}
    assert all(isinstance(message, Msg) for message in [*MESSAGES, SENTINEL])
