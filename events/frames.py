"""AMQP 0-9-1 frames for publishing: pure bytes in and out, no I/O.

``pamqp`` encodes and decodes everything that is rare. The two things that happen for each message, writing a
publish and reading its confirm, are spelled out here: that is many times faster (``events.publisher``).
"""

from struct import Struct
from typing import Final, NamedTuple

import pamqp.base
import pamqp.frame
import pamqp.heartbeat
from pamqp.exceptions import PAMQPException

from events.messages import OutboundMessage

MAX_FRAME: Final = 131_072
"""Largest frame we agree to, in bytes with its 8 bytes of envelope; RabbitMQ proposes the same."""

CHANNEL: Final = 1
"""The one channel messages are published on."""

Frame = pamqp.base.Frame | pamqp.heartbeat.Heartbeat

_ENVELOPE = Struct(">BHI")  # type, channel, payload size; the payload and the end octet follow
_METHOD, _HEADER, _BODY, _END = 1, 2, 3, 0xCE
_OVERHEAD = _ENVELOPE.size + 1
_CONFIRM = Struct(">HHQB")
_BASIC, _PUBLISH, _ACK, _NACK = 60, 40, 80, 120
_PUBLISH_START = Struct(">BHIHHH")
_CONTENT_START = Struct(">BHIHHQH")
_LONG = Struct(">I")
_END_OCTET = bytes([_END])
_CONTENT_TYPE_AND_ENCODING = b"\x10application/json\x05utf-8"
_CC = b"\x02CCA"
_TRACEPARENT = b"\x0btraceparentS"
_PERSISTENT = b"\x02"
_FLAGS_CONTENT_TYPE_ENCODING_HEADERS_MODE = 0xF000
_FLAG_MESSAGE_ID = 0x0080


class Confirm(NamedTuple):
    """The broker took a message (``ack``) or refused it; ``multiple`` includes all earlier ones."""

    tag: int
    ack: bool
    multiple: bool


class ProtocolError(Exception):
    """The peer does not speak AMQP 0-9-1, or sends more than was agreed on."""


def encode_publish(message: OutboundMessage, max_frame: int = MAX_FRAME) -> bytes:
    """All frames that publish one persistent JSON message.

    Properties: ``queue-behaviour.md`` 10; the header ``CC`` is always there, perhaps empty, and
    ``traceparent`` for what is traced. Raises ValueError when a name does not fit into 255 bytes.
    """
    arguments = (
        _short("exchange", message.exchange)
        + _short("routing_key", message.routing_key)
        + b"\x00"  # no flags
    )
    headers = _CC + _long(b"".join([b"S" + _long(key.encode()) for key in message.cc]))
    if message.traceparent is not None:
        headers += _TRACEPARENT + _long(message.traceparent.encode())
    properties = _CONTENT_TYPE_AND_ENCODING + _long(headers) + _PERSISTENT
    flags = _FLAGS_CONTENT_TYPE_ENCODING_HEADERS_MODE
    if message.message_id:
        flags |= _FLAG_MESSAGE_ID
        properties += _short("message_id", message.message_id)
    body = message.body
    if len(properties) + 22 > max_frame:
        raise ValueError(f"cc: {len(message.cc)} keys do not fit into a frame of {max_frame} bytes")
    parts = [
        _PUBLISH_START.pack(_METHOD, CHANNEL, 6 + len(arguments), _BASIC, _PUBLISH, 0),
        arguments,
        _END_OCTET,
        _CONTENT_START.pack(_HEADER, CHANNEL, 14 + len(properties), _BASIC, 0, len(body), flags),
        properties,
        _END_OCTET,
    ]
    room = max_frame - _OVERHEAD
    for start in range(0, len(body), room):
        part = body[start : start + room]
        parts += _ENVELOPE.pack(_BODY, CHANNEL, len(part)), part, _END_OCTET
    return b"".join(parts)


def _short(name: str, text: str) -> bytes:
    data = text.encode()
    if len(data) > 255:
        raise ValueError(f"{name}: expected at most 255 bytes, got {len(data)}: {text[:80]!r}…")
    return bytes((len(data),)) + data


def _long(data: bytes) -> bytes:
    return _LONG.pack(len(data)) + data


class FrameReader:
    """Turns the bytes of a broker into frames, however they are cut."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Confirm | Frame]:
        """The frames that are complete now. Raises ProtocolError; the connection is then unusable."""
        buffer = self._buffer
        buffer += data
        start = 0
        frames: list[Confirm | Frame] = []
        while len(buffer) - start >= _ENVELOPE.size:
            kind, _, size = _ENVELOPE.unpack_from(buffer, start)
            if size > MAX_FRAME or kind not in (_METHOD, _HEADER, _BODY, 8):
                raise ProtocolError(f"expected an AMQP frame, got {bytes(buffer[start : start + 8])!r}")
            end = start + _OVERHEAD + size
            if len(buffer) < end:
                break
            if buffer[end - 1] != _END:
                raise ProtocolError("an AMQP frame does not end where it should")
            frames.append(_confirm(buffer, start + _ENVELOPE.size, size) or _decode(bytes(buffer[start:end])))
            start = end
        del buffer[:start]
        return frames


def _confirm(buffer: bytearray, start: int, size: int) -> Confirm | None:
    if size != _CONFIRM.size:
        return None
    class_id, method, tag, bits = _CONFIRM.unpack_from(buffer, start)
    if class_id != _BASIC or method not in (_ACK, _NACK):
        return None
    return Confirm(tag, method == _ACK, bool(bits & 1))


def _decode(data: bytes) -> Frame:
    try:
        frame = pamqp.frame.unmarshal(data)[2]
    except (PAMQPException, ValueError) as error:
        raise ProtocolError(f"cannot read an AMQP frame: {error}") from error
    if not isinstance(frame, Frame):
        raise ProtocolError(f"expected no content on a publishing connection, got {type(frame).__name__}")
    return frame
