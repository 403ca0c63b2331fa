"""Every read-only look at a ledger, in one place, with typed results."""

from pipeloom.history.figures import RunFigures
from pipeloom.history.grouping import essence
from pipeloom.history.history import History
from pipeloom.history.rows import AttemptRow, ErrorGroup, LogRow, Overview, RejectedRow, RunRow, TaskDetail, TaskRow
from pipeloom.history.tasks import FAILED, Order

__all__ = [
    "FAILED",
    "AttemptRow",
    "ErrorGroup",
    "History",
    "LogRow",
    "Order",
    "Overview",
    "RejectedRow",
    "RunFigures",
    "RunRow",
    "TaskDetail",
    "TaskRow",
    "essence",
]
