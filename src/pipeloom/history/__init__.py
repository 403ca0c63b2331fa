"""All read-only access to a ledger, with typed results."""

from pipeloom.history.failed_keys import FailedKey
from pipeloom.history.figures import RunFigures
from pipeloom.history.follow import Follower, News
from pipeloom.history.history import History
from pipeloom.history.reading import NoLedgerError
from pipeloom.history.rows import (
    AttemptRow,
    ErrorGroup,
    LogRow,
    Overview,
    RejectedRow,
    RunRow,
    TaskDetail,
    TaskRow,
)
from pipeloom.history.tasks import Order, failed_counts

__all__ = [
    "AttemptRow",
    "ErrorGroup",
    "FailedKey",
    "Follower",
    "History",
    "LogRow",
    "News",
    "NoLedgerError",
    "Order",
    "Overview",
    "RejectedRow",
    "RunFigures",
    "RunRow",
    "TaskDetail",
    "TaskRow",
    "failed_counts",
]
