"""An output as bytes, for a file or another process. The format is MessagePack: reading it executes nothing.

Images, which make up most of an output, are kept beside the bytes as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any, Final, TypeAlias, get_args

import msgspec

from pipeloom.data.found import Entry, Found
from pipeloom.data.image import Buffer, Image, Stretch, plain_shape, shape_from
from pipeloom.data.rows import Block, Shape, Statement
from pipeloom.data.values import Params
from pipeloom.messages import OnConflict

__all__ = ["Chunk", "checked_params", "pack", "unpack"]

Chunk: TypeAlias = "list[Block | Statement | Stretch | Found]"
"""Consecutive parts of an output."""

_WAYS: Final = get_args(OnConflict)
_STORABLE: Final = frozenset({type(None), int, float, str, bytes})


class _Rows(msgspec.Struct, array_like=True, gc=False, tag=0):
    shape: int
    rows: list[tuple[Any, ...]]
    is_text: bool


class _Statement(msgspec.Struct, array_like=True, gc=False, tag=1):
    sql: str
    params: tuple[Any, ...] | dict[str, Any]


class _Stretch(msgspec.Struct, array_like=True, gc=False, tag=2):
    image: int
    place: int
    first: int
    last: int


class _Found(msgspec.Struct, array_like=True, gc=False, tag=3):
    items: list[str]
    entries: list[tuple[Any, str, str | None]] | None  # without their items


class _Packed(msgspec.Struct, array_like=True, gc=False):
    """The parts refer to shapes and images by number."""

    shapes: list[Any]
    parts: list[_Rows | _Statement | _Stretch | _Found]
    images: list[Any]


_encode: Final[Callable[[object], bytes]] = msgspec.msgpack.Encoder().encode
_decode: Final[Callable[[Buffer], _Packed]] = msgspec.msgpack.Decoder(_Packed).decode


def pack(chunk: Chunk) -> tuple[bytes, list[Image]]:
    """Return n parts of an output as bytes, and the images that they refer to, 0 or more."""
    shapes: dict[Shape, int] = {}
    images: dict[Image, int] = {}
    parts: list[_Rows | _Statement | _Stretch | _Found] = []
    for part in chunk:
        if isinstance(part, Block):
            parts.append(_Rows(shapes.setdefault(part.shape, len(shapes)), part.rows, part.is_text))
        elif isinstance(part, Stretch):
            number = images.setdefault(part.image, len(images))
            parts.append(_Stretch(number, part.place, part.first, part.last))
        elif isinstance(part, Found):
            entries = None if part.entries is None else [entry[:3] for entry in part.entries]
            parts.append(_Found(part.items, entries))
        else:
            parts.append(_Statement(str.__str__(part.sql), part.params))
    told = _Packed([plain_shape(shape) for shape in shapes], parts, [image.plain() for image in images])
    return _encode(told), list(images)


def unpack(data: Buffer, images: Sequence[Buffer]) -> Chunk:
    """Return the parts.

    Args:
        data: What ``pack`` returned.
        images: The bytes of the images, in order.

    Raises:
        ValueError: The data was not made by ``pack``.
    """
    packed = _decode(data)
    try:
        shapes = [shape_from(shape) for shape in packed.shapes]
        made = [Image.from_plain(plain, bytes_) for plain, bytes_ in zip(packed.images, images, strict=True)]
        return [_part(part, shapes, made) for part in packed.parts]
    except (IndexError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not an output of a task: {error}") from error


def checked_params(params: Any) -> Params:
    """Return a statement's parameters if they are valid ones.

    Raises:
        ValueError: They are not.
    """
    _check(params.values() if isinstance(params, dict) else params)
    return params  # type: ignore[no-any-return]  # a tuple or a dict


def _part(part: _Rows | _Statement | _Stretch | _Found, shapes: list[Shape], images: list[Image]) -> Any:
    if isinstance(part, _Statement):
        return Statement(part.sql, checked_params(part.params))
    if isinstance(part, _Stretch):
        stretch = Stretch(images[part.image], part.place, part.first, part.last)
        if not 0 < part.first <= part.last <= stretch.table.rows:
            raise ValueError("it refers to rows that its image does not have")
        return stretch
    if isinstance(part, _Found):
        if part.entries is None:
            return Found(part.items)
        return Found(
            part.items, [Entry(*known, item) for known, item in zip(part.entries, part.items, strict=True)]
        )
    shape = shapes[part.shape]
    if shape.on_conflict not in _WAYS or any(len(row) != len(shape.columns) for row in part.rows):
        raise ValueError("it has rows that do not match their columns")
    _check(chain.from_iterable(part.rows))
    return Block(shape, part.rows, part.is_text)


def _check(values: Any) -> None:
    if not _STORABLE.issuperset(map(type, values)):
        raise ValueError("it has values that no column can store")
