"""``pipeloom tasks``."""

from __future__ import annotations

from .commands import AT, document


def test_tasks_by_status_name_and_time(write, ask, db):
    """Options together; the status may be given more than once."""
    write(
        "task_runs",
        *(
            {"id": n, "name": f"file-{n}", "status": status, "elapsed_s": float(n)}
            for n, status in enumerate(["done", "error", "error", "cancelled"], 1)
        ),
    )

    def ids(*words):
        return [task["id"] for task in document(ask("tasks", "--db", db, "--json", *words))["tasks"]]

    assert ids() == [4, 3, 2, 1]
    assert ids("--status", "error", "-s", "cancelled", "--order", "oldest") == [2, 3, 4]
    assert ids("--name", "FILE-2") == [2]
    assert ids("--slower-than", "2.5", "--order", "slowest") == [4, 3]
    assert ids("-n", 1) == [4]
    assert ask("tasks", "--db", db, "-n", 1)[2] == "1 shown, 3 more: -n 4\n"
    assert ask("tasks", "--db", db, "--name", "nix")[1] == "no matching tasks\n"


def test_tasks_by_kind_message_and_time(ran, ask, write):
    """Words for kinds as `errors` has them; the message with the exception before it."""
    write("task_runs", {"id": 50, "name": "old", "status": "done", "started_at": AT, "finished_at": AT})

    def names(*words):
        return [
            task["name"] for task in document(ask("tasks", ran, "--json", "--order", "oldest", *words))["tasks"]
        ]

    (kind,) = {task["kind"] for task in document(ask("tasks", ran, "--json", "--kind", "ValueError"))["tasks"]}
    assert names("--kind", "ValueError") == names("--kind", kind[:4]) == ["n1", "n2", "n33"]
    assert names("--kind", "valueERR") == ["n1", "n2", "n33"]
    assert names("--kind", "ValueError", "--kind", "FileNotFoundError") == ["n1", "n2", "n33", "m1"]
    assert names("--message", "FILENOTFOUND") == names("--message", "in/m1") == ["m1"]
    assert names("--until", "2026-01-31T12:00Z") == ["old"]
    assert names("--since", "2026-01-31T12:00:00.001Z", "--status", "done") == ["a", "b", "c"]
    assert names("--since", "1h", "--kind", "ValueError", "--run", "1", "-n", 1) == ["n1"]
    assert "FileNotFoundError: no such file: 'in/m1'" in ask("tasks", ran)[1]


def test_a_kind_that_is_not_there_is_refused(ran, ask):
    """In one sentence, with what there is."""
    assert "no failures match an empty word: the kinds are: " in ask("tasks", ran, "--kind", " ")[2]
    for words in (["tasks", ran], ["errors", ran], ["forget", "--db", ran]):
        code, _, err = ask(*words, "--kind", "OSError")

        assert code == 2
        assert "no failures match OSError: the kinds are: ValueError, FileNotFoundError; to list all kinds: " in err
        assert f"pipeloom errors --db {ran}" in err
    assert "in run 1: the kinds are: " in ask("errors", ran, "--run", 1, "--kind", "OSError")[2]
