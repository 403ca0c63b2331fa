"""Shell completion: tasks, runs and kinds of failure from the database named on the command line.

It reads the file as the list commands do, but for at most half a second, and never reports errors: the user has
not pressed Enter yet.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

from click.shell_completion import BashComplete, CompletionItem, add_completion_class, split_arg_string

from pipeloom.data.text import clean

if TYPE_CHECKING:
    import click

    Items = list[CompletionItem[str]]  # click made it generic after 8.2, the oldest version that is supported

__all__ = ["kinds", "runs", "speak_bash", "tasks"]

_DEADLINE_S: Final = 0.5
_MOST: Final = 40
_LINE: Final = "_PIPELOOM_LINE"  # the line as typed, set by our bash function
_BREAKS: Final = re.compile(r".*[:=]", re.DOTALL)
_PREFIX: Final = re.compile(r"(?:path|date|datetime|uuid|str|int|json):")
_PLAIN: Final = re.compile(r"([^\w@%+:,./=-])")


def tasks(context: click.Context, typed: str, variable: str) -> Items:
    """Offer keys and names of tasks; running and failed ones first when nothing is typed yet."""

    def found(history: Any) -> Iterator[tuple[str, str]]:
        for task in history.beginning_with(typed, _MOST):
            whole = "" if task.key is None else str(task.key)
            if whole.startswith("json:"):  # a digest, useless to a person
                whole = ""
            for word in (_PREFIX.sub("", whole, count=1), whole, task.name):
                if word and word.startswith(typed):
                    yield word, f"task {task.id}, {task.status}"
                    break

    return _offered(context, variable, found)


def runs(context: click.Context, typed: str, variable: str) -> Items:
    """Offer run numbers, latest first."""

    def found(history: Any) -> Iterator[tuple[str, str]]:
        for run in history.runs(_MOST):
            if str(run.run_id).startswith(typed):
                yield str(run.run_id), f"{run.status}, {run.done:,} done, {run.not_done:,} failed"

    return _offered(context, variable, found)


def kinds(context: click.Context, typed: str, variable: str) -> Items:
    """Offer names of failures, most frequent first: exceptions, statuses and ids of kinds."""

    def found(history: Any) -> Iterator[tuple[str, str]]:
        rows = history.kinds()
        for kind, count in rows:
            words = [kind.exception.rpartition(".")[2], kind.exception] if kind.exception else [kind.status]
            for word in words:
                if word.startswith(typed):
                    yield word, f"{count:,} {'task' if count == 1 else 'tasks'}: {kind.message}"
                    break
        for kind, count in rows:
            if kind.id.startswith(typed):
                yield kind.id, f"{count:,} {kind.exception or kind.status}: {kind.message}"

    return _offered(context, variable, found)


def _offered(context: click.Context, variable: str, find: Callable[[Any], Iterable[tuple[str, str]]]) -> Items:
    """Return up to a screenful of words with descriptions; none if anything goes wrong."""
    try:
        from pipeloom.history import History

        db = _database(context, variable)
        if db is None:
            return []
        with History(db, deadline_s=_DEADLINE_S) as history:
            seen = {word: about for word, about in reversed(list(find(history))) if word.isprintable()}
        words = list(reversed(seen))[:_MOST]
        return [CompletionItem(word, help=clean(seen[word], 80)) for word in words]
    except Exception:  # noqa: BLE001 - completion must stay silent, whatever the file contains
        return []


def _database(context: click.Context, variable: str) -> Path | None:
    """Return the database named on the line, before or after the cursor."""
    from pipeloom.db.place import path_of

    if named := context.params.get("db"):
        return Path(named[0])
    # While an option lacks its value, click does not parse the other words.
    words = split_arg_string(os.environ.get(_LINE) or os.environ.get("COMP_WORDS", ""))[2:]
    words += split_arg_string(os.environ.get("COMP_WORDS", ""))[2:]
    for word, following in pairwise([*words, ""]):
        if word == "--db" or word.startswith("--db="):
            return path_of(following if word == "--db" else word.removeprefix("--db="))
    meant = [context.params.get("db_word"), *(Path(word) for word in reversed(words) if _is_database(word))]
    named = next(filter(None, meant), None) or os.environ.get(variable)
    return path_of(named) if named else None


def _is_database(path: str) -> bool:
    try:
        if not os.path.isfile(path):
            return False
        with open(path, "rb") as file:
            return file.read(16) == b"SQLite format 3\0"
    except (OSError, ValueError):
        return False


class _Bash(BashComplete):
    """Completion for bash, which splits words at colons and inserts replies unquoted; keys are paths and URLs."""

    source_template: ClassVar[str] = (
        BashComplete.source_template.replace(
            "response=$(env ", f'response=$(env {_LINE}="${{COMP_LINE:0:COMP_POINT}}" '
        )
        .replace("' read type", "' read -r type")
        .replace("COMPREPLY+=($value)", 'COMPREPLY+=("$value")')
    )

    def get_completion_args(self) -> tuple[list[str], str]:
        """Return the words before the current one, and the current one."""
        line = os.environ.get(_LINE)
        if line is None:
            return super().get_completion_args()
        words = split_arg_string(line)
        typed = words.pop() if words and not (line[-1:].isspace() and not _quote(line)) else ""
        return words[1:], typed

    def format_completion(self, item: CompletionItem[str]) -> str:
        """Return a word quoted for bash, without the part up to the last colon."""
        line = os.environ.get(_LINE)
        if item.type != "plain" or line is None or _quote(line):
            return super().format_completion(item)
        _, typed = self.get_completion_args()
        before = _BREAKS.match(typed)
        word = item.value[before.end() :] if before and item.value.startswith(before[0]) else item.value
        return "plain," + _PLAIN.sub(r"\\\1", word)


def _quote(line: str) -> str:
    """Return the quotation mark left open at the end of a line, if any."""
    mark = ""
    for char in re.sub(r"\\.", "", line):
        if char in "'\"" and mark in ("", char):
            mark = "" if mark else char
    return mark


def speak_bash() -> None:
    """Install our bash completion; call before the command line is parsed."""
    add_completion_class(_Bash, "bash")
