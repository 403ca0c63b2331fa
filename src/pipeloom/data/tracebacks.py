"""Tracebacks as text, as Python prints them, for exceptions of any size; any thread.

Python formats everything: 1,000 frames, the 1,000 exceptions of a group, as many causes in a chain, a message of
100 MB. That takes seconds and produces megabytes, of which a few KB are kept. Here the work is limited beforehand:
the ends of each stack, chain and text are kept, and the rest is only counted.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from types import FrameType, TracebackType
from typing import Any, Final

from pipeloom.data.text import describe

__all__ = ["drop_frames", "stack_of", "traceback_of"]

_FIRST: Final = 10  # frames: how the call began
_LAST: Final = 20  # and how it ended
_CAUSES: Final = 8
_WIDTH: Final = 15  # members of a group, and its depth: Python's own limits
_DEPTH: Final = 10
_EXCEPTIONS: Final = 40  # in all
_WALKED: Final = 100_000  # the most links and frames that are counted
_TEXT: Final = 4000  # characters of one message or source line
_NOTES: Final = 10


def traceback_of(error: BaseException, begin: TracebackType | None) -> str:
    """Return an exception's traceback; foreign code, such as its ``__str__``, may raise anything.

    Args:
        error: The exception.
        begin: The first frame to show.
    """
    return "".join(_Formatter().built(error, begin).format())


def drop_frames(exception: BaseException | None) -> None:
    """Free what the frames of an exception hold, and those of every exception reachable from it; cycles are fine.

    Its causes, contexts, group members, arguments and attributes are followed, since libraries wrap one exception
    in another. Each frame may hold every local variable of a call.
    """
    seen: set[int] = set()
    waiting: list[Any] = [exception]
    while waiting:
        held = waiting.pop()
        if issubclass(type(held), BaseException) and id(held) not in seen:  # not the type that it claims
            seen.add(id(held))
            # Bypass the class's own handling of these attributes: a frozen dataclass refuses assignments.
            BaseException.with_traceback(held, None)
            waiting += (_CAUSE(held), _CONTEXT(held), *_ARGS(held), *_VARS(held).values())
            if issubclass(type(held), BaseExceptionGroup):
                waiting += _MEMBERS(held)


_CAUSE: Final = vars(BaseException)["__cause__"].__get__
_CONTEXT: Final = vars(BaseException)["__context__"].__get__
_ARGS: Final = vars(BaseException)["args"].__get__
_VARS: Final = vars(BaseException)["__dict__"].__get__
_MEMBERS: Final = vars(BaseExceptionGroup)["exceptions"].__get__


def stack_of(frames: list[FrameType]) -> str:
    """Return where a call is at the moment, in the format of a traceback.

    Args:
        frames: The call's frames, n ≥ 0, the outermost first.
    """
    places = [(frame, frame.f_lineno) for frame in frames]
    left_out = len(places) - _FIRST - _LAST
    if left_out <= 0:
        return "".join(traceback.StackSummary.extract(iter(places)).format())
    first, last = (traceback.StackSummary.extract(iter(part)) for part in (places[:_FIRST], places[-_LAST:]))
    return "".join(_CutStack(first, last, left_out).format())


class _Formatter:
    """Builds what Python formats, limited to what is shown."""

    def __init__(self) -> None:
        self._left = _EXCEPTIONS
        self._seen: set[int] = set()  # a chain may be circular

    def built(
        self, error: BaseException, begin: TracebackType | None, depth: int = 0
    ) -> traceback.TracebackException:
        """Return an exception with its group members and the chain that led to it."""
        self._seen.add(id(error))
        chain = list(self._chain(error))
        kept = chain if len(chain) <= _CAUSES else [*chain[: _CAUSES - 1], chain[-1]]
        top = last = self._one(error, begin, depth)
        for cause, is_cause in kept:
            if self._left <= 0:
                break
            this = self._one(cause, cause.__traceback__, depth)
            if cause is chain[-1][0] and len(kept) < len(chain):
                _note(this, f"[{len(chain) - len(kept):,} exceptions between this one and the next are left out]")
            if is_cause:
                last.__cause__ = this
            else:
                last.__context__, last.__suppress_context__ = this, False
            last = this
        return top

    def _chain(self, error: BaseException) -> Iterator[tuple[BaseException, bool]]:
        """Yield the exceptions that led to an exception, each with whether it is an explicit cause."""
        for _ in range(_WALKED):
            cause = error.__cause__
            before = cause if cause is not None or error.__suppress_context__ else error.__context__
            if before is None or id(before) in self._seen:
                return
            self._seen.add(id(before))
            yield before, cause is not None
            error = before

    def _one(self, error: BaseException, begin: TracebackType | None, depth: int) -> traceback.TracebackException:
        self._left -= 1
        first, begin, left_out = _ends(begin)
        alone: Any = _Alone(error)
        built = traceback.TracebackException(type(error), alone, begin)
        if left_out:
            built.stack = _CutStack(first, built.stack, left_out)
        if isinstance(error, BaseExceptionGroup):
            self._add_group(built, error.exceptions, depth)
        return built

    def _add_group(
        self, built: traceback.TracebackException, exceptions: tuple[BaseException, ...], depth: int
    ) -> None:
        shown = exceptions[:_WIDTH]
        if depth >= _DEPTH or len(shown) > self._left:
            built.exceptions = None
            _note(built, f"[its {len(exceptions):,} exceptions are left out]")
            return
        parts: list[Any] = [self.built(error, error.__traceback__, depth + 1) for error in shown]
        parts += [None] * (len(exceptions) - len(shown))  # Python counts them, but examines only those it shows
        built.exceptions = parts


class _Alone:
    """Stands in for an exception: Python formats it the same, but without chain or group, and with short texts."""

    __cause__ = None
    __context__ = None
    __suppress_context__ = True
    exceptions = ()

    def __init__(self, error: BaseException) -> None:
        self._error = error

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return type(self._error)

    def __str__(self) -> str:
        return _shortened(str(self._error))

    @property
    def __notes__(self) -> list[str] | None:
        notes = getattr(self._error, "__notes__", None)
        if notes is None:
            return None
        if not isinstance(notes, list | tuple):
            return [describe(notes, _TEXT)]
        more = [f"[{len(notes) - _NOTES:,} more notes]"] if len(notes) > _NOTES else []
        return [_shortened(str(note)) for note in notes[:_NOTES]] + more

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._error, name)  # for a SyntaxError, a NameError and similar ones
        return _shortened(value) if isinstance(value, str) else value


class _CutStack(traceback.StackSummary):
    """The ends of a stack, and the number of frames left out between them."""

    def __init__(self, first: traceback.StackSummary, last: traceback.StackSummary, left_out: int) -> None:
        super().__init__(last)
        self._first = first
        self._left_out = left_out

    def format(self, **options: Any) -> list[str]:
        middle = f"  [{self._left_out:,} more frames]\n"
        return [*self._first.format(**options), middle, *super().format(**options)]


def _ends(begin: TracebackType | None) -> tuple[traceback.StackSummary, TracebackType | None, int]:
    """Return a traceback's first frames, where its last ones begin, and how many lie in between.

    If none do, the last frames are all of them.
    """
    count, frame = 0, begin
    while frame is not None and count < _WALKED:
        count, frame = count + 1, frame.tb_next
    left_out = count - _FIRST - _LAST
    if left_out <= 0:
        return traceback.StackSummary(), begin, 0
    last = begin
    for _ in range(count - _LAST):
        assert last is not None
        last = last.tb_next
    return traceback.extract_tb(begin, limit=_FIRST), last, left_out


def _shortened(text: str) -> str:
    """Cut the middle out of a text that is too long."""
    if len(text) <= _TEXT:
        return text
    return f"{text[: _TEXT // 2]} … {len(text) - _TEXT:,} more characters … {text[-_TEXT // 2 :]}"


def _note(built: traceback.TracebackException, text: str) -> None:
    built.__notes__ = [*(built.__notes__ or ()), text]
