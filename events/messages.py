"""Events as AMQP messages: encoded for the outbox, decoded for a handler.

Rules: ``queue-behaviour.md`` 10. Everything here is pure; sending is the publisher's and receiving the
listener's part.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from events import keys
from events.errors import UndecodableMessage
from events.exchanges import exchange_for, find_exchange
from schemas.messages import Message

ROUTE_PREFIX = "route."


@dataclass(frozen=True, slots=True)
class OutboundMessage:
    """A message ready to be published: ``body`` is UTF-8 JSON, ``cc`` are further routing keys."""

    exchange: str
    routing_key: str
    cc: tuple[str, ...]
    body: bytes
    message_id: str = ""
    traceparent: str | None = None
    """The trace that it belongs to; sent as the header of this name."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """Facts about one delivery that a handler may ask for.

    ``attempt`` counts from 1 and tells how often the handler of this queue has been given the message.
    ``redelivered`` is the broker's flag: somebody may have seen the message before.
    """

    exchange: str
    routing_key: str
    cc: tuple[str, ...]
    message_id: str
    redelivered: bool
    attempt: int = 1
    traceparent: str | None = None
    """The trace that the message belongs to (W3C); None when its task is not traced."""


def encode(payload: Message, routes: Sequence[str] = (), *, message_id: str = "") -> OutboundMessage:
    """The message that announces ``payload``, on the exchange declared for its class.

    ``routes`` are those of the task; they become CC keys for messages about a task, and are ignored for
    messages about a group. Raises ValueError when no exchange is declared for the class or when a word does
    not fit into the routing key.
    """
    exchange = exchange_for(type(payload))
    cc = tuple([ROUTE_PREFIX + route for route in routes]) if exchange.routes else ()
    return OutboundMessage(
        exchange.full_name, keys.build(exchange, payload), cc, payload.to_json(), message_id
    )


def decode(exchange: str, body: bytes) -> Any:
    """The event in a message from this exchange (full name).

    An instance of the declared payload class, or plain JSON values for an exchange we do not declare. Raises
    UndecodableMessage when the body is something else.
    """
    declared = find_exchange(exchange)
    try:
        return json.loads(body) if declared is None else declared.payload.from_json(body)
    except ValidationError as error:
        violations = "; ".join(
            f"{'.'.join(map(str, item['loc'])) or 'body'}: {item['msg']}"
            for item in error.errors(include_url=False)
        )
        raise UndecodableMessage(f"not a message of {exchange}: {violations}") from error
    except (ValueError, RecursionError) as error:
        raise UndecodableMessage(f"message of {exchange} is not JSON: {error}") from error
