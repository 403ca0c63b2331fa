"""What holds tries back: pure logic, with a clock that the tests set."""

from __future__ import annotations

import threading
from math import inf, nan
from types import SimpleNamespace

import pytest

from pipeloom import Limit
from pipeloom.engine.limiter import _MOST, Limiter
from pipeloom.engine.tickets import UncountedError
from pipeloom.ledger.attempt import Attempt


class Scene:
    """A limiter with a clock, and what has begun under it.

    Attributes:
        began: Each try with when it began, in that order.
    """

    def __init__(self, *limits: Limit, slack: float = 0.0) -> None:
        self.now = 1000.0
        self.limiter = Limiter(limits, threading.Condition(), lambda: self.now, slack)
        self.began: list[tuple[object, float]] = []
        self.out: dict[object, Attempt] = {}

    def offer(self, *items: object) -> list[object]:
        """Offer inputs; returns those that may begin at once."""
        return [item for item in items if self._passes(item)]

    def _passes(self, item: object) -> bool:
        attempt = Attempt(item, 1, str(item), str(item), "new")
        if not self.limiter.pass_on(attempt):
            return False
        self._begins(attempt)
        return True

    def _begins(self, attempt: Attempt) -> None:
        self.began.append((attempt.item, self.now - 1000.0))
        self.out[attempt.item] = attempt

    def take(self) -> list[object]:
        """Take what has waited and may begin now."""
        found = []
        while (attempt := self.limiter.take()) is not None:
            self._begins(attempt)
            found.append(attempt.item)
        return found

    def end(self, *items: object) -> None:
        """End tries."""
        for item in items:
            self.limiter.release(self.out.pop(item))

    def wait(self) -> float:
        """Let the time pass that the limiter says; returns how long that was."""
        seconds = self.limiter.until_due_s()
        assert seconds < inf, "nothing is due, ever"
        self.now += seconds
        return seconds

    def run(self, items, took_s: float = 0.0) -> list[float]:
        """Begin everything as soon as it may, each ending after so long; returns when each began."""
        ends: list[tuple[float, object]] = []
        todo = list(items)
        while todo or len(self.limiter) or ends:
            while todo and self.limiter.takes_more:
                self.offer(todo.pop(0))
            self.take()
            ends += [(self.now + took_s, item) for item in self.out if item not in {one for _, one in ends}]
            ends.sort(key=lambda end: end[0])
            if len(self.limiter) or todo:
                step = self.limiter.until_due_s()
                until = min(self.now + step, ends[0][0] if ends else inf)
                assert until < inf, "it stands still"
                self.now = max(self.now, until)
            elif ends:
                self.now = ends[0][0]
            while ends and ends[0][0] <= self.now:
                self.end(ends.pop(0)[1])
        return [at for _, at in self.began]


def even(item: object) -> object:
    """Tell even inputs from odd ones."""
    assert isinstance(item, int)
    return item % 2


def most_in(starts: list[float], window_s: float) -> int:
    """Return how many begin in any window, its end excluded."""
    return max(sum(start <= at < start + window_s - 1e-9 for at in starts) for start in starts)


# --- rates ---


def test_one_spaces_starts_evenly():
    """With the default burst; the first begins at once."""
    starts = Scene(Limit(rate=5)).run(range(6))

    assert starts == pytest.approx([0.0, 0.2, 0.4, 0.6, 0.8, 1.0])


def test_starts_are_a_little_further_apart_than_the_rate_says():
    """In a run they are: what is held up on its way to a service comes closer to the next one."""
    starts = Scene(Limit(rate=5), slack=0.02).run(range(6))

    assert starts == pytest.approx([0.0, 0.204, 0.408, 0.612, 0.816, 1.02])
    assert Limiter((Limit(rate=5),), threading.Condition())._buckets._slack == 0.02


def test_a_burst_comes_after_a_pause_and_not_again():
    """Three at once at first, then one for each interval; three again when nothing was begun for long."""
    scene = Scene(Limit(rate=10, burst=3))
    assert scene.run(range(5)) == pytest.approx([0.0, 0.0, 0.0, 0.1, 0.2])

    scene.now += 60
    assert scene.offer("a", "b", "c", "d") == ["a", "b", "c"]
    assert scene.wait() == pytest.approx(0.1)
    assert scene.take() == ["d"]


def test_what_came_late_is_not_caught_up():
    """A worker that was busy does not make up for it: never more than the burst begins at once."""
    scene = Scene(Limit(rate=1))
    scene.offer(*range(10))
    scene.now += 4.5

    assert scene.take() == [1]
    assert scene.wait() == pytest.approx(1.0)
    assert scene.take() == [2]


