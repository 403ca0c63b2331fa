"""Check a file's health: everything that can be checked from outside, without changing the file."""

from pipeloom.doctor.doctor import examine
from pipeloom.doctor.finding import Finding, Verdict

__all__ = ["Finding", "Verdict", "examine"]
