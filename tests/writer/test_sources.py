"""The source of the writer's messages: our own channel, or a queue that the user passed."""

from __future__ import annotations

import queue

import pytest

from pipeloom.errors import WriterBrokenError
from pipeloom.messages import SENTINEL
from pipeloom.writer.channel import Channel
from pipeloom.writer.sources import source_of
from writer.crew import LONG_S, await_blocked, filled

kinds = pytest.mark.parametrize("kind", [Channel, queue.Queue], ids=["Channel", "queue.Queue"])


class Mine(queue.Queue):
    """A queue of a user's own class."""


# --- what both have in common ---


@kinds
def test_everything_is_taken_at_once_and_settled_together(kind):
    """``take`` and ``settle`` treat both kinds alike."""
    source = filled(kind, 5)

    assert source_of(source).take(LONG_S) == [0, 1, 2, 3, 4]
    assert source_of(source).take(0) == []
    assert source_of(source).take(0.01) == []
    source_of(source).settle(5)
    source.join()


@kinds
def test_taking_wakes_everyone_who_waits_for_room(kind, crew):
    """One take frees the room of all that it took."""
    source = filled(kind, 4)
    crew.start(lambda: source.put(9), 4)
    await_blocked(source, 4)
    taken = source_of(source).take(LONG_S)
    crew.end()

    assert (taken + source_of(source).take(0)).count(9) == 4


@pytest.mark.parametrize("kind", [Channel, queue.Queue, Mine, queue.PriorityQueue])
def test_what_is_asked_comes_through_the_same_way(kind):
    """Whoever asks need not know what it is."""
    source = source_of(kind())
    source.put(1)

    assert source.take(0) == [1]


def test_only_our_own_channel_ends_with_the_writer():
    """It returns what nobody will take; producers of a user's queue go on, and must not hang on a full one."""
    channel = filled(Channel, 2)
    assert source_of(channel).abort(OSError("gone")) == [0, 1]
    assert not source_of(channel).outlives_the_writer
    with pytest.raises(WriterBrokenError, match="gone"):
        channel.put(2)

    for kind in (queue.Queue, Mine):
        theirs = filled(kind, 2)
        assert source_of(theirs).abort(OSError("gone")) == []
        assert source_of(theirs).outlives_the_writer
        assert theirs.qsize() == 2


# --- a user's own queue ---


def test_what_was_found_behind_the_end_is_given_back():
    """To the front, in order, still unfinished; our own channel keeps what it was given."""
    source = queue.Queue()
    for item in ("a", SENTINEL, "b", "c"):
        source.put(item)
    items = source_of(source).take(0)
    source.put("d")

    assert source_of(source).give_back(items[2:]) == 2
    source_of(source).settle(2)
    assert [source.get_nowait() for _ in range(3)] == ["b", "c", "d"]
    assert source.unfinished_tasks == 3
    assert source_of(source).give_back([]) == 0
    assert source_of(Channel()).give_back(["x"]) == 0


def test_what_is_given_back_wakes_who_waits_for_it(crew):
    """Another consumer of the user's queue may be asleep."""
    source = queue.Queue()
    source.put("x")
    items = source_of(source).take(0)
    crew.start(lambda: source.get(timeout=LONG_S))
    source_of(source).give_back(items)

    assert crew.end() == ["x"]


def test_a_flooded_queue_is_taken_in_parts():
    """At most 8,192 at a time, so that one batch stays bounded."""
    source = filled(queue.Queue, 20_000)
    parts = []
    while part := source_of(source).take(0):
        parts.append(part)

    assert [item for part in parts for item in part] == list(range(20_000))
    assert max(map(len, parts)) <= 8192


@pytest.mark.parametrize(
    ("kind", "order"), [(queue.PriorityQueue, [1, 2, 3]), (queue.LifoQueue, [2, 1, 3])], ids=lambda k: str(k)
)
def test_a_queue_with_an_order_of_its_own_keeps_it(kind, order):
    """It is asked item by item."""
    source = kind()
    for item in (3, 1, 2):
        source.put(item)

    assert source_of(source).take(0) == order
    source_of(source).settle(3)


def test_a_queue_of_a_users_class_is_not_read_past_the_end():
    """Nothing could be given back to it."""
    source = Mine()
    for item in ("a", SENTINEL, "b"):
        source.put(item)

    assert source_of(source).take(0) == ["a", SENTINEL]
    assert source.get_nowait() == "b"
    assert source_of(source).take(0.01) == []
