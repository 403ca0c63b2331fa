"""``pipeloom.messages``."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import pickle
import queue
import subprocess
import sys
from typing import get_args

import pytest

from pipeloom import messages
from pipeloom.messages import SENTINEL, Msg, MsgTaskFinished, MsgTaskProgress, MsgTaskStarted

AT = "2026-01-31T12:00:00+00:00"
NO_DEFAULT = inspect.Parameter.empty

PROMISED = {
    MsgTaskStarted: {"task_id": NO_DEFAULT, "name": NO_DEFAULT, "started_at": NO_DEFAULT},
    MsgTaskProgress: {"task_id": NO_DEFAULT, "step": NO_DEFAULT, "total": NO_DEFAULT, "message": ""},
    MsgTaskFinished: {
        "task_id": NO_DEFAULT,
        "status": NO_DEFAULT,
        "finished_at": NO_DEFAULT,
        "result": None,
        "message": "",
    },
}
EVERY_MESSAGE = [
    MsgTaskStarted(1, "load", AT),
    MsgTaskProgress(1, 2, 3),
    MsgTaskProgress(1, 2, 3, "rows"),
    MsgTaskFinished(1, "done", AT),
    MsgTaskFinished(1, "error", AT, "text", "why"),
    MsgTaskFinished(1, "cancelled", AT, None, "told to"),
]


@pytest.mark.parametrize("kind", PROMISED, ids=lambda kind: kind.__name__)
def test_fields_come_in_the_promised_order_with_the_promised_defaults(kind):
    """Positionally; whatever else there is, is keyword-only and has a default."""
    parameters = inspect.signature(kind).parameters
    positional = {
        name: parameter.default
        for name, parameter in parameters.items()
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD
    }

    assert dataclasses.is_dataclass(kind)
    assert list(positional.items()) == list(PROMISED[kind].items())
    assert [field.name for field in dataclasses.fields(kind)][: len(positional)] == list(positional)
    for name in set(parameters) - set(positional):
        assert parameters[name].kind is inspect.Parameter.KEYWORD_ONLY
        assert parameters[name].default is not NO_DEFAULT


def test_positional_and_keyword_construction_agree():
    """Both ways make equal messages that hold what was given."""
    assert MsgTaskStarted(7, "n", AT) == MsgTaskStarted(task_id=7, name="n", started_at=AT)
    assert MsgTaskProgress(7, 1, 2, "m") == MsgTaskProgress(task_id=7, step=1, total=2, message="m")
    said = MsgTaskFinished(7, "done", AT, "r", "m")
    assert said == MsgTaskFinished(task_id=7, status="done", finished_at=AT, result="r", message="m")
    assert (said.task_id, said.status, said.finished_at, said.result, said.message) == (7, "done", AT, "r", "m")


@pytest.mark.parametrize("message", EVERY_MESSAGE, ids=repr)
def test_a_message_cannot_be_changed(message):
    """Setting, adding or deleting a field raises FrozenInstanceError."""
    for name in ("task_id", "something_new"):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(message, name, 5)
    with pytest.raises(dataclasses.FrozenInstanceError):
        del message.task_id
    assert message.task_id == 1


@pytest.mark.parametrize("message", EVERY_MESSAGE, ids=repr)
def test_a_message_survives_pickle(message):
    """In every protocol, equal and of the same class."""
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        again = pickle.loads(pickle.dumps(message, protocol))
        assert type(again) is type(message)
        assert again == message
        assert again.__dict__ == message.__dict__


def test_a_message_behaves_like_any_dataclass():
    """replace, asdict, hash and match work."""
    said = MsgTaskProgress(1, 2, 3, "m")

    assert dataclasses.replace(said, step=3) == MsgTaskProgress(1, 3, 3, "m")
    assert dataclasses.asdict(said) == {"task_id": 1, "step": 2, "total": 3, "message": "m"}
    assert {said, MsgTaskProgress(1, 2, 3, "m")} == {said}
    match said:
        case MsgTaskProgress(number, step, total, message):
            assert (number, step, total, message) == (1, 2, 3, "m")
        case _:
            pytest.fail("no match")


def test_the_sentinel_is_one_object():
    """It stays itself through pickle, copy and a queue, and is no task message."""
    source = queue.Queue()
    source.put(SENTINEL)

    assert source.get() is SENTINEL
    assert pickle.loads(pickle.dumps(SENTINEL)) is SENTINEL
    assert copy.copy(SENTINEL) is SENTINEL
    assert copy.deepcopy(SENTINEL) is SENTINEL
    assert not isinstance(SENTINEL, (MsgTaskStarted, MsgTaskProgress, MsgTaskFinished))


def test_messages_and_sentinel_cross_a_process():
    """What is pickled here is itself over there."""
    code = (
        "import pickle, sys; from pipeloom.messages import SENTINEL, MsgTaskFinished; "
        "end, last = pickle.load(sys.stdin.buffer); "
        f"sys.exit(not (end is SENTINEL and last == MsgTaskFinished(1, 'error', {AT!r}, 'text', 'why')))"
    )
    given = pickle.dumps((SENTINEL, EVERY_MESSAGE[4]))

    assert subprocess.run([sys.executable, "-c", code], input=given, check=False).returncode == 0


def test_msg_is_the_union_of_what_may_be_on_the_queue():
    """All three messages and the sentinel are of it, other things are not."""
    assert {MsgTaskStarted, MsgTaskProgress, MsgTaskFinished} <= set(get_args(Msg))
    for message in (*EVERY_MESSAGE, SENTINEL):
        assert isinstance(message, Msg)
    assert not isinstance("text", Msg)
    assert {"Msg", "SENTINEL", "MsgTaskStarted", "MsgTaskProgress", "MsgTaskFinished"} <= set(messages.__all__)
