"""Deliveries and their handler: decode, call, acknowledge; try again, and in the end bury or drop.

Messages are taken and acknowledged by aiormq, the layer below aio-pika, which carries about twice as many.

The workers live as long as the subscription, longer than any connection: a handler that runs while the
connection breaks is not disturbed, and the same message is not handled twice at a time.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

from aiormq.abc import AbstractChannel, DeliveredMessage

from events import redelivery
from events.errors import UndecodableMessage
from events.messages import Delivery, decode
from events.subscription import Subscription
from schemas import tracing

logger = logging.getLogger(__name__)

SETTLE_TIMEOUT: Final = 30.0

OnDropped = Callable[[Delivery, Exception], None]


class Lifetime:
    """The time from setting up a channel until it is no good any more; ``over`` then tells why."""

    def __init__(self, channel: AbstractChannel) -> None:
        self.channel = channel
        self.over: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def end(self, reason: str) -> None:
        """It is over, for the first reason given."""
        if not self.over.done():
            self.over.set_result(reason)


@dataclass(frozen=True, slots=True)
class _Arrival:
    message: DeliveredMessage
    lifetime: Lifetime

    async def acknowledge(self) -> None:
        async with asyncio.timeout(SETTLE_TIMEOUT):
            await self.lifetime.channel.basic_ack(self.message.delivery_tag or 0, wait=False)


class Handling:
    """The workers of one subscription."""

    def __init__(self, subscription: Subscription, on_dropped: OnDropped) -> None:
        self._subscription = subscription
        self._on_dropped = on_dropped
        self._inbox: asyncio.Queue[_Arrival] = asyncio.Queue()  # the prefetch bounds it
        self._workers: set[asyncio.Task[None]] = set()
        self._busy: set[asyncio.Task[None]] = set()
        self._stopping = asyncio.Event()

    def start(self) -> None:
        """Start the workers; as many handlers run at a time."""
        while len(self._workers) < self._subscription.concurrency:
            self._workers.add(asyncio.create_task(self._work()))

    def take(self, message: DeliveredMessage, lifetime: Lifetime) -> None:
        """A message was delivered."""
        self._inbox.put_nowait(_Arrival(message, lifetime))

    def forget(self) -> None:
        """What was delivered and not begun comes again: nothing of it stays here."""
        while not self._inbox.empty():
            self._inbox.get_nowait()

    def quiesce(self) -> None:
        """Begin nothing new from now on."""
        self._stopping.set()

    async def stop(self, limit: float) -> None:
        """Wait up to ``limit`` seconds for running handlers, then cancel them."""
        self.quiesce()
        for worker in self._workers - self._busy:
            worker.cancel()
        if self._busy:
            await asyncio.wait(set(self._busy), timeout=limit)
        for worker in self._busy:
            logger.warning("handler cancelled: queue=%s not done in %gs", self._subscription.name, limit)
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)

    async def _work(self) -> None:
        me = asyncio.current_task()
        assert me is not None
        while not self._stopping.is_set():
            arrival = await self._inbox.get()
            if arrival.lifetime.over.done():
                continue  # the broker delivers it again
            self._busy.add(me)
            try:
                await self._handle(arrival)
            except asyncio.CancelledError:
                if me.cancelling():
                    raise
                arrival.lifetime.end("the broker library gave a call up")  # it cancels its own futures
            except Exception as error:
                # Unsettled, the message comes again after a new set-up. A worker must never end here: the
                # queue would look served and be silent.
                arrival.lifetime.end(f"a delivery could not be settled: {error!r}")
            finally:
                self._busy.discard(me)

    async def _handle(self, arrival: _Arrival) -> None:
        subscription = self._subscription
        delivery = redelivery.facts(arrival.message)
        if subscription.auto_ack:
            await arrival.acknowledge()
        try:
            event = decode(delivery.exchange, arrival.message.body)
        except UndecodableMessage as error:
            await self._failed(arrival, delivery, error, final=True)
            return
        problem = await self._attempt(event, delivery)
        while problem is not None and self._may_try_here(problem) and await self._pause(delivery):
            delivery = replace(delivery, attempt=delivery.attempt + 1)
            problem = await self._attempt(event, delivery)
        if problem is not None:
            await self._failed(arrival, delivery, problem, final=isinstance(problem, UndecodableMessage))
        elif not subscription.auto_ack:
            await arrival.acknowledge()

    def _may_try_here(self, problem: Exception) -> bool:
        """An anonymous queue dies with its connection: its messages wait here for their next attempt."""
        anonymous = self._subscription.queue is None and not self._subscription.auto_ack
        return anonymous and not isinstance(problem, UndecodableMessage)

    async def _pause(self, delivery: Delivery) -> bool:
        """Wait before the next attempt; False when there is none."""
        if delivery.attempt >= self._subscription.retry.attempts:
            return False
        try:
            async with asyncio.timeout(self._subscription.retry.wait(delivery.attempt)):
                await self._stopping.wait()
        except TimeoutError:
            return True
        return False

    async def _attempt(self, event: Any, delivery: Delivery) -> Exception | None:
        attributes = {
            "messaging.system": "rabbitmq",
            "messaging.operation.name": "process",
            "messaging.destination.name": delivery.exchange,
            "messaging.rabbitmq.destination.routing_key": delivery.routing_key,
            "messaging.message.id": delivery.message_id,
            "attempt": delivery.attempt,
        }
        name = f"process {delivery.exchange}"
        with tracing.span(name, "consumer", parent=delivery.traceparent, attributes=attributes) as span:
            problem = await self._call(event, delivery)
            if problem is not None:
                span.fail(repr(problem))
            return problem

    async def _call(self, event: Any, delivery: Delivery) -> Exception | None:
        try:
            await self._subscription.call(event, delivery)
        except asyncio.CancelledError:
            me = asyncio.current_task()
            if me is None or me.cancelling():
                raise
            return RuntimeError("the handler was cancelled by something it waited for")
        except Exception as error:
            logger.warning(
                "handler failed: queue=%s attempt=%d of %d routing_key=%s message_id=%s",
                self._subscription.name,
                delivery.attempt,
                self._subscription.retry.attempts,
                delivery.routing_key,
                delivery.message_id,
                exc_info=error,
            )
            return error
        return None

    async def _failed(self, arrival: _Arrival, delivery: Delivery, error: Exception, *, final: bool) -> None:
        """Put the message where its next attempt comes from, or to the dead after the last one."""
        queue, retry = self._subscription.queue, self._subscription.retry
        if queue is None or self._subscription.auto_ack:
            self._drop(delivery, error)
            if not self._subscription.auto_ack:
                await arrival.acknowledge()
            return
        if final or delivery.attempt >= retry.attempts:
            target = redelivery.dead_queue(queue)
            logger.error(
                "message dead-lettered: queue=%s routing_key=%s message_id=%s error=%r",
                target,
                delivery.routing_key,
                delivery.message_id,
                error,
            )
        else:
            target = retry.retry_queue(queue, delivery.attempt)
        properties = redelivery.failed_properties(arrival.message, delivery, queue, error)
        await arrival.lifetime.channel.basic_publish(
            arrival.message.body,
            routing_key=target,
            properties=properties,
            mandatory=True,
            timeout=SETTLE_TIMEOUT,
        )
        await arrival.acknowledge()

    def _drop(self, delivery: Delivery, error: Exception) -> None:
        logger.error(
            "message dropped: queue=%s routing_key=%s message_id=%s error=%r",
            self._subscription.name,
            delivery.routing_key,
            delivery.message_id,
            error,
        )
        try:
            self._on_dropped(delivery, error)
        except Exception:
            logger.exception("on_dropped failed: queue=%s", self._subscription.name)
