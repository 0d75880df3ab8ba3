"""A message as the broker holds it: routing data read once, everything else kept as the bytes that came."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from events.broker import tables
from events.broker.errors import AmqpError, Reply

HEADERS: Final = 0x2000
DELIVERY_MODE: Final = 0x1000
EXPIRATION: Final = 0x0100
USER_ID: Final = 0x0010

_SHORTSTR: Final = -1
_TABLE: Final = -4
_FIELDS: Final = (
    (0x8000, _SHORTSTR),  # content type
    (0x4000, _SHORTSTR),  # content encoding
    (HEADERS, _TABLE),
    (DELIVERY_MODE, 1),
    (0x0800, 1),  # priority
    (0x0400, _SHORTSTR),  # correlation id
    (0x0200, _SHORTSTR),  # reply to
    (EXPIRATION, _SHORTSTR),
    (0x0080, _SHORTSTR),  # message id
    (0x0040, 8),  # timestamp
    (0x0020, _SHORTSTR),  # type
    (USER_ID, _SHORTSTR),
    (0x0008, _SHORTSTR),  # app id
    (0x0004, _SHORTSTR),  # cluster id
)
_KNOWN_FLAGS: Final = 0xFFFC

MAX_MILLISECONDS: Final = 2**32 - 1
_PERSISTENT: Final = b"\x02"
OVERHEAD: Final = 500
"""Measured bytes of the objects around an empty message held by one queue."""


@dataclass(slots=True, eq=False)
class Message:
    """What was published, and where it goes.

    `keys` are the routing key and the keys of the CC and BCC headers; `address` is exchange and first key
    as two short strings, `properties` the flags and values of the content header without BCC: both go out
    as they are.
    """

    exchange: str
    keys: tuple[str, ...]
    address: bytes
    properties: bytes
    body: bytes
    expiration: int | None = None
    """Milliseconds."""
    holders: int = 0
    """Queues that hold the message now."""
    persistent: bool = False
    row: int = 0
    """Its id in the journal, while `rows` is not 0."""
    rows: int = 0
    """Durable queues whose journal refers to it."""

    @property
    def size(self) -> int:
        return len(self.body) + len(self.properties) + OVERHEAD


def received(exchange: str, key: str, address: bytes, properties: bytes, body: bytes, user: str) -> Message:
    """A message as published by `user`. Raises AmqpError when its properties cannot be accepted."""
    if properties == b"\x00\x00":
        return Message(exchange, (key,), address, properties, body)
    fields = split_properties(properties)
    if (user_id := fields.get(USER_ID)) is not None and user_id[1:] != user.encode():
        claimed = user_id[1:].decode("utf-8", "replace")
        raise AmqpError(
            Reply.PRECONDITION_FAILED,
            f"user_id property set to '{claimed}' but authenticated user was '{user}'",
        )
    keys: tuple[str, ...] = (key,)
    if HEADERS in fields:
        headers = header_entries(fields)
        if b"CC" in headers:
            keys += _keys_in(headers[b"CC"], "CC")
        if b"BCC" in headers:
            keys += _keys_in(headers.pop(b"BCC"), "BCC")
            set_headers(fields, headers)
            properties = join_properties(fields)
    expiration = _milliseconds(fields[EXPIRATION]) if EXPIRATION in fields else None
    persistent = fields.get(DELIVERY_MODE) == _PERSISTENT
    return Message(exchange, keys, address, properties, body, expiration, persistent=persistent)


def split_properties(properties: bytes) -> dict[int, bytes]:
    """Flag to encoded value of each property present. Raises AmqpError when they are malformed."""
    fields = {}
    position = 2
    try:
        for flag, size in _fields_of(int.from_bytes(properties[:2], "big")):
            if size == _SHORTSTR:
                end = position + 1 + properties[position]
            elif size == _TABLE:
                end = position + 4 + int.from_bytes(properties[position : position + 4], "big")
            else:
                end = position + size
            fields[flag] = properties[position:end]
            position = end
    except IndexError:
        position = -1
    if position != len(properties):
        raise AmqpError(Reply.FRAME_ERROR, "cannot decode the message's properties")
    return fields


@lru_cache(maxsize=512)
def _fields_of(flags: int) -> tuple[tuple[int, int], ...]:
    if flags & ~_KNOWN_FLAGS:
        raise AmqpError(Reply.FRAME_ERROR, "cannot decode the message's properties: unknown flags")
    return tuple((flag, size) for flag, size in _FIELDS if flags & flag)


def join_properties(fields: dict[int, bytes]) -> bytes:
    """The inverse of `split_properties`."""
    return sum(fields).to_bytes(2, "big") + b"".join(fields[flag] for flag, _ in _FIELDS if flag in fields)


def header_entries(fields: dict[int, bytes]) -> dict[bytes, bytes]:
    """The headers, each value as its tagged bytes. Raises AmqpError when the table is malformed."""
    try:
        return tables.entries(fields.get(HEADERS, b"")[4:])
    except tables.MalformedTable:
        raise AmqpError(Reply.FRAME_ERROR, "cannot decode the message's headers") from None


def set_headers(fields: dict[int, bytes], headers: dict[bytes, bytes]) -> None:
    content = tables.join(headers)
    fields[HEADERS] = tables.LENGTH.pack(len(content)) + content


def with_delivery_count(properties: bytes, count: int) -> bytes:
    """The properties as a quorum queue sends them: x-delivery-count says how often the message came back."""
    fields = split_properties(properties)
    headers = header_entries(fields)
    headers[b"x-delivery-count"] = tables.long(count)
    set_headers(fields, headers)
    return join_properties(fields)


def _keys_in(value: bytes, header: str) -> tuple[str, ...]:
    content = tables.content_of(value, tables.ARRAY)
    if content is None:
        raise AmqpError(
            Reply.PRECONDITION_FAILED, f"invalid message: the {header} header must be an array of strings"
        )
    return tuple(text.decode("utf-8", "surrogateescape") for text in tables.strings(content))


def _milliseconds(expiration: bytes) -> int:
    text = expiration[1:].decode("utf-8", "replace")
    if not (text.isascii() and text.isdecimal() and int(text) <= MAX_MILLISECONDS):
        raise AmqpError(
            Reply.PRECONDITION_FAILED,
            f"invalid expiration '{text}': expected an integer of milliseconds from 0 to {MAX_MILLISECONDS}",
        )
    return int(text)
