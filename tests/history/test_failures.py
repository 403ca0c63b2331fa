"""All failures of a file, or of one run, in groups."""

from __future__ import annotations

from pathlib import Path

import pytest

import pipeloom

AT_SECOND = "2026-01-31T12:00:0{}.000+00:00"


def test_one_kind_is_one_group(ran, opened):
    """From a real run: counts, the largest first, an example with its traceback."""
    with opened() as history:
        first, second = history.error_groups()

    assert (first.exception, first.count, first.status) == ("ValueError", 3, "error")
    assert first.message == "could not convert string to float: …"
    assert first.where.startswith(__file__.replace("test_failures", "conftest"))
    assert first.where.endswith("in work")
    assert (first.example.id, first.example.name, first.run_ids) == (7, "n1", (1,))
    assert first.traceback.endswith("ValueError: could not convert string to float: 'n1'\n")
    assert (second.exception, second.message, second.count) == ("FileNotFoundError", "no such file: …", 1)


def test_what_failed_in_a_run_stays_said_when_a_later_one_has_done_it(ran, opened):
    """Without a run, only what is failed now."""
    pipeloom.map(lambda path: 1, [Path("in/n1"), Path("in/m1")], db=ran, name="work", progress=False)
    with opened() as history:
        assert [group.count for group in history.error_groups()] == [2]
        then = history.error_groups(run_id=1)
        assert sorted(group.count for group in then) == [1, 3]
        assert {group.example.status for group in then} == {"error"}
        assert all(group.traceback for group in then)
        assert sorted(task.id for task in history.failures(9, run_id=1)) == [7, 8, 9, 10]
        assert history.error_groups(run_id=2) == history.failures(9, run_id=2) == []
        assert history.error_groups(run_id=1 << 70) == []


def test_a_try_that_its_own_run_repeated_is_no_failure_of_it(written, opened):
    """Retries: only how the run left the task counts."""
    written(
        task_runs=[{"id": n, "name": "t", "status": "done", "run_id": 1 if n == 1 else 2} for n in (1, 2)],
        pipeloom_attempts=[
            {"task_id": 1, "run_id": 1, "attempt": 1, "status": "error", "message": "a"},
            {"task_id": 2, "run_id": 1, "attempt": 1, "status": "error", "message": "b"},
            {"task_id": 2, "run_id": 1, "attempt": 2, "status": "error", "message": "c"},
        ],
    )
    with opened() as history:
        assert [(group.message, group.count) for group in history.error_groups(run_id=1)] == [("c", 1)]


def test_times_and_runs_are_gathered(written, opened):
    """First, last, and which runs."""
    written(
        task_runs=[
            {"id": n, "name": "t", "status": "timed_out", "message": f"{n} s", "run_id": n}
            | {"finished_at": AT_SECOND.format(9 - n)}
            for n in range(1, 4)
        ]
    )
    with opened() as history:
        (group,) = history.error_groups()

    assert (group.first_at, group.last_at, group.run_ids) == (AT_SECOND.format(6), AT_SECOND.format(8), (3, 2, 1))
    assert (group.exception, group.status, group.message) == (None, "timed_out", "… s")


class Refused(Exception):
    """As HTTP clients raise it."""


def fetch(url):
    """Be refused in two ways, and miss two keys."""
    number = int(url.rpartition("/")[2])
    if number % 2:
        code = "404 Not Found" if number % 4 == 1 else "503 Service Unavailable"
        raise Refused(f"error '{code}' for url '{url}'")
    return {}["price" if number % 4 else "title"]


def test_codes_and_names_of_keys_are_kinds(db, opened):
    """Though they are raised at one place; numbers and addresses are none."""
    urls = [f"https://example.org/{number}" for number in range(8)]
    pipeloom.map(fetch, urls, db=db, on_error="collect", progress=False)
    with opened() as history:
        assert [
            (group.exception.rpartition(".")[2], group.message, group.count) for group in history.error_groups()
        ] == [
            ("KeyError", "'title'", 2),
            ("Refused", "error '404 Not Found' for url …", 2),
            ("KeyError", "'price'", 2),
            ("Refused", "error '503 Service Unavailable' for url …", 2),
        ]


def test_the_columns_say_what_the_groups_say(ran, opened, read):
    """In SQL, in the view, and in a task's own row."""
    with opened() as history:
        groups = history.error_groups()
        failed = history.tasks(limit=9, status="error")

    assert read(
        ran, "SELECT kind, status, exception, message_template, place, tasks, example, last FROM pipeloom_kinds"
    ) == [
        (
            group.kind,
            group.status,
            group.exception,
            group.message,
            group.where,
            group.count,
            group.example.id,
            group.last.id,
        )
        for group in groups
    ]
    assert {(task.kind, task.exception, task.place) for task in failed} == {
        (group.kind, group.exception, group.where) for group in groups
    }
    assert read(
        ran, "SELECT DISTINCT exception, place, message_template, kind FROM task_runs WHERE status = 'done'"
    ) == [(None, None, None, None)]


