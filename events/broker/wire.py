"""AMQP 0-9-1 frames as bytes.

`pamqp` names the methods and their fields; the broker decodes its methods strictly (a cut or overlong one
is a frame error, as for RabbitMQ). The frames that every message needs, publish, header, body, deliver and
ack, are packed and unpacked here by hand: the generic codec was measured to take four times as long in, and
more than twenty times as long out.
"""

from struct import Struct
from struct import error as StructError
from typing import Any, Final

from pamqp import decode
from pamqp.base import Frame
from pamqp.commands import INDEX_MAPPING

from events.broker.errors import AmqpError, Reply

METHOD: Final = 1
HEADER: Final = 2
BODY: Final = 3
HEARTBEAT: Final = 8
END: Final = 0xCE
ENVELOPE: Final = 8
"""Bytes of a frame around its payload."""

PROTOCOL_HEADER: Final = b"AMQP\x00\x00\x09\x01"
HEARTBEAT_FRAME: Final = b"\x08\x00\x00\x00\x00\x00\x00\xce"
CLASS_BASIC: Final = 60

FRAME_HEAD: Final = Struct(">BHI")
CONTENT_HEAD: Final = Struct(">HHQ")
METHOD_INDEX: Final = Struct(">I")

_METHOD_HEAD: Final = Struct(">BHII")
_NEXT_HEAD: Final = Struct(">BBHI")
_NEXT_CONTENT_HEAD: Final = Struct(">BBHIHHQ")
_TAG_AND_BIT: Final = Struct(">QB")
_SETTLEMENT: Final = Struct(">IQB")
_SETTLEMENT_FRAME: Final = Struct(">BHIIQBB")
_END_MARK: Final = b"\xce"
_UNDECODABLE: Final = (IndexError, ValueError, OverflowError, OSError, RecursionError, StructError)
"""What pamqp lets out when bytes make no sense; OverflowError and OSError come from impossible times."""


def shortstr(text: str) -> bytes:
    data = text.encode()
    return bytes((len(data),)) + data


def longstr(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


def method(channel: int, index: int, arguments: bytes = b"") -> bytes:
    """A method frame; `index` is pamqp's class and method id in one number."""
    return _METHOD_HEAD.pack(METHOD, channel, len(arguments) + 4, index) + arguments + _END_MARK


def close_arguments(error: AmqpError, cause: int) -> bytes:
    """Arguments of channel.close and connection.close; `cause` is the index of the method that failed."""
    text = str(error).encode()[:255].decode("utf-8", "ignore")
    return error.code.to_bytes(2, "big") + shortstr(text) + cause.to_bytes(4, "big")


def settlement(channel: int, index: int, tag: int, bits: int) -> bytes:
    """basic.ack or basic.nack for a publisher."""
    return _SETTLEMENT_FRAME.pack(METHOD, channel, 13, index, tag, bits, END)


def read_settlement(payload: bytes) -> tuple[int, int]:
    """Delivery tag and bits of a client's basic.ack."""
    if len(payload) != _SETTLEMENT.size:
        raise _undecodable(payload)
    _, tag, bits = _SETTLEMENT.unpack(payload)
    return tag, bits


def read_publish(payload: bytes) -> tuple[str, str, int, bytes]:
    """Exchange, key, bits (1 mandatory, 2 immediate) of a basic.publish, and the first two as sent."""
    try:
        key_at = 7 + payload[6]
        end = key_at + 1 + payload[key_at]
        bits = payload[end]
        if end + 1 == len(payload):
            exchange = str(payload[7:key_at], "utf-8")
            return exchange, str(payload[key_at + 1 : end], "utf-8"), bits, payload[6:end]
    except IndexError:
        pass
    except UnicodeDecodeError:
        raise AmqpError(Reply.FRAME_ERROR, "malformed UTF-8 in shortstr") from None
    raise _undecodable(payload)


def deliver_arguments(consumer: bytes, tag: int, redelivered: bool, address: bytes) -> bytes:
    """basic.deliver with its index; `consumer` is the tag and `address` exchange and key, as sent."""
    return b"\x00\x3c\x00\x3c" + consumer + _TAG_AND_BIT.pack(tag, redelivered) + address


def get_ok_arguments(tag: int, redelivered: bool, address: bytes, remaining: int) -> bytes:
    """basic.get-ok with its index."""
    return b"\x00\x3c\x00\x47" + _TAG_AND_BIT.pack(tag, redelivered) + address + remaining.to_bytes(4, "big")


def content_parts(
    channel: int, arguments: bytes, properties: bytes, body: bytes, body_limit: int
) -> tuple[bytes, ...]:
    """The frames of a method that carries a message, as parts to be written one after the other."""
    size = len(body)
    opening = FRAME_HEAD.pack(METHOD, channel, len(arguments)) + arguments
    header = _NEXT_CONTENT_HEAD.pack(END, HEADER, channel, 12 + len(properties), CLASS_BASIC, 0, size)
    if size <= body_limit:
        if not size:
            return opening, header, properties, _END_MARK
        return opening, header, properties, _NEXT_HEAD.pack(END, BODY, channel, size), body, _END_MARK
    parts = [opening, header, properties]
    for start in range(0, size, body_limit):
        piece = body[start : start + body_limit]
        parts += (_NEXT_HEAD.pack(END, BODY, channel, len(piece)), piece)
    parts.append(_END_MARK)
    return tuple(parts)


def decode_table(content: bytes) -> dict[str, Any]:
    """A field table without its length as Python values. Raises AmqpError."""
    try:
        table: dict[str, Any] = decode.field_table(longstr(content))[1]
    except _UNDECODABLE:
        raise AmqpError(Reply.FRAME_ERROR, "cannot decode a table") from None
    return table


def decode_method(payload: bytes) -> Frame:
    """The method in a frame. Raises AmqpError when the bytes are not exactly one method we know."""
    try:
        (index,) = METHOD_INDEX.unpack_from(payload)
    except StructError:
        raise AmqpError(Reply.FRAME_ERROR, "a method frame is at least four bytes long") from None
    kind: type[Frame] | None = INDEX_MAPPING.get(index)
    if kind is None:
        raise AmqpError(Reply.COMMAND_INVALID, f"unknown method {index >> 16}.{index & 0xFFFF}")
    found = kind.__new__(kind)  # no defaults to set, no validation of what a client would send
    try:
        _fill(found, payload)
    except UnicodeDecodeError:
        raise AmqpError(Reply.FRAME_ERROR, "malformed UTF-8 in shortstr") from None
    except _UNDECODABLE:
        raise _undecodable(payload) from None
    return found


def _fill(found: Frame, payload: bytes) -> None:
    position, bit = 4, 0
    value: Any
    for field in found.attributes():
        kind = found.amqp_type(field)
        if kind == "bit":
            position += bit == 0
            value = bool(payload[position - 1] >> bit & 1)
            bit = (bit + 1) % 8
        else:
            used, value = decode.by_type(payload[position:], kind)
            position, bit = position + used, 0
        if position > len(payload):
            raise ValueError(field)
        setattr(found, field, value)
    if position != len(payload):
        raise ValueError("bytes after the last field")


def _undecodable(payload: bytes) -> AmqpError:
    (index,) = METHOD_INDEX.unpack_from(payload)
    name = getattr(INDEX_MAPPING.get(index), "name", f"method {index >> 16}.{index & 0xFFFF}")
    return AmqpError(Reply.FRAME_ERROR, f"cannot decode the arguments of {name}")
