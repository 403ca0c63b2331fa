"""The queue between workers and the writer: what it shares with ``queue.Queue``, and its own end."""

from __future__ import annotations

import queue
import threading
from itertools import count
from time import monotonic

import pytest

from pipeloom.errors import ChannelClosedError, WriterBrokenError
from pipeloom.writer.channel import Channel
from writer.crew import LONG_S, Crew, await_blocked, filled

kinds = pytest.mark.parametrize("kind", [Channel, queue.Queue], ids=["Channel", "queue.Queue"])


# --- the contract: as queue.Queue does it ---


@kinds
def test_first_in_first_out(kind):
    """One by one, in the order in which they were put."""
    source = filled(kind, 5)

    assert [source.get() for _ in range(5)] == [0, 1, 2, 3, 4]


@kinds
def test_order_holds_while_both_sides_work(kind, crew):
    """Every item arrives once; those of one producer in its order."""
    source, got = kind(3), []
    tickets = iter(range(4))

    def produce():
        who = next(tickets)
        for number in range(300):
            source.put((who, number))

    crew.start(produce, 4)
    got += [source.get(timeout=LONG_S) for _ in range(1200)]
    crew.end()

    for who in range(4):
        assert [number for sender, number in got if sender == who] == list(range(300))


@kinds
def test_a_full_one_refuses(kind):
    """At once when not allowed to wait, later when the time is up; what is in it stays."""
    source = filled(kind, 2)

    with pytest.raises(queue.Full):
        source.put(9, block=False)
    with pytest.raises(queue.Full):
        source.put_nowait(9)
    began = monotonic()
    with pytest.raises(queue.Full):
        source.put(9, timeout=0.02)
    assert 0.02 <= monotonic() - began < LONG_S
    assert [source.get(), source.get()] == [0, 1]
    source.put_nowait(9)


@kinds
def test_a_blocked_producer_goes_on_when_there_is_room(kind, crew):
    """As many as fit, no more."""
    source = filled(kind, 2)
    crew.start(lambda: source.put(9), 3)
    await_blocked(source, 3)

    got = [source.get(timeout=LONG_S) for _ in range(5)]
    crew.end()

    assert got == [0, 1, 9, 9, 9]
    assert source.empty()


@kinds
def test_the_bound_holds_whoever_waits(kind, crew):
    """However often one item is taken while many wait; our own puts without a lock, and may be over by one each."""
    source, most, producers = filled(kind, 2), 0, 8
    crew.start(lambda: [source.put(9) for _ in range(200)], producers)
    for _ in range(200 * producers + 2):
        source.get(timeout=LONG_S)
        most = max(most, source.qsize())
    crew.end()

    assert most <= 2 + (producers if kind is Channel else 0)
    assert source.empty()


@kinds
def test_an_empty_one_has_nothing(kind):
    """At once when not allowed to wait, later when the time is up."""
    source = kind(2)

    with pytest.raises(queue.Empty):
        source.get(block=False)
    with pytest.raises(queue.Empty):
        source.get_nowait()
    began = monotonic()
    with pytest.raises(queue.Empty):
        source.get(timeout=0.02)
    assert 0.01 <= monotonic() - began < LONG_S


@kinds
def test_a_waiting_consumer_gets_what_comes(kind, crew):
    """Without a timeout, and over and over."""
    source, taken = kind(2), threading.Semaphore(0)

    def consume():
        got = []
        for _ in range(50):
            got.append(source.get())
            taken.release()
        return got

    crew.start(consume)
    for number in range(50):
        source.put(number)
        assert taken.acquire(timeout=LONG_S)

    assert crew.end() == [list(range(50))]


@kinds
def test_it_says_how_much_is_in_it(kind):
    """``qsize``, ``empty`` and ``full``."""
    source = kind(2)
    seen = [(source.qsize(), source.empty(), source.full())]
    for number in range(2):
        source.put(number)
        seen.append((source.qsize(), source.empty(), source.full()))
    source.get()
    seen.append((source.qsize(), source.empty(), source.full()))

    assert seen == [(0, True, False), (1, False, False), (2, False, True), (1, False, False)]


@kinds
def test_join_returns_when_all_is_dealt_with(kind, crew):
    """Not when it is merely taken; at once when there was nothing."""
    kind(1).join()
    source = filled(kind, 2)
    joined = threading.Event()
    crew.start(lambda: (source.join(), joined.set()))
    for _ in range(2):
        source.get()
    source.task_done()
    assert not joined.wait(0.02)
    source.task_done()

    assert joined.wait(LONG_S)


@kinds
def test_more_cannot_be_done_than_was_put(kind):
    """It is a mistake of the consumer's, and said so."""
    source = filled(kind, 1)
    source.get()
    source.task_done()

    with pytest.raises(ValueError, match="task_done"):
        source.task_done()


# --- weights ---