def test_an_older_file_is_read_alike_and_told_when_a_run_opens_it(ran, opened, made_older, read):
    """A look does not migrate it."""
    with opened() as history:
        before = (
            history.error_groups(),
            history.error_groups(1),
            history.tasks(limit=9, kind=history.kinds_named("ValueError")),
        )
    made_older()
    with opened() as history:
        kinds = history.kinds_named("ValueError")
        assert (history.error_groups(), history.error_groups(1), history.tasks(limit=9, kind=kinds)) == before
        assert history.count_tasks(kind=kinds) == 3
    pipeloom.map(lambda path: 1, [Path("in/a")], db=ran, name="work", progress=False)
    with opened() as history:
        assert history.error_groups() == before[0]
    assert read(ran, "SELECT COUNT(*) FROM task_runs WHERE kind IS NOT NULL") == [(4,)]


def test_rows_that_somebody_wrote_have_kinds_too(written, opened):
    """Whatever is in them; and one that is to be done again has none."""
    columns = {"name": "t", "status": "error", "run_id": 1}
    written(
        task_runs=[
            {"id": 1, "message": "no 7", **columns},
            {"id": 2, "message": b"\xff no", "error": b"\xfe", **columns},
            {"id": 3, "message": "no 8", **columns},
            {"id": 4, "message": "no 9", **columns, "status": "queued", "kind": "0badf00d"},
        ]
    )
    with opened() as history:
        groups = history.error_groups()
        assert [(group.message, group.count) for group in groups] == [("no …", 2), ("… no", 1)]
        assert [task.id for task in history.tasks(limit=9, kind=groups[0].kind)] == [3, 1]
        assert history.task(4).kind is None


def test_the_last_one_is_the_one_that_ended_last(written, opened):
    """Which has not always the highest number."""
    failed = {"name": "t", "status": "error", "exception": "E", "kind": "0badf00d", "message_template": "m"}
    written(
        task_runs=[
            {"id": number, "run_id": run_id, "finished_at": AT_SECOND.format(second), **failed}
            for number, run_id, second in ((1, 2, 8), (2, 1, 4), (3, 2, 7), (4, 1, 5))
        ]
    )
    with opened() as history:
        (group,) = history.error_groups()
        (of_first_run,) = history.error_groups(run_id=1)

    assert (group.example.id, group.last.id, group.run_ids) == (1, 1, (2, 1))
    assert (of_first_run.example.id, of_first_run.last.id, of_first_run.count) == (2, 4, 2)


def test_a_million_failures_are_counted_from_the_index(ran, opened):
    """No row is looked at but the examples."""
    with opened() as history:
        asked = []
        history._reader._file.conn.set_trace_callback(asked.append)
        history.error_groups()
        history._reader._file.conn.set_trace_callback(None)
        plans = [
            step
            for sql in asked
            if "GROUP BY" in sql
            for _, _, _, step in history._reader.rows(f"EXPLAIN QUERY PLAN {sql}")
        ]

    assert any("COVERING INDEX pipeloom_task_kind" in step for step in plans)
    assert not any(step == "SCAN t" for step in plans), plans


@pytest.mark.parametrize(
    ("word", "count"),
    [("ValueError", 1), ("builtins.ValueError", 0), ("timed_out", 0), ("zz", 0), ("", 0), (" ", 0)],
)
def test_kinds_are_named_by_their_exception(ran, opened, word, count):
    """With its module or without; a status is for those without an exception."""
    with opened() as history:
        assert len(history.kinds_named(word)) == count


@pytest.mark.parametrize(("word", "count"), [("error", 2), ("fileNOT", 1), ("could not", 1), ("cannot", 0)])
def test_kinds_are_named_by_a_part_of_what_is_read_of_them(ran, opened, word, count):
    """In any case, of the exception or of the message; unless a whole name is wanted."""
    with opened() as history:
        assert len(history.kinds_named(word)) == count
        assert history.kinds_named(word, by_part=False) == []


def test_kinds_are_named_by_the_beginning_of_their_id(ran, opened):
    """Four characters, at least."""
    with opened() as history:
        first = history.error_groups()[0].kind
        assert history.kinds_named(first[:5]) == history.kinds_named(first.upper()) == [first]
        assert history.kinds_named(first[:3]) == []


def test_tasks_are_found_by_message_kind_and_time(ran, opened):
    """All at once; and counted alike."""
    with opened() as history:
        assert {task.id for task in history.tasks(limit=9, message="CONVERT")} == {7, 8, 9}
        assert {task.id for task in history.tasks(limit=9, message="filenotfound")} == {10}
        kinds = history.kinds_named("ValueError") + history.kinds_named("FileNotFoundError")
        assert history.count_tasks(kind=kinds, message="n33") == 1
        assert history.count_tasks(kind=kinds, status="interrupted") == 0
        assert history.count_tasks() == 10
        at = history.task(7).finished_at
        assert history.count_tasks(since=at) + history.count_tasks(until=at) >= 11
        assert history.count_tasks(since="2999-01-01") == history.count_tasks(until="1999-01-01T00:00+01:00") == 0
        assert [task.id for task in history.each_task(kind=kinds, order="oldest")] == [7, 8, 9, 10]


def test_a_time_that_is_none_is_refused(ran, opened):
    """In a sentence."""
    with opened() as history, pytest.raises(ValueError, match="not an instant: 'yesterday'"):
        history.tasks(limit=1, since="yesterday")
