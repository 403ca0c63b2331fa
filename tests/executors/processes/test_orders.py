"""How much a worker is sent at once."""

from __future__ import annotations

from itertools import pairwise

from pipeloom.executors.processes.orders import Orders


def grown(orders, took_s):
    """The sizes of chunks when each task takes so many seconds."""
    sizes = []
    for _ in range(20):
        size = orders.chunk_size(0)
        sizes.append(size)
        orders.note(size, size * took_s)
    return sizes


def test_chunks_of_quick_tasks_double_up_to_a_limit():
    sizes = grown(Orders({}, None), 0.000001)

    assert sizes[:4] == [1, 2, 4, 8]
    assert all(later <= 2 * earlier for earlier, later in pairwise(sizes))
    assert sizes[-1] == 512


def test_a_chunk_holds_about_five_milliseconds_of_work():
    assert grown(Orders({}, None), 0.001)[-1] in (4, 5)
    assert grown(Orders({}, None), 60.0) == [1] * 20


def test_one_slow_task_makes_the_next_chunk_small():
    orders = Orders({}, None)
    grown(orders, 0.00001)

    orders.note(1, 2.0)

    assert orders.chunk_size(0) == 1
    assert not orders.is_short(1)


def test_a_worker_gets_no_more_than_it_may_perform():
    orders = Orders({}, 10)
    grown(orders, 0.00001)

    assert orders.chunk_size(0) == 10
    assert orders.chunk_size(7) == 3
    assert [orders.is_worn(count) for count in (9, 10, 11)] == [False, True, True]
