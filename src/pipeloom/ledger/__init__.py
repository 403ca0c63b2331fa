"""What is written to the file: runs, tasks and users' rows."""

from pipeloom.ledger.apply import Ledger
from pipeloom.ledger.attempt import Attempt, Snapshot, Spoken, StagedCheckpoint
from pipeloom.ledger.board import Board
from pipeloom.ledger.fold import Batch, Said
from pipeloom.ledger.owning import Owned
from pipeloom.ledger.runs import RunLedger, RunSpec, mark_interrupted
from pipeloom.ledger.tables import Tables

__all__ = [
    "Attempt",
    "Batch",
    "Board",
    "Ledger",
    "Owned",
    "RunLedger",
    "RunSpec",
    "Said",
    "Snapshot",
    "Spoken",
    "StagedCheckpoint",
    "Tables",
    "mark_interrupted",
]
