"""Field tables taken apart and put together without decoding their values.

A message's headers pass through the broker; only a few entries are ever read or replaced. Keeping each
value as its tagged bytes preserves the types a client chose, which a round trip through Python values would
not.
"""

import struct
from collections.abc import Iterable, Mapping
from typing import Final

LENGTH: Final = struct.Struct(">I")
_SIGNED_LONG: Final = struct.Struct(">cq")
_TIMESTAMP: Final = struct.Struct(">cQ")

STRING: Final = b"S"
ARRAY: Final = b"A"
TABLE: Final = b"F"

_SIZES: Final = {
    ord(tag): size
    for tag, size in {
        "t": 1, "b": 1, "B": 1, "s": 2, "u": 2, "I": 4, "i": 4, "l": 8, "L": 8,
        "f": 4, "d": 8, "D": 5, "T": 8, "V": 0,
    }.items()
}  # fmt: skip
_OPAQUE: Final = frozenset(b"Sx")
_UNSIGNED: Final = (b"B", b"u", b"i")
_INTEGERS: Final = (*_UNSIGNED, b"b", b"s", b"I", b"l", b"L")
_MAX_DEPTH: Final = 32


class MalformedTable(ValueError):
    """The bytes are not a field table."""


def entries(content: bytes) -> dict[bytes, bytes]:
    """Name to tagged value of each entry; `content` is a table without its length. Raises MalformedTable."""
    return _entries(content, 0, len(content), 0)


def items(content: bytes) -> list[bytes]:
    """The tagged values of an array; `content` is the array without its length. Raises MalformedTable."""
    found = []
    position, end = 0, len(content)
    while position < end:
        stop = _end_of_value(content, position, end, 0)
        found.append(content[position:stop])
        position = stop
    return found


def strings(content: bytes) -> list[bytes]:
    """The strings among the values of an array. Raises MalformedTable."""
    return [value[5:] for value in items(content) if value[:1] == STRING]


def _entries(data: bytes, position: int, end: int, depth: int) -> dict[bytes, bytes]:
    found = {}
    while position < end:
        start = position + 1 + data[position]
        if start >= end:
            raise MalformedTable("a name goes beyond its table")
        stop = _end_of_value(data, start, end, depth)
        found[data[position + 1 : start]] = data[start:stop]
        position = stop
    return found


def _end_of_value(data: bytes, position: int, end: int, depth: int) -> int:
    tag = data[position]
    position += 1
    size = _SIZES.get(tag)
    if size is not None:
        stop = position + size
    elif position + 4 <= end:
        position += 4
        stop = position + LENGTH.unpack_from(data, position - 4)[0]
    else:
        raise MalformedTable("a value is cut off")
    if stop > end:
        raise MalformedTable("a value goes beyond its table")
    if size is None and tag not in _OPAQUE:
        _check_nested(data, tag, position, stop, depth + 1)
    return stop


def _check_nested(data: bytes, tag: int, position: int, end: int, depth: int) -> None:
    if depth > _MAX_DEPTH:
        raise MalformedTable(f"tables may be {_MAX_DEPTH} deep")
    if tag == TABLE[0]:
        _entries(data, position, end, depth)
    elif tag == ARRAY[0]:
        while position < end:
            position = _end_of_value(data, position, end, depth)
    else:
        raise MalformedTable(f"no value has the type {tag}")


def join(content: Mapping[bytes, bytes]) -> bytes:
    """The inverse of `entries`."""
    return b"".join(bytes((len(name),)) + name + value for name, value in content.items())


def string(text: bytes) -> bytes:
    return STRING + LENGTH.pack(len(text)) + text


def array(values: Iterable[bytes]) -> bytes:
    content = b"".join(values)
    return ARRAY + LENGTH.pack(len(content)) + content


def table(content: Mapping[bytes, bytes]) -> bytes:
    joined = join(content)
    return TABLE + LENGTH.pack(len(joined)) + joined


def long(number: int) -> bytes:
    return _SIGNED_LONG.pack(b"l", number)


def timestamp(seconds: int) -> bytes:
    return _TIMESTAMP.pack(b"T", seconds)


def integer(value: bytes, default: int) -> int:
    """A tagged integer of any width, the default for any other value."""
    if value[:1] not in _INTEGERS:
        return default
    return int.from_bytes(value[1:], "big", signed=value[:1] not in _UNSIGNED)


def content_of(value: bytes, tag: bytes) -> bytes | None:
    """What a tagged string, array or table holds; None when the value has another type."""
    return value[5:] if value[:1] == tag else None
