"""The publishing side of one channel: a message out of its frames, and its confirm."""

from typing import Final, NamedTuple

from pamqp.commands import Basic

from events.broker import wire
from events.broker.errors import AmqpError, Reply
from events.broker.link import Link
from events.broker.message import Message, received
from events.broker.topology import Outcome

_MANDATORY: Final = 1
_IMMEDIATE: Final = 2
_MULTIPLE: Final = 1
_RETURN: Final = (
    Basic.Return.index.to_bytes(4, "big")
    + Reply.NO_ROUTE.to_bytes(2, "big")
    + wire.shortstr(Reply.NO_ROUTE.name)
)


class _Publish(NamedTuple):
    exchange: str
    key: str
    bits: int
    address: bytes


class Publishing:
    """Frames in, confirms and returns out. Errors are raised as AmqpError."""

    def __init__(self, link: Link, channel: int) -> None:
        self.confirming = False
        self._link = link
        self._channel = channel
        self._limit = link.topology.limits.message_bytes
        self._memory = link.topology.memory
        self._publish: _Publish | None = None
        self._properties: bytes | None = None
        self._missing = 0
        """Bytes of the body that are still to come."""
        self._parts: list[bytes] = []
        self._published = 0
        self._settled = 0
        """Messages published on this channel that the client has been told about."""

    @property
    def expects_content(self) -> bool:
        return self._publish is not None

    def on_publish(self, payload: bytes) -> None:
        self._publish = _Publish(*wire.read_publish(payload))

    def on_header(self, payload: bytes) -> None:
        if self._publish is None:
            raise AmqpError(Reply.UNEXPECTED_FRAME, "expected method frame, got non method frame instead")
        if self._properties is not None:
            raise AmqpError(
                Reply.UNEXPECTED_FRAME, "expected content body, got non content body frame instead"
            )
        if len(payload) < wire.CONTENT_HEAD.size + 2:
            raise AmqpError(Reply.FRAME_ERROR, "cannot decode the content header")
        class_id, weight, size = wire.CONTENT_HEAD.unpack_from(payload)
        if class_id != wire.CLASS_BASIC or weight:
            raise AmqpError(
                Reply.UNEXPECTED_FRAME,
                f"expected content header for class {wire.CLASS_BASIC}, got class {class_id} weight {weight}",
            )
        if size > self._limit:
            raise AmqpError(
                Reply.PRECONDITION_FAILED,
                f"message size {size} is larger than configured max size {self._limit}",
            )
        self._properties = payload[wire.CONTENT_HEAD.size :]
        self._missing = size
        if not size:
            self._complete(b"")

    def on_body(self, payload: bytes) -> None:
        if self._properties is None:
            raise AmqpError(Reply.UNEXPECTED_FRAME, "expected method or content header, got a content body")
        size = len(payload)
        if size > self._missing:
            raise AmqpError(Reply.FRAME_ERROR, "the content body is longer than its header says")
        self._missing -= size
        if not self._missing and not self._parts:
            self._complete(payload)
            return
        self._parts.append(payload)
        self._memory.assembling += size
        if not self._missing:
            body = b"".join(self._parts)
            self._drop_parts()
            self._complete(body)
        elif self._memory.assembling > self._link.topology.limits.assembling_bytes:
            raise AmqpError(Reply.RESOURCE_ERROR, "too many bytes in messages that are not complete")

    def close(self) -> None:
        """Say what is due, and let go of a message that is not complete."""
        self.flush_confirms()
        self._drop_parts()

    def _drop_parts(self) -> None:
        self._memory.assembling -= sum(map(len, self._parts))
        self._parts = []

    def _complete(self, body: bytes) -> None:
        assert self._publish is not None
        assert self._properties is not None
        exchange, key, bits, address = self._publish
        properties = self._properties
        self._publish = self._properties = None
        if bits & _IMMEDIATE:
            raise AmqpError(Reply.NOT_IMPLEMENTED, "immediate=true")
        message = received(exchange, key, address, properties, body, self._link.user)
        outcome = self._link.topology.publish(message, refusable=self.confirming)
        if outcome is Outcome.UNROUTED and bits & _MANDATORY:
            self._return(message)
        if self.confirming:
            self._confirm(outcome)
        self._link.published()

    def _return(self, message: Message) -> None:
        link = self._link
        arguments = _RETURN + message.address
        link.write(
            *wire.content_parts(self._channel, arguments, message.properties, message.body, link.body_limit)
        )

    def _confirm(self, outcome: Outcome) -> None:
        if outcome is Outcome.REFUSED:
            self.flush_confirms()
            self._published += 1
            self._settled += 1
            self._link.write(wire.settlement(self._channel, Basic.Nack.index, self._published, 0))
            return
        if self._published == self._settled:
            self._link.confirm_later(self)
        self._published += 1

    def flush_confirms(self) -> None:
        """Acknowledge what has been published since the last time, with one frame."""
        if count := self._published - self._settled:
            multiple = _MULTIPLE if count > 1 else 0
            self._link.write(wire.settlement(self._channel, Basic.Ack.index, self._published, multiple))
            self._settled = self._published