@pytest.mark.parametrize(("rate", "per_s", "burst"), [(7, 2.0, 1), (100, 60.0, 10), (3, 0.5, 2.5), (0.5, 1.0, 1)])
def test_no_window_has_more_than_the_rate_and_the_burst(rate, per_s, burst):
    """Whatever the numbers, fractions among them."""
    starts = Scene(Limit(rate=rate, per_s=per_s, burst=burst)).run(range(60))

    for windows in (1, 2, 5):
        assert most_in(starts, windows * per_s) <= rate * windows + burst
    assert starts[-1] <= 60 * per_s / rate  # and it is no slower than it should be


def test_a_weight_takes_its_time():
    """Tokens, 30 every second: what weighs more than the burst needs a full bucket, and leaves a debt."""
    weights = {"a": 15, "b": 60, "c": 30, "d": 1}
    starts = Scene(Limit(rate=30, burst=30, weight=weights.get)).run("abcd")

    # b waits for a full bucket; then two seconds of debt are paid off before c has its 30.
    assert starts == pytest.approx([0.0, 0.5, 2.5, 2.5 + 1 / 30], abs=1e-6)


def test_what_weighs_nothing_is_not_held_up():
    """Not even by a debt; behind others of its lane it keeps its place."""
    scene = Scene(Limit(rate=1, per=lambda item: "one", weight=lambda item: len(item)))
    assert scene.offer("heavy", "") == ["heavy", ""]

    scene = Scene(Limit(rate=1, per=lambda item: "one", weight=lambda item: len(item)))
    assert scene.offer("heavy", "h", "") == ["heavy"]
    assert scene.wait() == pytest.approx(5.0)
    assert scene.take() == ["h", ""]


def test_extreme_numbers_stand_for_never_and_always():
    """A rate close to 0 lets one through; one beyond all bounds lets all through."""
    rare = Scene(Limit(rate=1e-300, per_s=1e300))
    assert rare.offer("a", "b") == ["a"]
    assert rare.limiter.until_due_s() > 1e9

    often = Scene(Limit(rate=10**400, burst=10**400, weight=lambda item: 10**300))
    assert often.offer("a") == ["a"]


# --- how many at once ---


def test_no_more_run_at_once_than_may():
    """The next one begins when one ends."""
    scene = Scene(Limit(at_once=2))

    assert scene.offer("a", "b", "c", "d") == ["a", "b"]
    assert scene.limiter.until_due_s() == inf
    assert scene.take() == []
    scene.end("b")
    assert scene.take() == ["c"]
    scene.end("a", "c")
    assert scene.take() == ["d"]


def test_a_try_ends_once():
    """Whoever says it again changes nothing."""
    scene = Scene(Limit(at_once=1))
    scene.offer("a", "b", "c")
    first = scene.out["a"]
    scene.limiter.release(first)
    scene.limiter.release(first)

    assert scene.take() == ["b"]
    assert scene.take() == []


def test_what_has_not_begun_after_all_may_be_offered_again():
    """Its place among those at once is free; it keeps what was told of it."""
    calls = []
    scene = Scene(Limit(at_once=1, per=calls.append))
    scene.offer("a")
    back = scene.out["a"]
    scene.limiter.release(back)

    assert scene.limiter.pass_on(back)
    assert calls == ["a"]


# --- per, and several limits ---


def test_each_value_is_counted_by_itself():
    """Inputs that need not wait overtake those that must."""
    scene = Scene(Limit(rate=1, per=even))

    assert scene.offer(0, 2, 4, 1, 3) == [0, 1]
    scene.wait()
    assert scene.take() == [2, 3]
    scene.wait()
    assert scene.take() == [4]


def test_the_oldest_that_may_begins_first():
    """Across values; and in one value in the order of the inputs."""
    scene = Scene(Limit(at_once=1, per=even))
    scene.offer(0, 1, 3, 2, 5, 4)
    scene.end(1, 0)

    assert scene.take() == [3, 2]
    scene.end(2, 3)
    assert scene.take() == [5, 4]


def test_several_limits_hold_together():
    """Nothing is counted for one limit if another one holds it up."""
    scene = Scene(Limit(rate=1, burst=2), Limit(at_once=1, per=even))

    assert scene.offer(0, 2, 1) == [0, 1]  # 2 waits for 0, and has not used up the second start
    scene.end(0)
    assert scene.take() == []
    assert scene.wait() == pytest.approx(1.0)
    assert scene.take() == [2]


