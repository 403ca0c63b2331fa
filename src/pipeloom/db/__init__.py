"""The database file: its connection, its schema, which process may write to it, and requests to stop a run."""

from pipeloom.db.connection import Durability, connect, connect_readonly, wal_checkpoint
from pipeloom.db.failures import storage_error
from pipeloom.db.ownership import Ownership, owner_of
from pipeloom.db.schema import SCHEMA_VERSION, check_schema, init_schema

__all__ = [
    "SCHEMA_VERSION",
    "Durability",
    "Ownership",
    "check_schema",
    "connect",
    "connect_readonly",
    "init_schema",
    "owner_of",
    "storage_error",
    "wal_checkpoint",
]
