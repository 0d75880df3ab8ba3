"""One subscription on the broker: its queue set up, and a watch that it is really being heard.

A queue that nobody delivers from looks the same as one where nothing happens. So besides what the broker
announces (channel closed, consumer cancelled) the watch asks now and then whether the broker still knows us.
"""

import asyncio
import logging
from contextlib import suppress
from typing import Final

from aio_pika.abc import AbstractChannel, AbstractConnection, AbstractQueue
from aio_pika.exceptions import ChannelClosed, ChannelNotFoundEntity, ChannelPreconditionFailed
from aiormq.abc import DeliveredMessage
from pamqp.common import FieldTable

from events import redelivery
from events.connection import BROKER_ERRORS, CLOSE_TIMEOUT, Backoff
from events.errors import EventsError
from events.exchanges import find_exchange
from events.handling import Handling, Lifetime, OnDropped
from events.subscription import Subscription

logger = logging.getLogger(__name__)

SETUP_TIMEOUT: Final = 30.0


class NotSetUp(EventsError):
    """The broker does not have, or refuses, what the subscription needs."""


class Consumer:
    """Keeps a subscription alive; ``consuming`` is set while it is served, ``trouble`` tells why not."""

    def __init__(
        self, subscription: Subscription, *, backoff: Backoff, watch_interval: float, on_dropped: OnDropped
    ) -> None:
        self.subscription = subscription
        self.consuming = asyncio.Event()
        self.trouble = "not connected"
        self._backoff = backoff
        self._watch_interval = watch_interval
        self._handling = Handling(subscription, on_dropped)
        self._lifetime: Lifetime | None = None
        self._queue: AbstractQueue | None = None
        self._consumer_tag = ""

    def start(self) -> None:
        """Make ready for deliveries."""
        self._handling.start()

    async def serve(self, connection: AbstractConnection) -> None:
        """Be heard over this connection, and set up again whatever breaks short of the connection itself.

        Never returns. Raises what a call to the broker raised when the connection is no good.
        """
        while True:
            try:
                self._lifetime = await self._set_up(connection)
                self._backoff.reset()
                self.consuming.set()
                logger.info("listening: queue=%s", self.subscription.name)
                self.trouble = await self._watch(self._lifetime)
            except (NotSetUp, ChannelClosed) as error:
                self.trouble = str(error)
            finally:
                self.consuming.clear()
                await self._tear_down()
            delay = self._backoff.next()
            logger.warning(
                "not listening: queue=%s reason=%r retry_in=%.1fs",
                self.subscription.name,
                self.trouble,
                delay,
            )
            await asyncio.sleep(delay)

    def quiesce(self) -> None:
        """Begin no handler from now on."""
        self._handling.quiesce()

    async def stop(self, limit: float) -> None:
        """Take no more messages, wait up to ``limit`` seconds for running handlers, then cancel them.

        What was delivered and not handled goes back to the queue when the connection is closed.
        """
        if self._queue is not None:
            with suppress(*BROKER_ERRORS):
                async with asyncio.timeout(CLOSE_TIMEOUT):
                    await self._queue.cancel(self._consumer_tag)
        await self._handling.stop(limit)

    async def _set_up(self, connection: AbstractConnection) -> Lifetime:
        async with asyncio.timeout(SETUP_TIMEOUT):
            channel = connection.channel(publisher_confirms=True, on_return_raises=True)
            await channel.initialize()
            await channel.set_qos(prefetch_count=self.subscription.prefetch)
            for exchange in dict.fromkeys(binding.exchange for binding in self.subscription.bindings):
                await _declare_exchange(channel, exchange)
            queue = await self._declare_queue(channel)
            for binding in self.subscription.bindings:
                await queue.bind(binding.exchange, binding.routing_key_pattern)
            underlay = await channel.get_underlay_channel()
            lifetime = Lifetime(underlay)
            underlay.closing.add_done_callback(lambda closing: lifetime.end(_reason(closing)))
            underlay.on_consumer_cancel_callbacks.add(lambda _: lifetime.end("the queue was deleted"))

            async def receive(message: DeliveredMessage) -> None:
                self._handling.take(message, lifetime)

            consuming = await underlay.basic_consume(queue.name, receive)
            self._consumer_tag = consuming.consumer_tag or ""
            self._queue = queue
            return lifetime

    async def _declare_queue(self, channel: AbstractChannel) -> AbstractQueue:
        name = self.subscription.queue
        if name is None:
            return await channel.declare_queue(exclusive=True, auto_delete=True)
        kind: FieldTable = {"x-queue-type": "quorum"} if self.subscription.queue_type == "quorum" else {}
        try:
            queue = await channel.declare_queue(name, durable=True, arguments={**kind})
            await channel.declare_queue(redelivery.dead_queue(name), durable=True, arguments={**kind})
            for waiting, milliseconds in self.subscription.retry.retry_queues(name).items():
                back: FieldTable = {
                    "x-message-ttl": milliseconds,
                    "x-dead-letter-exchange": "",
                    "x-dead-letter-routing-key": name,
                }
                await channel.declare_queue(waiting, durable=True, arguments={**kind, **back})
        except ChannelPreconditionFailed as error:
            raise NotSetUp(
                f"the queue {name!r} or one beside it exists with other properties: "
                f"delete it, or choose another name ({error})"
            ) from error
        return queue

    async def _watch(self, lifetime: Lifetime) -> str:
        assert self._queue is not None
        while True:
            await asyncio.wait([lifetime.over], timeout=self._watch_interval)
            if lifetime.over.done():
                return lifetime.over.result()
            try:
                async with asyncio.timeout(self._watch_interval):
                    state = await lifetime.channel.queue_declare(self._queue.name, passive=True)
            except TimeoutError as error:
                raise TimeoutError(f"the broker did not answer for {self._watch_interval:g} s") from error
            if state.consumer_count == 0:
                return "the broker forgot the consumer"

    async def _tear_down(self) -> None:
        lifetime, self._lifetime, self._queue = self._lifetime, None, None
        if lifetime is None:
            return
        lifetime.end("torn down")
        self._handling.forget()
        with suppress(*BROKER_ERRORS):
            async with asyncio.timeout(CLOSE_TIMEOUT):
                await lifetime.channel.close()


async def _declare_exchange(channel: AbstractChannel, name: str) -> None:
    """Declare one of ours; of a foreign one only ask whether it is there."""
    known = find_exchange(name) is not None
    try:
        await channel.declare_exchange(name, "topic", durable=True, passive=not known)
    except ChannelNotFoundEntity as error:
        raise NotSetUp(
            f"the exchange {name!r} does not exist on the broker: correct its name, or start what declares it"
        ) from error
    except ChannelPreconditionFailed as error:
        raise NotSetUp(f"the exchange {name!r} exists with other properties: delete it ({error})") from error


def _reason(closing: "asyncio.Future[object]") -> str:
    error = None if closing.cancelled() else closing.exception()
    return f"the channel was closed ({error!r})" if error else "the channel was closed"
