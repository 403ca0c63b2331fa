"""What is written: runs, tasks and users' rows."""

from pipeloom.ledger.apply import Applied, Ledger, reason_of
from pipeloom.ledger.runs import Admission, RunLedger, RunSpec, mark_interrupted
from pipeloom.ledger.tables import Tables
from pipeloom.ledger.tasks import NUMBER_LIMIT, Said, taken

__all__ = [
    "NUMBER_LIMIT",
    "Admission",
    "Applied",
    "Ledger",
    "RunLedger",
    "RunSpec",
    "Said",
    "Tables",
    "mark_interrupted",
    "reason_of",
    "taken",
]
