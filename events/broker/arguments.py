"""The x- arguments of a queue, checked and named."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, cast

from events.broker.errors import AmqpError, Reply
from events.broker.message import MAX_MILLISECONDS

Arguments = Mapping[str, Any]
Overflow = Literal["drop-head", "reject-publish", "reject-publish-dlx"]

_OVERFLOWS: Final = ("drop-head", "reject-publish", "reject-publish-dlx")
_REFUSED: Final = ("x-max-priority", "x-single-active-consumer")
"""Arguments that change what a queue promises, in ways this broker does not offer."""


@dataclass(frozen=True, kw_only=True)
class QueuePolicy:
    """How a queue keeps its messages. Times are milliseconds; None means without limit."""

    message_ttl: int | None = None
    expires: int | None = None
    max_length: int | None = None
    max_bytes: int | None = None
    overflow: Overflow = "drop-head"
    dead_letter_exchange: str | None = None
    dead_letter_key: str | None = None
    quorum: bool = False
    """Declared as a quorum queue: deliveries are counted and may be limited. It is not replicated here."""
    delivery_limit: int | None = None


ARGUMENTS_COMPARED: Final = (
    "x-message-ttl",
    "x-expires",
    "x-max-length",
    "x-max-length-bytes",
    "x-overflow",
    "x-dead-letter-exchange",
    "x-dead-letter-routing-key",
    "x-queue-type",
    "x-delivery-limit",
)
"""A queue declared again must agree on these; other arguments are hints."""


def queue_policy(queue: str, arguments: Arguments) -> QueuePolicy:
    """Read the arguments of queue.declare. Raises AmqpError for a value that RabbitMQ would refuse too, and
    NOT_IMPLEMENTED for arguments that would be a promise this broker does not keep."""

    def invalid(name: str, why: str) -> AmqpError:
        return AmqpError(
            Reply.PRECONDITION_FAILED, f"invalid arg '{name}' for queue '{queue}' in vhost '/': {why}"
        )

    def number(name: str, least: int, most: int = 2**63 - 1) -> int | None:
        value = arguments.get(name)
        if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
            raise invalid(name, f"expected integer, got {type(value).__name__}")
        if value is not None and not least <= value <= most:
            raise invalid(name, f"expected {least} to {most}, got {value}")
        return value

    def text(name: str) -> str | None:
        value = arguments.get(name)
        if value is not None and not (isinstance(value, str) and len(value.encode()) <= 255):
            raise invalid(name, "expected a string of at most 255 bytes")
        return value

    for name in _REFUSED:
        if arguments.get(name):
            raise AmqpError(
                Reply.NOT_IMPLEMENTED, f"{name}: not offered by the embedded broker, use RabbitMQ"
            )
    overflow = text("x-overflow") or "drop-head"
    if overflow not in _OVERFLOWS:
        raise invalid("x-overflow", f"expected one of {', '.join(_OVERFLOWS)}")
    kind = text("x-queue-type") or "classic"
    if kind == "stream":
        raise AmqpError(Reply.NOT_IMPLEMENTED, "streams: not offered by the embedded broker, use RabbitMQ")
    if kind not in ("classic", "quorum"):
        raise invalid("x-queue-type", f"unsupported queue type '{kind}'")
    if kind == "classic" and "x-delivery-limit" in arguments:
        raise invalid("x-delivery-limit", "only quorum queues have one")
    dead_letter_exchange = text("x-dead-letter-exchange")
    dead_letter_key = text("x-dead-letter-routing-key")
    if dead_letter_key is not None and dead_letter_exchange is None:
        raise invalid("x-dead-letter-routing-key", "routing_key_but_no_dlx_defined")
    return QueuePolicy(
        message_ttl=number("x-message-ttl", 0, MAX_MILLISECONDS),
        expires=number("x-expires", 1, MAX_MILLISECONDS),
        max_length=number("x-max-length", 0),
        max_bytes=number("x-max-length-bytes", 0),
        overflow=cast("Overflow", overflow),
        dead_letter_exchange=dead_letter_exchange,
        dead_letter_key=dead_letter_key,
        quorum=kind == "quorum",
        delivery_limit=number("x-delivery-limit", 0),
    )
