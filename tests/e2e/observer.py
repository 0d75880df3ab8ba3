"""A program of its own on the bus: a durable queue bound to every exchange, and each delivery as it came."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage

from events.exchanges import QUEUE_EXCHANGES
from tests.e2e.history import Heard

HEAR_SECONDS: Final = 10.0


class Observer:
    """What was heard of one scheduler's tasks and groups, in the order of arrival."""

    def __init__(self) -> None:
        self.heard: list[Heard] = []
        self._changed = asyncio.Event()

    async def until(self, enough: Callable[[], bool], timeout: float = HEAR_SECONDS) -> bool:
        """Wait until ``enough()``, which is asked after every delivery; whether it came to that in time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                while not enough():
                    self._changed.clear()
                    await self._changed.wait()
        return enough()

    async def has_heard(self, count: int) -> bool:
        """Wait for so many deliveries; whether they came in time."""
        return await self.until(lambda: len(self.heard) >= count)

    async def hear(self, exchange: str, **members: object) -> Heard:
        """The first message on this exchange with these members, be it there already or to come."""

        def found() -> list[Heard]:
            return [
                message
                for message in self.heard
                if message.exchange == exchange and members.items() <= _members(message).items()
            ]

        assert await self.until(lambda: bool(found())), f"no {exchange} with {members} in {self.heard}"
        return found()[0]

    async def _record(self, message: AbstractIncomingMessage) -> None:
        exchange = (message.exchange or "").rpartition("/")[2]
        self.heard.append(Heard(exchange, message.message_id or "", json.loads(message.body)))
        self._changed.set()


def _members(message: Heard) -> dict[str, object]:
    return {**message.body.get("status", {}), **message.body}


@asynccontextmanager
async def observing(amqp_url: str, scheduler_id: str) -> AsyncIterator[Observer]:
    """Listen to everything about the tasks of this scheduler; other tests' messages are not heard."""
    observer = Observer()
    connection = await aio_pika.connect(amqp_url)
    async with connection:
        channel = await connection.channel()
        queue = await channel.declare_queue(f"observer-{scheduler_id}", durable=True)
        for exchange in QUEUE_EXCHANGES:
            await _declare(channel, exchange.full_name)
            place = [word.name for word in exchange.words].index("schedulerId")
            await queue.bind(exchange.full_name, ".".join(["*"] * place + [scheduler_id, "#"]))
        await queue.consume(observer._record, no_ack=True)
        yield observer
        await queue.delete(if_unused=False, if_empty=False)


async def _declare(channel: AbstractChannel, name: str) -> None:
    """The exchange, as section 10 says that it is: there may be no service yet."""
    await channel.declare_exchange(name, aio_pika.ExchangeType.TOPIC, durable=True)
