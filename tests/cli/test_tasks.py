"""``pipeloom tasks``."""

from __future__ import annotations

from .commands import document


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
    assert "1 shown, there are more" in ask("tasks", "--db", db, "-n", 1)[1]
    assert ask("tasks", "--db", db, "--name", "nix")[1] == "no such tasks\n"