def test_requests_and_tokens_are_both_kept():
    """The one that is used up decides."""
    starts = Scene(Limit(rate=10), Limit(rate=20, burst=20, weight=lambda item: item)).run([10, 10, 10, 1, 1])

    assert starts == pytest.approx([0.0, 0.1, 0.5, 0.6, 0.7])


def test_two_limits_with_values_that_cross_never_stand_still():
    """Per host and per account: every lane finds its turn, and no bucket is overdrawn."""
    scene = Scene(
        Limit(rate=5, at_once=2, per=lambda pair: pair[0]), Limit(rate=8, burst=2, per=lambda pair: pair[1]),
        Limit(at_once=4),
    )  # fmt: skip
    pairs = [(host, account, n) for n in range(6) for host in "abc" for account in "xyz"]
    scene.run(pairs, took_s=0.07)

    assert sorted(item for item, _ in scene.began) == sorted(pairs)
    for place, rate, burst in ((0, 5, 1), (1, 8, 2)):
        for value in {pair[place] for pair in pairs}:
            starts = [at for item, at in scene.began if item[place] == value]
            assert most_in(starts, 1.0) <= rate + burst


def test_a_limit_of_all_lets_nothing_be_looked_at():
    """What is behind stays where it is: it could not begin, and would only take memory."""
    scene = Scene(Limit(rate=1))
    assert scene.limiter.takes_more
    assert scene.offer("a", "b") == ["a"]

    assert not scene.limiter.takes_more
    scene.wait()
    assert scene.limiter.takes_more
    assert scene.take() == ["b"]


# --- memory ---


def test_only_so_many_wait():
    """Then nothing more is looked at, until one has begun."""
    scene = Scene(Limit(rate=1, per=lambda item: "one"))
    offered = 0
    while scene.limiter.takes_more:
        scene.offer(offered)
        offered += 1
    assert offered == _MOST + 1
    assert len(scene.limiter) == _MOST

    scene.wait()
    assert scene.take() == [1]
    assert scene.limiter.takes_more


def test_large_inputs_count_for_more():
    """By the memory that they take."""
    scene = Scene(Limit(at_once=1, per=lambda item: "one"))
    scene.offer("first")
    large = Attempt("large", 2, "large", "large", "new")
    large.weight = _MOST

    assert not scene.limiter.pass_on(large)
    assert not scene.limiter.takes_more
    scene.end("first")
    assert scene.limiter.take() is large
    assert scene.limiter.takes_more


def test_buckets_that_are_as_new_are_forgotten():
    """A million hosts do not stay in memory; what is not paid off yet does."""
    scene = Scene(Limit(rate=10, per=lambda item: item))
    for n in range(1000):
        scene.offer(n)
        scene.end(n)
        scene.now += 0.01
    assert len(scene.limiter._buckets) <= 12

    counting = Scene(Limit(at_once=1, per=lambda item: item))
    counting.offer(*range(100))
    assert len(counting.limiter._buckets) == 100
    counting.end(*range(100))
    assert len(counting.limiter._buckets) == 0


def test_a_bucket_is_kept_while_a_task_is_out():
    """It may still be slowed down, which must hold for those that come."""
    scene = Scene(Limit(rate=10, per=lambda item: item[0]))
    scene.offer("a1", "b1")
    scene.now += 60
    scene.end("b1")
    scene.limiter.pause(scene.out["a1"], 5)

    assert scene.offer("a2", "b2") == ["b2"]


def test_everything_that_waits_can_be_taken():
    """At the end of a run."""
    scene = Scene(Limit(at_once=1, per=even))
    scene.offer(0, 1, 2, 3, 4)

    assert sorted(attempt.item for attempt in scene.limiter.take_all()) == [2, 3, 4]
    assert len(scene.limiter) == 0
    scene.end(0, 1)
    assert scene.take() == []


# --- slowing down ---


def test_a_pause_is_for_what_shares_a_value():
    """Others go on; what was begun goes on."""
    scene = Scene(Limit(rate=100, per=even))
    scene.offer(0)
    scene.limiter.pause(scene.out[0], 30)
    scene.now += 1

    assert scene.offer(1, 2) == [1]
    assert scene.wait() == pytest.approx(29.0)
    assert scene.take() == [2]


