"""Kinds of failure: an exception, its place, and the text that its messages have in common.

The ledger stores the kind with each failure, so that everyone sees the same groups, at no cost. The id of a kind is
the same in each run and file.
"""

from __future__ import annotations

import builtins
import math
import re
from collections import Counter
from hashlib import blake2b
from http import HTTPStatus
from typing import Final, NamedTuple

from pipeloom.data.text import words
from pipeloom.data.traceback_text import origin
from pipeloom.statuses import INTERRUPTED, NEVER_BEGAN, PROCESS_ENDED

__all__ = ["Kind", "Kinds", "short", "template"]

_ELLIPSIS: Final = "…"
_LONGEST: Final = 300  # characters of a message that are compared
_NEAR: Final = 20  # characters before a quoted part in which a word may say what it names
_TEMPLATES: Final = 50  # of one exception at one place; past that, messages are not distinguished
_KINDS: Final = 500  # in all; past that, nor are messages; past two and three times that, nor places, exceptions
_REMEMBERED: Final = 2000  # tracebacks, and messages


class Kind(NamedTuple):
    """One way to fail.

    Attributes:
        id: Eight hexadecimal characters.
        status: ``error``, ``timed_out``, ``interrupted`` or ``cancelled``.
        exception: Its type as a traceback names it; ``None`` if the worker reported the failure without one.
        place: The last line of the user's code in the traceback, as ``file:line in function``.
        message: What the messages have in common; numbers, quoted parts and paths are ``…``.
    """

    id: str
    status: str
    exception: str | None
    place: str | None
    message: str


class Kinds:
    """Determines the kind of one failure after another, in bounded memory; for use in one thread.

    Past a number of kinds that nobody would read, distinctions are dropped: messages first, then places.
    """

    def __init__(self) -> None:
        self._origins: dict[str, tuple[str | None, str | None]] = {}
        self._templates: dict[str, str] = {}
        self._known: dict[tuple[str, str | None, str | None, str], Kind] = {}
        self._templates_at: Counter[tuple[str, str | None, str | None]] = Counter()

    def of(self, status: str, message: object, error: object) -> Kind:
        """Return the kind of one failure.

        Args:
            status: How the task ended.
            message: The message for people to read; any value that a column can hold.
            error: Its traceback, or what is stored in place of one; any value that a column can hold.
        """
        said = words(message)
        exception, place = self._origin(words(error), said)
        if status == INTERRUPTED and exception is None:
            said = said if said == NEVER_BEGAN else PROCESS_ENDED
        return self._kind(status, exception, place, self._template(said))

    def _origin(self, traceback: str, message: str) -> tuple[str | None, str | None]:
        """Parse a traceback; those of one kind are equal up to the message, and are parsed once."""
        if not traceback:
            return None, None
        end = traceback.rfind(": " + message) if message else -1
        head = traceback[:end] if end >= 0 else traceback
        found = self._origins.get(head)
        if found is None:
            if len(self._origins) >= _REMEMBERED:
                self._origins.clear()
            found = self._origins[head] = origin(head, cut=end >= 0)
        return found

    def _template(self, message: str) -> str:
        found = self._templates.get(message)
        if found is None:
            if len(self._templates) >= _REMEMBERED:
                self._templates.clear()
            found = self._templates[message] = template(message)
        return found

    def _kind(self, status: str, exception: str | None, place: str | None, message: str) -> Kind:
        known, here = self._known, (status, exception, place)
        ways = (
            ((*here, message), _KINDS if self._templates_at[here] < _TEMPLATES else 0),
            ((*here, _ELLIPSIS), _KINDS * 2),
            ((status, exception, None, _ELLIPSIS), _KINDS * 3),
            ((status, None, None, _ELLIPSIS), math.inf),
        )
        parts = next(way for way, most in ways if way in known or len(known) < most)
        found = known.get(parts)
        if found is None:
            self._templates_at[here] += 1
            found = known[parts] = Kind(_id(*parts), *parts)
        return found


def short(place: str) -> str:
    """Return a place without the directories of its file: ``load.py:14 in parse``."""
    file, colon, line = place.rpartition(":")
    return re.split(r"[\\/]", file)[-1] + colon + line


