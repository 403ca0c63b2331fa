"""What one check found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Finding", "Verdict"]

Verdict = Literal["ok", "note", "BAD"]
"""``note`` is worth knowing, and may be as it should be; ``BAD`` is damage, or what no run leaves behind."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor's.

    Attributes:
        check: What was looked at, in a word or two.
        verdict: See :data:`Verdict`.
        text: What was found; foreign text in it is clean.
        advice: What to do about it; empty when there is nothing to do.
    """

    check: str
    verdict: Verdict
    text: str
    advice: str = ""
