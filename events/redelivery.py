"""What happens to a message whose handler failed: the waits, the queues it passes, the headers it carries.

A message that failed is published again, to a queue that holds it for the length of the wait and then gives
it back, and only then acknowledged. So a crash in between repeats a message and never loses it, and the
count of attempts travels with the message, on any broker. The default exchange carries it; what the message
was before stands in its headers.
"""

from dataclasses import dataclass
from typing import Any, Final

from aiormq.abc import DeliveredMessage
from pamqp.commands import Basic

from events.messages import Delivery
from schemas import tracing

ATTEMPT: Final = "taskbus-attempt"
EXCHANGE: Final = "taskbus-exchange"
ROUTING_KEY: Final = "taskbus-routing-key"
CC: Final = "taskbus-cc"
QUEUE: Final = "taskbus-queue"
ERROR: Final = "taskbus-error"

PERSISTENT: Final = 2
"""The delivery mode of messages that survive a restart of the broker."""

MAX_ERROR: Final = 1000
"""Characters of an error's text that a header carries."""

_BROKER_HEADERS: Final = ("CC", "BCC", "x-death", "x-first-death-", "x-last-death-", "taskbus-")


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Up to ``attempts`` calls; the waits between grow fourfold from ``delay`` to ``longest`` seconds."""

    attempts: int = 3
    delay: float = 1.0
    longest: float = 60.0

    def __post_init__(self) -> None:
        if not 1 <= self.attempts <= 100:
            raise ValueError(f"attempts: expected 1 to 100, got {self.attempts}")
        if not 0 < self.delay <= self.longest:
            raise ValueError(
                f"retry_delay: expected more than 0 and at most {self.longest:g} s, got {self.delay}"
            )

    def wait(self, attempt: int) -> float:
        """Seconds to wait after this attempt failed; ``attempt`` counts from 1."""
        return float(min(self.delay * 4 ** (attempt - 1), self.longest))

    def retry_queues(self, queue: str) -> dict[str, int]:
        """The queues in which messages of ``queue`` wait, with their waits in milliseconds."""
        return {
            self.retry_queue(queue, attempt): round(self.wait(attempt) * 1000)
            for attempt in range(1, self.attempts)
        }

    def retry_queue(self, queue: str, attempt: int) -> str:
        """Where a message of ``queue`` waits after this attempt failed."""
        return f"{queue}.retry.{round(self.wait(attempt) * 1000)}ms"


def dead_queue(queue: str) -> str:
    """Where messages of ``queue`` end that no attempt could handle."""
    return f"{queue}.dead"


def facts(message: DeliveredMessage) -> Delivery:
    """What the message was when it was published, seen through any retries."""
    properties = message.header.properties
    headers = properties.headers or {}
    again = message.exchange == "" and isinstance(headers.get(EXCHANGE), str)
    attempt = headers.get(ATTEMPT)
    cc = headers.get(CC if again else "CC")
    traceparent = headers.get(tracing.HEADER)
    return Delivery(
        exchange=str(headers[EXCHANGE]) if again else message.exchange or "",
        routing_key=str(headers.get(ROUTING_KEY, "")) if again else message.routing_key or "",
        cc=tuple(str(key) for key in cc) if isinstance(cc, list) else (),
        message_id=properties.message_id or "",
        redelivered=bool(message.redelivered),
        attempt=attempt if again and isinstance(attempt, int) and attempt > 0 else 1,
        traceparent=traceparent if isinstance(traceparent, str) else None,
    )


def failed_properties(
    message: DeliveredMessage, delivery: Delivery, queue: str, error: Exception
) -> Basic.Properties:
    """What the message is sent with to a retry queue or to the dead: persistent, its story in the headers.

    ``taskbus-attempt`` is the number of the next attempt.
    """
    given = message.header.properties
    headers: dict[str, Any] = {
        name: value for name, value in (given.headers or {}).items() if not name.startswith(_BROKER_HEADERS)
    }
    headers |= {
        ATTEMPT: delivery.attempt + 1,
        EXCHANGE: delivery.exchange,
        ROUTING_KEY: delivery.routing_key,
        CC: list(delivery.cc),
        QUEUE: queue,
        ERROR: f"{type(error).__name__}: {error}"[:MAX_ERROR],
    }
    return Basic.Properties(
        headers=headers,
        delivery_mode=PERSISTENT,
        content_type=given.content_type,
        content_encoding=given.content_encoding,
        correlation_id=given.correlation_id,
        reply_to=given.reply_to,
        message_id=given.message_id,
        timestamp=given.timestamp,
        message_type=given.message_type,
        app_id=given.app_id,
    )
