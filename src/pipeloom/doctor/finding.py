"""The result of one check."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Finding", "Verdict"]

Verdict = Literal["ok", "note", "BAD"]
"""``note`` is worth knowing, but may be as intended; ``BAD`` is damage, or a state that no run can cause."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor's output.

    Attributes:
        check: The name of the check, one or two words.
        verdict: See :data:`Verdict`.
        text: What was found; text from the file is made printable.
        advice: What to do about it; empty if there is nothing to do.
    """

    check: str
    verdict: Verdict
    text: str
    advice: str = ""