def template(message: str) -> str:
    """Return what a message shares with similar ones: each particular part becomes ``…``.

    Numbers, dates, ids, quoted parts, addresses, paths and file names distinguish one input from another. A code
    (``404 Not Found``, ``[Errno 2]``, ``exit status 1``) or the name of something in the program (a key, a field,
    an attribute) distinguishes one fault from another, and is kept.
    """
    return _ROW.sub(_ELLIPSIS, _PARTICULAR.sub(_kept_or_not, _head(message.lstrip()[:_LONGEST])))


def _head(message: str) -> str:
    """Return the line that says what happened, without the quotes that a ``KeyError`` puts around a text."""
    first, *others = message.split("\n", 3)
    if others and _HEADING.search(first):  # only a heading: pydantic's next two lines have the field and the fault
        return " ".join([first.strip(), *(line.partition(" [type=")[0].strip() for line in others[:2])])
    return first[1:-1] if _QUOTED_TEXT.fullmatch(first) else first


_REASONS: Final = "|".join(
    sorted((re.escape(status.phrase) for status in HTTPStatus if status >= 300), key=len, reverse=True)
)
# A number that is a code, with the word that marks it as one.
_CODE: Final = rf"""
      \b(?:status|errno|winerror|signal)(?:[ _-](?:code|error|is))*[\s:=#(]{{0,3}}-?\d{{1,5}}(?!\.?\d)
    | \bcode[\s:=#(]{{0,3}}-?\d{{1,4}}(?!\.?\d)
    | \b(?:http|error)(?:[ _-](?:status|code|error))*\s-?\d{{1,5}}(?![\d.,:]?\d)
    | \b(?:returned|responded|response)(?:\s(?:with|a|an|http))*[\s:\[]{{1,2}}[345]\d\d\b
    | \bbase\s\d\d?\b
    | \b[345]\d\d\s(?:Client\sError|Server\sError|{_REASONS})(?!\w)
    | ^[\[(]?[345]\d\d(?=[\]):,](?:\s|$)|$)
    | ^\(\d{{3,5}}(?=,\s["'])
    | \b(?-i:[A-Z]{{1,6}})-?\d{{3,5}}(?=:\s)
"""
_DATA: Final = (
    "avro|bam|bin|bmp|bz2|csv|dat|dbf?|dcm|docx?|feather|fits|gif|gz|h5|hdf5|html?|jpe?g|jsonl?|log|mp[34]|nc|npy|npz|"
    "orc|parquet|pdf|pickle|pkl|png|pptx?|shp|sqlite3?|svg|tar|tiff?|tsv|txt|wav|webp|xlsx?|xml|xz|ya?ml|zip|zst"
)
# Includes dates, addresses and ranges (``0..23``).
_NUMBER: Final = r"\d+(?:(?:[.,:_/+-]|\.\.|(?<=\d)t|(?<=-\d\d)\s(?=\d\d:\d\d))\d+)*"
# What distinguishes one failure from similar ones, and before it what only looks like that. A quoted part may be
# either. Nothing is retried at each character, and there is no backtracking (``++``), so no message takes long.
_PARTICULAR: Final = re.compile(
    rf"""(?P<code>{_CODE})
    |\b[bru]{{1,2}}(?:'[^']*'|"[^"]*")
    |(?P<quoted>(?<!\w)'.*?'(?!\w)|"[^"]*"|`[^`]*`|[“„][^“”]*[“”]|«[^»]*»|\u2018[^\u2019]*\u2019)
    |\b[a-z][a-z0-9+.-]{{1,9}}://[^\s'"<>]+
    |(?<![\w.+'-])[\w.+'-]++@[\w.-]+
    |(?<![\w.~<])(?:[a-z]:|~|\.\.?)?[\\/][^\s'":,;()<>]+
    |(?<![\w.+\\/-])(?:[\w.+-]++[\\/])++[\w.+-]*\.[a-z]\w{{0,7}}(?![\w+\\/-]|\.\w)
    |(?<![\w.+-])[\w.+-]*\.(?:{_DATA})(?![\w+-]|\.\w)
    |(?<![\w.-])(?:localhost|[\w-]++(?:\.[\w-]++)++):\d+
    |(?<![\w:])(?=[\d:]*(?:::|[a-f]))(?:[0-9a-f]{{0,4}}:){{2,7}}[0-9a-f]{{0,4}}(?![\w:])
    |\b0x[0-9a-f]+\b
    |\b(?=[0-9a-f-]{{0,16}}\d)[0-9a-f]{{7,}}(?:-[0-9a-f]+)*\b
    |(?P<number>(?:(?<![^\s=:,(\[])[+-])?{_NUMBER}(?:e[+-]?\d+|\.?\s?[kmgtp]i?b|[^\W\d]\w*)?(?!\w))
    |\b\w*\d_?[^\W\d_]\w*
    |\d+""",
    re.VERBOSE | re.IGNORECASE,
)
_ROW: Final = re.compile(rf"{_ELLIPSIS}(?:[,:]\s?{_ELLIPSIS}|,(?=\)))+")  # their number depends on the input
_HEADING: Final = re.compile(r"\bvalidation errors? for |\bterminated with:$")
_QUOTED_TEXT: Final = re.compile(r"""\"[^"]*'[^'"]*'[^"]*\"""")
_CODES: Final = frozenset(str(int(status)) for status in HTTPStatus if status >= 300)
_NAME: Final = re.compile(r"[^\W\d](?:[^\W\d]|[.\- ]){0,39}|[^\w\s]{1,3}")  # or an operator
_DATA_FILE: Final = re.compile(rf"\.(?:{_DATA})$", re.IGNORECASE)
_QUOTED_CODE: Final = re.compile(rf"[345]\d\d(?:\s(?:{_REASONS}))?", re.IGNORECASE)
_WORD_BEFORE: Final = re.compile(r"(?<!\w)(\w+)[\s:=(\[]*$")
_BEFORE_NAME: Final = re.compile(
    r"keys?|fields?|columns?|attributes?|arguments?|parameters?|named?|modules?|tables?|property|properties|"
    r"variables?|options?|codec|types?|import|functions?|methods?|class|"
    r"relation|constraint|index|schema|view",
    re.IGNORECASE,
)
_BEHIND_NAME: Final = re.compile(
    r"\]?\s*(?:objects?|delimiter|codec|keys?|fields?|columns?|attributes?|arguments?|parameters?|property|"
    r"not supported|(?:is )?not in index|is not (?:defined|subscriptable|callable|iterable)|"
    r"is (?:a )?(?:required|missing))\b",
    re.IGNORECASE,
)
_TYPES: Final = frozenset(
    {"NoneType", *(name for name, value in vars(builtins).items() if isinstance(value, type))}
)


