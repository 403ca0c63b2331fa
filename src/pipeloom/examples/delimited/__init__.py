"""Delimited text, read with care; the csv example is built on it, and so are programs copied from that.

``finding`` says which files there are, ``opening`` makes lines of text of one, ``dialect`` finds its delimiter,
``rows`` its columns and rows, ``words`` what a word is as a number, and ``tables`` where the rows go.
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
