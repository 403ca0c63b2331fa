"""Careful reading of delimited text, for the csv example and programs copied from it.

``finding`` lists the files, ``opening`` turns one into lines of text, ``dialect`` detects its delimiter, ``rows``
reads its columns and rows, ``words`` converts words to numbers, and ``tables`` decides where the rows go.
"""

from pipeloom.examples.delimited.finding import Found, Source, find
from pipeloom.examples.delimited.rows import Format, Sheet, lower, open_sheet
from pipeloom.examples.delimited.tables import Tables, quoted
from pipeloom.examples.delimited.words import KINDS, loses_nothing

__all__ = [
    "KINDS",
    "Format",
    "Found",
    "Sheet",
    "Source",
    "Tables",
    "find",
    "loses_nothing",
    "lower",
    "open_sheet",
    "quoted",
]