def test_weights_are_what_is_bounded():
    """The sum of what waits; ``qsize`` and ``full`` speak of it."""
    channel = Channel(10)
    channel.put("a", weight=4)
    channel.put("b", weight=6)

    assert (channel.qsize(), channel.full()) == (10, True)
    with pytest.raises(queue.Full):
        channel.put_nowait("c")
    assert channel.take() == ["a", "b"]
    assert (channel.qsize(), channel.full()) == (0, False)


def test_a_heavy_item_goes_in_as_soon_as_there_is_any_room(crew):
    """However heavy. Then the channel is more than full, and the next one waits."""
    channel = Channel(10)
    channel.put("light")
    channel.put("heavy", block=False, weight=1000)
    assert channel.qsize() == 1001
    crew.start(lambda: channel.put("heavy too", weight=1000))
    await_blocked(channel, 1)

    assert channel.take() == ["light", "heavy"]
    assert channel.taken == 999
    crew.end()
    assert channel.qsize() == 1000
    channel.abort(OSError("over"))


def test_a_consumer_takes_half_the_capacity_at_once():
    """Or one item. What it has in hand is memory, too, and producers fill the other half meanwhile."""
    channel = Channel(100)
    for number in range(9):
        channel.put(number, weight=10)
    channel.put(9, weight=200)

    assert channel.take() == [0, 1, 2, 3, 4]
    assert (channel.taken, channel.qsize()) == (45, 240)
    assert channel.take() == [5, 6, 7, 8, 9]
    channel.put("light")
    assert (channel.take(), channel.taken) == (["light"], 0)


def test_get_leaves_the_weight_of_what_stays():
    """One item leaves with its own weight, so that the bound still holds."""
    channel = Channel(10)
    channel.put("a", weight=1)
    channel.put("b", weight=10)

    assert channel.get() == "a"
    assert channel.qsize() == 10
    with pytest.raises(queue.Full):
        channel.put("c", block=False, weight=2)


@pytest.mark.parametrize("maxsize", [0, -1])
def test_a_channel_is_always_bounded(maxsize):
    """There is no size that means "without end"."""
    with pytest.raises(ValueError, match="at least 1"):
        Channel(maxsize)


# --- the consumer's side ---


def test_a_flood_arrives_whole_and_in_order(crew):
    """Many producers against a consumer that keeps falling asleep for moments: the bell is never lost."""
    channel, got = Channel(16), []
    tickets = iter(range(8))

    def produce():
        who = next(tickets)
        for number in range(500):
            channel.put((who, number), weight=1 + number % 3)

    crew.start(produce, 8)
    deadline = monotonic() + LONG_S
    while len(got) < 4000:
        assert monotonic() < deadline
        got += channel.take(0.0001 if len(got) % 3 else None)
    crew.end()

    for who in range(8):
        assert [number for sender, number in got if sender == who] == list(range(500))
    assert channel.qsize() == 0


def test_a_sleeping_consumer_is_woken_by_one_item(crew):
    """Over and over; with a long timeout as with none."""
    channel = Channel()
    go = threading.Semaphore(0)

    def consume():
        got = []
        for turn in range(100):
            go.release()
            got += channel.take(None if turn % 2 else LONG_S)
        return got

    crew.start(consume)
    for number in range(100):
        assert go.acquire(timeout=LONG_S)
        channel.put(number)

    assert crew.end(LONG_S) == [list(range(100))]


def test_a_timed_out_consumer_still_gets_the_next_item():
    """The wait that ended early leaves no trace in the next one."""
    channel = Channel()
    for number in range(20):
        assert channel.take(0.001) == []
        channel.put(number)
        assert channel.take(LONG_S) == [number]
        assert channel.take(0) == []


class PausedLock:
    """A real lock; one thread is held up on the way to it, as the scheduler might hold it up."""

    def __init__(self, lock, name):
        self._lock, self._name = lock, name
        self.reached, self.go_on = threading.Event(), threading.Event()

    def __enter__(self):
        if threading.current_thread().name == self._name:
            self.reached.set()
            self.go_on.wait(LONG_S)
        return self._lock.__enter__()

    def __exit__(self, *details):
        return self._lock.__exit__(*details)


def test_a_late_ring_is_not_taken_for_the_end():
    """A producer saw the consumer asleep, and rings when it sleeps again: that is no reason to come back empty."""
    channel, got = Channel(), []
    channel._lock = lock = PausedLock(channel._lock, "late")
    late = threading.Thread(target=channel.put, args=("a",), name="late")

    def consume():
        got.extend(channel.take(None))
        try:
            got.append(channel.get(timeout=LONG_S))
        except queue.Empty:
            got.append("nothing, long before the time was up")

    consumer = threading.Thread(target=consume)
    consumer.start()
    await_asleep(channel)
    late.start()
    lock.reached.wait(1)
    channel.put("b")
    await_asleep(channel)
    lock.go_on.set()
    late.join(LONG_S)
    channel.put("c")
    consumer.join(LONG_S)

    assert got == ["a", "b", "c"]


