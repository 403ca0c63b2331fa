"""Find tasks whose key begins with the text that a user types, through the index on keys."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from pipeloom.data.text import storable
from pipeloom.history.reading import Reader

__all__ = ["keyed_tasks"]

_PIPELINES: Final = 50
_LAST: Final = "\U0010ffff"


def keyed_tasks(reader: Reader, word: str, prefixes: tuple[str, ...], limit: int) -> list[int]:
    """Return the numbers of up to ``limit`` tasks whose key begins with a word, with or without a prefix.

    Args:
        reader: The file's reader.
        word: The text, one character or more.
        prefixes: The prefixes that pipeloom puts before some keys.
        limit: At most this many.
    """
    found = reader.rows("SELECT id FROM pipeloom_pipelines ORDER BY id DESC LIMIT ?", (_PIPELINES,))
    return list(dict.fromkeys(_looks(reader, [row[0] for row in found], storable(word), prefixes, limit)))[:limit]


def _looks(reader: Reader, pipelines: list[Any], word: str, prefixes: tuple[str, ...], limit: int) -> Iterator[int]:
    for pipeline in pipelines:
        for prefix in ("", *prefixes):
            first = prefix + word
            for (number,) in reader.rows(
                "SELECT id FROM task_runs WHERE pipeline_id = ? AND key IS NOT NULL AND key >= ? AND key < ? "
                "ORDER BY key LIMIT ?",
                (pipeline, first, first + _LAST, limit),
            ):
                yield number