def _kept_or_not(match: re.Match[str]) -> str:
    """Return the replacement of a part: the part itself, or ``…``."""
    whole = match[0]
    if match["quoted"]:
        is_kept = _tells_the_fault(match, whole[1:-1])
    elif match["number"]:
        is_kept = whole in _CODES and "://" in match.string  # beside an address it is the answer's status
    else:
        is_kept = match["code"] is not None
    return whole if is_kept else _ELLIPSIS


def _tells_the_fault(match: re.Match[str], inside: str) -> bool:
    """Return whether a quoted part is a code, or the name of something in the program."""
    if inside in _TYPES or _QUOTED_CODE.fullmatch(inside):
        return True
    if _NAME.fullmatch(inside) is None or _DATA_FILE.search(inside):
        return False
    text, begin, end = match.string, match.start(), match.end()
    is_all = not begin and end == len(text)  # as a KeyError names the missing key
    if is_all or _BEHIND_NAME.match(text, end):
        return True
    before = _WORD_BEFORE.search(text, max(begin - _NEAR, 0), begin)
    return before is not None and bool(_BEFORE_NAME.fullmatch(before[1]))


def _id(*parts: str | None) -> str:
    told = "\0".join("" if part is None else part for part in parts)
    return blake2b(told.encode("utf-8", "backslashreplace"), digest_size=4).hexdigest()