def await_asleep(channel: Channel[str]) -> None:
    """Poll until the consumer sleeps on an empty channel."""
    deadline = monotonic() + LONG_S
    while not (channel._sleeping and channel.empty()):
        assert monotonic() < deadline, "it never slept"
        threading.Event().wait(0.001)


# --- closed: you ended it ---


def test_a_closed_channel_takes_nothing_more_and_gives_what_it_has():
    """Closing twice is fine; ``end`` says why."""
    channel = filled(Channel, 2)
    assert channel.end is None
    channel.close()
    channel.close()

    for block in (True, False):
        with pytest.raises(ChannelClosedError):
            channel.put(9, block=block)
    assert isinstance(channel.end, ChannelClosedError)
    assert channel.take() == [0, 1]
    assert channel.take() == []
    with pytest.raises(queue.Empty):
        channel.get()


def test_closing_wakes_both_sides(crew):
    """Producers hear that it is closed; the consumer, that nothing will come."""
    full, empty = filled(Channel, 1), Channel()
    crew.start(lambda: full.put(9), 3)
    await_blocked(full, 3)
    asleep = threading.Event()
    crew.start(lambda: (asleep.set(), empty.take())[1])
    assert asleep.wait(LONG_S)
    full.close()
    empty.close()
    outcomes = crew.end(1)

    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["ChannelClosedError"] * 3 + ["list"]
    assert full.take() == [0]


def test_join_waits_for_what_was_said_before_the_end(crew):
    """Closing does not deal with anything."""
    channel = filled(Channel, 1)
    channel.close()
    joined = threading.Event()
    crew.start(lambda: (channel.join(), joined.set()))

    assert not joined.wait(0.02)
    channel.task_done(len(channel.take()))
    assert joined.wait(LONG_S)


# --- broken: the other side died ---


def test_breaking_wakes_24_blocked_producers_within_a_second(crew):
    """A dead consumer with blocked producers: each hears the cause, none hangs."""
    channel = filled(Channel, 4)
    crew.start(lambda: channel.put(9), 12)
    crew.start(lambda: channel.put(9, timeout=60), 6)
    crew.start(lambda: channel.put(9, weight=100), 6)
    await_blocked(channel, 24)
    cause = OSError("disk I/O error")
    left = channel.abort(cause)
    outcomes = crew.end(1)

    assert left == [0, 1, 2, 3]
    assert [type(outcome) for outcome in outcomes] == [WriterBrokenError] * 24
    assert all(outcome.__cause__ is cause for outcome in outcomes)
    assert "disk I/O error" in str(outcomes[0])
    assert len(set(map(id, outcomes))) == 24  # one shared exception would collect everybody's traceback


@pytest.mark.parametrize("surely", [False, True], ids=["put", "put_surely"])
def test_producers_that_race_with_the_break_are_told(surely):
    """All of them; what was put surely and accepted is among what is left, so that nobody waits for its answer."""
    for _ in range(20):
        channel, crowd = Channel(1000), Crew()
        accepted = []
        go = threading.Barrier(5)

        def produce(channel=channel, go=go, accepted=accepted):
            put = channel.put_surely if surely else channel.put
            go.wait(LONG_S)
            for number in count():  # none may be through before the break
                put(number)
                accepted.append(number)

        crowd.start(produce, 4)
        go.wait(LONG_S)
        left = channel.abort(OSError("gone"))

        assert [type(outcome) for outcome in crowd.end(5)] == [WriterBrokenError] * 4
        if surely:
            assert sorted(left) == sorted(accepted)


def test_a_broken_channel_refuses_at_once_and_holds_nobody(crew):
    """Later puts, a waiting consumer, and whoever joins for what nobody will deal with."""
    channel, asleep = Channel(2), threading.Semaphore(0)
    crew.start(lambda: (asleep.release(), channel.take())[1])
    assert asleep.acquire(timeout=LONG_S)
    channel.abort(OSError("gone"))
    assert crew.end(1) == [[]]

    unsettled = filled(Channel, 2)
    crew.start(unsettled.join)
    unsettled.abort(OSError("gone"))
    crew.end(1)
    for put in (channel.put, channel.put_nowait, unsettled.put):
        with pytest.raises(WriterBrokenError, match="gone"):
            put(1)
    assert isinstance(channel.end, WriterBrokenError)


def test_broken_stays_broken_and_closed_can_break():
    """The worse news wins, in whichever order they come; the first cause is kept."""
    first = Channel()
    first.abort(OSError("first"))
    first.close()
    first.abort(OSError("second"))
    later = Channel()
    later.close()
    later.abort(OSError("later"))

    with pytest.raises(WriterBrokenError, match="first"):
        first.put(1)
    with pytest.raises(WriterBrokenError, match="later"):
        later.put(1)
