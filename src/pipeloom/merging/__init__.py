"""Joins ledgers, together with the users' tables beside them, into one file."""

from pipeloom.merging.api import merge
from pipeloom.merging.report import MergeReport

__all__ = ["MergeReport", "merge"]
