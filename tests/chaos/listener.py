"""A program on the bus with a durable queue bound to everything, that comes back after every loss."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final

import aio_pika
from aio_pika.abc import AbstractIncomingMessage
from aiormq.exceptions import AMQPError, ChannelInvalidStateError

from events.exchanges import QUEUE_EXCHANGES
from tests.e2e.history import Heard

PAUSE: Final = 0.2
CONNECT_SECONDS: Final = 5.0
PREFETCH: Final = 200
LOST: Final = (AMQPError, ChannelInvalidStateError, OSError, TimeoutError, RuntimeError)


class Listener:
    """What was heard, in the order of arrival; it acknowledges what it has heard."""

    def __init__(self, amqp_url: str, queue: str) -> None:
        self.heard: list[Heard] = []
        self.bound = asyncio.Event()
        self._amqp_url = amqp_url
        self._queue = queue
        self._changed = asyncio.Event()

    async def news(self, timeout: float) -> bool:
        """Wait for the next delivery, or for so long; whether there was one since this was asked last."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                await self._changed.wait()
        told = self._changed.is_set()
        self._changed.clear()
        return told

    async def run(self) -> None:
        """For ever."""
        while True:
            with suppress(*LOST):
                await self._listen()
            await asyncio.sleep(PAUSE)

    async def _listen(self) -> None:
        async with await aio_pika.connect(self._amqp_url, timeout=CONNECT_SECONDS) as connection:
            lost = asyncio.Event()
            connection.close_callbacks.add(lambda *_: lost.set())
            channel = await connection.channel()
            channel.close_callbacks.add(lambda *_: lost.set())
            await channel.set_qos(prefetch_count=PREFETCH)
            queue = await channel.declare_queue(self._queue, durable=True)
            for exchange in QUEUE_EXCHANGES:
                await channel.declare_exchange(exchange.full_name, aio_pika.ExchangeType.TOPIC, durable=True)
                await queue.bind(exchange.full_name, "#")
            await queue.consume(self._take)
            self.bound.set()
            await lost.wait()

    async def _take(self, message: AbstractIncomingMessage) -> None:
        exchange = (message.exchange or "").rpartition("/")[2]
        self.heard.append(Heard(exchange, message.message_id or "", json.loads(message.body)))
        self._changed.set()
        with suppress(*LOST):
            await message.ack()


@asynccontextmanager
async def listening(amqp_url: str, queue: str) -> AsyncIterator[Listener]:
    """A listener whose queue is bound."""
    listener = Listener(amqp_url, queue)
    running = asyncio.create_task(listener.run())
    try:
        await listener.bound.wait()
        yield listener
    finally:
        running.cancel()
        await asyncio.wait({running})
        with suppress(*LOST):
            async with await aio_pika.connect(amqp_url, timeout=CONNECT_SECONDS) as connection:
                await (await connection.channel()).queue_delete(queue)
