"""Pages about a run: the report in one file, and the parts and styles that the web page shares with it."""

from pipeloom.page.fragments import circumstances, failures, slowest, totals, tries, verdict, when
from pipeloom.page.html import block, document, facts, style, table, text
from pipeloom.page.run_page import pictures_of, run_page

__all__ = [
    "block",
    "circumstances",
    "document",
    "facts",
    "failures",
    "pictures_of",
    "run_page",
    "slowest",
    "style",
    "table",
    "text",
    "totals",
    "tries",
    "verdict",
    "when",
]
