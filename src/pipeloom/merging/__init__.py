"""Merge ledgers, together with users' tables, into one file."""

from pipeloom.merging.api import merge
from pipeloom.merging.report import MergeReport

__all__ = ["MergeReport", "merge"]
