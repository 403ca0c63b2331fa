"""Is a file well? Looks at everything that can be known from outside, and changes not a byte."""

from pipeloom.doctor.doctor import examine
from pipeloom.doctor.finding import Finding, Verdict

__all__ = ["Finding", "Verdict", "examine"]
