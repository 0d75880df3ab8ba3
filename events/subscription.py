"""What somebody asked to hear: bindings, a queue, a handler, and how to treat failures."""

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final, Literal, TypedDict, get_args

from events.bindings import Binding
from events.messages import Delivery
from events.redelivery import RetryPolicy

MAX_QUEUE_NAME: Final = 230
"""Bytes of a queue's name: those of the queues beside it are longer, and AMQP allows 255."""

MAX_PREFETCH: Final = 10_000

QueueType = Literal["classic", "quorum"]


class Options(TypedDict, total=False):
    """How a subscription may be tuned; :class:`Subscription` tells the meaning and the defaults."""

    queue: str | None
    queue_type: QueueType
    prefetch: int
    concurrency: int
    auto_ack: bool
    attempts: int
    retry_delay: float


@dataclass(frozen=True, kw_only=True)
class Subscription:
    """One queue and its handler.

    ``queue``: a durable queue of this name, shared by all listeners that name it; without a name an anonymous
    queue that lives as long as the connection. Bindings are added to a queue, never taken from it.
    ``queue_type``: ``"quorum"`` has RabbitMQ keep the queue, and those beside it, on several nodes.
    ``prefetch``: how many messages the broker hands over before the first is acknowledged.
    ``concurrency``: how many handlers run at a time; one keeps the order of messages.
    ``auto_ack``: acknowledge before the handler runs; a failure then drops the message.
    ``attempts`` and ``retry_delay`` (s): see :class:`~events.redelivery.RetryPolicy`.

    Raises ValueError, naming the argument that is wrong.
    """

    bindings: tuple[Binding[Any], ...]
    handler: Callable[..., Awaitable[None]]
    queue: str | None = None
    queue_type: QueueType = "classic"
    prefetch: int = 20
    concurrency: int = 1
    auto_ack: bool = False
    attempts: int = 3
    retry_delay: float = 1.0
    retry: RetryPolicy = field(init=False)
    wants_delivery: bool = field(init=False)

    def __post_init__(self) -> None:
        if not self.bindings:
            raise ValueError(
                "bindings: expected at least one, such as TaskCompleted() or bind(exchange, '#')"
            )
        if self.queue is not None and not 0 < len(self.queue.encode()) <= MAX_QUEUE_NAME:
            raise ValueError(f"queue: expected a name of 1 to {MAX_QUEUE_NAME} bytes, got {self.queue!r}")
        if self.queue_type not in get_args(QueueType):
            raise ValueError(f"queue_type: expected classic or quorum, got {self.queue_type!r}")
        if not 1 <= self.prefetch <= MAX_PREFETCH:
            raise ValueError(f"prefetch: expected 1 to {MAX_PREFETCH}, got {self.prefetch}")
        if not 1 <= self.concurrency <= self.prefetch:
            raise ValueError(f"concurrency: expected 1 to prefetch ({self.prefetch}), got {self.concurrency}")
        parameters = _required_parameters(self.handler)
        if parameters not in (1, 2):
            raise ValueError(f"handler: expected handler(event) or handler(event, delivery), got {self.name}")
        object.__setattr__(self, "wants_delivery", parameters == 2)
        object.__setattr__(self, "retry", RetryPolicy(self.attempts, self.retry_delay))

    @property
    def name(self) -> str:
        """What to call it in logs."""
        return self.queue or str(getattr(self.handler, "__qualname__", self.handler))

    async def call(self, event: Any, delivery: Delivery) -> None:
        """Give one event to the handler, with its delivery if it asks for it."""
        if self.wants_delivery:
            await self.handler(event, delivery)
        else:
            await self.handler(event)


def _required_parameters(handler: Callable[..., Any]) -> int:
    return sum(
        parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
        and parameter.default is parameter.empty
        for parameter in inspect.signature(handler).parameters.values()
    )