def test_a_shorter_pause_does_not_shorten_one():
    """A longer one does."""
    scene = Scene(Limit(at_once=9, per=even))
    scene.offer(0)
    scene.limiter.pause(scene.out[0], 30)
    scene.limiter.pause(scene.out[0], 2)
    scene.offer(2)
    assert scene.wait() == pytest.approx(30.0)

    scene.limiter.pause(scene.out[0], 10)
    scene.limiter.pause(scene.out[0], 40)
    assert scene.take() == []
    assert scene.wait() == pytest.approx(40.0)
    assert scene.take() == [2]


@pytest.mark.parametrize("limits", [(), (Limit(at_once=9), Limit(rate=1e6, burst=1e6))])
def test_without_values_a_pause_is_for_all(limits):
    """Nothing is looked at meanwhile; without limits the limiter is of no use after it."""
    scene = Scene(*limits)
    scene.offer("a")
    scene.limiter.pause(scene.out["a"], 30)

    assert (scene.limiter.paused_s, scene.limiter.takes_more, scene.limiter.is_spent) == (30.0, False, False)
    assert scene.wait() == 30.0
    assert (scene.limiter.takes_more, scene.limiter.is_spent) == (True, not limits)
    assert scene.offer("b") == ["b"]


def test_a_pause_that_comes_between_holds_what_is_offered():
    """It was looked at before the pause, and waits in here."""
    scene = Scene()
    scene.offer("a")
    scene.limiter.pause(scene.out["a"], 30)

    assert scene.offer("b") == []
    assert not scene.limiter.is_spent
    scene.wait()
    assert scene.take() == ["b"]
    assert scene.limiter.is_spent


def test_after_a_pause_no_more_begin_than_the_burst():
    """What has waited does not come all at once."""
    scene = Scene(Limit(rate=10, burst=2, per=lambda item: "one"))
    scene.offer("a")
    scene.limiter.pause(scene.out["a"], 30)
    scene.offer("b", "c", "d", "e")
    scene.wait()

    assert scene.take() == ["b", "c"]
    assert scene.wait() == pytest.approx(0.1)


# --- what cannot be counted ---


class Unequal:
    """Is like every other one, and raises when that is asked."""

    def __hash__(self):
        return 1

    def __eq__(self, other):
        if self is other:
            return True
        raise RuntimeError("no")


@pytest.mark.parametrize(
    ("limit", "sentence"),
    [
        (Limit(at_once=1, per=lambda item: item["host"]), "limit=: per raised KeyError for the input {}: 'host'"),
        (Limit(at_once=1, per=lambda item: [1]), "limit=: per returned [1] for the input {}: TypeError: "),
        (
            Limit(at_once=1, per=lambda item: nan),
            "limit=: per returned nan for the input {}: which is not equal to",
        ),
        (Limit(rate=1, weight=lambda item: item["n"]), "limit=: weight raised KeyError for the input {}: 'n'"),
        (
            Limit(rate=1, weight=lambda item: -1),
            "limit=: weight returned -1 for the input {}: return a number, 0 or",
        ),
        (Limit(rate=1, weight=lambda item: nan), "limit=: weight returned nan for"),
        (Limit(rate=1, weight=lambda item: inf), "limit=: weight returned inf for"),
        (Limit(rate=1, weight=lambda item: 10**400), "limit=: weight returned 1000"),
        (Limit(rate=1, weight=lambda item: True), "limit=: weight returned True for"),
        (Limit(rate=1, weight=lambda item: "3"), "limit=: weight returned 3 for"),
        (Limit(rate=1, weight=lambda item: None), "limit=: weight returned None for"),
    ],
)
def test_what_cannot_be_counted_is_told_in_a_sentence(limit, sentence):
    """With the function, and the input; nothing is counted."""
    scene = Scene(limit)
    with pytest.raises(UncountedError) as caught:
        scene.offer({})

    assert caught.value.why.message.startswith(sentence)
    assert len(scene.limiter) == 0


def test_values_that_cannot_be_compared_are_told():
    """They are the user's own, and meet each other here."""
    scene = Scene(Limit(at_once=9, per=lambda item: Unequal()))
    scene.offer("a")
    with pytest.raises(UncountedError, match="comparing what per returned raised RuntimeError for the input b: no"):
        scene.offer("b")


@pytest.mark.parametrize("weight", [0, 0.5, 3, SimpleNamespace])
def test_whatever_is_a_number_is_a_weight(weight):
    """Those of other libraries, too."""

    class Number:
        def __float__(self):
            return 2.0

    scene = Scene(Limit(rate=10, weight=lambda item: Number() if weight is SimpleNamespace else weight))

    assert scene.offer("a") == ["a"]
