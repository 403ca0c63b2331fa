"""Tasks whose key or name begins with what somebody types: by the index on keys, in a bounded look."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from pipeloom.data.text import storable
from pipeloom.history.reading import Reader

__all__ = ["keyed_tasks"]

_PIPELINES: Final = 50
_LAST: Final = "\U0010ffff"


def keyed_tasks(reader: Reader, word: str, prefixes: tuple[str, ...], limit: int) -> list[int]:
    """Return the numbers of up to ``limit`` tasks whose key begins with a word, with or without a prefix of ours.

    Args:
        reader: Who asks the file.
        word: One character or more.
        prefixes: What a key may have before what it was made of.
        limit: At most so many.
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
